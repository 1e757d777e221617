"""Of what an export writes a line each: the records and links of a roster that are active, and what each line names.

A relation `<each>_lines` (see `declare.Each`) has `user_key, organization_key, class_key, role, is_primary,
is_own_role`, NULL where a line has none; `active_users`, `active_organizations` and `active_classes` have the records.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from enrollsync.formats import Each
from enrollsync.run import engine
from enrollsync.words.canonical import ENTITIES


def read_roster(connection: duckdb.DuckDBPyConnection, roster: Path) -> None:
    """Create `active_<entity>` over the base tables in `roster`, as `Store.export` writes them."""
    for entity in ENTITIES:
        table = engine.parquet(roster / f"{entity.name}.parquet")
        connection.execute(f"CREATE VIEW active_{entity.name} AS FROM {table} WHERE status = 'active'")


def create_lines(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `<each>_lines` over `active_<entity>`."""
    for each, query in _LINES.items():
        connection.execute(f"CREATE VIEW {each}_lines AS {query}")


_NONE = "NULL::BIGINT"
_NO_ROLE = "NULL::VARCHAR AS role, NULL::BOOLEAN AS is_primary, NULL::BOOLEAN AS is_own_role"
_LINES: dict[Each, str] = {
    "organizations": f"""
        SELECT {_NONE} AS user_key, organization_key, {_NONE} AS class_key, {_NO_ROLE}
        FROM active_organizations""",
    "classes": f"""
        SELECT {_NONE} AS user_key, organization_key, class_key, {_NO_ROLE}
        FROM active_classes""",
    "enrollments": """
        SELECT user_key, class.organization_key, class_key, enrollment.role, enrollment.is_primary,
            NULL::BOOLEAN AS is_own_role
        FROM active_enrollments AS enrollment
        JOIN active_classes AS class USING (class_key)
        SEMI JOIN active_users USING (user_key)""",
    # Who is in no organization has a line all the same. Where no role is the person's own, each of them may be.
    "memberships": f"""
        SELECT user_key, member.organization_key, {_NONE} AS class_key, coalesce(member.role, person.role) AS role,
            member.is_primary,
            coalesce(member.role = person.role, false)
                OR NOT coalesce(bool_or(member.role = person.role) OVER (PARTITION BY user_key), false) AS is_own_role
        FROM active_users AS person
        LEFT JOIN (FROM active_memberships SEMI JOIN active_organizations USING (organization_key)) AS member
            USING (user_key)""",
    "users": f"""
        SELECT user_key, organization_key, {_NONE} AS class_key, {_NO_ROLE}
        FROM memberships_lines
        QUALIFY row_number() OVER (
            PARTITION BY user_key
            ORDER BY coalesce(is_primary, false) DESC, organization_key
        ) = 1""",
    "places": f"""
        FROM enrollments_lines
        UNION ALL
        SELECT user_key, organization_key, {_NONE}, role, {_NONE}::BOOLEAN, is_own_role
        FROM memberships_lines
        ANTI JOIN enrollments_lines AS placed USING (user_key, organization_key, role)
        WHERE organization_key IS NOT NULL OR user_key NOT IN (SELECT user_key FROM enrollments_lines)""",
}
