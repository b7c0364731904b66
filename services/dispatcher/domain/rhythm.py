"""The dead man's switch: a source that is silent for longer than its rhythm is a case for people. Pure.

What was heard is written coarsely, at most once in `COARSE_US` for each source, and no timer moves with it: the timer
row is compared with what was heard when it is due, and set anew. The grace covers that coarseness. Silence is not held
against a source that is switched off or under maintenance, nor for a time in which this system itself was away, or was
deaf on the wire that the source speaks on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias, assert_never

from .effects import EndSilence, RaiseSilence, Record, Sleep, Timer, WakeAt

SOURCE_SILENT = "source_silent"
"""The hazard of an incident that silence makes. No feed may name it, and no playbook may answer it."""

LEVEL_SILENT = 4
COARSE_US = 15_000_000
GRACE_US = 60_000_000
DEAF_US = 60_000_000
SENSORS_WIRE = "wire/mqtt"
"""The row that says when the sensors' broker was last connected, and since when it is."""

USELESS_AFTER_US = 10 * 365 * 86_400_000_000
_SECOND_US = 1_000_000


class SourceKind(StrEnum):
    FEED = "feed"
    PANEL = "panel"
    SENSOR = "sensor"


@dataclass(frozen=True, slots=True)
class Heard:
    """When a source was last heard, under `feed/…`, `panel/…` or `sensor/…` and its id; times are µs UTC.

    `heard_us` is 0 while it never was; `from_us` is from when its silence counts, should it have been heard before.
    `rhythm_s` is what its timer was set by, `incident` the open case of its silence. `excused` says that it was off or
    under maintenance when its timer was last due. `state` is what a sensor last said of itself.
    """

    id: str
    heard_us: int = 0
    from_us: int = 0
    rhythm_s: int = 0
    incident: str = ""
    excused: bool = False
    state: str = ""

    @property
    def due_us(self) -> int:
        return max(self.heard_us, self.from_us) + self.rhythm_s * _SECOND_US + GRACE_US


@dataclass(frozen=True, slots=True)
class Spoke:
    """It was heard at `at_us`; `state` is empty where nothing is said of it."""

    at_us: int
    state: str = ""


@dataclass(frozen=True, slots=True)
class Listening:
    """A wire was open at `at_us`."""

    at_us: int


@dataclass(frozen=True, slots=True)
class RhythmExpected:
    """How often it is expected to speak, 0 when nothing is."""

    rhythm_s: int


@dataclass(frozen=True, slots=True)
class SilenceDue:
    """Its timer is due. `excuse` says why its silence is nobody's business now, `missed` that this system was away or
    is deaf; it has been listening since `listening_us`."""

    excuse: str = ""
    missed: str = ""
    listening_us: int = 0


@dataclass(frozen=True, slots=True)
class CaseClosed:
    """People closed the case of its silence."""


RhythmEvent: TypeAlias = Spoke | Listening | RhythmExpected | SilenceDue | CaseClosed


RhythmEffect: TypeAlias = RaiseSilence | EndSilence | WakeAt | Sleep | Record


def decide(heard: Heard, event: RhythmEvent, now_us: int) -> tuple[Heard, list[RhythmEffect]]:
    """What an event makes of what is known of a source. Late and repeated events are ordinary."""
    match event:
        case Spoke():
            return _spoke(heard, event)
        case Listening(at_us):
            since_us = at_us if at_us - heard.heard_us > DEAF_US else heard.from_us
            return replace(heard, heard_us=max(heard.heard_us, at_us), from_us=since_us), []
        case RhythmExpected(rhythm_s) if rhythm_s == heard.rhythm_s:
            return heard, []
        case RhythmExpected(0):
            return replace(heard, rhythm_s=0), [Sleep(Timer.SOURCE_SILENT, heard.id)]
        case RhythmExpected(rhythm_s):
            counted = replace(heard, rhythm_s=rhythm_s, from_us=heard.from_us if heard.rhythm_s else now_us)
            # Whose silence is a case already is waited for, and for nothing else.
            return counted, [] if heard.incident else [_wake(counted)]
        case CaseClosed():
            # It has a whole rhythm to speak again; whoever does not want to be told switches it off.
            anew = replace(heard, incident="", from_us=now_us)
            return anew, [_wake(anew)] if anew.rhythm_s else []
        case SilenceDue() if heard.incident or not heard.rhythm_s:
            return heard, []
        case SilenceDue(excuse=excuse) if excuse:
            excused = replace(heard, excused=True, from_us=now_us)
            return excused, [_wake(excused)]
        case SilenceDue(missed=missed) if missed or heard.excused:
            # A whole rhythm for everybody who may have spoken in vain.
            anew = replace(heard, excused=False, from_us=now_us)
            return anew, [_wake(anew)]
        case SilenceDue(listening_us=listening_us):
            counted = replace(heard, from_us=max(heard.from_us, listening_us))
            return counted, [_wake(counted) if counted.due_us > now_us else RaiseSilence(heard.id)]
        case _:
            assert_never(event)


def _spoke(heard: Heard, event: Spoke) -> tuple[Heard, list[RhythmEffect]]:
    spoke = replace(heard, heard_us=max(heard.heard_us, event.at_us), state=event.state or heard.state)
    if not heard.incident:
        return spoke, []
    again = replace(spoke, incident="", excused=False)
    silent_s = max(0, event.at_us - heard.heard_us) // _SECOND_US if heard.heard_us else 0
    why = f"it speaks again after {silent_s} s" if heard.heard_us else "it speaks for the first time"
    record = Record("source.heard_again", heard.id, why, facts={"incident": heard.incident, "silent_s": silent_s})
    wake = [_wake(again)] if again.rhythm_s else []
    return again, [record, EndSilence(heard.incident), *wake]


def _wake(heard: Heard) -> WakeAt:
    return WakeAt(Timer.SOURCE_SILENT, heard.id, heard.due_us, heard.due_us + USELESS_AFTER_US)


def source_id(kind: SourceKind, id: str) -> str:
    """The name of a source's row."""
    return f"{kind}/{id}"


def source_of(id: str) -> tuple[SourceKind, str]:
    """What `source_id` was made of."""
    kind, _, name = id.partition("/")
    return SourceKind(kind), name


def span_words(span_s: int) -> tuple[str, str]:
    """(zh, en) of a length of time, in the largest unit that it fills twice."""
    for unit_s, zh, en in ((86_400, "天", "days"), (3_600, "小时", "hours"), (60, "分钟", "minutes")):
        if span_s >= 2 * unit_s:
            return f"{span_s // unit_s}{zh}", f"{span_s // unit_s} {en}"
    return f"{span_s}秒", f"{span_s} seconds"
