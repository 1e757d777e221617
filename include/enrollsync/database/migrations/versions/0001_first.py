"""The first schema: base tables, what runs remember, and the views.

Written out instead of taken from `schema.py`: what this step does must never change again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEYED_USER_VALUES = (
    "user_district_id",
    "user_state_id",
    "role",
    "given_name",
    "middle_name",
    "family_name",
    "email",
    "username",
    "grade",
    "birth_date",
)
CLASS_VALUES = (
    "name",
    "course_code",
    "course_name",
    "subject",
    "grade",
    "period",
    "term",
    "term_start",
    "term_end",
)

VIEWS = {
    "roster_organizations": """
        SELECT district_id, organization_id, name, type, status, organization_key, source_key
        FROM organizations
        WHERE status <> 'removed'
    """,
    "roster_users": """
        SELECT district_id, user_id, user_district_id, user_state_id, role, given_name, middle_name, family_name,
               email, username, grade, birth_date, status, user_key, source_key
        FROM users
        WHERE status <> 'removed'
    """,
    "roster_memberships": """
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
    """,
    "roster_classes": """
        SELECT classes.district_id, classes.class_id, organizations.organization_id, classes.name,
               classes.course_code, classes.course_name, classes.subject, classes.grade, classes.period,
               classes.term, classes.status, classes.class_key, classes.organization_key, classes.source_key
        FROM classes
        LEFT JOIN organizations
          ON organizations.district_id = classes.district_id
         AND organizations.organization_key = classes.organization_key
        WHERE classes.status <> 'removed'
    """,
    "roster_enrollments": """
        SELECT enrollments.district_id, classes.class_id, users.user_id, enrollments.role, enrollments.is_primary,
               enrollments.status, enrollments.class_key, enrollments.user_key
        FROM enrollments
        JOIN classes
          ON classes.district_id = enrollments.district_id
         AND classes.class_key = enrollments.class_key
        JOIN users
          ON users.district_id = enrollments.district_id
         AND users.user_key = enrollments.user_key
        WHERE enrollments.status <> 'removed'
          AND classes.status <> 'removed'
          AND users.status <> 'removed'
    """,
    "roster_identifier_history": """
        SELECT district_id, entity, old_id, new_id, run_id, changed_at, changed_by
        FROM identifier_history
    """,
    "roster_runs": """
        SELECT district_id, run_id, batch_hash, outcome, plan_id, started_at, ended_at, approved_by
        FROM runs
    """,
    "roster_changes": """
        SELECT district_id, run_id, entity, entity_id, operation, before_json, after_json, reason
        FROM changes
    """,
}


def upgrade() -> None:
    """Create everything."""
    _keyed("organizations", "organization_key", "organization_id", "name", "type")
    _keyed("users", "user_key", "user_id", *KEYED_USER_VALUES)
    _link("memberships", ("user_key", "users"), ("organization_key", "organizations"))
    _keyed(
        "classes",
        "class_key",
        "class_id",
        sa.Column("organization_key", sa.BigInteger),
        *CLASS_VALUES,
        _reference("classes", "organization_key", "organizations"),
    )
    _link("enrollments", ("class_key", "classes"), ("user_key", "users"))
    op.create_index("ix_enrollments_user_key", "enrollments", ["district_id", "user_key"])
    op.create_index("ix_memberships_organization_key", "memberships", ["district_id", "organization_key"])
    op.create_index("ix_classes_organization_key", "classes", ["district_id", "organization_key"])
    _memory()
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def _text(name: str, *, nullable: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _number(name: str, *, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, autoincrement=False)


def _reference(table: str, key: str, linked: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["district_id", key], [f"{linked}.district_id", f"{linked}.{key}"], name=f"fk_{table}_{linked}"
    )


def _status(table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint("status IN ('active', 'inactive', 'removed')", name=f"ck_{table}_status")


def _keyed(table: str, key: str, identifier: str, *values: str | sa.Column[int] | sa.ForeignKeyConstraint) -> None:
    op.create_table(
        table,
        _text("district_id", nullable=False),
        _number(key, nullable=False),
        _text("source_key", nullable=False),
        _text(identifier),
        *(_text(value) if isinstance(value, str) else value for value in values),
        _text("status", nullable=False),
        _text("source", nullable=False),
        sa.PrimaryKeyConstraint("district_id", key),
        sa.UniqueConstraint("district_id", identifier, name=f"uq_{table}_{identifier}"),
        sa.UniqueConstraint("district_id", "source", "source_key", name=f"uq_{table}_source_key"),
        _status(table),
        sqlite_with_rowid=False,
    )


def _link(table: str, first: tuple[str, str], second: tuple[str, str]) -> None:
    op.create_table(
        table,
        _text("district_id", nullable=False),
        _number(first[0], nullable=False),
        _number(second[0], nullable=False),
        _text("role"),
        sa.Column("is_primary", sa.Boolean),
        _text("status", nullable=False),
        _text("source", nullable=False),
        sa.PrimaryKeyConstraint("district_id", first[0], second[0]),
        _status(table),
        _reference(table, *first),
        _reference(table, *second),
        sqlite_with_rowid=False,
    )


def _memory() -> None:
    """What runs remember."""
    op.create_table(
        "district_state",
        _text("district_id", nullable=False),
        _number("version", nullable=False),
        sa.PrimaryKeyConstraint("district_id"),
    )
    op.create_table(
        "runs",
        _text("district_id", nullable=False),
        _text("run_id", nullable=False),
        _text("batch_hash"),
        _text("outcome", nullable=False),
        _text("plan_id"),
        _text("started_at", nullable=False),
        _text("ended_at"),
        _text("approved_by"),
        _text("delivered_at"),
        _text("source"),
        _text("mode"),
        _text("counts_json", nullable=False),
        _text("findings_json", nullable=False),
        _text("message"),
        _number("state_before"),
        _number("state_after"),
        _text("fingerprint"),
        _text("checked_at"),
        sa.PrimaryKeyConstraint("district_id", "run_id"),
    )
    op.create_index("ix_runs_started_at", "runs", ["district_id", "started_at"])
    op.create_table(
        "changes",
        _text("district_id", nullable=False),
        _text("run_id", nullable=False),
        _number("sequence", nullable=False),
        _text("entity", nullable=False),
        _number("entity_key"),
        _number("user_key"),
        _number("organization_key"),
        _number("class_key"),
        _text("entity_id"),
        _text("operation", nullable=False),
        _text("before_json"),
        _text("after_json"),
        _text("reason"),
        _text("file"),
        _number("line"),
        sa.PrimaryKeyConstraint("district_id", "run_id", "sequence"),
    )
    op.create_index("ix_changes_entity_key", "changes", ["district_id", "entity", "entity_key"])
    op.create_table(
        "identifier_history",
        _text("district_id", nullable=False),
        _text("entity", nullable=False),
        _number("entity_key", nullable=False),
        _text("run_id", nullable=False),
        _text("old_id", nullable=False),
        _text("new_id"),
        _text("changed_at", nullable=False),
        _text("changed_by"),
        sa.PrimaryKeyConstraint("district_id", "entity", "entity_key", "run_id"),
    )
    op.create_index("ix_identifier_history_old_id", "identifier_history", ["district_id", "entity", "old_id"])
