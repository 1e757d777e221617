"""What changed of a few classes and schools themselves is found without what changed of all their people's links."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Index the changes of organizations and classes by their own key."""
    for entity, key in (("organizations", "organization_key"), ("classes", "class_key")):
        own = sa.text(f"entity = '{entity}'")
        op.create_index(
            f"ix_changes_of_{entity}", "changes", [key, "district_id"], postgresql_where=own, sqlite_where=own
        )


def downgrade() -> None:
    """Nothing is lost."""
    for entity in ("organizations", "classes"):
        op.drop_index(f"ix_changes_of_{entity}", "changes")
