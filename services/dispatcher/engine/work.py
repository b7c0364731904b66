"""One transaction's work: carries decisions' effects out until nothing is left, and saves what must outlive it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from devices.protocols.speaker_link import Phase

from ..domain import broadcasts, incident_decisions, verification
from ..domain.broadcasts import Act, Broadcast, BroadcastEvent, BroadcastState, Release
from ..domain.effects import (
    AskOffice,
    AskTwo,
    Effect,
    HoldBroadcast,
    LearnVerdict,
    PrepareBroadcast,
    RecallPeople,
    Record,
    ReleaseStanding,
    Save,
    Sleep,
    TellIncident,
    WakeAt,
    WithdrawTask,
)
from ..domain.incident_decisions import drafts_now
from ..domain.incidents import Air, Incident, IncidentEvent, LadderEnded, SignalJoined
from ..domain.places import OfficeKind, offices_above
from ..domain.planning import City
from ..domain.playbook import Playbook, Rung
from ..domain.refusals import (
    AskedTwo,
    NoTargets,
    NotFound,
    OverCap,
    PlaceholderLeft,
    Refused,
    UnknownOnAir,
    WrongState,
)
from ..domain.risk import Circumstances, History, history_id, rate
from ..domain.rules import Rules
from ..domain.signals import Signal
from ..domain.silences import Silence, SilencedWord
from ..domain.spots import Spot, spot_of
from ..domain.standing_orders import covered
from ..domain.verification import (
    LADDER_ON_THE_GROUND,
    LADDER_WITHOUT_PLAYBOOK,
    Answered,
    Asked,
    Task,
    TaskEvent,
    TaskKind,
    TaskState,
    ladder,
    short,
)
from ..domain.wordings import filled
from . import drafts, endings, footprints, muting, signing_keys, silencing, witnesses
from .ahead import Ahead
from .ports import Ids, Page, Tx
from .streams import SILENT_STATES, revision_on_broker, undecided
from .wanted import WantedWords

EFFECTS_MAX = 100_000
GROUND_TASKS_MAX = 10_000
STANDING_STOPPED = " (The device was put under maintenance after its alarm: nothing is broadcast by itself.)"


@dataclass(slots=True)
class Work:
    """Everything a transaction needs at hand. Refusals kept in `refused` are raised after the commit; signals of our
    own in `raised` arrive with the event that made them. `ahead` is what was looked up for all at once."""

    tx: Tx
    city: City
    playbooks: dict[str, Playbook]
    ids: Ids
    rules: Rules = field(default_factory=Rules)
    shadow: Rules | None = None
    differs: Callable[[str], None] = lambda _: None
    refused: Refused | None = None
    raised: list[Signal] = field(default_factory=list)
    _queue: deque[Effect] = field(default_factory=deque)
    _spots: dict[str, Spot] = field(default_factory=dict)
    ahead: Ahead = field(default_factory=Ahead)
    wanted_words: WantedWords | None = None
    _silences: list[Silence] | None = None
    _words: bool | None = None

    def run(self, effects: Iterable[Effect] = ()) -> None:
        """Carry effects out in the order they were decided, each with everything that follows from it."""
        self._next(effects)
        for _ in range(EFFECTS_MAX):
            if not self._queue:
                return
            self._carry(self._queue.popleft())
        raise AssertionError("effects without end")

    def _next(self, effects: Iterable[Effect]) -> None:
        """Effects of a decision come before what was decided after it: a release finds the whole draft."""
        self._queue.extendleft(reversed(list(effects)))

    def _carry(self, effect: Effect) -> None:
        match effect:
            case Record():
                self.tx.record(effect)
            case Save():
                self.tx.save(effect)
            case WakeAt():
                self.tx.wake_at(effect)
            case Sleep():
                self.tx.sleep(effect)
            case AskOffice():
                self._ask(effect)
            case AskTwo():
                self._ask_two(effect)
            case WithdrawTask():
                self.task(effect.task, verification.Withdrawn(effect.why))
            case PrepareBroadcast():
                self._prepare(effect.incident)
            case ReleaseStanding():
                self._release_standing(effect)
            case HoldBroadcast():
                self._hold(effect)
            case RecallPeople():
                self._recall(effect)
            case LearnVerdict():
                self._learn(effect)
            case TellIncident():
                self.incident(effect.incident, effect.event)  # type: ignore[arg-type]

    def incident(self, incident_id: str, event: IncidentEvent) -> None:
        """Let an incident decide, and carry out what it wants."""
        incident = self.tx.get_locked(Incident, incident_id)
        if incident is None:
            raise NotFound(f"incident {incident_id}")
        self.decide_incident(incident, event)

    def decide_incident(self, incident: Incident, event: IncidentEvent, *, opened: bool = False) -> None:
        """The same for an incident at hand, new ones included."""
        playbook, now_us = self.playbooks.get(incident.playbook), self.tx.now_us()
        around = self._around(incident, event)
        after, effects = incident_decisions.decide(incident, event, playbook, now_us, around)
        before = None if opened else incident
        if muting.concerns(before, after, self.rules):
            # A red that ends and a blue that opens under it at the same moment must see each other.
            self.tx.lock(f"mute/{after.use}")
        if isinstance(event, SignalJoined) and not after.inhibited_by and (opened or after.level != incident.level):
            greater = muting.greater_of(self.tx, after, self.rules, self.city)
            if greater is not None:
                # Decided again as a muted one, so that nobody is asked first.
                muted, told = incident_decisions.decide(incident, greater, playbook, now_us, around)
                after, effects = incident_decisions.decide(muted, event, playbook, now_us, around)
                effects = [*told, *effects]
        if isinstance(event, SignalJoined) and event.witness is not None and self.shadow is not None:
            after, effects = self._shadowed(after, effects, playbook, around)
        self.tx.put(after)
        footprints.relist(self.tx, before, after, self.city, self.ahead)
        if not after.open:
            effects = [*effects, *(WithdrawTask(task, "the incident is closed") for task in after.tasks)]
        self._next([*effects, *muting.consequences(self.tx, before, after, self.rules, self.city)])

    def spot(self, signal: Signal) -> Spot:
        """Where a signal is; worked out once in a transaction."""
        found = self._spots.get(signal.key)
        if found is None:
            found = self._spots[signal.key] = spot_of(signal, self.city, self.rules)
        return found

    def silences(self) -> list[Silence]:
        """The silences that hold; a transaction reads them once."""
        if self._silences is None:
            self._silences = silencing.active(self.tx)
        return self._silences

    def silenced_words(self) -> bool:
        """Whether anything that was silenced may still be heard; a transaction looks once."""
        if self._words is None:
            self._words = bool(self.tx.find(SilencedWord, Page(limit=1)))
        return self._words

    def keeps_word(self) -> None:
        """Invalidates the cached answer "no incident has silenced reports"."""
        self._words = True

    def silences_changed(self) -> None:
        """Drops the cached silences; the next look reads them from the store."""
        self._silences = None

    def _around(self, incident: Incident, event: IncidentEvent) -> Circumstances:
        """What a rating takes in beside the witnesses."""
        if not isinstance(event, SignalJoined):
            return Circumstances(self.rules)
        reporters = {w.reporter for w in incident.witnesses} | {event.signal.reporter}
        known = {r: h for r in reporters if (h := self._history(history_id(incident.use, r))) is not None}
        venue = self.city.venues.get(incident.venue) if incident.venue else None
        kind = str(venue.kind) if venue is not None else ""
        return Circumstances(self.rules, known, incident.hazard, kind, incident.opened_us)

    def _history(self, id: str) -> History | None:
        histories = self.ahead.histories
        if id not in histories:
            histories[id] = self.tx.get(History, id)
        return histories[id]

    def _shadowed(
        self, after: Incident, effects: list[Effect], playbook: Playbook | None, around: Circumstances
    ) -> tuple[Incident, list[Effect]]:
        """Rate by the other rules as well, and put on record where they differ; nothing else ever comes of it."""
        assert self.shadow is not None
        other = rate(after.witnesses, playbook, replace(around, rules=self.shadow))
        said = "" if other.level == after.level else f"level {other.level} by {self.shadow.version}"
        if said == after.shadow:
            return after, effects
        if said:
            facts: dict[str, object] = {"level": after.level, "other": other.level, "rules": self.shadow.version}
            why = f"{said}, {after.level} by {self.rules.version}: {'; '.join(other.reasons)}"
            effects = [*effects, Record("incident.shadow", after.id, why, facts=facts)]
            self.differs(after.hazard)
        return replace(after, shadow=said), effects

    def _learn(self, effect: LearnVerdict) -> None:
        for reporter in sorted(effect.reporters):
            id = history_id(effect.use, reporter)
            kept = self.tx.get_locked(History, id) or History(id)
            self.tx.put(kept.judged(effect.judged, effect.before))
            self.ahead.histories.pop(id, None)

    def task(self, task_id: str, event: TaskEvent) -> None:
        """Let a task decide."""
        task = self.tx.get_locked(Task, task_id)
        if task is None:
            raise NotFound(f"task {task_id}")
        if isinstance(event, Answered) and event.person in self._answered_beside(task):
            raise AskedTwo
        after, effects = verification.decide(task, event, self.tx.now_us())
        self.tx.put(after)
        self._next(effects)

    def _answered_beside(self, task: Task) -> tuple[str, ...]:
        """Who has answered the other question where two people are asked at once."""
        incident = self.tx.get(Incident, task.incident)
        pair = incident.tasks if incident is not None and incident.second_task else ()
        if task.id not in pair:
            return ()
        others = [self.tx.get(Task, other) for other in pair if other != task.id]
        return tuple(other.answered_by for other in others if other is not None)

    def broadcast(self, broadcast_id: str, event: BroadcastEvent) -> None:
        """Let a broadcast decide, with everything that going on air needs."""
        before = self.tx.get_locked(Broadcast, broadcast_id)
        if before is None:
            raise NotFound(f"broadcast {broadcast_id}")
        after, effects = broadcasts.decide(before, event, self.tx.now_us())
        signing_keys.check_release(self.tx, before, event, self.city)
        if after.rev > before.rev:
            after = self._above_broker(before, after)
        if after.state is BroadcastState.ON_AIR and before.state is BroadcastState.DRAFT:
            self.tx.lock("release")
            person = event.person if isinstance(event, broadcasts.ReleaseGiven) else ""
            if after.original:
                effects = [*self._replace_original(after, person), *effects]
            for leaving, event_of_it in endings.make_room(self.tx, after, person):
                self.broadcast(leaving, event_of_it)
        # Last, so that an act which is refused leaves no row that a signer could take for a release.
        self._act(before, event)
        self.tx.put(after)
        self._next(effects)
        if endings.left_unheard(before, after, event):
            again = broadcasts.prepared_again(after, self.ids.new())
            self.tx.put(again)
            self.tx.record(Record("broadcast.prepared_again", again.id, f"{after.id} left the air without being heard"))

    def _above_broker(self, before: Broadcast, after: Broadcast) -> Broadcast:
        """Silence goes above whatever the broker holds of this order, and so does what ends an alert. Other sound does
        not: what was released, and perhaps cancelled, in a time this database has lost is decided by people first.
        Raises UnknownOnAir."""
        there = revision_on_broker(self.tx, after)
        if there < after.rev:
            return after
        if after.state in SILENT_STATES:
            return broadcasts.silenced_at(after, there + 1, self.tx.now_us())
        if before.state is BroadcastState.ON_AIR:
            return after
        if after.phase is Phase.ALERT and undecided(self.tx, after.stream):
            raise UnknownOnAir(after.stream)
        return replace(after, rev=there + 1)

    def _replace_original(self, follower: Broadcast, person: str) -> list[Effect]:
        """A correction or all-clear takes its original off the air, and goes to exactly the original's speakers."""
        original = self.tx.get_locked(Broadcast, follower.original)
        if original is None or not original.on_manifest:
            raise WrongState("its alert was never on air")
        self.tx.copy_expected(follower.original, follower.id, early=False)
        after, effects = broadcasts.decide(original, broadcasts.Replaced(follower.id, person), self.tx.now_us())
        self.tx.put(self._above_broker(original, after))
        return effects

    def _act(self, before: Broadcast, event: BroadcastEvent) -> None:
        """Write the release row of a person's or a standing order's act."""
        act, person, rule, why = _act_of(event)
        if act is None or (act is Act.STANDING and before.state is not BroadcastState.DRAFT):
            return
        at_us = self.tx.now_us()
        self.tx.put(Release(self.ids.new(), before.id, act, person, before.content, rule, why, at_us))

    def _ask(self, effect: AskOffice) -> None:
        incident = self.tx.get_locked(Incident, effect.incident)
        assert incident is not None
        playbook = self.playbooks.get(incident.playbook)
        question = self._question(incident, playbook)
        rungs = playbook.verify if playbook else LADDER_WITHOUT_PLAYBOOK
        if effect.short:
            rungs = short(rungs)
        where = effect.venue, effect.area
        self._asked(incident, self._open_task(TaskKind.VERIFY, incident, "", *where, question, rungs, 0), None)

    def _ask_two(self, effect: AskTwo) -> None:
        """Ask the office of the place and the city's duty desk at once, whoever of them answers first."""
        incident = self.tx.get_locked(Incident, effect.incident)
        assert incident is not None
        playbook = self.playbooks.get(incident.playbook)
        question = self._question(incident, playbook)
        told = {"zh": "（报警后设备转入维护，自动播发已停止）"}
        question = {lang: f"{text}{told.get(lang, STANDING_STOPPED)}" for lang, text in question.items()}
        rungs = short(playbook.verify if playbook else LADDER_WITHOUT_PLAYBOOK)
        where = incident.venue, incident.area
        one = other = self._open_task(TaskKind.VERIFY, incident, "", *where, question, rungs, 0)
        if one is not None:
            desk = self._other_desk(incident.area)
            other = self._open_task(TaskKind.VERIFY, incident, "", *where, question, rungs, 0, desk)
        self._asked(incident, one, other)

    def _other_desk(self, area: str) -> tuple[str, ...]:
        """Who is asked beside the first office of an area: a duty desk above it, or the topmost office; nobody else
        where that is the only one."""
        above = offices_above(self.city.tree, self.city.offices, area)
        _, *others = [o for o in above if str(TaskKind.VERIFY) in o.answers]
        duty = [o.id for o in others if o.kind is OfficeKind.DUTY]
        return tuple((duty or [o.id for o in others])[-1:])

    def _question(self, incident: Incident, playbook: Playbook | None) -> dict[str, str]:
        place = self.city.venues[incident.venue].name if incident.venue else self.city.tree.area(incident.area).name
        if playbook is not None:
            return filled(playbook.question, {"zh": place})
        return {
            "zh": f"{place}：{incident.headline or incident.hazard}，是否属实？",
            "en": f"{place}: {incident.headline or incident.hazard}: is it true?",
        }

    def _asked(self, incident: Incident, task: str | None, other: str | None) -> None:
        """The question of an incident is another now."""
        if task is None:
            # A ladder without offices has ended: what the playbook says of that end holds, once all else is decided.
            self._queue.append(TellIncident(incident.id, LadderEnded("")))
            return
        self._queue.extend(WithdrawTask(before, "asked anew") for before in incident.tasks)
        self.tx.put(replace(self._fresh(incident), task=task, second_task=other or ""))

    def _fresh(self, incident: Incident) -> Incident:
        found = self.tx.get(Incident, incident.id)
        assert found is not None
        return found

    def open_ground_task(self, b: Broadcast, venue: str, speakers: tuple[str, ...]) -> None:
        """Send people with hand-held loudspeakers to a venue whose speakers stayed silent."""
        incident = self.tx.get(Incident, b.incident)
        assert incident is not None
        place = self.city.venues[venue]
        named = f"{place.name}（{len(speakers)}）"
        question = {
            "zh": f"{named}个终端没有播发证明：请带手持喇叭到现场，照稿播报：{b.texts.get('zh', '')}",
            "en": f"{len(speakers)} speakers at {place.name} have not proved that they played: go there with a "
            f"hand-held loudspeaker and read out: {b.texts.get('en', b.texts.get('zh', ''))}",
        }
        self._open_task(
            TaskKind.GROUND, incident, b.id, venue, place.area, question, LADDER_ON_THE_GROUND, place.people
        )

    def open_source_task(self, incident: Incident, first: tuple[str, ...], question: dict[str, str]) -> str | None:
        """Ask about a source that is silent: the offices of `first`, then those of its place. None when nobody is."""
        rungs = LADDER_WITHOUT_PLAYBOOK
        where = incident.venue, incident.area
        return self._open_task(TaskKind.VERIFY, incident, "", *where, question, rungs, 0, first)

    def _open_task(
        self, kind: TaskKind, incident: Incident, broadcast: str, venue: str | None, area: str,
        question: dict[str, str], rungs: tuple[Rung, ...], people: int, first: tuple[str, ...] = (),
    ) -> str | None:  # fmt: skip
        above = offices_above(self.city.tree, self.city.offices, area)
        asked = tuple(dict.fromkeys((*first, *(o.id for o in above if str(kind) in o.answers))))
        if not asked:
            self.tx.record(Record("task.nobody", incident.id, f"no office answers for {area}"))
            return None
        task = Task(
            id=self.ids.new(), kind=kind, use=incident.use, incident=incident.id, broadcast=broadcast, venue=venue,
            area=area, question=question, rungs=rungs, offices=ladder(rungs, asked), rung=0, state=TaskState.ASKED,
            asked_us=self.tx.now_us(), due_us=0, people=people,
        )  # fmt: skip
        after, effects = verification.decide(task, Asked(), self.tx.now_us())
        self.tx.put(after)
        self._next(effects)
        return task.id

    def _prepare(self, incident_id: str) -> None:
        incident = self.tx.get_locked(Incident, incident_id)
        assert incident is not None
        playbook = self.playbooks.get(incident.playbook)
        if playbook is None or not drafts_now(incident, playbook):
            return
        try:
            plan = drafts.current_plan(self.tx, playbook, incident, self.city)
            alert, effects = drafts.draft(self.tx, incident, playbook, plan, self.city, self.ids)
        except (NoTargets, OverCap, PlaceholderLeft) as refused:
            self.tx.record(Record("broadcast.not_planned", incident.id, refused.sentence, facts={"code": refused.code}))
            return
        self.tx.put(replace(self._fresh(incident), alert=alert.id, air=Air.NOT_YET))
        # Named when the draft is first written; the broadcast's page always says it as it is now.
        if not incident.alert and (full := endings.no_room(self.tx, alert)):
            effects = [*effects, Record("broadcast.no_room", incident.id, f"its alert can't be released: {full}")]
        self._next(effects)

    def _release_standing(self, effect: ReleaseStanding) -> None:
        incident = self.tx.get_locked(Incident, effect.incident)
        assert incident is not None
        playbook = self.playbooks.get(incident.playbook)
        alert = self.tx.get_locked(Broadcast, incident.alert) if incident.alert else None
        if alert is None or playbook is None:
            why = "the standing order covers it, but nothing could be planned: decide now"
            self.tx.record(Record("incident.missed", incident.id, why))
            return
        doubt = witnesses.untrusted_now(self.tx, incident)
        if doubt is not None:
            # Whoever saw to it that a device may not act need not know of every alarm that it has raised before.
            self.incident(incident.id, doubt)
            rule = covered(self._fresh(incident), playbook)
            if not rule:
                return
            effect = replace(effect, rule=rule)
        try:
            if self._plan_is_old(alert, incident, playbook):
                self._next([PrepareBroadcast(incident.id), effect])
                return
            self.broadcast(alert.id, broadcasts.StandingGiven(effect.rule))
        except Refused as refused:
            why = f"the standing order covers it, but: {refused.sentence} Decide now"
            self.tx.record(Record("incident.missed", incident.id, why, facts={"code": refused.code}))

    def _hold(self, effect: HoldBroadcast) -> None:
        incident = self.tx.get(Incident, effect.incident)
        if incident is not None and incident.alert and incident.air in (Air.NOT_YET, Air.STOPPED):
            self.broadcast(incident.alert, broadcasts.Held(effect.why))

    def _recall(self, effect: RecallPeople) -> None:
        sent = Page(limit=GROUND_TASKS_MAX)
        for task in self.tx.find(Task, sent, broadcast=effect.broadcast, state=TaskState.ASKED):
            self._queue.append(WithdrawTask(task.id, effect.why))

    def _plan_is_old(self, b: Broadcast, incident: Incident, playbook: Playbook) -> bool:
        """Whether a draft must be planned anew before it may go out. Raises NoTargets or OverCap."""
        if b.phase is not Phase.ALERT or b.state is not BroadcastState.DRAFT:
            return False
        plan = drafts.current_plan(self.tx, playbook, incident, self.city)
        if plan.id != b.plan or plan.selector != b.selector or len(plan.speakers) != b.speakers:
            return True
        if plan.city_version != b.planned_city:
            self.tx.plan_expected(b.id, plan.speakers, early=False)
            self.tx.put(replace(b, planned_city=plan.city_version))
        return False

    def replan(self, b: Broadcast) -> bool:
        """Make the plan of a draft anew if it no longer fits; True when what people read is still the same."""
        incident = self.tx.get_locked(Incident, b.incident)
        playbook = self.playbooks.get(b.playbook)
        if incident is None or playbook is None or not self._plan_is_old(b, incident, playbook):
            return True
        self._prepare(incident.id)
        return False


def _act_of(event: BroadcastEvent) -> tuple[Act | None, str, str, str]:
    match event:
        case broadcasts.ReleaseGiven():
            return Act.RELEASE, event.person, "", event.sentence
        case broadcasts.StandingGiven():
            return Act.STANDING, "", event.rule, "standing order"
        case broadcasts.Declined():
            return Act.DECLINE, event.person, "", event.why
        case broadcasts.Stopped():
            return Act.STOP, event.person, "", event.why
        case broadcasts.Resumed():
            return Act.RESUME, event.person, "", "the same release"
        case _:
            return None, "", "", ""
