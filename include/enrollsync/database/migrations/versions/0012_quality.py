"""Findings are counted school by school, night after night, and a person may know of some of them for a while."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add `runs.schools_json` and `known_findings`."""
    op.add_column("runs", sa.Column("schools_json", sa.Text))
    op.create_table(
        "known_findings",
        sa.Column("district_id", sa.Text, nullable=False),
        sa.Column("known_id", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("organization_key", sa.BigInteger),
        sa.Column("until", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Text),
        sa.Column("ended_by", sa.Text),
        sa.PrimaryKeyConstraint("district_id", "known_id"),
    )


def downgrade() -> None:
    """Lost are how many findings each school had night by night, and what persons said that they know of findings."""
    op.drop_table("known_findings")
    op.drop_column("runs", "schools_json")
