"""The clock rule: ask at boot, on a stale, rolled-back or future document, every 15 minutes; trust a signed answer.

UTC is the answer's time plus half the round trip. Until then it goes on from the time on disk; the machine's own clock
is never asked, because nobody can tell a clock that is ahead from a long power cut.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.speaker_link import (
    area_manifests,
    encode_hello,
    hello_answer_topic,
    hello_topic,
    read_hello_answer,
    speaker_manifests,
)
from devices.speaker import events as e
from devices.speaker import limits, receipts
from devices.speaker.turn import Turn, spread

EVERY_US = 900_000_000
SPACING_US = 5_000_000
ROUND_TRIP_US_MAX = 10_000_000
RETRY_US = 2_000_000
RETRY_US_MAX = 60_000_000
ISSUED_AHEAD_US_MAX = 2_000_000
"""How far the issue of a signed document may lie ahead of the speaker's clock before that is doubted."""


def soon(t: Turn) -> None:
    """Ask again at once, but never more often than every 5 s."""
    t.clock = replace(t.clock, next_us=min(t.clock.next_us, _spaced(t)))


def _spaced(t: Turn) -> int:
    return max(t.mono_us, t.clock.asked_us + SPACING_US)


def doubted(t: Turn) -> None:
    """A signed document does not fit the clock: ask, and again after the answer to a hello that is out already.

    That answer may have been given before the dispatcher's clock was put right.
    """
    soon(t)
    t.clock = replace(t.clock, again=bool(t.clock.nonce))


def issued_ahead(t: Turn, issued_us: int) -> None:
    """A signed document was issued in what is the future here: the dispatcher's clock has been put forward."""
    now_us = t.now_us
    if now_us is not None and issued_us > now_us + ISSUED_AHEAD_US_MAX:
        doubted(t)


def at_connect(t: Turn) -> None:
    """A new link: an answer to the old one will not come; ask now unless the clock was verified lately."""
    due_us = t.clock.next_us if t.clock.verified and not t.clock.nonce else t.mono_us
    t.clock = replace(t.clock, nonce="", tries=0, next_us=due_us)


def greet(t: Turn) -> None:
    """Send the hello that is due; without an answer it is repeated, ever more slowly."""
    if not t.mail.connected:
        return
    if t.clock.next_us <= t.mono_us:
        asked = t.clock.asked + 1
        nonce = hashlib.sha256(f"{t.seed} {t.speaker} {asked}".encode()).hexdigest()[:32]
        pause_us = min(RETRY_US << min(t.clock.tries, 10), RETRY_US_MAX)
        pause_us += spread(nonce, pause_us)
        t.clock = replace(
            t.clock, nonce=nonce, asked=asked, asked_us=t.mono_us, tries=t.clock.tries + 1, again=False,
            next_us=t.mono_us + pause_us,
        )  # fmt: skip
        t.effect(e.Publish(hello_topic(t.speaker), encode_hello(nonce)))
    t.wake(t.clock.next_us)


def take_answer(t: Turn, raw: bytes) -> bool:
    """Set the clock by a signed answer to the hello now out. True when it was set."""
    clock, keys = t.clock, t.papers.keys
    if not clock.nonce or keys is None:
        return False
    try:
        answer = read_hello_answer(raw, clock.nonce, keys)
    except LinkRefused as refused:
        # An answer to an earlier hello is late, not wrong.
        if refused.reason is not Refusal.WRONG_NONCE:
            receipts.refuse_document(t, hello_answer_topic(t.speaker), 0, refused.reason)
        return False
    round_trip_us = t.mono_us - clock.asked_us
    if round_trip_us > ROUND_TRIP_US_MAX:
        return False
    utc_us = answer.utc + round_trip_us // 2
    offset_us = utc_us - t.mono_us
    next_us = _spaced(t) if clock.again else t.mono_us + EVERY_US - spread(clock.nonce, EVERY_US // 10)
    t.clock = replace(clock, offset_us=offset_us, verified=True, nonce="", tries=0, next_us=next_us, again=False)
    note_time(t, at_once=True)
    if not clock.verified:
        limits.age(t, offset_us)
    if not t.born_us:
        t.born_us = t.booted_us + offset_us
        t.fact("self", "born", str(t.born_us))
    receipts.refusals_settled(t, hello_answer_topic(t.speaker))
    _ask_for_newer(t, answer.streams)
    return True


def note_time(t: Turn, at_once: bool = False) -> None:
    """Put the time on disk with whatever is written, and every 15 minutes: after a power cut it is at least that.

    A time that goes on from the disk is noted as well; it can only be behind.
    """
    if t.now_us is None:
        return
    if at_once or t.writes or t.mono_us >= t.clock.noted_us + EVERY_US:
        t.fact("self", "utc", str(t.now_us))
        t.clock = replace(t.clock, noted_us=t.mono_us)
    t.wake(t.clock.noted_us + EVERY_US)


def _ask_for_newer(t: Turn, versions: dict[str, int]) -> None:
    """The dispatcher has newer versions than came over the link: subscribe again, so that the broker sends its copy."""
    if t.config is None:
        return
    own = {speaker_manifests(t.speaker), *(area_manifests(area) for area in t.config.area_chain + t.config.overlay)}
    held = {topic: stream.version for topic, stream in t.papers.streams.items()}
    behind = {f"{topic.rsplit('/', 2)[0]}/+/+" for topic, version in versions.items() if held.get(topic, 0) < version}
    if behind & own:
        t.effect(e.Subscribe(tuple(sorted(behind & own))))
