"""Which order sounds now: every order that may still want something is reviewed, and the first that may start wins.

`obstacle` answers with a reason, and the reasons are what the receipts say.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from devices.protocols.documents import OrderClass, Phase, StepKind
from devices.protocols.order_of_sounds import order_of_sounds
from devices.protocols.refusals import Refusal
from devices.speaker import limits
from devices.speaker import sounding as s
from devices.speaker import standing as st
from devices.speaker.claims import Claim, stands
from devices.speaker.receipts import say
from devices.speaker.state import Standing, order_key, vouched
from devices.speaker.turn import Turn

FINISH_US_MAX = 60_000_000
DAILY_LATE_US_MAX = 60_000_000
PREPARE_US = 5_000_000
HELLO_WAIT_US = 30_000_000


class Obstacle(StrEnum):
    """Why an order does not start now; NONE when it may."""

    NONE = ""
    NOT_MINE = "not_mine"
    WITHDRAWN = "withdrawn"
    OVER = "over"
    DONE = "done"
    EXPIRED = "expired"
    EARLY = "early"
    UNHEARD = "original_not_heard"
    MISSED = "missed"
    RESTING = "resting"
    RATE_LIMITED = "rate_limited"
    UNTIMED = "untimed"


def obstacle(t: Turn, key: str, now_us: int) -> Obstacle:
    """The first reason why this order may not start now."""
    standing, mark = t.orders[key], t.mark(key)
    order = standing.order
    late_us = now_us - (mark.due_us or order.start_at)
    daily = _daily_alert(t, key)
    # Putting a false notice right is worth it at any time.
    missed = daily and late_us > DAILY_LATE_US_MAX and key not in t.sound.interrupted
    for reason, holds in (
        (Obstacle.NOT_MINE, not standing.mine),
        (Obstacle.WITHDRAWN, st.withdrawn(standing)),
        (Obstacle.OVER, bool(st.over(t, key))),
        (Obstacle.DONE, mark.heard >= order.repeat),
        (Obstacle.EXPIRED, now_us >= order.expires),
        (Obstacle.EARLY, now_us < order.start_at),
        (Obstacle.MISSED, missed),
    ):
        if holds:
            return reason
    if st.unheard(t, standing):
        return Obstacle.UNHEARD
    if t.sound.rests.get(key, 0) > t.mono_us:
        return Obstacle.RESTING
    if not mark.admitted and limits.held_back_until(t, standing) is not None:
        return Obstacle.RATE_LIMITED
    # A stored time may be hours old: what expired meanwhile must not be the first thing heard after a power cut. A
    # speaker whom nobody answers goes by it all the same, but not for what nobody misses and some would wake up for.
    if not t.clock.verified and (daily or t.mono_us < t.booted_us + HELLO_WAIT_US):
        return Obstacle.UNTIMED
    return Obstacle.NONE


def _daily_alert(t: Turn, key: str) -> bool:
    order = t.orders[key].order
    return order.order_class is OrderClass.DAILY and order.phase is Phase.ALERT


def settle(t: Turn) -> None:
    """Bring what sounds into line with what is held, now."""
    now_us = t.now_us
    if now_us is None or t.config is None:
        return
    s.watch(t, now_us, FINISH_US_MAX)
    for key in t.live:
        _review(t, key, now_us)
    obstacles = {key: obstacle(t, key, now_us) for key in t.live}
    if _end_superseded(t, obstacles):
        obstacles = {key: obstacle(t, key, now_us) for key in t.live}
    if _end_drills(t, obstacles, now_us):
        obstacles = {key: obstacle(t, key, now_us) for key in t.live}
    if _interrupt(t, obstacles, now_us):
        obstacles = {key: obstacle(t, key, now_us) for key in t.live}
    for key, reason in obstacles.items():
        _tell(t, key, reason, now_us)
    _choose(t, obstacles, now_us)


def _review(t: Turn, key: str, now_us: int) -> None:
    """What an order's own revision, selector and end ask for, whatever else is held."""
    standing, mark = t.orders[key], t.mark(key)
    order = standing.order
    if standing.mine and mark.accepted_rev < order.rev and now_us < order.expires:
        mark = replace(mark, accepted_rev=order.rev)
        t.set_mark(key, mark)
        say(t, key, order.rev, StepKind.ACCEPTED)
    if not standing.mine:
        _silence(t, key, Obstacle.NOT_MINE, now_us)
    elif st.withdrawn(standing) and mark.withdrawn_rev < order.rev:
        _withdraw(t, key, now_us)
    elif _sounds_false(t, key):
        # What sounds was signed by a key that has been removed since, and a listed key knows another revision.
        _silence(t, key, Obstacle.WITHDRAWN, now_us)
    if now_us < order.expires:
        t.wake_at_utc(order.expires)
    elif t.clock.verified and not _sounds(t, key):
        _close(t, key)


def _withdraw(t: Turn, key: str, now_us: int) -> None:
    order = t.orders[key].order
    unfinished = t.mark(key).heard < order.repeat and not st.over(t, key)
    told = _silence(t, key, Obstacle.WITHDRAWN, now_us)
    # A withdrawn order that comes back is a new start for the rate limit.
    t.set_mark(key, replace(t.mark(key), withdrawn_rev=order.rev, admitted=False, due_us=0))
    if unfinished and not told and t.mark(key).accepted_rev:
        say(t, key, order.rev, StepKind.SUPERSEDED, Obstacle.WITHDRAWN)


def _close(t: Turn, key: str) -> None:
    """The order has expired, by a verified clock: say what was not heard, and look at it no more."""
    standing, mark = t.orders[key], t.mark(key)
    order = standing.order
    open_still = not (
        st.over(t, key) or st.withdrawn(standing) or mark.heard >= order.repeat or mark.told_rev >= order.rev
    )
    if open_still and standing.mine and mark.accepted_rev:
        kind = StepKind.FINISHED if mark.heard else StepKind.FAILED
        say(t, key, order.rev, kind, Refusal.ORDER_EXPIRED, {"repeat": mark.heard, "of": order.repeat}, order.expires)
    t.set_mark(key, replace(t.mark(key), closed_rev=order.rev))
    t.live = tuple(other for other in t.live if other != key)
    s.forget(t, key)


def _silence(t: Turn, key: str, reason: str, now_us: int) -> bool:
    """Stop sounding and loading of one order. True when something that sounded was cut."""
    if t.sound.loading is not None and t.sound.loading.key == key:
        s.drop_loading(t)
    if _sounds(t, key):
        s.cut(t, reason, now_us)
        return True
    return False


def _sounds_false(t: Turn, key: str) -> bool:
    """Whether what sounds of this order counts for nothing: its revision is gone, or the claim to its words."""
    sounding, standing = t.sound.sounding, t.orders[key]
    if sounding is None or sounding.key != key:
        return False
    other = not st.still_said(sounding.words, standing.order)
    taken_back = vouched(t.papers, standing) and not stands(t.papers, sounding.claim)
    return sounding.rev > standing.order.rev or (other and taken_back)


def _sounds(t: Turn, key: str) -> bool:
    return t.sound.sounding is not None and t.sound.sounding.key == key


def _end_superseded(t: Turn, obstacles: dict[str, Obstacle]) -> bool:
    """End what an order in force names as superseded or corrected; it does not come back with a later revision."""
    ended = False
    for key, reason in obstacles.items():
        if reason not in (Obstacle.NONE, Obstacle.RESTING, Obstacle.DONE, Obstacle.UNHEARD):
            continue
        ending = t.orders[key]
        for name in st.named(ending.order):
            ended |= _end(t, order_key(ending.order.status, name), ending)
    return ended


def _end(t: Turn, key: str, ending: Standing) -> bool:
    ended = t.orders.get(key)
    if ended is None or not st.in_force(t, ending) or not st.may_end(t, ending, ended):
        return False
    corrected = ending.order.corrects == ended.order.id and ended.order.phase is Phase.ALERT
    newer = (ending.order.start_at, ending.order.id) > (ended.order.start_at, ended.order.id)
    if not corrected and not newer:
        return False  # Two orders that name each other would otherwise silence both.
    return _finish_off(t, key, "superseded", ending.claim)


def _finish_off(t: Turn, key: str, reason: str, by: Claim) -> bool:
    """Note that an order is over, and by which claim. True when it was not over before."""
    order, mark, was_over = t.orders[key].order, t.mark(key), st.over(t, key)
    same_key = [each for each in mark.over_by if each.x == by.x]
    if was_over and (not mark.over_by or not stands(t.papers, by) or any(stands(t.papers, s) for s in same_key)):
        return False
    others = tuple(each for each in mark.over_by if each not in same_key)
    t.set_mark(key, replace(mark, over=was_over or reason, over_by=(*others, by)))
    if was_over:
        return False
    told = _silence(t, key, reason, t.now_us or 0)
    mark = t.mark(key)
    if not told and mark.accepted_rev and mark.heard < order.repeat and not st.withdrawn(t.orders[key]):
        say(t, key, order.rev, StepKind.SUPERSEDED, reason)
    return True


def _end_drills(t: Turn, obstacles: dict[str, Obstacle], now_us: int) -> bool:
    """An exercise is over here when an actual emergency may sound: it must not go on while people act on the real
    thing. A daily order ends no exercise; it waits for one of class emergency."""
    may_sound = (Obstacle.NONE, Obstacle.RESTING)
    begun = [key for key, reason in obstacles.items() if reason in (*may_sound, *_DRILL_BEGUN) or _sounds(t, key)]
    drills = [key for key in begun if t.orders[key].order.status != "actual"]
    grave = [
        t.orders[key].claim
        for key in begun
        if key not in drills and st.contender(t, key).emergency and (obstacles[key] in may_sound or _sounds(t, key))
    ]
    ended = [_finish_off(t, key, st.ACTUAL_ORDER, by) for key in drills for by in grave]
    return any(ended)


def _interrupt(t: Turn, obstacles: dict[str, Obstacle], now_us: int) -> bool:
    """Note which daily alerts that have begun wait for something above them. Their 60 s begin when that is over. True
    when those that wait have changed."""
    above = {key for key, reason in obstacles.items() if reason in _MAY_SOUND or _sounds(t, key)}
    waiting = {
        key
        for key, reason in obstacles.items()
        if (reason in _MAY_SOUND or reason is Obstacle.MISSED)
        and _daily_alert(t, key)
        and t.mark(key).due_us
        and t.mark(key).started_us
        and not _sounds(t, key)
    }
    places = _places(t, above | waiting) if waiting else {}
    held = frozenset(key for key in waiting if any(places[other] < places[key] for other in above))
    for key in t.sound.interrupted & waiting - held:
        t.set_mark(key, replace(t.mark(key), due_us=now_us))
    changed = held != t.sound.interrupted
    t.sound = replace(t.sound, interrupted=held)
    return changed


def _tell(t: Turn, key: str, reason: Obstacle, now_us: int) -> None:
    """Say once for each revision why an order meant for this speaker does not sound, and wake when that may change."""
    standing, mark = t.orders[key], t.mark(key)
    order = standing.order
    match reason:
        case Obstacle.EARLY:
            t.wake_at_utc(order.start_at)
            if order.start_at - PREPARE_US > now_us:
                t.wake_at_utc(order.start_at - PREPARE_US)
        case Obstacle.RESTING:
            rest_us = t.sound.rests[key]
            t.wake(rest_us - PREPARE_US if rest_us - PREPARE_US > t.mono_us else rest_us)
        case Obstacle.RATE_LIMITED:
            until_us = limits.held_back_until(t, standing)
            assert until_us is not None
            t.wake(until_us)
            if mark.limited_rev < order.rev:
                t.set_mark(key, replace(mark, limited_rev=order.rev))
                wait_s = -(-(until_us - t.mono_us) // 1_000_000)
                say(t, key, order.rev, StepKind.REFUSED, Refusal.RATE_LIMITED, {"wait_s": wait_s})
        case Obstacle.UNTIMED:
            if t.mono_us < t.booted_us + HELLO_WAIT_US:
                t.wake(t.booted_us + HELLO_WAIT_US)
        case Obstacle.UNHEARD | Obstacle.MISSED:
            # A clock that nobody verified must not settle that an order came too late.
            if t.clock.verified and mark.told_rev < order.rev and not _sounds(t, key):
                t.set_mark(key, replace(mark, told_rev=order.rev))
                say(t, key, order.rev, StepKind.REFUSED, reason)
        case _:
            pass  # Nothing changes by itself, or the receipts have said it already.


def audio_stored(t: Turn, sha256: str) -> None:
    """A recording came: what was made ready without it, and is not due yet, is made again with it."""
    loading, now_us = t.sound.loading, t.now_us
    if loading is None or now_us is None:
        return
    names = any(audio.sha256 == sha256 for audio in t.orders[loading.key].order.audio)
    if names and obstacle(t, loading.key, now_us) in (Obstacle.EARLY, Obstacle.RESTING):
        s.drop_loading(t)


_DRILL_BEGUN = (Obstacle.RATE_LIMITED, Obstacle.OVER)
"""Where an exercise that may not sound now has begun all the same, or is over already."""

_MAY_SOUND = (Obstacle.NONE, Obstacle.RESTING, Obstacle.UNTIMED)
"""What takes part in the order of sounds. A gap between two repeats keeps an order in it; an order that is done, over
or held back holds no all-clear down."""


def _choose(t: Turn, obstacles: dict[str, Obstacle], now_us: int) -> None:
    """Start the first that is ready, or make it ready first; a sound gives way only to what stands above it."""
    current = t.sound.sounding
    standing = {key for key, reason in obstacles.items() if reason in _MAY_SOUND}
    places = _places(t, standing | ({current.key} if current is not None else set()))
    ready = sorted((key for key, reason in obstacles.items() if reason is Obstacle.NONE), key=lambda key: places[key])
    best, unmeasured = _for_now(t, ready, obstacles, places)
    if current is not None and best is not None and places[best] >= places[current.key]:
        best = None
    wanted = best or _next_up(t, obstacles, standing, unmeasured, now_us)
    if wanted is None:
        s.drop_loading(t)
        return
    loading = t.sound.loading
    order = t.orders[wanted].order
    fits = loading is not None and (loading.key, loading.rev, loading.words, loading.repeat) == (
        wanted, order.rev, st.words(order), t.mark(wanted).heard + 1,
    )  # fmt: skip
    if not fits:
        s.load(t, wanted)
    elif wanted == best and loading is not None and loading.ready:
        s.start(t, now_us)


def _places(t: Turn, keys: set[str]) -> dict[str, int]:
    """The places of these orders in the order of sounds; 0 goes first."""
    ranked = order_of_sounds(st.contender(t, key) for key in keys)
    return {order_key(c.order.status, c.order.id): place for place, c in enumerate(ranked)}


def _for_now(
    t: Turn, ready: list[str], obstacles: dict[str, Obstacle], places: dict[str, int]
) -> tuple[str | None, str | None]:
    """(the first ready order when it may begin now, or when it is too long for the gap by an estimate alone).

    A lower order may use the gap between two repeats of a higher one only if it ends within that gap. What an estimate
    makes too long is loaded once, early in the gap, to learn how long it truly is. None below it goes before it.
    """
    if not ready:
        return None, None
    key = ready[0]
    gap_us = _gap_until_us(t, key, obstacles, places)
    if gap_us is None:
        return key, None
    measured_ms = s.measured_ms(t, key)
    ms = s.plan(t, key, 0).ms if measured_ms is None else measured_ms
    if t.mono_us + ms * 1_000 <= gap_us:
        return key, None
    early = t.sound.sounding is None and t.mono_us < gap_us - PREPARE_US
    return None, key if measured_ms is None and early else None


def _gap_until_us(t: Turn, key: str, obstacles: dict[str, Obstacle], places: dict[str, int]) -> int | None:
    """Monotonic time at which the gap of a higher order ends, None when this order stands in no gap."""
    rests = [
        t.sound.rests[other]
        for other, reason in obstacles.items()
        if reason is Obstacle.RESTING and not t.mark(other).tries and places[other] < places[key]
    ]
    return min(rests, default=None)


def _next_up(
    t: Turn, obstacles: dict[str, Obstacle], standing: set[str], unmeasured: str | None, now_us: int
) -> str | None:
    """What to make ready now: what will be due within 5 s, or with the hello, so that many speakers begin together,
    and what is only to be measured. During a sound only what will interrupt it, so that a lent gap ends in time."""
    current = t.sound.sounding
    soon = {
        key
        for key, reason in obstacles.items()
        if reason is Obstacle.UNTIMED
        or (reason is Obstacle.EARLY and t.orders[key].order.start_at - PREPARE_US <= now_us)
        or (reason is Obstacle.RESTING and t.sound.rests[key] - PREPARE_US <= t.mono_us)
    }
    places = _places(t, standing | soon | ({current.key} if current is not None else set()))
    if unmeasured is not None:
        soon.add(unmeasured)
    if current is not None:
        soon = {key for key in soon if places[key] < places[current.key]}
    return min(soon, key=lambda key: places[key], default=None)
