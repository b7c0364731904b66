"""What is known of the clocks, and when an effect was first wanted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "clock",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.add_column("effect", sa.Column("wanted_us", sa.BigInteger, nullable=False, server_default="0"))
    # When it was first wanted is not known of what is open already: its next try is the latest it can have been.
    op.execute("UPDATE effect SET wanted_us = not_before_us")


def downgrade() -> None:
    op.drop_column("effect", "wanted_us")
    op.drop_table("clock")
