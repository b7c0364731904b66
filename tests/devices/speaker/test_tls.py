"""The link over TLS: with the right certificate it comes up, with a stranger's it does not."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devices.speaker.loop import Loop
from tests.devices.speaker.conftest import Mosquitto
from tests.devices.speaker.desk import ROUNDS_MAX
from tests.devices.speaker.test_agent import an_agent, settings_for


def a_certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for loopback with its key beside it; returns the certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    no_password = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
    path.with_suffix(".key").write_bytes(private)
    return path


def connects(broker: Mosquitto, store: Path, ca: Path) -> bool:
    loop = Loop()
    agent = an_agent(loop, settings_for(broker.port, store, tls_ca=str(ca)))
    agent.start()
    for _ in range(ROUNDS_MAX):
        if agent.state.mail.connected or agent.state.mail.connection >= 3:
            break
        loop.run_once(wait_us_max=20_000)
    connected = agent.state.mail.connected
    agent.close()
    loop.close()
    return connected


# paho drops the socket of a failed handshake without closing it; it is closed when it is collected.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_tls_comes_up_with_the_right_certificate_only(broker: Mosquitto, tmp_path: Path) -> None:
    mine, strange = a_certificate(tmp_path, "mine"), a_certificate(tmp_path, "strange")
    broker.stop()
    with broker.config.open("a") as config:
        config.write(f"certfile {mine}\nkeyfile {mine.with_suffix('.key')}\n")
    broker.start()
    assert connects(broker, tmp_path / "a", mine)
    assert not connects(broker, tmp_path / "b", strange)
