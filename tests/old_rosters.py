"""Rosters of before, as the statements that fill an empty database of an older schema."""

from __future__ import annotations


def membership(role: str, is_primary: str) -> str:
    return f'{{"role":"{role}","is_primary":{is_primary},"status":"active","source":"clever"}}'


TURNED_TEACHER = (
    "INSERT INTO runs (district_id, run_id, outcome, started_at, source, counts_json, findings_json, state_before,"
    " state_after) VALUES ('demo', 'run-1', 'applied', '2026-01-01', 'clever', '{}', '{}', 0, 1),"
    " ('demo', 'run-2', 'applied', '2026-01-02', 'clever', '{}', '{}', 1, 2)",
    "INSERT INTO district_state (district_id, version) VALUES ('demo', 2)",
    "INSERT INTO organizations (district_id, organization_key, source_key, organization_id, status, source) VALUES"
    " ('demo', 1, 'S1', 'S1', 'active', 'clever'), ('demo', 2, 'S2', 'S2', 'active', 'clever')",
    "INSERT INTO users (district_id, user_key, source_key, user_id, role, status, source) VALUES"
    " ('demo', 7, 'staff:7', '7', 'teacher', 'active', 'clever'),"
    " ('demo', 8, 'student:8', '8', 'student', 'active', 'clever')",
    "INSERT INTO memberships (district_id, user_key, organization_key, role, is_primary, status, source) VALUES"
    " ('demo', 7, 1, 'teacher', true, 'active', 'clever'), ('demo', 7, 2, 'staff', false, 'active', 'clever'),"
    " ('demo', 8, 1, NULL, true, 'active', 'clever')",
    "INSERT INTO changes (district_id, state_after, sequence, entity, operation, user_key, organization_key,"
    " before_json, after_json) VALUES "
    + ", ".join(
        f"('demo', {state}, {number}, '{entity}', '{operation}', {user}, {school}, {before}, '{after}')"
        for number, (state, entity, operation, user, school, before, after) in enumerate(
            (
                (1, "users", "create", 7, "NULL", "NULL", '{"user_id":"7","role":"staff","status":"active"}'),
                (1, "memberships", "create", 7, 1, "NULL", membership("staff", "true")),
                (1, "memberships", "create", 7, 2, "NULL", membership("staff", "false")),
                (
                    1,
                    "memberships",
                    "create",
                    8,
                    1,
                    "NULL",
                    membership("student", "true").replace('"role":"student",', ""),
                ),
                (2, "users", "update", 7, "NULL", """'{"role":"staff"}'""", '{"role":"teacher"}'),
                (2, "memberships", "update", 7, 1, """'{"role":"staff"}'""", '{"role":"teacher"}'),
            )
        )
    ),
)
"""Somebody who was staff of two schools, and became a teacher in one of them; and a student without a role there."""
