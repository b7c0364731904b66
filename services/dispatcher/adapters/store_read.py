"""What may be read from the SQL store, inside a transaction or beside it. SQL here runs on SQLite and PostgreSQL alike.

Statements are written with `?` and go to the driver past SQLAlchemy, which would take longer over one of them than
SQLite does; a name in them is never a stranger's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from devices.protocols.asking import RECEIPTS_KEPT_MAX

from ..domain.effects import Timer
from ..domain.planning import Coverage
from ..domain.signals import Signal, Unread
from ..engine.clock import APART_US, SPEAKER_SILENT_US, ClockReading, GuardedClock
from ..engine.clock import ROW as CLOCK_ROW
from ..engine.ports import Page
from ..engine.rows import ClockState, EffectRow, Expected, LogRow, Moment, StoredSignal, TimerRow
from .rows import check_fields, column, decode, decode_entity, names_of, order_of
from .tables import EFFECT, ENTITIES, EXPECTED, LOG, TIMER, UNREAD

T = TypeVar("T")
FIRST_PAGE = Page()

_EXPECTED = ", ".join(EXPECTED.c.keys())
EFFECT_COLUMNS = ", ".join(EFFECT.c.keys())
_TIMER = ", ".join(TIMER.c.keys())
LOG_COLUMNS = ", ".join(LOG.c.keys())
_UNREAD = ", ".join(name for name in UNREAD.c.keys() if name != "seq")

_CLOCK = f"SELECT body FROM clock WHERE id = '{CLOCK_ROW}'"
_SERVER_CLOCK = f"SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint), ({_CLOCK})"
_NEWEST_US = "SELECT at_us FROM log ORDER BY seq DESC LIMIT 1"
_COVERAGE = """
SELECT count(*),
  COALESCE(SUM(CASE WHEN l.online AND l.heard_us BETWEEN ? AND ? THEN 1 ELSE 0 END), 0),
  COALESCE(SUM(CASE WHEN e.playing_us IS NOT NULL OR e.finished_us IS NOT NULL THEN 1 ELSE 0 END), 0),
  COALESCE(SUM(CASE WHEN e.proved THEN 1 ELSE 0 END), 0),
  COALESCE(SUM(CASE WHEN e.finished_us IS NOT NULL THEN 1 ELSE 0 END), 0),
  COALESCE(SUM(CASE WHEN e.refused <> '' THEN 1 ELSE 0 END), 0),
  COALESCE(SUM(CASE WHEN e.failed <> '' THEN 1 ELSE 0 END), 0),
  COALESCE(SUM(CASE WHEN s.out_of_service_until_us > ? THEN 1 ELSE 0 END), 0),
  COALESCE(SUM(CASE WHEN e.doubted = 'after_stop' THEN 1 ELSE 0 END), 0)
FROM expected e LEFT JOIN live l ON l.id = e.speaker LEFT JOIN speaker s ON s.id = e.speaker
WHERE e.broadcast = ?
"""


_LONGEST_WAIT = """
SELECT CAST(EXTRACT(EPOCH FROM max(clock_timestamp() - query_start)) * 1000000 AS bigint) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND wait_event_type = 'Lock'
"""
# A name that is the key stands only there: an index of what is unlike it is small, and quick in a storm.
_NAMED = """
SELECT body, incident, withdrawn FROM (
  SELECT body, incident, withdrawn, received_us, key FROM signal WHERE identity = ? AND identity <> ''
  UNION ALL
  SELECT body, incident, withdrawn, received_us, key FROM signal WHERE key = ? AND identity = ''
) AS named ORDER BY received_us DESC, key LIMIT ?
"""


# Asking SQLAlchemy's tables costs as much as SQLite's answer.
VERSIONED = frozenset(kind for kind, table in ENTITIES.items() if "version" in table.c)
"""The kinds whose rows are compared before they are set."""
_SELECTED = {kind: f"{names_of(kind)[0]}, {'version' if kind in VERSIONED else '0'}, body" for kind in ENTITIES}
_BY_KEY = {
    kind: f"SELECT {_SELECTED[kind]} FROM {table.name} WHERE {names_of(kind)[0]} = ?"
    for kind, table in ENTITIES.items()
}


class SqlRead:
    """One snapshot of the store. The time is taken once, at its first use: one transaction, one moment."""

    def __init__(self, connection: Connection, clock: GuardedClock) -> None:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        self._driver = driver
        self._clock = clock
        self._moment: Moment | None = None
        self._postgres = connection.dialect.name == "postgresql"

    def now_us(self) -> int:
        """Trusted time of this transaction in µs UTC. It rests on the server's clock on PostgreSQL, else on the clock
        given to the store."""
        return self.moment().now_us

    def moment(self) -> Moment:
        """The one moment of this transaction, and what is known of the clocks at it."""
        if self._moment is None:
            from_us = self._clock.mono_us()
            row = self._first(_SERVER_CLOCK if self._postgres else _CLOCK, ())
            body = row[-1] if row is not None else None
            host_us = self._clock.host_us()
            raw_us = int(row[0]) if self._postgres else host_us
            seen = ClockReading(raw_us, host_us, from_us, self._clock.mono_us())
            kept = None if body is None else decode(ClockState, body)
            self._moment = self._clock.look(seen, kept, lambda: self._newest_us(kept))
        return self._moment

    def _newest_us(self, kept: ClockState | None) -> int:
        """When the newest line of the log was written; 0 where that is known to lie ahead of the time."""
        row = self._first(_NEWEST_US, ())
        newest_us = 0 if row is None else int(row[0])
        return newest_us if kept is None or newest_us > kept.leftovers_until_us else 0

    def get(self, kind: type[T], id: str) -> T | None:
        """The row under this key."""
        return self._get(kind, id, locked=False)

    def find(self, kind: type[T], page: Page = FIRST_PAGE, /, **fields: object) -> list[T]:
        """Rows whose fields are equal; a tuple means any of these. Only fields with a column may be named."""
        return self.asked(kind, page, **fields)()

    def asked(self, kind: type[T], page: Page = FIRST_PAGE, /, **fields: object) -> Callable[[], list[T]]:
        """The same, read when it is called."""
        check_fields(kind, fields)
        conditions, parameters = _where(fields)
        way = "DESC" if page.order.startswith("-") else "ASC"
        key, by = names_of(kind)[0], order_of(kind, page)
        order = f"{by} {way}" + (f", {key} {way}" if by != key else "")
        sql = f"SELECT {_SELECTED[kind]} FROM {ENTITIES[kind].name}{conditions} ORDER BY {order} LIMIT ? OFFSET ?"
        cursor = self._run(sql, (*parameters, page.limit, page.skip))
        wanted = fields.get(key, ())
        # Of a row that was asked for by its key it is known as well that it is not there.
        named = [column(name) for name in (wanted if isinstance(wanted, tuple) else (wanted,))]
        # SQLite would read on while what it reads is changed.
        early = None if self._postgres else cursor.fetchall()

        def answer() -> list[T]:
            found = cursor.fetchall() if early is None else early
            there = {row[0]: row[1] for row in found}
            for name in {**dict.fromkeys(named), **there}:
                self._seen(kind, name, there.get(name), locked=False)
            return [decode_entity(kind, row[0], row[2]) for row in found]

        return answer

    def signal_incident(self, key: str) -> str | None:
        """The incident a signal was joined to, "" for none; None when no such signal was stored."""
        row = self._first("SELECT incident FROM signal WHERE key = ?", (column(key),))
        return None if row is None else cast("str", row[0])

    def stored_keys(self, keys: Sequence[str]) -> set[str]:
        """Those of at most a few hundred keys under which a signal is stored, or may be once another of them is: the
        column holds both as one."""
        named: dict[str, list[str]] = {}
        for key in dict.fromkeys(keys):
            named.setdefault(cast("str", column(key)), []).append(key)
        marks = ", ".join("?" for _ in named)
        found = self._all(f"SELECT key FROM signal WHERE key IN ({marks})", tuple(named)) if named else ()
        stored = {row[0] for row in found}
        return {key for held, same in named.items() if len(same) > 1 or held in stored for key in same}

    def signal(self, key: str) -> Signal | None:
        """The signal that was stored under this key."""
        row = self._first("SELECT body FROM signal WHERE key = ?", (column(key),))
        return None if row is None else decode(Signal, row[0])

    def signals_of(self, incident: str, limit: int = 100) -> list[Signal]:
        """The signals of an incident, oldest first."""
        sql = "SELECT body FROM signal WHERE incident = ? ORDER BY received_us, key LIMIT ?"
        return [decode(Signal, row[0]) for row in self._all(sql, (incident, limit))]

    def signals_named(self, identity: str, limit: int = 32) -> list[StoredSignal]:
        """The signals that go by this name whatever time their keys give, newest first."""
        name = column(identity)
        found = self._all(_NAMED, (name, name, limit))
        return [StoredSignal(decode(Signal, body), incident, bool(gone)) for body, incident, gone in found]

    def signals_standing(self, incident: str, witness: str | None, limit: int = 64) -> list[Signal]:
        """Signals of an incident that nothing cancelled or updated since, newest first; of one witness, or of all."""
        of_one, parameters = ("", ()) if witness is None else (" AND witness = ?", (column(witness),))
        sql = (
            f"SELECT body FROM signal WHERE incident = ?{of_one} AND NOT withdrawn"
            " ORDER BY received_us DESC, key LIMIT ?"
        )
        return [decode(Signal, row[0]) for row in self._all(sql, (incident, *parameters, limit))]

    def signals_since(self, received_us: int, after_key: str, limit: int = 1_000) -> list[Signal]:
        """Signals in the order they came, behind a time and, at that very time, behind a key."""
        sql = (
            "SELECT body FROM signal WHERE received_us > ? OR (received_us = ? AND key > ?)"
            " ORDER BY received_us, key LIMIT ?"
        )
        found = self._all(sql, (received_us, received_us, column(after_key), limit))
        return [decode(Signal, row[0]) for row in found]

    def expected(self, broadcast: str, *, silent_only: bool = False) -> list[Expected]:
        """The expected set in order of speaker; a silent one has shown neither that it plays nor that it finished."""
        silent = " AND playing_us IS NULL AND finished_us IS NULL" if silent_only else ""
        sql = f"SELECT {_EXPECTED} FROM expected WHERE broadcast = ?{silent} ORDER BY speaker"
        return [_expected(*row) for row in self._all(sql, (broadcast,))]

    def coverage(self, broadcast: str) -> Coverage:
        """The counts of an order, in one pass over its expected set."""
        now_us = self.now_us()
        row = self._first(_COVERAGE, (now_us - SPEAKER_SILENT_US, now_us + APART_US, now_us, broadcast))
        assert row is not None
        return Coverage(*(int(count) for count in row))

    def longest_wait_us(self) -> int:
        """How long a transaction of this account has been waiting for a lock, by PostgreSQL's own list; SQLite has
        none."""
        if not self._postgres:
            return 0
        waited = self._first(_LONGEST_WAIT, ())
        return max(0, int(waited[0] or 0))

    def count_saying(self, broadcast: str) -> int:
        """How many speakers have said something of an order that nobody expected of them."""
        return int(self._first("SELECT count(*) FROM early WHERE broadcast = ?", (broadcast,))[0])

    def count_holding(self, stream: str, version: int) -> int:
        """How many speakers said last that they hold this version of a stream, or a newer one."""
        held, parameters = self._held(stream)
        return int(self._first(f"SELECT count(*) FROM live WHERE {held} >= ?", (*parameters, version))[0])

    def behind(
        self, stream: str, version: int, among: Sequence[str], after: str = "", limit: int = 1_000
    ) -> list[tuple[str, int]]:
        """Of these speakers, at most a few thousand, those behind `after` that said last that they hold a version older
        than this; by id, with the version that they hold, 0 for none."""
        if not among:
            return []
        held, parameters = self._held(stream)
        marks = ", ".join("?" for _ in among)
        # Kept apart, so that the version of a row is read out of its body once.
        sql = (
            f"WITH said AS MATERIALIZED (SELECT id, {held} AS held FROM live WHERE id IN ({marks}) AND id > ?)"
            " SELECT id, held FROM said WHERE held < ? ORDER BY id LIMIT ?"
        )
        found = self._all(sql, (*parameters, *map(column, among), column(after), version, limit))
        return [(row[0], int(row[1])) for row in found]

    def _held(self, stream: str) -> tuple[str, tuple[object, ...]]:
        """SQL for the version of a stream in a live row, and its parameters."""
        if self._postgres:
            return "COALESCE(CAST(CAST(body AS json) #>> ARRAY['streams', CAST(? AS text)] AS bigint), 0)", (stream,)
        return "COALESCE(CAST(json_extract(body, ?) AS INTEGER), 0)", (f'$.streams."{stream}"',)

    def missing_receipts(self, speaker: str, journal: str, seq: int, limit: int) -> list[int]:
        """Numbers up to `seq` of receipts not stored, as far back as a speaker keeps them, ascending."""
        first = max(1, seq - RECEIPTS_KEPT_MAX + 1)
        sql = "SELECT seq FROM receipt WHERE speaker = ? AND journal = ? AND seq BETWEEN ? AND ?"
        held = {row[0] for row in self._all(sql, (speaker, journal, first, seq))}
        return [number for number in range(first, seq + 1) if number not in held][:limit]

    def log_of(self, subject: str | None, after_seq: int = 0, limit: int = 1_000) -> list[LogRow]:
        """Log lines of one subject or of all, in order of seq. Who follows the log goes by `chain`: on PostgreSQL a
        transaction that commits later may have taken a smaller seq."""
        of_subject, parameters = ("", ()) if subject is None else (" AND subject = ?", (column(subject),))
        sql = f"SELECT {LOG_COLUMNS} FROM log WHERE seq > ?{of_subject} ORDER BY seq LIMIT ?"
        return [LogRow(*row) for row in self._all(sql, (after_seq, *parameters, limit))]

    def chain(self, after_link: int, limit: int) -> list[LogRow]:
        """Linked log lines behind a link, in order of link."""
        sql = f"SELECT {LOG_COLUMNS} FROM log WHERE link > ? ORDER BY link LIMIT ?"
        return [LogRow(*row) for row in self._all(sql, (after_link, limit))]

    def chain_head(self) -> tuple[int, str]:
        """The highest link and its hash; (0, "") before the first."""
        row = self._first("SELECT link, hash FROM log WHERE link IS NOT NULL ORDER BY link DESC LIMIT 1", ())
        return (0, "") if row is None else (row[0], row[1])

    def unread_count(self) -> int:
        """How much could not be understood so far."""
        return int(self._first("SELECT count(*) FROM unread", ())[0])

    def unread(self, limit: int = 100, skip: int = 0) -> list[Unread]:
        """What could not be understood, newest first, without the newest `skip`."""
        found = self._all(f"SELECT {_UNREAD} FROM unread ORDER BY seq DESC LIMIT ? OFFSET ?", (limit, skip))
        return [Unread(wire, source, reason, bytes(raw), at_us) for wire, source, reason, raw, at_us in found]

    def open_effects(self) -> list[EffectRow]:
        """Every effect not done yet, due first."""
        sql = f"SELECT {EFFECT_COLUMNS} FROM effect ORDER BY not_before_us, lane"
        return [EffectRow(*row) for row in self._all(sql, ())]

    def claimable(self, carries: Sequence[str]) -> bool:
        """Whether `claim` would find anything now."""
        marks = ", ".join("?" for _ in carries) or "NULL"
        sql = f"SELECT 1 FROM effect WHERE carry IN ({marks}) AND not_before_us <= ? AND leased_until_us <= ? LIMIT 1"
        return self._first(sql, (*map(str, carries), self.now_us(), self.now_us())) is not None

    def due_timers(self, now_us: int, limit: int) -> list[TimerRow]:
        """Timers due by `now_us`, longest due first."""
        sql = f"SELECT {_TIMER} FROM timer WHERE due_us <= ? ORDER BY due_us, timer, subject LIMIT ?"
        return [TimerRow(_timer(name), *row) for name, *row in self._all(sql, (now_us, limit))]

    def _get(self, kind: type[T], id: str, *, locked: bool) -> T | None:
        key = column(id)
        lock = " FOR UPDATE" if locked and self._postgres else ""
        row = self._first(_BY_KEY[kind] + lock, (key,))
        self._seen(kind, key, None if row is None else row[1], locked=locked)
        return None if row is None else decode_entity(kind, row[0], row[2])

    def _seen(self, kind: type, key: object, version: int | None, *, locked: bool) -> None:
        """A row was read; a transaction remembers at which version."""

    def _all(self, sql: str, parameters: tuple[object, ...]) -> Sequence[Any]:
        return self._run(sql, parameters).fetchall()

    def _first(self, sql: str, parameters: tuple[object, ...]) -> Any:
        return self._run(sql, parameters).fetchone()

    def _run(self, sql: str, parameters: tuple[object, ...]) -> DBAPICursor:
        cursor = self._driver.cursor()
        cursor.execute(self._sql(sql), parameters)
        return cursor

    def _sql(self, sql: str) -> str:
        return sql.replace("?", "%s") if self._postgres else sql


def _expected(broadcast: str, speaker: str, *shown: Any) -> Expected:
    *before, proved, doubted = shown
    # SQLite says 0 or 1.
    values: list[Any] = [*before, bool(proved), doubted]
    return Expected(broadcast, speaker, *values)


def _where(fields: dict[str, object]) -> tuple[str, list[object]]:
    conditions: list[str] = []
    parameters: list[object] = []
    for name, wanted in fields.items():
        if wanted is None:
            conditions.append(f"{name} IS NULL")
        elif isinstance(wanted, tuple):
            marks = ", ".join("?" for _ in wanted)
            # An empty list of values fits nothing.
            conditions.append(f"{name} IN ({marks})" if wanted else "1 = 0")
            parameters.extend(column(value) for value in wanted)
        else:
            conditions.append(f"{name} = ?")
            parameters.append(column(wanted))
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), parameters


def _timer(name: str) -> Timer:
    """A newer process may have written one that this one does not know: it is handed on, and broken where it is due."""
    try:
        return Timer(name)
    except ValueError:
        return cast("Timer", name)
