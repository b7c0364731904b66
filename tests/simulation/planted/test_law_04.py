"""Planted against law 4: every alert can be put right and ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from devices.speaker import events as e
from devices.speaker.machine import decide
from devices.speaker.state import State
from services.dispatcher.domain.broadcasts import (
    Broadcast,
    BroadcastState,
)
from services.dispatcher.domain.refusals import OverCap
from services.dispatcher.engine.air import endings, streams
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import Event, Outcome
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.writing import write
from simulators.dispatcher import Parts
from simulators.faults import Fault
from tests.simulation.planted.planting import laws_broken


def test_law_4_catches_an_alert_without_its_followers() -> None:
    class Bare(Engine):
        """Drafts alerts and throws their correction and all-clear away."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            outcome = super().handle(events)
            with write(self._store) as tx:
                for b in tx.find(Broadcast, Page(limit=200), state=BroadcastState.DRAFT):
                    if b.original:
                        tx.delete(Broadcast, b.id)
            return outcome

    assert laws_broken(Parts(engine=Bare), faults=()) == {4}


def test_law_4_catches_a_correction_that_no_speaker_plays() -> None:
    def only_alerts(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        """Takes the start of whatever was on air for not heard, so that nothing is left to correct."""
        marks = {key: replace(mark, started_us=0) for key, mark in state.marks.items()}
        return decide(replace(state, marks=marks), event)

    assert laws_broken(machine=only_alerts, faults=()) == {4}


def test_law_4_catches_an_all_clear_that_is_refused_because_its_stream_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(tx: Any, joining: Broadcast, person: str) -> list[Any]:
        """Counts orders, whoever they belong to."""
        if len(streams.taken(tx, joining.stream).families) >= 4:
            raise OverCap("four orders")
        return []

    monkeypatch.setattr(endings, "make_room", refuses)
    assert 4 in laws_broken(faults=(Fault.CROWDED,), rough_s=3_600)
