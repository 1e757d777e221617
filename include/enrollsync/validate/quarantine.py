"""What is wrong with a delivery, as files a person works with: copies of the rejected lines, and `findings.csv`.

Which lines are rejected was decided before (`validate`, `accept.py`); nothing is judged here, and nothing is laid out
for reading: that is the report's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from enrollsync.ingest.corrected import ERRORS
from enrollsync.run import engine
from enrollsync.run.engine import cell, connect
from enrollsync.run.run import Run
from enrollsync.run.source_table import numbered, stored_columns
from enrollsync.run.workspace import Notice, RunManifest, SourceFile, Workspace, error_file_name
from enrollsync.words import findings
from enrollsync.words.codes import CODES

FINDINGS_FILE = "findings.csv"
_MALFORMED = "file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR"
"""What is read of `source/malformed.parquet`."""


def write(run: Run) -> dict[str, int]:
    """Write `quarantine/<file>-errors.csv` for each source file with rejected lines, and `findings.csv`.

    An error file holds `errors`, then the file's own columns, one row a rejected line, in file order; a malformed line
    stands in one field, and nothing starts like a formula (`engine.cell`); `ingest.corrected` reads such a file. Values
    of secret columns are left out. Error files of an earlier attempt are replaced.
    Returns file -> rejected lines, where any.
    """
    workspace, manifest = run.place, run.manifest
    workspace.quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in workspace.quarantine.glob("*-errors.csv"):
        old.unlink()
    with findings_tables(run) as connection:
        rejected = rejected_lines(connection)
        for file in manifest.files:
            if file.name in rejected:
                _write_errors(connection, workspace, file)
        _write_findings(connection, workspace)
    return {file.name: rejected[file.name] for file in manifest.files if file.name in rejected}


def write_findings(run: Run) -> None:
    """Write `findings.csv` alone: again after later steps have added findings."""
    with findings_tables(run) as connection:
        _write_findings(connection, run.place)


def error_file(workspace: Workspace, name: str) -> Path:
    """Where the rejected lines of the source file `name` are kept."""
    return workspace.quarantine / error_file_name(name)


@contextmanager
def findings_tables(run: Run) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with `findings`, `malformed`, `notices` and `codes`, each empty where the run has none."""
    with connect(run.place.root) as connection:
        make_findings_tables(connection, run)
        yield connection


def make_findings_tables(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
    """The same on a connection that is there; they are temporary, so that others may use its engine."""
    _parquet_or_empty(connection, "findings", run.place.findings, findings.schema())
    _parquet_or_empty(connection, "malformed", run.place.malformed, _MALFORMED)
    connection.register("notices", _notices_table(file_level(run.manifest)))
    connection.register("codes", _codes_table())


def file_level(manifest: RunManifest) -> list[Notice]:
    """The notices of a run: those on files, and the holds."""
    return [*manifest.notices, *manifest.holds]


def rejected_lines(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Source file -> number of its lines that did not load; files without any are not named."""
    found = connection.execute(
        f"""
        WITH rejected AS ({_REJECTED})
        SELECT file, count(*)
        FROM rejected
        GROUP BY file
        ORDER BY file
        """
    )
    return dict(found.fetchall())


_REJECTED = """
    SELECT file, line
    FROM findings
    WHERE severity = 'critical'
      AND line IS NOT NULL
    UNION
    SELECT file, line
    FROM malformed
"""


def _write_errors(connection: duckdb.DuckDBPyConnection, workspace: Workspace, file: SourceFile) -> None:
    header = [ERRORS, *file.header]
    names = [f"c{place}" for place in range(len(header))]
    query = f"""
        WITH rejected AS ({_REJECTED}),
        errors AS ({_ERRORS}),
        delivered AS (SELECT * FROM {numbered(workspace.source_table(file.name))}),
        written(line, {", ".join(names)}) AS (
            SELECT 0, {", ".join("?" for _ in header)}
            UNION ALL
            SELECT
                rejected.line,
                concat('line ', rejected.line, ': ', coalesce(errors.text, 'ROW-MALFORMED: ' || malformed.reason)),
                {", ".join(_cells(workspace, file))}
            FROM rejected
            LEFT JOIN errors USING (file, line)
            LEFT JOIN malformed USING (file, line)
            LEFT JOIN delivered ON delivered.line = rejected.line
            WHERE rejected.file = ?
        )
        SELECT {", ".join(cell(name) for name in names)}
        FROM written
        ORDER BY line
        """
    target = error_file(workspace, file.name)
    _private(target)
    connection.sql(query, params=[*header, file.name]).write_csv(str(target), header=False, use_tmp_file=False)


def _cells(workspace: Workspace, file: SourceFile) -> list[str]:
    """SQL for each column of a rejected line: as delivered but for secret ones, or the whole line in the first."""
    stored = iter(stored_columns(workspace.source_table(file.name)))
    columns = [None if name in file.secret_columns else next(stored, None) for name in file.header]
    first, *others = (f"delivered.{engine.name(name)}" if name else "NULL" for name in columns)
    return [f"CASE WHEN malformed.line IS NULL THEN {first} ELSE malformed.raw END", *others]


_ERRORS = """
    SELECT
        file,
        line,
        string_agg(
            code || coalesce(' ' || "column", '') || ': ' || coalesce(message, ''), ' | '
            ORDER BY list_position(['critical', 'warning', 'info'], severity), code, "column", message
        ) AS text
    FROM (SELECT DISTINCT file, line, severity, code, "column", message FROM findings WHERE code <> 'ROW-WAITS')
    GROUP BY file, line
"""
"""All that was found on a line; what merely waits for it to be corrected left out."""


def _write_findings(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Every finding and notice, those on files first; no cell starts like a formula."""
    target = workspace.root / FINDINGS_FILE
    _private(target)
    connection.sql(
        f"""
        WITH everything AS (
            SELECT 0 AS part, severity, code, file, line, NULL AS "column", message
            FROM notices
            UNION ALL
            SELECT 1 AS part, severity, code, file, line, "column", message
            FROM findings
        )
        SELECT
            severity,
            code,
            {cell("file")} AS file,
            line,
            {cell('"column"')} AS "column",
            {cell("message")} AS message,
            remedy,
            rule
        FROM everything
        LEFT JOIN codes USING (code)
        ORDER BY part, file, line, list_position(['critical', 'warning', 'info'], severity), code, "column", message
        """
    ).write_csv(str(target), header=True, use_tmp_file=False)


def _private(path: Path) -> None:
    """Make a new empty file that its owner alone can read: it holds children's records."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _parquet_or_empty(connection: duckdb.DuckDBPyConnection, name: str, path: Path, columns: str) -> None:
    """A view of a Parquet file; an empty table stands in for one that the run did not come to write."""
    if path.is_file():
        connection.execute(f"CREATE TEMP VIEW {name} AS FROM {engine.parquet(path)}")
    else:
        connection.execute(f"CREATE TEMP TABLE {name} ({columns})")


def _notices_table(notices: list[Notice]) -> pa.Table:
    kinds = {"severity": pa.string(), "code": pa.string(), "file": pa.string(), "line": pa.int64()}
    rows = [notice.model_dump(mode="json") for notice in notices]
    return pa.Table.from_pylist(rows, schema=pa.schema({**kinds, "message": pa.string()}))


def _codes_table() -> pa.Table:
    columns = ("code", "remedy", "rule")
    return pa.table({column: [getattr(code, column) for code in CODES.values()] for column in columns})
