"""Arrivals: what updates and cancels do to what they name, also when it comes later or never, and what a silence does
to a signal. Each works inside the engine's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from ...domain.effects import Record, Timer, WakeAt
from ...domain.incidents import USELESS_NEVER_US, Incident, SignalJoined
from ...domain.signals import Place, Signal, SignalKind, identity, message_of, witness_name
from ...domain.silences import Silence, never_alone
from ...domain.spots import Spot, spot_of
from ..events import Outcome
from ..ports import Page
from ..rows import StoredSignal, Withdrawal
from ..transaction import Work
from . import incidents, joining, silencing

STANDING_MAX = 64
WITHDRAWALS_MAX = 64
CHAIN_MAX = 200
PASSED_LOGGED_MAX = 100


def cancelled_before(work: Work, signal: Signal) -> bool:
    """Whether its source took it back before it came: it is kept and opens nothing. What was said after the cancel
    stands."""
    names = joining.names_of(signal)
    if work.prefetched.not_withdrawn.issuperset(names):
        return False
    for row in work.tx.find(Withdrawal, Page(limit=WITHDRAWALS_MAX), identity=names):
        if (row.reporter, row.use) != (signal.reporter, str(signal.use)) or row.until_us <= signal.received_us:
            continue
        if message_of(row.key) == message_of(signal.key) or signal.observed_us <= row.observed_us:
            work.tx.add_signal(signal, "")
            work.tx.withdraw([signal.key])
            work.tx.record(Record("signal.cancelled_before", signal.key, f"{row.by} took it back before it came"))
            return True
    return False


def cancel(work: Work, signal: Signal, outcome: Outcome) -> None:
    """Take back what a cancel names, wherever that is now, and let it wait for what has not come yet."""
    rows, loosely = joining.referred(work.tx, signal)
    _wait_for_originals(work, signal)
    named = [i for i in dict.fromkeys(row.incident for row in rows) if i and _open(work, i)]
    work.tx.add_signal(signal, named[0] if named else "")
    for row in rows:
        if not row.incident:
            silencing.forget_word(work.tx, row.signal, spot_of(row.signal, work.city, work.rules))
    work.tx.withdraw([row.signal.key for row in rows])
    if loosely:
        why = "no signal has the time that a reference gives: taken by its identifier alone"
        work.tx.record(Record("signal.reference_loose", signal.key, why))
    if not named:
        work.tx.record(Record("signal.cancels_unknown", signal.key, "it cancels nothing that is open here"))
    for id in named:
        outcome.incidents.append(id)
        incident = work.tx.get_locked(Incident, id)
        assert incident is not None
        gone = _taken_back(work, incident, signal, [row for row in rows if row.incident == id])
        place = _place_left(work, incident)
        incidents.decide(work, incident, SignalJoined(signal, None, place, gone))
        work.run()


def take_back_own(work: Work, incident: Incident, signal: Signal) -> SignalJoined:
    """A cancel that names nothing takes back whatever its own device said there."""
    standing = work.tx.signals_standing(incident.id, witness_name(signal.reporter, signal.device), STANDING_MAX)
    work.tx.withdraw([s.key for s in standing])
    return SignalJoined(signal, None, _place_left(work, incident))


def vouch(work: Work, signal: Signal) -> None:
    """What people handed in before comes from the department itself: its own word counts beside theirs, once."""
    rows = [row for row in work.tx.signals_named(identity(signal.key)) if row.signal.key == signal.key]
    if not rows or not rows[0].signal.by_hand or rows[0].withdrawn or not rows[0].incident:
        return
    incident = work.tx.get_locked(Incident, rows[0].incident)
    spot, now_us = work.spot(signal), work.tx.now_us()
    if (
        incident is None
        or not incident.open
        or silencing.over(work.known(silencing.held), signal, spot, now_us) is not None
    ):
        return
    event = joining.joined(signal, spot, incident, None, now_us)
    known = {(w.reporter, w.device, w.evidence) for w in incident.witnesses}
    if event.witness is not None and (signal.reporter, signal.device, signal.evidence) not in known:
        incidents.decide(work, incident, event)
        work.run()


def superseded(work: Work, incident: Incident, signal: Signal) -> list[Place] | None:
    """What an update replaces no longer stands. The places that its reporter still stands by beside it; None when the
    update replaces nothing here, or so much stands that nothing may be taken away."""
    rows: Sequence[StoredSignal] = ()
    if signal.references:
        rows, loosely = joining.referred(work.tx, signal)
        replaced = [row.signal.key for row in rows if row.incident == incident.id]
        if loosely:
            why = "no signal has the time that a reference gives: taken by its identifier alone"
            work.tx.record(Record("signal.reference_loose", signal.key, why))
    else:
        witness = witness_name(signal.reporter, signal.device)
        replaced = [s.key for s in work.tx.signals_standing(incident.id, witness, STANDING_MAX)]
    if not replaced:
        return None
    work.tx.withdraw(replaced)
    left = work.tx.signals_standing(incident.id, None, STANDING_MAX)
    if len(left) == STANDING_MAX:
        return None
    return [_resolved(work, s) for s in left if s.kind in joining.REPORTS and s.reporter == signal.reporter]


def silenced(work: Work, signal: Signal, spot: Spot, incident: Incident | None) -> bool:
    """Whether a silence keeps this signal from counting; then it is stored and counted, and that was all."""
    silence = silencing.over(work.known(silencing.held), signal, spot, work.tx.now_us())
    if silence is None:
        return False
    playbook = work.playbooks.get(incident.playbook) if incident is not None else None
    within_s = silencing.within_s(playbook, work.rules, signal.hazard)
    why = silencing.heard_all_the_same(work.tx, signal, spot, incident, work.rules, within_s)
    counted = work.tx.get_locked(Silence, silence.id)
    assert counted is not None
    if why:
        work.tx.put(replace(counted, passed=counted.passed + 1))
        if counted.passed < PASSED_LOGGED_MAX:
            # A storm that a silence may not cover is told by its incident; here the count goes on.
            work.tx.record(Record("silence.passed", silence.id, f"{signal.key}: {why}"))
        return False
    work.tx.put(replace(counted, count=counted.count + 1))
    work.tx.add_signal(signal, incident.id if incident is not None else "")
    silencing.keep_word(work.tx, silence, signal, spot, work.rules)
    work.note(silencing.any_word, True)
    if incident is not None:
        incidents.decide(work, incident, SignalJoined(signal, None, incident.place, silenced=True))
    return True


def hear_silenced(work: Work, incident: Incident, signal: Signal, spot: Spot) -> None:
    """Another device reports what a silenced one reported before: both count, the silenced one for people."""
    if not never_alone(signal, work.rules) or not work.known(silencing.any_word):
        return
    playbook = work.playbooks.get(incident.playbook)
    within_s = silencing.within_s(playbook, work.rules, signal.hazard)
    for word in silencing.words_near(work.tx, signal, spot, within_s):
        silencing.forget_word(work.tx, word.signal, spot)
        found = work.tx.get_locked(Incident, incident.id)
        assert found is not None
        why = f"{word.signal.key} was silenced and is heard now: another device reports the same"
        work.tx.record(Record("incident.silence_broken", incident.id, why))
        event = joining.joined(word.signal, spot, found, None, work.tx.now_us())
        if event.witness is not None:
            event = replace(event, witness=replace(event.witness, automatic=False))
        incidents.decide(work, found, event)
        work.run()


def _wait_for_originals(work: Work, signal: Signal) -> None:
    until_us = signal.received_us + work.rules.cancel_waits_s * 1_000_000
    for reference in dict.fromkeys(signal.references[: joining.REFERENCES_MAX]):
        named = f"{signal.use}\0{signal.reporter}\0{reference}"
        id = hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        row = Withdrawal(
            id, identity(reference), reference, signal.reporter, str(signal.use), signal.key, signal.observed_us,
            until_us,
        )  # fmt: skip
        kept = work.tx.get_locked(Withdrawal, id)
        if kept is None or kept.observed_us <= row.observed_us:
            work.tx.put(row)
            work.prefetched.not_withdrawn.discard(row.identity)
            work.tx.wake_at(WakeAt(Timer.WITHDRAWAL_END, id, until_us, until_us + USELESS_NEVER_US))


def _open(work: Work, id: str) -> bool:
    incident = work.tx.get(Incident, id)
    return incident is not None and incident.open


def _taken_back(
    work: Work, incident: Incident, signal: Signal, rows: Sequence[StoredSignal]
) -> tuple[tuple[str, str], ...]:
    """Who witnesses no longer: whoever said what is cancelled, unless another word of theirs still stands. What
    updated a cancelled message is cancelled with it, when it was said before."""
    gone = []
    # Links of a chain may be updated already; in a storm there are no chains to follow.
    every = work.tx.signals_of(incident.id, CHAIN_MAX) if incident.signal_count < CHAIN_MAX else []
    for reporter, device in dict.fromkeys((row.signal.reporter, row.signal.device) for row in rows):
        names = {identity(row.signal.key) for row in rows}
        standing = work.tx.signals_standing(incident.id, witness_name(reporter, device), STANDING_MAX)
        followers = []
        chain = [s for s in every if (s.reporter, s.device) == (reporter, device)] or standing
        for said in sorted(chain, key=lambda s: s.observed_us):
            updates = said.kind in joining.REPORTS and any(identity(key) in names for key in said.references)
            if updates and said.observed_us <= signal.observed_us:
                names.add(identity(said.key))
                followers.append(said.key)
        work.tx.withdraw(followers)
        still = [s for s in standing if s.key not in followers and _stands(s, signal.received_us)]
        if not still:
            gone.append((reporter, device))
    return tuple(gone)


def _stands(said: Signal, now_us: int) -> bool:
    return said.kind in joining.REPORTS and (said.expires_us is None or said.expires_us > now_us)


def _place_left(work: Work, incident: Incident) -> Place:
    """The places of what still stands; the incident's own where that is a venue, or too many signals stand."""
    if incident.venue is not None:
        return incident.place
    standing = work.tx.signals_standing(incident.id, None, STANDING_MAX)
    left = [s for s in standing if s.kind in joining.REPORTS]
    if not left or len(standing) == STANDING_MAX:
        return incident.place
    place = Place()
    for said in reversed(left):
        place = joining.united_places(place, _resolved(work, said))
    return place if place != Place() else incident.place


def _resolved(work: Work, said: Signal) -> Place:
    return spot_of(said, work.city, work.rules).place


def is_cancel_by_name(signal: Signal) -> bool:
    return signal.kind is SignalKind.CANCEL and bool(signal.references)
