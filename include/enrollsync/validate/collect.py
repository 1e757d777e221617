"""Failed checks become findings: row ids are joined with the lines that say them, set-wise, and written in order.

No check is made here, and no severity decided: both come with the check.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from enrollsync.ingest.normalise import BETWEEN_BLANKS
from enrollsync.run.engine import literal, write_parquet
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.validate.asked import Asked, counts_for_removals
from enrollsync.validate.frames import rows
from enrollsync.words import findings
from enrollsync.words.canonical import REMOVE, Entity
from enrollsync.words.codes import CODES, Scope

PREFERENCE = ("organizations", "classes", "users", "memberships", "enrollments")
"""One line fills several tables; a fault in it is reported once, for the first of these that has it."""
_PER_RECORD = (Scope.RECORD, Scope.VALUE, Scope.CLEARED)
"""What a finding of these scopes takes away, it takes from its own row alone, so rows are not merged."""


@dataclass(frozen=True)
class Answer:
    """What became of one check that failed."""

    number: int
    """The check's place in its suite, from 0."""
    row_ids: np.ndarray[Any, Any]
    """The rows that fail it, 64-bit."""


@dataclass(frozen=True)
class Checked:
    """What became of a suite."""

    results: list[Any]
    """One for each check, in the suite's order, without rows: with a dict `result` that counts."""
    failed: list[Answer]


def create_table(connection: duckdb.DuckDBPyConnection) -> None:
    """The empty table that `add` fills and `write` writes."""
    connection.execute(f"CREATE TABLE found ({findings.schema()})")


def add(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    entity: str,
    checks: pa.Table,
    names: pa.Table,
    answers: list[Answer],
) -> None:
    """Add the findings of one entity, every line of every failing row, or the first where one is enough.

    `checks` and `names` are as the functions below make them.

    Blanks, and keys that are not found, are reported for each column that had them; other findings name the column that
    the check is about.
    """
    failed = _failed_table(answers)
    if not failed.num_rows:
        return
    connection.register("failed", failed)
    connection.register("checks", checks)
    connection.register("names", names)
    connection.execute(
        f"""
        INSERT INTO found
        SELECT
            checks.code,
            checks.severity,
            $entity,
            failed.row_id,
            this.file,
            unnest(CASE WHEN checks.once THEN this.lines[:1] ELSE this.lines END),
            coalesce(names.source, checks."column"),
            checks."column",
            checks.message
        FROM failed
        JOIN checks ON checks.number = failed.number
        JOIN {rows(workspace, entity)} AS this ON this.row_id = failed.row_id
        LEFT JOIN names ON names.file = this.file AND names."column" = checks."column"
        WHERE checks."column" NOT IN ('blanks', 'unfound')
        """,
        {"entity": entity},
    )
    connection.execute(
        f"""
        INSERT INTO found
        WITH named AS (
            SELECT failed.row_id, checks.*, this.file, this.lines,
                unnest(string_split(
                    CASE checks."column" WHEN 'blanks' THEN this.blanks ELSE this.unfound END, {literal(BETWEEN_BLANKS)}
                )) AS source
            FROM failed
            JOIN checks ON checks.number = failed.number
            JOIN {rows(workspace, entity)} AS this ON this.row_id = failed.row_id
            WHERE checks."column" IN ('blanks', 'unfound')
        )
        SELECT code, severity, $entity, row_id, file, unnest(lines), source, NULL, message
        FROM named
        """,
        {"entity": entity},
    )


def without_removals(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, entity: Entity, suite: list[Asked], checked: Checked
) -> Checked:
    """The same less the failing rows that ask for a removal, where a check does not count for these."""
    asking = f"SELECT row_id FROM {rows(workspace, entity.name)} WHERE action = '{REMOVE}'"
    removing = connection.execute(asking).fetchnumpy()["row_id"]
    about = [(check.meta["code"], check.column) for check in suite]
    left = (
        answer
        if counts_for_removals(*about[answer.number], entity)
        else replace(answer, row_ids=answer.row_ids[~np.isin(answer.row_ids, removing)])
        for answer in checked.failed
    )
    return replace(checked, failed=[answer for answer in left if len(answer.row_ids)])


def check_table(suite: list[Asked], words: dict[str, Any]) -> pa.Table:
    """`number, code, severity, column` (canonical), `once`, `message` of each check; `words` fill messages' braces."""
    return pa.Table.from_pylist(
        [
            {
                "number": number,
                "code": check.meta["code"],
                "severity": check.severity,
                "column": check.column,
                "once": bool(check.meta.get("once")),
                "message": str(check.meta["notes"]).format_map(words),
            }
            for number, check in enumerate(suite)
        ]
    )


def name_table(run: Run, entity: str, columns: Iterable[str]) -> pa.Table:
    """`file, column, source`: what each file calls the canonical columns that findings are about."""
    declared = run.format
    named = [
        (file.name, column, declared.called(file.name, entity, column))
        for file in run.manifest.files
        for column in dict.fromkeys(columns)
    ]
    return _text_table(("file", "column", "source"), named)


def add_malformed(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Add a finding for each line that is no CSV record, under the principal entity of its file."""
    malformed = run.place.malformed
    if not malformed.exists():
        return
    files = [(file.name, file.entity) for file in run.manifest.files]
    connection.register("files", _text_table(("name", "entity"), files))
    connection.execute(
        """
        INSERT INTO found
        SELECT
            'ROW-MALFORMED',
            $severity,
            files.entity,
            NULL,
            malformed.file,
            malformed.line,
            NULL,
            NULL,
            CASE
                WHEN malformed.last_line > malformed.line
                THEN format('{} (lines {} to {})', malformed.reason, malformed.line, malformed.last_line)
                ELSE malformed.reason
            END
        FROM read_parquet($path) AS malformed
        LEFT JOIN files ON files.name = malformed.file
        """,
        {"severity": CODES["ROW-MALFORMED"].severity_in(run.format.source.name), "path": str(malformed)},
    )


def write(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Write `findings.parquet`: each fault of a line once, by file, line and code.

    Rows of different people under one identifier are not rows of one record, so they are no conflict besides; of a
    line that a staff upload may not bring at all, its class is not told besides.
    """
    per_record = ", ".join(f"'{name}'" for name, code in CODES.items() if code.scope in _PER_RECORD)
    preference = ", ".join(f"'{entity}'" for entity in PREFERENCE)
    write_parquet(
        connection,
        f"""
        SELECT {", ".join(f'"{name}"' for name in findings.COLUMNS)}
        FROM found
        WHERE (
            code <> 'VAL-CONFLICT'
            OR (entity, row_id) NOT IN (SELECT (entity, row_id) FROM found WHERE code = 'ID-DUPLICATE')
        )
        AND (
            code <> 'ROW-STAFF-CLASS'
            OR (file, line) NOT IN (SELECT (file, line) FROM found WHERE code = 'ROW-STAFF-ONLY')
        )
        QUALIFY row_number() OVER (
            PARTITION BY code, file, line, "column", CASE WHEN code IN ({per_record}) THEN (entity, row_id) END
            ORDER BY list_position([{preference}], entity), row_id
        ) = 1
        ORDER BY {", ".join(f'"{name}"' for name in findings.ORDER)}
        """,
        workspace.findings,
    )


def write_checks(workspace: Workspace, suites: dict[str, list[Asked]], checked: list[Checked]) -> None:
    """Write `checks.json`: what each check asked, of how many rows, and how many of them failed it; no values."""
    told = [
        {
            "entity": entity,
            "expectation": check.type,
            "column": check.column,
            "code": check.meta["code"],
            "rows": int(result.result["element_count"]) - int(result.result.get("missing_count") or 0),
            "failed": failed.get(number, 0),
        }
        for (entity, suite), one in zip(suites.items(), checked, strict=True)
        for failed in [{answer.number: len(answer.row_ids) for answer in one.failed}]
        for number, (check, result) in enumerate(zip(suite, one.results, strict=True))
    ]
    workspace.checks.write_text(json.dumps(told, indent=1))


def _failed_table(answers: list[Answer]) -> pa.Table:
    parts = [
        pa.table(
            {
                "number": pa.repeat(pa.scalar(answer.number, pa.int64()), len(answer.row_ids)),
                "row_id": pa.array(answer.row_ids, pa.int64()),
            }
        )
        for answer in answers
    ]
    return pa.concat_tables(parts) if parts else pa.table({"number": [], "row_id": []})


def _text_table(names: tuple[str, ...], values: Sequence[tuple[str | None, ...]]) -> pa.Table:
    columns = [[value[place] for value in values] for place in range(len(names))]
    return pa.table([pa.array(column, pa.string()) for column in columns], names=list(names))
