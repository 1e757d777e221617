"""A run remembers why a person answered as they did, in that person's words."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_ROSTER_RUNS = """
    SELECT district_id, run_id, batch_hash, outcome, plan_id, started_at, ended_at, approved_by, answer, comment
    FROM runs
"""


def upgrade() -> None:
    """Add `runs.comment`, and show it."""
    op.add_column("runs", sa.Column("comment", sa.Text))
    op.execute("DROP VIEW roster_runs")
    op.execute(f"CREATE VIEW roster_runs AS {_ROSTER_RUNS}")


def downgrade() -> None:
    """Lost are the comments of those who answered plans."""
    op.execute("DROP VIEW roster_runs")
    op.drop_column("runs", "comment")
    op.execute(f"CREATE VIEW roster_runs AS {_ROSTER_RUNS.replace(', comment', '')}")
