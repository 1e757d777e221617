"""Planting faults in place and writing down the answers: who gets which fault, on which lines it must be reported.

A person gets one fault at most, a line never more than one, so that no consequence mixes with another. All of it is
set-wise; what the faults are stands in `faults.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from enrollsync.export.turned import numbered_lines
from enrollsync.sample.edited import EDITS
from enrollsync.sample.faults import STUDENTS, Fault, Reach
from enrollsync.sample.layouts import Layout

SMALLEST_WITH_ALL = 200
"""From that many students on, every kind of fault is planted at least once."""


@dataclass(frozen=True)
class Quota:
    """How often a kind of fault is planted."""

    kind: int
    """The fault's place in the declared table."""
    units: int
    people: int
    """How many people one of them takes."""


def plant(connection: duckdb.DuckDBPyConnection, layout: Layout, dirt: float) -> None:
    """Create the tables `edits` and `answers` (code, file, line, entity, column, effect).

    `dirt` is the share of lines, of each file that can have faults, on which one is to be reported; where that needed
    two faults on one person, fewer are planted.
    """
    faults = layout.faults
    for statement in (EDITS, _person_lines(layout), _PLANTABLE):
        connection.execute(statement)
    spread = lines_a_person(dirt)
    _create_kinds(connection, faults, spread)
    quotas = _quotas(connection, faults, dirt, spread)
    # Rare people first, or faults that befall any student would use them up.
    for among in sorted({fault.among for fault in faults}, key=lambda condition: (condition == STUDENTS, condition)):
        _choose_people(connection, among, [quota for quota in quotas if faults[quota.kind].among == among])
    connection.execute(_touched())
    connection.execute(_insert_edits(faults))
    _create_answers(connection, faults)


def _person_lines(layout: Layout) -> str:
    """On which lines of the files that can have faults each person stands, as the files were written."""
    files = {fault.file for fault in layout.faults}
    told = " UNION ALL ".join(
        f"SELECT '{lines.file}' AS file, * FROM ({numbered_lines(layout.written, lines)})"
        for lines in layout.declared.lines
        if lines.file in files
    )
    return f"""
        CREATE TABLE person_lines AS
        SELECT
          file,
          user_key AS person,
          row_number() OVER (PARTITION BY file, user_key ORDER BY number) - 1 AS ordinal,
          number AS line,
          class_key AS class
        FROM ({told})
    """


_PLANTABLE = """
    CREATE VIEW plantable AS
    FROM people
    WHERE person <> student_count() - 1
      AND NOT has_second_contact(person)
"""
"""The last student keeps an unclosed quotation from standing at the end of a file of students."""


def lines_a_person(dirt: float) -> int:
    """How many of a person's six lines a fault of single lines changes: as few as will do for that much dirt."""
    return 6 if dirt > 0.5 else math.ceil(6 * dirt / (1 - dirt))


def write_answers(connection: duckdb.DuckDBPyConnection, path: Path, head: dict[str, object]) -> None:
    """Write `answers.json`: the values of `head`, then `faults`, a record for each line that must be reported."""
    columns = ",\n            ".join(f'${name} AS "{name}"' for name in head)
    connection.execute(
        f"""
        COPY (
          SELECT
            {columns},
            (SELECT coalesce(list(answers ORDER BY file, line, code), []) FROM answers) AS faults
        ) TO $path (FORMAT json)
        """,
        {"path": str(path), **head},
    )


def answers_by_code(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Code -> lines on which it must be reported."""
    rows = connection.execute("SELECT code, count(*) FROM answers GROUP BY code ORDER BY code").fetchall()
    return {str(code): int(lines) for code, lines in rows}


def _create_kinds(connection: duckdb.DuckDBPyConnection, faults: Sequence[Fault], spread: int) -> None:
    """`kinds`: the declared faults as rows; `chosen`: who gets which, `place` counting within a pair."""
    connection.execute(
        """
        CREATE TABLE kinds (
          kind INTEGER,
          code VARCHAR,
          file VARCHAR,
          entity VARCHAR,
          "column" VARCHAR,
          effect VARCHAR,
          changes VARCHAR,
          damage VARCHAR,
          people INTEGER,
          changed_lines INTEGER,
          all_reported BOOLEAN
        )
        """
    )
    connection.execute("CREATE TABLE chosen (kind INTEGER, unit BIGINT, place BIGINT, person BIGINT)")
    # None of a person's lines is left out where all of them change.
    changed_lines = {Reach.LINE: spread, Reach.ODD_LINE: 1}
    connection.executemany(
        "INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            [
                kind, fault.code, fault.file, fault.entity, fault.column, fault.effect, fault.changed_column,
                fault.damage, fault.reach.people, changed_lines.get(fault.reach, 1_000), fault.reach is not Reach.LINE,
            ]
            for kind, fault in enumerate(faults)
        ],
    )  # fmt: skip


def _quotas(connection: duckdb.DuckDBPyConnection, faults: Sequence[Fault], dirt: float, spread: int) -> list[Quota]:
    """Share the lines that are to be reported out over the faults of each file."""
    sizes = {
        file: (lines, round(lines / people))
        for file, lines, people in connection.execute(
            "SELECT file, count(*), count(DISTINCT person) FROM person_lines GROUP BY file"
        ).fetchall()
    }
    least = int(_count(connection, "SELECT student_count()") >= SMALLEST_WITH_ALL)
    quotas = []
    for kind, fault in enumerate(faults):
        lines, lines_of_one = sizes[fault.file]
        all_shares = sum(other.share for other in faults if other.file == fault.file)
        reported = min(spread, lines_of_one) if fault.reach is Reach.LINE else lines_of_one * fault.reach.people
        units = round(dirt * lines * fault.share / all_shares / reported)
        quotas.append(Quota(kind, max(least, units), fault.reach.people))
    return quotas


def _choose_people(connection: duckdb.DuckDBPyConnection, among: str, quotas: list[Quota]) -> None:
    """Give each of the kinds its people, taken in a random order from those who have no fault yet."""
    connection.execute(_candidates(among))
    candidates = _count(connection, "SELECT count(*) FROM candidates")
    needed = sum(quota.units * quota.people for quota in quotas)
    fit = min(1.0, candidates / needed) if needed else 0.0
    after = 0
    for quota in quotas:
        first, after = after, after + max(min(quota.units, 1), int(quota.units * fit)) * quota.people
        # The last of a pool that is too small stays out, rather than half a pair.
        if after <= candidates:
            connection.execute(_seat(), {"kind": quota.kind, "first": first, "after": after, "people": quota.people})


def _candidates(among: str) -> str:
    return f"""
        CREATE OR REPLACE TABLE candidates AS
        SELECT
          person,
          row_number() OVER (ORDER BY hash(getvariable('seed')::BIGINT, 'dirt', person), person) - 1 AS rank
        FROM plantable
        ANTI JOIN chosen USING (person)
        WHERE {among}
    """


def _seat() -> str:
    return """
        INSERT INTO chosen
        SELECT $kind, (rank - $first) // $people, (rank - $first) % $people, person
        FROM candidates
        WHERE rank >= $first AND rank < $after
    """


def _touched() -> str:
    """Every line of the chosen people; `changed` says which of them get the fault."""
    return """
        CREATE TABLE touched AS
        WITH befallen AS (
          SELECT
            kinds.*,
            chosen.unit,
            chosen.place,
            person_lines.person,
            person_lines.line,
            person_lines.ordinal,
            person_lines.class,
            count(*) OVER (PARTITION BY person_lines.person) AS lines
          FROM chosen
          JOIN kinds USING (kind)
          JOIN person_lines ON person_lines.file = kinds.file AND person_lines.person = chosen.person
        )
        SELECT
          *,
          place = people - 1 AND (ordinal + choice('line', person, lines)) % lines < changed_lines AS changed
        FROM befallen
    """


def _insert_edits(faults: Sequence[Fault]) -> str:
    values = "\n            ".join(f"WHEN {kind} THEN {fault.value}" for kind, fault in enumerate(faults))
    return f"""
        INSERT INTO edits
        SELECT
          touched.file,
          touched.line,
          touched.changes,
          CASE touched.kind
            {values}
          END,
          touched.damage
        FROM touched
        JOIN people AS person ON person.person = touched.person
        LEFT JOIN chosen AS partner
          ON partner.kind = touched.kind AND partner.unit = touched.unit AND partner.place < touched.place
        LEFT JOIN people AS other ON other.person = partner.person
        LEFT JOIN classes AS class ON class.class = touched.class
        WHERE touched.changed
    """


def _create_answers(connection: duckdb.DuckDBPyConnection, faults: Sequence[Fault]) -> None:
    connection.execute(
        """
        CREATE TABLE answers AS
        SELECT code, file, line, entity, "column", effect
        FROM touched
        WHERE changed OR all_reported
        """
    )
    brought = [(kind, told) for kind, fault in enumerate(faults) for told in fault.brings]
    for kind, told in brought:
        connection.execute(
            """
            INSERT INTO answers
            SELECT $code, person_lines.file, person_lines.line, $entity, $column, $effect
            FROM touched
            JOIN person_lines USING (person)
            WHERE touched.kind = $kind AND touched.changed AND person_lines.file = $file
            """,
            {
                "kind": kind,
                "code": told.code,
                "file": told.file,
                "entity": told.entity,
                "column": told.column,
                "effect": told.effect,
            },
        )


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
