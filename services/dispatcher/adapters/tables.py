"""The tables, the same for SQLite and PostgreSQL. Only what is searched for has a column; the rest is in `body`.

`deploy/migrations` brings a database to this shape; nothing here creates or changes one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text, false, text

from ..domain.broadcasts import Broadcast, Release
from ..domain.incidents import Incident
from ..domain.panels import PanelRequest
from ..domain.places import Area, Office, Speaker, Venue
from ..domain.planning import Plan
from ..domain.polling import Poll
from ..domain.rhythm import Heard
from ..domain.risk import History
from ..domain.sightings import Sighting
from ..domain.signals import Feed, Panel, Sensor
from ..domain.signing_keys import KeyState
from ..domain.silences import Silence, SilencedWord
from ..domain.verification import Task
from ..engine.rows import (
    Asset,
    BrokerAccount,
    BrokerCopy,
    CityChange,
    CitySettings,
    ClockState,
    Footprint,
    Lease,
    Live,
    Login,
    OnLadder,
    PanelLive,
    Person,
    Stranger,
    Stream,
    TakenAccount,
    Withdrawal,
    Wording,
)

METADATA = MetaData()

# Compared byte by byte in both databases, so that an order of ids is the same order everywhere.
TEXT = Text().with_variant(Text(collation="C"), "postgresql")
SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, TEXT, nullable=null)


def _int(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


def _bool(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _entity(name: str, *columns: Column[Any], key: str = "id", versioned: bool = False) -> Table:
    """A table of one kind of dataclass: its key, the fields that `find` may compare, and all of it as JSON."""
    version = [Column("version", BigInteger, nullable=False)] if versioned else []
    body = Column("body", Text, nullable=False)
    return Table(name, METADATA, Column(key, TEXT, primary_key=True), *columns, *version, body)


ENTITIES: dict[type, Table] = {
    Area: _entity("area", _text("parent", null=True), _text("kind"), key="code"),
    Venue: _entity("venue", _text("area"), _text("kind")),
    Office: _entity("office", _text("area"), _text("kind")),
    Speaker: _entity(
        "speaker", _text("venue"), _text("area"), _bool("enrolled"), _int("out_of_service_until_us", null=True)
    ),
    Feed: _entity("feed", _text("department"), _text("format"), _text("area"), _bool("enabled")),
    Panel: _entity("panel", _text("address"), _text("venue"), _bool("enabled")),
    Sensor: _entity("sensor", _text("gateway"), _text("device"), _text("venue"), _bool("enabled")),
    Poll: _entity("poll", versioned=True),
    Heard: _entity("heard", _text("incident")),
    PanelRequest: _entity(
        "panel_request", _text("panel"), _text("kind"), _text("state"), _int("asked_us"), versioned=True
    ),
    PanelLive: _entity("panel_live", _int("heard_us")),
    Stranger: _entity("stranger", _int("last_us")),
    Incident: _entity(
        "incident",
        _text("use"),
        _text("hazard"),
        _text("state"),
        _text("venue", null=True),
        _text("area"),
        _int("opened_us"),
        Column("inhibited_by", TEXT, nullable=False, server_default=""),
        versioned=True,
    ),
    Footprint: _entity("footprint", _text("incident"), _text("use"), _text("hazard"), _text("cell"), _int("level")),
    Withdrawal: _entity("withdrawal", _text("identity")),
    History: _entity("history"),
    Silence: _entity("silence", _text("use"), _bool("active"), _int("until_us"), versioned=True),
    SilencedWord: _entity("silenced_word", _text("use"), _text("hazard"), _text("cell")),
    Task: _entity(
        "task",
        _text("kind"),
        _text("use"),
        _text("incident"),
        _text("broadcast"),
        _text("venue", null=True),
        _text("area"),
        _text("office"),
        _text("state"),
        _int("asked_us"),
        versioned=True,
    ),
    OnLadder: _entity("on_ladder", _text("office"), _text("task"), _text("state")),
    Broadcast: _entity(
        "broadcast",
        _text("incident"),
        _text("use"),
        _text("phase"),
        _text("original"),
        _text("state"),
        _text("stream"),
        _text("playbook"),
        _text("plan"),
        versioned=True,
    ),
    Release: _entity("release", _text("broadcast"), _text("act"), _text("person"), _int("at_us")),
    Plan: _entity("plan", _text("playbook"), versioned=True),
    CitySettings: _entity("city_settings"),
    CityChange: _entity("city_change"),
    Person: _entity("person", _text("name"), _text("office"), _bool("enabled")),
    Login: _entity("login", _text("person"), _int("expires_us")),
    BrokerAccount: _entity("broker_account", _bool("enabled")),
    Stream: _entity("stream", _text("area"), _text("use"), versioned=True),
    KeyState: _entity("key_state", _text("use")),
    BrokerCopy: _entity("broker_copy"),
    Asset: _entity("asset", _text("lang"), _text("sha256")),
    Wording: _entity("wording", _text("lang")),
    ClockState: _entity("clock"),
    Lease: _entity("lease", _text("holder"), _int("until_us")),
    Live: _entity(
        "live",
        _bool("online"),
        _int("heard_us"),
        Column("refuses", Boolean, nullable=False, server_default=false()),
    ),
    TakenAccount: _entity("taken_account", _int("last_us")),
    Sighting: _entity("sighting", _text("incident"), _int("last_us")),
}
"""The table of every kind that `get`, `find`, `put` and `delete` know."""

for _kind, _columns in (
    (Venue, ("area",)),
    (Office, ("area",)),
    (Speaker, ("venue",)),
    (Speaker, ("area",)),
    (Panel, ("address",)),
    (Sensor, ("gateway", "device")),
    (Heard, ("incident",)),
    (PanelRequest, ("panel", "asked_us")),
    (PanelRequest, ("state",)),
    (Stranger, ("last_us",)),
    (Incident, ("state", "hazard")),
    (Incident, ("opened_us",)),
    (Incident, ("inhibited_by",)),
    (Footprint, ("cell", "hazard", "use", "level")),
    (Footprint, ("incident",)),
    (Withdrawal, ("identity",)),
    (Silence, ("active",)),
    (SilencedWord, ("cell",)),
    (Task, ("incident",)),
    (Task, ("broadcast",)),
    (Task, ("state", "office")),
    (OnLadder, ("office", "task")),
    (Broadcast, ("incident",)),
    (Broadcast, ("original",)),
    (Broadcast, ("stream", "state")),
    (Broadcast, ("state",)),
    (Stream, ("area",)),
    (Release, ("broadcast",)),
    (Person, ("name",)),
    (Live, ("refuses",)),
    (Sighting, ("incident",)),
    (Login, ("person",)),
    (Login, ("expires_us",)),
):
    _table = ENTITIES[_kind]
    Index(f"{_table.name}_by_{'_'.join(_columns)}", *(_table.c[name] for name in _columns))

SIGNAL = Table(
    "signal",
    METADATA,
    Column("key", TEXT, primary_key=True),
    _text("incident"),
    _int("received_us"),
    Column("identity", TEXT, nullable=False, server_default=""),
    Column("witness", TEXT, nullable=False, server_default=""),
    Column("withdrawn", Boolean, nullable=False, server_default=false()),
    Column("body", Text, nullable=False),
    Index("signal_by_incident", "incident", "received_us"),
    Index("signal_by_received_us", "received_us", "key"),
    Index("signal_by_identity", "identity"),
    Index("signal_by_witness", "incident", "witness"),
)
UNREAD = Table(
    "unread",
    METADATA,
    Column("seq", SERIAL, primary_key=True, autoincrement=True),
    _text("wire"),
    _text("source"),
    _text("reason"),
    Column("raw", LargeBinary, nullable=False),
    _int("at_us"),
    sqlite_autoincrement=True,
)


def _what_speakers_show(name: str) -> Table:
    return Table(
        name,
        METADATA,
        Column("broadcast", TEXT, primary_key=True),
        Column("speaker", TEXT, primary_key=True),
        _int("accepted_us", null=True),
        _int("ready_us", null=True),
        _int("playing_us", null=True),
        _int("finished_us", null=True),
        Column("refused", TEXT, nullable=False, server_default=""),
        Column("failed", TEXT, nullable=False, server_default=""),
        Column("proved", Boolean, nullable=False, server_default=false()),
        Column("doubted", TEXT, nullable=False, server_default=""),
        sqlite_with_rowid=False,
    )


EXPECTED = _what_speakers_show("expected")
EARLY = _what_speakers_show("early")
"""What speakers showed of orders that nothing was expected of; a pair is here or in `expected`, never in both."""
RECEIPT = Table(
    "receipt",
    METADATA,
    Column("speaker", TEXT, primary_key=True),
    Column("journal", TEXT, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _text("broadcast"),
    _int("rev"),
    _int("received_us"),
    Column("raw", LargeBinary, nullable=False),
)
TIMER = Table(
    "timer",
    METADATA,
    Column("timer", TEXT, primary_key=True),
    Column("subject", TEXT, primary_key=True),
    _int("due_us"),
    _int("useless_after_us"),
    Index("timer_by_due_us", "due_us"),
)
EFFECT = Table(
    "effect",
    METADATA,
    Column("lane", TEXT, primary_key=True),
    _text("carry"),
    _text("subject"),
    _int("wanted"),
    _int("tries"),
    _int("not_before_us"),
    _int("expires_us", null=True),
    _text("leased_by"),
    _int("leased_until_us"),
    _text("reason"),
    Column("wanted_us", BigInteger, nullable=False, server_default="0"),
    Index("effect_by_not_before_us", "not_before_us"),
)
LOG = Table(
    "log",
    METADATA,
    Column("seq", SERIAL, primary_key=True, autoincrement=True),
    _int("at_us"),
    _text("kind"),
    _text("subject"),
    _text("person"),
    Column("body", Text, nullable=False),
    _int("link", null=True),
    Column("hash", TEXT, nullable=False, server_default=""),
    Index("log_by_subject", "subject", "seq"),
    Index("log_by_link", "link", unique=True),
    sqlite_autoincrement=True,
)
Index("log_unchained", LOG.c.seq, sqlite_where=text("link IS NULL"), postgresql_where=text("link IS NULL"))
