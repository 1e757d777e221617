"""What is wrong with a delivery, as files a person works with: copies of the rejected lines, and `findings.csv`.

Which lines are rejected was decided before (`validate`, `accept.py`); nothing is judged here, and nothing is laid out
for reading: that is the report's.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from enrollsync import findings
from enrollsync.codes import CODES
from enrollsync.engine import cell, connect
from enrollsync.workspace import Notice, RunManifest, SourceFile, Workspace

FINDINGS_FILE = "findings.csv"
_BATCH = 10_000
"""Rejected lines fetched at a time."""
_LARGEST_FIELD = 1 << 24
"""Bytes; the csv module's own limit of 128 KiB is less than what ingest accepts."""

_MALFORMED = "file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR"
"""What is read of `source/malformed.parquet`."""


def write(workspace: Workspace, manifest: RunManifest, encoding: str = "utf-8") -> dict[str, int]:
    """Write `quarantine/<file>-errors.csv` for each source file with rejected lines, and `findings.csv`.

    An error file holds `errors`, then the file's own columns, one row a rejected line, in file order; a malformed line
    stands in one field. Values of secret columns are left out. Error files of an earlier attempt are replaced.
    `encoding` is that of the source files; what is written is UTF-8. Returns file -> rejected lines, where any.
    """
    workspace.quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in workspace.quarantine.glob("*-errors.csv"):
        old.unlink()
    with findings_tables(workspace, manifest) as connection:
        rejected = rejected_lines(connection)
        for file in manifest.files:
            if file.name in rejected:
                _write_errors(connection, workspace, manifest, file, encoding)
        _write_findings(connection, workspace)
    return {file.name: rejected[file.name] for file in manifest.files if file.name in rejected}


def write_findings(workspace: Workspace, manifest: RunManifest) -> None:
    """Write `findings.csv` alone: again after later steps have added findings."""
    with findings_tables(workspace, manifest) as connection:
        _write_findings(connection, workspace)


def error_file(workspace: Workspace, name: str) -> Path:
    """Where the rejected lines of the source file `name` are kept."""
    return workspace.quarantine / f"{Path(name).stem}-errors.csv"


def findings_tables(workspace: Workspace, manifest: RunManifest) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with `findings`, `malformed`, `notices` and `codes`, each empty where the run has none."""
    connection = connect(workspace.root)
    _parquet_or_empty(connection, "findings", workspace.findings, findings.schema())
    _parquet_or_empty(connection, "malformed", workspace.malformed, _MALFORMED)
    connection.register("notices", _notices_table(file_level(manifest)))
    connection.register("codes", _codes_table())
    return connection


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


def _write_errors(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, manifest: RunManifest, file: SourceFile, encoding: str
) -> None:
    from enrollsync.ingest.lines import read_lines

    wanted = [line for line, _, raw in _errors_of(connection, file.name) if raw is None]
    texts = read_lines(Path(manifest.batch_path or "") / file.path, encoding, wanted)
    csv.field_size_limit(_LARGEST_FIELD)
    with _private(error_file(workspace, file.name)) as target:
        writer = csv.writer(target)
        writer.writerow(["errors", *file.header])
        for line, errors, raw in _errors_of(connection, file.name):
            copy = _fields(texts[line], file) if raw is None else [raw]
            writer.writerow([f"line {line}: {errors}", *copy])


def _errors_of(connection: duckdb.DuckDBPyConnection, file: str) -> Iterator[tuple[int, str, str | None]]:
    """Each rejected line of a file in order: its number, all that was found on it, its text if it is malformed."""
    found = connection.cursor().execute(
        f"""
        WITH rejected AS ({_REJECTED}),
        said AS (
            SELECT DISTINCT line, severity, code, "column", message
            FROM findings
            WHERE file = $file
        ),
        errors AS (
            SELECT
                line,
                string_agg(
                    code || coalesce(' ' || "column", '') || ': ' || coalesce(message, ''), ' | '
                    ORDER BY list_position(['critical', 'warning', 'info'], severity), code, "column", message
                ) AS text
            FROM said
            GROUP BY line
        )
        SELECT
            rejected.line,
            coalesce(errors.text, 'ROW-MALFORMED: ' || malformed.reason),
            malformed.raw
        FROM rejected
        LEFT JOIN errors ON errors.line = rejected.line
        LEFT JOIN malformed ON malformed.file = rejected.file AND malformed.line = rejected.line
        WHERE rejected.file = $file
        ORDER BY rejected.line
        """,
        {"file": file},
    )
    while rows := found.fetchmany(_BATCH):
        yield from rows


def _fields(text: str, file: SourceFile) -> list[str]:
    """The fields of one well-formed record, as delivered but for the secret ones."""
    fields = next(csv.reader(io.StringIO(text, newline="")))
    secret = _secret_positions(file)
    return ["" if position in secret else value for position, value in enumerate(fields)]


def _secret_positions(file: SourceFile) -> set[int]:
    return {position for position, column in enumerate(file.header) if column in file.secret_columns}


def _write_findings(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Every finding and notice, those on files first; no cell starts like a formula."""
    target = workspace.root / FINDINGS_FILE
    _private(target).close()
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


def _private(path: Path) -> io.TextIOWrapper:
    """A new empty text file that its owner alone can read: it holds children's records."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return io.TextIOWrapper(io.FileIO(handle, "w"), encoding="utf-8", newline="")


def _parquet_or_empty(connection: duckdb.DuckDBPyConnection, name: str, path: Path, columns: str) -> None:
    """A view of a Parquet file; an empty table stands in for one that the run did not come to write."""
    if path.is_file():
        connection.read_parquet(str(path)).create_view(name)
    else:
        connection.execute(f"CREATE TABLE {name} ({columns})")


def _notices_table(notices: list[Notice]) -> pa.Table:
    kinds = {"severity": pa.string(), "code": pa.string(), "file": pa.string(), "line": pa.int64()}
    rows = [notice.model_dump(mode="json") for notice in notices]
    return pa.Table.from_pylist(rows, schema=pa.schema({**kinds, "message": pa.string()}))


def _codes_table() -> pa.Table:
    columns = ("code", "remedy", "rule")
    return pa.table({column: [getattr(code, column) for code in CODES.values()] for column in columns})
