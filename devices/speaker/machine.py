"""The speaker's machine: one event in, the next state and the effects out. Reads no clock, draws nothing at random.

It holds the newest signed documents of its streams, works out anew at every event which order is to sound, and says
what happened. The rules are the speaker link's; each lives in the module that its name says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, assert_never

from devices.protocols.documents import Audio, KeyUse, LinkKey
from devices.protocols.refusals import LinkRefused
from devices.protocols.speaker_link import (
    KEYS_TOPIC,
    ask_topic,
    config_topic,
    decode_receipt,
    digest,
    hello_answer_topic,
    parse_manifest_topic,
    read_accepted_config,
    read_keys,
    state_topic,
)
from devices.speaker import choice, hello, limits, papers, receipts, sounding
from devices.speaker import events as e
from devices.speaker.claims import HeldManifest, Papers, held_of, recounted
from devices.speaker.receipts import is_final
from devices.speaker.standing import retarget
from devices.speaker.state import (
    Letter,
    Mail,
    SoundNow,
    SpeakerClock,
    State,
    blank,
    draft_of,
    latest,
    mark_of,
    order_of,
    without,
)
from devices.speaker.turn import Turn, spread

__all__ = ["State", "blank", "decide"]

FETCH_AGAIN_US = 30_000_000
NEVER_US = 2**62
T = TypeVar("T")


def decide(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
    """The state after an event, and what is to be done, in this order. The same input always gives the same output."""
    t = Turn(state, event.mono_us)
    match event:
        case e.Booted():
            _boot(t, event)
        case e.Connecting():
            _connecting(t)
        case e.Connected():
            _connected(t)
        case e.Disconnected():
            t.mail = replace(t.mail, connected=False)
            t.clock = replace(t.clock, nonce="")
        case e.Message():
            _message(t, event)
        case e.Acknowledged():
            receipts.acknowledged(t, event.seq)
        case e.Tick():
            pass  # Everything that time changes is worked out below.
        case e.SoundLoaded():
            sounding.loaded(t, event)
        case e.SoundMeasured():
            sounding.measured(t, event.ticket, event.ms)
        case e.SoundBegan():
            sounding.began(t, event.ticket, event.mic_db)
        case e.SoundProgress():
            sounding.progress(t, event)
        case e.SoundEnded():
            sounding.ended(t, event)
        case e.SoundFailed():
            sounding.failed(t, event.ticket, event.reason)
        case e.AudioStored():
            fetching = without(t.sound.fetching, event.sha256)
            t.sound = replace(t.sound, cached=t.sound.cached | {event.sha256}, fetching=fetching)
            receipts.state_changed(t)
            choice.audio_stored(t, event.sha256)
        case e.AudioFailed():
            again_us = t.mono_us + FETCH_AGAIN_US if event.again else NEVER_US
            t.sound = replace(t.sound, fetching={**t.sound.fetching, event.sha256: again_us})
        case e.AudioForgotten():
            t.sound = replace(t.sound, cached=t.sound.cached - {event.sha256})
            receipts.state_changed(t)
        case e.StoreFailed():
            t.sound = replace(t.sound, store_reason=event.reason)
        case e.PowerChanged():
            t.sound = replace(t.sound, power=event.power)
            receipts.state_changed(t)
        case e.Stopping():
            _stopping(t)
            hello.note_time(t)
            return t.done(state, ticked=False)
        case _:
            assert_never(event)
    choice.settle(t)
    _fetch(t)
    receipts.deliver(t)
    hello.greet(t)
    hello.note_time(t)
    return t.done(state, ticked=isinstance(event, e.Tick))


def _connecting(t: Turn) -> None:
    """Count the connection, on disk before the broker can see it."""
    t.mail = replace(t.mail, connection=t.mail.connection + 1)
    t.fact("self", "connection", str(t.mail.connection))
    t.effect(e.Connect(state_topic(t.speaker), receipts.state_payload(t, online=False)))


def _connected(t: Turn) -> None:
    t.mail = replace(t.mail, connected=True)
    t.effect(e.Subscribe(papers.filters(t.speaker, t.config)))
    receipts.publish_state(t)
    receipts.resend_unacked(t)
    hello.at_connect(t)


def _message(t: Turn, event: e.Message) -> None:
    if event.topic == KEYS_TOPIC:
        papers.take_keys(t, event.payload)
    elif event.topic == config_topic(t.speaker):
        papers.take_config(t, event.payload)
    elif event.topic == hello_answer_topic(t.speaker):
        if hello.take_answer(t, event.payload):
            papers.reread(t)
    elif event.topic == ask_topic(t.speaker):
        receipts.answer_ask(t, event.payload)
    else:
        papers.take_manifest(t, event.topic, event.payload)


def _stopping(t: Turn) -> None:
    """Leave in good order: an interrupted repeat sounds again whole after the next start."""
    if t.sound.sounding is not None:
        sounding.cut(t, "stopping", t.now_us or 0)
    sounding.drop_loading(t)
    receipts.flush(t)
    if t.mail.connected:
        receipts.publish_state(t, online=False)


def _fetch(t: Turn) -> None:
    """Ask for the audio that the config stages or orders in force name, and the store lacks; spread over the fleet."""
    if t.config is None:
        return
    after_us = t.mono_us + spread(t.speaker, t.config.fetch_spread_s * 1_000_000)
    keep = frozenset(audio.sha256 for audio in t.config.staged)
    for base, audio in (*_said_soon(t), *((t.config.audio_base, audio) for audio in t.config.staged)):
        again_us = t.sound.fetching.get(audio.sha256)
        if audio.sha256 in t.sound.cached or not base:
            continue
        if again_us is None or 0 < again_us <= t.mono_us:
            t.sound = replace(t.sound, fetching={**t.sound.fetching, audio.sha256: 0})
            t.effect(e.Fetch(audio.sha256, f"{base}/{audio.sha256}", audio.bytes, after_us, keep))
        elif 0 < again_us < NEVER_US:
            t.wake(again_us)


def _said_soon(t: Turn) -> list[tuple[str, Audio]]:
    """(base address, recording) of the orders that may sound, now or later."""
    now_us = t.now_us
    if now_us is None:
        return []
    wanted = [key for key in t.live if choice.obstacle(t, key, now_us) in _MAY_SOUND]
    return [(t.orders[key].audio_base, audio) for key in wanted for audio in t.orders[key].order.audio]


_MAY_SOUND = {
    choice.Obstacle.NONE,
    choice.Obstacle.EARLY,
    choice.Obstacle.RESTING,
    choice.Obstacle.RATE_LIMITED,
    choice.Obstacle.UNTIMED,
}


def _boot(t: Turn, event: e.Booted) -> None:
    """Take up what the journal says. A fact that cannot be read is left out, and the store's state says so."""
    facts = latest(event.image)
    own = facts.get("self", {})
    t.journal, t.seed, t.booted_us = event.image.journal, event.seed, event.mono_us
    t.born_us = int(own.get("born", 0))
    t.sound = SoundNow(cached=frozenset(event.cached), installed=event.volume, power=event.power)
    t.live, t.orders, t.marks = (), {}, {}
    stored_us = int(own.get("utc", 0))
    # Before a verified hello, only a speaker that once had the time may act: by the time on disk, which goes on from
    # the boot. Nobody knows how long the power was away: an expired order may sound, but none in force falls silent.
    offset_us = stored_us - event.mono_us if stored_us else None
    t.clock = SpeakerClock(offset_us=offset_us, noted_us=event.mono_us, next_us=event.mono_us)
    t.papers = _stored_papers(t, facts)
    _stored_orders(t, facts)
    _stored_mail(t, facts)
    starts = own.get("starts", "[]")
    t.starts = _read(t, "starts_unread", lambda: limits.stored(starts, stored_us, event.mono_us)) or ()
    for key, mark in tuple(t.marks.items()):
        sounding.recovered(t, key, mark)
    retarget(t)


def _stored_papers(t: Turn, facts: dict[str, dict[str, str]]) -> Papers:
    docs = facts.get("doc", {})
    unread = "document_unread"
    root, next_root = t.papers.root, None
    if "roots" in docs:
        root, next_root = _read(t, unread, lambda: _roots(docs["roots"])) or (root, next_root)
    keys_raw, config_raw = docs.get("keys", "").encode(), docs.get("config", "").encode()
    # A file that was changed by hand is left out, and the link will bring a good document.
    keys = _read(t, unread, lambda: read_keys(keys_raw, root, next_root)) if keys_raw else None
    # It was verified when it was accepted. Like an accepted order it outlives its key.
    config = _read(t, unread, lambda: read_accepted_config(config_raw, t.speaker)) if config_raw else None
    stored = Papers(
        root, next_root, keys, digest(keys_raw) if keys else b"", config, digest(config_raw) if config else b"",
        configs=_read(t, unread, lambda: held_of(docs.get("configs", "[]"))) or (),
        accepted=_each(t, unread, facts.get("stream", {}), _stream_of),
        said=_each(t, unread, facts.get("said", {}), lambda _, text: _said(text)),
    )  # fmt: skip
    return recounted(stored)


def _read(t: Turn, reason: str, read: Callable[[], T]) -> T | None:
    """What a fact says; None, and the store's state says why, where it is in no form that is known here."""
    try:
        return read()
    except (LinkRefused, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        t.sound = replace(t.sound, store_reason=reason)
        return None


def _each(t: Turn, reason: str, facts: dict[str, str], read: Callable[[str, str], T]) -> dict[str, T]:
    """The facts of one kind, without those that cannot be read."""
    found = {key: _read(t, reason, partial(read, key, text)) for key, text in facts.items()}
    return {key: value for key, value in found.items() if value is not None}


def _stream_of(topic: str, text: str) -> tuple[HeldManifest, ...]:
    parse_manifest_topic(topic)
    return held_of(text)


def _said(text: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(version), str(reason)) for version, reason in json.loads(text))


def _roots(text: str) -> tuple[LinkKey, LinkKey | None]:
    first, second = json.loads(text)
    return _key(first), _key(second) if second else None


def _key(members: dict[str, Any]) -> LinkKey:
    return LinkKey(**(members | {"use": KeyUse(members["use"]), "levels": tuple(members["levels"])}))


def _stored_orders(t: Turn, facts: dict[str, dict[str, str]]) -> None:
    marks = facts.get("mark", {})
    for key, standing in _each(t, "order_unread", facts.get("order", {}), lambda _, text: order_of(text)).items():
        t.set_order(key, standing)
        mark = _read(t, "order_unread", lambda key=key: mark_of(marks[key])) if key in marks else None  # type: ignore[misc]
        if mark is not None:
            t.marks = {**t.marks, key: mark}


def _ended_something(payload: bytes) -> bool:
    try:
        return is_final(decode_receipt(payload).steps)
    except LinkRefused:
        return True  # Written by another version: sent as it stands, and the last to be dropped.


def _stored_mail(t: Turn, facts: dict[str, dict[str, str]]) -> None:
    own = facts.get("self", {})
    letters = {
        int(seq): Letter(text.encode(), _ended_something(text.encode()))
        for seq, text in sorted(facts.get("receipt", {}).items(), key=lambda item: int(item[0]))
    }
    acked = int(own.get("acked", 0))
    t.mail = Mail(
        connection=int(own.get("connection", 0)),
        seq=max([int(own.get("seq", 0)), *letters]),
        letters=letters,
        unacked=tuple(seq for seq in letters if seq > acked),
        drafts=_each(t, "order_unread", facts.get("draft", {}), lambda _, text: draft_of(text, t.mono_us)),
    )
