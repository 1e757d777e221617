"""Putting what is planted into a file that was written without faults, each line where it was."""

from __future__ import annotations

import csv
import io
from enum import StrEnum
from pathlib import Path

import duckdb

from enrollsync.words import private


class Damage(StrEnum):
    """How a line stops being a CSV record."""

    CUT = "cut"
    """Too few fields: nothing after one of them."""
    SURPLUS = "surplus"
    """One field too many."""
    QUOTE = "quote"
    """The last field opens a quotation that this line does not close."""


EDITS = """
    CREATE TABLE edits (
      file VARCHAR,
      line BIGINT,
      changes VARCHAR,
      value VARCHAR,
      damage VARCHAR
    )
"""
"""What is planted: another value for the column `changes` of that line, or a damage. One row a line."""


def edit_file(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Put into the file what the table `edits` plants in it; none of its fields holds a line end."""
    planted = connection.execute("SELECT line, changes, value, damage FROM edits WHERE file = ?", [path.name])
    edits = {line: edit for line, *edit in planted.fetchall()}
    beside = path.with_suffix(".edited")
    private.make_file(beside)
    with path.open(encoding="utf-8", newline="") as given, beside.open("w", encoding="utf-8", newline="") as edited:
        header = given.readline()
        edited.write(header)
        columns = _fields(header)
        for number, line in enumerate(given, start=2):
            edited.write(_edited(number, columns, _fields(line), *edits[number]) if number in edits else line)
    beside.replace(path)


def _fields(line: str) -> list[str]:
    return next(csv.reader([line]))


def _edited(
    number: int, columns: list[str], fields: list[str], changes: str | None, value: str | None, damage: str | None
) -> str:
    """The line as it is to stand; a cut keeps two fields or more, so that it never becomes a blank line."""
    if changes:
        fields[columns.index(changes)] = value or ""
    if damage == Damage.CUT:
        fields = fields[: 2 + number % (len(fields) - 2)]
    if damage == Damage.SURPLUS:
        fields.append("surplus")
    opened = f',"{fields.pop()}' if damage == Damage.QUOTE else ""
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(fields)
    return f"{written.getvalue()}{opened}\n"
