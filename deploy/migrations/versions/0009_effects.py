"""When an effect was first wanted, since it was last done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("effect", sa.Column("wanted_us", sa.BigInteger, nullable=False, server_default="0"))
    # Nobody noted when: what is open then counts as wanted from when it is next due.
    op.execute("UPDATE effect SET wanted_us = not_before_us")


def downgrade() -> None:
    op.drop_column("effect", "wanted_us")
