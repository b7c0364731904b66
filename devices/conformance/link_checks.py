"""The checks that need no sound: what the device follows, refuses, remembers, and how its line comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator

from devices.conformance.bench import Bench, RunStopped
from devices.conformance.finding import (
    STATE_S_MAX,
    Check,
    Checks,
    Finding,
    Part,
    starts,
    state_of,
    untried,
    version_held,
)
from devices.conformance.papers import BenchPapers
from devices.conformance.spoiled import spoiled
from devices.protocols import asking
from devices.protocols import speaker_link as link
from devices.protocols.asking import Ask, AskKind

HEARTBEAT_S_MAX = 70.0
ABOUT_TIME = ("stale", "version_back", "version_ahead")

FIRST: Checks = {
    "connects": Check("connects and says so in a retained state", "1, 5"),
    "hello": Check("asks the time after power-on", "2 Hello"),
    "keys": Check("takes the key document of its root", "2 Keys"),
    "config": Check("takes its config", "2 Config"),
    "streams": Check("follows the streams of its chain, zones and its own", "1"),
    "self-test": Check("answers a self-test", "5 Answer"),
}


def connects(b: Bench, wait_s: float) -> None:
    """Lay out the papers and wait for the device to come, as somebody installs it meanwhile.

    A retained state may be what an earlier run left: only what the device says now counts. Raises RunStopped.
    """
    b.publish(link.KEYS_TOPIC, b.papers.signed_keys())
    b.publish(link.config_topic(b.papers.speaker), b.papers.signed_config())
    if b.until(lambda: b.heard_live and b.state is not None and b.state.online, wait_s, may_be_away=True):
        return
    if b.unread:
        raise RunStopped(f"No state of {b.papers.speaker} that can be read within {wait_s:.0f} s: {b.unread[0]}.", True)
    raise RunStopped(
        f"Nothing of {b.papers.speaker} within {wait_s:.0f} s. Is it on, on this broker, and under its own id as"
        " client id *and* user name? Look in the broker's log for 'not authorised' (wrong secret) or for no connection"
        " at all.",
        True,
    )


def first_contact(b: Bench) -> Iterator[Finding]:
    yield FIRST["connects"].found(True, f"connection {state_of(b).connection}")
    asked = b.until(lambda: b.hellos, waits_for="is to say hello")
    if not asked and b.was_on:
        yield FIRST["hello"].untried("it was on before the run began: switch it off and on to try this")
    else:
        yield FIRST["hello"].found(asked, f"{len(b.hellos)} hellos", "one within 15 s")
    keys = version_held(b, FIRST["keys"], lambda: state_of(b).keys_version, b.papers.document.version)
    yield keys
    if not keys.holds:
        raise RunStopped("Without the key document nothing else can be tried. Is this run's root installed?", True)
    config = version_held(b, FIRST["config"], lambda: state_of(b).config_version, b.papers.config.version)
    yield config
    if not config.holds:
        raise RunStopped("Without its config nothing else can be tried.", True)
    for topic in b.papers.streams():
        b.publish(topic, b.papers.signed(topic))
    missing = list(b.papers.streams())

    def all_held() -> bool:
        missing[:] = [t for t in b.papers.streams() if state_of(b).streams.get(t) != b.papers.held[t]]
        return not missing

    followed = b.until(all_held, STATE_S_MAX)
    seen = "all 6 in its state" if followed else f"not in its state: {', '.join(missing)}"
    yield FIRST["streams"].found(followed, seen, f"all 6 within {STATE_S_MAX:.0f} s")
    answer = _asked(b, Ask(AskKind.SELF_TEST, correlation="self-test"))
    yield FIRST["self-test"].found(answer is not None, "answered" if answer else "no answer", "an answer within 15 s")


REFUSES: Checks = {
    "does nothing": Check("does nothing that was refused", "2"),
    "asks again": Check("asks the time again when it refuses what is stale", "2 Hello"),
    "nonces": Check("never uses a nonce twice", "2 Hello"),
    "next": Check("takes the next good manifest all the same", "2 Manifest"),
}


def _spoiled_checks(papers: BenchPapers) -> list[Check]:
    return [Check(f"refuses {case.name}", case.section) for case in spoiled(papers)]


def refuses(b: Bench) -> Iterator[Finding]:
    """Documents of every bad kind; nothing in them may sound."""
    before = len(b.hellos)
    cases = spoiled(b.papers)
    for case in cases:
        b.publish(case.topic, case.raw)
    b.until(lambda: all(case.code in b.refusals(case.topic) for case in cases), 20.0, "is to refuse what is spoiled")
    for case in cases:
        said = ", ".join(b.refusals(case.topic)) or "nothing refused there"
        holds = case.code in b.refusals(case.topic)
        check = Check(f"refuses {case.name}", case.section)
        yield check.found(holds, case.code if holds else said, case.code)
    sounded = [case.name for case in cases for id in case.orders if b.said(id)]
    yield REFUSES["does nothing"].found(
        not sounded, ", ".join(sounded) or "no receipt of such an order", "no receipt of an order in them"
    )
    if any(code in b.refusals(case.topic) for case in cases for code in ABOUT_TIME):
        again = b.until(lambda: len(b.hellos) > before, 20.0, "is to say hello again")
        yield REFUSES["asks again"].found(again, f"{len(b.hellos) - before} more hellos", "one more within 20 s")
    else:
        yield REFUSES["asks again"].untried("it refused nothing that has to do with time")
    if len(b.hellos) > 1:
        twice = len(b.hellos) - len(set(b.hellos))
        yield REFUSES["nonces"].found(not twice, f"{len(b.hellos)} hellos, {twice} with a nonce of before")
    else:
        yield REFUSES["nonces"].untried(f"{len(b.hellos)} hellos came")
    b.publish(link.KEYS_TOPIC, b.papers.signed_keys())
    b.publish(link.config_topic(b.papers.speaker), b.papers.signed_config())
    for topic in b.papers.streams():
        b.publish(topic, b.papers.signed(topic))

    def behind() -> list[str]:
        return [t for t in b.papers.streams() if state_of(b).streams.get(t) != b.papers.held[t]]

    kept = b.until(lambda: not behind(), STATE_S_MAX)
    seen = "every stream" if kept else f"not taken: {', '.join(behind())}"
    yield REFUSES["next"].found(kept, seen, "every stream")


REMEMBERS: Checks = {
    "gaps": Check("numbers its receipts without a gap", "5"),
    "which": Check("answers which receipts it has and which are gone", "5 Answer"),
    "bytes": Check("sends them again byte for byte", "5 Answer"),
    "unknown": Check("refuses an ask that it does not know", "5 Answer"),
}


def remembers(b: Bench) -> Iterator[Finding]:
    """Receipts in sequence, and again on asking."""
    journal = state_of(b).journal
    seqs = sorted(seq for name, seq in b.receipts if name == journal)
    if seqs:
        yield from _resends(b, journal, seqs)
    else:
        yield from untried(REMEMBERS, "no receipt came of the journal in its state", "gaps", "which", "bytes")
    stranger = _asked(b, None)
    seen = (stranger.refused or "another answer") if stranger else "no answer"
    yield REMEMBERS["unknown"].found(seen == "unknown_ask", seen, "unknown_ask")


def _resends(b: Bench, journal: str, seqs: list[int]) -> Iterator[Finding]:
    gaps = sorted(set(range(seqs[0], seqs[-1] + 1)) - set(seqs))
    yield REMEMBERS["gaps"].found(not gaps, f"{len(seqs)} receipts, missing: {gaps[:8] or 'none'}", "no number missing")
    wanted, never = tuple(sorted({seqs[0], seqs[-1]})), seqs[-1] + 1_000_000
    b.repeated.clear()
    answer = _asked(b, Ask(AskKind.RECEIPTS, (*wanted, never), "again"))
    b.until(lambda: len(b.repeated) >= len(wanted), 5.0)
    sent = answer is not None and (answer.resent, answer.gone) == (wanted, (never,))
    seen = f"resent {answer.resent}, gone {answer.gone}" if answer else "no answer"
    yield REMEMBERS["which"].found(sent, seen, f"resent {wanted}, gone {(never,)}")
    same = {b.receipts[journal, seq][1] for seq in wanted} <= set(b.repeated)
    yield REMEMBERS["bytes"].found(
        same, f"{len(b.repeated)} came again", f"receipts {wanted} with the very bytes of before"
    )


BACK: Checks = {
    "session": Check("leaves no session at the broker", "1", required=False),
    "will": Check("its last will says offline with its connection number", "1"),
    "number": Check("its connection number grows", "5 State"),
    "journal": Check("journal and numbers go on", "5"),
    "silent": Check("nothing sounds again after a lost line", "4"),
}


def own_login_refused(b: Bench) -> str:
    """Why the device's line can't be taken, "" when it can: said before the run, not after a quarter of an hour. Takes
    the line of a device that is on already."""
    kept = b.take_its_place() if b.login.speaker_secret else False
    return f"{kept.removesuffix('.')}, {len(BACK)} checks are not tried." if isinstance(kept, str) else ""


def comes_back(b: Bench) -> Iterator[Finding]:
    if not b.login.speaker_secret:
        yield from untried(BACK, f"{b.login.file} names no speaker_secret, so that its line can't be taken")
        return
    before, mark, begun = state_of(b), len(b.states), starts(b)
    kept = b.take_its_place()
    if isinstance(kept, str):
        yield from untried(BACK, kept)
        return
    yield BACK["session"].found(not kept, "a session was kept for it" if kept else "none was kept", "none")
    offline = b.until(lambda: any(not state.online for _, state in b.states[mark:]), may_be_away=True)
    wills = [state.connection for _, state in b.states[mark:] if not state.online]
    numbers = f"{len(wills)} wills {wills}, connection {before.connection}" if wills else "no state with online false"
    hint = "" if wills else " (is its client id its id?)"
    yield BACK["will"].found(
        offline and wills[0] == before.connection, numbers + hint, f"a will of connection {before.connection}"
    )

    def back() -> bool:
        # A heartbeat of a line that was never lost is no coming back.
        return any(s.online and (wills or s.connection != before.connection) for _, s in b.states[mark:])

    if not b.until(back, 60.0, "is to come back after its line was taken", may_be_away=True):
        if wills:
            yield BACK["number"].found(False, "it stayed offline for 60 s", "it to come back within 60 s")
            yield from untried(BACK, "it did not come back", "journal", "silent")
        else:
            yield from untried(BACK, "its line was not lost", "number", "journal", "silent")
        return
    now = state_of(b)
    seen = f"{before.connection}, then {now.connection}"
    yield BACK["number"].found(now.connection > before.connection, seen, "a greater one")
    same = now.journal == before.journal and now.seq >= before.seq
    seen = f"number {before.seq}, then {now.seq}" + ("" if now.journal == before.journal else " of another journal")
    yield BACK["journal"].found(same, seen, "the same journal, and no lower number")
    if not begun:
        yield BACK["silent"].untried("nothing had sounded before")
        return
    b.quiet_for(3)
    seen = f"{starts(b) - begun} repeats more in the 3 s after it"
    yield BACK["silent"].found(starts(b) == begun, seen, "none")


LIVES: Checks = {
    "beats": Check("says its state again within 68 s", "5 State"),
    "form": Check("every message has the published form", "5"),
}


def lives(b: Bench) -> Iterator[Finding]:
    last_s, mark = b.states[-1][0], len(b.states)
    left_s = last_s + HEARTBEAT_S_MAX - time.monotonic()
    beats = b.until(lambda: len(b.states) > mark, left_s, "is to say its state again")
    seen = f"after {b.states[-1][0] - last_s:.0f} s" if beats else f"silent for {HEARTBEAT_S_MAX:.0f} s"
    yield LIVES["beats"].found(beats, seen, "a state within 68 s")
    yield LIVES["form"].found(not b.unread, "; ".join(b.unread[:3]) or "all read", "schemas of asyncapi.yaml")


def _asked(b: Bench, ask: Ask | None) -> asking.SpeakerAnswer | None:
    """The answer to an ask, None when none came; `None` asks what no speaker knows."""
    correlation = ask.correlation if ask else "stranger"
    raw = asking.encode_ask(ask) if ask else b'{"ask":"sing","correlation":"stranger"}'
    b.publish(link.ask_topic(b.papers.speaker), raw, retain=False)
    b.until(lambda: any(answer.correlation == correlation for answer in b.answers))
    return next((answer for answer in b.answers if answer.correlation == correlation), None)


def before_sounds(papers: BenchPapers) -> tuple[Part, ...]:
    """`papers` are any that hold a version of every stream: they only name what is spoiled."""
    refused = (*_spoiled_checks(papers), *REFUSES.values())
    return Part(tuple(FIRST.values()), first_contact), Part(refused, refuses)


AFTER_SOUNDS = (
    Part(tuple(REMEMBERS.values()), remembers),
    Part(tuple(BACK.values()), comes_back),
    Part(tuple(LIVES.values()), lives),
)
