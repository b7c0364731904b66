"""The engine: the only writer. `handle(events)` loads, decides and saves in one transaction, then wakes the relay."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import assert_never

from ..domain import broadcasts, verification
from ..domain import incidents as incident_events
from ..domain.broadcasts import Broadcast, BroadcastState
from ..domain.effects import Record
from ..domain.incidents import Close, Incident
from ..domain.planning import City
from ..domain.playbook import Playbook
from ..domain.refusals import NotFound, PlanOutOfDate, Refused
from ..domain.rhythm import COARSE_US, Spoke
from ..domain.rules import Rules
from ..domain.signals import Signal, Unread
from . import due, giving_up, health, prefetch, taking
from .air import accounts, acts, preparing
from .carrying import carry
from .cities import CityInMemory, set_service
from .clock import APART_US
from .events import (
    AccountTaken,
    AudioRendered,
    BroadcastAct,
    CanaryAnswered,
    EffectGaveUp,
    Event,
    IncidentClosed,
    MaintenanceChanged,
    NothingBroadcast,
    Outcome,
    PanelAsked,
    PanelClockOff,
    PanelReplied,
    PollTold,
    ServiceChanged,
    SignalArrived,
    SilenceEnded,
    SilenceMade,
    SourceHeard,
    TaskAnswered,
    TimerDue,
    UnreadArrived,
)
from .ports import Conflict, Ids, Read, Store, StoreUnavailable
from .signals import incidents, joining, scope, silencing
from .sources import dead_man, maintenance, panels, polls
from .tasks import asking
from .transaction import Work
from .writing import write

EVENTS_MAX = 500
CONFLICTS_MAX = 5


class Engine:
    """Loads, decides, saves. Safe to call from several threads and processes: the store orders the writers."""

    def __init__(
        self,
        store: Store,
        ids: Ids,
        playbooks: Sequence[Playbook],
        wake: Callable[[], None] = lambda: None,
        rules: Rules | None = None,
        shadow: Rules | None = None,
        differs: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`shadow` are rules rated beside the live ones and never acted on; `differs` is told of each hazard where
        they would have rated an incident differently."""
        self._store = store
        self._ids = ids
        self._playbooks = {p.id: p for p in playbooks}
        self._wake = wake
        self.rules = rules or Rules()
        self._shadow, self._differs = shadow, differs
        self._city = CityInMemory()
        # When each enrolled source was last written down as heard; what is lost of it is only written once more.
        self._heard_us: dict[str, int] = {}

    def handle(self, events: Sequence[Event]) -> Outcome:
        """Commit a group of events together. Raises a refusal when a person's event may not be; nothing is then kept
        but what a changed plan made necessary. A signal that breaks its group goes to the unread table by itself, and
        the others are committed."""
        assert len(events) <= EVENTS_MAX
        try:
            return self._together(events)
        except StoreUnavailable:
            raise
        except Exception:
            if not events or not all(
                isinstance(event, SignalArrived | UnreadArrived | SourceHeard) for event in events
            ):
                raise
        outcome = Outcome()
        for event in events:
            self._alone(event, outcome)
        return outcome

    def _alone(self, event: Event, outcome: Outcome) -> None:
        """Commit one event of a broken group; what can't be taken in even so is kept where people see it."""
        try:
            done = self._together([event])
        except StoreUnavailable:
            raise
        except Exception as broken:
            if not isinstance(event, SignalArrived):
                raise
            done = self._together([UnreadArrived(_unread(event.signal, broken))])
        outcome.created += done.created
        outcome.incidents += done.incidents
        outcome.repeated += done.repeated
        outcome.reused += done.reused

    def _together(self, events: Sequence[Event]) -> Outcome:
        for _ in range(CONFLICTS_MAX):
            try:
                return self._handle(events)
            except Conflict:
                continue
        return self._handle(events)

    def _handle(self, events: Sequence[Event]) -> Outcome:
        outcome = Outcome()
        heard = self._to_write_down(events)
        with write(self._store) as tx:
            work = Work(
                tx, self._city.get(tx), self._playbooks, self._ids, carry, self.rules, self._shadow,
                self._differs,
            )  # fmt: skip
            # Before any other row is held, so that these rows come first in every transaction.
            dead_man.hear(work, heard)
            events = scope.held(tx, work.city, events)
            signals = [event.signal for event in events if isinstance(event, SignalArrived)]
            if not tx.one_writer:
                # All of the group's names at once and in order: two groups never wait for each other in a circle.
                tx.lock(*sorted({name for s in signals for name in joining.lock_names(s, work.spot(s), self.rules)}))
            if signals:
                prefetch.look(work, signals)
            for event in events:
                self._one(work, event, outcome)
                work.run()
                while work.raised:
                    self._raised(work, work.raised.pop(0), outcome)
        self._heard_us.update((source, spoke.at_us) for source, spoke in heard.items())
        self._wake()
        if work.refused is not None:
            raise work.refused
        return outcome

    def _to_write_down(self, events: Sequence[Event]) -> dict[str, Spoke]:
        """Who was heard and has to be written down: anybody for the first time in a while, and every new state."""
        return {
            source: spoke
            for source, spoke in dead_man.spoken(events).items()
            if spoke.state or spoke.at_us - self._heard_us.get(source, -COARSE_US) >= COARSE_US
        }

    def _one(self, work: Work, event: Event, outcome: Outcome) -> None:
        match event:
            case SignalArrived():
                if joining.repeats_other(work.tx, event.signal):
                    outcome.repeated += 1
                else:
                    taking.take(work, event.signal, outcome)
            case UnreadArrived():
                work.tx.add_unread([event.unread])
            case TaskAnswered():
                answer = verification.Answered(event.person, event.office, event.verdict, event.note)
                asking.tell(work, event.task, answer)
            case BroadcastAct():
                _act(work, event)
            case IncidentClosed():
                dead_man.closed(work, event.incident)
                incidents.tell(work, event.incident, Close(event.person, event.why))
            case NothingBroadcast():
                _not_broadcast(work, event)
            case TimerDue():
                due.due(work, event)
            case AudioRendered():
                acts.rendered(work, event)
            case EffectGaveUp():
                if giving_up.tell(work, event):
                    outcome.tried_on.append(event.lane)
            case ServiceChanged():
                set_service(work.tx, event)
            case SilenceMade():
                silence = replace(event.silence, id=self._ids.new(), made_us=work.tx.now_us())
                silencing.make(work, silence)
                outcome.created.append(silence.id)
            case SilenceEnded():
                silencing.end(work, event.silence, event.person, event.why)
            case CanaryAnswered():
                _canary_answered(work, event)
            case PollTold():
                polls.told(work, event)
            case SourceHeard():
                # Written down already, before the group's events.
                return
            case PanelAsked():
                panels.ask(work, event)
            case PanelReplied():
                panels.reply(work, event)
            case PanelClockOff():
                panels.clock_off(work, event)
            case MaintenanceChanged():
                maintenance.change(work, event)
            case AccountTaken():
                accounts.taken(work, event)
            case _:
                assert_never(event)

    def _raised(self, work: Work, signal: Signal, outcome: Outcome) -> None:
        """A signal of our own arrives in the transaction that raised it."""
        work.tx.lock(*joining.lock_names(signal, work.spot(signal), self.rules))
        taking.take(work, signal, outcome)
        work.run()

    @property
    def playbooks(self) -> tuple[Playbook, ...]:
        """What it decides by, read once when the process started."""
        return tuple(self._playbooks.values())

    def city_of(self, read: Read) -> City | None:
        """The city as this transaction shows it, None before any was imported."""
        try:
            return self._city.get(read)
        except NotFound:
            return None

    def read_city(self) -> City:
        """The city as it is now."""
        with self._store.read() as read:
            return self._city.get(read)


def _unread(signal: Signal, broken: Exception) -> Unread:
    raw = json.dumps(asdict(signal), ensure_ascii=True, default=str).encode()
    reason = broken.code if isinstance(broken, Refused) else "signal_broke_the_engine"
    return Unread("engine", signal.reporter, reason, raw, signal.received_us)


def _act(work: Work, event: BroadcastAct) -> None:
    b = work.tx.get_locked(Broadcast, event.broadcast)
    if b is None:
        raise NotFound(f"broadcast {event.broadcast}")
    releases = isinstance(event.act, broadcasts.ReleaseGiven)
    if releases and not preparing.replan(work, b):
        # The new draft must survive this refusal, so it is raised after the commit.
        work.refused = PlanOutOfDate()
        return
    acts.tell(work, event.broadcast, event.act)


def _not_broadcast(work: Work, event: NothingBroadcast) -> None:
    broadcasts.may_release(event.roles)
    incidents.tell(work, event.incident, incident_events.NotBroadcast(event.person, event.why))
    incident = work.tx.get_locked(Incident, event.incident)
    assert incident is not None
    alert = work.tx.get_locked(Broadcast, incident.alert) if incident.alert else None
    if alert is not None and alert.state in (BroadcastState.DRAFT, BroadcastState.HELD):
        acts.tell(work, alert.id, broadcasts.Declined(event.person, event.roles, event.why))


def _canary_answered(work: Work, event: CanaryAnswered) -> None:
    late_us = work.tx.now_us() - event.asked_us
    if late_us < -APART_US:
        seen_us = health.worker_seen(work.tx)[1]
        why = "the canary came back from the future: the worker goes by another time"
        work.tx.record(Record("worker.other_time", "worker", why, facts={"late_us": late_us, "seen_us": seen_us}))
        return
    work.tx.record(Record("worker.alive", "worker", "the canary came back", facts={"late_us": late_us}))
