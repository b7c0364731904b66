"""A timer is named by one word for what it wakes and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIMES = "due_us, useless_after_us"


def _table(name: str, *key: str) -> None:
    op.create_table(
        name,
        *(sa.Column(column, TEXT, primary_key=True) for column in key),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("useless_after_us", sa.BigInteger, nullable=False),
    )


def _take_its_place(new: str) -> None:
    op.drop_table("timer")
    op.rename_table(new, "timer")
    op.create_index("timer_by_due_us", "timer", ["due_us"])


def upgrade() -> None:
    _table("timer_named", "timer", "subject")
    named = f"SELECT subject_kind || '/' || name, subject, {TIMES} FROM timer"
    op.execute(f"INSERT INTO timer_named (timer, subject, {TIMES}) {named}")
    _take_its_place("timer_named")


def downgrade() -> None:
    _table("timer_in_parts", "subject_kind", "subject", "name")
    word, kind = "substr(timer, instr(timer, '/') + 1)", "substr(timer, 1, instr(timer, '/') - 1)"
    if op.get_bind().dialect.name == "postgresql":
        word, kind = "split_part(timer, '/', 2)", "split_part(timer, '/', 1)"
    parts = f"SELECT {kind}, subject, {word}, {TIMES} FROM timer"
    op.execute(f"INSERT INTO timer_in_parts (subject_kind, subject, name, {TIMES}) {parts}")
    _take_its_place("timer_in_parts")
