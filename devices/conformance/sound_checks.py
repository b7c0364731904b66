"""The checks of what the device plays: repeats, revisions, withdrawal, the order of sounds, the rate limit, expiry.

A check whose event never came is not tried: a device that did not begin an order has not kept silent in obedience.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from devices.conformance.bench import Bench, StepSaid
from devices.conformance.finding import (
    SOUND_S_MAX,
    Check,
    Checks,
    Finding,
    Part,
    begins,
    is_finished,
    never_began,
    starts,
    state_of,
    told,
    untried,
    version_held,
)
from devices.conformance.papers import S, now_us, withdrawn
from devices.protocols import speaker_link as link
from devices.protocols.documents import OrderState, Phase
from devices.protocols.speaker_link import StepKind

CUT_US_MAX = 1_500_000
LATE_US_MAX = 2_000_000
CLOCK_US_MAX = 300 * S
FAILED_S_MAX = 20.0
"""A sound that failed may be tried again; so long is waited for that."""

PLAYS: Checks = {
    "plays": Check("accepts and plays an exercise, every repeat receipted", "5"),
    "preface": Check("has the drill preface", "4"),
    "ready": Check("says that it is ready before it begins", "5", required=False),
    "evidence": Check("shows repeat, of and source while it plays", "5"),
    "times": Check("states times by the verified clock", "2 Hello"),
}
WHOLE = (StepKind.ACCEPTED, StepKind.PLAYING, StepKind.FINISHED, StepKind.PLAYING, StepKind.FINISHED)


def plays(b: Bench) -> Iterator[Finding]:
    b.publish(b.papers.main, b.papers.put(b.papers.order("plain", repeat=2, gap_s=1)))

    def over() -> bool:
        return is_finished(b, "plain", 2) or b.has("plain", StepKind.REFUSED)

    if b.until(lambda: over() or b.has("plain", StepKind.FAILED), 2 * SOUND_S_MAX, "plays two repeats"):
        b.until(over, FAILED_S_MAX, "has failed to sound and may try again")
    said = [each for each in b.said("plain") if each.step.kind is not StepKind.READY]
    as_wanted = [each.step.kind for each in said] == list(WHOLE)
    yield PLAYS["plays"].found(as_wanted, told(b, "plain"), ", ".join(WHOLE))
    playing = b.said("plain", StepKind.PLAYING)
    if b.has("plain", StepKind.REFUSED, "no_drill_preface"):
        yield PLAYS["preface"].found(False, "refused: no_drill_preface", "the preface of section 4 on the device")
    elif playing:
        yield PLAYS["preface"].found(True, "not refused for it; listen for bells and 这是演练")
    if not playing:
        named = [] if b.has("plain", StepKind.REFUSED, "no_drill_preface") else ["preface"]
        yield from untried(PLAYS, f"nothing sounded: {told(b, 'plain')}", *named, "ready", "evidence", "times")
        return
    kinds = [(each.step.kind, each.evidence("repeat")) for each in b.said("plain")]
    first = kinds.index((StepKind.PLAYING, playing[0].evidence("repeat")))
    ready = [repeat for kind, repeat in kinds if kind is StepKind.READY]
    yield PLAYS["ready"].found((StepKind.READY, 1) in kinds[:first], f"ready for {ready}", "ready for 1 before playing")
    shown = [(each.evidence("repeat"), each.evidence("of"), each.evidence("source")) for each in playing]
    whole = [each[:2] for each in shown] == [(1, 2), (2, 2)] and all(each[2] for each in shown)
    yield PLAYS["evidence"].found(whole, f"repeat, of, source: {shown}", "repeats 1 and 2 of 2, each with its source")
    yield _times(playing)


def _times(playing: list[StepSaid]) -> Finding:
    off = [(each.step.at - now_us()) // S for each in playing if abs(each.step.at - now_us()) > CLOCK_US_MAX]
    unset = not all(each.step.at for each in playing)
    seen = "at 0, which is no verified clock" if unset else f"{off[0]} s from ours" if off else "within minutes of ours"
    return PLAYS["times"].found(not off, seen, "times within 5 minutes of the answer's utc")


RAISES: Checks = {
    "goes on": Check("does not begin again for a raised revision", "4"),
    "accepts": Check("accepts each revision once", "5"),
}


def raises(b: Bench) -> Iterator[Finding]:
    order = b.papers.order("raised", repeat=2)
    b.publish(b.papers.main, b.papers.put(order))
    if not begins(b, "raised"):
        yield from untried(RAISES, never_began(b, "raised"))
        return
    later = b.papers.order("raised", repeat=2, rev=2, texts={"zh": "再测。"}, start_at=order.start_at)
    b.publish(b.papers.main, b.papers.put(later))
    b.until(lambda: is_finished(b, "raised", 2), 2 * SOUND_S_MAX, "plays two repeats")
    begun = [each.evidence("repeat") for each in b.said("raised", StepKind.PLAYING)]
    accepted = [each.rev for each in b.said("raised", StepKind.ACCEPTED)]
    yield RAISES["goes on"].found(begun == [1, 2], f"repeats begun: {begun}", "[1, 2]")
    yield RAISES["accepts"].found(accepted == [1, 2], f"accepted: {accepted}", "revisions [1, 2]")


WITHDRAWS: Checks = {
    "cuts": Check("a withdrawal cuts the sound", "4"),
    "stays silent": Check("a withdrawn order stays silent", "4"),
}


def withdraws(b: Bench) -> Iterator[Finding]:
    order = b.papers.order("cut", repeat=100)
    b.publish(b.papers.main, b.papers.put(order))
    if not begins(b, "cut"):
        yield from untried(WITHDRAWS, never_began(b, "cut"))
        return
    told_us = now_us()
    b.publish(b.papers.main, b.papers.put(withdrawn(order)))
    b.until(lambda: b.has("cut", StepKind.SUPERSEDED, "withdrawn"))
    cuts = [each.step.at - told_us for each in b.said("cut", StepKind.SUPERSEDED) if each.step.reason == "withdrawn"]
    soon = bool(cuts) and cuts[0] <= CUT_US_MAX
    seen = f"after {cuts[0] // 1_000} ms" if cuts else f"not cut: {told(b, 'cut')}"
    yield WITHDRAWS["cuts"].found(soon, seen, f"superseded: withdrawn, within {CUT_US_MAX // 1_000} ms")
    begun = len(b.said("cut", StepKind.PLAYING))
    b.quiet_for(3)
    more = len(b.said("cut", StepKind.PLAYING)) - begun
    yield WITHDRAWS["stays silent"].found(not more, f"{begun} repeats begun, {more} after", "none after")


RESUMES: Checks = {
    "comes back": Check("a withdrawn order comes back with a higher revision", "4"),
    "conflict": Check("one revision with other content is a conflict", "2 Order"),
    "not listed": Check("an order that is merely not listed stays in force", "2 Manifest"),
    "swept": Check("an order that is swept is withdrawn", "2 Manifest"),
    "stub": Check("a stub of an order that it never held is silent", "2 Order"),
    "reads": Check("takes a manifest with a stub in it", "2 Order"),
}


def resumes(b: Bench) -> Iterator[Finding]:
    """A withdrawn order comes back, loses its place in the list, and is swept away."""
    kept = b.papers.orders[b.papers.main]
    begun = len(b.said("cut", StepKind.PLAYING))
    if not begun:
        yield from untried(RESUMES, never_began(b, "cut"), "comes back", "conflict", "not listed", "swept")
        kept.pop("cut", None)
    else:
        yield from _back_and_swept(b, begun)
    stub = withdrawn(b.papers.order("known-as-stub", repeat=2))
    b.publish(b.papers.main, b.papers.put(stub))
    read = b.until(lambda: state_of(b).streams.get(b.papers.main) == b.papers.held[b.papers.main])
    if read:
        b.quiet_for(3)
        silent = not b.said("known-as-stub", StepKind.PLAYING)
        yield RESUMES["stub"].found(silent, told(b, "known-as-stub"), "no playing")
    else:
        yield RESUMES["stub"].untried("the manifest with the stub was not taken")
    refused = ", ".join(b.refusals(b.papers.main)[-3:]) or "not in its state"
    yield RESUMES["reads"].found(read, "in its state" if read else refused, "its version in the state within 15 s")


def _back_and_swept(b: Bench, begun: int) -> Iterator[Finding]:
    kept = b.papers.orders[b.papers.main]
    back = replace(kept["cut"], rev=kept["cut"].rev + 1, state=OrderState.IN_FORCE)
    b.publish(b.papers.main, b.papers.put(back))
    again = begins(b, "cut", repeats=begun)
    marked = [each.evidence("repeat") for each in b.said("cut", StepKind.PLAYING) if each.evidence("again")]
    seen = f"begun again: {marked}" if again else told(b, "cut")
    yield RESUMES["comes back"].found(again, seen, f"playing within {SOUND_S_MAX:.0f} s")
    b.publish(b.papers.main, b.papers.put(replace(back, texts={"zh": "另一句。"})))
    conflict = b.until(lambda: "version_conflict" in b.refusals(b.papers.main))
    seen = "version_conflict" if conflict else "it did not say so"
    yield RESUMES["conflict"].found(conflict, seen, "refused: version_conflict")
    del kept["cut"]
    cuts = len(b.said("cut", StepKind.SUPERSEDED))
    b.publish(b.papers.main, b.papers.signed(b.papers.main))
    if not again:
        yield from untried(RESUMES, "it did not sound at that time", "not listed", "swept")
        return
    b.quiet_for(3)
    goes_on = len(b.said("cut", StepKind.SUPERSEDED)) == cuts
    yield RESUMES["not listed"].found(goes_on, told(b, "cut"), "the order not to be cut")
    b.papers.swept = now_us()
    b.publish(b.papers.main, b.papers.signed(b.papers.main))
    swept = b.until(lambda: len(b.said("cut", StepKind.SUPERSEDED)) > cuts)
    if goes_on or not swept:
        yield RESUMES["swept"].found(swept, told(b, "cut"), "superseded: withdrawn")
    else:
        yield RESUMES["swept"].untried("the order was cut before it was swept")


RANKS: Checks = {
    "supersedes": Check("an order ends what it supersedes", "4"),
    "graver": Check("a graver level pre-empts", "4"),
    "again": Check("the pre-empted repeat begins again, marked", "4, 5"),
}


def ranks(b: Bench) -> Iterator[Finding]:
    """One order supersedes another, a higher one pre-empts, and the pre-empted one comes back."""
    b.publish(b.papers.main, b.papers.put(b.papers.order("older", repeat=100)))
    began = begins(b, "older")
    b.publish(b.papers.main, b.papers.put(b.papers.order("newer", repeat=3, supersedes=("older",))))
    if began:
        over = b.until(lambda: b.has("older", StepKind.SUPERSEDED, "superseded"))
        yield RANKS["supersedes"].found(over, told(b, "older"), "superseded: superseded")
    else:
        yield RANKS["supersedes"].untried(never_began(b, "older"))
    began = begins(b, "newer")
    b.publish(b.papers.main, b.papers.put(b.papers.order("graver", level=2)))
    if not began:
        begins(b, "graver")
        yield from untried(RANKS, never_began(b, "newer"), "graver", "again")
        return
    cut = b.until(lambda: b.has("newer", StepKind.SUPERSEDED, "preempted"), SOUND_S_MAX, "gives way to a graver order")
    yield RANKS["graver"].found(cut, told(b, "newer"), "superseded: preempted")
    b.until(lambda: is_finished(b, "graver", 1), SOUND_S_MAX, "plays the graver order")
    b.until(lambda: is_finished(b, "newer", 3), 4 * SOUND_S_MAX, "plays the interrupted order to its end")
    if not cut:
        yield RANKS["again"].untried("nothing was pre-empted")
        return
    again = [each.evidence("repeat") for each in b.said("newer", StepKind.PLAYING) if each.evidence("again")]
    whole = is_finished(b, "newer", 3) and len(again) == 1
    seen = f"again: {again}" if whole else f"again: {again}; {told(b, 'newer')}"
    yield RANKS["again"].found(whole, seen, "one playing with again 1, and repeat 3 finished")


LIMITS: Checks = {
    "config": Check("takes a new config", "2 Config"),
    "held back": Check("the rate limit holds an alert back", "4"),
    "correction": Check("the rate limit never holds a correction", "4"),
    "unheard": Check("an all-clear of what nobody heard stays silent", "4", required=False),
    "config again": Check("takes the config after that", "2 Config"),
}


def limits(b: Bench) -> Iterator[Finding]:
    b.publish(link.config_topic(b.papers.speaker), b.papers.limit_starts(1))
    config = version_held(b, LIMITS["config"], lambda: state_of(b).config_version, b.papers.config.version)
    yield config
    given: list[link.Order] = []
    if config.holds and starts(b):
        given.append(b.papers.order("one-too-many"))
        b.publish(b.papers.main, b.papers.put(*given))
        held = b.until(lambda: b.has("one-too-many", StepKind.REFUSED, "rate_limited"))
        silent = held and not b.has("one-too-many", StepKind.PLAYING)
        yield LIMITS["held back"].found(silent, told(b, "one-too-many"), "refused: rate_limited, and no playing")
        yield _correction(b, silent)
    else:
        why = "nothing had begun in this hour" if config.holds else "the config with the limit was not taken"
        yield from untried(LIMITS, why, "held back", "correction")
    never = b.papers.order("all-over", phase=Phase.ALL_CLEAR, corrects="never-played")
    b.publish(b.papers.main, b.papers.put(never))
    b.until(lambda: b.has("all-over", StepKind.REFUSED) or b.has("all-over", StepKind.PLAYING), 5.0)
    if b.has("all-over", StepKind.PLAYING):
        yield LIMITS["unheard"].untried("it may sound where the journal is younger than the original")
    else:
        unheard = b.has("all-over", StepKind.REFUSED, "original_not_heard")
        yield LIMITS["unheard"].found(unheard, told(b, "all-over"), "refused: original_not_heard")
    b.publish(b.papers.main, b.papers.put(*map(withdrawn, (never, *given))))
    b.publish(link.config_topic(b.papers.speaker), b.papers.limit_starts(1_000))
    yield version_held(b, LIMITS["config again"], lambda: state_of(b).config_version, b.papers.config.version)


def _correction(b: Bench, held_back: bool) -> Finding:
    if not held_back:
        return LIMITS["correction"].untried("the limit held nothing back")
    if not b.has("graver", StepKind.PLAYING):
        return LIMITS["correction"].untried(f"its original did not begin: {told(b, 'graver')}")
    b.publish(
        b.papers.main,
        b.papers.put(b.papers.order("put-right", phase=Phase.CORRECTION, corrects="graver", level=2)),
    )
    heard = begins(b, "put-right")
    if heard:
        b.until(lambda: is_finished(b, "put-right", 1), SOUND_S_MAX, "plays the correction")
    return LIMITS["correction"].found(heard, told(b, "put-right"), "playing")


EXPIRES: Checks = {
    "begins": Check("begins at start_at", "2 Order"),
    "nothing after": Check("begins nothing once an order has expired", "4"),
    "says so": Check("says that an order has expired, finished if heard, else failed", "5"),
}


def expires(b: Bench) -> Iterator[Finding]:
    start_at = now_us() + 3 * S
    order = b.papers.order("short", repeat=100, start_at=start_at, expires=start_at + 2 * S)
    b.publish(b.papers.main, b.papers.put(order))
    b.until(lambda: b.has("short", StepKind.PLAYING) or now_us() > order.expires + S, 15.0)
    b.until(lambda: now_us() > order.expires + S, 10.0)
    b.until(lambda: _expired(b), SOUND_S_MAX, "is to end an order that has expired")
    begun = [each.step.at for each in b.said("short", StepKind.PLAYING)]
    on_time = bool(begun) and 0 <= begun[0] - start_at <= LATE_US_MAX
    seen = f"{(begun[0] - start_at) // 1_000} ms after it" if begun else f"it never began: {told(b, 'short')}"
    yield EXPIRES["begins"].found(on_time, seen, f"playing within {LATE_US_MAX // 1_000} ms of it")
    if begun:
        after = [at for at in begun if at >= order.expires]
        yield EXPIRES["nothing after"].found(not after, f"{len(after)} repeats begun after it", "none")
    else:
        yield EXPIRES["nothing after"].untried("it never began")
    if not b.said("short", StepKind.ACCEPTED):
        yield EXPIRES["says so"].untried("the order was not accepted")
        return
    whole = any(not each.step.reason for each in b.said("short", StepKind.FINISHED))
    wanted = StepKind.FINISHED if whole else StepKind.FAILED
    said = [each.step.kind for each in _expired(b)]
    yield EXPIRES["says so"].found(said == [wanted], told(b, "short"), f"{wanted}: order_expired, once")


def _expired(b: Bench) -> list[StepSaid]:
    return [each for each in b.said("short") if each.step.reason == "order_expired"]


SOUNDS = (
    Part(tuple(PLAYS.values()), plays),
    Part(tuple(RAISES.values()), raises, sounds=True),
    Part(tuple(WITHDRAWS.values()), withdraws, sounds=True),
    Part(tuple(RESUMES.values()), resumes, sounds=True),
    Part(tuple(RANKS.values()), ranks, sounds=True),
    Part(tuple(LIMITS.values()), limits, sounds=True),
    Part(tuple(EXPIRES.values()), expires, sounds=True),
)
