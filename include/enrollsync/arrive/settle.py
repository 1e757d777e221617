"""A row that waited in an earlier run, and of which a person has said whose it is: its lines come once more, alone."""

from __future__ import annotations

from pathlib import Path

import duckdb

from enrollsync.arrive.delivery import Batch, Delivery
from enrollsync.formats import Lookup
from enrollsync.run import engine
from enrollsync.run.object_store import brought
from enrollsync.run.run import Run
from enrollsync.run.source_table import numbered, stored_columns
from enrollsync.run.workspace import Settle, Workspace
from enrollsync.settings import run_folder
from enrollsync.words.errors import ConfigurationError


def settled_batch(run: Run) -> Batch:
    """The lines of the row that the run settles, written as the files that they came from.

    Raises ConfigurationError when the earlier run's files are gone.
    """
    settle = run.manifest.settle
    assert settle is not None
    earlier = Workspace(brought(run_folder(run.settings, settle.run_id), ["source", "canonical"]))
    table = earlier.canonical_table(settle.entity)
    if not table.is_file():
        raise ConfigurationError(f"run {settle.run_id}: its files are gone; run it again, then settle its rows")
    run.place.batch.mkdir(mode=0o700, exist_ok=True)
    declared = run.format
    with engine.connect(run.place.root) as connection:
        said = dict(_lines(connection, table, settle))
        said |= _looked_up(connection, earlier, run, said)
        files = {file: _copy(connection, earlier, file, lines, run.place.batch / file) for file, lines in said.items()}
    present = tuple(spec for spec in declared.files if spec.name in files)
    delivery = Delivery(run.place.batch, files, run.manifest.as_of)
    return Batch(delivery, declared, present, delivery.digest(list(files)), delivery.stamps())


def _lines(connection: duckdb.DuckDBPyConnection, table: Path, settle: Settle) -> list[tuple[str, list[int]]]:
    return connection.execute(
        f"""
        SELECT file, list_sort(list_distinct(flatten(list(lines))))
        FROM {engine.parquet(table)}
        WHERE source_key = $source_key AND (NOT $alone OR file = $file AND list_contains(lines, $line))
        GROUP BY file""",
        {"source_key": settle.source_key, "alone": settle.alone, "file": settle.file, "line": settle.line},
    ).fetchall()


def _looked_up(
    connection: duckdb.DuckDBPyConnection, earlier: Workspace, run: Run, said: dict[str, list[int]]
) -> dict[str, list[int]]:
    """File -> the lines of it that say what the row's cells mean: its course and terms, its person's roles."""
    found: dict[str, list[int]] = {}
    for mapping in run.format.mappings:
        for cell in mapping.cells.values():
            if cell.lookup and mapping.file in said and cell.lookup.file not in said:
                own, lines = earlier.source_table(mapping.file), said[mapping.file]
                more = _lines_under(connection, earlier, cell.lookup, own, str(cell.column), lines)
                found[cell.lookup.file] = sorted({*found.get(cell.lookup.file, []), *more})
    return found


def _lines_under(
    connection: duckdb.DuckDBPyConnection, earlier: Workspace, lookup: Lookup, own: Path, column: str, lines: list[int]
) -> list[int]:
    """The lines of a file in which something is looked up that have a key of these lines of `own`."""
    other = earlier.source_table(lookup.file)
    if not (other.is_file() and lookup.key in stored_columns(other) and column in stored_columns(own)):
        return []
    query = f"""
        SELECT line
        FROM {numbered(other)}
        WHERE trim({engine.name(lookup.key)}) IN (
            SELECT trim(unnest(string_split({engine.name(column)}, ',')))
            FROM {numbered(own)}
            WHERE list_contains($lines, line)
        )"""
    return [line for (line,) in connection.execute(query, {"lines": lines}).fetchall()]


def _copy(connection: duckdb.DuckDBPyConnection, earlier: Workspace, file: str, lines: list[int], target: Path) -> Path:
    """The columns that the format needs; others were never read."""
    table = earlier.source_table(file)
    names = [engine.name(name) for name in stored_columns(table) if not name.startswith(" ")]
    found = f"SELECT {', '.join(names)} FROM {numbered(table)} WHERE list_contains($lines, line) ORDER BY line"
    connection.sql(found, params={"lines": lines}).write_csv(str(target), header=True, use_tmp_file=False)
    target.chmod(0o600)
    return target
