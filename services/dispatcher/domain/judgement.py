"""What a receipt is worth (回执判定): which of a speaker's steps count as playing, and which of them prove it. Pure.

A speaker's word is not signed and its account can be stolen, so that nothing counts which can't have been. What is
doubted is stored all the same, with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from devices.protocols.documents import Step, StepKind
from devices.protocols.refusals import Refusal

from .broadcasts import Broadcast

MIC_DB_MIN = 40
MIC_DB_MAX = 130
"""What a microphone beside a sounding loudspeaker can hear: less is a quiet room, more would have broken it."""
RECEIPT_AHEAD_US_MAX = 10_000_000
"""How far a speaker's clock may be ahead of the dispatcher's: the offset is measured over a network."""
BEHIND_US_MAX = 2_000_000
"""How long before an order's start a step of it may be said to have been, for the same reason."""
RUNNING_REPEAT_US = 60_000_000
"""How long a repeat that began before its order expired may go on."""
STOP_REACHES_US = 15_000_000
"""How long after an order was taken off the air a sound of it may begin: it is signed and published within 5 s, a
speaker cuts its sound within 500 ms, and its clock may be ahead by as much as above."""
LATELY_US = 86_400_000_000
"""How long after an order's end a receipt of it still counts: a speaker may have been cut off meanwhile."""


class Doubt(StrEnum):
    """Why a step does not count, or why its microphone proves nothing. `AFTER_STOP` outranks the others: it still
    sounds there though the order was taken off the air."""

    NOT_ON_AIR = "not_on_air"
    REVISION_NOT_OURS = "revision_not_ours"
    REVISION_WITHDRAWN = "revision_withdrawn"
    BEFORE_START = "before_start"
    IN_FUTURE = "in_future"
    AFTER_STOP = "after_stop"
    AFTER_END = "after_end"
    LONG_OVER = "long_over"
    NO_MICROPHONE = "no_microphone"
    OUT_OF_RANGE = "out_of_range"


@dataclass(frozen=True, slots=True)
class Judged:
    """When a step is taken to have been, None where it does not count; whether it proves sound; and the doubt."""

    at_us: int | None
    proved: bool = False
    doubt: str = ""


def given(order: Broadcast | None, rev: int) -> bool:
    """Whether this revision of the order was ever given out here."""
    return order is not None and order.rev > 0 and rev <= order.rev


def judge_sound(step: Step, rev: int, order: Broadcast | None, microphone: bool, now_us: int) -> Judged:
    """Judge a step that says there is, or was, sound. `now_us` is when it was received; a speaker without a clock says
    0, and that moment counts for it."""
    at_us = step.at or now_us
    doubt = _impossible(at_us, rev, order, now_us)
    if doubt is None and order is not None and _sounds_after_stop(step, at_us, order):
        doubt = Doubt.AFTER_STOP
    if doubt is not None:
        return Judged(None, doubt=str(doubt))
    evidence = step.evidence
    if evidence is None or "mic_db" not in evidence:
        return Judged(at_us)
    if not microphone:
        return Judged(at_us, doubt=str(Doubt.NO_MICROPHONE))
    return Judged(at_us, True) if _heard(evidence["mic_db"]) else Judged(at_us, doubt=str(Doubt.OUT_OF_RANGE))


def proves_unjudged(step: Step, microphone: bool) -> bool:
    """Whether the microphone of a step proves sound, should its order turn out to be one of ours."""
    return microphone and step.evidence is not None and _heard(step.evidence.get("mic_db"))


def _heard(mic_db: object) -> bool:
    return type(mic_db) is int and MIC_DB_MIN <= mic_db <= MIC_DB_MAX


def knew_of_stop(step: Step, order: Broadcast, held: int, told: range, unchanged_us: int) -> bool:
    """Whether a sound after the stop was made by a speaker that had been told: it held a manifest of its stream that
    says the stop, and had said so `unchanged_us`, before the step. `held` is the version that it holds, `told` are
    those of ours that say the stop. A speaker that was cut off could not know, and a step without a time may be of
    then."""
    if step.kind not in (StepKind.PLAYING, StepKind.FINISHED) or not step.at or not unchanged_us:
        return False
    knew = held in told and step.at > unchanged_us + RECEIPT_AHEAD_US_MAX
    return knew and _sounds_after_stop(step, step.at, order)


def _sounds_after_stop(step: Step, at_us: int, order: Broadcast) -> bool:
    """Whether a revision that was in force once sounds after the order was taken off the air. That it has expired where
    the stop never came is no sound of that time."""
    told_late = step.kind is StepKind.FINISHED and step.reason == Refusal.ORDER_EXPIRED
    return bool(order.silent_us) and at_us > order.silent_us + STOP_REACHES_US and not told_late


def _impossible(at_us: int, rev: int, order: Broadcast | None, now_us: int) -> Doubt | None:
    """Why there can't have been sound of this order's revision at that time."""
    if order is None or order.rev == 0:
        return Doubt.NOT_ON_AIR
    if not 0 < rev <= order.rev:
        return Doubt.REVISION_NOT_OURS
    if rev in order.withdrawn_revs:
        return Doubt.REVISION_WITHDRAWN
    if now_us > order.expires_us + LATELY_US:
        return Doubt.LONG_OVER
    if at_us > now_us + RECEIPT_AHEAD_US_MAX:
        return Doubt.IN_FUTURE
    if at_us < order.start_at_us - BEHIND_US_MAX:
        return Doubt.BEFORE_START
    if at_us > order.expires_us + RUNNING_REPEAT_US + RECEIPT_AHEAD_US_MAX:
        return Doubt.AFTER_END
    return None
