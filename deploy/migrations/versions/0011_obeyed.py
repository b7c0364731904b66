"""What speakers refuse is looked for among all speakers, and gateways' accounts that somebody else uses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("live", sa.Column("refuses", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("live_by_refuses", "live", ["refuses"])
    op.create_table(
        "taken_account",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("last_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("taken_account")
    op.drop_index("live_by_refuses", "live")
    op.drop_column("live", "refuses")
