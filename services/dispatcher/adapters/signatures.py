"""XML signatures on alerts, checked against the certificates registered for a feed: signxml behind one door.

A signature counts when it is over the whole message and made with the key of a registered certificate; what a message
says of its own keys is never believed. Nothing is fetched, no chain is followed: who may sign is the feed's enrolment.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidCertificate, InvalidDigest, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from ..domain.signals import Feed
from .signature_form import DS, message_refusal, signature_refusal

RAW_BYTES_MAX = 1_048_576
CERTIFICATES_MAX = 8
RSA_BITS_MIN = 2_048

_METHODS = frozenset(method for method in SignatureMethod if not method.name.startswith("HMAC"))
_DIGESTS = frozenset(DigestAlgorithm)
# What signxml raises about the forms of strangers' signatures, besides its own exceptions: wrong base64, algorithms and
# curves it does not know, and elements without text.
_UNREADABLE = (ValueError, TypeError, AttributeError, KeyError, NotImplementedError, UnsupportedAlgorithm)


class SignatureState(StrEnum):
    """How far a signature proves who sent the message. `weak` is valid by an algorithm that no longer proves much."""

    UNSIGNED = "unsigned"
    VALID = "valid"
    WEAK = "weak"
    INVALID = "invalid"
    UNKNOWN_SIGNER = "unknown_signer"


_BEST_FIRST = (
    SignatureState.VALID,
    SignatureState.WEAK,
    SignatureState.INVALID,
    SignatureState.UNKNOWN_SIGNER,
)


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """The state, the subject of the certificate that it was checked with ("" for none), and one sentence for people."""

    state: SignatureState
    signer: str
    sentence: str

    @property
    def proved(self) -> bool:
        """Whether a feed that requires a signature may be believed; weak ones come only where they are allowed."""
        return self.state in (SignatureState.VALID, SignatureState.WEAK)


class BadCertificate(ValueError):
    """The text is no certificate in PEM form."""


def certificate(pem: bytes) -> x509.Certificate:
    """A certificate to register. Raises BadCertificate, also for keys that no signature here is checked with."""
    try:
        found = x509.load_pem_x509_certificate(pem)
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise BadCertificate("The text is no certificate in PEM form.") from cause
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | dsa.DSAPublicKey):
        raise BadCertificate("The certificate's key is none that signs XML.")
    return found


def verify_for(feed: Feed, raw: bytes, at: datetime | None = None) -> SignatureVerdict | None:
    """The verdict by what is registered for a feed; None for a feed that neither knows certificates nor needs any."""
    if not feed.certificates and not feed.signature_required:
        return None
    return verify(raw, [_known(pem) for pem in feed.certificates], feed.weak_signatures, at)


@lru_cache(256)
def _known(pem: str) -> x509.Certificate:
    return certificate(pem.encode())


def verify(
    raw: bytes, certificates: Sequence[x509.Certificate], allow_weak: bool, at: datetime | None = None
) -> SignatureVerdict:
    """The best that the signatures of a message prove; never raises.

    Each is checked with the others taken out. `allow_weak` accepts SHA-1 and keys of less than 2,048 bits, which then
    show as weak. `at` is the time at which certificates must be valid, now by default.
    """
    root = _opened(raw)
    if root is None:
        return SignatureVerdict(SignatureState.INVALID, "", "The message is no XML that a signature could be over.")
    count = len(root.findall(f"{DS}Signature"))
    if count == 0:
        return SignatureVerdict(SignatureState.UNSIGNED, "", "The message is not signed.")
    if refusal := message_refusal(root):
        return SignatureVerdict(SignatureState.INVALID, "", refusal)
    verdicts: list[SignatureVerdict] = []
    for index in range(count):
        verdicts.append(_one(_alone(root, index), certificates[:CERTIFICATES_MAX], allow_weak, at))
        if verdicts[-1].state is SignatureState.VALID:
            break
    return min(verdicts, key=lambda verdict: _BEST_FIRST.index(verdict.state))


def _opened(raw: bytes) -> etree._Element | None:
    """The root as it was signed, blanks and processing instructions included; None for what may not be read."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)
    if len(raw) > RAW_BYTES_MAX:
        return None
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError):
        return None
    return None if root.getroottree().docinfo.internalDTD is not None else root


def _alone(root: etree._Element, index: int) -> etree._Element:
    """A copy of the message with one of its signatures."""
    copied = deepcopy(root)
    for number, signature in enumerate(copied.findall(f"{DS}Signature")):
        if number != index:
            _take_out(signature)
    return copied


def _take_out(signature: etree._Element) -> None:
    """Remove a signature and leave the text behind it, which others have signed."""
    parent, before, text = signature.getparent(), signature.getprevious(), signature.tail or ""
    assert parent is not None
    if before is None:
        parent.text = (parent.text or "") + text
    else:
        before.tail = (before.tail or "") + text
    parent.remove(signature)


def _one(
    root: etree._Element, certificates: Sequence[x509.Certificate], allow_weak: bool, at: datetime | None
) -> SignatureVerdict:
    signature = root.find(f"{DS}Signature")
    assert signature is not None
    if refusal := signature_refusal(signature):
        return SignatureVerdict(SignatureState.INVALID, "", refusal)
    named = _named(signature)
    for each in certificates:
        verdict = _with(root, signature, each, allow_weak, at)
        if verdict is not None:
            return verdict
    for each in certificates:
        if named == _key_of(each):
            sentence = "The signature names a registered certificate and was not made with its key."
            return SignatureVerdict(SignatureState.INVALID, _subject(each), sentence)
    sentence = "The signature was made with none of the certificates that are registered for this feed."
    return SignatureVerdict(SignatureState.UNKNOWN_SIGNER, "", sentence)


def _with(
    root: etree._Element, signature: etree._Element, signer: x509.Certificate, allow_weak: bool, at: datetime | None
) -> SignatureVerdict | None:
    """What the signature proves by one certificate; None when another key made it, or it can't be read."""
    config = SignatureConfiguration(
        location="./",
        signature_methods=_METHODS,
        digest_algorithms=_DIGESTS,
        ignore_ambiguous_key_info=True,
        verification_time=at,
    )
    subject = _subject(signer)
    try:
        # Real senders break the schema in what is not signed (spaces in Id); what is signed is compared below.
        result = XMLVerifier().verify(root, x509_cert=signer, expect_config=config, validate_schema=False)
    except InvalidDigest:
        sentence = "The message was changed after it was signed."
        return SignatureVerdict(SignatureState.INVALID, subject, sentence)
    except InvalidCertificate:
        return _outside_its_time(signature, signer, subject)
    except (SignXMLException, etree.LxmlError, *_UNREADABLE):
        return None
    signed = result if not isinstance(result, list) else result[0]
    if signed.signed_xml is None or not _covers(signed.signed_xml, root):
        return SignatureVerdict(SignatureState.INVALID, subject, "The signature is not over the whole message.")
    weakness = _weakness(signature, signer)
    if not weakness:
        return SignatureVerdict(SignatureState.VALID, subject, f"Signed by {subject}.")
    if allow_weak:
        return SignatureVerdict(SignatureState.WEAK, subject, f"Signed by {subject}, but with {weakness}.")
    sentence = f"The signature uses {weakness}, which this feed does not allow."
    return SignatureVerdict(SignatureState.INVALID, subject, sentence)


def _outside_its_time(signature: etree._Element, signer: x509.Certificate, subject: str) -> SignatureVerdict | None:
    """An expired certificate is named only to a message that claims it; to others it is one of many."""
    if _named(signature) != _key_of(signer):
        return None
    sentence = "The registered certificate is not valid at this time."
    return SignatureVerdict(SignatureState.INVALID, subject, sentence)


def _covers(signed: etree._Element, root: etree._Element) -> bool:
    """Whether everything but the signature was signed: what is read must be what was signed."""
    rest = deepcopy(root)
    for signature in rest.findall(f"{DS}Signature"):
        _take_out(signature)
    return _canonical(signed) == _canonical(rest)


def _canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=False)


def _weakness(signature: etree._Element, signer: x509.Certificate) -> str:
    """What no longer proves much about a signature that holds; "" for nothing."""
    used = signature.iter(f"{DS}SignatureMethod", f"{DS}DigestMethod")
    if any(element.get("Algorithm", "").lower().endswith("sha1") for element in used):
        return "SHA-1"
    key = signer.public_key()
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey) and key.key_size < RSA_BITS_MIN:
        return f"a key of {key.key_size} bits"
    return ""


def _named(signature: etree._Element) -> bytes | None:
    """The key of the certificate that a signature carries."""
    text = signature.findtext(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")
    try:
        der = b64decode("".join((text or "").split()), validate=True)
        return _key_of(x509.load_der_x509_certificate(der))
    except (ValueError, UnsupportedAlgorithm):
        return None


def _key_of(signer: x509.Certificate) -> bytes:
    """A renewed certificate is another one with the same key."""
    return signer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _subject(signer: x509.Certificate) -> str:
    return signer.subject.rfc4514_string()[:256] or f"serial {signer.serial_number:x}"
