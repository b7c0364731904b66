"""One transaction's work: what it has at hand, and the queue of effects that its decisions want."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..domain.effects import Effect
from ..domain.incidents import Incident
from ..domain.planning import City
from ..domain.playbook import Playbook
from ..domain.refusals import Refused
from ..domain.risk import History
from ..domain.rules import Rules
from ..domain.signals import Panel, Signal
from ..domain.spots import Spot, spot_of
from .ports import Ids, Tx
from .rows import Footprint

T = TypeVar("T")
EFFECTS_MAX = 100_000


@dataclass(slots=True)
class Prefetched:
    """`new` are keys under which no signal is stored, `not_withdrawn` names for which no withdrawal waits; `panels` and
    `histories` are rows by id, None where there is no row; `listed` are the footprints at venues, by cell, the newest
    first. Whoever changes any of these in the transaction takes it out here; what is not here is looked up."""

    new: set[str] = field(default_factory=set)
    not_withdrawn: set[str] = field(default_factory=set)
    panels: dict[str, Panel | None] = field(default_factory=dict)
    histories: dict[str, History | None] = field(default_factory=dict)
    listed: dict[str, list[Footprint]] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """Everything a transaction needs at hand; `carry` carries an effect out. A refusal kept in `refused` is raised
    after the commit; signals of our own in `raised` arrive with the event that made them."""

    tx: Tx
    city: City
    playbooks: dict[str, Playbook]
    ids: Ids
    carry: Callable[[Work, Effect], None]
    rules: Rules = field(default_factory=Rules)
    shadow: Rules | None = None
    differs: Callable[[str], None] = lambda _: None
    refused: Refused | None = None
    raised: list[Signal] = field(default_factory=list)
    prefetched: Prefetched = field(default_factory=Prefetched)
    _queue: deque[Effect] = field(default_factory=deque)
    _known: dict[Callable[[Work], Any], Any] = field(default_factory=dict)
    _spots: dict[str, Spot] = field(default_factory=dict)

    def run(self, effects: Iterable[Effect] = ()) -> None:
        """Carry effects out in the order they were decided, each with everything that follows from it."""
        self.next(effects)
        for _ in range(EFFECTS_MAX):
            if not self._queue:
                return
            self.carry(self, self._queue.popleft())
        raise AssertionError("effects without end")

    def next(self, effects: Iterable[Effect]) -> None:
        """Effects of a decision come before what was decided after it: a release finds the whole draft."""
        self._queue.extendleft(reversed(list(effects)))

    def later(self, *effects: Effect) -> None:
        """These come when all else that was decided is done."""
        self._queue.extend(effects)

    def known(self, question: Callable[[Work], T]) -> T:
        """What `question` answers, asked once in a transaction."""
        if question not in self._known:
            self._known[question] = question(self)
        found: T = self._known[question]
        return found

    def note(self, question: Callable[[Work], T], answer: T) -> None:
        """The transaction has changed what `question` answers."""
        self._known[question] = answer

    def forget(self, question: Callable[[Work], T]) -> None:
        """The same where the new answer is not at hand."""
        self._known.pop(question, None)

    def spot(self, signal: Signal) -> Spot:
        """Where a signal is; worked out once in a transaction."""
        found = self._spots.get(signal.key)
        if found is None:
            found = self._spots[signal.key] = spot_of(signal, self.city, self.rules)
        return found

    def fresh(self, incident: Incident) -> Incident:
        """The incident as the transaction has it now."""
        found = self.tx.get(Incident, incident.id)
        assert found is not None
        return found
