"""The synthetic district as a roster: the records and links that an export writes its files from."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

Records = Mapping[str, Mapping[str, str]]
"""Entity -> column that no roster has -> SQL for it, over the district's table of these records."""


def create_roster(connection: duckdb.DuckDBPyConnection, more: Records, second_contacts: bool) -> None:
    """Create `active_<entity>` of the district that `connection` has.

    `more`: what a format's files say besides. `second_contacts`: some students are in their school once more, where
    that is not their primary one, because a second contact is told of them.
    """
    connection.execute(f"CREATE MACRO has_second_contact(person) AS {_SECOND_CONTACT if second_contacts else 'false'}")
    for entity, columns in _ACTIVE.items():
        own = [f"{value} AS {name}" for name, value in (columns | dict(more.get(entity, {}))).items()]
        connection.execute(f"CREATE VIEW active_{entity} AS SELECT {', '.join(own)} FROM {_TABLES[entity]}")
    connection.execute(_MEMBERSHIPS)
    connection.execute(_ENROLLMENTS)


def _grade(column: str) -> str:
    return f"CASE {column} WHEN 0 THEN 'Kindergarten' ELSE CAST({column} AS VARCHAR) END"


_SECOND_CONTACT = "person < student_count() AND choice('second contact', person, 50) = 0"
_TABLES = {"organizations": "schools", "users": "people", "classes": "classes"}
_ACTIVE = {
    "organizations": {
        "organization_key": "school",
        "source_key": "school_id",
        "organization_id": "school_id",
        "name": "name",
        "type": "'school'",
    },
    "users": {
        "user_key": "person",
        "source_key": "id",
        "user_id": "id",
        "user_district_id": "district_id",
        "user_state_id": "state_id",
        "role": "role",
        "given_name": "given",
        "middle_name": "nullif(middle, '')",
        "family_name": "family",
        "email": "email",
        "username": "split_part(email, '@', 1)",
        "grade": _grade("people.grade"),
        "birth_date": "strftime(birth_date, '%Y-%m-%d')",
        "status": "'active'",
    },
    "classes": {
        "class_key": "class",
        "source_key": "class_id",
        "class_id": "class_id",
        "organization_key": "school",
        "name": "name",
        "course_code": "course_code",
        "course_name": "course_name",
        "subject": "clever_subject",
        "grade": _grade("classes.grade"),
        "period": "CAST(period AS VARCHAR)",
        "term": "'2026-27'",
        "term_start": "'2026-08-17'",
        "term_end": "'2027-06-11'",
    },
}
"""Entity -> column -> SQL for it."""
_MEMBERSHIPS = """
    CREATE VIEW active_memberships AS
    SELECT person AS user_key, school AS organization_key, role, true AS is_primary
    FROM people
    UNION ALL
    SELECT person, school, role, false
    FROM people
    WHERE has_second_contact(person)"""
_ENROLLMENTS = """
    CREATE VIEW active_enrollments AS
    SELECT class AS class_key, person AS user_key, 'student' AS role, false AS is_primary
    FROM enrollments
    UNION ALL
    SELECT class, teacher, 'teacher', true
    FROM classes"""
