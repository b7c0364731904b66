"""The schemas of CAP 1.0 to 1.2 as tables: what stands in what, in what order, and which values. Data."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

NAMESPACES: dict[str, str] = {
    "1.2": "urn:oasis:names:tc:emergency:cap:1.2",
    "1.1": "urn:oasis:names:tc:emergency:cap:1.1",
    "1.0": "http://www.incident.com/cap/1.0",
}
VERSIONS: dict[str, str] = {space: version for version, space in NAMESPACES.items()}
ROOTS: dict[str, str] = {f"{{{space}}}alert": version for version, space in NAMESPACES.items()}
SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}Signature"

LEAF, LEAVES, NODES = 0, 1, 2
Field = tuple[int, str, int]
"""Its place in the order, its name, its form: one text, several texts, or elements that nest."""

ORDER: dict[str, str] = {
    "alert": (
        "identifier sender sent status msgType password source scope restriction addresses code* note references"
        " incidents info+"
    ),
    "info": (
        "language category* event responseType* urgency severity certainty audience eventCode+ effective onset"
        " expires senderName headline description instruction web contact parameter+ resource+ area+"
    ),
    "resource": "resourceDesc mimeType size uri derefUri digest",
    "area": "areaDesc polygon* circle* geocode+ altitude ceiling",
    "pair": "valueName value",
}
_FORMS = {"*": LEAVES, "+": NODES}


def _table(version: str, names: str) -> dict[str, Field]:
    space = NAMESPACES[version]
    return {
        f"{{{space}}}{name.rstrip('*+')}": (order, name.rstrip("*+"), _FORMS.get(name[-1], LEAF))
        for order, name in enumerate(names.split())
        if not (name == "password" and version != "1.0")
    }


# By version and parent: the fields of every qualified child name.
FIELDS: dict[str, dict[str, dict[str, Field]]] = {
    version: {parent: _table(version, names) for parent, names in ORDER.items()} for version in NAMESPACES
}

_REQUIRED: dict[str, str] = {
    "alert": "identifier sender sent status msgType scope",
    "info": "category event urgency severity certainty",
    "resource": "resourceDesc mimeType",
    "area": "areaDesc",
}
_OPTIONAL = {"1.2": "", "1.1": "mimeType", "1.0": "scope category mimeType"}

# By version and parent: the names without which it means nothing.
REQUIRED: dict[str, dict[str, frozenset[str]]] = {
    version: {parent: frozenset(names.split()) - set(optional.split()) for parent, names in _REQUIRED.items()}
    for version, optional in _OPTIONAL.items()
}

ENUMS: dict[str, frozenset[str]] = {
    "status": frozenset("Actual Exercise System Test Draft".split()),
    "msgType": frozenset("Alert Update Cancel Ack Error".split()),
    "scope": frozenset("Public Restricted Private".split()),
    "category": frozenset("Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other".split()),
    "responseType": frozenset("Shelter Evacuate Prepare Execute Avoid Monitor Assess AllClear None".split()),
    "urgency": frozenset("Immediate Expected Future Past Unknown".split()),
    "severity": frozenset("Extreme Severe Moderate Minor Unknown".split()),
    "certainty": frozenset("Observed Likely Possible Unlikely Unknown".split()),
}


class Written(NamedTuple):
    """How an alert up to its info blocks, an info up to its resources, a resource and an area are written out without
    blanks between elements, where all is right; further a pair, the text of an element, and two ends.

    Groups are the fields in the order of the schema; of those that may stand again the group is the whole stretch.
    """

    version: str
    alert: re.Pattern[str]
    info: re.Pattern[str]
    resource: re.Pattern[str]
    area: re.Pattern[str]
    pair: re.Pattern[str]
    text: re.Pattern[str]
    info_end: str
    alert_end: str


# CAP 1.0 was never strict about its order, and is rare.
WRITTEN_VERSIONS = ("1.1", "1.2")
_PAIRS = ("eventCode", "parameter", "geocode")


@lru_cache(64)
def written_of(version: str, prefix: str) -> Written:
    """How the elements of a version are written with a namespace prefix; "" for none."""
    p = f"{re.escape(prefix)}:" if prefix else ""
    pair = f"(?:<{p}valueName>([^<]*+)</{p}valueName>|<{p}valueName/>)(?:<{p}value>([^<]*+)</{p}value>|<{p}value/>)"

    def stretch(name: str) -> str:
        """The regular expression of one field of the schema; nothing in it is ever tried again another way."""
        bare = name.rstrip("*+")
        if bare in _PAIRS:
            return f"((?:<{p}{bare}>{pair.replace('([', '(?:[')}</{p}{bare}>)*+)"
        if name.endswith("*"):
            return f"((?:<{p}{bare}>[^<]*+</{p}{bare}>)*+)"
        return f"(?:<{p}{bare}>([^<]*+)</{p}{bare}>|<{p}{bare}/>)?+"

    def fields(kind: str, without: str = "") -> str:
        return "".join(stretch(name) for name in ORDER[kind].split() if name.rstrip("*+") not in without.split())

    return Written(
        version,
        re.compile(f"<{p}alert(?: [^>]*+)?>{fields('alert', 'password info')}"),
        re.compile(f"<{p}info>{fields('info', 'resource area')}"),
        re.compile(f"<{p}resource>{fields('resource')}</{p}resource>"),
        re.compile(f"<{p}area>{fields('area')}</{p}area>"),
        re.compile(pair),
        re.compile(">([^<]*+)</"),
        f"</{prefix}:info>" if prefix else "</info>",
        f"</{prefix}:alert>" if prefix else "</alert>",
    )
