"""Silencing: people's silences as rows, which one covers a signal, and when a second device breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...domain.effects import Record, Sleep, Timer, WakeAt
from ...domain.incidents import USELESS_NEVER_US, Incident
from ...domain.playbook import Playbook
from ...domain.refusals import NotFound, WrongState
from ...domain.risk import Witness, corroborations
from ...domain.rules import Rules
from ...domain.signals import Evidence, Signal, witness_name
from ...domain.silences import (
    ACTIVE_MAX,
    Silence,
    SilencedWord,
    TooManySilences,
    check,
    covering,
    may_be_silenced,
    never_alone,
)
from ...domain.spots import Spot
from ..ports import Page, Read, Tx
from ..transaction import Work

WORDS_MAX = 64


def make(work: Work, silence: Silence) -> None:
    """Let it hold from now on, with its end as a timer row. Raises SilenceRefused or TooManySilences."""
    tx = work.tx
    check(silence, work.rules, work.city.tree, tx.now_us())
    work.forget(held)
    if len(active(tx)) >= ACTIVE_MAX:
        raise TooManySilences
    tx.put(silence)
    tx.wake_at(WakeAt(Timer.SILENCE_END, silence.id, silence.until_us, silence.until_us + USELESS_NEVER_US))
    facts: dict[str, object] = {
        name: getattr(silence, name) for name in ("use", "reporter", "device", "hazard", "area", "until_us")
    }
    tx.record(Record("silence.made", silence.id, silence.reason, silence.author, facts))


def end(work: Work, id: str, person: str, why: str) -> None:
    """End it early, or note that its time is over when nobody is named. Raises NotFound or WrongState."""
    tx = work.tx
    silence = tx.get_locked(Silence, id)
    if silence is None:
        raise NotFound(f"silence {id}")
    if not silence.active:
        raise WrongState("the silence has ended already")
    tx.put(replace(silence, active=False, ended_by=person, ended_us=tx.now_us()))
    tx.sleep(Sleep(Timer.SILENCE_END, id))
    work.forget(held)
    facts: dict[str, object] = {"silenced": silence.count, "passed": silence.passed}
    tx.record(Record("silence.ended", id, why, person, facts))


def active(read: Read) -> list[Silence]:
    """Every silence that holds, and a few whose end has just come."""
    return read.find(Silence, Page(limit=ACTIVE_MAX), active=True)


def asked(read: Read) -> tuple[Callable[[], list[Silence]], Callable[[], list[SilencedWord]]]:
    """What `held` and `any_word` will want to know, on its way."""
    return read.asked(Silence, Page(limit=ACTIVE_MAX), active=True), read.asked(SilencedWord, Page(limit=1))


def held(work: Work) -> list[Silence]:
    """The same for a transaction."""
    return active(work.tx)


def any_word(work: Work) -> bool:
    """Whether anything that was silenced may still be heard."""
    return bool(work.tx.find(SilencedWord, Page(limit=1)))


def over(silences: list[Silence], signal: Signal, spot: Spot, now_us: int) -> Silence | None:
    """The silence that fits the signal, whether or not it may cover it."""
    return covering(silences, signal, spot.line, now_us) if silences else None


def heard_all_the_same(
    read: Read, signal: Signal, spot: Spot, incident: Incident | None, rules: Rules, within_s: int
) -> str:
    """Why a silence may not cover this signal; empty when it may."""
    if not may_be_silenced(signal):
        return f"a silence never covers this: {signal.kind} of a {signal.evidence}"
    if not never_alone(signal, rules):
        return ""
    own = _witness(signal)
    if incident is not None:
        others = tuple(w for w in incident.witnesses if (w.reporter, w.device) != (own.reporter, own.device))
        if corroborations((*others, own)) != corroborations(others):
            return "another device reports the same"
    if corroborations((own, *(_witness(word.signal) for word in words_near(read, signal, spot, within_s)))):
        return "another silenced device reports the same"
    return ""


def keep_word(tx: Tx, silence: Silence, signal: Signal, spot: Spot, rules: Rules) -> None:
    """Remember what a silenced device said, so that a second one can still corroborate it."""
    if never_alone(signal, rules) and signal.evidence in (Evidence.DETECTOR, Evidence.PANEL):
        tx.put(_word(silence.id, signal, spot))


def words_near(read: Read, signal: Signal, spot: Spot, within_s: int) -> list[SilencedWord]:
    """What other silenced devices said at the same place, not long ago."""
    found = read.find(
        SilencedWord, Page(limit=WORDS_MAX, order="-id"), cell=spot.cell, hazard=signal.hazard, use=signal.use
    )
    own = (signal.reporter, signal.device)
    oldest_us = signal.received_us - within_s * 1_000_000
    return [w for w in found if (w.signal.reporter, w.signal.device) != own and w.signal.received_us >= oldest_us]


def forget_word(tx: Tx, signal: Signal, spot: Spot) -> None:
    """It was taken back, or it is heard now."""
    tx.delete(SilencedWord, _word("", signal, spot).id)


def within_s(playbook: Playbook | None, rules: Rules, hazard: str) -> int:
    return playbook.join_within_s if playbook is not None else rules.join(hazard).within_s


def _witness(signal: Signal) -> Witness:
    # Who was silenced for being wrong never acts by itself.
    return Witness(signal.reporter, signal.device, signal.evidence, False, signal.claimed_level)


def _word(silence: str, signal: Signal, spot: Spot) -> SilencedWord:
    cell = spot.cell
    id = f"{signal.use}/{signal.hazard}/{cell}/{witness_name(signal.reporter, signal.device)}"
    return SilencedWord(id, silence, signal.use, signal.hazard, cell, signal)
