"""Suggests an identifier that people remember for each class that has none (rule 8): course, period, teacher.

Which identifiers are opaque is a check like any other; here its findings are told what the class could be called.
Of people only the family names of employees are read.
"""

from __future__ import annotations

from typing import Any

import duckdb

from enrollsync.run.engine import one_row
from enrollsync.run.workspace import Workspace
from enrollsync.validate.frames import rows

_LONGEST = 22
"""Characters without a number: what still fits on a timetable. The teacher's name and the period go first."""
_LONGEST_NAME = 10
_LONGEST_PERIOD = 4


def add_suggestions(connection: duckdb.DuckDBPyConnection, workspace: Workspace, words: dict[str, Any]) -> None:
    """Add to the messages of ID-OPAQUE in `found` an identifier made of the class's own course, period and teacher.

    No class of the delivery has it, whatever its upper and lower case, and no two are given the same one: a number
    tells them apart. A class of which the delivery says too little keeps its message. Row order does not matter.
    """
    if one_row(connection, "SELECT count(*) FROM found WHERE code = 'ID-OPAQUE'") == (0,):
        return
    connection.execute(_MACROS)
    connection.execute(
        f"""
        UPDATE found
        SET message = message || ' This class could be ' || suggested.identifier || '.'
        FROM ({_suggested(workspace)}) AS suggested
        WHERE found.code = 'ID-OPAQUE' AND found.row_id = suggested.row_id
        """,
        {"opaque": words["opaque_regex"].replace(r"\Z", r"\z"), "joiner": words["identifier_joiner"]},
    )


_MACROS = r"""
    CREATE OR REPLACE TEMP MACRO plain(x) AS nullif(regexp_replace(upper(strip_accents(x)), '[^A-Z0-9]', '', 'g'), '');
    -- `3`, `P3`, `Per. 3` and `Period 3` are all `P3`.
    CREATE OR REPLACE TEMP MACRO numbered_period(x) AS 'P' || regexp_replace(x, '^P(ERIOD|ER|D)?([0-9]|[A-Z]$)', '\2');
"""


def _suggested(workspace: Workspace) -> str:
    """`row_id, identifier` of the rows of opaque classes.

    A number is put behind a stem that ends in no digit, so that no two stems with numbers make the same identifier.
    """
    return f"""
        WITH {_described(workspace)},
        based AS (
            SELECT source_key, class_id,
                concat_ws($joiner,
                    left(course, {_LONGEST} - length(concat_ws($joiner, '', period, teacher))), period, teacher
                ) AS base
            FROM described
            -- Letters beyond F: no digits alone and nothing hexadecimal, which would be opaque again.
            WHERE coalesce(course, teacher) IS NOT NULL AND regexp_matches(base, '[G-Z]')
        ),
        identifiers AS (
            SELECT DISTINCT upper(class_id) AS name
            FROM {rows(workspace, "classes")}
            WHERE class_id IS NOT NULL
        ),
        taken AS (
            SELECT name, regexp_replace(name, '[0-9]+$', '') AS stem FROM identifiers
            UNION
            SELECT base, regexp_replace(base, '[0-9]+$', '') FROM based
        ),
        placed AS (
            SELECT *,
                base NOT IN (FROM identifiers)
                    AND row_number() OVER (PARTITION BY base ORDER BY class_id, source_key) = 1 AS bare,
                base || CASE
                    WHEN $joiner <> '' THEN $joiner
                    WHEN regexp_matches(base, '[0-9]$') THEN 'N'
                    ELSE ''
                END AS stem
            FROM based
        ),
        numbered AS (
            SELECT source_key, stem, row_number() OVER (PARTITION BY stem ORDER BY class_id, source_key) AS place
            FROM placed
            WHERE NOT bare
        ),
        wanted AS (
            SELECT stem, count(*) + (SELECT count(*) FROM taken WHERE taken.stem = numbered.stem) AS most
            FROM numbered
            GROUP BY stem
        ),
        free AS (
            SELECT stem, stem || number AS name, row_number() OVER (PARTITION BY stem ORDER BY number) AS place
            FROM (SELECT stem, unnest(range(2, 2 + most)) AS number FROM wanted)
            WHERE name NOT IN (SELECT name FROM taken)
        ),
        named AS (
            SELECT source_key, base AS identifier FROM placed WHERE bare
            UNION ALL
            SELECT source_key, name FROM numbered JOIN free USING (stem, place)
        )
        SELECT row_id, identifier
        FROM opaque
        JOIN named USING (source_key)"""


def _described(workspace: Workspace) -> str:
    """The rows of opaque classes, and of each class `course`, `period` and `teacher`, folded to A to Z and digits.

    Where rows of a class disagree, the one that most lines say is taken. A course code that is opaque itself is passed
    over. The name is that of the primary teacher, else of the first one, if all of that person's rows are an
    employee's and agree: it must be nobody else's.
    """
    return f"""
        opaque AS (
            SELECT row_id, source_key, class_id, len(lines) AS weight,
                coalesce(
                    plain(CASE WHEN NOT regexp_matches(course_code, $opaque) THEN course_code END),
                    plain(course_name),
                    plain(name)
                ) AS course,
                left(numbered_period(plain(period)), {_LONGEST_PERIOD + 1}) AS period
            FROM {rows(workspace, "classes")}
            SEMI JOIN (FROM found WHERE code = 'ID-OPAQUE') AS said USING (row_id)
            WHERE source_key IS NOT NULL
        ),
        classes AS (
            SELECT source_key, class_id, course, period
            FROM opaque
            QUALIFY row_number() OVER (
                PARTITION BY source_key
                ORDER BY course IS NULL, weight DESC, class_id, course, period
            ) = 1
        ),
        teaching AS (
            SELECT class_source_key AS source_key, user_source_key
            FROM {rows(workspace, "enrollments")}
            WHERE role = 'teacher' AND class_source_key IN (SELECT source_key FROM classes)
            QUALIFY row_number() OVER (
                PARTITION BY class_source_key
                ORDER BY coalesce(is_primary, '') = 'true' DESC, user_source_key
            ) = 1
        ),
        employees AS (
            SELECT source_key AS user_source_key,
                left(regexp_replace(plain(min(family_name)), '[0-9]', '', 'g'), {_LONGEST_NAME}) AS family_name
            FROM {rows(workspace, "users")}
            WHERE source_key IN (SELECT user_source_key FROM teaching)
            GROUP BY source_key
            HAVING bool_and(coalesce(kind, '') = 'staff') AND count(DISTINCT family_name) = 1
        ),
        described AS (
            SELECT source_key, class_id, course, period, nullif(family_name, '') AS teacher
            FROM classes
            LEFT JOIN teaching USING (source_key)
            LEFT JOIN employees USING (user_source_key)
        )"""
