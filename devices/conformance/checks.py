"""The checks, in the order in which they are made: each says what must hold, where the page says so, and what was seen.

A check may rest on those before it. Where the device never came so far, the rest is not tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from devices.conformance.bench import Bench
from devices.conformance.papers import S, now_us, withdrawn
from devices.conformance.spoiled import spoiled
from devices.protocols import asking
from devices.protocols import speaker_link as link
from devices.protocols.asking import Ask, AskKind
from devices.protocols.documents import OrderState, Phase
from devices.protocols.speaker_link import StepKind

SOUND_S_MAX = 90.0
"""A repeat of three characters, with preface and signals, is over by then."""
STATE_S_MAX = 15.0
HEARTBEAT_S_MAX = 70.0
CUT_US_MAX = 1_500_000
LATE_US_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `holds` None means that it was not tried. `section` is the page's."""

    check: str
    section: str
    holds: bool | None
    seen: str
    required: bool = True


Finder = Callable[[Bench], Iterator[Finding]]


def connects(b: Bench, wait_s: float) -> bool:
    """Lay out the papers and wait for the device to come, as somebody installs it meanwhile."""
    b.publish(link.KEYS_TOPIC, b.papers.signed_keys())
    b.publish(link.config_topic(b.papers.speaker), b.papers.signed_config())
    return b.until(lambda: b.state is not None and b.state.online, wait_s)


def first_contact(b: Bench) -> Iterator[Finding]:
    state = b.state
    assert state is not None
    yield Finding("connects and says so in a retained state", "1, 5", True, f"connection {state.connection}")
    asked = b.until(lambda: b.hellos)
    yield Finding("asks the time after power-on", "2 Hello", asked, f"{len(b.hellos)} hellos")
    yield _held(
        b, "takes the key document of its root", "2 Keys", lambda: _state(b).keys_version, b.papers.document.version
    )
    yield _held(b, "takes its config", "2 Config", lambda: _state(b).config_version, b.papers.config.version)
    for topic in b.papers.streams():
        b.publish(topic, b.papers.signed(topic))
    missing = list(b.papers.streams())

    def all_held() -> bool:
        missing[:] = [t for t in b.papers.streams() if _state(b).streams.get(t) != b.papers.held[t]]
        return not missing

    followed = b.until(all_held, STATE_S_MAX)
    seen = "all 6 in its state" if followed else f"not in its state: {missing[0]} and {len(missing) - 1} more"
    yield Finding("follows the streams of its chain, zones and its own", "1", followed, seen)
    answer = _asked(b, Ask(AskKind.SELF_TEST, correlation="self-test"))
    yield Finding("answers a self-test", "5 Answer", answer is not None, "answered" if answer else "no answer")


def refuses(b: Bench) -> Iterator[Finding]:
    """Documents of every bad kind; nothing in them may sound."""
    before = len(b.hellos)
    cases = spoiled(b.papers)
    for case in cases:
        b.publish(case.topic, case.raw)
    b.until(lambda: all(case.code in b.refusals(case.topic) for case in cases), 20.0)
    for case in cases:
        told = b.refusals(case.topic)
        wanted = case.code in told
        yield Finding(f"refuses {case.name}", case.section, wanted, case.code if wanted else f"not {case.code}: {told}")
    sounded = [case.name for case in cases for id in case.orders if b.said(id)]
    yield Finding(
        "does nothing that was refused", "2", not sounded, ", ".join(sounded) or "no receipt of such an order"
    )
    again = b.until(lambda: len(b.hellos) > before, 20.0)
    yield Finding(
        "asks the time again when it refuses what is stale", "2 Hello", again, f"{len(b.hellos) - before} more"
    )
    fresh = len(set(b.hellos)) == len(b.hellos)
    yield Finding("never uses a nonce twice", "2 Hello", fresh, f"{len(b.hellos)} hellos")
    b.publish(link.KEYS_TOPIC, b.papers.signed_keys())
    b.publish(link.config_topic(b.papers.speaker), b.papers.signed_config())
    for topic in b.papers.streams():
        b.publish(topic, b.papers.signed(topic))
    kept = b.until(lambda: all(_state(b).streams.get(t) == b.papers.held[t] for t in b.papers.streams()), STATE_S_MAX)
    yield Finding(
        "takes the next good manifest all the same", "2 Manifest", kept, "every stream" if kept else "not every stream"
    )


def plays(b: Bench) -> Iterator[Finding]:
    b.publish(b.papers.main, b.papers.put(b.papers.order("plain", repeat=2, gap_s=1)))
    b.until(lambda: _finished(b, "plain", 2) or b.has("plain", StepKind.REFUSED), 2 * SOUND_S_MAX)
    kinds = [each.step.kind for each in b.said("plain")]
    wanted = [k for k in kinds if k is not StepKind.READY] == [
        StepKind.ACCEPTED, StepKind.PLAYING, StepKind.FINISHED, StepKind.PLAYING, StepKind.FINISHED,
    ]  # fmt: skip
    yield Finding("accepts and plays an exercise, every repeat receipted", "5", wanted, " ".join(kinds) or "no receipt")
    preface = not b.has("plain", StepKind.REFUSED, "no_drill_preface")
    yield Finding("has the drill preface", "4", preface, "not refused for it; listen for bells and 这是演练")
    ready = [each.evidence("repeat") for each in b.said("plain", StepKind.READY)]
    yield Finding("says that it is ready before it begins", "5", 1 in ready, f"ready for {ready}", required=False)
    playing = b.said("plain", StepKind.PLAYING)
    shown = [(each.evidence("repeat"), each.evidence("of")) for each in playing]
    whole = shown == [(1, 2), (2, 2)] and all(each.evidence("source") for each in playing)
    yield Finding("shows repeat, of and source while it plays", "5", whole, f"repeats {shown}")
    late = [each.step.at - now_us() for each in playing if abs(each.step.at - now_us()) > 300 * S]
    yield Finding("states times by the verified clock", "2 Hello", bool(playing) and not late, "within minutes of ours")


def raises(b: Bench) -> Iterator[Finding]:
    order = b.papers.order("raised", repeat=2)
    b.publish(b.papers.main, b.papers.put(order))
    b.until(lambda: b.has("raised", StepKind.PLAYING), SOUND_S_MAX)
    later = b.papers.order("raised", repeat=2, rev=2, texts={"zh": "再测。"}, start_at=order.start_at)
    b.publish(b.papers.main, b.papers.put(later))
    b.until(lambda: _finished(b, "raised", 2), 2 * SOUND_S_MAX)
    starts = [each.evidence("repeat") for each in b.said("raised", StepKind.PLAYING)]
    accepted = [each.rev for each in b.said("raised", StepKind.ACCEPTED)]
    yield Finding("does not begin again for a raised revision", "4", starts == [1, 2], f"repeats begun: {starts}")
    yield Finding("accepts each revision once", "5", accepted == [1, 2], f"accepted: {accepted}")


def withdraws(b: Bench) -> Iterator[Finding]:
    order = b.papers.order("cut", repeat=100)
    b.publish(b.papers.main, b.papers.put(order))
    b.until(lambda: b.has("cut", StepKind.PLAYING), SOUND_S_MAX)
    told_us = now_us()
    b.publish(b.papers.main, b.papers.put(withdrawn(order)))
    b.until(lambda: b.has("cut", StepKind.SUPERSEDED, "withdrawn"))
    cuts = [each.step.at - told_us for each in b.said("cut", StepKind.SUPERSEDED) if each.step.reason == "withdrawn"]
    soon = bool(cuts) and cuts[0] <= CUT_US_MAX
    yield Finding(
        "a withdrawal cuts the sound", "4", soon, f"after {cuts[0] // 1_000} ms" if cuts else "it was not cut"
    )
    starts = len(b.said("cut", StepKind.PLAYING))
    b.quiet_for(3)
    quiet = len(b.said("cut", StepKind.PLAYING)) == starts
    yield Finding("a withdrawn order stays silent", "4", quiet, f"{starts} repeats begun, none after")


def resumes(b: Bench) -> Iterator[Finding]:
    """A withdrawn order comes back, loses its place in the list, and is swept away."""
    kept = b.papers.orders[b.papers.main]
    starts = len(b.said("cut", StepKind.PLAYING))
    back = replace(kept["cut"], rev=kept["cut"].rev + 1, state=OrderState.IN_FORCE)
    b.publish(b.papers.main, b.papers.put(back))
    again = b.until(lambda: len(b.said("cut", StepKind.PLAYING)) > starts, SOUND_S_MAX)
    marked = [each.evidence("repeat") for each in b.said("cut", StepKind.PLAYING) if each.evidence("again")]
    yield Finding("a withdrawn order comes back with a higher revision", "4", again, f"begun again: {marked}")
    conflict = replace(back, texts={"zh": "另一句。"})
    b.publish(b.papers.main, b.papers.put(conflict))
    told = b.until(lambda: "version_conflict" in b.refusals(b.papers.main))
    seen = "version_conflict" if told else "it did not say so"
    yield Finding("one revision with other content is a conflict", "2 Order", told, seen)
    del kept["cut"]
    cuts = len(b.said("cut", StepKind.SUPERSEDED))
    b.publish(b.papers.main, b.papers.signed(b.papers.main))
    b.quiet_for(3)
    goes_on = len(b.said("cut", StepKind.SUPERSEDED)) == cuts
    yield Finding("an order that is merely not listed stays in force", "2 Manifest", goes_on, _told(b, "cut"))
    b.papers.swept = now_us()
    b.publish(b.papers.main, b.papers.signed(b.papers.main))
    swept = b.until(lambda: len(b.said("cut", StepKind.SUPERSEDED)) > cuts)
    yield Finding("an order that is swept is withdrawn", "2 Manifest", swept, _told(b, "cut"))
    stub = withdrawn(b.papers.order("known-as-stub", repeat=2))
    b.publish(b.papers.main, b.papers.put(stub))
    b.quiet_for(3)
    silent = not b.said("known-as-stub", StepKind.PLAYING)
    yield Finding("a stub of an order that it never held is silent", "2 Order", silent, _told(b, "known-as-stub"))
    read = _state(b).streams.get(b.papers.main) == b.papers.held[b.papers.main] or b.until(
        lambda: _state(b).streams.get(b.papers.main) == b.papers.held[b.papers.main]
    )
    yield Finding("takes a manifest with a stub in it", "2 Order", read, "in its state" if read else "not in its state")


def ranks(b: Bench) -> Iterator[Finding]:
    """One order supersedes another, a higher one pre-empts, and the pre-empted one comes back."""
    b.publish(b.papers.main, b.papers.put(b.papers.order("older", repeat=100)))
    b.until(lambda: b.has("older", StepKind.PLAYING), SOUND_S_MAX)
    b.publish(b.papers.main, b.papers.put(b.papers.order("newer", repeat=3, supersedes=("older",))))
    over = b.until(lambda: b.has("older", StepKind.SUPERSEDED, "superseded"))
    yield Finding("an order ends what it supersedes", "4", over, _told(b, "older"))
    b.until(lambda: b.has("newer", StepKind.PLAYING), SOUND_S_MAX)
    b.publish(b.papers.main, b.papers.put(b.papers.order("graver", level=2)))
    cut = b.until(lambda: b.has("newer", StepKind.SUPERSEDED, "preempted"), SOUND_S_MAX)
    yield Finding("a graver level pre-empts", "4", cut, _told(b, "newer"))
    b.until(lambda: _finished(b, "graver", 1), SOUND_S_MAX)
    b.until(lambda: _finished(b, "newer", 3), 4 * SOUND_S_MAX)
    again = [each.evidence("repeat") for each in b.said("newer", StepKind.PLAYING) if each.evidence("again")]
    whole = _finished(b, "newer", 3) and len(again) == 1
    yield Finding("the pre-empted repeat begins again, marked", "4, 5", whole, f"again: {again}")


def limits(b: Bench) -> Iterator[Finding]:
    b.publish(link.config_topic(b.papers.speaker), b.papers.limit_starts(1))
    yield _held(b, "takes a new config", "2 Config", lambda: _state(b).config_version, b.papers.config.version)
    b.publish(b.papers.main, b.papers.put(b.papers.order("one-too-many")))
    held = b.until(lambda: b.has("one-too-many", StepKind.REFUSED, "rate_limited"))
    silent = held and not b.has("one-too-many", StepKind.PLAYING)
    yield Finding("the rate limit holds an alert back", "4", silent, _told(b, "one-too-many"))
    correction = b.papers.order("put-right", phase=Phase.CORRECTION, corrects="graver", level=2)
    b.publish(b.papers.main, b.papers.put(correction))
    heard = b.until(lambda: b.has("put-right", StepKind.PLAYING), SOUND_S_MAX)
    yield Finding("the rate limit never holds a correction", "4", heard, _told(b, "put-right"))
    b.until(lambda: _finished(b, "put-right", 1), SOUND_S_MAX)
    never = b.papers.order("all-over", phase=Phase.ALL_CLEAR, corrects="never-played")
    b.publish(b.papers.main, b.papers.put(never))
    unheard = b.until(lambda: b.has("all-over", StepKind.REFUSED, "original_not_heard"), 5.0)
    yield Finding(
        "an all-clear of what nobody heard stays silent", "4", unheard or None, _told(b, "all-over"), required=False
    )
    b.publish(b.papers.main, b.papers.put(*map(withdrawn, (never, b.papers.orders[b.papers.main]["one-too-many"]))))
    b.publish(link.config_topic(b.papers.speaker), b.papers.limit_starts(1_000))
    yield _held(b, "takes the config after that", "2 Config", lambda: _state(b).config_version, b.papers.config.version)


def expires(b: Bench) -> Iterator[Finding]:
    start_at = now_us() + 3 * S
    order = b.papers.order("short", repeat=100, start_at=start_at, expires=start_at + 2 * S)
    b.publish(b.papers.main, b.papers.put(order))
    b.until(lambda: b.has("short", StepKind.PLAYING), SOUND_S_MAX)
    b.until(lambda: now_us() > order.expires + S, 10.0)
    b.until(lambda: any(each.step.reason == "order_expired" for each in b.said("short")), SOUND_S_MAX)
    starts = [each.step.at for each in b.said("short", StepKind.PLAYING)]
    on_time = bool(starts) and 0 <= starts[0] - start_at <= LATE_US_MAX
    seen = f"{(starts[0] - start_at) // 1_000} ms after it" if starts else "it never began"
    yield Finding("begins at start_at", "2 Order", on_time, seen)
    after = [at for at in starts if at >= order.expires]
    yield Finding("begins nothing once an order has expired", "4", bool(starts) and not after, f"{len(after)} after it")
    told = any(each.step.reason == "order_expired" for each in b.said("short"))
    yield Finding("says that an order has expired", "5", told, _told(b, "short"))


def remembers(b: Bench) -> Iterator[Finding]:
    """Receipts in sequence, and again on asking."""
    journal = _state(b).journal
    seqs = sorted(seq for name, seq in b.receipts if name == journal)
    gaps = sorted(set(range(seqs[0], seqs[-1] + 1)) - set(seqs)) if seqs else [0]
    yield Finding("numbers its receipts without a gap", "5", not gaps, f"{len(seqs)} receipts, {len(gaps)} missing")
    if not seqs:
        return
    wanted, never = (seqs[0], seqs[-1]), seqs[-1] + 1_000_000
    b.repeated.clear()
    answer = _asked(b, Ask(AskKind.RECEIPTS, (*wanted, never), "again"))
    b.until(lambda: len(b.repeated) >= len(set(wanted)), 5.0)
    sent = answer is not None and (answer.resent, answer.gone) == (tuple(sorted(set(wanted))), (never,))
    seen = f"resent {answer.resent}, gone {answer.gone}" if answer else "no answer"
    yield Finding("answers which receipts it has and which are gone", "5 Answer", sent, seen)
    same = {b.receipts[journal, seq][1] for seq in wanted} <= set(b.repeated)
    yield Finding("sends them again byte for byte", "5 Answer", same, f"{len(b.repeated)} came again")
    stranger = _asked(b, None)
    refused = stranger is not None and stranger.refused == "unknown_ask"
    yield Finding(
        "refuses an ask that it does not know", "5 Answer", refused, stranger.refused if stranger else "no answer"
    )


def comes_back(b: Bench) -> Iterator[Finding]:
    if not b.login.speaker_secret:
        for name in ("its last will says offline", "its connection number grows"):
            yield Finding(name, "1, 5", None, "the login file names no speaker_secret")
        return
    before, mark, starts = _state(b), len(b.states), _starts(b)
    session = b.take_its_place()
    seen = "a session was kept for it" if session else "none was kept"
    yield Finding("leaves no session at the broker", "1", not session, seen, required=False)
    offline = b.until(lambda: any(not state.online for _, state in b.states[mark:]))
    wills = [state.connection for _, state in b.states[mark:] if not state.online]
    yield Finding(
        "its last will says offline with its connection number", "1", offline and wills[0] == before.connection,
        f"will of {wills}, connection {before.connection}",
    )  # fmt: skip
    back = b.until(lambda: any(state.online for _, state in b.states[mark:]), 60.0)
    now = _state(b)
    grown = back and now.connection > before.connection
    yield Finding("its connection number grows", "5 State", grown, f"{before.connection}, then {now.connection}")
    same = now.journal == before.journal and now.seq >= before.seq
    yield Finding("journal and numbers go on", "5", same, f"number {before.seq}, then {now.seq}")
    b.quiet_for(3)
    yield Finding("nothing sounds again after a lost line", "4", _starts(b) == starts, f"{_starts(b)} repeats in all")


def lives(b: Bench) -> Iterator[Finding]:
    last_s, mark = b.states[-1][0], len(b.states)
    beats = b.until(lambda: len(b.states) > mark, last_s + HEARTBEAT_S_MAX - time.monotonic())
    seen = f"after {b.states[-1][0] - last_s:.0f} s" if beats else f"silent for {HEARTBEAT_S_MAX:.0f} s"
    yield Finding("says its state again within 68 s", "5 State", beats, seen)
    yield Finding("every message has the published form", "5", not b.unread, b.unread[0] if b.unread else "all read")


CHECKS: tuple[Finder, ...] = (
    first_contact, refuses, plays, raises, withdraws, resumes, ranks, limits, expires, remembers, comes_back, lives,
)  # fmt: skip


def _state(b: Bench) -> link.SpeakerState:
    assert b.state is not None
    return b.state


def _held(b: Bench, check: str, section: str, held: Callable[[], int], wanted: int) -> Finding:
    holds = b.until(lambda: held() == wanted, STATE_S_MAX)
    return Finding(check, section, holds, f"version {held()}" if holds else f"version {held()}, not {wanted}")


def _finished(b: Bench, order: str, repeat: int) -> bool:
    return b.has(order, StepKind.FINISHED, repeat=repeat)


def _starts(b: Bench) -> int:
    return sum(step.kind is StepKind.PLAYING for receipt, _ in b.receipts.values() for step in receipt.steps)


def _told(b: Bench, order: str) -> str:
    said = [
        f"{each.step.kind}:{each.step.reason}" if each.step.reason else str(each.step.kind) for each in b.said(order)
    ]
    return " ".join(said[-6:]) or "no receipt"


def _asked(b: Bench, ask: Ask | None) -> asking.SpeakerAnswer | None:
    """The answer to an ask, None when none came; `None` asks what no speaker knows."""
    correlation = ask.correlation if ask else "stranger"
    raw = asking.encode_ask(ask) if ask else b'{"ask":"sing","correlation":"stranger"}'
    b.publish(link.ask_topic(b.papers.speaker), raw, retain=False)
    b.until(lambda: any(answer.correlation == correlation for answer in b.answers))
    return next((answer for answer in b.answers if answer.correlation == correlation), None)
