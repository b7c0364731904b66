"""Questions to one speaker and its answers, in JSON. Unsigned, because they make nothing sound.

Readers skip members that they do not know; the known ones are checked whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from devices.protocols import strict_json
from devices.protocols.document_json import NAME_LONG
from devices.protocols.documents import INTEGER_MAX
from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.report_json import POWER
from devices.protocols.strict_json import Members, malformed

RECEIPTS_KEPT_MAX: Final = 1_000
"""A speaker keeps its last receipts, so many; older ones cannot be asked for."""
ASK_BYTES_MAX: Final = 16_384
ANSWER_BYTES_MAX: Final = 16_384
ASKED_RECEIPTS_MAX: Final = 500
"""So many numbers of 16 digits fit an ask, and their split into `resent` and `gone` an answer."""
CORRELATION_CHARS_MAX: Final = 64
CODE_CHARS_MAX: Final = 64
CLOCK: Final = ("verified", "unverified")


class AskKind(StrEnum):
    RECEIPTS = "receipts"
    SELF_TEST = "self_test"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question. `missing` are the receipts' numbers that are asked for; `correlation` comes back in the answer."""

    ask: AskKind
    missing: tuple[int, ...] = ()
    correlation: str = ""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a speaker knows of itself. `cached` and `orders` are counts; `store` is "ok" or a code."""

    volume: int
    power: str
    cached: int
    store: str
    clock: str
    orders: int


@dataclass(frozen=True, slots=True)
class SpeakerAnswer:
    """What a speaker answers: the numbers that it sends again, and those that it no longer has, in this journal.

    `refused` is the code of a question that it does not understand; `found` what a self-test found.
    """

    journal: str
    resent: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    refused: str = ""
    found: SelfTest | None = None
    correlation: str = ""


def encode_ask(ask: Ask) -> bytes:
    """Canonical JSON of a question. Raises LinkRefused for one that `decode_ask` would refuse."""
    members: dict[str, object] = {"ask": str(ask.ask)}
    if ask.ask is AskKind.RECEIPTS:
        members["missing"] = list(ask.missing)
    if ask.correlation:
        members["correlation"] = ask.correlation
    raw = strict_json.canonical(members)
    decode_ask(raw)
    return raw


def decode_ask(raw: bytes) -> Ask:
    """The question in a payload. Raises LinkRefused: EMPTY_PAYLOAD, OVER_CAP or MALFORMED."""
    members = _members(raw, ASK_BYTES_MAX, "ask")
    ask = members.take("ask")
    correlation = _correlation(members)
    if ask == AskKind.RECEIPTS:
        return Ask(AskKind.RECEIPTS, _numbers(members, "missing"), correlation)
    if ask == AskKind.SELF_TEST:
        return Ask(AskKind.SELF_TEST, (), correlation)
    raise malformed("ask.ask")


def correlation_of(raw: bytes) -> str:
    """The correlation of a question, "" when it has none; of one that is not understood too."""
    try:
        return _correlation(_members(raw, ASK_BYTES_MAX, "ask"))
    except LinkRefused:
        return ""


def encode_answer(answer: SpeakerAnswer) -> bytes:
    """Canonical JSON of an answer. Raises LinkRefused for one that `decode_answer` would refuse."""
    members: dict[str, object] = {"journal": answer.journal}
    if answer.refused:
        members["refused"] = answer.refused
    elif answer.found is not None:
        members |= {name: getattr(answer.found, name) for name in SelfTest.__slots__}
    else:
        members |= {"resent": list(answer.resent), "gone": list(answer.gone)}
    if answer.correlation:
        members["correlation"] = answer.correlation
    raw = strict_json.canonical(members)
    decode_answer(raw)
    return raw


def decode_answer(raw: bytes) -> SpeakerAnswer:
    """The answer in a payload. Raises LinkRefused as `decode_ask`."""
    members = _members(raw, ANSWER_BYTES_MAX, "answer")
    journal, correlation = members.match("journal", NAME_LONG), _correlation(members)
    if "refused" in members:
        return SpeakerAnswer(journal, refused=members.text("refused", CODE_CHARS_MAX), correlation=correlation)
    if "resent" in members:
        return SpeakerAnswer(journal, _numbers(members, "resent"), _numbers(members, "gone"), correlation=correlation)
    found = SelfTest(
        volume=members.integer("volume", 0, 100),
        power=members.text("power", CODE_CHARS_MAX),
        cached=members.integer("cached"),
        store=members.text("store", CODE_CHARS_MAX),
        clock=members.text("clock", CODE_CHARS_MAX),
        orders=members.integer("orders"),
    )
    if found.power not in POWER or found.clock not in CLOCK:
        raise malformed("answer.power or answer.clock")
    return SpeakerAnswer(journal, found=found, correlation=correlation)


def _members(raw: bytes, bytes_max: int, where: str) -> Members:
    if not raw:
        raise LinkRefused(Refusal.EMPTY_PAYLOAD)
    if len(raw) > bytes_max:
        raise LinkRefused(Refusal.OVER_CAP, f"{len(raw)} bytes, limit {bytes_max}")
    return Members(strict_json.loads(raw), where)


def _correlation(members: Members) -> str:
    return members.text("correlation", CORRELATION_CHARS_MAX) if "correlation" in members else ""


def _numbers(members: Members, name: str) -> tuple[int, ...]:
    numbers = members.items(name, ASKED_RECEIPTS_MAX)
    return tuple(sorted({_number(number, name) for number in numbers}))


def _number(value: object, name: str) -> int:
    if type(value) is not int or not 1 <= value <= INTEGER_MAX:
        raise malformed(f"{name} holds something other than a receipt's number")
    return value
