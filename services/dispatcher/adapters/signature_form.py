"""What a foreign XML signature may ask for before anything of it is computed: bounds on its form, and on the message's.

Canonical form costs time with the square of the namespaces in reach at every element (256 of them over one megabyte are
minutes), and a signature may ask for it again and again, for other documents and for whole programs (XSLT). Here a
signature is over this document, once, in canonical form alone.
"""

from __future__ import annotations

from lxml import etree
from signxml.algorithms import CanonicalizationMethod

SIGNATURES_MAX = 4
TRANSFORMS_MAX = 3
SIGNATURE_NODES_MAX = 256
SIGNATURE_CHARS_MAX = 65_536
ELEMENTS_MAX = 20_000
NAMESPACES_MAX = 32
ATTRIBUTES_MAX = 64
DS = "{http://www.w3.org/2000/09/xmldsig#}"

_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_CANONICAL = frozenset(method.value for method in CanonicalizationMethod)
_IDS = ("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id")


def message_refusal(root: etree._Element) -> str:
    """Why no signature of this message is checked at all, one sentence; "" when they may be."""
    if len(root.findall(f"{DS}Signature")) > SIGNATURES_MAX:
        return f"The message has more than {SIGNATURES_MAX} signatures."
    ids: set[str] = set()
    for count, element in enumerate(root.iter(etree.Element), 1):
        if count > ELEMENTS_MAX:
            return f"The message has more than {ELEMENTS_MAX} elements."
        if len(element.attrib) > ATTRIBUTES_MAX:
            return f"An element of the message has more than {ATTRIBUTES_MAX} attributes."
        if len(element.nsmap) > NAMESPACES_MAX:
            return f"The message declares more than {NAMESPACES_MAX} namespaces."
        for own in [element.get(name, "") for name in _IDS if name in element.attrib]:
            if own in ids:
                return "Two elements of the message have the same id, so that a signature may be over either."
            ids.add(own)
    return ""


def signature_refusal(signature: etree._Element) -> str:
    """What in a signature's form is not computed here, one sentence; "" for nothing."""
    nodes = chars = 0
    for element in signature.iter():
        nodes += 1
        chars += len(element.text or "") + len(element.tail or "")
        if nodes > SIGNATURE_NODES_MAX or chars > SIGNATURE_CHARS_MAX:
            return "The signature is larger than any that proves something."
    references = signature.findall(f".//{DS}Reference")
    if len(references) > 1:
        return "The signature is over several things; it must be over the message alone."
    for reference in references:
        uri = reference.get("URI", "")
        if uri and not uri.startswith("#"):
            return "The signature is over something outside the message, which is never fetched."
    transforms = signature.findall(f".//{DS}Transform")
    if len(transforms) > TRANSFORMS_MAX:
        return f"The signature asks for more than {TRANSFORMS_MAX} transforms."
    for transform in transforms:
        if transform.get("Algorithm") not in _CANONICAL and transform.get("Algorithm") != _ENVELOPED:
            return "The signature asks for a transform other than the canonical form, which is not computed here."
    return ""
