"""The deliveries that are measured: one synthetic district on three nights, as folders of Clever CSV files.

    python -m benchmarks.workloads FOLDER SIZE

takes a sample of SIZE + SIZE/400 students from `FOLDER/sample` and writes `base`, `changed` and `reidentified` beside
it. A process of its own, because what the driver holds in memory would count as its children's.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.tables import TABLES

if TYPE_CHECKING:
    import duckdb

NIGHTS = ("base", "changed", "reidentified")
CHANGED_SHARE = 400
"""A quarter of a percent of the students come, as many leave, get another grade, get another email: 1 % together."""
MOVED_SHARE = 100
"""One in so many enrollments moves to another class of the school."""
REIDENTIFIED_SHARE = 10
"""One in so many students gets another identifier."""


def students_to_sample(size: int) -> int:
    """Those who come on the second night are held back on the first; each night has `size` students."""
    return size + size // CHANGED_SHARE


def write_nights(folder: Path, size: int) -> dict[str, dict[str, int]]:
    """Write the three folders; returns night -> table -> distinct records."""
    import duckdb  # the driver imports this module too, and has to stay small

    sample = folder / "sample"
    with duckdb.connect(config={"temp_directory": str(folder / "spill"), "memory_limit": "4GB"}) as connection:
        for name in ("students", "sections", "enrollments"):
            connection.execute(f"CREATE TABLE all_{name} AS FROM read_csv(?, {_CSV})", [str(sample / f"{name}.csv")])
        for statement in (_parts(size), _MOVES, *_NIGHT_VIEWS):
            connection.execute(statement)
        for night in NIGHTS:
            shutil.copytree(sample, folder / night, ignore=shutil.ignore_patterns("students.csv", "enrollments.csv"))
            for name in ("students", "enrollments"):
                path = folder / night / f"{name}.csv"
                connection.execute(f"COPY (FROM {night}_{name}) TO '{path}' (FORMAT csv, HEADER true)")
        return {night: _counted(connection, folder / night) for night in NIGHTS}


def _counted(connection: duckdb.DuckDBPyConnection, folder: Path) -> dict[str, int]:
    counts = {}
    for table in TABLES:
        query = f"SELECT count(DISTINCT ({', '.join(table.key)})) FROM read_csv(?, {_CSV})"
        counts[table.name] = connection.execute(query, [str(folder / table.file)]).fetchall()[0][0]
    return counts


_CSV = "all_varchar = true, header = true, delim = ',', quote = '\"'"


def _parts(size: int) -> str:
    """Which student plays which part; the hash only has to be the same on every run."""
    few, many = size // CHANGED_SHARE, size // REIDENTIFIED_SHARE
    return f"""
        CREATE TABLE parts AS
        WITH shuffled AS (
            SELECT Student_id, row_number() OVER (ORDER BY hash(Student_id), Student_id) - 1 AS place
            FROM (SELECT DISTINCT Student_id FROM all_students)
        )
        SELECT
            Student_id,
            CASE
                WHEN place < {few} THEN 'comes'
                WHEN place < {2 * few} THEN 'leaves'
                WHEN place < {3 * few} THEN 'grade'
                WHEN place < {4 * few} THEN 'email'
                WHEN place < {4 * few + many} THEN 'reidentified'
            END AS part
        FROM shuffled"""


_MOVES = f"""
    CREATE TABLE moves AS
    WITH ring AS (
        SELECT
            Section_id,
            coalesce(lead(Section_id) OVER school, first_value(Section_id) OVER school) AS target
        FROM all_sections
        WINDOW school AS (PARTITION BY School_id ORDER BY Section_id)
    )
    SELECT Student_id, Section_id, target
    FROM all_enrollments AS old
    JOIN ring USING (Section_id)
    WHERE hash(Student_id, Section_id) % {MOVED_SHARE} = 0
        AND NOT EXISTS (
            FROM all_enrollments AS other
            WHERE other.Student_id = old.Student_id AND other.Section_id = target
        )
    QUALIFY row_number() OVER (PARTITION BY Student_id ORDER BY Section_id) = 1"""
"""At most one a student, so that no two moves end in the same class."""

_NIGHT_VIEWS = (
    """
    CREATE VIEW base_students AS
    FROM all_students
    WHERE Student_id NOT IN (SELECT Student_id FROM parts WHERE part = 'comes')""",
    """
    CREATE VIEW base_enrollments AS
    FROM all_enrollments
    WHERE Student_id NOT IN (SELECT Student_id FROM parts WHERE part = 'comes')""",
    """
    CREATE VIEW changed_students AS
    SELECT all_students.* REPLACE (
        CASE
            WHEN part <> 'grade' THEN Grade
            WHEN Grade = 'Kindergarten' THEN '1'
            WHEN Grade = '12' THEN '11'
            ELSE CAST(CAST(Grade AS INTEGER) + 1 AS VARCHAR)
        END AS Grade,
        CASE WHEN part = 'email' THEN 'new.' ELSE '' END || Student_email AS Student_email
    )
    FROM all_students
    JOIN (SELECT Student_id, coalesce(part, '') AS part FROM parts) AS parts USING (Student_id)
    WHERE part <> 'leaves'""",
    """
    CREATE VIEW changed_enrollments AS
    SELECT old.* REPLACE (coalesce(target, Section_id) AS Section_id)
    FROM all_enrollments AS old
    LEFT JOIN moves USING (Student_id, Section_id)
    WHERE Student_id NOT IN (SELECT Student_id FROM parts WHERE part = 'leaves')""",
    *(
        f"""
    CREATE VIEW reidentified_{name} AS
    SELECT new.* REPLACE (CASE WHEN part = 'reidentified' THEN 'R' ELSE '' END || Student_id AS Student_id)
    FROM changed_{name} AS new
    JOIN (SELECT Student_id, coalesce(part, '') AS part FROM parts) AS parts USING (Student_id)"""
        for name in ("students", "enrollments")
    ),
)

if __name__ == "__main__":
    print(json.dumps(write_nights(Path(sys.argv[1]), int(sys.argv[2]))))
