"""Which run a change belongs to is looked up, not looked for in all runs: a life is told as fast after years."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Index the runs by the state that they led to."""
    op.create_index("ix_runs_state_after", "runs", ["district_id", "state_after"])


def downgrade() -> None:
    """Nothing is lost."""
    op.drop_index("ix_runs_state_after", "runs")
