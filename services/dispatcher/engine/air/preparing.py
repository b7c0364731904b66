"""Alerts before they are on air: drafted, planned anew, released by a standing order, held; and people recalled."""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.documents import Phase
from devices.protocols.topics import manifest_topic

from ...domain import broadcasts
from ...domain.broadcasts import Broadcast, BroadcastState
from ...domain.effects import HoldBroadcast, PrepareBroadcast, RecallPeople, Record, ReleaseStanding, WithdrawTask
from ...domain.incident_decisions import drafts_now
from ...domain.incidents import Air, Incident
from ...domain.playbook import Playbook
from ...domain.refusals import NoTargets, OverCap, PlaceholderLeft, Refused
from ...domain.standing_orders import covered
from ...domain.verification import Task, TaskState
from ..ports import Page
from ..signals import incidents, witnesses
from ..transaction import Work
from . import acts, drafts, endings

GROUND_TASKS_MAX = 10_000


def prepare(work: Work, incident_id: str) -> None:
    """Draft an incident's alert with its followers, where its playbook wants one now."""
    incident = work.tx.get_locked(Incident, incident_id)
    assert incident is not None
    playbook = work.playbooks.get(incident.playbook)
    if playbook is None or not drafts_now(incident, playbook):
        return
    asked = drafts.ask_plan(work.tx, playbook, incident)
    kept = drafts.written(work.tx, incident)
    try:
        plan = drafts.current_plan(work.tx, playbook, incident, work.city, asked)
        alert, effects = drafts.draft(work.tx, incident, playbook, plan, work.city, work.ids, kept)
    except (NoTargets, OverCap, PlaceholderLeft) as refused:
        work.tx.record(Record("broadcast.not_planned", incident.id, refused.sentence, facts={"code": refused.code}))
        return
    work.tx.put(replace(work.fresh(incident), alert=alert.id, air=Air.NOT_YET))
    # Named when the draft is first written; the broadcast's page always says it as it is now.
    if not incident.alert and (full := endings.no_room(work.tx, alert)):
        effects = [*effects, Record("broadcast.no_room", incident.id, f"its alert can't be released: {full}")]
    work.next(effects)


def release_standing(work: Work, effect: ReleaseStanding) -> None:
    """Put the alert on air under its standing order; where that can't be, people decide."""
    incident = work.tx.get_locked(Incident, effect.incident)
    assert incident is not None
    playbook = work.playbooks.get(incident.playbook)
    alert = work.tx.get_locked(Broadcast, incident.alert) if incident.alert else None
    if alert is None or playbook is None:
        why = "the standing order covers it, but nothing could be planned: decide now"
        work.tx.record(Record("incident.missed", incident.id, why))
        return
    doubt = witnesses.untrusted_now(work.tx, incident)
    if doubt is not None:
        # Whoever saw to it that a device may not act need not know of every alarm that it has raised before.
        incidents.tell(work, incident.id, doubt)
        rule = covered(work.fresh(incident), playbook)
        if not rule:
            return
        effect = replace(effect, rule=rule)
    try:
        if _plan_is_old(work, alert, incident, playbook):
            work.next([PrepareBroadcast(incident.id), effect])
            return
        acts.tell(work, alert.id, broadcasts.StandingGiven(effect.rule))
    except Refused as refused:
        why = f"the standing order covers it, but: {refused.sentence} Decide now"
        work.tx.record(Record("incident.missed", incident.id, why, facts={"code": refused.code}))


def hold(work: Work, effect: HoldBroadcast) -> None:
    """A draft whose incident no longer stands waits; what was prepared to follow it ends with a closed incident."""
    incident = work.tx.get(Incident, effect.incident)
    if incident is None or not incident.alert:
        return
    if incident.air in (Air.NOT_YET, Air.STOPPED):
        acts.tell(work, incident.alert, broadcasts.Held(effect.why))
    if not incident.open:
        for b in work.tx.find(Broadcast, incident=incident.id, state=BroadcastState.DRAFT):
            acts.tell(work, b.id, broadcasts.NothingFollows())


def recall(work: Work, effect: RecallPeople) -> None:
    """Nobody needs to read a broadcast aloud any longer."""
    sent = Page(limit=GROUND_TASKS_MAX)
    for task in work.tx.find(Task, sent, broadcast=effect.broadcast, state=TaskState.ASKED):
        work.later(WithdrawTask(task.id, effect.why))


def replan(work: Work, b: Broadcast) -> bool:
    """Make the plan of a draft anew if it no longer fits; True when what people read is still the same."""
    incident = work.tx.get_locked(Incident, b.incident)
    playbook = work.playbooks.get(b.playbook)
    if incident is None or playbook is None or not _plan_is_old(work, b, incident, playbook):
        return True
    prepare(work, incident.id)
    return False


def _plan_is_old(work: Work, b: Broadcast, incident: Incident, playbook: Playbook) -> bool:
    """Whether a draft must be planned anew before it may go out. Raises NoTargets or OverCap."""
    if b.phase is not Phase.ALERT or b.state is not BroadcastState.DRAFT:
        return False
    plan = drafts.current_plan(work.tx, playbook, incident, work.city)
    stream = manifest_topic(plan.stream_area, str(b.use), work.city.issuer)
    planned = (plan.id, plan.selector, len(plan.speakers), plan.place_names, stream)
    if planned != (b.plan, b.selector, b.speakers, b.place_names, b.stream):
        return True
    if plan.digest != b.planned:
        work.tx.plan_expected(b.id, plan.speakers, early=False)
        work.tx.put(replace(b, planned=plan.digest))
    return False
