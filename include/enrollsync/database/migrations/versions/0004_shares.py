"""A run remembers what share of the roster it changed, so that later ones know what is usual."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add `runs.shares_json`."""
    op.add_column("runs", sa.Column("shares_json", sa.Text))
