"""The simulated gateway's door for fire panels: the product's centre and group commit, without sockets and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry

from devices.protocols.gb26875 import Command, Connection, Frame
from services.dispatcher.adapters.gb26875_centre import PanelCentre
from services.dispatcher.adapters.gb26875_line import Line
from services.dispatcher.adapters.gb26875_metrics import PanelMetrics
from services.dispatcher.domain.signals import Panel, Reading, Signal
from services.dispatcher.engine.events import Event, Outcome
from services.dispatcher.engine.groups import GroupCommit, Lot
from services.dispatcher.feeds import gb26875
from simulators.voice import Boundary

Confirmed = Callable[[str, Frame, Sequence[Signal]], None]


class PanelDoor:
    """`commit` raises StoreUnavailable when nothing of a frame is safe. `confirmed` is told of each confirm before it
    goes out, with the panel, its frame and what was read from it."""

    def __init__(
        self,
        centre: type[PanelCentre],
        panels: Iterable[Panel],
        now_us: Callable[[], int],
        commit: Callable[[Sequence[Event]], Outcome],
        boundary: Boundary,
        confirmed: Confirmed,
    ) -> None:
        by_address = {panel.address: panel for panel in panels if panel.enabled}
        self._centre = centre(by_address.get, self._read, now_us, PanelMetrics(CollectorRegistry()))
        # One caller alone, who leads all groups: nobody has to be woken.
        self._group: GroupCommit[Lot] = GroupCommit(commit, lambda first: None)
        self._boundary, self._confirmed = boundary, confirmed
        self._lines: dict[str, Line] = {}
        self._said: dict[tuple[str, int], tuple[Frame, tuple[Signal, ...]]] = {}

    def connects(self, panel: str, answer: Callable[[bytes], None]) -> None:
        def write(raw: bytes) -> None:
            self._boundary("before confirm")
            self._tell(panel, raw)
            answer(raw)

        if (before := self._lines.get(panel)) is not None:
            self._centre.hang_up(before)
        self._lines[panel] = Line(panel, write)

    def takes(self, panel: str, raw: bytes) -> None:
        """Bytes of one panel's connection."""
        line = self._lines.get(panel)
        if line is None:
            return
        line.wire.receive_data(raw)
        waiting = [(batch, Lot(batch.events())) for batch in self._centre.read_frames(line)]
        lots = [lot for _, lot in waiting if lot.events]
        for lot in lots:
            self._group.add(lot)
        while not all(lot.settled for lot in lots):
            self._group.lead()
        for batch, lot in waiting:
            self._centre.settle(line, batch, committed=not lot.events or lot.taken is not None)

    def _read(self, frame: Frame, panel: Panel, received_us: int) -> Reading:
        reading = gb26875.signals(frame, panel, received_us)
        self._said[panel.id, frame.serial] = frame, reading.signals
        return reading

    def _tell(self, panel: str, answer: bytes) -> None:
        wire = Connection()
        wire.receive_data(answer)
        frame = wire.next_frame()
        if isinstance(frame, Frame) and frame.command == Command.CONFIRM and (panel, frame.serial) in self._said:
            self._confirmed(panel, *self._said[panel, frame.serial])
