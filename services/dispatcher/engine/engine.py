"""The engine: the only writer. `handle(events)` loads, decides and saves in one transaction, then wakes the relay."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import assert_never

from devices.protocols.speaker_link import Phase

from ..domain import broadcasts, incidents, verification
from ..domain.broadcasts import Broadcast, BroadcastState
from ..domain.effects import Carry, Record, Save, Sleep, WakeAt
from ..domain.incidents import Close, Incident
from ..domain.planning import City, silent_venues
from ..domain.playbook import Playbook
from ..domain.refusals import NotFound, PlanOutOfDate, Refused
from ..domain.signals import Evidence, Panel, Signal, SignalKind, Unread
from ..domain.verification import Task
from . import ingest, reused, scope
from .cities import CityInMemory, set_service
from .drafts import wire_audio
from .events import (
    AudioRendered,
    BroadcastAct,
    CanaryAnswered,
    EffectGaveUp,
    Event,
    IncidentClosed,
    NotBroadcast,
    ServiceChanged,
    SignalArrived,
    TaskAnswered,
    TimerDue,
    UnreadArrived,
)
from .ports import Conflict, Ids, Outcome, Page, Store, StoreUnavailable, TimerRow, Tx
from .work import Work

EVENTS_MAX = 500
CONFLICTS_MAX = 5
OPEN_BROADCASTS = (BroadcastState.DRAFT, BroadcastState.HELD, BroadcastState.ON_AIR, BroadcastState.STOPPED)


class Engine:
    """Loads, decides, saves. Safe to call from several threads and processes: the store orders the writers."""

    def __init__(
        self,
        store: Store,
        ids: Ids,
        playbooks: Sequence[Playbook],
        audio_urls: tuple[str, ...] = (),
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._ids = ids
        self._playbooks = {p.id: p for p in playbooks}
        self._audio_urls = audio_urls
        self._wake = wake
        self._city = CityInMemory()

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
            if not events or not all(isinstance(event, SignalArrived | UnreadArrived) for event in events):
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
        with self._store.write() as tx:
            work = Work(tx, self._city.get(tx), self._playbooks, self._ids, self._audio_urls)
            events = scope.held(tx, work.city, events)
            signals = [event.signal for event in events if isinstance(event, SignalArrived)]
            # All of the group's names at once and in order: two groups never wait for each other in a circle.
            tx.lock(*sorted({name for s in signals for name in ingest.lock_names(s, ingest.spot_of(s, work.city))}))
            for event in events:
                self._one(work, event, outcome)
                work.run()
        self._wake()
        if work.refused is not None:
            raise work.refused
        return outcome

    def _one(self, work: Work, event: Event, outcome: Outcome) -> None:
        match event:
            case SignalArrived():
                self._signal(work, event.signal, outcome)
            case UnreadArrived():
                work.tx.add_unread([event.unread])
            case TaskAnswered():
                answer = verification.Answered(event.person, event.office, event.verdict, event.note)
                work.task(event.task, answer)
            case BroadcastAct():
                _act(work, event)
            case IncidentClosed():
                work.incident(event.incident, Close(event.person, event.why))
            case NotBroadcast():
                _not_broadcast(work, event)
            case TimerDue():
                _timer(work, event)
            case AudioRendered():
                self._rendered(work, event)
            case EffectGaveUp():
                _gave_up(work, event)
            case ServiceChanged():
                set_service(work.tx, event)
            case CanaryAnswered():
                late_us = work.tx.now_us() - event.asked_us
                work.tx.record(Record("worker.alive", "worker", "the canary came back", facts={"late_us": late_us}))
            case _:
                assert_never(event)

    def _signal(self, work: Work, signal: Signal, outcome: Outcome) -> None:
        tx = work.tx
        spot = ingest.spot_of(signal, work.city)
        if tx.signal_incident(signal.key) is not None:
            outcome.repeated += 1
            if reused.keep(tx, signal):
                outcome.reused.append(signal)
            return
        outcome.created.append(signal.key)
        incident_id = ingest.find_incident(tx, signal, spot, self._playbooks)
        opens = signal.kind in ingest.REPORTS and signal.evidence not in (Evidence.FAULT, Evidence.SYSTEM)
        if incident_id is None and not opens:
            tx.add_signal(signal, "")
            if signal.kind is SignalKind.CANCEL:
                tx.record(Record("signal.cancels_unknown", signal.key, "it cancels nothing that is open here"))
            return
        panel = tx.get(Panel, signal.reporter)
        if incident_id is not None:
            incident = tx.get_locked(Incident, incident_id)
            assert incident is not None
        else:
            incident = ingest.open_incident(signal, spot, self._playbooks, work.city, self._ids, tx.now_us())
            why = signal.headline or f"{signal.hazard} reported by {signal.reporter}"
            facts: dict[str, object] = {"use": str(signal.use), "hazard": signal.hazard, "area": spot.area}
            tx.record(Record("incident.opened", incident.id, why, facts=facts))
            if spot.not_understood:
                tx.record(Record("incident.place_unknown", incident.id, f"not understood: {spot.not_understood}"))
        tx.add_signal(signal, incident.id)
        outcome.incidents.append(incident.id)
        work.decide_incident(incident, ingest.joined(signal, spot, incident, panel, tx.now_us()))

    def _rendered(self, work: Work, event: AudioRendered) -> None:
        work.tx.put(event.asset)
        for b in work.tx.find(Broadcast, Page(limit=1_000, order="-id"), state=OPEN_BROADCASTS):
            if event.asset.id in b.wordings.values():
                others = tuple(a for a in b.audio if a.lang != event.asset.lang)
                audio = (*others, wire_audio(event.asset, self._audio_urls))
                work.broadcast(b.id, broadcasts.AudioReady(tuple(sorted(audio, key=lambda a: a.lang))))

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


def _gave_up(work: Work, event: EffectGaveUp) -> None:
    """On record. What is on air must reach the speakers all the same, so a stream is tried for again from the start."""
    work.tx.record(Record("effect.gave_up", event.lane, event.reason))
    carry, _, subject = event.lane.partition(":")
    if carry == Carry.PUBLISH_STREAM:
        work.run([Save(Carry.PUBLISH_STREAM, subject)])


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
            _ask_the_ground(work, timer.subject)
        case "broadcast", "resume":
            work.broadcast(timer.subject, broadcasts.ResumeEnded())
        case "stream", "refresh":
            work.run([Save(Carry.PUBLISH_STREAM, timer.subject)])
        case "worker", "canary":
            now_us = work.tx.now_us()
            next_us = now_us + 60_000_000
            work.run([Save(Carry.CANARY, "worker", now_us + 55_000_000)])
            work.run([WakeAt("worker", "worker", "canary", next_us, next_us + 10 * 365 * 86_400_000_000)])
        case kind, name:
            raise AssertionError(f"no such timer: {kind}/{name}")


def _take(tx: Tx, timer: TimerRow) -> bool:
    """Remove the timer if it is still the one that was due; somebody may have moved it on meanwhile."""
    return tx.sleep(Sleep(timer.subject_kind, timer.subject, timer.name), timer.due_us)


def _ask_the_ground(work: Work, broadcast_id: str) -> None:
    """Silent speakers become one task per venue, most people at risk first."""
    b = work.tx.get_locked(Broadcast, broadcast_id)
    if b is None or b.state is not BroadcastState.ON_AIR or b.phase is not Phase.ALERT:
        return
    silent = [row.speaker for row in work.tx.expected(b.id, silent_only=True)]
    rows = silent_venues(silent, work.city, work.tx.now_us())
    facts: dict[str, object] = {"venues": [r.venue for r in rows], "speakers": len(silent)}
    work.tx.record(
        Record("broadcast.silent", b.id, f"{len(silent)} speakers have not shown that they play", facts=facts)
    )
    for row in rows:
        work.open_ground_task(b, row.venue, row.speakers)
