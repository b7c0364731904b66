"""What each gateway knows of each signing key, and of the broker's copies of occupied streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "key_state",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("use", TEXT, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "broker_copy",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("broker_copy", "key_state"):
        op.drop_table(table)
