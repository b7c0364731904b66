"""What the speaker says of itself: steps gathered into receipts, receipts kept and sent again, the retained state.

Step reasons are codes. A receipt is numbered and on disk before it is sent.
"""

from __future__ import annotations

import json
from dataclasses import replace

from devices.protocols import asking
from devices.protocols.asking import RECEIPTS_KEPT_MAX, Ask, AskKind, SelfTest, SpeakerAnswer
from devices.protocols.documents import (
    REASON_CHARS_MAX,
    STATE_CACHED_MAX,
    STATE_STREAMS_MAX,
    Receipt,
    SpeakerState,
    Step,
    StepKind,
)
from devices.protocols.refusals import LinkRefused
from devices.protocols.speaker_link import answer_topic, encode_receipt, encode_state, receipt_topic, state_topic
from devices.speaker import events as e
from devices.speaker.standing import in_force
from devices.speaker.state import (
    STEP_WINDOW_US,
    Draft,
    Letter,
    draft_entry,
    without,
)
from devices.speaker.turn import Turn, spread

STEPS_A_MESSAGE_MAX = 16
STATE_SPREAD_US = 8_000_000
STATE_WAIT_US = 2_000_000
HEARTBEAT_US = 60_000_000
SAID_A_STREAM_MAX = 16
SAID_STREAMS_MAX = 64

_FINAL = {StepKind.FINISHED, StepKind.REFUSED, StepKind.FAILED, StepKind.SUPERSEDED}


def say(
    t: Turn,
    key: str,
    rev: int,
    kind: StepKind,
    reason: str = "",
    evidence: dict[str, int | str] | None = None,
    at_us: int | None = None,
) -> None:
    """Add one step of an order; it leaves within 500 ms, `accepted` within the spread of the config.

    `at_us` is when the step was, 0 when nobody knows; None stands for now.
    """
    step = Step(kind, t.verified_us if at_us is None else at_us, reason[:REASON_CHARS_MAX], evidence)
    wait_us = STEP_WINDOW_US
    if kind is StepKind.ACCEPTED:
        spread_us = t.config.accepted_spread_ms * 1_000 if t.config else 0
        wait_us = spread(f"{t.speaker} {key}", spread_us)
    flush_us = t.mono_us + wait_us
    draft = t.mail.drafts.get(key)
    if draft is not None and draft.rev != rev:
        _send_draft(t, key, draft)
        draft = None
    if draft is None:
        draft = Draft(rev, (step,), flush_us)
    else:
        draft = Draft(rev, (*draft.steps, step), min(draft.flush_us, flush_us))
    t.mail = replace(t.mail, drafts={**t.mail.drafts, key: draft})
    t.keep(draft_entry(key, draft))
    if len(draft.steps) >= STEPS_A_MESSAGE_MAX:
        _send_draft(t, key, draft)


def refuse_document(t: Turn, topic: str, version: int, reason: str) -> None:
    """Say once per (stream, version, reason) that a document is not obeyed; a good document there starts afresh."""
    said = t.papers.said.get(topic, ())
    if (version, reason) in said:
        return
    if topic not in t.papers.said and len(t.papers.said) >= SAID_STREAMS_MAX:
        t.mail = replace(t.mail, dropped=t.mail.dropped + 1)
        return
    said = (*said, (version, reason))[-SAID_A_STREAM_MAX:]
    t.papers = replace(t.papers, said={**t.papers.said, topic: said})
    t.fact("said", topic, json.dumps(said))
    step = Step(StepKind.REFUSED, t.verified_us, reason)
    _send(t, "", 0, (step,), topic, version)


def refusals_settled(t: Turn, topic: str) -> None:
    """A document was accepted on this topic: later refusals there are news again."""
    if topic in t.papers.said:
        t.papers = replace(t.papers, said=without(t.papers.said, topic))
        t.fact("said", topic, None)


def deliver(t: Turn) -> None:
    """Send the drafts whose time has come, and the state when something in it changed."""
    for key, draft in t.mail.drafts.items():
        if draft.flush_us <= t.mono_us:
            _send_draft(t, key, draft)
        else:
            t.wake(draft.flush_us)
    if t.mail.connected:
        _deliver_state(t)


def flush(t: Turn) -> None:
    """Send every draft now."""
    for key, draft in t.mail.drafts.items():
        _send_draft(t, key, draft)


def _send_draft(t: Turn, key: str, draft: Draft) -> None:
    t.mail = replace(t.mail, drafts=without(t.mail.drafts, key))
    t.fact("draft", key, None)
    _send(t, key.partition("/")[2], draft.rev, draft.steps)


def _send(t: Turn, order: str, rev: int, steps: tuple[Step, ...], stream: str = "", version: int = 0) -> None:
    if t.mail.dropped:
        evidence = {**(steps[0].evidence or {}), "dropped": t.mail.dropped}
        steps = (replace(steps[0], evidence=evidence), *steps[1:])
    seq = t.mail.seq + 1
    payload = encode_receipt(Receipt(t.journal, seq, order, rev, steps, stream, version))
    letter = Letter(payload, is_final(steps))
    letters = {**t.mail.letters, seq: letter}
    unacked = (*t.mail.unacked, seq)
    t.mail = replace(t.mail, seq=seq, letters=letters, unacked=unacked, dropped=0)
    t.fact("receipt", str(seq), payload.decode())
    t.fact("self", "seq", str(seq))
    t.fact("self", "acked", str(unacked[0] - 1))
    _make_room(t)
    if t.mail.connected:
        t.effect(e.Publish(receipt_topic(t.speaker), payload, seq=seq))


def is_final(steps: tuple[Step, ...]) -> bool:
    """Whether these steps say how something ended; such a receipt is the last to be dropped."""
    return any(step.kind in _FINAL for step in steps)


def _make_room(t: Turn) -> None:
    """Keep the last 1,000: first what the broker has had goes, then the oldest without a final step, and is counted."""
    while len(t.mail.letters) > RECEIPTS_KEPT_MAX:
        waiting = set(t.mail.unacked)
        had = next((seq for seq in t.mail.letters if seq not in waiting), None)
        minor = next((seq for seq, letter in t.mail.letters.items() if not letter.final), None)
        lost = had or minor or next(iter(t.mail.letters))
        t.mail = replace(
            t.mail,
            letters={seq: letter for seq, letter in t.mail.letters.items() if seq != lost},
            unacked=tuple(seq for seq in t.mail.unacked if seq != lost),
            dropped=t.mail.dropped + (had is None),
        )
        t.fact("receipt", str(lost), None)


def acknowledged(t: Turn, seq: int) -> None:
    """The broker has had this receipt; it stays in case the dispatcher asks for it."""
    if seq in t.mail.unacked:
        t.mail = replace(t.mail, unacked=tuple(n for n in t.mail.unacked if n != seq))


def resend_unacked(t: Turn) -> None:
    for seq in t.mail.unacked:
        t.effect(e.Publish(receipt_topic(t.speaker), t.mail.letters[seq].payload, seq=seq))


def answer_ask(t: Turn, payload: bytes) -> None:
    """Send the receipts that the dispatcher misses and say which are gone, or say how this speaker is.

    An ask is not signed: it makes nothing sound and costs at most one message per receipt asked for.
    """
    try:
        ask = asking.decode_ask(payload)
    except LinkRefused:
        answer = SpeakerAnswer(t.journal, refused="unknown_ask", correlation=asking.correlation_of(payload))
    else:
        answer = _resend(t, ask) if ask.ask is AskKind.RECEIPTS else _self_test(t, ask)
    t.effect(e.Publish(answer_topic(t.speaker), asking.encode_answer(answer)))


def _resend(t: Turn, ask: Ask) -> SpeakerAnswer:
    held = tuple(seq for seq in ask.missing if seq in t.mail.letters)
    for seq in held:
        t.effect(e.Publish(receipt_topic(t.speaker), t.mail.letters[seq].payload, seq=seq))
    gone = tuple(seq for seq in ask.missing if seq not in t.mail.letters)
    return SpeakerAnswer(t.journal, held, gone, correlation=ask.correlation)


def _self_test(t: Turn, ask: Ask) -> SpeakerAnswer:
    found = SelfTest(
        volume=t.volume,
        power=t.sound.power,
        cached=len(t.sound.cached),
        store=t.sound.store_reason or "ok",
        clock="verified" if t.clock.verified else "unverified",
        orders=len(t.orders),
    )
    return SpeakerAnswer(t.journal, found=found, correlation=ask.correlation)


def state_payload(t: Turn, online: bool) -> bytes:
    """The retained state; the last will is the same with `online` false."""
    streams = t.papers.streams
    newest = max(streams.values(), key=lambda held: held.version, default=None)
    # Orders in force of a stream without a version that counts: whoever signs there again is to find them.
    left = {standing.claim.stream for standing in t.orders.values() if in_force(t, standing)} - set(streams)
    versions = {topic: held.version for topic, held in streams.items()}
    versions |= dict.fromkeys(sorted(left)[: STATE_STREAMS_MAX - len(versions)], 0)
    return encode_state(
        SpeakerState(
            online=online,
            connection=t.mail.connection,
            streams=versions,
            keys_version=t.papers.keys.version if t.papers.keys else 0,
            config_version=t.config.version if t.config else 0,
            journal=t.journal,
            seq=t.mail.seq,
            volume=t.volume,
            power=t.sound.power,
            cached=tuple(sorted(t.sound.cached)[:STATE_CACHED_MAX]),
            chain_head=newest.chain_head if newest else "",
        )
    )


def publish_state(t: Turn, online: bool = True) -> None:
    payload = state_payload(t, online)
    due_us = t.mono_us + HEARTBEAT_US + spread(f"{t.speaker} heartbeat", STATE_SPREAD_US)
    t.mail = replace(t.mail, state_said=payload, state_due_us=due_us)
    t.effect(e.Publish(state_topic(t.speaker), payload, retain=True))


def state_changed(t: Turn) -> None:
    """Publish the state soon; changes in quick succession, and ten thousand speakers at once, share the time."""
    due_us = t.mono_us + STATE_WAIT_US + spread(f"{t.speaker} state", STATE_SPREAD_US)
    t.mail = replace(t.mail, state_due_us=min(t.mail.state_due_us, due_us))


def _deliver_state(t: Turn) -> None:
    if t.mail.state_due_us <= t.mono_us:
        publish_state(t)
    t.wake(t.mail.state_due_us)
