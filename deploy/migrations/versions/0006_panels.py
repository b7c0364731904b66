"""Requests to fire panels, when panels were heard, and panels that are not enrolled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "panel_request",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("panel", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("asked_us", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("panel_request_by_panel_asked_us", "panel_request", ["panel", "asked_us"])
    op.create_index("panel_request_by_state", "panel_request", ["state"])
    op.create_table(
        "panel_live",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("heard_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "stranger",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("last_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("stranger_by_last_us", "stranger", ["last_us"])


def downgrade() -> None:
    for table in ("stranger", "panel_live", "panel_request"):
        op.drop_table(table)
