"""What speakers say, in JSON: receipts, state and hello. Unsigned: the broker's account of the speaker vouches.

Readers skip members that they do not know, so that a newer speaker is still heard; the known ones are checked whole.
"""

from __future__ import annotations

import json
import re
from typing import Final

from devices.protocols import documents as d
from devices.protocols import strict_json
from devices.protocols.document_json import CHAIN_HEAD, NAME_LONG, NONCE, SHA256, stream_versions
from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.strict_json import Members, malformed

_KINDS: Final = {str(kind): kind for kind in d.StepKind}
POWER: Final = ("mains", "battery", "unknown")
_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")
"""Neither control characters nor lone surrogates: no store would take them."""
_Evidence = dict[str, int | str]


def encode_receipt(receipt: d.Receipt) -> bytes:
    """Canonical JSON of a receipt. Raises LinkRefused for one that `decode_receipt` would refuse."""
    members: dict[str, object] = {
        "journal": receipt.journal,
        "seq": receipt.seq,
        "order": receipt.order,
        "rev": receipt.rev,
        "steps": [_plain_step(step) for step in receipt.steps],
    }
    if receipt.stream:
        members |= {"stream": receipt.stream, "version": receipt.version}
    raw = strict_json.canonical(members)
    decode_receipt(raw)
    return raw


def _plain_step(step: d.Step) -> dict[str, object]:
    members: dict[str, object] = {"kind": str(step.kind), "at": step.at}
    if step.reason:
        members["reason"] = step.reason
    if step.evidence is not None:
        members["evidence"] = step.evidence
    return members


def decode_receipt(raw: bytes) -> d.Receipt:
    """The receipt in a payload. Raises LinkRefused: EMPTY_PAYLOAD, OVER_CAP or MALFORMED.

    One fire brings ten thousand of these a second, so the members are tested where they are read, without `Members`.
    """
    _check_size(raw, d.RECEIPT_BYTES_MAX)
    try:
        members = json.loads(raw.decode("utf-8"))
        steps = members["steps"]
        if type(steps) is not list or not steps:
            raise malformed("receipt.steps")
        if len(steps) > d.RECEIPT_STEPS_MAX:
            raise LinkRefused(Refusal.OVER_CAP, "receipt.steps")
        receipt = d.Receipt(
            journal=members["journal"],
            seq=members["seq"],
            order=members["order"],
            rev=members["rev"],
            steps=tuple([_step(step) for step in steps]),
            stream=members.get("stream", ""),
            version=members.get("version", 0),
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise malformed("receipt") from error
    for number in (receipt.seq, receipt.rev, receipt.version):
        if type(number) is not int or not 0 <= number <= d.INTEGER_MAX:
            raise malformed("receipt: a number")
    if type(receipt.journal) is not str or not NAME_LONG.fullmatch(receipt.journal):
        raise malformed("receipt.journal")
    _check_subject(receipt.order, receipt.stream)
    return receipt


def _check_subject(order: object, stream: object) -> None:
    """Either an order or a stream is spoken of, never both, never neither."""
    if type(order) is not str or type(stream) is not str or bool(order) == bool(stream):
        raise malformed("receipt names not exactly one order or one stream")
    if order and not NAME_LONG.fullmatch(order):
        raise malformed("receipt.order")
    if len(stream) > d.TOPIC_CHARS_MAX or not (stream.isascii() and stream.isprintable()):
        raise malformed("receipt.stream")


def _step(members: dict[str, object]) -> d.Step:
    kind, at = members["kind"], members["at"]
    reason = members.get("reason", "")
    if type(kind) is not str or kind not in _KINDS:
        raise malformed("step.kind")
    if type(at) is not int or not 0 <= at <= d.INTEGER_MAX:
        raise malformed("step.at")
    if type(reason) is not str or len(reason) > d.REASON_CHARS_MAX or not _PLAIN.fullmatch(reason):
        raise malformed("step.reason")
    evidence = _evidence(members["evidence"]) if "evidence" in members else None
    return d.Step(_KINDS[kind], at, reason, evidence)


def _evidence(members: object) -> _Evidence:
    if type(members) is not dict:
        raise malformed("step.evidence")
    if len(members) > d.EVIDENCE_MEMBERS_MAX:
        raise LinkRefused(Refusal.OVER_CAP, "step.evidence")
    for name, value in members.items():
        if len(name) > 32 or not name.isidentifier() or not name.isascii():
            raise malformed("step.evidence: a name")
        if type(value) is str:
            if len(value) > d.EVIDENCE_CHARS_MAX or not _PLAIN.fullmatch(value):
                raise malformed("step.evidence: a text")
        elif type(value) is not int or abs(value) > d.INTEGER_MAX:
            raise malformed("step.evidence: a number")
    return members


def encode_state(state: d.SpeakerState) -> bytes:
    """Canonical JSON of a state. Raises LinkRefused for one that `decode_state` would refuse."""
    raw = strict_json.canonical({name: getattr(state, name) for name in state.__slots__})
    decode_state(raw)
    return raw


def decode_state(raw: bytes) -> d.SpeakerState:
    """The state in a payload. Raises LinkRefused: EMPTY_PAYLOAD, OVER_CAP or MALFORMED."""
    _check_size(raw, d.STATE_BYTES_MAX)
    members = Members(strict_json.loads(raw), "state")
    state = d.SpeakerState(
        online=members.boolean("online"),
        connection=members.integer("connection"),
        streams=stream_versions(members, "streams", d.STATE_STREAMS_MAX),
        keys_version=members.integer("keys_version"),
        config_version=members.integer("config_version"),
        journal=members.match("journal", NAME_LONG),
        seq=members.integer("seq"),
        volume=members.integer("volume", 0, 100),
        power=members.text("power", 16),
        cached=members.matches("cached", SHA256, d.STATE_CACHED_MAX),
        chain_head=members.match("chain_head", CHAIN_HEAD),
    )
    if state.power not in POWER:
        raise malformed("state.power")
    return state


def encode_hello(nonce: str) -> bytes:
    """A hello. Raises LinkRefused(MALFORMED) for a nonce that is not 16 to 64 characters of base64url."""
    raw = strict_json.canonical({"nonce": nonce})
    decode_hello(raw)
    return raw


def decode_hello(raw: bytes) -> str:
    """The nonce of a hello. Raises LinkRefused: EMPTY_PAYLOAD, OVER_CAP or MALFORMED."""
    _check_size(raw, d.HELLO_BYTES_MAX)
    return Members(strict_json.loads(raw), "hello").match("nonce", NONCE)


def _check_size(raw: bytes, bytes_max: int) -> None:
    if not raw:
        raise LinkRefused(Refusal.EMPTY_PAYLOAD)
    if len(raw) > bytes_max:
        raise LinkRefused(Refusal.OVER_CAP, f"{len(raw)} bytes, limit {bytes_max}")
