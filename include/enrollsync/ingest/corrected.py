"""An error file that comes back corrected, in place of the file that its lines came from.

It has a column `errors` before the file's own ones, and escapes before what a spreadsheet could take for a formula
(`engine.cell`); a line that was malformed stands whole in the field after `errors` until somebody takes it apart.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import duckdb

from enrollsync.ingest.lines import Malformed
from enrollsync.run import engine

ERRORS = "errors"
"""The first column of an error file."""
STILL_MALFORMED = " malformed"
"""A column beside the file's own: the text of a line that was malformed and still is; no header begins with a blank."""
_REASON = "it still stands in one field; put its values into their columns"
_WAS_MALFORMED = "ROW-MALFORMED: "
_FIELD = '"[^"]*(?:""[^"]*)*"|[^,"]*'
_FIRST_AND_OTHERS = re.compile(f"({_FIELD}),(.*)", re.DOTALL)
_ONE_FIELD = re.compile(f"({_FIELD}),*", re.DOTALL)


def still_malformed(width: int) -> str:
    """SQL for `STILL_MALFORMED`, where a file's columns are `c0`, `c1` and so on."""
    others = "".join(f" AND c{place} IS NULL" for place in range(2, width))
    return f"CASE WHEN contains(c0, '{_WAS_MALFORMED}'){others} THEN {engine.uncelled('c1')} END"


def take_out(connection: duckdb.DuckDBPyConnection, table: Path, numbered: str) -> dict[int, str]:
    """Take the lines that are still malformed out of a table, which `numbered` reads; returns line -> its text."""
    found = connection.execute(f"""
        SELECT line, "{STILL_MALFORMED}"
        FROM {numbered}
        WHERE "{STILL_MALFORMED}" IS NOT NULL
    """).fetchall()
    others = f'SELECT * EXCLUDE ("{STILL_MALFORMED}") FROM {numbered} WHERE "{STILL_MALFORMED}" IS NULL'
    engine.write_parquet(connection, others, table)
    return dict(found)


def as_it_was(bad: Malformed) -> Malformed:
    """A malformed line of an error file without its `errors`, and without quotation marks where it is one field."""
    parts = _FIRST_AND_OTHERS.fullmatch(bad.raw)
    if parts is None:
        return bad
    errors, rest = parts.groups()
    whole = _ONE_FIELD.fullmatch(rest)
    if whole is None or _WAS_MALFORMED not in errors:
        return replace(bad, raw=rest)
    field = whole[1]
    text = field[1:-1].replace('""', '"') if field.startswith('"') else field
    return replace(bad, reason=_REASON, raw=engine.without_escape(text))


def malformed_again(line: int, last_line: int, text: str) -> Malformed:
    """A line that `take_out` found."""
    return Malformed(line, last_line, _REASON, text)
