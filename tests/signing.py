"""Alerts signed as departments sign them, with keys and certificates made for the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

NOW = datetime(2026, 7, 1, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class OldSigner(XMLSigner):
    """Signs as senders did before SHA-1 was given up."""

    def check_deprecated_methods(self) -> None:
        return None


@cache
def key(name: str) -> Key:
    if name.startswith("rsa"):
        return rsa.generate_private_key(65_537, int(name[3:]))
    return ec.generate_private_key(ec.SECP256R1())


@cache
def certified(name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name}.example.cn")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).serial_number(7)
    builder = builder.public_key(key(name).public_key())
    builder = builder.not_valid_before(NOW - timedelta(days=60)).not_valid_after(NOW + timedelta(days=30))
    return builder.sign(key(name), hashes.SHA256())


def signed(raw: bytes, name: str, *, old: bool = False, carries: bool = True) -> bytes:
    method = SignatureMethod.RSA_SHA256 if name.startswith("rsa") else SignatureMethod.ECDSA_SHA256
    signer = XMLSigner(signature_algorithm=method)
    if old:
        signer = OldSigner(signature_algorithm=SignatureMethod.RSA_SHA1, digest_algorithm=DigestAlgorithm.SHA1)
    whose = [certified(name)] if carries else []
    root = signer.sign(etree.fromstring(raw), key=key(name), cert=whose or None, always_add_key_value=not carries)
    return etree.tostring(root)
