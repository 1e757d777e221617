"""The synthetic district as a roster, which an export writes as OneRoster. Nothing is planted in it."""

from __future__ import annotations

from pathlib import Path

import duckdb

from enrollsync.export.files import write_files
from enrollsync.formats import written

_GRADE = "CASE {grade} WHEN 0 THEN 'Kindergarten' ELSE CAST({grade} AS VARCHAR) END"
_ACTIVE = {
    "organizations": """
        SELECT school AS organization_key, school_id AS source_key, school_id AS organization_id, name, 'school' AS type
        FROM schools""",
    "users": f"""
        SELECT person AS user_key, id AS source_key, id AS user_id, district_id AS user_district_id,
            state_id AS user_state_id, role, given AS given_name, nullif(middle, '') AS middle_name,
            family AS family_name, email, split_part(email, '@', 1) AS username,
            {_GRADE.format(grade="people.grade")} AS grade, strftime(birth_date, '%Y-%m-%d') AS birth_date,
            'active' AS status
        FROM people""",
    "memberships": """
        SELECT person AS user_key, school AS organization_key, role, true AS is_primary
        FROM people""",
    "classes": f"""
        SELECT class AS class_key, class_id AS source_key, class_id, school AS organization_key, name, course_code,
            course_name, clever_subject AS subject, {_GRADE.format(grade="classes.grade")} AS grade,
            CAST(period AS VARCHAR) AS period, '2026-27' AS term, '2026-08-17' AS term_start, '2027-06-11' AS term_end
        FROM classes""",
    "enrollments": """
        SELECT class AS class_key, person AS user_key, 'student' AS role, false AS is_primary
        FROM enrollments
        UNION ALL
        SELECT class, teacher, 'teacher', true
        FROM classes""",
}
"""Entity -> its records as an export reads them."""


def write_roster(connection: duckdb.DuckDBPyConnection, out: Path) -> dict[str, int]:
    """Write the district that `connection` has; returns file -> lines below its header."""
    for entity, query in _ACTIVE.items():
        connection.execute(f"CREATE VIEW active_{entity} AS {query}")
    return write_files(connection, written()["oneroster"], out)
