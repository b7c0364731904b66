"""One decision in the making: the parts of a state that may still change, and the effects so far.

The order of effects is fixed here: what cuts sound goes first, then what must be on disk, then the rest.
"""

from __future__ import annotations

import hashlib

from devices.protocols.documents import SpeakerConfig
from devices.speaker import events as e
from devices.speaker.claims import stands
from devices.speaker.events import JournalEntry
from devices.speaker.state import Mark, Standing, State, mark_entry, without


class Turn:
    """A draft of the next state. Only `decide` makes one, and it lives for one event."""

    def __init__(self, state: State, mono_us: int) -> None:
        self.speaker = state.speaker
        self.journal = state.journal
        self.seed = state.seed
        self.booted_us = state.booted_us
        self.born_us = state.born_us
        self.clock = state.clock
        self.papers = state.papers
        self.orders = state.orders
        self.marks = state.marks
        self.live = state.live
        self.starts = state.starts
        self.sound = state.sound
        self.mail = state.mail
        # A clock that never jumps may still be handed in late; durations never run backwards.
        self.mono_us = mono_us
        self._stops: list[e.Effect] = []
        self._facts: dict[tuple[str, str], str | None] = {}
        self._rest: list[e.Effect] = []
        self._wake_us: int | None = None

    @property
    def config(self) -> SpeakerConfig | None:
        return self.papers.config

    @property
    def now_us(self) -> int | None:
        """UTC in µs, None while no time is known."""
        return None if self.clock.offset_us is None else self.mono_us + self.clock.offset_us

    @property
    def volume(self) -> int:
        """The one that an order set last whose claim stands, before any the one set at installation."""
        last = self.sound.last
        return last[0] if last is not None and stands(self.papers, last[1]) else self.sound.installed

    @property
    def verified_us(self) -> int:
        """UTC in µs by the verified clock, 0 without one."""
        return (self.now_us or 0) if self.clock.verified else 0

    def stop(self, ticket: int) -> None:
        self._stops.append(e.Stop(ticket))

    def keep(self, entry: JournalEntry) -> None:
        self._facts[entry.kind, entry.key] = entry.value

    def fact(self, kind: str, key: str, value: str | None) -> None:
        self._facts[kind, key] = value

    @property
    def writes(self) -> bool:
        """Whether something of this turn goes to disk."""
        return bool(self._facts)

    def effect(self, effect: e.Effect) -> None:
        self._rest.append(effect)

    def wake(self, mono_us: int) -> None:
        """Ask for a tick not later than this."""
        self._wake_us = mono_us if self._wake_us is None else min(self._wake_us, mono_us)

    def wake_at_utc(self, utc_us: int) -> None:
        if self.clock.offset_us is not None:
            self.wake(utc_us - self.clock.offset_us)

    def mark(self, key: str) -> Mark:
        return self.marks.get(key, _FRESH)

    def set_mark(self, key: str, mark: Mark) -> None:
        if mark != self.mark(key):
            self.marks = {**self.marks, key: mark}
            self.keep(mark_entry(key, mark))

    def set_order(self, key: str, standing: Standing) -> None:
        self.orders = {**self.orders, key: standing}

    def forget_order(self, key: str) -> None:
        self.orders = without(self.orders, key)
        self.marks = without(self.marks, key)
        self.fact("order", key, None)
        self.fact("mark", key, None)

    def done(self, state: State, ticked: bool) -> tuple[State, list[e.Effect]]:
        """The next state and the effects in their order."""
        wake_us = state.wake_us if self._wake_us is None else self._wake_us
        effects = list(self._stops)
        if self._facts:
            effects.append(
                e.Persist(tuple(JournalEntry(kind, key, value) for (kind, key), value in self._facts.items()))
            )
        effects += self._rest
        if self._wake_us is not None and (ticked or wake_us != state.wake_us):
            effects.append(e.WakeSpeakerAt(wake_us))
        made = State(
            self.speaker, self.papers, self.journal, self.seed, self.booted_us, self.born_us, self.clock, self.orders,
            self.marks, self.live, self.starts, self.sound, self.mail, wake_us,
        )  # fmt: skip
        return made, effects


_FRESH = Mark()


def spread(names: str, within: int) -> int:
    """A number from 0 up to and without `within`, the same for the same names on every machine."""
    return int.from_bytes(hashlib.sha256(names.encode()).digest()[:8], "big") % within if within > 0 else 0
