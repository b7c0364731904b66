"""Packets to test with: the files of tests/data/ebd, changed only where a test is about the change."""

from __future__ import annotations

from pathlib import Path

from services.dispatcher.domain.signals import Feed, Use
from services.dispatcher.feeds.ebd_message import Body, Packet
from services.dispatcher.feeds.ebd_read import read_packet
from services.dispatcher.feeds.ebd_signature import EbdSignature, SignatureValue

DATA = Path(__file__).parents[1] / "data" / "ebd"
ORDER = (DATA / "order.xml").read_text(encoding="utf-8")
OLD_FORMS = (DATA / "order_old_forms.xml").read_text(encoding="utf-8")
CANCEL = (DATA / "cancel.xml").read_text(encoding="utf-8")
FEED = Feed("upper", "示例市平台", "应急广播", "ebd", Use.ACTUAL, "", "210200000000")
# 2026-07-01 08:00:00 in Beijing.
SENT_US = 1_782_864_000_000_000
RECEIVED_US = SENT_US + 5_000_000
PLATFORM = "32102000000000103010101"
OURS = "42102020000000103010101"
EBDID = f"10{PLATFORM}0000000000000042"
EBMID = f"{PLATFORM}202607010001"
SIGNED = EbdSignature(
    EBDID, SignatureValue(SENT_US // 1_000_000, "000000003363", bytes(range(64))), serial="000000003363"
)


def with_(text: str, *changes: tuple[str, str]) -> bytes:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode()


def cut(text: str, name: str) -> bytes:
    """The packet without the first element of that name."""
    start, end = text.index(f"<{name}>"), text.index(f"</{name}>") + len(name) + 3
    return (text[:start] + text[end:]).encode()


def packet_of(type: str, body: str, head: str = "") -> bytes:
    """A packet of another type, without a destination."""
    return (
        f"<EBD><EBDVersion>1.0</EBDVersion><EBDID>{EBDID}</EBDID><EBDType>{type}</EBDType>"
        f"<SRC><EBRID>{PLATFORM}</EBRID></SRC><EBDTime>2026-07-01 08:00:00</EBDTime>{head}<{type}>{body}</{type}></EBD>"
    ).encode()


def accepted(raw: bytes) -> Packet:
    found = read_packet(raw)
    assert found.packet is not None, found.problems
    return found.packet


def body_of(raw: bytes) -> Body:
    return accepted(raw).body


def errors(raw: bytes) -> list[tuple[str, str]]:
    found = read_packet(raw)
    wrong = [(p.code, p.where) for p in found.problems if p.severity == "error"]
    assert (found.packet is None) == bool(wrong)
    return wrong


def warned(raw: bytes) -> list[tuple[str, str]]:
    found = read_packet(raw)
    assert found.packet is not None, found.problems
    return [(p.code, p.where) for p in found.problems]
