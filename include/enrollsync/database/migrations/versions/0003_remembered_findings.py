"""Why a row did not load is remembered with the run, because its workspace may be deleted at any time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create `findings`."""
    op.create_table(
        "findings",
        sa.Column("district_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("file", sa.Text),
        sa.Column("line", sa.BigInteger),
        sa.Column("column_name", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("organization_id", sa.Text),
        sa.Column("organization_source_key", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("user_source_key", sa.Text),
        sa.Column("class_id", sa.Text),
        sa.Column("class_source_key", sa.Text),
        sa.PrimaryKeyConstraint("district_id", "run_id", "sequence"),
    )
