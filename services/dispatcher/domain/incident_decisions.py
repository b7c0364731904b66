"""What happens to an incident makes of it: `decide(incident, event, …)`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, assert_never

from .effects import (
    AskOffice,
    AskTwo,
    Effect,
    HoldBroadcast,
    PrepareBroadcast,
    Record,
    Timer,
    WakeAt,
    WithdrawTask,
)
from .incident_verdicts import answered, ladder_ended, release_if_covered
from .incidents import (
    USELESS_NEVER_US,
    Air,
    AlertOver,
    AlertReleased,
    AlertStopped,
    Close,
    DevicesUntrusted,
    Incident,
    IncidentEvent,
    IncidentState,
    Inhibited,
    LadderEnded,
    MinuteOver,
    NotBroadcast,
    OfficeAnswered,
    RedraftDue,
    SignalJoined,
    Uninhibited,
)
from .playbook import Playbook
from .refusals import StillOnAir
from .risk import NOTHING_KNOWN, Circumstances, Rating, Witness, lone_detector, may_draft, rate
from .signals import Place, Signal, SignalKind
from .standing_orders import untrusted

WITNESSES_MAX = 64
MINUTE_US = 60_000_000
REDRAFT_WAITS_US = 5_000_000
"""How long a draft waits for more in a storm, so that many new places make one new draft."""
QUIET_AFTER_REFUTED_US = 600_000_000
"""The same device reporting again within this time of a refutation says nothing new."""


def drafts_now(incident: Incident, playbook: Playbook | None) -> bool:
    """Whether an alert may be drafted now by what its playbook reaches: beyond a venue, one detector is not enough."""
    if playbook is None or not incident.drafts:
        return False
    return may_draft(incident.witnesses, playbook, incident.venue, incident.state is IncidentState.CONFIRMED)


def decide(
    incident: Incident,
    event: IncidentEvent,
    playbook: Playbook | None,
    now_us: int,
    around: Circumstances = NOTHING_KNOWN,
) -> tuple[Incident, list[Effect]]:
    """What an event makes of an incident. Late, repeated and contradicting events are ordinary.

    Raises StillOnAir for closing one whose alert sounds, or deciding not to broadcast it.
    """
    match event:
        case SignalJoined() if event.signal.kind is SignalKind.CANCEL:
            return _cancelled(incident, event, playbook, now_us, around)
        case SignalJoined():
            return _signal(incident, event, playbook, now_us, around)
        case DevicesUntrusted():
            return untrusted(incident, event, playbook)
        case MinuteOver():
            return _minute_over(incident)
        case RedraftDue():
            drafted: list[Effect] = [PrepareBroadcast(incident.id)] if drafts_now(incident, playbook) else []
            return replace(incident, redraft_waits=False), drafted
        case Inhibited():
            return _inhibited(incident, event)
        case Uninhibited():
            return _uninhibited(incident, event, playbook)
        case OfficeAnswered():
            return answered(incident, event, now_us)
        case LadderEnded():
            return ladder_ended(incident, event, playbook)
        case AlertReleased():
            return replace(incident, alert=event.broadcast, air=Air.ON_AIR, alerted=True), []
        case AlertStopped() if event.broadcast == incident.alert:
            return replace(incident, air=Air.STOPPED), []
        case AlertOver() if event.broadcast == incident.alert:
            return _over(incident, event, playbook)
        case AlertStopped() | AlertOver():
            return incident, [Record("incident.other_alert_off", incident.id, f"{event.broadcast} was not its newest")]
        case NotBroadcast() if incident.air is Air.ON_AIR:
            raise StillOnAir
        case NotBroadcast():
            return incident, [Record("incident.not_broadcast", incident.id, event.why, event.person)]
        case Close() if incident.air is Air.ON_AIR:
            raise StillOnAir
        case Close() if incident.open:
            closed = replace(incident, state=IncidentState.CLOSED, inhibited_by="", inhibited_why="")
            return closed, [
                HoldBroadcast(incident.id, "the incident is closed"),
                Record("incident.closed", incident.id, event.why, event.person),
            ]
        case Close():
            return incident, [Record("incident.closed_again", incident.id, "it was closed already", event.person)]
        case _:
            assert_never(event)


@dataclass(frozen=True, slots=True)
class _Counters:
    """An incident's counters with one signal more. `storm` says that more come than anybody could read one by one."""

    signal_count: int
    last_signal_us: int
    minute_us: int
    minute_count: int
    storm: bool

    @property
    def changes(self) -> dict[str, Any]:
        """What changes of the incident."""
        return {
            "signal_count": self.signal_count,
            "last_signal_us": self.last_signal_us,
            "minute_us": self.minute_us,
            "minute_count": self.minute_count,
        }


def _counted(incident: Incident, signal: Signal, now_us: int, around: Circumstances) -> _Counters:
    same_minute = 0 <= now_us - incident.minute_us < MINUTE_US
    count = incident.minute_count + 1 if same_minute else 1
    return _Counters(
        incident.signal_count + 1,
        max(incident.last_signal_us, signal.received_us),
        incident.minute_us if same_minute else now_us,
        count,
        count > around.rules.signals_a_minute_logged,
    )


def _shared_line(incident: Incident, count: _Counters) -> list[Effect]:
    """The signal is stored and counted; its line in the log is shared with the others of its minute."""
    if incident.unlogged:
        return []
    due_us = count.minute_us + MINUTE_US
    return [WakeAt(Timer.MINUTE, incident.id, due_us, due_us + USELESS_NEVER_US)]


def _minute_over(incident: Incident) -> tuple[Incident, list[Effect]]:
    if not incident.unlogged:
        return incident, []
    why = f"{incident.unlogged} further signals within a minute, {incident.signal_count} in all"
    facts: dict[str, object] = {"signals": incident.unlogged, "of": incident.signal_count, "level": incident.level}
    return replace(incident, unlogged=0), [Record("incident.storm", incident.id, why, facts=facts)]


def _signal(
    incident: Incident, event: SignalJoined, playbook: Playbook | None, now_us: int, around: Circumstances
) -> tuple[Incident, list[Effect]]:
    signal, count = event.signal, _counted(incident, event.signal, now_us, around)
    storm = count.storm
    if event.witness is None:
        silenced = incident.silenced + event.silenced
        counted = replace(incident, **count.changes, silenced=silenced, unlogged=incident.unlogged + storm)
        if event.silenced:
            # What is kept quiet keeps nothing alive: neither the joining of others, nor the muting of lesser ones.
            counted = replace(counted, last_signal_us=incident.last_signal_us)
        kind = "incident.silenced" if event.silenced else "incident.noted"
        line = Record(kind, incident.id, signal.headline or signal.key)
        return counted, _shared_line(incident, count) if storm else [line]
    witnesses = _with(incident.witnesses, event.witness)
    rating = rate(witnesses, playbook, around)
    muted = bool(incident.inhibited_by)
    why = "" if muted else _asks_because(incident, event, rating)
    state = IncidentState.VERIFYING if why else incident.state
    changes = {
        "level": rating.level != incident.level,
        "place": event.place != incident.place,
        "state": state is not incident.state,
        "held": incident.held,
    }
    changed = [name for name, differs in changes.items() if differs]
    grave = changed not in ([], ["place"])
    rated = replace(
        incident,
        **count.changes,
        state=state,
        unanswered=incident.unanswered and not why,
        witnesses=witnesses,
        level=rating.level,
        reasons=rating.reasons,
        place=event.place,
        headline=incident.headline or signal.headline,
        held=False,
        lifted=False,
        rules=around.rules.version,
        unlogged=incident.unlogged + (storm and not grave),
    )
    effects: list[Effect] = []
    if why:
        # A fire with the test bit releases nothing by itself: people are asked in quick turn.
        short = signal.test_bit and not event.witness.automatic
        effects.append(AskOffice(incident.id, "verify", incident.venue, incident.area, why, short))
    drafts = drafts_now(rated, playbook)
    if drafts and lone_detector(incident.witnesses) and not drafts_now(incident, playbook):
        changed.append("witnesses")
        grave, rated = True, replace(rated, unlogged=incident.unlogged)
    if drafts and (changed or not rated.alert or rated.air is Air.OVER):
        if not storm or grave:
            effects.append(PrepareBroadcast(incident.id))
        elif not rated.redraft_waits:
            rated = replace(rated, redraft_waits=True)
            due_us = now_us + REDRAFT_WAITS_US
            effects.append(WakeAt(Timer.REDRAFT, incident.id, due_us, due_us + USELESS_NEVER_US))
    if rated.air is Air.ON_AIR and (rating.level < incident.level or (event.place != incident.place and not storm)):
        grown = f"its alert on air was released for level {incident.level} and {', '.join(changed)} changed since"
        effects.append(Record("incident.outgrown", incident.id, f"{grown}: stop it to release a new one"))
    standing = release_if_covered(rated, rating, playbook)
    if standing and (not storm or rating.automatic != rate(incident.witnesses, playbook).automatic):
        effects += standing
    if storm and not grave:
        return rated, [*_shared_line(incident, count), *effects]
    return rated, [*_said(incident, rated, signal, around), *effects]


def _said(incident: Incident, rated: Incident, signal: Signal, around: Circumstances) -> list[Effect]:
    """The rating's record, with the version of the rules behind it; a level that falls has a line of its own."""
    facts: dict[str, object] = {"signal": signal.key, "level": rated.level, "rules": around.rules.version}
    said: list[Effect] = [Record("incident.signal", incident.id, "; ".join(rated.reasons), facts=facts)]
    if rated.level > incident.level and incident.witnesses:
        fell = f"from level {incident.level} to {rated.level}: {'; '.join(rated.reasons)}"
        said.append(Record("incident.lowered", incident.id, fell))
    return said


def _inhibited(incident: Incident, event: Inhibited) -> tuple[Incident, list[Effect]]:
    muted = replace(incident, inhibited_by=event.by, inhibited_why=event.why)
    wake = WakeAt(Timer.INHIBITION, incident.id, event.until_us, event.until_us + USELESS_NEVER_US)
    if incident.inhibited_by == event.by:
        return muted, [wake]
    effects: list[Effect] = [
        Record("incident.inhibited", incident.id, event.why, facts={"by": event.by}),
        wake,
    ]
    if incident.state is IncidentState.VERIFYING:
        muted = replace(muted, state=IncidentState.SUSPECTED)
    effects += [WithdrawTask(task, f"muted: {event.why}") for task in incident.tasks]
    if incident.alert and not incident.alert_released:
        effects.append(HoldBroadcast(incident.id, f"muted: {event.why}"))
    return muted, effects


def _uninhibited(incident: Incident, event: Uninhibited, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    """Heard again: what was put off is done now."""
    if not incident.inhibited_by:
        return incident, []
    heard = replace(incident, inhibited_by="", inhibited_why="")
    effects: list[Effect] = [
        Record("incident.uninhibited", incident.id, event.why, facts={"by": incident.inhibited_by})
    ]
    if heard.state is IncidentState.SUSPECTED and heard.witnesses:
        heard = replace(heard, state=IncidentState.VERIFYING, unanswered=False)
        asks = AskOffice(incident.id, "verify", incident.venue, incident.area, event.why)
        effects.append(AskTwo(incident.id, incident.standing_stopped) if incident.standing_stopped else asks)
    if drafts_now(heard, playbook) and heard.witnesses:
        effects.append(PrepareBroadcast(incident.id))
    return heard, effects


def _asks_because(incident: Incident, event: SignalJoined, rating: Rating) -> str:
    """Why an office is to be asked for this report, empty when it is not: at first, and anew after a refutation."""
    if incident.state is IncidentState.SUSPECTED:
        return "; ".join(rating.reasons)
    if incident.state is not IncidentState.REFUTED or event.witness is None:
        return ""
    if _name(event.witness) not in map(_name, incident.witnesses):
        return "a further witness after it was refuted"
    if rating.level < incident.level:
        return "a graver report after it was refuted"
    if event.signal.received_us > incident.refuted_us + QUIET_AFTER_REFUTED_US:
        return "reported again, long after it was refuted"
    return ""


def _cancelled(
    before: Incident, event: SignalJoined, playbook: Playbook | None, now_us: int, around: Circumstances
) -> tuple[Incident, list[Effect]]:
    """A source takes its own word back, and nobody else's: what other witnesses say still counts."""
    signal, count = event.signal, _counted(before, event.signal, now_us, around)
    incident = replace(before, **count.changes)
    unlogged, shared = before.unlogged + 1, _shared_line(before, count)
    gone = ((signal.reporter, signal.device),) if event.taken_back is None else event.taken_back
    left = tuple(w for w in incident.witnesses if (w.reporter, w.device) not in gone)
    why = f"{signal.reporter} cancels {', '.join(signal.references[:3]) or signal.key}"
    moved = incident.venue is None and bool(left) and event.place not in (incident.place, Place())
    placed = replace(incident, place=event.place) if moved else incident
    if len(left) == len(incident.witnesses):
        if count.storm and not moved:
            return replace(placed, unlogged=unlogged), shared
        kind, what = ("incident.partly_cancelled", why) if moved else (
            "incident.cancel_of_nothing", f"{why}, but is no witness here"
        )  # fmt: skip
        again: list[Effect] = [PrepareBroadcast(incident.id)] if moved and drafts_now(placed, playbook) else []
        return placed, [Record(kind, incident.id, what), *again]
    record = Record("incident.source_cancelled", incident.id, why)
    if not left:
        taken_back = replace(incident, witnesses=(), reasons=(why,), held=True)
        hold: list[Effect] = [] if incident.alert_released else [HoldBroadcast(incident.id, why)]
        return taken_back, [record, *hold]
    rating = rate(left, playbook, around)
    rated = replace(placed, witnesses=left, level=rating.level, reasons=rating.reasons, rules=around.rules.version)
    if rated.alert and not rated.alert_released and rated.drafts and not drafts_now(rated, playbook):
        return rated, [record, HoldBroadcast(incident.id, f"{why}: {'; '.join(rating.reasons)}")]
    if drafts_now(rated, playbook) and (rated.level != incident.level or moved):
        return rated, [record, PrepareBroadcast(incident.id)]
    return (replace(rated, unlogged=unlogged), shared) if count.storm else (rated, [record])


def _over(incident: Incident, event: AlertOver, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    """When nobody said that the danger has passed, the next alert lies ready for people to release."""
    over = replace(incident, air=Air.OVER, lifted=event.answered)
    effects: list[Effect] = [Record("incident.alert_over", incident.id, event.how)]
    if drafts_now(over, playbook) and not event.answered:
        effects.append(PrepareBroadcast(incident.id))
    return over, effects


def _name(witness: Witness) -> tuple[str, str, str]:
    return witness.reporter, witness.device, witness.evidence


def _with(witnesses: tuple[Witness, ...], new: Witness) -> tuple[Witness, ...]:
    """The same device again replaces its earlier word, but never weakens one that may act automatically."""
    device = new.device
    same = [w for w in witnesses if w.device == device and _name(w) == _name(new)]
    if any(old.automatic for old in same) and not new.automatic:
        new = replace(new, automatic=True)
    kept = [w for w in witnesses if w not in same] if same else list(witnesses)
    if len(kept) >= WITNESSES_MAX:
        # The oldest of the commonest kind gives way: a hundred detectors never push the one call point out.
        kinds = [w.evidence for w in kept]
        del kept[kinds.index(max(dict.fromkeys(kinds), key=kinds.count))]
    return (*kept, new)
