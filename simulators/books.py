"""What the database may say: watches every commit and every timer, and holds laws 1, 4, 8 and 10, and the chain."""

from __future__ import annotations

from dataclasses import dataclass, field

from devices.protocols import document_json
from devices.protocols.documents import Phase
from services.dispatcher.domain.broadcasts import Act, Broadcast, BroadcastState, Declined, Release, Stopped
from services.dispatcher.domain.effects import Carry, Timer
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.playbook import OnUnanswered, Playbook
from services.dispatcher.domain.refusals import OverCap
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine import chain
from services.dispatcher.engine.air.foreign import unknown_on_air
from services.dispatcher.engine.events import BroadcastAct, Event, TimerDue
from services.dispatcher.engine.rows import LogRow, Stream
from simulators.checks import Ears, Truth
from simulators.city import Keys

LATE_US = 60_000_000
APART_US = 5_000_000
OVERDUE_US = 10_000_000
KEPT_US = 60_000_000
TOLD = ("incident.", "broadcast.", "task.", "speaker.", "stream.", "effect.", "signal.", "clock.")


def is_signed(keys: Keys, stream: Stream | None, b: Broadcast) -> bool:
    """Whether what was signed for a stream says of a broadcast what its row says: at its revision or a higher one, on
    the broker or in the row; or, of what is over, by having swept it.

    What the broker holds counts while it waits for a person, for until then "publishes nothing there" is the rule;
    and only as it was really signed, whatever the row says of it.
    """
    if stream is None:
        return False
    said = [keys.genuine[stream.signed].manifest] if stream.signed in keys.genuine else []
    if unknown_on_air(stream):
        version = document_json.decode_manifest(stream.foreign).version
        # A thief's manifest waits as well, until the key is removed.
        found = (g.manifest for g in (*keys.genuine.values(), *keys.stolen.values()))
        said += [manifest for manifest in found if (manifest.stream, manifest.version) == (stream.id, version)]
    revisions = [order.rev for manifest in said for order in manifest.orders if order.id == b.id]
    if revisions:
        return max(revisions) >= b.rev
    return b.state is BroadcastState.WITHDRAWN and any(b.start_at_us < manifest.swept for manifest in said)


@dataclass(slots=True)
class Books:
    """Reads along. `followed`, `released` and `stopped` are told of what must reach the speakers within a time."""

    truth: Truth
    ears: Ears
    playbooks: dict[str, Playbook]
    jumped: dict[str, bool] = field(default_factory=dict)
    followed: list[tuple[str, int]] = field(default_factory=list)
    released: list[tuple[str, int]] = field(default_factory=list)
    stopped: list[tuple[str, int]] = field(default_factory=list)
    _rungs: dict[str, tuple[int, TaskState]] = field(default_factory=dict)
    _log: int = 0
    _handling: tuple[TimerDue, Task | None] | None = None
    _passes: dict[str, int] = field(default_factory=dict)
    _pass: str = ""

    def restored(self) -> None:
        """The database went back: read on from where it is now."""
        self._log = len(self.truth.database.rows("log"))
        self._rungs = {t.id: (t.rung, t.state) for t in self.truth.database.rows(Task).values()}

    def refused(self, act: BroadcastAct, code: str) -> None:
        """Law 4: nothing that ends what is on air is refused for want of room."""
        b = self.truth.database.rows(Broadcast).get(act.broadcast)
        ends = b is not None and (b.phase is not Phase.ALERT or b.rev > 0)
        if code == OverCap.code and ends:
            self.truth.broken(4, act.broadcast, f"{act.broadcast} was refused, because its stream is full")

    # Commits

    def committed(self) -> None:
        """Somebody committed."""
        log = self.truth.database.rows("log")
        if len(log) == self._log:
            return
        news = [log[seq] for seq in range(self._log + 1, len(log) + 1)]
        self._log = len(log)
        for row in news:
            if row.kind.startswith(TOLD):
                self.truth.counts[f"log.{row.kind}"] += 1
            self._entry(row)
        self._deadlines()
        self._on_air()

    def _entry(self, row: LogRow) -> None:
        b = self.truth.database.rows(Broadcast).get(row.subject)
        if b is None:
            return
        if row.kind == "broadcast.on_air":
            self._prepared(b)
            if b.phase is not Phase.ALERT:
                self.followed.append((b.id, self.truth.clock.us))
                return
            self.released.append((b.id, self.truth.clock.us))
            if self._handling is not None and not b.released_by:
                self._released_by_timer(b)
        elif row.kind == "broadcast.stopped":
            self.stopped.append((b.id, self.truth.clock.us))

    def _prepared(self, b: Broadcast) -> None:
        """On air means: released, and for an alert, that its correction and all-clear lie ready for one person."""
        why = self.ears.unreleased(self.truth.database, b)
        if why:
            self.truth.broken(1, b.id, f"{b.id} goes on air, but {why}")
        if b.phase is not Phase.ALERT:
            return
        rows = [f for f in self.truth.database.rows(Broadcast).values() if f.original == b.id]
        ready = {f.phase for f in rows if f.state is BroadcastState.DRAFT and f.people_needed == 1 and all(f.texts)}
        if ready != {Phase.CORRECTION, Phase.ALL_CLEAR}:
            self.truth.broken(4, b.id, f"{b.id} goes on air without its correction and all-clear prepared")

    def _deadlines(self) -> None:
        """Law 8: whatever waits for a time has its row. Law 10: ladders go up rung by rung to their end."""
        database = self.truth.database
        timers = database.rows("timer")
        for task in database.rows(Task).values():
            if task.state is TaskState.ASKED:
                timer = timers.get((Timer.RUNG, task.id))
                if timer is None or timer.due_us != task.due_us:
                    self.truth.broken(8, task.id, f"the task {task.id} waits on rung {task.rung} without a deadline")
            self._climbs(task)
        for b in database.rows(Broadcast).values():
            if b.state is BroadcastState.ON_AIR and (Timer.EXPIRES, b.id) not in timers:
                self.truth.broken(8, b.id, f"{b.id} is on air and nothing will end it")

    def _climbs(self, task: Task) -> None:
        before = self._rungs.get(task.id, (-1, TaskState.ASKED))
        self._rungs[task.id] = (task.rung, task.state)
        if task.rung - before[0] not in (0, 1):
            self.truth.broken(10, task.id, f"the task {task.id} went from rung {before[0]} to {task.rung}")
        ended = task.state is TaskState.UNANSWERED and before[1] is TaskState.ASKED
        if ended and not task.on_last_rung:
            self.truth.broken(10, task.id, f"the task {task.id} ended on rung {task.rung}, below its top")

    def _on_air(self) -> None:
        """Law 8: what is in force is signed, or a row says that it is to be."""
        # A clock that jumped back brings no order back that had run out before.
        database, now_us = self.truth.database, self.truth.database.now_us() + self.truth.slack_us
        effects = database.rows("effect")
        for b in database.rows(Broadcast).values():
            if b.rev == 0 or b.state is BroadcastState.ENDED or b.expires_us + KEPT_US <= now_us:
                continue
            signed = is_signed(self.truth.keys, database.rows(Stream).get(b.stream), b)
            if not signed and f"{Carry.PUBLISH_STREAM}:{b.stream}" not in effects:
                self.truth.broken(8, b.id, f"revision {b.rev} of {b.id} is neither signed nor to be signed")

    # Acts of people

    def acted(self, person: str, act: BroadcastAct) -> None:
        """A person's act was taken: it is on record, also when it was a no."""
        kinds = {Declined: Act.DECLINE, Stopped: Act.STOP}
        wanted = kinds.get(type(act.act))
        rows = self.truth.database.rows(Release).values()
        if wanted and not any(r.broadcast == act.broadcast and r.person == person and r.act is wanted for r in rows):
            self.truth.broken(1, act.broadcast, f"{person} said {wanted} to {act.broadcast}, and no row shows it")

    # Timers

    def passes(self, process: str, error_us: int, off_us: int) -> None:
        """A timer pass begins in this process; `error_us` is how wrong the trusted time is now, and `off_us` how far
        the clock is off it."""
        before = self._passes.get(process, error_us)
        self._passes[process] = error_us
        self.jumped[process] = abs(error_us - before) > APART_US or abs(off_us) > APART_US
        self._pass = process

    def handling(self, event: Event) -> None:
        if isinstance(event, TimerDue):
            task = self.truth.database.rows(Task).get(event.timer.subject)
            self._handling = (event, task)
            self.truth.counts[f"timer.{event.timer.timer}"] += 1

    def handled(self, whole: bool) -> None:
        """The timer's event was handled; a ladder that it was for must have moved."""
        handling, self._handling = self._handling, None
        event, before = handling if handling is not None else (None, None)
        if event is None or before is None or not whole:
            return
        if before.state is not TaskState.ASKED or before.due_us != event.timer.due_us:
            return
        after = self.truth.database.rows(Task)[before.id]
        if (after.rung, after.state) == (before.rung, before.state):
            self.truth.broken(10, before.id, f"nobody answered rung {before.rung} of {before.id}, and nothing happened")
        if after.state is TaskState.UNANSWERED:
            self.truth.counts["ladder.ended"] += 1

    def _released_by_timer(self, b: Broadcast) -> None:
        assert self._handling is not None
        timer = self._handling[0].timer
        self.truth.counts["release.timer"] += 1
        late_us = self.truth.database.now_us() - timer.due_us
        if late_us > LATE_US:
            self.truth.broken(10, b.id, f"a timer {late_us // 1_000_000} s late released {b.id}")
        if self.jumped.get(self._pass):
            self.truth.broken(10, b.id, f"a timer released {b.id} though the clock had jumped")
        incident = self.truth.database.rows(Incident)[b.incident]
        standing = self.playbooks[incident.playbook].standing
        if standing is None or standing.on_unanswered is not OnUnanswered.RELEASE:
            self.truth.broken(10, b.id, f"{b.id} was released because nobody answered, but its playbook holds")

    # Now and then

    def look(self) -> None:
        """While everything runs, nothing that is due stays lying. Call only when all has been well for a while."""
        database, now_us = self.truth.database, self.truth.database.now_us()
        for timer in database.rows("timer").values():
            if timer.due_us < now_us - OVERDUE_US:
                self.truth.broken(8, timer.subject, f"the deadline {timer.timer} of {timer.subject} was passed over")
        for effect in database.rows("effect").values():
            if max(effect.not_before_us, effect.leased_until_us) < now_us - OVERDUE_US:
                self.truth.broken(8, effect.subject, f"the effect {effect.lane} lies unsent")

    def chained(self, witnessed: tuple[str, ...]) -> None:
        """The log's chain holds, and every head that a manifest carries is in it."""
        with self.truth.database.read() as read:
            found = chain.verify(read, witnessed)
        if found.problem:
            self.truth.broken(1, "log", f"the audit log does not prove: {found.problem}")
