"""People who were forgotten are recognised by marks, without a value of theirs, when a delivery still has them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add `forgotten` and `district_state.forget_key`."""
    op.add_column("district_state", sa.Column("forget_key", sa.Text))
    op.create_table(
        "forgotten",
        sa.Column("district_id", sa.Text, nullable=False),
        sa.Column("mark", sa.Text, nullable=False),
        sa.Column("user_key", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("state_after", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("district_id", "mark", "user_key"),
    )


def downgrade() -> None:
    """Lost is who was forgotten: what was taken out stays out, but a delivery that still has them brings them back."""
    op.drop_table("forgotten")
    op.drop_column("district_state", "forget_key")
