"""Writing one CSV file of a sample with DuckDB, every line where it belongs, planted faults put in place.

A file is declared (`CsvFile`); which rows it has and what is planted in them is decided elsewhere. Lines are put
together as text, because a malformed line is something that no CSV writer would write.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import duckdb


class Damage(StrEnum):
    """How a line stops being a CSV record."""

    CUT = "cut"
    """Too few fields: nothing after one of them."""
    SURPLUS = "surplus"
    """One field too many."""
    QUOTE = "quote"
    """The last field opens a quotation that this line does not close."""


@dataclass(frozen=True)
class CsvFile:
    """One file: its columns in order, and where their values come from."""

    name: str
    source: str
    """What stands after FROM; one of its tables is called `entry` and has `line`, the line an editor shows."""
    columns: dict[str, str]
    """Header -> SQL expression of a text, NULL for an empty field."""


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
QUOTED = """
    CREATE MACRO quoted(value) AS
      CASE
        WHEN contains(value, ',') OR contains(value, '"') THEN '"' || replace(value, '"', '""') || '"'
        ELSE coalesce(value, '')
      END
"""


def write_csv(connection: duckdb.DuckDBPyConnection, folder: Path, file: CsvFile, edited: Set[str]) -> int:
    """Write the file with what the table `edits` plants in it; `edited` names the columns that edits may change.

    Returns the number of lines below the header.
    """
    written = connection.execute(_copy(file, edited), {"path": str(folder / file.name), "file": file.name}).fetchall()
    return int(written[0][0])


def _copy(file: CsvFile, edited: Set[str]) -> str:
    fields = ",\n            ".join(
        f'quoted({_edited(header, value) if header in edited else value}) AS "{header}"'
        for header, value in file.columns.items()
    )
    return f"""
        COPY (
          WITH file_edits AS (
            SELECT line, changes, value, damage
            FROM edits
            WHERE file = $file
          ),
          fields AS (
            SELECT
            entry.line,
            edit.damage,
            {fields}
            FROM {file.source}
            LEFT JOIN file_edits AS edit ON edit.line = entry.line
          )
          SELECT {_text(list(file.columns))} AS "{",".join(file.columns)}"
          FROM fields
          ORDER BY line
        ) TO $path (FORMAT csv, HEADER true, QUOTE '', ESCAPE '')
    """


def _edited(header: str, value: str) -> str:
    return f"CASE WHEN edit.changes = '{header}' THEN edit.value ELSE {value} END"


def _text(headers: list[str]) -> str:
    """The line as it stands in the file; a cut keeps two fields or more, so that it never becomes a blank line."""
    names = [f'"{header}"' for header in headers]
    everything = ", ".join(names)
    all_but_last = ", ".join(names[:-1])
    return f"""
            CASE damage
              WHEN '{Damage.CUT}' THEN array_to_string([{everything}][1:2 + line % {len(names) - 2}], ',')
              WHEN '{Damage.SURPLUS}' THEN concat_ws(',', {everything}, 'surplus')
              WHEN '{Damage.QUOTE}' THEN concat_ws(',', {all_but_last}, '"' || {names[-1]})
              ELSE concat_ws(',', {everything})
            END
    """
