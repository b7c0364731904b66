"""An office finds the tasks on whose ladder it stands."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision: str | None = "0021"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    table = op.create_table(
        "on_ladder",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("office", TEXT, nullable=False),
        sa.Column("task", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("on_ladder_by_office_task", "on_ladder", ["office", "task"])
    tasks = op.get_bind().execute(sa.text("SELECT id, state, body FROM task")).all()
    ladders = [(id, state, dict.fromkeys(json.loads(body)["offices"])) for id, state, body in tasks]
    rows = [_row(id, office, state) for id, state, offices in ladders for office in offices]
    if rows:
        op.bulk_insert(table, rows)


def _row(task: str, office: str, state: str) -> dict[str, str]:
    row = {"id": f"{task}/{office}", "office": office, "task": task, "state": state}
    return {**row, "body": json.dumps(row, ensure_ascii=False, separators=(",", ":"))}


def downgrade() -> None:
    op.drop_table("on_ladder")
