"""Fire panels as the engine keeps them: requests to them, when they were heard, and strangers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...domain import panels
from ...domain.effects import Record
from ...domain.panels import OPEN, PanelRequest, RequestEvent, RequestKind, RequestState
from ...domain.refusals import NotFound, Refused
from ...domain.signals import Evidence, Panel, Signal
from ..events import PanelAsked, PanelClockOff, PanelReplied
from ..ports import Page, Store
from ..rows import PanelLive, Stranger
from ..transaction import Work
from ..writing import write

STRANGERS_MAX = 10_000


class StillAsking(Refused):
    """A request of this kind to this panel is still open."""

    code = "still_asking"


class PanelOff(Refused):
    """This panel is switched off; nothing is sent to it."""

    code = "panel_off"


@dataclass(frozen=True, slots=True)
class StrangerHeard:
    """`frames` more frames of a panel that is not enrolled, the last at `last_us`."""

    address: str
    peer: str
    frames: int
    first_us: int
    last_us: int


def ask(work: Work, event: PanelAsked) -> None:
    """A person asks something of a panel. Raises NotFound, PanelOff or StillAsking."""
    panel = work.tx.get_locked(Panel, event.panel)
    if panel is None:
        raise NotFound(f"panel {event.panel}")
    if not panel.enabled:
        raise PanelOff(panel.id)
    if work.tx.find(PanelRequest, Page(limit=1), panel=panel.id, kind=event.kind, state=OPEN):
        raise StillAsking(panel.id)
    _start(work, event.kind, panel, event.person, event.why, event.minutes)


def clock_off(work: Work, event: PanelClockOff) -> None:
    """A panel's clock is off: it is set, at most once a day and never while that is under way."""
    panel = work.tx.get_locked(Panel, event.panel)
    if panel is None or not panel.enabled:
        return
    newest = Page(limit=1, order="-asked_us")
    last = work.tx.find(PanelRequest, newest, panel=panel.id, kind=RequestKind.SET_CLOCK)
    now_us = work.tx.now_us()
    if last and (last[0].state in OPEN or now_us - last[0].asked_us < panels.CLOCK_SET_EVERY_US):
        return
    off = "says no date" if event.off_s is None else f"is off by {event.off_s} s"
    _start(work, RequestKind.SET_CLOCK, panel, "", f"its clock {off}", 0)


def _start(work: Work, kind: RequestKind, panel: Panel, person: str, why: str, minutes: int) -> None:
    request = PanelRequest(work.ids.new(), kind, panel.id, person, why, work.tx.now_us(), minutes=minutes)
    _decide(work, request, panels.RequestAsked())


def reply(work: Work, event: PanelReplied) -> None:
    """What a gateway did with a request, and what came back."""
    request = work.tx.get_locked(PanelRequest, event.request)
    if request is not None:
        _decide(work, request, event.reply)


def deadline(work: Work, id: str) -> None:
    """The timer of a request is due."""
    request = work.tx.get_locked(PanelRequest, id)
    if request is None:
        return
    after = _decide(work, request, panels.DeadlinePassed())
    panel = work.tx.get(Panel, request.panel)
    if after.state is RequestState.UNANSWERED and request.state is not after.state and panel is not None:
        work.raised.append(panels.unattended(after, panel, work.tx.now_us()))


def duty_answered(work: Work, signal: Signal) -> None:
    """A panel says that somebody on duty answered: its newest duty check is answered with it."""
    if signal.device != panels.DUTY_BUTTON or signal.evidence is not Evidence.SYSTEM:
        return
    newest = Page(limit=1, order="-asked_us")
    found = work.tx.find(PanelRequest, newest, panel=signal.reporter, kind=RequestKind.DUTY_CHECK)
    request = work.tx.get_locked(PanelRequest, found[0].id) if found else None
    if request is None:
        return
    # What was pressed before anybody asked, and waited in a journal, answers nothing.
    if not -panels.EARLY_ANSWER_US <= signal.received_us - request.asked_us <= panels.LATE_ANSWER_US:
        return
    operator = signal.description.rpartition(" ")[2]
    _decide(work, request, panels.DutyAnswered(int(operator) if operator.isdecimal() else None))


def _decide(work: Work, request: PanelRequest, event: RequestEvent) -> PanelRequest:
    after, effects = panels.decide(request, event, work.tx.now_us())
    work.tx.put(after)
    work.run(effects)
    return after


def note_heard(store: Store, rows: Sequence[PanelLive]) -> None:
    """When panels were last heard, and where; no log."""
    if rows:
        with write(store) as tx:
            tx.put(*rows)


def note_strangers(store: Store, heard: Sequence[StrangerHeard]) -> None:
    """Count what panels said that are not enrolled; each new one is a line of the log. Beyond ten thousand of them
    no more are listed; what they say is unread input all the same."""
    if not heard:
        return
    with write(store) as tx:
        room = None
        for each in heard:
            known = tx.get_locked(Stranger, each.address)
            if known is None:
                room = STRANGERS_MAX - len(tx.find(Stranger, Page(limit=STRANGERS_MAX))) if room is None else room
                if room <= 0:
                    continue
                room -= 1
                known = Stranger(each.address, each.peer, each.first_us, each.last_us, 0)
                why = "it is not enrolled: what it says is kept and makes no signal"
                tx.record(Record("panel.stranger", each.address, why, facts={"peer": each.peer}))
            last_us = max(known.last_us, each.last_us)
            tx.put(replace(known, peer=each.peer, last_us=last_us, frames=known.frames + each.frames))
