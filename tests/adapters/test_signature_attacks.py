"""Signatures made to prove what was never signed, and to cost what no department's does."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
from lxml import etree
from signxml.algorithms import SignatureMethod
from signxml.signer import XMLSigner

from services.dispatcher.adapters.signature_form import (
    ATTRIBUTES_MAX,
    DS,
    ELEMENTS_MAX,
    NAMESPACES_MAX,
    SIGNATURE_CHARS_MAX,
    SIGNATURE_NODES_MAX,
    TRANSFORMS_MAX,
)
from services.dispatcher.adapters.signatures import SignatureState, SignatureVerdict, verify
from services.dispatcher.feeds.cap import read
from tests import builders
from tests.signing import NOW, certified, key, signed

ALERT = builders.cap_alert()
FORGED = builders.cap_alert("storm-9", headline="暴雨蓝色预警", severity="Minor")
CAP = "{urn:oasis:names:tc:emergency:cap:1.2}"
XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
_Element = etree._Element


def verdict(raw: bytes) -> SignatureVerdict:
    return verify(raw, [certified("met")], False, NOW)


def told(root: _Element) -> tuple[SignatureState, str]:
    found = verdict(etree.tostring(root))
    return found.state, found.sentence


def signed_root() -> _Element:
    return etree.fromstring(signed(ALERT, "met"))


def signature_of(root: _Element) -> _Element:
    signature = root.find(f"{DS}Signature")
    assert signature is not None
    return signature


def signed_by_id(attribute: str = "Id") -> _Element:
    """The alert signed by its own id, as some senders do."""
    root = etree.fromstring(ALERT)
    root.set(attribute, "whole")
    signer = XMLSigner(signature_algorithm=SignatureMethod.ECDSA_SHA256)
    return signer.sign(root, key=key("met"), cert=[certified("met")], reference_uri="#whole")


def test_an_alert_signed_by_its_own_id_is_valid() -> None:
    assert told(signed_by_id())[0] is SignatureState.VALID


NOT_WHOLE = (SignatureState.INVALID, "The signature is not over the whole message.")
CHANGED = (SignatureState.INVALID, "The message was changed after it was signed.")
TWO_IDS = (
    SignatureState.INVALID,
    "Two elements of the message have the same id, so that a signature may be over either.",
)


def wrapped_beside() -> _Element:
    """The signed alert lies unharmed in the forged one, and the signature names it by its id."""
    original = signed_by_id()
    forged = etree.fromstring(FORGED)
    forged.append(signature_of(original))
    forged.append(original)
    return forged


def wrapped_in_the_signature() -> _Element:
    """The signed alert hides in the signature's own Object, where readers of alerts don't look."""
    original = signed_by_id()
    forged = etree.fromstring(FORGED)
    signature = deepcopy(signature_of(original))
    original.remove(signature_of(original))
    etree.SubElement(signature, f"{DS}Object").append(original)
    forged.append(signature)
    return forged


def info_signed_and_moved() -> _Element:
    """What was signed is a part, which stays as it was while the rest says something else."""
    root = etree.fromstring(ALERT)
    info = root.find(f"{CAP}info")
    assert info is not None
    info.set("Id", "part")
    signer = XMLSigner(signature_algorithm=SignatureMethod.ECDSA_SHA256)
    root = signer.sign(root, key=key("met"), cert=[certified("met")], reference_uri="#part")
    status = root.find(f"{CAP}status")
    assert status is not None
    status.text = "Actual"
    return root


def second_info() -> _Element:
    root = signed_root()
    info = root.find(f"{CAP}info")
    assert info is not None
    root.insert(0, deepcopy(info))
    return root


def two_roots_by_one_id(attribute: str) -> Callable[[], _Element]:
    def made() -> _Element:
        original = signed_by_id()
        forged = etree.fromstring(FORGED)
        forged.set(attribute, "whole")
        forged.append(signature_of(original))
        forged.append(original)
        return forged

    return made


@pytest.mark.parametrize(
    ("forge", "answer"),
    [
        (wrapped_beside, NOT_WHOLE),
        (wrapped_in_the_signature, CHANGED),
        (info_signed_and_moved, NOT_WHOLE),
        (second_info, CHANGED),
        (two_roots_by_one_id("Id"), TWO_IDS),
        (two_roots_by_one_id("ID"), TWO_IDS),
        (two_roots_by_one_id("id"), TWO_IDS),
        (two_roots_by_one_id("{http://www.w3.org/XML/1998/namespace}id"), TWO_IDS),
    ],
)
def test_a_signature_over_something_else_proves_nothing_of_the_message(
    forge: Callable[[], _Element], answer: tuple[SignatureState, str]
) -> None:
    assert told(forge()) == answer


def test_a_signature_that_was_moved_from_its_place_is_none() -> None:
    root = signed_root()
    info = root.find(f"{CAP}info")
    assert info is not None
    info.append(signature_of(root))
    assert told(root) == (SignatureState.UNSIGNED, "The message is not signed.")


def test_of_two_alerts_in_one_envelope_neither_is_proved_by_the_others_signature() -> None:
    envelope = etree.Element("{urn:oasis:names:tc:emergency:EDXL:DE:1.0}EDXLDistribution")
    envelope.append(signed_root())
    envelope.append(etree.fromstring(FORGED))
    assert told(envelope)[0] is SignatureState.UNSIGNED
    envelope.append(signature_of(signed_root()))
    assert told(envelope)[0] is SignatureState.INVALID


def test_a_comment_cannot_turn_a_word_that_was_signed() -> None:
    """Comments are outside the canonical form: what is read must not depend on them."""
    raw = signed(ALERT, "met").replace(b"<status>Actual<", b"<status>Act<!-- x -->ual<")
    assert verdict(raw).state is SignatureState.VALID
    plain, commented = read(signed(ALERT, "met")).message, read(raw).message
    assert plain is not None and commented == plain


def with_transform(algorithm: str) -> _Element:
    root = signed_root()
    transforms = signature_of(root).find(f".//{DS}Transforms")
    assert transforms is not None
    etree.SubElement(transforms, f"{DS}Transform", Algorithm=algorithm)
    return root


@pytest.mark.parametrize("algorithm", [XSLT, XPATH, "http://www.w3.org/2000/09/xmldsig#base64", "", "x"])
def test_a_transform_that_computes_anything_is_refused_before_it_is_looked_at(algorithm: str) -> None:
    sentence = "The signature asks for a transform other than the canonical form, which is not computed here."
    assert told(with_transform(algorithm)) == (SignatureState.INVALID, sentence)


def test_many_transforms_are_refused() -> None:
    root = signed_root()
    transforms = signature_of(root).find(f".//{DS}Transforms")
    assert transforms is not None
    for _ in range(TRANSFORMS_MAX):
        etree.SubElement(transforms, f"{DS}Transform", Algorithm=C14N)
    assert told(root) == (SignatureState.INVALID, f"The signature asks for more than {TRANSFORMS_MAX} transforms.")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/x", "file:///etc/passwd", "other.xml", "//host/x"])
def test_nothing_outside_the_message_is_fetched(uri: str) -> None:
    root = signed_root()
    reference = signature_of(root).find(f".//{DS}Reference")
    assert reference is not None
    reference.set("URI", uri)
    sentence = "The signature is over something outside the message, which is never fetched."
    assert told(root) == (SignatureState.INVALID, sentence)


def test_a_signature_over_several_things_is_refused() -> None:
    root = signed_root()
    reference = signature_of(root).find(f".//{DS}Reference")
    assert reference is not None
    reference.addnext(deepcopy(reference))
    sentence = "The signature is over several things; it must be over the message alone."
    assert told(root) == (SignatureState.INVALID, sentence)


@pytest.mark.parametrize("size", [(SIGNATURE_NODES_MAX, 0), (1, SIGNATURE_CHARS_MAX)])
def test_a_signature_that_grows_is_refused(size: tuple[int, int]) -> None:
    root = signed_root()
    for _ in range(size[0]):
        etree.SubElement(signature_of(root), f"{DS}Object").text = "x" * size[1]
    assert told(root) == (SignatureState.INVALID, "The signature is larger than any that proves something.")


@pytest.mark.parametrize(
    ("start", "inner", "sentence"),
    [
        ("", "<a/>" * ELEMENTS_MAX, f"The message has more than {ELEMENTS_MAX} elements."),
        (
            "".join(f' xmlns:n{n}="urn:n{n}"' for n in range(NAMESPACES_MAX + 1)),
            "<a/>" * 10_000,
            f"The message declares more than {NAMESPACES_MAX} namespaces.",
        ),
        (
            "".join(f' a{n}=""' for n in range(ATTRIBUTES_MAX + 1)),
            "",
            f"An element of the message has more than {ATTRIBUTES_MAX} attributes.",
        ),
    ],
)
def test_a_message_whose_canonical_form_would_cost_minutes_is_not_put_into_it(
    start: str, inner: str, sentence: str
) -> None:
    signature = etree.tostring(signature_of(signed_root())).decode()
    assert verdict(f"<alert{start}>{inner}{signature}</alert>".encode()).sentence == sentence


@pytest.mark.parametrize("method", ["http://www.w3.org/2000/09/xmldsig#hmac-sha1", "urn:none", ""])
def test_a_certificate_is_no_shared_secret(method: str) -> None:
    """Who knows the certificate, which is everybody, must not be able to sign with it as with a password."""
    root = signed_root()
    element = signature_of(root).find(f".//{DS}SignatureMethod")
    assert element is not None
    element.set("Algorithm", method)
    assert told(root)[0] is SignatureState.INVALID
