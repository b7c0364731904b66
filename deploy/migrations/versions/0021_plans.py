"""A plan lives as long as what it was made of, a changed city names the rows that changed, and a speaker's streams are
found by its areas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    # Plans are made anew when they are needed.
    op.execute("DELETE FROM plan")
    op.drop_column("plan", "city_version")
    op.create_table("city_change", sa.Column("id", TEXT, primary_key=True), sa.Column("body", sa.Text, nullable=False))
    op.create_index("stream_by_area", "stream", ["area"])


def downgrade() -> None:
    op.drop_index("stream_by_area", "stream")
    op.drop_table("city_change")
    op.execute("DELETE FROM plan")
    op.add_column("plan", sa.Column("city_version", sa.BigInteger, nullable=False, server_default="0"))
