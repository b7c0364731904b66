"""The dead man's switch on real databases: due rows, and sources that fall silent and speak again at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from services.dispatcher.adapters.store import HostClock, SqlStore
from services.dispatcher.domain.effects import Timer, WakeAt
from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.rhythm import GRACE_US, USELESS_AFTER_US, Heard
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import Event, SourceHeard, TimerDue
from services.dispatcher.engine.rows import TimerRow
from services.dispatcher.engine.sources import dead_man
from services.dispatcher.engine.timers import TimerPass
from services.dispatcher.processes.wiring import TimeOrderedIds
from tests import builders
from tests.builders import SECOND_US, city_rows, city_settings, panel

RHYTHM_S = 3_600
PANELS = tuple(f"panel/p-{n}" for n in range(4))
ROUNDS = 5


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    made = SqlStore(database_url)
    with made.write() as tx:
        import_city(tx, city_settings(), city_rows(), "test")
        tx.put(*(panel(id=id.partition("/")[2], address=f"{n:012x}", rhythm_s=RHYTHM_S) for n, id in enumerate(PANELS)))
    yield made
    made.close()


def silent_since_long(store: SqlStore) -> list[TimerRow]:
    """Watch every panel, and let a rhythm and its grace have just passed; the timers that are due."""
    dead_man.watch(store, dict.fromkeys(PANELS, RHYTHM_S))
    with store.write() as tx:
        now_us = tx.now_us()
        heard_us = now_us - RHYTHM_S * SECOND_US - GRACE_US - SECOND_US
        for id in PANELS:
            tx.put(Heard(id, heard_us, heard_us, RHYTHM_S))
            tx.wake_at(WakeAt(Timer.SOURCE_SILENT, id, now_us - SECOND_US, now_us + USELESS_AFTER_US))
    with store.read() as read:
        return read.due_timers(now_us, 100)


def at_once(store: SqlStore, events: list[Event]) -> None:
    """Each event by an engine and a thread of its own, all at the same time."""
    together = Barrier(len(events))
    engines = [Engine(store, TimeOrderedIds(store.clock), ()) for _ in events]

    def one(number: int) -> None:
        together.wait(timeout=10)
        engines[number].handle([events[number]])

    with ThreadPoolExecutor(len(events)) as threads:
        for done in [threads.submit(one, number) for number in range(len(events))]:
            done.result(timeout=60)


def watched(timers: list[TimerRow]) -> list[str]:
    return sorted(timer.subject for timer in timers if timer.timer == Timer.SOURCE_SILENT)


def cases(store: SqlStore) -> list[Incident]:
    with store.read() as read:
        return read.find(Incident, hazard="source_silent")


def test_a_due_row_makes_a_case_and_a_word_closes_it(store: SqlStore) -> None:
    silent_since_long(store)
    engine = builders.engine(store)
    assert TimerPass(engine, store, HostClock()).run() == len(PANELS)
    [incident] = cases(store)
    assert (incident.state, incident.signal_count, incident.level) == (IncidentState.VERIFYING, len(PANELS), 4)
    with store.read() as read:
        now_us = read.now_us()
        assert {h.incident for h in read.find(Heard)} == {incident.id}
        assert [t.state for t in read.find(Task)] == [TaskState.ASKED]
        assert watched(read.due_timers(now_us * 2, 100)) == []
    engine.handle([SourceHeard(id, now_us) for id in PANELS])
    assert [i.state for i in cases(store)] == [IncidentState.CLOSED]
    with store.read() as read:
        assert {h.incident for h in read.find(Heard)} == {""}
        assert watched(read.due_timers(now_us * 2, 100)) == list(PANELS)


def test_panels_that_fall_silent_at_once_share_a_case_and_those_that_speak_at_once_close_it(store: SqlStore) -> None:
    for number in range(1, ROUNDS + 1):
        at_once(store, [TimerDue(timer) for timer in silent_since_long(store) if timer.timer == Timer.SOURCE_SILENT])
        assert [i.signal_count for i in cases(store) if i.open] == [len(PANELS)]
        with store.read() as read:
            now_us = read.now_us()
        at_once(store, [SourceHeard(id, now_us) for id in PANELS])
        assert [i.state for i in cases(store)] == [IncidentState.CLOSED] * number
