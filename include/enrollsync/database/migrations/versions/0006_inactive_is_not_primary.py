"""A membership that became inactive is nobody's primary one any more, in the rosters of before too.

The run that made it inactive is told to have taken the mark, so that undoing that run gives it back.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_TELL = """
    UPDATE changes
    SET before_json = '{"is_primary":true,"status":"active"}', after_json = '{"is_primary":false,"status":"inactive"}'
    WHERE entity = 'memberships' AND operation = 'deactivate' AND before_json = '{"status":"active"}'
      AND (district_id, user_key, organization_key) IN (
          SELECT district_id, user_key, organization_key FROM memberships WHERE status = 'inactive' AND is_primary
      )
      AND state_after = (
          SELECT max(last.state_after)
          FROM changes AS last
          WHERE last.district_id = changes.district_id AND last.user_key = changes.user_key
            AND last.organization_key = changes.organization_key AND last.entity = 'memberships'
      )
"""


def upgrade() -> None:
    """Take the mark, and say so in the audit."""
    # Past SQLAlchemy, which would take `:true` for a parameter.
    op.get_bind().exec_driver_sql(_TELL)
    op.execute("UPDATE memberships SET is_primary = false WHERE status = 'inactive' AND is_primary")
