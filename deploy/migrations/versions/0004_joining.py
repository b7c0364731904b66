"""Where incidents are found, what was taken back, how reliable reporters are, and what people silenced.

Rows of incidents that are open now are listed by the cell they were opened in, and their signals by name.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
CHUNK = 500
CHARS_MAX = 256
CAP_KEY = re.compile(r"(cap/.+),-?\d+(?:#[^,#]*)?", re.DOTALL)


def upgrade() -> None:
    _entity("footprint", *(_text(name) for name in ("incident", "use", "hazard", "cell")), _int("level"))
    _index("footprint", "cell", "hazard", "use", "level")
    _index("footprint", "incident")
    _entity("withdrawal", _text("identity"))
    _index("withdrawal", "identity")
    _entity("history")
    active = sa.Column("active", sa.Boolean, nullable=False)
    _entity("silence", _text("use"), active, _int("until_us"), _int("version"))
    _index("silence", "active")
    _entity("silenced_word", _text("use"), _text("hazard"), _text("cell"))
    _index("silenced_word", "cell")
    op.add_column("incident", _text("inhibited_by", server_default=""))
    _index("incident", "inhibited_by")
    op.add_column("signal", _text("identity", server_default=""))
    op.add_column("signal", _text("witness", server_default=""))
    op.add_column("signal", sa.Column("withdrawn", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("signal_by_received_us", "signal", ["received_us", "key"])
    _index("signal", "identity")
    op.create_index("signal_by_witness", "signal", ["incident", "witness"])
    _open_incidents()


def downgrade() -> None:
    for name in ("signal_by_witness", "signal_by_identity", "signal_by_received_us"):
        op.drop_index(name, "signal")
    for name in ("withdrawn", "witness", "identity"):
        op.drop_column("signal", name)
    op.drop_index("incident_by_inhibited_by", "incident")
    op.drop_column("incident", "inhibited_by")
    for table in ("silenced_word", "silence", "history", "withdrawal", "footprint"):
        op.drop_table(table)


def _open_incidents() -> None:
    bind = op.get_bind()
    for (body,) in bind.execute(sa.text("SELECT body FROM incident WHERE state <> 'closed'")).fetchall():
        row = json.loads(body)
        cells = {row["cell"], *([f"venue/{row['venue']}"] if row["venue"] else [])}
        cells |= {f"area/{code}" for code in row["place"]["areas"]} | {f"under/{row['area']}"}
        for cell in sorted(cells):
            fields = {name: row[name] for name in ("use", "hazard", "level")}
            listed = {"id": f"{row['id']}/{cell}", "incident": row["id"], "cell": cell, **fields}
            names = ", ".join(listed)
            marks = ", ".join(f":{name}" for name in listed)
            statement = sa.text(f"INSERT INTO footprint ({names}, body) VALUES ({marks}, :body)")
            bind.execute(statement, {**listed, "body": json.dumps(listed)})
        _signals(bind, row["id"])


def _signals(bind: Any, incident: str) -> None:
    after = ""
    while True:
        sql = "SELECT key, body FROM signal WHERE incident = :incident AND key > :after ORDER BY key LIMIT :chunk"
        found = bind.execute(sa.text(sql), {"incident": incident, "after": after, "chunk": CHUNK}).fetchall()
        for key, body in found:
            row = json.loads(body)
            named = CAP_KEY.fullmatch(row["key"])
            identity = named[1] if named else row["key"].removesuffix("#info")
            witness = f"{row['reporter']}/{row['device']}"
            values = {"identity": _column(identity), "witness": _column(witness), "key": key}
            bind.execute(sa.text("UPDATE signal SET identity = :identity, witness = :witness WHERE key = :key"), values)
        if len(found) < CHUNK:
            return
        after = found[-1][0]


def _column(text: str) -> str:
    """Longer texts are cut as the store cuts them."""
    text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= CHARS_MAX else text[: CHARS_MAX - 65] + "#" + hashlib.sha256(text.encode()).hexdigest()


def _entity(name: str, *columns: sa.Column[Any]) -> None:
    body = sa.Column("body", sa.Text, nullable=False)
    op.create_table(name, sa.Column("id", TEXT, primary_key=True), *columns, body)


def _index(table: str, *columns: str) -> None:
    op.create_index(f"{table}_by_{'_'.join(columns)}", table, list(columns))


def _text(name: str, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, TEXT, nullable=False, **more)


def _int(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=False)
