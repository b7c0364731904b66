"""The store in memory: the same port and the same contract suite as the SQL store, for simulation and quick tests.

One writer at a time; a transaction that raises leaves nothing behind.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

from devices.protocols.asking import RECEIPTS_KEPT_MAX

from ..domain.effects import Record, Save, Sleep, WakeAt
from ..domain.judgement import Doubt
from ..domain.places import Area, Speaker
from ..domain.planning import Coverage
from ..domain.retries import RETRIES
from ..domain.signals import Signal, Unread, identity, witness_name
from ..engine.clock import ROW as CLOCK_ROW
from ..engine.clock import SPEAKER_SILENT_US, ClockReading, GuardedClock, lately
from ..engine.ports import Added, Clock, Page, Read, Tx
from ..engine.rows import (
    RECEIPT_GONE,
    ClockState,
    EffectRow,
    Expected,
    Footprint,
    Live,
    LogRow,
    Moment,
    ReceiptRow,
    StoredSignal,
    TimerRow,
)

T = TypeVar("T")
_GONE = object()
FIRST_PAGE = Page()


class MemoryStore:
    """Dictionaries behind the store's port."""

    def __init__(self, clock: Clock) -> None:
        self.clock = GuardedClock(clock)
        self._tables: dict[object, dict[Any, Any]] = {}
        self._lock = threading.RLock()

    def write(self) -> AbstractContextManager[Tx]:
        return self._write()

    def read(self) -> AbstractContextManager[Read]:
        return self._read()

    @contextmanager
    def _write(self, clock: GuardedClock | None = None) -> Iterator[Tx]:
        with self._lock:
            tx = MemoryTx(self._tables, clock or self.clock)
            try:
                yield tx
            except BaseException:
                tx.undo()
                raise

    @contextmanager
    def _read(self, clock: GuardedClock | None = None) -> Iterator[Read]:
        with self._lock:
            yield MemoryTx(self._tables, clock or self.clock)


class MemoryTx:
    """One transaction: writes at once and remembers how to take everything back."""

    def __init__(self, tables: dict[object, dict[Any, Any]], clock: GuardedClock) -> None:
        self._tables = tables
        self._clock = clock
        self._moment: Moment | None = None
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    def undo(self) -> None:
        """Take back every write of this transaction, newest first."""
        for table, key, old in reversed(self._undo):
            if old is _GONE:
                table.pop(key, None)
            else:
                table[key] = old

    def _table(self, name: object) -> dict[Any, Any]:
        return self._tables.setdefault(name, {})

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((table, key, table.get(key, _GONE)))
        table[key] = value

    def _drop(self, table: dict[Any, Any], key: Any) -> bool:
        if key not in table:
            return False
        self._undo.append((table, key, table[key]))
        del table[key]
        return True

    def now_us(self) -> int:
        return self.moment().now_us

    def moment(self) -> Moment:
        if self._moment is None:
            from_us, raw_us = self._clock.mono_us(), self._clock.host_us()
            seen = ClockReading(raw_us, raw_us, from_us, self._clock.mono_us())
            kept = self.get(ClockState, CLOCK_ROW)
            self._moment = self._clock.look(seen, kept, lambda: self._newest_us(kept))
        return self._moment

    def _newest_us(self, kept: ClockState | None) -> int:
        log = self._table("log")
        newest_us = log[len(log)].at_us if log else 0
        return newest_us if kept is None or newest_us > kept.leftovers_until_us else 0

    @property
    def one_writer(self) -> bool:
        """Whether nobody else writes until the end."""
        return True

    def lock(self, *names: str) -> None:
        """One writer at a time holds every name already."""

    def get(self, kind: type[T], id: str) -> T | None:
        return cast("T | None", self._table(kind).get(id))

    def get_locked(self, kind: type[T], id: str) -> T | None:
        return self.get(kind, id)

    def asked(self, kind: type[T], page: Page = FIRST_PAGE, /, **fields: object) -> Callable[[], list[T]]:
        found = self.find(kind, page, **fields)
        return lambda: found

    def find(self, kind: type[T], page: Page = FIRST_PAGE, /, **fields: object) -> list[T]:
        rows = [row for row in self._candidates(kind, fields) if _fits(row, fields)]
        name = page.order.lstrip("-")
        if kind is Area and name == "id":
            name = "code"
        rows.sort(key=lambda row: getattr(row, name), reverse=page.order.startswith("-"))
        return rows[page.skip : page.skip + page.limit]

    def _candidates(self, kind: type[T], fields: dict[str, object]) -> list[T]:
        """Every row of the kind, but only those of the cells asked for where there are thousands."""
        table = self._table(kind)
        if kind is not Footprint or "cell" not in fields:
            return list(table.values())
        cells = fields["cell"] if isinstance(fields["cell"], tuple) else (fields["cell"],)
        listed = self._table("footprint_cells")
        return [table[id] for cell in dict.fromkeys(cells) for id in listed.get(cell, ()) if id in table]

    def put(self, *rows: object) -> None:
        for row in rows:
            if isinstance(row, Footprint) and row.id not in self._table(Footprint):
                listed = self._table("footprint_cells")
                self._set(listed, row.cell, (*listed.get(row.cell, ()), row.id))
            key = row.code if isinstance(row, Area) else cast("Any", row).id
            self._set(self._table(type(row)), key, row)

    def delete(self, kind: type[object], id: str) -> None:
        gone = self._table(kind).get(id)
        if isinstance(gone, Footprint):
            listed = self._table("footprint_cells")
            self._set(listed, gone.cell, tuple(other for other in listed[gone.cell] if other != id))
        self._drop(self._table(kind), id)

    def add_signal(self, signal: Signal, incident: str) -> None:
        self._set(self._table("signal"), signal.key, (signal, incident))
        named = self._table("signal_identity")
        name = identity(signal.key)
        self._set(named, name, (*named.get(name, ()), signal.key))

    def withdraw(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._set(self._table("signal_withdrawn"), key, True)

    def stored_keys(self, keys: Sequence[str]) -> set[str]:
        return {key for key in keys if self.signal_incident(key) is not None}

    def signal_incident(self, key: str) -> str | None:
        found = self._table("signal").get(key)
        return None if found is None else cast("str", found[1])

    def signal(self, key: str) -> Signal | None:
        found = self._table("signal").get(key)
        return None if found is None else cast("Signal", found[0])

    def signals_of(self, incident: str, limit: int = 100) -> list[Signal]:
        rows = [s for s, joined in self._table("signal").values() if joined == incident]
        return sorted(rows, key=lambda s: (s.received_us, s.key))[:limit]

    def signals_named(self, identity: str, limit: int = 32) -> list[StoredSignal]:
        signals, gone = self._table("signal"), self._table("signal_withdrawn")
        keys = self._table("signal_identity").get(identity, ())
        rows = [StoredSignal(signals[key][0], signals[key][1], key in gone) for key in keys]
        return sorted(rows, key=lambda row: (-row.signal.received_us, row.signal.key))[:limit]

    def signals_standing(self, incident: str, witness: str | None, limit: int = 64) -> list[Signal]:
        gone = self._table("signal_withdrawn")
        rows = [
            s
            for s, joined in self._table("signal").values()
            if joined == incident and s.key not in gone and witness in (None, witness_name(s.reporter, s.device))
        ]
        return sorted(rows, key=lambda s: (-s.received_us, s.key))[:limit]

    def signals_since(self, received_us: int, after_key: str, limit: int = 1_000) -> list[Signal]:
        rows = [s for s, _ in self._table("signal").values() if (s.received_us, s.key) > (received_us, after_key)]
        return sorted(rows, key=lambda s: (s.received_us, s.key))[:limit]

    def add_unread(self, rows: Sequence[Unread]) -> None:
        table = self._table("unread")
        for row in rows:
            self._set(table, len(table), row)

    def unread(self, limit: int = 100, skip: int = 0) -> list[Unread]:
        return list(reversed(self._table("unread").values()))[skip : skip + limit]

    def unread_count(self) -> int:
        return len(self._table("unread"))

    def plan_expected(self, broadcast: str, speakers: Sequence[str], *, early: bool = True) -> None:
        aside = self._table("early")
        for row in self.expected(broadcast):
            if row != Expected(broadcast, row.speaker):
                before = aside.get((broadcast, row.speaker))
                self._set(aside, (broadcast, row.speaker), row if before is None else _moved(before, row))
        rows = {s: Expected(broadcast, s) for s in speakers}
        if early:
            rows = {s: aside.get((broadcast, s), row) for s, row in rows.items()}
            for s in rows:
                self._drop(aside, (broadcast, s))
        self._set(self._table("expected"), broadcast, rows)

    def copy_expected(self, original: str, broadcast: str, *, early: bool = True) -> None:
        self.plan_expected(broadcast, sorted(self._table("expected").get(original, {})), early=early)

    def expected(self, broadcast: str, *, silent_only: bool = False) -> list[Expected]:
        rows = self._table("expected").get(broadcast, {})
        return [
            row
            for _, row in sorted(rows.items())
            if not silent_only or (row.playing_us is None and row.finished_us is None)
        ]

    def add_receipts(self, rows: Sequence[ReceiptRow]) -> Added:
        receipts, table, early = self._table("receipt"), self._table("expected"), self._table("early")
        added = Added()
        for row in rows:
            key, pair = (row.speaker, row.journal, row.seq), (row.broadcast, row.speaker)
            planned, stored = table.get(row.broadcast, {}), receipts.get(key)
            is_new = stored is None or _said(stored) != _said(row)
            if stored is None:
                self._set(receipts, key, row)
            elif is_new and stored.raw != RECEIPT_GONE:
                added.reused.append(row)
            if row.given and row.speaker in planned:
                self._set(planned, row.speaker, _moved(planned[row.speaker], row))
            elif is_new:
                added.strangers.append(row)
                if row.broadcast:
                    self._set(early, pair, _moved(early.get(pair, Expected(*pair)), row))
        return added

    def count_saying(self, broadcast: str) -> int:
        return sum(1 for named, _ in self._table("early") if named == broadcast)

    def count_holding(self, stream: str, version: int) -> int:
        return sum(1 for live in self._table(Live).values() if live.streams.get(stream, 0) >= version)

    def behind(
        self, stream: str, version: int, among: Sequence[str], after: str = "", limit: int = 1_000
    ) -> list[tuple[str, int]]:
        lives = self._table(Live)
        held = [(id, lives[id].streams.get(stream, 0)) for id in sorted(set(among)) if id > after and id in lives]
        return [(id, at) for id, at in held if at < version][:limit]

    def missing_receipts(self, speaker: str, journal: str, seq: int, limit: int) -> list[int]:
        held = self._table("receipt")
        wanted = range(max(1, seq - RECEIPTS_KEPT_MAX + 1), seq + 1)
        return [n for n in wanted if (speaker, journal, n) not in held][:limit]

    def longest_wait_us(self) -> int:
        return 0

    def heard(self, rows: Sequence[Live]) -> None:
        self.put(*rows)

    def coverage(self, broadcast: str) -> Coverage:
        rows = self.expected(broadcast)
        now_us = self.now_us()
        lives = self._table(Live)
        out = 0
        for row in rows:
            speaker = self.get(Speaker, row.speaker)
            service = speaker.out_of_service if speaker else None
            out += service is not None and service.until_us > now_us
        return Coverage(
            targeted=len(rows),
            online=sum(
                1
                for live in (lives.get(r.speaker) for r in rows)
                if live is not None and live.online and lately(live.heard_us, now_us, SPEAKER_SILENT_US)
            ),
            playing=sum(1 for r in rows if r.playing_us is not None or r.finished_us is not None),
            proved=sum(1 for r in rows if r.proved),
            finished=sum(1 for r in rows if r.finished_us is not None),
            refused=sum(1 for r in rows if r.refused),
            failed=sum(1 for r in rows if r.failed),
            out_of_service=out,
            after_stop=sum(1 for r in rows if r.doubted == Doubt.AFTER_STOP),
        )

    def record(self, record: Record) -> None:
        table = self._table("log")
        seq = len(table) + 1
        body = json.dumps({"why": record.why, "facts": record.facts}, sort_keys=True, ensure_ascii=False, default=str)
        row = LogRow(seq, self.now_us(), record.kind, record.subject, record.person, body)
        self._set(table, seq, row)

    def log_of(self, subject: str | None, after_seq: int = 0, limit: int = 1_000) -> list[LogRow]:
        rows = self._table("log").values()
        return [r for r in rows if r.seq > after_seq and (subject is None or r.subject == subject)][:limit]

    def unchained(self, limit: int) -> list[LogRow]:
        log = self._table("log")
        number, _ = self.chain_head()
        # Rows are linked in the order of seq here, so the first unlinked one follows the head.
        return [log[seq] for seq in range(number + 1, min(number + limit, len(log)) + 1)]

    def link(self, rows: Sequence[LogRow]) -> None:
        for row in rows:
            self._set(self._table("log"), row.seq, row)
            self._set(self._table("chain"), "head", (row.link, row.hash))

    def chain_head(self) -> tuple[int, str]:
        return cast("tuple[int, str]", self._table("chain").get("head", (0, "")))

    def chain(self, after_link: int, limit: int) -> list[LogRow]:
        linked = [r for r in self._table("log").values() if r.link is not None and r.link > after_link]
        return sorted(linked, key=lambda r: cast("int", r.link))[:limit]

    def wake_at(self, timer: WakeAt) -> None:
        table, key = self._table("timer"), (timer.timer, timer.subject)
        before = table.get(key)
        if timer.only_sooner and before is not None and before.due_us <= timer.due_us:
            return
        self._set(table, key, TimerRow(timer.timer, timer.subject, timer.due_us, timer.useless_after_us))

    def sleep(self, timer: Sleep) -> None:
        self._drop(self._table("timer"), (timer.timer, timer.subject))

    def take_due(self, timer: TimerRow) -> bool:
        table, key = self._table("timer"), (timer.timer, timer.subject)
        row = table.get(key)
        return row is not None and row.due_us == timer.due_us and self._drop(table, key)

    def due_timers(self, now_us: int, limit: int) -> list[TimerRow]:
        due = [t for t in self._table("timer").values() if t.due_us <= now_us]
        return sorted(due, key=lambda t: (t.due_us, t.timer, t.subject))[:limit]

    def save(self, effect: Save) -> None:
        table, now_us, lasts_us = self._table("effect"), self.now_us(), RETRIES[effect.carry].expires_us
        row = table.get(effect.lane)
        if row is None:
            row = EffectRow(effect.lane, str(effect.carry), effect.subject, 0, 0, now_us, None, wanted_us=now_us)
        self._set(
            table,
            effect.lane,
            replace(
                row,
                wanted=row.wanted + 1,
                not_before_us=min(row.not_before_us, now_us),
                expires_us=None if lasts_us is None else now_us + lasts_us,
            ),
        )

    def open_effects(self) -> list[EffectRow]:
        return sorted(self._table("effect").values(), key=lambda e: (e.not_before_us, e.lane))

    def claimable(self, carries: Sequence[str]) -> bool:
        return bool(self._claimable(carries))

    def _claimable(self, carries: Sequence[str]) -> list[EffectRow]:
        now_us = self.now_us()
        return [
            e
            for e in self.open_effects()
            if e.carry in carries and e.not_before_us <= now_us and e.leased_until_us <= now_us
        ]

    def claim(self, carries: Sequence[str], owner: str, lease_us: int, limit: int) -> list[EffectRow]:
        now_us = self.now_us()
        free = self._claimable(carries)[:limit]
        claimed = [replace(e, leased_by=owner, leased_until_us=now_us + lease_us) for e in free]
        for effect in claimed:
            self._set(self._table("effect"), effect.lane, effect)
        return claimed

    def done(self, *effects: EffectRow) -> None:
        for effect in effects:
            row = self._mine(effect)
            if row is None:
                continue
            if row.wanted == effect.wanted:
                self._drop(self._table("effect"), effect.lane)
                continue
            now_us = self.now_us()
            again = replace(row, wanted_us=now_us, tries=0, not_before_us=now_us)
            self._set(self._table("effect"), effect.lane, replace(again, leased_by="", leased_until_us=0, reason=""))

    def retry(self, effect: EffectRow, not_before_us: int, reason: str, tries: int) -> None:
        row = self._mine(effect)
        if row is not None:
            then_us = not_before_us if row.wanted == effect.wanted else row.not_before_us
            later = replace(row, tries=tries, not_before_us=then_us, leased_by="", leased_until_us=0, reason=reason)
            self._set(self._table("effect"), effect.lane, later)

    def shift_effects(self, by_us: int) -> None:
        table = self._table("effect")
        for lane, row in list(table.items()):
            moved = replace(
                row,
                not_before_us=row.not_before_us + by_us,
                wanted_us=row.wanted_us + by_us,
                expires_us=None if row.expires_us is None else row.expires_us + by_us,
                leased_until_us=row.leased_until_us and row.leased_until_us + by_us,
            )
            self._set(table, lane, moved)

    def _mine(self, effect: EffectRow) -> EffectRow | None:
        row = self._table("effect").get(effect.lane)
        if row is None or (row.leased_by, row.leased_until_us) != (effect.leased_by, effect.leased_until_us):
            return None
        return cast("EffectRow", row)


def _fits(row: object, fields: dict[str, object]) -> bool:
    for name, wanted in fields.items():
        value = getattr(row, name)
        if isinstance(wanted, tuple) and not isinstance(value, tuple):
            if value not in wanted:
                return False
        elif value != wanted:
            return False
    return True


def _said(row: ReceiptRow) -> tuple[str, int, bytes]:
    return row.broadcast, row.rev, row.raw


def _moved(row: Expected, receipt: ReceiptRow | Expected) -> Expected:
    """The first time of a step wins; refused and failed reasons stay until it has finished, because a hindrance that
    has passed is no outcome; proof is never taken back."""
    finished_us = row.finished_us if row.finished_us is not None else receipt.finished_us
    return replace(
        row,
        accepted_us=row.accepted_us if row.accepted_us is not None else receipt.accepted_us,
        ready_us=row.ready_us if row.ready_us is not None else receipt.ready_us,
        playing_us=row.playing_us if row.playing_us is not None else receipt.playing_us,
        finished_us=finished_us,
        refused=(row.refused or receipt.refused) if finished_us is None else "",
        failed=(row.failed or receipt.failed) if finished_us is None else "",
        proved=row.proved or receipt.proved,
        doubted=receipt.doubted if receipt.doubted == Doubt.AFTER_STOP else row.doubted or receipt.doubted,
    )
