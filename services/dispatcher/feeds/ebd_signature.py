"""The signature file that goes with an EBD packet (`EBDS_…`): read, taken apart, written. Pure.

Signatures are SM2 over SM3. The checking itself is a door (`Verify`) that a city with the national trust list's
certificates gives; without it a signature is shown as what it is: read, not verified.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from lxml import etree

from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.ebd_xml import EbdUnreadable, Findings, Node
from services.dispatcher.feeds.xml_edge import BadXml, open_root

SIGNATURE_BYTES_MAX = 65_536
VALUE_BYTES = 74
VALUE_CHARS_MAX = 256
DIGEST_ALGORITHM = "SM3"
SIGNATURE_ALGORITHM = "SM2"
_HEX_TIME = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_SERIAL = re.compile(r"\d{12}", re.ASCII)


class EbdSignatureState(StrEnum):
    """What is known of a packet's signature."""

    ABSENT = "absent"
    UNREADABLE = "unreadable"
    NOT_VERIFIED = "read, not verified"
    VERIFIED = "verified"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class SignatureValue:
    """The 74 bytes: UTC seconds, certificate number as 12 digits, SM2 r and s as 64 bytes."""

    time_s: int
    serial: str
    r_s: bytes


@dataclass(frozen=True, slots=True)
class EbdSignature:
    """A signature file. `related` is the id of the packet it signs; texts as written."""

    related: str
    value: SignatureValue
    issuer: str = ""
    serial: str = ""
    certificate_type: str = "1"
    version: str = "1.0"


@dataclass(frozen=True, slots=True)
class SignatureReading:
    """The signature, or None where an error refuses it."""

    signature: EbdSignature | None
    problems: tuple[Problem, ...]


Verify: TypeAlias = Callable[[bytes, EbdSignature], bool]
"""Whether a signature holds for the bytes of the body file. It may raise nothing: what it can't decide is False."""


def decode_value(raw: bytes) -> SignatureValue | None:
    """The parts of a signature value; None when it is not 74 bytes with a decimal certificate number."""
    serial = raw[4:10].hex()
    if len(raw) != VALUE_BYTES or not _SERIAL.fullmatch(serial):
        return None
    return SignatureValue(int.from_bytes(raw[:4], "big"), serial, raw[10:])


def encode_value(value: SignatureValue) -> bytes:
    """The 74 bytes of a signature value."""
    assert _SERIAL.fullmatch(value.serial) and len(value.r_s) == 64
    return value.time_s.to_bytes(4, "big") + bytes.fromhex(value.serial) + value.r_s


def read_signature(raw: bytes) -> SignatureReading:
    """Read a signature file; never raises."""
    findings = Findings()
    try:
        root = open_root(raw, SIGNATURE_BYTES_MAX)
        if etree.QName(root).localname != "Signature":
            findings.error("not_a_signature", "Signature", "The root element is not Signature.")
            raise EbdUnreadable
        signature = _signature(Node(root, "Signature", findings))
    except BadXml as bad:
        return SignatureReading(None, (Problem("error", bad.code, bad.where, bad.sentence),))
    except EbdUnreadable:
        signature = None
    return SignatureReading(None if findings.failed else signature, findings.problems)


def _signature(node: Node) -> EbdSignature:
    findings = node.findings
    text = node.text("SignatureValue", VALUE_CHARS_MAX, required=True)
    try:
        value = decode_value(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        value = None
    if value is None:
        where = f"{node.where}/SignatureValue"
        findings.error("signature_malformed", where, "The value is not the Base64 of time, certificate number and SM2.")
        raise EbdUnreadable
    certificate = node.child("SignatureCert")
    if certificate is None:
        node.missing("SignatureCert", fatal=False)
    signature = EbdSignature(
        related=node.id_in("RelatedEBD", "EBDID"),
        value=value,
        issuer=certificate.text("IssuerID") if certificate else "",
        serial=certificate.text("CertSN") if certificate else "",
        certificate_type=certificate.text("CertType") if certificate else "",
        version=node.text("Version"),
    )
    _agreement(node, signature)
    return signature


def _agreement(node: Node, signature: EbdSignature) -> None:
    """What the file says beside the value must be what the value says."""
    findings, time = node.findings, node.text("SignatureTime")
    if time and not (_HEX_TIME.fullmatch(time) and int(time, 16) == signature.value.time_s):
        findings.warn("signature_differs", f"{node.where}/SignatureTime", "The time is not that of the value.")
    if signature.serial and signature.serial != signature.value.serial:
        where = f"{node.where}/SignatureCert/CertSN"
        findings.warn("signature_differs", where, "The certificate number is not that of the value.")
    for name, known in (("DigestAlgorithm", DIGEST_ALGORITHM), ("SignatureAlgorithm", SIGNATURE_ALGORITHM)):
        if node.text(name) != known:
            findings.warn("algorithm_unknown", f"{node.where}/{name}", f"The {name} is not {known}.")


def write_signature(signature: EbdSignature) -> bytes:
    """The signature file as it goes on the wire, UTF-8 without a byte order mark."""
    root = etree.Element("Signature")
    _add(root, "Version", signature.version)
    _add(etree.SubElement(root, "RelatedEBD"), "EBDID", signature.related)
    certificate = etree.SubElement(root, "SignatureCert")
    _add(certificate, "CertType", signature.certificate_type)
    _add(certificate, "IssuerID", signature.issuer)
    _add(certificate, "CertSN", signature.serial)
    _add(root, "SignatureTime", f"{signature.value.time_s:08X}")
    _add(root, "DigestAlgorithm", DIGEST_ALGORITHM)
    _add(root, "SignatureAlgorithm", SIGNATURE_ALGORITHM)
    _add(root, "SignatureValue", base64.b64encode(encode_value(signature.value)).decode("ascii"))
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _add(parent: etree._Element, name: str, text: str) -> None:
    etree.SubElement(parent, name).text = text
