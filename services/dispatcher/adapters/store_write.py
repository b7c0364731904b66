"""One write transaction of the SQL store.

Rows of a kind with a version (incidents, tasks, broadcasts, plans, streams) are compared and set: the version is a
column that only this module reads. A transaction may change such a row as often as it likes after reading it once;
when another transaction changed it in between, `put` raises Conflict. What was read before `get_locked` must not be
put after it: the locked row is the one to go on from.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from psycopg import Pipeline
from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from ..domain.effects import Record, Save, Sleep, WakeAt
from ..domain.judgement import Doubt
from ..domain.retries import RETRIES
from ..domain.signals import Signal, Unread, identity, witness_name
from ..engine.clock import GuardedClock
from ..engine.ports import Added, Conflict, Page
from ..engine.rows import RECEIPT_GONE, EffectRow, Live, LogRow, ReceiptRow, TimerRow
from .rows import column, columns_of, encode, names_of, readable, record_body
from .store_read import EFFECT_COLUMNS, FIRST_PAGE, LOG_COLUMNS, VERSIONED, SqlRead
from .tables import ENTITIES

T = TypeVar("T")
CHANNEL = "tocsin"
"""Where PostgreSQL tells other processes that an effect was saved."""
PAIRS_MAX = 500
KEYS_A_LOOK = 100

_RECEIPT = """
INSERT INTO receipt (speaker, journal, seq, broadcast, rev, received_us, raw) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_SIGNAL = """
INSERT INTO signal (key, incident, received_us, identity, witness, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_MOVE_ON = """
UPDATE expected SET accepted_us = COALESCE(accepted_us, ?), ready_us = COALESCE(ready_us, ?),
  playing_us = COALESCE(playing_us, ?), finished_us = COALESCE(finished_us, ?),
  refused = CASE WHEN COALESCE(finished_us, ?) IS NOT NULL THEN '' WHEN refused = '' THEN ? ELSE refused END,
  failed = CASE WHEN COALESCE(finished_us, ?) IS NOT NULL THEN '' WHEN failed = '' THEN ? ELSE failed END,
  proved = proved OR ?, doubted = CASE WHEN doubted = '' OR ? THEN ? ELSE doubted END
WHERE broadcast = ? AND speaker = ?
"""
_STEPS = "accepted_us, ready_us, playing_us, finished_us, refused, failed, proved, doubted"
_BETTER_EARLY = """
ON CONFLICT (broadcast, speaker) DO UPDATE SET
  accepted_us = COALESCE(early.accepted_us, excluded.accepted_us),
  ready_us = COALESCE(early.ready_us, excluded.ready_us),
  playing_us = COALESCE(early.playing_us, excluded.playing_us),
  finished_us = COALESCE(early.finished_us, excluded.finished_us),
  refused = CASE WHEN COALESCE(early.finished_us, excluded.finished_us) IS NOT NULL THEN ''
    WHEN early.refused = '' THEN excluded.refused ELSE early.refused END,
  failed = CASE WHEN COALESCE(early.finished_us, excluded.finished_us) IS NOT NULL THEN ''
    WHEN early.failed = '' THEN excluded.failed ELSE early.failed END,
  proved = early.proved OR excluded.proved,
  doubted = CASE WHEN early.doubted = '' OR excluded.doubted = 'after_stop' THEN excluded.doubted
    ELSE early.doubted END
"""
_EARLY = f"INSERT INTO early ({_STEPS}, broadcast, speaker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) {_BETTER_EARLY}"
_SET_ASIDE = f"""
INSERT INTO early ({_STEPS}, broadcast, speaker)
SELECT {_STEPS}, broadcast, speaker FROM expected WHERE broadcast = ?{{}} {_BETTER_EARLY}
"""
_DROP_SILENT = """
DELETE FROM expected WHERE broadcast = ? AND COALESCE(accepted_us, ready_us, playing_us, finished_us) IS NULL
  AND refused = '' AND failed = '' AND NOT proved AND doubted = ''
"""
_COUNT_EARLY = f"""
UPDATE expected SET ({_STEPS}) = (SELECT {_STEPS} FROM early e WHERE e.broadcast = ? AND e.speaker = expected.speaker)
WHERE broadcast = ? AND speaker IN (SELECT speaker FROM early WHERE broadcast = ?)
"""
_COUNTED_EARLY = """
DELETE FROM early WHERE broadcast = ? AND speaker IN (SELECT speaker FROM expected WHERE broadcast = ?)
"""
_SAVE = """
INSERT INTO effect
  (lane, carry, subject, wanted, tries, not_before_us, expires_us, leased_by, leased_until_us, reason, wanted_us)
VALUES (?, ?, ?, 1, 0, ?, ?, '', 0, '', ?)
ON CONFLICT (lane) DO UPDATE SET wanted = effect.wanted + 1, expires_us = excluded.expires_us,
  not_before_us = CASE WHEN effect.not_before_us < excluded.not_before_us THEN effect.not_before_us
    ELSE excluded.not_before_us END
"""
_WAKE_AT = """
INSERT INTO timer (timer, subject, due_us, useless_after_us) VALUES (?, ?, ?, ?)
ON CONFLICT (timer, subject) DO UPDATE SET
  due_us = excluded.due_us, useless_after_us = excluded.useless_after_us
"""
_WAKE_SOONER = f"{_WAKE_AT}WHERE excluded.due_us < timer.due_us"


class SqlTx(SqlRead):
    """A transaction that commits when its block ends. With a `pipeline` what is written waits for no answer before
    something is read."""

    def __init__(self, connection: Connection, clock: GuardedClock, pipeline: Pipeline | None = None) -> None:
        super().__init__(connection, clock)
        self._pipeline = pipeline
        self._versions: dict[tuple[type, object], int] = {}
        self._locks: set[int] = set()
        self._told = False
        # Versioned rows as this transaction left them, or found them as the one writer: nobody else can change them
        # before it ends.
        self._left: dict[tuple[type, object], object] = {}
        self._unwritten: dict[tuple[type, object], None] = {}
        self._signals: list[tuple[object, ...]] = []
        self._checks: list[tuple[DBAPICursor, int, Exception]] = []

    @property
    def one_writer(self) -> bool:
        """Whether nobody else writes until the end: who works out names to lock may then leave it."""
        return not self._postgres

    def lock(self, *names: str) -> None:
        """Hold these names until the end. SQLite has one writer at a time, who holds them all."""
        if not self._postgres:
            return
        for number in sorted({_lock_number(name) for name in names} - self._locks):
            self._run("SELECT pg_advisory_xact_lock(?)", (number,))
            self._locks.add(number)

    def get(self, kind: type[T], id: str) -> T | None:
        """The row under this key."""
        return self._read(kind, id, locked=False)

    def asked(self, kind: type[T], page: Page = FIRST_PAGE, /, **fields: object) -> Callable[[], list[T]]:
        """Rows as this transaction has left them when it asks."""
        if kind in VERSIONED and any(each is kind for each, _ in self._unwritten):
            self.flush()
        answer = super().asked(kind, page, **fields)
        if kind not in VERSIONED or not self.one_writer:
            return answer
        found, key = answer(), names_of(kind)[0]
        self._left.update(((kind, column(getattr(row, key))), row) for row in found)
        return lambda: found

    def get_locked(self, kind: type[T], id: str) -> T | None:
        """The row under this key, which nobody else changes until the end."""
        return self._read(kind, id, locked=True)

    def put(self, *rows: object) -> None:
        """Insert or replace. Raises Conflict for a versioned row that somebody else changed since it was read here."""
        batches: dict[type, list[tuple[object, ...]]] = defaultdict(list)
        for row in rows:
            if type(row) in VERSIONED:
                self._put_versioned(row)
            else:
                batches[type(row)].append((*columns_of(row), encode(row)))
        for kind, values in batches.items():
            # By key, so that two transactions with the same rows never wait for each other in a circle.
            self._many(_UPSERT[kind], sorted(values, key=lambda value: str(value[0])))

    def delete(self, kind: type[object], id: str) -> None:
        """Remove the row if it is there."""
        self._run(f"DELETE FROM {ENTITIES[kind].name} WHERE {names_of(kind)[0]} = ?", (column(id),))
        self._versions[kind, column(id)] = 0
        self._left.pop((kind, column(id)), None)
        self._unwritten.pop((kind, column(id)), None)

    def add_signal(self, signal: Signal, incident: str) -> None:
        """Store a new signal, when the transaction ends or somebody looks for one: a storm brings hundreds."""
        key, name = column(signal.key), column(identity(signal.key))
        witness = column(witness_name(signal.reporter, signal.device))
        row = (key, incident, signal.received_us, "" if name == key else name, witness, encode(signal))
        self._signals.append(row)

    def withdraw(self, keys: Sequence[str]) -> None:
        """Mark stored signals as cancelled or updated."""
        self._add_signals()
        self._many("UPDATE signal SET withdrawn = ? WHERE key = ?", [(True, column(key)) for key in sorted(keys)])

    def add_unread(self, rows: Sequence[Unread]) -> None:
        """Keep what could not be understood."""
        sql = "INSERT INTO unread (wire, source, reason, raw, at_us) VALUES (?, ?, ?, ?, ?)"
        self._many(sql, [(r.wire, readable(r.source), r.reason, r.raw, r.at_us) for r in rows])

    def plan_expected(self, broadcast: str, speakers: Sequence[str], *, early: bool = True) -> None:
        """Make these speakers the expected set, with `early` showing what they have said of it; one statement for any
        number."""
        each = "json_array_elements_text(CAST(? AS json))" if self._postgres else "json_each(?)"
        self._expect(broadcast, f"value FROM {each} AS speakers", encode(list(dict.fromkeys(speakers))), early)

    def copy_expected(self, original: str, broadcast: str, *, early: bool = True) -> None:
        """Expect exactly the original's speakers, with `early` showing what they have said of this one."""
        self._expect(broadcast, "speaker FROM expected WHERE broadcast = ?", original, early)

    def add_receipts(self, rows: Sequence[ReceiptRow]) -> Added:
        """Store receipts and move their expected rows on; the first time of a step wins and proof stays.

        Strangers are those about a speaker and broadcast that nothing was expected of. What they show is kept until it
        is.
        """
        # Sorted, so that two writers lock in one order and neighbours are on the same page.
        ours = sorted([r for r in rows if r.given], key=lambda r: (r.broadcast, r.speaker))
        added = Added()
        if len(ours) < len(rows):
            self._add_strangers([r for r in rows if not r.given], added)
        if self._changed(_MOVE_ON, [_moves(r) for r in ours]) != len(ours):
            unknown = self._unknown(ours)
            self._add_strangers([r for r in rows if r.given and (r.broadcast, r.speaker) in unknown], added)
            ours = [r for r in ours if (r.broadcast, r.speaker) not in unknown]
        if self._changed(_RECEIPT, [_stored(r) for r in ours]) != len(ours):
            added.reused.extend(r for r, raw in self._with_other_bytes(ours) if raw != RECEIPT_GONE)
        return added

    def heard(self, rows: Sequence[Live]) -> None:
        """Note what speakers said of themselves."""
        self.put(*rows)

    def record(self, record: Record) -> None:
        """Write a line of the log; the chainer links it soon after."""
        sql = "INSERT INTO log (at_us, kind, subject, person, body) VALUES (?, ?, ?, ?, ?)"
        said = readable(record.kind), column(record.subject), readable(record.person)
        self._run(sql, (self.now_us(), *said, record_body(record)))

    def wake_at(self, timer: WakeAt) -> None:
        """Set a timer; one with the same subject and name moves, where it may only if it comes sooner then."""
        sql = _WAKE_SOONER if timer.only_sooner else _WAKE_AT
        self._run(sql, (timer.timer, timer.subject, timer.due_us, timer.useless_after_us))

    def sleep(self, timer: Sleep) -> None:
        """Remove a timer."""
        self._run("DELETE FROM timer WHERE timer = ? AND subject = ?", (timer.timer, timer.subject))

    def take_due(self, timer: TimerRow) -> bool:
        """Remove a timer if it is still due then; whether it was."""
        sql = "DELETE FROM timer WHERE timer = ? AND subject = ? AND due_us = ?"
        return self._changed(sql, [(timer.timer, timer.subject, timer.due_us)]) == 1

    def save(self, effect: Save) -> None:
        """Save an effect; on an open lane it is wanted once more, and no later than now."""
        now_us, lasts_us = self.now_us(), RETRIES[effect.carry].expires_us
        expires_us = None if lasts_us is None else now_us + lasts_us
        self._run(_SAVE, (effect.lane, str(effect.carry), effect.subject, now_us, expires_us, now_us))
        if self._postgres and not self._told:
            self._run(f"NOTIFY {CHANNEL}", ())
            self._told = True

    def claim(self, carries: Sequence[str], owner: str, lease_us: int, limit: int) -> list[EffectRow]:
        """Lease effects of these kinds that are due and that nobody holds, longest due first."""
        if not carries:
            return []
        now_us = self.now_us()
        marks = ", ".join("?" for _ in carries)
        skip = " FOR UPDATE SKIP LOCKED" if self._postgres else ""
        sql = (
            f"SELECT {EFFECT_COLUMNS} FROM effect"
            f" WHERE carry IN ({marks}) AND not_before_us <= ? AND leased_until_us <= ?"
            f" ORDER BY not_before_us, lane LIMIT ?{skip}"
        )
        free = [EffectRow(*row) for row in self._all(sql, (*map(str, carries), now_us, now_us, limit))]
        leased_until_us = now_us + lease_us
        lease = "UPDATE effect SET leased_by = ?, leased_until_us = ? WHERE lane = ?"
        self._many(lease, [(owner, leased_until_us, effect.lane) for effect in free])
        return [replace(effect, leased_by=owner, leased_until_us=leased_until_us) for effect in free]

    def done(self, *effects: EffectRow) -> None:
        """Close claimed effects, or open one again that was wanted meanwhile. Nothing where the lease is another's."""
        mine = "WHERE lane = ? AND leased_by = ? AND leased_until_us = ?"
        leases = [(effect.lane, effect.leased_by, effect.leased_until_us) for effect in effects]
        closing = [(*lease, effect.wanted) for lease, effect in zip(leases, effects, strict=True)]
        if self._changed(f"DELETE FROM effect {mine} AND wanted = ?", closing) == len(effects):
            return
        again = "tries = 0, not_before_us = ?, wanted_us = ?, leased_by = '', leased_until_us = 0, reason = ''"
        now_us = self.now_us()
        # Those that were closed are not there to be opened.
        self._many(f"UPDATE effect SET {again} {mine}", [(now_us, now_us, *lease) for lease in leases])

    def retry(self, effect: EffectRow, not_before_us: int, reason: str, tries: int) -> None:
        """Give a claimed effect back that has failed so often in a row, to be tried again then; at once where it was
        wanted meanwhile. Nothing if the lease is another's."""
        then = "CASE WHEN wanted = ? THEN ? ELSE not_before_us END"
        later = f"tries = ?, not_before_us = {then}, reason = ?, leased_by = '', leased_until_us = 0"
        sql = f"UPDATE effect SET {later} WHERE lane = ? AND leased_by = ? AND leased_until_us = ?"
        lease = (effect.lane, effect.leased_by, effect.leased_until_us)
        self._run(sql, (tries, effect.wanted, not_before_us, readable(reason), *lease))

    def shift_effects(self, by_us: int) -> None:
        """Move every time of every open effect, because the time was put forward or back."""
        moved = "not_before_us = not_before_us + ?, wanted_us = wanted_us + ?, expires_us = expires_us + ?"
        leased = "leased_until_us = CASE WHEN leased_until_us = 0 THEN 0 ELSE leased_until_us + ? END"
        self._run(f"UPDATE effect SET {moved}, {leased}", (by_us,) * 4)

    def unchained(self, limit: int) -> list[LogRow]:
        """Log lines not linked yet, in order of seq."""
        sql = f"SELECT {LOG_COLUMNS} FROM log WHERE link IS NULL ORDER BY seq LIMIT ?"
        return [LogRow(*row) for row in self._all(sql, (limit,))]

    def link(self, rows: Sequence[LogRow]) -> None:
        """Write the links and hashes of log lines. Raises Conflict when one of them was linked already."""
        sql = "UPDATE log SET link = ?, hash = ? WHERE seq = ? AND link IS NULL"
        if self._changed(sql, [(row.link, row.hash, row.seq) for row in rows]) != len(rows):
            raise Conflict("the log was linked by another at the same time")

    def _read(self, kind: type[T], id: str, *, locked: bool) -> T | None:
        left = self._left.get((kind, column(id)))
        if left is not None:
            return cast("T", left)
        found = self._get(kind, id, locked=locked)
        if found is not None and self.one_writer and kind in VERSIONED:
            self._left[kind, column(id)] = found
        return found

    def _seen(self, kind: type, key: object, version: int | None, *, locked: bool) -> None:
        if locked:
            self._versions[kind, key] = version or 0
        else:
            # The oldest reading counts: what was decided may rest on it.
            self._versions.setdefault((kind, key), version or 0)

    def _put_versioned(self, row: object) -> None:
        """A row that is held already is written when the transaction ends, or when somebody looks for its kind: a
        storm changes one row thousands of times."""
        kind = type(row)
        key = column(getattr(row, names_of(kind)[0]))
        if self._versions.get((kind, key)):
            self._left[kind, key] = row
            self._unwritten[kind, key] = None
            return
        self._write_versioned(row)

    def check(self) -> None:
        """Before the commit, when every answer is there. Raises Conflict where another transaction was first, also
        when a new signal's key was stored meanwhile."""
        for cursor, wanted, otherwise in self._checks:
            if cursor.rowcount != wanted:
                raise otherwise
        self._checks.clear()

    def flush(self) -> None:
        """Send what is still to be written."""
        self._add_signals()
        for kind, key in sorted(self._unwritten, key=lambda each: (each[0].__name__, str(each[1]))):
            self._write_versioned(self._left[kind, key])
        self._unwritten.clear()

    def _add_signals(self) -> None:
        # Sorted, so that two transactions never wait for each other in a circle and neighbours are on one page.
        new, self._signals = sorted(self._signals, key=lambda row: str(row[0])), []
        if new:
            self._must_change(self._many(_SIGNAL, new), len(new), Conflict("a signal of the group is stored already"))

    def _run(self, sql: str, parameters: tuple[object, ...]) -> DBAPICursor:
        if self._signals and "signal" in sql:
            self._add_signals()
        return super()._run(sql, parameters)

    def _write_versioned(self, row: object) -> None:
        kind = type(row)
        values = columns_of(row)
        before = self._versions.get((kind, values[0]))
        where = f"{ENTITIES[kind].name} {values[0]}"
        if before:
            done = self._run(_UPDATE[kind], (*values[1:], before + 1, encode(row), values[0], before))
        else:
            done = self._run(_INSERT[kind], (*values, 1, encode(row)))
        unread = AssertionError(f"{where} is changed in a transaction that has not read it")
        self._must_change(done, 1, unread if before is None else Conflict(f"another transaction changed {where}"))
        self._versions[kind, values[0]] = (before or 0) + 1
        self._left[kind, values[0]] = row

    def _expect(self, broadcast: str, speakers: str, of: str, early: bool) -> None:
        """Expect the order of these speakers alone. With `early` what they have shown of it counts, whenever that was;
        what others have shown is set aside, in case the order is planned for them again."""
        self.lock(_expecting(broadcast))
        self._run(_DROP_SILENT, (broadcast,))
        # Held from here on, so that a step which another transaction notes meanwhile comes after and finds nothing.
        self._run(_SET_ASIDE.format(" FOR UPDATE" if self._postgres else ""), (broadcast,))
        self._run("DELETE FROM expected WHERE broadcast = ?", (broadcast,))
        self._run(f"INSERT INTO expected (broadcast, speaker) SELECT CAST(? AS text), {speakers}", (broadcast, of))
        if early:
            self._run(_COUNT_EARLY, (broadcast,) * 3)
            self._run(_COUNTED_EARLY, (broadcast,) * 2)

    def _unknown(self, rows: Sequence[ReceiptRow]) -> set[tuple[str, str]]:
        """Pairs (broadcast, speaker) of these rows that nothing is expected of, until the end. Another transaction may
        just have planned them anew: what is said of those is counted here."""
        pairs = {(r.broadcast, r.speaker) for r in rows}
        self.lock(*(_expecting(broadcast) for broadcast, _ in pairs))
        known = self._known(pairs)
        self._many(_MOVE_ON, [_moves(r) for r in rows if (r.broadcast, r.speaker) in known])
        return pairs - known

    def _add_strangers(self, rows: Sequence[ReceiptRow], added: Added) -> None:
        """Store them, and what those show that were not stored before. One by one: there are few of them."""
        again = [n for n, r in enumerate(rows) if self._changed(_RECEIPT, [_stored(r)]) != 1]
        other = {id(r): raw for r, raw in self._with_other_bytes([rows[n] for n in again])}
        same = {n for n in again if id(rows[n]) not in other}
        new = [r for n, r in enumerate(rows) if n not in same]
        added.strangers.extend(new)
        added.reused.extend(r for r in new if other.get(id(r), RECEIPT_GONE) != RECEIPT_GONE)
        shown = sorted((r for r in new if r.broadcast), key=lambda r: (r.broadcast, r.speaker))
        self._many(_EARLY, [_shows(r) for r in shown])

    def _with_other_bytes(self, rows: Sequence[ReceiptRow]) -> list[tuple[ReceiptRow, bytes]]:
        """Those under a number that is stored with other bytes, and these."""
        kept: dict[tuple[str, str, int], tuple[str, int, bytes]] = {}
        for start in range(0, len(rows), KEYS_A_LOOK):
            keys = [(r.speaker, r.journal, r.seq) for r in rows[start : start + KEYS_A_LOOK]]
            marks = ", ".join("(?, ?, ?)" for _ in keys)
            sql = "SELECT speaker, journal, seq, broadcast, rev, raw FROM receipt WHERE (speaker, journal, seq) IN"
            found = self._all(f"{sql} (VALUES {marks})", tuple(value for key in keys for value in key))
            kept |= {(row[0], row[1], row[2]): (row[3], row[4], bytes(row[5])) for row in found}
        said = [(r, kept[r.speaker, r.journal, r.seq]) for r in rows]
        return [(r, before[2]) for r, before in said if before != (r.broadcast, r.rev, r.raw)]

    def _known(self, pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the (broadcast, speaker) pairs that are expected."""
        speakers: dict[str, list[str]] = defaultdict(list)
        for broadcast, speaker in sorted(pairs):
            speakers[broadcast].append(speaker)
        known: set[tuple[str, str]] = set()
        for broadcast, named in speakers.items():
            for start in range(0, len(named), PAIRS_MAX):
                some = named[start : start + PAIRS_MAX]
                marks = ", ".join("?" for _ in some)
                sql = f"SELECT speaker FROM expected WHERE broadcast = ? AND speaker IN ({marks})"
                known.update((broadcast, row[0]) for row in self._all(sql, (broadcast, *some)))
        return known

    def _must_change(self, cursor: DBAPICursor, rows: int, otherwise: Exception) -> None:
        """So many rows must have changed; looked at when the answer is there, at once in SQLite."""
        self._checks.append((cursor, rows, otherwise))
        if self._pipeline is None:
            self.check()

    def _changed(self, sql: str, parameters: Sequence[tuple[object, ...]]) -> int:
        """Run once for each tuple; how many rows that changed in all."""
        if not parameters:
            return 0
        cursor = self._many(sql, parameters)
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def _many(self, sql: str, parameters: Sequence[tuple[object, ...]]) -> DBAPICursor:
        cursor = self._driver.cursor()
        if parameters:
            cursor.executemany(self._sql(sql), parameters)
        return cursor


def _moves(r: ReceiptRow) -> tuple[object, ...]:
    return (
        r.accepted_us, r.ready_us, r.playing_us, r.finished_us, r.finished_us, r.refused, r.finished_us, r.failed,
        r.proved, r.doubted == Doubt.AFTER_STOP, r.doubted, r.broadcast, r.speaker,
    )  # fmt: skip


def _shows(r: ReceiptRow) -> tuple[object, ...]:
    refused, failed = (r.refused, r.failed) if r.finished_us is None else ("", "")
    return (
        r.accepted_us, r.ready_us, r.playing_us, r.finished_us, refused, failed, r.proved, r.doubted, r.broadcast,
        r.speaker,
    )  # fmt: skip


def _stored(r: ReceiptRow) -> tuple[object, ...]:
    return (r.speaker, r.journal, r.seq, r.broadcast, r.rev, r.received_us, r.raw)


def _expecting(broadcast: str) -> str:
    """The name that whoever changes what is expected of an order holds."""
    return f"expected/{broadcast}"


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _insert(kind: type) -> str:
    names = [c.name for c in ENTITIES[kind].c]
    marks = ", ".join("?" for _ in names)
    return f"INSERT INTO {ENTITIES[kind].name} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT DO NOTHING"


def _update(kind: type) -> str:
    key, *names = names_of(kind)
    changed = ", ".join(f"{name} = ?" for name in (*names, "version", "body"))
    return f"UPDATE {ENTITIES[kind].name} SET {changed} WHERE {key} = ? AND version = ?"


def _upsert(kind: type) -> str:
    key, *names = names_of(kind)
    marks = ", ".join("?" for _ in (key, *names, "body"))
    changed = ", ".join(f"{name} = excluded.{name}" for name in (*names, "body"))
    return (
        f"INSERT INTO {ENTITIES[kind].name} ({', '.join((key, *names, 'body'))}) VALUES ({marks})"
        f" ON CONFLICT ({key}) DO UPDATE SET {changed}"
    )


_INSERT = {kind: _insert(kind) for kind in ENTITIES}
_UPDATE = {kind: _update(kind) for kind in VERSIONED}
_UPSERT = {kind: _upsert(kind) for kind in ENTITIES}
