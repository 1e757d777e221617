"""Which classes belonged to an organization on an earlier day is found without reading all that was changed since."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Index what changed of classes, by the state that it led to."""
    changed = sa.text("entity = 'classes' AND before_json IS NOT NULL")
    op.create_index(
        "ix_changes_classes", "changes", ["district_id", "state_after"], postgresql_where=changed, sqlite_where=changed
    )


def downgrade() -> None:
    """Nothing is lost."""
    op.drop_index("ix_changes_classes", "changes")
