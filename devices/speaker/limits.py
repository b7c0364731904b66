"""The rate limit: how many alerts may begin in an hour, counted over restarts and aged by a verified clock alone."""

from __future__ import annotations

import json
from dataclasses import replace

from devices.protocols.documents import OrderClass, Phase
from devices.speaker.claims import Claim, claim_of, packed, stands
from devices.speaker.state import STARTS_WINDOW_US, Severity, Standing, Start
from devices.speaker.turn import Turn


def severity(standing: Standing) -> Severity:
    """How severe an order is for the rate limit."""
    order = standing.order
    return Severity(order.order_class is OrderClass.EMERGENCY, order.status == "actual", -order.level)


def _counts(start: Severity, against: Severity) -> bool:
    """Only starts at least as severe count, so that nothing lesser can use up the allowance of something graver; and
    no exercise, however it calls itself, can use up that of anything actual."""
    return start >= against and start.actual >= against.actual


def held_back_until(t: Turn, standing: Standing) -> int | None:
    """Monotonic time until which the rate limit holds this order back, None when it does not."""
    assert t.config is not None
    if standing.order.phase is not Phase.ALERT:
        return None
    mine = severity(standing)
    limit = t.config.starts_per_hour_max
    since_us = t.mono_us - STARTS_WINDOW_US
    # What a thief began holds back none of ours once his key may not sign it any more, however it ended.
    recent = [s for s in t.starts if s.mono_us > since_us and _counts(s.severity, mine)]
    counted = sorted(s.mono_us for s in recent if stands(t.papers, s.claim))
    return counted[-limit] + STARTS_WINDOW_US if len(counted) >= limit else None


def count(t: Turn, standing: Standing) -> None:
    """An order begins."""
    recent = tuple(s for s in t.starts if s.mono_us > t.mono_us - STARTS_WINDOW_US)
    t.starts = (*recent, Start(t.mono_us, severity(standing), standing.claim))
    _keep(t)


def listed_again(t: Turn, claim: Claim) -> None:
    """Another claim lists the very same order: what it used up of the limit outlives the claim before."""
    starts = tuple(replace(s, claim=claim) if s.claim.order == claim.order else s for s in t.starts)
    if starts != t.starts:
        t.starts = starts
        _keep(t)


def stored(text: str, known_us: int, booted_us: int) -> tuple[Start, ...]:
    """The starts that the journal holds, no older than is certain: `known_us` is the last time that was verified."""
    starts = []
    for at_us, severity, claim in json.loads(text):
        emergency, actual, minus_level = severity
        mono_us = booted_us - (max(0, known_us - int(at_us)) if at_us else 0)
        how = Severity(bool(emergency), bool(actual), int(minus_level))
        starts.append(Start(mono_us, how, claim_of(claim), int(at_us)))
    return tuple(s for s in starts if s.mono_us > booted_us - STARTS_WINDOW_US)


def age(t: Turn, offset_us: int) -> None:
    """The clock was verified: starts before this run get their true age, and all of them their time."""
    if t.starts:
        t.starts = tuple(
            replace(s, mono_us=min(s.at_us - offset_us, t.booted_us), at_us=0) if s.at_us else s for s in t.starts
        )
        _keep(t)


def _keep(t: Turn) -> None:
    """Write the starts down; one whose time nobody verified is written without it, and counts as new after a crash."""
    offset_us = t.clock.offset_us if t.clock.verified else None
    told = [[s.at_us if offset_us is None else s.mono_us + offset_us, s.severity, s.claim] for s in t.starts]
    t.fact("self", "starts", packed(told))
