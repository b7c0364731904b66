"""Sources that are polled, sensors behind gateways, and when each source was last heard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table("poll", _key(), sa.Column("version", sa.BigInteger, nullable=False), _body())
    columns = [sa.Column(name, TEXT, nullable=False) for name in ("gateway", "device", "venue")]
    op.create_table("sensor", _key(), *columns, sa.Column("enabled", sa.Boolean, nullable=False), _body())
    op.create_index("sensor_by_gateway_device", "sensor", ["gateway", "device"])
    op.create_table("heard", _key(), sa.Column("incident", TEXT, nullable=False), _body())
    op.create_index("heard_by_incident", "heard", ["incident"])


def downgrade() -> None:
    for name in ("heard", "sensor", "poll"):
        op.drop_table(name)


def _key() -> sa.Column[str]:
    return sa.Column("id", TEXT, primary_key=True)


def _body() -> sa.Column[str]:
    return sa.Column("body", sa.Text, nullable=False)
