"""What the centre asks of a fire panel: is somebody on duty (查岗), and set your clock. Pure: `decide(request, …)`.

A request waits until a gateway has its panel on a line; that gateway takes it for a while, sends it, and says what came
back. If the gateway dies, another one takes it when that while is over. Deadlines are timer rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from .effects import Effect, Record, Sleep, Timer, WakeAt
from .signals import Evidence, Panel, Place, Signal, SignalKind

DUTY_BUTTON = "duty"
"""The device of a signal that says: somebody on duty at the panel has answered."""
HAZARD_UNATTENDED = "unattended"
EVENT_CODE = "12B00"
MINUTES_MAX = 255
REACH_WITHIN_US = 120_000_000
TAKEN_FOR_US = 45_000_000
"""One sending with three repeats of ten seconds, and a little."""
ANSWER_GRACE_US = 30_000_000
LATE_ANSWER_US = 3_600_000_000
EARLY_ANSWER_US = 5_000_000
"""The clocks of a gateway and of the database may be so far apart."""
CLOCK_OFF_US = 60_000_000
"""A panel's clock is set by itself beyond this: more than three repeats of one frame can make of it."""
CLOCK_SET_EVERY_US = 86_400_000_000
ALWAYS_US = 10 * 365 * 86_400_000_000


class RequestKind(StrEnum):
    DUTY_CHECK = "duty_check"
    SET_CLOCK = "set_clock"


class RequestState(StrEnum):
    """WAITING for a line, SENT by a gateway, CONFIRMED by the device, which now asks its people; the rest are ends."""

    WAITING = "waiting"
    SENT = "sent"
    CONFIRMED = "confirmed"
    ANSWERED = "answered"
    DONE = "done"
    UNANSWERED = "unanswered"
    FAILED = "failed"


TO_SEND = (RequestState.WAITING, RequestState.SENT)
OPEN = (*TO_SEND, RequestState.CONFIRMED)


@dataclass(frozen=True, slots=True)
class PanelRequest:
    """One request. `person` asked for it, empty when it came by itself; `minutes` is how long people have to answer.

    `gateway` has taken it until `taken_until_us`; `operator` is the number that answered. Times are µs UTC, 0 for not
    yet.
    """

    id: str
    kind: RequestKind
    panel: str
    person: str
    why: str
    asked_us: int
    state: RequestState = RequestState.WAITING
    minutes: int = 0
    gateway: str = ""
    taken_until_us: int = 0
    sent_us: int = 0
    confirmed_us: int = 0
    ended_us: int = 0
    operator: int | None = None


@dataclass(frozen=True, slots=True)
class RequestAsked:
    """The first moment of a request."""


@dataclass(frozen=True, slots=True)
class RequestTaken:
    """A gateway that has the panel on a line sends it now."""

    gateway: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The device has confirmed it."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The device has denied it."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """The device has said nothing to any of the repeats, or its line was lost."""

    gateway: str


@dataclass(frozen=True, slots=True)
class DutyAnswered:
    """Somebody on duty has pressed the button; `operator` as the device numbers them."""

    operator: int | None


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The timer of the request is due."""


RequestEvent = RequestAsked | RequestTaken | Confirmed | Denied | Unheard | DutyAnswered | DeadlinePassed


def may_take(request: PanelRequest, now_us: int) -> bool:
    """Whether a gateway may send it now: nobody has, or who had it has not been heard of since."""
    return request.state in TO_SEND and request.taken_until_us <= now_us


def decide(request: PanelRequest, event: RequestEvent, now_us: int) -> tuple[PanelRequest, list[Effect]]:
    """What an event makes of a request. Late and repeated events are ordinary."""
    match event:
        case RequestAsked():
            facts: dict[str, object] = {"minutes": request.minutes}
            return request, [_record(request, "asked", request.why, facts), _due(request, now_us + REACH_WITHIN_US)]
        case RequestTaken() if may_take(request, now_us):
            taken = replace(request, state=RequestState.SENT, gateway=event.gateway, sent_us=now_us)
            taken = replace(taken, taken_until_us=now_us + TAKEN_FOR_US)
            return taken, [_record(request, "sent", f"by {event.gateway}")]
        case RequestTaken():
            return request, []
        case Confirmed() if request.state in TO_SEND and request.kind is RequestKind.DUTY_CHECK:
            due_us = now_us + request.minutes * 60_000_000 + ANSWER_GRACE_US
            asks = replace(request, state=RequestState.CONFIRMED, confirmed_us=now_us)
            return asks, [_record(request, "confirmed", "the device asks its people"), _due(request, due_us)]
        case Confirmed() if request.state in TO_SEND:
            return _ended(replace(request, confirmed_us=now_us), RequestState.DONE, "the device has set it", now_us)
        case Denied() if request.state in TO_SEND:
            return _ended(request, RequestState.FAILED, "the device has denied it", now_us)
        case Unheard() if request.state is RequestState.SENT and request.gateway == event.gateway:
            waits = replace(request, state=RequestState.WAITING, taken_until_us=0)
            return waits, [_record(request, "unheard", f"no confirmation on the line of {event.gateway}")]
        case DutyAnswered() if request.state in OPEN:
            why = "somebody on duty has answered" + ("" if event.operator is None else f": operator {event.operator}")
            return _ended(replace(request, operator=event.operator), RequestState.ANSWERED, why, now_us)
        case DutyAnswered() if request.state is RequestState.UNANSWERED:
            return request, [_record(request, "answered_late", "somebody on duty has answered after the end")]
        case DeadlinePassed() if request.state is RequestState.CONFIRMED:
            why = f"nobody on duty answered within {request.minutes} min"
            return _ended(request, RequestState.UNANSWERED, why, now_us)
        case DeadlinePassed() if request.state in TO_SEND:
            return _ended(request, RequestState.FAILED, "the panel was not reached", now_us)
        case Confirmed() | Denied() | Unheard() | DutyAnswered() | DeadlinePassed():
            return request, []
        case _:
            assert_never(event)


def unattended(request: PanelRequest, panel: Panel, now_us: int) -> Signal:
    """What the city hears when nobody on duty answered: a question for its office, which never sounds by itself."""
    return Signal(
        key=f"panel/{panel.id}/unattended/{request.id}",
        reporter=panel.id,
        use=panel.use,
        kind=SignalKind.ALERT,
        evidence=Evidence.PANEL,
        hazard=HAZARD_UNATTENDED,
        event_code=EVENT_CODE,
        place=Place(venue=panel.venue),
        observed_us=now_us,
        received_us=now_us,
        device=DUTY_BUTTON,
        headline=f"{panel.name or panel.id}：消防控制室{request.minutes}分钟内无人应答查岗",
    )


def _ended(request: PanelRequest, state: RequestState, why: str, now_us: int) -> tuple[PanelRequest, list[Effect]]:
    ended = replace(request, state=state, ended_us=now_us, taken_until_us=0)
    return ended, [_record(request, str(state), why), Sleep(Timer.PANEL_REQUEST, request.id)]


def _due(request: PanelRequest, due_us: int) -> WakeAt:
    return WakeAt(Timer.PANEL_REQUEST, request.id, due_us, due_us + ALWAYS_US)


def _record(request: PanelRequest, what: str, why: str, facts: dict[str, object] | None = None) -> Record:
    said: dict[str, object] = {"request": request.id, **(facts or {})}
    return Record(f"panel.{request.kind}.{what}", request.panel, why, request.person, said)
