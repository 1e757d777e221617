"""A link's own row tells its creation until something changes it, so that a first load does not write it twice.

What `changes` has already stays there: the new columns are NULL, and nothing is written anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_COLUMNS = (
    "district_id, state_after, sequence, entity, operation, user_key, organization_key, class_key, role, entity_id, "
    "before_json, after_json, reason, file, line"
)
_OWN = {
    "memberships": "user_key, organization_key, NULL, role",
    "enrollments": "user_key, NULL, class_key, NULL",
}
"""Link -> `user_key, organization_key, class_key, role` of its row's audit."""

_AFTER = {
    "memberships": """'{"role":"' || %s.role
                   || '","is_primary":true,"status":"active","source":"' || runs.source || '"}'""",
    "enrollments": """'{"role":"student","is_primary":false,"status":"active","source":"' || runs.source || '"}'""",
}
"""Link -> what one is that is created as most are."""


def _kept(after_membership: str) -> str:
    """What the view tells of the rows of `changes`."""
    return f"""
    SELECT changes.district_id, runs.run_id, changes.entity,
           coalesce(
               changes.entity_id,
               coalesce(users.user_id, users.source_key) || ' '
               || coalesce(classes.class_id, classes.source_key, organizations.organization_id,
                           organizations.source_key)
           ) AS entity_id,
           changes.operation, changes.before_json,
           CASE
               WHEN changes.after_json IS NULL AND changes.entity = 'enrollments' AND changes.operation = 'create'
               THEN {_AFTER["enrollments"]}{after_membership}
               ELSE changes.after_json
           END AS after_json,
           coalesce(changes.reason, 'the batch says so') AS reason,
           changes.user_key, changes.organization_key, changes.class_key, changes.role
    FROM changes
    JOIN runs
      ON runs.district_id = changes.district_id
     AND runs.state_after = changes.state_after
    LEFT JOIN users
      ON users.district_id = changes.district_id
     AND users.user_key = changes.user_key
     AND changes.entity_id IS NULL
    LEFT JOIN classes
      ON classes.district_id = changes.district_id
     AND classes.class_key = changes.class_key
     AND changes.entity_id IS NULL
    LEFT JOIN organizations
      ON organizations.district_id = changes.district_id
     AND organizations.organization_key = changes.organization_key
     AND changes.entity_id IS NULL
"""


def _created(link: str, end: str, name: str, keys: str) -> str:
    """What it tells of links that tell their creation themselves; `end` and `name`: what they lead to besides users."""
    return f"""
    SELECT link.district_id, runs.run_id, '{link}' AS entity,
           coalesce(users.user_id, users.source_key) || ' ' || coalesce({end}.{name}_id, {end}.source_key) AS entity_id,
           'create' AS operation, CAST(NULL AS text) AS before_json,
           {_AFTER[link].replace("%s", "link")} AS after_json,
           'the batch says so' AS reason, link.user_key, {keys}
    FROM {link} AS link
    JOIN runs
      ON runs.district_id = link.district_id
     AND runs.state_after = link.created_state
    LEFT JOIN users
      ON users.district_id = link.district_id
     AND users.user_key = link.user_key
    LEFT JOIN {end}
      ON {end}.district_id = link.district_id
     AND {end}.{name}_key = link.{name}_key
"""


_AFTER_MEMBERSHIP = f"""
               WHEN changes.after_json IS NULL AND changes.entity = 'memberships' AND changes.operation = 'create'
               THEN {_AFTER["memberships"].replace("%s", "changes")}"""
# Whole selects beside one another, because SQLite looks into each by its indexes only so.
_ROSTER_CHANGES = " UNION ALL ".join(
    (
        _kept(_AFTER_MEMBERSHIP),
        _created("memberships", "organizations", "organization",
                 "link.organization_key, CAST(NULL AS bigint) AS class_key, link.role"),
        _created("enrollments", "classes", "class",
                 "CAST(NULL AS bigint) AS organization_key, link.class_key, CAST(NULL AS text) AS role"),
    )
)  # fmt: skip

_RUN = "FROM runs WHERE runs.district_id = changes.district_id AND runs.state_after = changes.state_after"
_TELL_FILE = f"""
    UPDATE changes
    SET file = (SELECT runs.%s_file {_RUN})
    WHERE entity = '%s' AND operation = 'create' AND after_json IS NULL AND file IS NULL AND line IS NOT NULL
"""
_TELL_MEMBERSHIPS = f"""
    UPDATE changes
    SET after_json = (SELECT {_AFTER["memberships"].replace("%s", "changes")} {_RUN})
    WHERE entity = 'memberships' AND operation = 'create' AND after_json IS NULL
"""
_SILENCE = """
    UPDATE changes
    SET after_json = '{}'
    WHERE entity = 'enrollments' AND operation = 'create' AND after_json IS NULL AND entity_id LIKE 'forgotten %'
"""
"""Of whom the roster has forgotten nothing is told, not even what is usual."""


def upgrade() -> None:
    """Add the columns, and let the view look into them."""
    op.execute(_SILENCE)
    for link in _OWN:
        op.add_column("runs", sa.Column(f"{link}_file", sa.Text))
        op.add_column(link, sa.Column("created_state", sa.BigInteger))
        op.add_column(link, sa.Column("created_sequence", sa.Integer))
        op.add_column(link, sa.Column("created_line", sa.Integer))
        told_apart = ["created_state", "district_id"]
        op.create_index(f"ix_{link}_created_state", link, told_apart, postgresql_using="brin")
    _replace_view(_ROSTER_CHANGES)


def downgrade() -> None:
    """Nothing is lost."""
    for link, own in _OWN.items():
        op.execute(f"""
            INSERT INTO changes ({_COLUMNS})
            SELECT district_id, created_state, created_sequence, '{link}', 'create', {own}, NULL, NULL, NULL, NULL,
                   NULL, created_line
            FROM {link}
            WHERE created_state IS NOT NULL
        """)
        op.execute(_TELL_FILE.replace("%s", link))
    op.get_bind().exec_driver_sql(_TELL_MEMBERSHIPS)
    _replace_view(_kept(""))
    for link in _OWN:
        op.drop_index(f"ix_{link}_created_state", link)
        for column in ("created_state", "created_sequence", "created_line"):
            op.drop_column(link, column)
        op.drop_column("runs", f"{link}_file")


def _replace_view(query: str) -> None:
    """Who may read it stays, and on a shared PostgreSQL it goes on to show nobody more than their own rows."""
    # Past SQLAlchemy, which would take `:false` for a parameter.
    run = op.get_bind().exec_driver_sql
    if op.get_bind().dialect.name == "sqlite":
        run("DROP VIEW roster_changes")
        run(f"CREATE VIEW roster_changes AS {query}")
        return
    (options,) = run("SELECT reloptions FROM pg_class WHERE oid = 'roster_changes'::regclass").one()
    run(f"CREATE OR REPLACE VIEW roster_changes AS {query}")
    if options:
        run(f"ALTER VIEW roster_changes SET ({', '.join(options)})")
