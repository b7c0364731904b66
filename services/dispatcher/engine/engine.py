"""The engine: the only writer. `handle(events)` loads, decides and saves in one transaction, then wakes the relay."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import assert_never

from devices.protocols.speaker_link import Phase

from ..domain import broadcasts, incidents, verification
from ..domain.broadcasts import Broadcast, BroadcastState
from ..domain.effects import Carry, Record, Save, Sleep, WakeAt
from ..domain.incidents import Close, Incident
from ..domain.planning import City, silent_venues
from ..domain.playbook import Playbook
from ..domain.refusals import NotFound, PlanOutOfDate, Refused
from ..domain.rhythm import COARSE_US, Spoke
from ..domain.rules import Rules
from ..domain.signals import Evidence, Signal, SignalKind, Unread
from ..domain.spots import Spot
from ..domain.verification import Task
from . import (
    accounts,
    ahead,
    arrivals,
    endings,
    giving_up,
    ingest,
    maintenance,
    muting,
    panels,
    polls,
    queries,
    refused_documents,
    reused,
    rhythm,
    scope,
    sightings,
    silencing,
)
from .cities import CityInMemory, set_service
from .clock import APART_US
from .drafts import wire_audio
from .events import (
    AccountTaken,
    AudioRendered,
    BroadcastAct,
    CanaryAnswered,
    EffectGaveUp,
    Event,
    IncidentClosed,
    MaintenanceChanged,
    NotBroadcast,
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
from .ports import Conflict, Ids, Outcome, Page, Read, Store, StoreUnavailable, TimerRow, Tx, Withdrawal
from .work import Work

EVENTS_MAX = 500
CONFLICTS_MAX = 5
HEARD_AGAIN_US = 60_000_000
OPEN_BROADCASTS = (BroadcastState.DRAFT, BroadcastState.HELD, BroadcastState.ON_AIR, BroadcastState.STOPPED)


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
        with self._store.write() as tx:
            work = Work(
                tx, self._city.get(tx), self._playbooks, self._ids, self.rules, self._shadow,
                self._differs,
            )  # fmt: skip
            # Before any other row is held, so that these rows come first in every transaction.
            rhythm.hear(work, heard)
            events = scope.held(tx, work.city, events)
            signals = [event.signal for event in events if isinstance(event, SignalArrived)]
            if not tx.one_writer:
                # All of the group's names at once and in order: two groups never wait for each other in a circle.
                tx.lock(*sorted({name for s in signals for name in ingest.lock_names(s, work.spot(s), self.rules)}))
            work.ahead = ahead.look(tx, signals)
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
            for source, spoke in rhythm.spoken(events).items()
            if spoke.state or spoke.at_us - self._heard_us.get(source, -COARSE_US) >= COARSE_US
        }

    def _one(self, work: Work, event: Event, outcome: Outcome) -> None:
        match event:
            case SignalArrived():
                if ingest.repeats_other(work.tx, event.signal):
                    outcome.repeated += 1
                else:
                    self._signal(work, event.signal, outcome)
            case UnreadArrived():
                work.tx.add_unread([event.unread])
            case TaskAnswered():
                answer = verification.Answered(event.person, event.office, event.verdict, event.note)
                work.task(event.task, answer)
            case BroadcastAct():
                _act(work, event)
            case IncidentClosed():
                rhythm.closed(work, event.incident)
                work.incident(event.incident, Close(event.person, event.why))
            case NotBroadcast():
                _not_broadcast(work, event)
            case TimerDue():
                _timer(work, event)
            case AudioRendered():
                self._rendered(work, event)
            case EffectGaveUp():
                if giving_up.tell(work, event):
                    outcome.tried_on.append(event.lane)
            case ServiceChanged():
                set_service(work.tx, event)
            case SilenceMade():
                silence = replace(event.silence, id=self._ids.new(), made_us=work.tx.now_us())
                silencing.make(work.tx, silence, self.rules, work.city)
                work.silences_changed()
                outcome.created.append(silence.id)
            case SilenceEnded():
                silencing.end(work.tx, event.silence, event.person, event.why)
                work.silences_changed()
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
        work.tx.lock(*ingest.lock_names(signal, work.spot(signal), self.rules))
        self._signal(work, signal, outcome)
        work.run()

    def _signal(self, work: Work, signal: Signal, outcome: Outcome) -> None:
        tx = work.tx
        if signal.key not in work.ahead.new and tx.signal_incident(signal.key) is not None:
            outcome.repeated += 1
            if reused.keep(tx, signal):
                outcome.reused.append(signal)
                # It may be stored now under a key that another signal of the group has.
                work.ahead.new.clear()
            elif signal.evidence is Evidence.AUTHORITY:
                arrivals.vouch(work, signal)
            return
        work.ahead.new.discard(signal.key)
        outcome.created.append(signal.key)
        panels.duty_answered(work, signal)
        if arrivals.is_cancel_by_name(signal):
            arrivals.cancel(work, signal, outcome)
            return
        if arrivals.cancelled_before(work, signal):
            return
        spot = work.spot(signal)
        incident = self._joins(work, signal, spot)
        if arrivals.silenced(work, signal, spot, incident):
            return
        if signal.kind is SignalKind.CANCEL:
            silencing.forget_word(tx, signal, spot)
        opens = signal.kind in ingest.REPORTS and signal.evidence not in (Evidence.FAULT, Evidence.SYSTEM)
        if incident is None and not opens:
            tx.add_signal(signal, "")
            if signal.kind is SignalKind.CANCEL:
                tx.record(Record("signal.cancels_unknown", signal.key, "it cancels nothing that is open here"))
            return
        device = ingest.device_of(tx, signal, work.ahead.panels)
        opened = incident is None
        if incident is None:
            incident = ingest.open_incident(signal, spot, self._playbooks, work.city, self._ids, tx.now_us())
            why = signal.headline or f"{signal.hazard} reported by {signal.reporter}"
            facts: dict[str, object] = {"use": str(signal.use), "hazard": signal.hazard, "area": spot.area}
            tx.record(Record("incident.opened", incident.id, why, facts=facts))
            for note in spot.notes:
                tx.record(Record(note.kind, incident.id, note.why))
        outcome.incidents.append(incident.id)
        if signal.kind is SignalKind.CANCEL:
            event = arrivals.take_back_own(work, incident, signal)
            tx.add_signal(signal, incident.id)
        else:
            updates = signal.kind is SignalKind.UPDATE and not opened
            others = arrivals.superseded(work, incident, signal) if updates else None
            tx.add_signal(signal, incident.id)
            event = ingest.joined(signal, spot, incident, device, tx.now_us(), others)
        work.decide_incident(incident, event, opened=opened)
        if opened or ingest.is_new_witness(event, incident):
            work.run()
            arrivals.hear_silenced(work, incident, signal, spot)

    def _joins(self, work: Work, signal: Signal, spot: Spot) -> Incident | None:
        """The open incident that a signal belongs to, held until the end."""
        listed = work.ahead.listed
        while True:
            id = ingest.find_incident(work.tx, signal, spot, self._playbooks, self.rules, work.city, listed)
            incident = work.tx.get_locked(Incident, id) if id is not None else None
            # People may have closed it before it was held: what is reported now is no part of what they judged.
            if incident is None or incident.open:
                return incident

    def _rendered(self, work: Work, event: AudioRendered) -> None:
        work.tx.put(event.asset)
        for b in work.tx.find(Broadcast, Page(limit=1_000, order="-id"), state=OPEN_BROADCASTS):
            if event.asset.id in b.wordings.values():
                others = tuple(a for a in b.audio if a.lang != event.asset.lang)
                audio = (*others, wire_audio(event.asset))
                work.broadcast(b.id, broadcasts.AudioReady(tuple(sorted(audio, key=lambda a: a.lang))))

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
    if releases and not work.replan(b):
        # The new draft must survive this refusal, so it is raised after the commit.
        work.refused = PlanOutOfDate()
        return
    work.broadcast(event.broadcast, event.act)


def _not_broadcast(work: Work, event: NotBroadcast) -> None:
    broadcasts.may_release(event.roles)
    work.incident(event.incident, incidents.NotBroadcast(event.person, event.why))
    incident = work.tx.get_locked(Incident, event.incident)
    assert incident is not None
    alert = work.tx.get_locked(Broadcast, incident.alert) if incident.alert else None
    if alert is not None and alert.state in (BroadcastState.DRAFT, BroadcastState.HELD):
        work.broadcast(alert.id, broadcasts.Declined(event.person, event.roles, event.why))


def _canary_answered(work: Work, event: CanaryAnswered) -> None:
    late_us = work.tx.now_us() - event.asked_us
    if late_us < -APART_US:
        seen_us = queries.worker_seen(work.tx)[1]
        why = "the canary came back from the future: the worker goes by another time"
        work.tx.record(Record("worker.other_time", "worker", why, facts={"late_us": late_us, "seen_us": seen_us}))
        return
    work.tx.record(Record("worker.alive", "worker", "the canary came back", facts={"late_us": late_us}))


def _timer(work: Work, event: TimerDue) -> None:
    timer = event.timer
    if not _take(work.tx, timer):
        return
    match timer.subject_kind, timer.name:
        case "task", "rung":
            task = work.tx.get_locked(Task, timer.subject)
            assert task is not None
            work.task(task.id, verification.RungTimedOut(task.rung, event.missed))
        case "broadcast", "expires":
            work.broadcast(timer.subject, broadcasts.Expired())
        case "broadcast", "prove":
            _prove(work, timer.subject)
        case "broadcast", "resume":
            work.broadcast(timer.subject, broadcasts.ResumeEnded())
        case "stream", "refresh":
            work.run([Save(Carry.PUBLISH_STREAM, timer.subject)])
        case "poll", "due":
            polls.due(work, timer.subject)
        case "source", "silent":
            rhythm.due(work, timer, event.missed)
        case "sighting", "look":
            sightings.look(work, timer.subject)
        case "refused", "look":
            refused_documents.look(work)
        case "incident", "minute":
            work.incident(timer.subject, incidents.MinuteOver())
        case "incident", "redraft":
            work.incident(timer.subject, incidents.RedraftDue())
        case "incident", "inhibition":
            muted = work.tx.get(Incident, timer.subject)
            if muted is not None:
                work.run(muting.recheck(work.tx, muted, work.rules, work.city))
        case "silence", "end":
            silencing.end(work.tx, timer.subject, "", "its time is over")
            work.silences_changed()
        case "withdrawal", "end":
            work.tx.delete(Withdrawal, timer.subject)
        case "worker", "canary":
            now_us = work.tx.now_us()
            next_us = now_us + 60_000_000
            work.run([Save(Carry.CANARY, "worker")])
            work.run([WakeAt("worker", "worker", "canary", next_us, next_us + 10 * 365 * 86_400_000_000)])
        case panels.TIMER_KIND, panels.TIMER_NAME:
            panels.deadline(work, timer.subject)
        case kind, maintenance.TIMER_NAME if kind in maintenance.KINDS:
            maintenance.due(work, maintenance.KINDS[kind], timer.subject)
        case kind, name:
            raise AssertionError(f"no such timer: {kind}/{name}")


def _take(tx: Tx, timer: TimerRow) -> bool:
    """Remove the timer if it is still the one that was due; somebody may have moved it on meanwhile."""
    return tx.sleep(Sleep(timer.subject_kind, timer.subject, timer.name), timer.due_us)


def _prove(work: Work, broadcast_id: str) -> None:
    """The time to be proved is over: people go to where an alert is silent, and a follower heard by all has done."""
    b = work.tx.get_locked(Broadcast, broadcast_id)
    if b is None or b.state is not BroadcastState.ON_AIR:
        return
    if b.phase is Phase.ALERT:
        _ask_the_ground(work, b)
        return
    if endings.heard_by_all(work.tx, b):
        why = "every speaker has finished it or said that it will not sound there"
        work.broadcast(b.id, broadcasts.Retired(why, heard=True))
        return
    again_us = work.tx.now_us() + HEARD_AGAIN_US
    work.run([WakeAt("broadcast", b.id, "prove", again_us, again_us + broadcasts.TIMER_USELESS_US)])


def _ask_the_ground(work: Work, b: Broadcast) -> None:
    """Silent speakers become one task per venue, most people at risk first."""
    silent = [row.speaker for row in work.tx.expected(b.id, silent_only=True)]
    rows = silent_venues(silent, work.city, work.tx.now_us())
    facts: dict[str, object] = {"venues": [r.venue for r in rows], "speakers": len(silent)}
    work.tx.record(
        Record("broadcast.silent", b.id, f"{len(silent)} speakers have not shown that they play", facts=facts)
    )
    for row in rows:
        work.open_ground_task(b, row.venue, row.speakers)
