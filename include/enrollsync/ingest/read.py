"""One source file into one Parquet table: header checked, all but secrets kept, every row with its line.

Malformed lines come back as data; only what makes a whole file useless is raised.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from enrollsync.formats import FileSpec, Format
from enrollsync.formats.near import is_header, nearest
from enrollsync.ingest import corrected
from enrollsync.ingest.lines import (
    LONGEST,
    Malformed,
    Records,
    Text,
    load_text,
    parse_header,
    record_width,
    split_records,
)
from enrollsync.run import engine
from enrollsync.run.source_table import numbered
from enrollsync.words.errors import Refused
from enrollsync.words.printable import first_of, quoted

_SEPARATORS = {";": "semicolons", "\t": "tabs"}
"""What spreadsheets put in the place of commas."""
_HINTED = 10
"""Unknown columns for which a known one is looked for that may be meant."""


@dataclass(frozen=True)
class Header:
    """A file's header line, understood."""

    as_written: list[str]
    """The cells of the file, trailing empty ones included."""
    expected: list[str]
    """The format's name for each cell; the cell itself where the format does not know it."""
    corrected: bool = False
    """Whether the file is an error file that came back: a cell stands before these (`corrected.ERRORS`)."""

    def positions(self) -> dict[str, int]:
        """Expected name -> index of its cell."""
        return {name: index for index, name in enumerate(self.expected) if name}


@dataclass(frozen=True)
class FileRead:
    """What reading a file gave."""

    header: Header
    rows: int
    malformed: list[Malformed]
    unended: int | None
    """The last line, where it has no line end."""
    valueless: list[int]
    """Lines that hold commas and no value."""


def read_file(
    connection: duckdb.DuckDBPyConnection, path: Path, target: Path, spec: FileSpec, declared: Format,
    needed: tuple[str, ...],
) -> FileRead:  # fmt: skip
    """Read `path` into the Parquet file `target`: all columns but secret ones, as text, in the file's order.

    A `needed` one has its name there, any other one its place, ` 7`, which no header can be. `numbered` reads them
    with their lines. `connection` keeps the order of rows.
    Raises Refused for a header, an encoding or an end of file that makes the file useless.
    """
    text = load_text(path, declared.encoding)
    header = check_header(text, spec, declared)
    width = record_width(text)
    records = split_records(text, width)
    _refuse_damaged_header(path, records)
    _refuse_if_cut(path, text, records)
    query = _read_csv(header, width, needed, spec.secret)
    rows = _parse(connection, path, text, records, query, target)
    malformed = records.malformed
    if header.corrected:
        again = _still_malformed(connection, target, records)
        malformed = sorted([*map(corrected.as_it_was, malformed), *again], key=lambda one: one.line)
        rows -= len(again)
    unended = None if text.ended else len(text.starts)
    return FileRead(header, rows, malformed, unended, (records.valueless + 1).tolist())


def check_header(text: Text, spec: FileSpec, declared: Format) -> Header:
    """Understand the header line.

    Raises Refused: FILE-HEADER naming every header that is missing, doubled or unknown, FILE-EMPTY without any.
    """
    if not re.search(rb"[^\xef\xbb\xbf\r\n \t]", text.data):
        raise Refused("FILE-EMPTY", "the file is empty; export it again", file=spec.name)
    line = text.line(0)
    if len(line) > LONGEST:
        raise Refused("FILE-HEADER", "it is longer than two million characters", file=spec.name, line=1)
    header = _understood(line, spec, declared)
    expected = header.expected
    if not set(spec.required) & set(expected):
        _refuse_other_layout(line, spec, declared)
    quote = is_header(expected, spec)
    problems = [*_missing(expected, spec, quote), *_doubled(expected, spec, quote)]
    problems += [*_nameless(expected), *([] if declared.unknown_headers else _unknown(expected, spec, quote))]
    if problems:
        raise Refused("FILE-HEADER", "; ".join(problems), file=spec.name, line=1)
    return header


def _understood(line: str, spec: FileSpec, declared: Format, separator: str = ",") -> Header:
    cells = [cell.strip() for cell in parse_header(line, separator)]
    is_corrected = cells[:1] == [corrected.ERRORS]
    if is_corrected:
        cells = [engine.without_escape(cell) for cell in cells[1:]]
    return Header(cells, declared.expected(spec, cells), is_corrected)


def _refuse_other_layout(line: str, spec: FileSpec, declared: Format) -> None:
    """Say what stands on line 1 in the place of a header line, where that can be told."""
    if not line.strip(" \t,;"):
        raise Refused("FILE-HEADER", "the line is blank; remove it", file=spec.name, line=1)
    if re.match('"?sep=', line, re.IGNORECASE):
        raise Refused("FILE-HEADER", "the line is a note for Excel; remove it", file=spec.name, line=1)
    for separator, title in _SEPARATORS.items():
        if set(spec.required) & set(_understood(line, spec, declared, separator).expected):
            said = f"the file is separated by {title}; save it with commas"
            raise Refused("FILE-HEADER", said, file=spec.name, line=1)


def _missing(expected: list[str], spec: FileSpec, quote: bool) -> list[str]:
    strangers = [cell for cell in expected if cell not in spec.known] if quote else []
    return [f"the column {name} is missing{_hint(name, strangers)}" for name in spec.required if name not in expected]


def _doubled(expected: list[str], spec: FileSpec, quote: bool) -> list[str]:
    counts = Counter(name for name in expected if name)
    said = [
        f"the column {name if name in spec.known else _told(name, expected, quote)} stands there {count} times"
        for name, count in counts.items()
        if count > 1
    ]
    return [first_of(said, "; ")] if said else []


def _nameless(expected: list[str]) -> list[str]:
    """Empty cells at the end are none."""
    named = max((place for place, name in enumerate(expected) if name), default=0)
    said = [f"column {place + 1} has no name" for place, name in enumerate(expected[:named]) if not name]
    return [first_of(said, "; ")] if said else []


def _unknown(expected: list[str], spec: FileSpec, quote: bool) -> list[str]:
    strange = [name for name in dict.fromkeys(expected) if name and name not in spec.known]
    hints = {name: _hint(name, spec.known) for name in strange[:_HINTED]} if quote else {}
    said = [f"{_told(name, expected, quote)}{hints.get(name, '')}" for name in strange]
    if len(said) == 1:
        return [f"the column {said[0]} is not known"]
    return [f"the columns {first_of(said)} are not known"] if said else []


def _told(name: str, expected: list[str], quote: bool) -> str:
    return quoted(name) if quote else str(expected.index(name) + 1)


def _hint(name: str, candidates: list[str] | tuple[str, ...]) -> str:
    meant = nearest(name, candidates)
    return f" (is {quoted(meant)} meant?)" if meant else ""


def _stored(expected: list[str], needed: tuple[str, ...], secret: tuple[str, ...]) -> dict[str, int]:
    """Name in the table -> place among the file's columns."""
    return {name if name in needed else f" {place}": place for place, name in enumerate(expected) if name not in secret}


def _parse(
    connection: duckdb.DuckDBPyConnection, path: Path, text: Text, records: Records, query: str, target: Path
) -> int:
    """Let DuckDB parse the records into `target`; returns how many rows they are."""
    as_is = text.original and records.fill(text)
    readable = path if as_is else target.with_suffix(".csv")
    if not as_is:
        with readable.open("wb") as stream:
            stream.writelines(text.kept(records))
    try:
        engine.write_parquet(connection, query, target, [str(readable)])
    finally:
        if not as_is:
            readable.unlink()
    lines = records.first[1:] + 1
    (rows,) = engine.one_row(connection, "SELECT count(*) FROM read_parquet(?)", [str(target)])
    if rows != len(lines):
        raise Refused("FILE-ENCODING", f"its quotation marks make {rows:,} records of {len(lines):,}; nobody can tell "
                      "which are right, so put every mark within a value twice", file=path.name)  # fmt: skip
    if rows and lines[-1] != rows + 1:
        _add_lines(connection, target, lines)
    return int(rows)


def _still_malformed(connection: duckdb.DuckDBPyConnection, target: Path, records: Records) -> list[Malformed]:
    """The lines of an error file that nobody took apart; they leave the table."""
    texts = corrected.take_out(connection, target, numbered(target))
    places = np.searchsorted(records.first, np.array(list(texts), dtype=np.int64) - 1)
    ends = (records.last[places] + 1).tolist()
    return [corrected.malformed_again(line, end, text) for (line, text), end in zip(texts.items(), ends, strict=True)]


def _add_lines(connection: duckdb.DuckDBPyConnection, target: Path, lines: np.ndarray) -> None:
    connection.register("lines", pa.table({"line": lines}))
    engine.write_parquet(connection, f"SELECT * FROM lines POSITIONAL JOIN {engine.parquet(target)}", target)


def _read_csv(header: Header, width: int, needed: tuple[str, ...], secret: tuple[str, ...]) -> str:
    """SQL for a file's records, of `width` fields each: the columns that are stored."""
    types = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(width))
    first = int(header.corrected)
    columns = _stored(header.expected[: width - first], needed, secret)
    values = {name: f"c{place + first}" for name, place in columns.items()}
    if header.corrected:
        values = {name: engine.uncelled(value) for name, value in values.items()}
        values[corrected.STILL_MALFORMED] = corrected.still_malformed(width)
    chosen = ", ".join(f"{value} AS {engine.name(name)}" for name, value in values.items())
    return f"""
        SELECT {chosen}
        FROM read_csv(
            ?, auto_detect = false, header = true, columns = {{{types}}}, delim = ',', quote = '"', escape = '"',
            strict_mode = true, ignore_errors = true
        )"""


def _refuse_damaged_header(path: Path, records: Records) -> None:
    """Without its header line, the first row would be taken for one."""
    if not len(records.first) or records.first[0] != 0:
        reason = next(bad.reason for bad in records.malformed if bad.line == 1)
        raise Refused("FILE-HEADER", f"the header line is damaged: {reason}", file=path.name, line=1)


def _refuse_if_cut(path: Path, text: Text, records: Records) -> None:
    """A last line that has no line end and is no record is where a transfer stopped."""
    last = len(text.starts)
    if not text.ended and any(bad.last_line == last for bad in records.malformed):
        said = "the file ends in the middle of a line; deliver it again"
        raise Refused("FILE-INCOMPLETE", said, file=path.name, line=last)
