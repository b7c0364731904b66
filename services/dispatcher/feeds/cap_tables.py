"""The schemas of CAP 1.0 to 1.2 as tables: what stands in what, in what order, and which values. Data."""

from __future__ import annotations

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
