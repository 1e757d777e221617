"""How many rows the sender says each file has (`manifest.csv`), and whether they came.

A table with a column of file names and one of numbers, or OneRoster's properties with lines like `rows.users,1234`.
Rows are counted without the header line and without lines that hold nothing; those that are malformed count.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

from enrollsync.ingest.read import FileRead
from enrollsync.words.errors import Refused
from enrollsync.words.printable import quoted, shown

_FILE = {"file", "filename", "name"}
_ROWS = {"rows", "rowcount", "records", "recordcount", "count"}
"""Headers, in any case and without what stands between their words."""
_PROPERTY = ["propertyname", "value"]
_ROWS_OF = "rows."
_MOST_LINES = 10_000


def announced_rows(manifest: Path) -> dict[str, str]:
    """Lower-case name of a file -> what the manifest says of its rows; nothing where it does not speak of rows."""
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            header = [re.sub("[^a-z]", "", cell.lower()) for cell in next(lines, [])]
            return dict(_announced(header, (line for line, _ in zip(lines, range(_MOST_LINES), strict=False))))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}


def _announced(header: list[str], lines: Iterator[list[str]]) -> Iterator[tuple[str, str]]:
    file = next((place for place, name in enumerate(header) if name in _FILE), None)
    rows = next((place for place, name in enumerate(header) if name in _ROWS), None)
    for line in lines:
        cells = [cell.strip() for cell in line]
        if header[:2] == _PROPERTY and len(cells) > 1 and cells[0].lower().startswith(_ROWS_OF):
            yield _name(cells[0][len(_ROWS_OF) :]), cells[1]
        elif file is not None and rows is not None and len(cells) > max(file, rows) and cells[file]:
            yield _name(cells[file]), cells[rows]


def _name(given: str) -> str:
    name = PurePosixPath(given.replace("\\", "/")).name.lower().removesuffix(".gz")
    return name if name.endswith(".csv") else f"{name}.csv"


def refusals(manifest: Path, read: Mapping[str, FileRead], there: Collection[str]) -> list[Refused]:
    """One FILE-INCOMPLETE for each file that has another number of rows than the manifest says, or did not come.

    `read`: what was read, by the files' names in the format; `there`: the names of the delivery's files.
    """
    said = announced_rows(manifest)
    problems = {name: _problem(rows, read.get(name), name in there) for name, rows in said.items()}
    return [
        Refused("FILE-INCOMPLETE", f"{manifest.name} says {quoted(said[name])} rows; {what}", file=shown(name))
        for name, what in problems.items()
        if what
    ]


def _problem(said: str, read: FileRead | None, is_there: bool) -> str | None:
    """What is wrong with a file of which so many rows are said; None where nothing is, or it is not read."""
    if not re.fullmatch("[0-9]{1,15}", said):
        return "write a whole number there"
    if not is_there:
        return "the file is not there; deliver the whole set again" if int(said) else None
    if read is None or read.header.corrected:  # of a file that came back corrected, only rejected lines are there
        return None
    rows = read.rows + len(read.malformed)
    if rows <= int(said) <= rows + len(read.valueless):
        return None
    return f"it has {rows:,}; deliver the whole set again"
