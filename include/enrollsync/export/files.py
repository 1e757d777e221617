"""The files of a format, out of `active_<entity>` (`lines.py`), each for its owner alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from enrollsync.export.lines import create_lines
from enrollsync.export.turned import file_query, listing_rows
from enrollsync.formats import Format, Listing
from enrollsync.run import engine
from enrollsync.words import private


def write_files(
    connection: duckdb.DuckDBPyConnection, declared: Format, folder: Path, *, spreadsheet: bool = False,
    telling: Callable[[str], None] = lambda what: None,
) -> dict[str, int]:  # fmt: skip
    """Write every file of the format into the folder; returns file -> lines below its header.

    `spreadsheet`: no cell is one that a spreadsheet takes for a formula. `telling` hears each file's name.
    """
    create_lines(connection)
    counts = {}
    for lines in declared.lines:
        telling(lines.name)
        query = file_query(declared, lines, spreadsheet=spreadsheet)
        counts[lines.name] = _write_csv(connection, query, folder / lines.name)
    if declared.listing:
        query = _listing_query(declared, declared.listing)
        counts[declared.listing.file] = _write_csv(connection, query, folder / declared.listing.file)
    return counts


def _listing_query(declared: Format, listing: Listing) -> str:
    rows = ", ".join(f"({engine.literal(name)}, {engine.literal(word)})" for name, word in listing_rows(declared))
    return f"SELECT * FROM (VALUES {rows}) AS listed ({engine.name(listing.name)}, {engine.name(listing.value)})"


def _write_csv(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """Returns the number of lines below the header."""
    private.make_file(path)
    to = engine.literal(str(path))
    return int(engine.one_row(connection, f"COPY ({query}) TO {to} (FORMAT csv, HEADER, USE_TMP_FILE false)")[0])
