"""What speakers show of an order before it is expected of them, so that it counts once it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
STEPS = ("accepted", "ready", "playing", "finished")


def upgrade() -> None:
    op.create_table(
        "early",
        sa.Column("broadcast", TEXT, primary_key=True),
        sa.Column("speaker", TEXT, primary_key=True),
        *(sa.Column(f"{step}_us", sa.BigInteger, nullable=True) for step in STEPS),
        sa.Column("refused", TEXT, nullable=False, server_default=""),
        sa.Column("failed", TEXT, nullable=False, server_default=""),
        sa.Column("proved", sa.Boolean, nullable=False, server_default=sa.false()),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("early")
