"""The schemas of CAP 1.0 to 1.2 as tables: what stands in what, in what order, and which values. Data."""

from __future__ import annotations

NAMESPACES: dict[str, str] = {
    "1.2": "urn:oasis:names:tc:emergency:cap:1.2",
    "1.1": "urn:oasis:names:tc:emergency:cap:1.1",
    "1.0": "http://www.incident.com/cap/1.0",
}
VERSIONS: dict[str, str] = {space: version for version, space in NAMESPACES.items()}
SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}Signature"

LEAF, LEAVES, NODES = 0, 1, 2

_ORDER: dict[str, str] = {
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


def _table(version: str, names: str) -> dict[str, tuple[int, str, int]]:
    space = NAMESPACES[version]
    return {
        f"{{{space}}}{name.rstrip('*+')}": (order, name.rstrip("*+"), _FORMS.get(name[-1], LEAF))
        for order, name in enumerate(names.split())
        if not (name == "password" and version != "1.0")
    }


# By version and parent: qualified child name → its place in the order, its name, its form.
FIELDS: dict[str, dict[str, dict[str, tuple[int, str, int]]]] = {
    version: {parent: _table(version, names) for parent, names in _ORDER.items()} for version in NAMESPACES
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
