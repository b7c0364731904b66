"""The speaker agent: machine, disk, loudspeaker and link, for one or for hundreds of speakers in a process.

This is the edge: it reads the clocks, carries out effects in order and feeds back what happens. It decides nothing.
"""

from __future__ import annotations

import random
import secrets
import signal
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from devices.speaker import events as e
from devices.speaker.events import SoundPlan
from devices.speaker.fetch import FetchFailed, fetch
from devices.speaker.journal import Journal, JournalFailed
from devices.speaker.link import Broker, Link
from devices.speaker.loop import Loop, LoopTimer
from devices.speaker.machine import blank, decide
from devices.speaker.player import NullPlayer, Player
from devices.speaker.render import RenderFailed, Studio
from devices.speaker.settings import PlayerKind, SpeakerSettings
from devices.speaker.sound_card import SoundCardPlayer, trouble
from devices.speaker.store import AudioStore
from devices.speaker.wav_player import WavPlayer

RECONNECT_SPREAD_S = 20
LOADS_KEPT_MAX = 16
FAILURES_KEPT_MAX = 64
_log = structlog.get_logger("speaker")


class Agent:
    """One speaker. Several may share a loop and an audio store, never a journal directory."""

    def __init__(self, settings: SpeakerSettings, loop: Loop, player: Player, audio: AudioStore) -> None:
        """Opens the journal. Raises JournalInUse, and OSError when the store directory cannot be made."""
        self.settings = settings
        self._loop, self._player, self._audio = loop, player, audio
        self._journal = Journal(settings.store)
        self.state = blank(settings.id, settings.root)
        self._events: deque[e.Event] = deque()
        self._busy = False
        self._timer: LoopTimer | None = None
        self._store_reason = ""
        self._loads: dict[int, SoundPlan] = {}
        self._failures: deque[tuple[str, int, int, str]] = deque(maxlen=FAILURES_KEPT_MAX)
        self._link = Link(
            loop,
            Broker(
                settings.broker_host, settings.broker_port, settings.id, settings.secret, settings.tls_ca,
                settings.keepalive_s,
            ),
            spread_s=self._spread_s,
            draw=random.SystemRandom().random,
            dial_now=lambda: self._feed(e.Connecting),
            connected=lambda: self._feed(e.Connected),
            disconnected=lambda: self._feed(e.Disconnected),
            message=lambda topic, payload, retain: self._feed(e.Message, topic=topic, payload=payload, retain=retain),
            acknowledged=lambda seq: self._feed(e.Acknowledged, seq=seq),
        )  # fmt: skip

    def start(self) -> None:
        """Boot from the journal and begin to connect."""
        self._player.listen(self._heard)
        self._feed(
            e.Booted,
            image=self._journal.image(),
            seed=secrets.token_hex(16),
            cached=self._audio.cached(),
            volume=self.settings.volume,
        )
        if self._journal.damaged_lines:
            lines = self._journal.damaged_lines
            _log.warning("The journal had damaged lines.", speaker=self.settings.id, lines=lines)
        if not self._journal.persistent:
            self._store_failed("disk_full")
        self._link.start()

    def close(self) -> None:
        """End in good order: cut what sounds, say offline, close the link and the journal."""
        self._feed(e.Stopping)
        self._link.close()
        self._player.close()
        if self._timer is not None:
            self._timer.cancel()
        self._journal.close()

    def power_changed(self, power: str) -> None:
        """The supply is now "mains" or "battery"."""
        self._feed(e.PowerChanged, power=power)

    def _spread_s(self) -> int:
        if self.settings.reconnect_spread_s is not None:
            return self.settings.reconnect_spread_s
        config = self.state.papers.config
        return RECONNECT_SPREAD_S if config is None else config.reconnect_spread_s

    def _heard(self, event_type: Callable[..., e.Event], **fields: Any) -> None:
        """What the player reports. A failed sound is logged once for its repeat and reason, whatever is tried again."""
        if event_type is e.SoundFailed:
            plan, reason = self._loads.get(fields["ticket"]), str(fields["reason"])
            if plan is not None and (told := (plan.order, plan.rev, plan.repeat, reason)) not in self._failures:
                self._failures.append(told)
                _log.error(
                    "A repeat could not sound.",
                    speaker=self.settings.id, order=plan.order, rev=plan.rev, repeat=plan.repeat, reason=reason,
                )  # fmt: skip
        self._feed(event_type, **fields)

    def _feed(self, event_type: Callable[..., e.Event], **fields: Any) -> None:
        """Give the machine an event; events that its effects bring about wait their turn."""
        self._events.append(event_type(at_us=self._loop.wall_us(), mono_us=self._loop.mono_us(), **fields))
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                self.state, effects = decide(self.state, self._events.popleft())
                for effect in effects:
                    self._do(effect)
        finally:
            self._busy = False

    def _do(self, effect: e.Effect) -> None:
        match effect:
            case e.Stop(ticket):
                self._player.stop(ticket)
            case e.Persist(entries):
                self._persist(entries)
            case e.Publish():
                self._link.publish(effect)
            case e.Load(ticket, plan):
                self._loads[ticket] = plan
                if len(self._loads) > LOADS_KEPT_MAX:
                    del self._loads[min(self._loads)]
                self._player.load(ticket, plan)
            case e.Play(ticket):
                self._player.play(ticket)
            case e.Fetch():
                self._loop.at(effect.not_before_us, lambda: self._fetch(effect))
            case e.WakeSpeakerAt(mono_us):
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.at(mono_us, lambda: self._feed(e.Tick))
            case e.Connect():
                self._link.connect(effect)
            case e.Subscribe(topics):
                self._link.subscribe(topics)
            case e.Unsubscribe(topics):
                self._link.unsubscribe(topics)

    def _persist(self, entries: tuple[e.JournalEntry, ...]) -> None:
        """A disk that is full does not keep an order from sounding; it is reported instead."""
        try:
            self._journal.append(entries)
        except JournalFailed as failed:
            self._store_failed(failed.code)
        else:
            self._store_failed("")

    def _store_failed(self, reason: str) -> None:
        if reason == self._store_reason:
            return
        self._store_reason = reason
        if reason:
            _log.warning("The journal cannot be written.", speaker=self.settings.id, reason=reason)
        self._feed(e.StoreFailed, reason=reason)

    def _fetch(self, effect: e.Fetch) -> None:
        store, tls_ca = self._audio, self.settings.tls_ca
        if store.recording(effect.sha256) is not None:
            self._feed(e.AudioStored, sha256=effect.sha256)
            return

        def job() -> tuple[str, ...] | FetchFailed:
            try:
                return fetch(store, effect, tls_ca)
            except FetchFailed as failed:
                return failed

        self._loop.work("fetch", job, lambda outcome: self._fetched(effect.sha256, outcome))

    def _fetched(self, sha256: str, outcome: tuple[str, ...] | FetchFailed) -> None:
        if isinstance(outcome, FetchFailed):
            _log.debug("Audio could not be had.", speaker=self.settings.id, sha256=sha256, reason=outcome.code)
            self._feed(e.AudioFailed, sha256=sha256, reason=outcome.code, again=outcome.again)
            return
        for gone in outcome:
            self._feed(e.AudioForgotten, sha256=gone)
        self._feed(e.AudioStored, sha256=sha256)


def make_agent(settings: SpeakerSettings, loop: Loop) -> Agent:
    """An agent with its own audio store and the player that its settings name; makes the drill preface if it lacks."""
    audio = AudioStore(settings.store, settings.audio_bytes_max)
    if settings.player is PlayerKind.NULL:
        return Agent(settings, loop, NullPlayer(loop, settings.mic_db), audio)
    studio = Studio(audio)
    try:
        studio.provision()
    except RenderFailed as failed:
        _log.warning("No drill preface: exercises will not sound.", speaker=settings.id, reason=failed.code)
    if settings.player is PlayerKind.WAV:
        folder = settings.wav_folder or settings.store / "heard"
        return Agent(settings, loop, WavPlayer(loop, studio, folder, settings.wav_real_time, settings.mic_db), audio)
    return Agent(settings, loop, _sound_card(settings, loop, studio), audio)


def _sound_card(settings: SpeakerSettings, loop: Loop, studio: Studio) -> Player:
    command = settings.sound_card_command
    if why := trouble(command):
        _log.error("No usable player: nothing will be heard.", speaker=settings.id, command=" ".join(command), why=why)
    return SoundCardPlayer(loop, studio, Path(settings.store) / "scratch", settings.sound_card_command)


def run(agents: Sequence[Agent], loop: Loop, until: Callable[[], bool] | None = None) -> None:
    """Start the agents and run them until SIGTERM, SIGINT or `until`, then end them in good order.

    Signals are taken over only when no `until` is given, which must then be the main thread.
    """
    if until is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.post(loop.stop))
    try:
        for agent in agents:
            agent.start()
        loop.run(until)
    finally:
        for agent in agents:
            agent.close()
        loop.close()
