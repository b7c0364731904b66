"""Why a speaker's word was not believed, and sightings of what nobody here gave out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for table in ("expected", "early"):
        op.add_column(table, sa.Column("doubted", TEXT, nullable=False, server_default=""))
    op.create_table(
        "sighting",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("incident", TEXT, nullable=False),
        sa.Column("last_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("sighting_by_incident", "sighting", ["incident"])


def downgrade() -> None:
    op.drop_table("sighting")
    for table in ("early", "expected"):
        op.drop_column(table, "doubted")
