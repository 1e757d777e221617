"""The physical lines of a text file and the CSV records they form: where each record starts, for an editor's eye.

An engine that parses CSV counts records; people count lines. This module maps one to the other, and takes out of
the engine's way the lines that would make it swallow others: stray quotation marks and control characters.
Line indexes are 0-based inside, 1-based in everything that is returned for people.
"""

from __future__ import annotations

import bisect
import codecs
import csv
import io
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from enrollsync.errors import Refused

_LF, _QUOTE, _COMMA, _TAB, _DELETE, _C1_LEAD = 10, 34, 44, 9, 127, 0xC2
_EDGE = np.zeros(256, dtype=bool)
_EDGE[[_COMMA, _LF, _QUOTE]] = True
"""What may stand before an opening and after a closing quotation mark; two side by side are one doubled mark."""
_CHUNK = 1 << 18
"""Bytes looked at together: with what is found in them, they stay in the processor's cache."""
_LONGEST = 2_000_000
"""Bytes of a record; the parser takes no longer one."""
_FIRST_LINES = 1000
"""Where none of so many lines is sound, the file is not worth a longer search."""
_OPEN = "a quotation mark is never closed"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PICTURES = {b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture",
             b"%PDF": "a PDF document", b"PK\x03\x04": "an archive or spreadsheet"}  # fmt: skip

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Malformed:
    """A line that is no CSV record."""

    line: int
    last_line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class Records:
    """Which physical lines form the records that can be given to a parser."""

    first: Positions
    """0-based physical line on which each record starts; the header is the first."""
    last: Positions
    """0-based physical line on which it ends."""
    malformed: list[Malformed]

    def fill(self, text: Text) -> bool:
        """Whether every line of the text belongs to one: with blank lines, DuckDB misplaces what it rejects."""
        return int((self.last - self.first + 1).sum()) == len(text.starts)


class Text:
    """A delivered file as UTF-8 bytes whose lines end in LF, with the positions that matter."""

    def __init__(self, data: bytes, *, original: bool) -> None:
        self.data = data
        self.original = original
        """Whether `data` is byte for byte the file on disk."""

    @cached_property
    def _found(self) -> tuple[Positions, Positions]:
        """Offsets of the line feeds; of the quotation marks and of what may be another control character than tab."""
        view = np.frombuffer(self.data, dtype=np.uint8)
        feeds, special = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for start in range(0, len(view), _CHUNK):
            chunk = view[start : start + _CHUNK]
            is_feed = chunk == _LF
            is_special = (chunk < 32) | (chunk == _QUOTE) | (chunk == _DELETE) | (chunk == _C1_LEAD)
            is_special &= ~is_feed & (chunk != _TAB)
            feeds.append(np.flatnonzero(is_feed) + start)
            special.append(np.flatnonzero(is_special) + start)
        return np.concatenate(feeds), np.concatenate(special)

    @cached_property
    def _special(self) -> tuple[Positions, NDArray[np.uint8]]:
        positions = self._found[1]
        return positions, np.frombuffer(self.data, dtype=np.uint8)[positions]

    @cached_property
    def ends(self) -> Positions:
        """Offset of the byte after each line's text, its line end excluded."""
        feeds = self._found[0]
        return feeds if self.ended else np.append(feeds, len(self.data))

    @cached_property
    def starts(self) -> Positions:
        """Offset of each line's first byte."""
        feeds = self._found[0]
        first = len(codecs.BOM_UTF8) if self.data.startswith(codecs.BOM_UTF8) else 0
        return np.concatenate([[first], (feeds[:-1] if self.ended else feeds) + 1])

    @property
    def ended(self) -> bool:
        """Whether the last line has a line end."""
        return self.data.endswith(b"\n")

    def _lines_of(self, offsets: Positions) -> Positions:
        return np.searchsorted(self.starts, offsets, side="right") - 1

    @cached_property
    def quoted(self) -> tuple[Positions, Positions]:
        """Lines with an odd number of quotation marks, and all lines whose marks need a closer look.

        On an odd line a quoted line break begins or ends, or a mark is stray. A closer look is due there too where
        marks do not open after a comma and close before one.
        """
        positions, kinds = self._special
        marks = positions[kinds == _QUOTE]
        lines = self._lines_of(marks)
        first = np.flatnonzero(np.diff(lines, prepend=-1))
        counts = np.diff(first, append=len(marks))
        odd = lines[first[counts % 2 == 1]]
        opening = np.resize([True, False], len(marks)) ^ np.repeat(first % 2 == 1, counts)
        view = np.frombuffer(self.data, dtype=np.uint8)
        at_edge = np.where(opening, _EDGE[view[marks - 1]], _EDGE[view[np.minimum(marks + 1, len(view) - 1)]])
        at_edge |= marks == self.starts[0]
        return odd, np.union1d(odd, lines[~at_edge])

    @cached_property
    def controlled(self) -> Positions:
        """Lines with control characters (tab excepted)."""
        positions, kinds = self._special
        view = np.frombuffer(self.data, dtype=np.uint8)
        following = view[np.minimum(positions + 1, max(len(view) - 1, 0))]
        second_set = (kinds == _C1_LEAD) & (following >= 0x80) & (following <= 0x9F)
        first_set = (kinds < 32) | (kinds == _DELETE)
        return np.unique(self._lines_of(positions[first_set | second_set]))

    def line(self, first: int, last: int | None = None) -> str:
        """The text of one physical line, or of the lines `first` to `last`, without the final line end."""
        return self.data[self.starts[first] : self.ends[first if last is None else last]].decode()

    def kept(self, records: Records) -> bytes:
        """The bytes of the records alone, each ended by LF: what a parser may read."""
        breaks = np.flatnonzero(records.first[1:] != records.last[:-1] + 1)
        runs_start = records.first[np.insert(breaks + 1, 0, 0)]
        runs_end = records.last[np.append(breaks, len(records.last) - 1)]
        slices = zip(self.starts[runs_start], self.ends[runs_end], strict=True)
        return b"".join(self.data[start:end] + b"\n" for start, end in slices)


def load_text(path: Path, encoding: str = "utf-8") -> Text:
    """Read a file as text.

    Raises Refused: FILE-ENCODING with the line of the first byte that is no text, FILE-MISSING for a file that
    may not be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused("FILE-MISSING", f"it cannot be read: {error.strerror}", file=path.name) from None
    try:
        decoded = _recoded(data, encoding)
    except UnicodeDecodeError as error:
        kind = next((title for magic, title in _PICTURES.items() if data.startswith(magic)), None)
        line = _count_ends(data[: error.start].decode(error.encoding, "replace")) + 1
        what = f"this is {kind}, not a CSV file" if kind else f"a byte on this line is not {encoding}"
        raise Refused("FILE-ENCODING", f"{what}; save it as CSV in UTF-8", file=path.name, line=line) from None
    if b"\r" in decoded:
        decoded = decoded.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Text(decoded, original=decoded is data)


def _count_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _recoded(data: bytes, encoding: str) -> bytes:
    if data[:2] in _UTF16:
        return data.decode("utf-16").encode()
    if codecs.lookup(encoding).name not in {"utf-8", "ascii", "utf-8-sig"}:
        return data.decode(encoding).encode()
    if not _is_utf8(data):
        data.decode("utf-8")  # says where
    return data


def _is_utf8(data: bytes) -> bool:
    """Whether the bytes are text: Arrow says so twenty times faster than decoding them."""
    whole = np.array([0, len(data)], dtype=np.int64)
    try:
        pa.LargeStringArray.from_buffers(1, pa.py_buffer(whole), pa.py_buffer(data)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def record_width(text: Text) -> int:
    """How many fields a record has: as many as the header, but for empty cells at its end.

    Those need not stand on the lines; the first line that can be read with or without them decides.
    """
    cells = next(csv.reader([text.line(0)]), [])
    named = max((place for place, cell in enumerate(cells, start=1) if cell.strip()), default=0)
    if named == len(cells):
        return named
    first_lines = range(1, min(len(text.starts), _FIRST_LINES))
    found = (_fields(text.line(number)) for number in first_lines)
    return next((width for width in found if width in (named, len(cells))), len(cells))


def split_records(text: Text, fields: int) -> Records:
    """Tell records from malformed lines; `fields` is how many a record has.

    Quotation marks of a line pair up within the line, or with those of a later line when both together form one
    record with `fields` fields. A mark that does neither is stray: its line alone is malformed.
    """
    first, last, stray = _joined(text, fields)
    blank = text.starts == text.ends
    if blank.any():
        kept = ~blank[first] | (last > first)
        first, last = first[kept], last[kept]
    tainted = np.searchsorted(first, text.controlled, side="right") - 1
    tainted = np.unique(tainted[(tainted >= 0) & (last[np.maximum(tainted, 0)] >= text.controlled)])
    malformed = [
        *(Malformed(n + 1, n + 1, reason, text.line(n)) for n, reason in stray.items()),
        *(
            Malformed(a + 1, b + 1, "it has control characters", text.line(a, b))
            for a, b in zip(first[tainted].tolist(), last[tainted].tolist(), strict=True)
        ),
    ]
    if len(tainted):
        first, last = np.delete(first, tainted), np.delete(last, tainted)
    return Records(first, last, sorted(malformed, key=lambda one: one.line))


def _joined(text: Text, fields: int) -> tuple[Positions, Positions, dict[int, str]]:
    everything = np.arange(len(text.starts), dtype=np.int64)
    spans, stray = _spans(text, fields)
    if not spans and not stray:
        return everything, everything, {}
    starting = np.ones(len(everything), dtype=bool)
    ending = starting.copy()
    for begin, end in spans:
        starting[begin + 1 : end + 1] = False
        ending[begin:end] = False
    starting[list(stray)] = False
    ending[list(stray)] = False
    return everything[starting], everything[ending], stray


def _spans(text: Text, fields: int) -> tuple[list[tuple[int, int]], dict[int, str]]:
    """Pair the unclear lines from the top: (first, last) of records of several lines, and stray line -> reason.

    Grows with the unclear lines alone, not with the file.
    """
    odd, unclear = (lines.tolist() for lines in text.quoted)
    spans: list[tuple[int, int]] = []
    stray: dict[int, str] = {}
    done = -1
    for begin in unclear:
        reason = None if begin <= done else _flaw(text.line(begin))
        if reason is None:
            continue
        after = bisect.bisect_right(odd, begin)
        if reason == _OPEN and after < len(odd) and _is_one_record(text, begin, odd[after], fields):
            done = odd[after]
            spans.append((begin, done))
        else:
            stray[begin] = reason
    return spans, stray


def _is_one_record(text: Text, begin: int, end: int, fields: int) -> bool:
    if text.ends[end] - text.starts[begin] > _LONGEST:
        return False
    within = (text.line(number) for number in range(begin + 1, end))
    return not any(_fields(line) == fields for line in within) and _fields(text.line(begin, end)) == fields


def _flaw(line: str) -> str | None:
    """Why a text is not exactly one CSV record; None when it is one."""
    try:
        _parsed(line)
    except csv.Error as error:
        return "text follows a closing quotation mark" if "expected after" in str(error) else _OPEN
    return None


def _fields(text: str) -> int | None:
    """How many fields a text has that is exactly one CSV record; None when it is not one."""
    try:
        records = _parsed(text)
    except csv.Error:
        return None
    return len(records[0]) if len(records) == 1 else None


def _parsed(text: str) -> list[list[str]]:
    """Read as DuckDB does, which passes over one blank before an opening quotation mark and all after a closing one."""
    tight = re.sub(r'" +(?=[,\n]|\Z)', '"', re.sub(r'(?m)(^|,) (?=")', r"\1", text))
    return list(csv.reader(io.StringIO(tight, newline=""), strict=True))
