"""The first tables.

A change of these comes in two steps, so that old and new code run side by side: first add, later take away.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _city()
    _people_and_sources()
    _events()
    _orders()
    _receipts()
    _engine()


def downgrade() -> None:
    raise SystemExit("There is nothing before the first tables; restore a backup instead.")


def _city() -> None:
    _entity("area", _text("parent", nullable=True), _text("kind"), key="code")
    _entity("venue", _text("area"), _text("kind"))
    _index("venue", "area")
    _entity("office", _text("area"), _text("kind"))
    _index("office", "area")
    _entity("speaker", _text("venue"), _text("area"), _bool("enrolled"), _int("out_of_service_until_us", nullable=True))
    _index("speaker", "venue")
    _index("speaker", "area")
    _entity("live", _bool("online"), _int("heard_us"))
    _entity("city_settings")


def _people_and_sources() -> None:
    _entity("person", _text("name"), _text("office"), _bool("enabled"))
    _index("person", "name")
    _entity("login", _text("person"), _int("expires_us"))
    _index("login", "person")
    _index("login", "expires_us")
    _entity("broker_account", _bool("enabled"))
    _entity("feed", _text("department"), _text("format"), _text("area"), _bool("enabled"))
    _entity("panel", _text("address"), _text("venue"), _bool("enabled"))
    _index("panel", "address")


def _events() -> None:
    op.create_table("signal", _text("key", primary_key=True), _text("incident"), _int("received_us"), _body())
    op.create_index("signal_by_incident", "signal", ["incident", "received_us"])
    op.create_table(
        "unread",
        sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
        _text("wire"),
        _text("source"),
        _text("reason"),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        _int("at_us"),
        sqlite_autoincrement=True,
    )
    _entity(
        "incident",
        *(_text(name) for name in ("use", "hazard", "state")),
        _text("venue", nullable=True),
        _text("area"),
        _int("opened_us"),
        _int("version"),
    )
    _index("incident", "state", "hazard")
    _index("incident", "opened_us")
    _entity(
        "task",
        *(_text(name) for name in ("kind", "use", "incident", "broadcast")),
        _text("venue", nullable=True),
        *(_text(name) for name in ("area", "office", "state")),
        _int("asked_us"),
        _int("version"),
    )
    _index("task", "incident")
    _index("task", "broadcast")
    _index("task", "state", "office")


def _orders() -> None:
    names = ("incident", "use", "phase", "original", "state", "stream", "playbook", "plan")
    _entity("broadcast", *(_text(name) for name in names), _int("version"))
    _index("broadcast", "incident")
    _index("broadcast", "original")
    _index("broadcast", "stream", "state")
    _index("broadcast", "state")
    _entity("release", _text("broadcast"), _text("act"), _text("person"), _int("at_us"))
    _index("release", "broadcast")
    _entity("plan", _text("playbook"), _int("city_version"), _int("version"))
    _entity("stream", _text("area"), _text("use"), _int("version"))
    _entity("asset", _text("lang"), _text("sha256"))
    _entity("wording", _text("lang"))


def _receipts() -> None:
    op.create_table(
        "expected",
        _text("broadcast", primary_key=True),
        _text("speaker", primary_key=True),
        *(_int(name, nullable=True) for name in ("accepted_us", "ready_us", "playing_us", "finished_us")),
        _text("refused", server_default=""),
        _text("failed", server_default=""),
        _bool("proved", server_default=sa.false()),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "receipt",
        _text("speaker", primary_key=True),
        _text("journal", primary_key=True),
        _int("seq", primary_key=True, autoincrement=False),
        _text("broadcast"),
        _int("rev"),
        _int("received_us"),
        sa.Column("raw", sa.LargeBinary, nullable=False),
    )


def _engine() -> None:
    op.create_table(
        "timer",
        *(_text(name, primary_key=True) for name in ("subject_kind", "subject", "name")),
        _int("due_us"),
        _int("useless_after_us"),
    )
    _index("timer", "due_us")
    op.create_table(
        "effect",
        _text("lane", primary_key=True),
        _text("carry"),
        _text("subject"),
        *(_int(name) for name in ("wanted", "tries", "not_before_us")),
        _int("expires_us", nullable=True),
        _text("leased_by"),
        _int("leased_until_us"),
        _text("reason"),
    )
    _index("effect", "not_before_us")
    _entity("lease", _text("holder"), _int("until_us"))
    op.create_table(
        "log",
        sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
        _int("at_us"),
        *(_text(name) for name in ("kind", "subject", "person")),
        _body(),
        _int("link", nullable=True),
        _text("hash", server_default=""),
        sqlite_autoincrement=True,
    )
    op.create_index("log_by_subject", "log", ["subject", "seq"])
    op.create_index("log_by_link", "log", ["link"], unique=True)
    unlinked = sa.text("link IS NULL")
    op.create_index("log_unchained", "log", ["seq"], sqlite_where=unlinked, postgresql_where=unlinked)


def _entity(name: str, *columns: sa.Column[Any], key: str = "id") -> None:
    op.create_table(name, _text(key, primary_key=True), *columns, _body())


def _index(table: str, *columns: str) -> None:
    op.create_index(f"{table}_by_{'_'.join(columns)}", table, list(columns))


def _body() -> sa.Column[Any]:
    return sa.Column("body", sa.Text, nullable=False)


def _text(name: str, *, nullable: bool = False, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, TEXT, nullable=nullable, **more)


def _int(name: str, *, nullable: bool = False, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, **more)


def _bool(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False, **more)
