"""A run remembers what a person answered to its plan, not only who."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ROSTER_RUNS = """
    SELECT district_id, run_id, batch_hash, outcome, plan_id, started_at, ended_at, approved_by, answer
    FROM runs
"""


def upgrade() -> None:
    """Add `runs.answer`, and show it; of a run answered before, only who said no is known by its outcome."""
    op.add_column("runs", sa.Column("answer", sa.Text))
    op.execute("UPDATE runs SET answer = 'reject' WHERE outcome = 'rejected' AND approved_by IS NOT NULL")
    op.execute("DROP VIEW roster_runs")
    op.execute(f"CREATE VIEW roster_runs AS {_ROSTER_RUNS}")
