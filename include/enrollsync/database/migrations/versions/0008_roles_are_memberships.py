"""Two roles of one person in one school are two memberships: the role is part of a membership's key, and of its audit.

A role that changed before is told as runs tell it now: the old membership was deactivated and another one created, so
that such a run can be undone like any other. The memberships that were left this way are there again, inactive.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_ROSTER_CHANGES = """
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
               THEN '{"role":"student","is_primary":false,"status":"active","source":"' || runs.source || '"}'
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

_ROSTER_MEMBERSHIPS = """
    SELECT memberships.district_id, users.user_id, organizations.organization_id, memberships.role,
           memberships.is_primary, memberships.status, memberships.user_key, memberships.organization_key
    FROM memberships
    JOIN users
      ON users.district_id = memberships.district_id
     AND users.user_key = memberships.user_key
    JOIN organizations
      ON organizations.district_id = memberships.district_id
     AND organizations.organization_key = memberships.organization_key
    WHERE memberships.status <> 'removed'
      AND users.status <> 'removed'
      AND organizations.status <> 'removed'
"""

_NAME_ROLES = """
    UPDATE memberships
    SET role = coalesce(
        (
            SELECT users.role
            FROM users
            WHERE users.district_id = memberships.district_id AND users.user_key = memberships.user_key
        ),
        ''
    )
    WHERE role IS NULL
"""
_NAME_ROLES_IN_CHANGES = """
    UPDATE changes
    SET role = coalesce(
        (
            SELECT memberships.role
            FROM memberships
            WHERE memberships.district_id = changes.district_id AND memberships.user_key = changes.user_key
              AND memberships.organization_key = changes.organization_key
        ),
        ''
    )
    WHERE entity = 'memberships'
"""
_PAIR = ("district_id", "user_key", "organization_key")
_CHANGED_ROLES = """
    SELECT DISTINCT district_id, user_key, organization_key
    FROM changes
    WHERE entity = 'memberships' AND operation <> 'create' AND before_json LIKE '%"role":%'
"""

_MEMBERSHIPS = sa.table(
    "memberships",
    *(sa.column(name) for name in (*_PAIR, "role")),
    sa.column("is_primary", sa.Boolean), sa.column("status"), sa.column("source"),
)  # fmt: skip
_CHANGES = sa.table(
    "changes",
    *(sa.column(name) for name in (
        "district_id", "state_after", "sequence", "entity", "operation", "user_key", "organization_key", "class_key",
        "role", "entity_id", "before_json", "after_json", "reason", "file", "line",
    )),
)  # fmt: skip

Row = dict[str, Any]


def upgrade() -> None:
    """Move the key; then tell earlier changes of a role anew."""
    op.execute("DROP VIEW roster_memberships")
    op.execute("DROP VIEW roster_changes")
    op.execute(_NAME_ROLES)
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_memberships()
    else:
        op.drop_constraint("memberships_pkey", "memberships", type_="primary")
        op.alter_column("memberships", "role", existing_type=sa.Text, nullable=False)
        op.create_primary_key("memberships_pkey", "memberships", [*_PAIR, "role"])
    op.add_column("changes", sa.Column("role", sa.Text))
    op.execute(_NAME_ROLES_IN_CHANGES)
    for pair in op.get_bind().execute(sa.text(_CHANGED_ROLES)).mappings().all():
        _tell_anew(dict(pair))
    op.execute(f"CREATE VIEW roster_memberships AS {_ROSTER_MEMBERSHIPS}")
    # Past SQLAlchemy, which would take `:false` for a parameter.
    op.get_bind().exec_driver_sql(f"CREATE VIEW roster_changes AS {_ROSTER_CHANGES}")


def _rebuild_memberships() -> None:
    """SQLite cannot change a primary key."""
    keys = [sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False) for name in _PAIR[1:]]
    op.create_table(
        "new_memberships",
        sa.Column("district_id", sa.Text, nullable=False),
        *keys,
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("is_primary", sa.Boolean),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(*_PAIR, "role", name="memberships_pkey"),
        sa.CheckConstraint("status IN ('active', 'inactive', 'removed')", name="ck_memberships_status"),
        *(
            sa.ForeignKeyConstraint(
                ["district_id", key], [f"{linked}.district_id", f"{linked}.{key}"], name=f"fk_memberships_{linked}"
            )
            for key, linked in (("user_key", "users"), ("organization_key", "organizations"))
        ),
        sqlite_with_rowid=False,
    )
    columns = ", ".join((*_PAIR, "role", "is_primary", "status", "source"))
    op.execute(f"INSERT INTO new_memberships ({columns}) SELECT {columns} FROM memberships")
    op.drop_table("memberships")
    op.rename_table("new_memberships", "memberships")
    op.create_index("ix_memberships_organization_key", "memberships", ["organization_key", "district_id"])


# ---- roles that changed ----------------------------------------------------------------------------------------------


def _tell_anew(pair: Row) -> None:
    """Write the changes of one person in one school anew, and the memberships that were left; such pairs are few."""
    connection = op.get_bind()
    present = connection.execute(sa.select(_MEMBERSHIPS).where(*_same(_MEMBERSHIPS, pair))).mappings().first()
    ours = (*_same(_CHANGES, pair), _CHANGES.c.entity == "memberships")
    in_order = sa.select(_CHANGES).where(*ours).order_by(_CHANGES.c.state_after, _CHANGES.c.sequence)
    history = _History()
    anew = [new for row in connection.execute(in_order).mappings() for new in history.retold(dict(row))]
    connection.execute(_CHANGES.delete().where(*ours))
    connection.execute(_CHANGES.insert(), anew)
    left = [{**pair, "role": role, **values} for role, values in history.left.items()]
    left = [row for row in left if present and row["role"] != present["role"]]
    if left:
        connection.execute(_MEMBERSHIPS.insert(), left)


def _same(table: sa.TableClause, pair: Row) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in pair.items()]


class _History:
    """The roles of one person in one school, as its changes go by."""

    def __init__(self) -> None:
        self.role: str = ""
        self.values: Row = {"is_primary": False, "status": "active", "source": ""}
        self.left: dict[str, Row] = {}
        """Role -> the membership that was left in it."""

    def retold(self, row: Row) -> list[Row]:
        """What a change is called where a role is a membership: one row, or the old role's and the new one's."""
        before, after = ({**json.loads(row[name] or "{}")} for name in ("before_json", "after_json"))
        old = self.role if row["operation"] == "create" else before.pop("role", self.role) or ""
        new = after.pop("role", old) or ""
        found = {**self.values, **before}
        self.role, self.values = new, {**found, **after}
        if row["operation"] == "create" or old == new:
            return [{**row, "role": new}]
        came = self.left.pop(new, None)
        self.left[old] = {**found, "is_primary": False, "status": _left(found["status"])}
        return [
            *_told(row, "deactivate", old, found, self.left[old]),
            *(_told(row, "reactivate", new, came, self.values) if came else [_created(row, new, self.values)]),
        ]


def _left(status: str) -> str:
    return "inactive" if status == "active" else status


def _created(row: Row, role: str, values: Row) -> Row:
    told = {"before_json": None, "after_json": _text({"role": role, **values})}
    return {**row, "operation": "create", "role": role, **told}


def _told(row: Row, operation: str, role: str, before: Row, after: Row) -> list[Row]:
    """One change in the words of an audit row; none where nothing changes."""
    changed = [name for name in after if after[name] != before[name]]
    told = {
        name: _text({column: image[column] for column in changed})
        for name, image in (("before_json", before), ("after_json", after))
    }
    return [{**row, "operation": operation, "role": role, **told}] if changed else []


def _text(values: Row) -> str:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)
