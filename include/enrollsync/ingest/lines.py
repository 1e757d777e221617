"""The physical lines of a text file and the CSV records they form: where each record starts, for an editor's eye.

An engine that parses CSV counts records; people count lines. This module maps one to the other, and says which lines
are no record, so that the engine gets sound ones alone: what it tolerates (an empty field too many) is none.
Line indexes are 0-based inside, 1-based in everything that is returned for people.
"""

from __future__ import annotations

import bisect
import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from enrollsync.words.errors import Refused
from enrollsync.words.kinds import UTF16, kind_of

_LF, _QUOTE, _COMMA, _TAB, _DELETE, _C1_LEAD = 10, 34, 44, 9, 127, 0xC2
_EDGE = np.zeros(256, dtype=bool)
_EDGE[[_COMMA, _LF, _QUOTE]] = True
"""What may stand before an opening and after a closing quotation mark; two side by side are one doubled mark."""
_BLANK = np.zeros(256, dtype=bool)
_BLANK[[_COMMA, _QUOTE, _TAB, ord(" ")]] = True
"""What a line without values may begin with."""
_CHUNK = 1 << 18
"""Bytes looked at together: with what is found in them, they stay in the processor's cache."""
_LINES = 1 << 12
"""Lines looked at together, for the same reason."""
LONGEST = 1_999_998
"""Bytes of a record without its line end; the parser takes no longer one."""
csv.field_size_limit(LONGEST)
_OPEN = "a quotation mark is never closed"
_LONG = "it is longer than two million characters"
_FAULTS = ("", "it has too many fields", "it has too few fields", "it has control characters", _LONG)
_VALUELESS = r'\A[ \t]*("[ \t]*")?[ \t]*(,[ \t]*("[ \t]*")?[ \t]*)*\n?\z'
"""A line of commas, as spreadsheets write a row that somebody emptied."""
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
    valueless: Positions
    """0-based lines that hold commas and no value; empty lines are not counted."""

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
    def _view(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.data, dtype=np.uint8)

    @cached_property
    def _found(self) -> tuple[Positions, Positions]:
        """Offsets of the line feeds, and of what may be another control character than tab."""
        feeds, controls = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for start in range(0, len(self._view), _CHUNK):
            chunk = self._view[start : start + _CHUNK]
            places = np.flatnonzero((chunk < 32) | (chunk == _DELETE) | (chunk == _C1_LEAD))
            found = chunk[places]
            is_feed = found == _LF
            feeds.append(places[is_feed] + start)
            controls.append(places[~is_feed & (found != _TAB)] + start)
        return np.concatenate(feeds), np.concatenate(controls)

    @cached_property
    def ends(self) -> Positions:
        """Offset of the byte after each line's text, its line end excluded."""
        feeds = self._found[0]
        return feeds if self.ended else np.append(feeds, len(self.data))

    @cached_property
    def starts(self) -> Positions:
        """Offset of each line's first byte."""
        feeds = self._found[0][: -1 if self.ended else None]
        starts = np.empty(len(feeds) + 1, dtype=np.int64)
        starts[0] = len(codecs.BOM_UTF8) if self.data.startswith(codecs.BOM_UTF8) else 0
        np.add(feeds, 1, out=starts[1:])
        return starts

    @property
    def ended(self) -> bool:
        """Whether the last line has a line end."""
        return self.data.endswith(b"\n")

    def _lines_of(self, offsets: Positions) -> Positions:
        return np.searchsorted(self.starts, offsets, side="right") - 1

    @property
    def quoted(self) -> tuple[Positions, Positions]:
        """Lines with an odd number of quotation marks, and all lines whose marks need a closer look.

        On an odd line a quoted line break begins or ends, or a mark is stray. A closer look is due there too where
        marks do not open after a comma and close before one.
        """
        return self._surveyed[0], self._surveyed[1]

    @property
    def fields(self) -> NDArray[np.int32]:
        """How many fields each line has, where its marks need no closer look."""
        return self._surveyed[2]

    @cached_property
    def _surveyed(self) -> tuple[Positions, Positions, NDArray[np.int32]]:
        fields = np.empty(len(self.starts), dtype=np.int32)
        odd, unclear = [], []
        for at in range(0, len(self.starts), _LINES):
            starts = self.starts[at : at + _LINES]
            after = self.starts[at + _LINES] if at + _LINES < len(self.starts) else len(self.data)
            found = _survey(self._view[starts[0] : after], starts - starts[0])
            odd.append(found[0] + at)
            unclear.append(found[1] + at)
            fields[at : at + _LINES] = found[2]
        return np.concatenate(odd), np.concatenate(unclear), fields

    @cached_property
    def controlled(self) -> Positions:
        """Lines with control characters (tab excepted)."""
        positions = self._found[1]
        kinds = self._view[positions]
        following = self._view[np.minimum(positions + 1, max(len(self._view) - 1, 0))]
        second_set = (kinds == _C1_LEAD) & (following >= 0x80) & (following <= 0x9F)
        first_set = kinds != _C1_LEAD
        return np.unique(self._lines_of(positions[first_set | second_set]))

    @cached_property
    def valueless(self) -> Positions:
        """Lines that hold commas, blanks and empty quotation marks alone; empty lines are none."""
        likely = np.flatnonzero(_BLANK[self._view[self.starts]])
        for places in (self.ends - 1, (self.starts + self.ends) // 2):
            likely = likely[_BLANK[self._view[places[likely]]]]
        if not len(likely):
            return likely
        offsets = pa.py_buffer(np.append(self.starts, len(self.data)))
        lines = pa.LargeStringArray.from_buffers(len(self.starts), offsets, pa.py_buffer(self.data))
        matching: NDArray[np.bool] = pc.match_substring_regex(lines.take(pa.array(likely)), _VALUELESS).to_numpy(False)
        return likely[matching]

    def line(self, first: int, last: int | None = None) -> str:
        """The text of one physical line, or of the lines `first` to `last`, without the final line end."""
        return self.data[self.starts[first] : self.ends[first if last is None else last]].decode()

    def kept(self, records: Records) -> Iterator[memoryview | bytes]:
        """The bytes of the records alone, each ended by LF: what a parser may read."""
        whole = memoryview(self.data)
        breaks = np.flatnonzero(records.first[1:] != records.last[:-1] + 1)
        runs_start = records.first[np.insert(breaks + 1, 0, 0)]
        runs_end = records.last[np.append(breaks, len(records.last) - 1)]
        for start, end in zip(self.starts[runs_start].tolist(), self.ends[runs_end].tolist(), strict=True):
            yield whole[start:end]
            yield b"\n"


def _survey(chunk: NDArray[np.uint8], starts: Positions) -> tuple[Positions, Positions, NDArray[np.int32]]:
    """Of the lines that start at `starts` of a chunk: those with an odd number of quotation marks, those whose marks
    need a closer look, and how many fields each of the others has: commas within quotation marks part none."""
    is_comma, marks = chunk == _COMMA, np.flatnonzero(chunk == _QUOTE)
    commas: NDArray[np.int32] = np.add.reduceat(is_comma.view(np.uint8), starts, dtype=np.int32)
    if not len(marks):
        return marks, marks, commas + 1
    lines = np.searchsorted(starts, marks, side="right") - 1
    is_odd = np.bincount(lines, minlength=len(starts)) % 2 == 1
    odd = np.flatnonzero(is_odd)
    if len(odd):
        even = ~is_odd[lines]
        marks, lines = marks[even], lines[even]
    opening, closing = marks[::2], marks[1::2]
    unclear = np.union1d(odd, lines[::2][_off_the_edges(chunk, opening, closing)])
    places = np.flatnonzero(is_comma)
    quoted = np.searchsorted(places, closing) - np.searchsorted(places, opening)
    np.subtract.at(commas, lines[::2], quoted)
    return odd, unclear, commas + 1


def _off_the_edges(chunk: NDArray[np.uint8], opening: Positions, closing: Positions) -> NDArray[np.bool]:
    """Which pairs of marks open in the middle of a field, or close there."""
    opens = _EDGE[chunk[opening - 1]] | (opening == 0)
    closes = _EDGE[chunk[np.minimum(closing + 1, len(chunk) - 1)]]
    off: NDArray[np.bool] = ~(opens & closes)
    return off


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
        kind = kind_of(data)
        line = _count_ends(data[: error.start].decode(error.encoding, "replace")) + 1
        what = f"this is {kind}, not a CSV file" if kind else f"a byte on this line is not {encoding}"
        raise Refused("FILE-ENCODING", f"{what}; save it as CSV in UTF-8", file=path.name, line=line) from None
    except UnicodeError:
        said = f"its bytes are not {encoding}; save it as CSV in UTF-8"
        raise Refused("FILE-ENCODING", said, file=path.name) from None
    if b"\r" in decoded:
        decoded = decoded.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Text(decoded, original=decoded is data)


def _count_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _recoded(data: bytes, encoding: str) -> bytes:
    if data[:2] in UTF16:
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

    Those need not stand on the lines; what most lines have decides.
    """
    cells = parse_header(text.line(0))
    named = max((place for place, cell in enumerate(cells, start=1) if cell.strip()), default=0)
    if named == len(cells):
        return named
    counts = np.bincount(text.fields[1:], minlength=len(cells) + 1)[named : len(cells) + 1]
    return named + int(counts.argmax()) if counts.any() else len(cells)


def parse_header(line: str, separator: str = ",") -> list[str]:
    """The cells of a header line, however its marks stand."""
    return next(csv.reader([line], delimiter=separator), [])


def split_records(text: Text, fields: int) -> Records:
    """Tell records from malformed lines; `fields` is how many a record has.

    Quotation marks of a line pair up within the line, or with those of a later line when both together form one
    record with `fields` fields. A mark that does neither is stray: its line alone is malformed.
    """
    unclear = _pair_up(text, fields)
    first, last = _joined(text, unclear)
    passed = text.starts == text.ends
    passed[text.valueless] = True
    if first is not last:
        passed = passed[first] & (first == last)
    valueless = text.valueless[np.isin(text.valueless, first[passed])]
    if passed.any():
        first, last = first[~passed], last[~passed]
    faults = _faults(text, first, last, fields, unclear)
    faulty = np.flatnonzero(faults)
    malformed = [Malformed(line + 1, line + 1, reason, text.line(line)) for line, reason in unclear.stray.items()]
    for a, b, fault in zip(first[faulty].tolist(), last[faulty].tolist(), faults[faulty].tolist(), strict=True):
        malformed.append(Malformed(a + 1, b + 1, _FAULTS[fault], text.line(a, b)))
    if len(faulty):
        first, last = (np.delete(lines, faulty) for lines in (first, last))
    return Records(first, last, sorted(malformed, key=lambda one: one.line), valueless)


def _faults(text: Text, first: Positions, last: Positions, fields: int, unclear: Unclear) -> NDArray[np.int8]:
    """What is wrong with each record, as an index into `_FAULTS`; 0 for nothing. A header is judged by others."""
    counted = text.fields.copy()
    counted[list(unclear.fields)] = list(unclear.fields.values())
    counted[[0, *(begin for begin, _ in unclear.spans)]] = fields
    starts, ends = text.starts, text.ends
    if len(first) < len(counted):
        counted, starts, ends = counted[first], starts[first], ends[last]
    faults = np.zeros(len(first), dtype=np.int8)
    miscounted = np.flatnonzero(counted != fields)
    faults[miscounted] = np.where(counted[miscounted] > fields, 1, 2)
    faults[_holding(first, last, text.controlled)] = 3
    faults[ends - starts > LONGEST] = 4
    return faults


def _holding(first: Positions, last: Positions, lines: Positions) -> Positions:
    """Indexes of the records to which any of the lines belongs."""
    places = np.searchsorted(first, lines, side="right") - 1
    belong = (places >= 0) & (last[places] >= lines) if len(last) else np.zeros(len(lines), dtype=bool)
    return np.unique(places[belong])


def _joined(text: Text, unclear: Unclear) -> tuple[Positions, Positions]:
    """First and last line of each record: lines are records but where marks join them or are stray."""
    everything = np.arange(len(text.starts), dtype=np.int64)
    if not unclear.spans and not unclear.stray:
        return everything, everything
    starting = np.ones(len(everything), dtype=bool)
    ending = starting.copy()
    for begin, end in unclear.spans:
        starting[begin + 1 : end + 1] = False
        ending[begin:end] = False
    starting[list(unclear.stray)] = False
    ending[list(unclear.stray)] = False
    return everything[starting], everything[ending]


@dataclass(frozen=True)
class Unclear:
    """The lines whose quotation marks need a closer look, looked at."""

    spans: list[tuple[int, int]]
    """First and last line of the records of several lines."""
    fields: dict[int, int]
    """Line that is a record by itself -> how many fields it has."""
    stray: dict[int, str]
    """Line that is none -> why."""


def _pair_up(text: Text, fields: int) -> Unclear:
    """Pair the unclear lines from the top; grows with the unclear lines alone, not with the file."""
    odd, lines = (found.tolist() for found in text.quoted)
    unclear = Unclear([], {}, {})
    done = -1
    for begin in lines:
        if begin <= done:
            continue
        found = _fields(text.line(begin))
        if isinstance(found, int):
            unclear.fields[begin] = found
            continue
        after = bisect.bisect_right(odd, begin)
        if found == _OPEN and after < len(odd) and _is_one_record(text, begin, odd[after], fields):
            done = odd[after]
            unclear.spans.append((begin, done))
        else:
            unclear.stray[begin] = found
    return unclear


def _is_one_record(text: Text, begin: int, end: int, fields: int) -> bool:
    if text.ends[end] - text.starts[begin] > LONGEST:
        return False
    within = (text.line(number) for number in range(begin + 1, end))
    return not any(_fields(line) == fields for line in within) and _fields(text.line(begin, end)) == fields


def _fields(text: str) -> int | str:
    """How many fields a text has that is exactly one CSV record; why it is none when it is not."""
    if len(text) > LONGEST:
        return _LONG
    try:
        records = _parsed(text)
    except csv.Error as error:
        return "text follows a closing quotation mark" if "expected after" in str(error) else _OPEN
    return len(records[0]) if len(records) == 1 else "it is several records"


def _parsed(text: str) -> list[list[str]]:
    """Read as DuckDB does, which passes over one blank before an opening quotation mark and all after a closing one."""
    tight = re.sub(r'" +(?=[,\n]|\Z)', '"', re.sub(r'(?m)(^|,) (?=")', r"\1", text))
    return list(csv.reader(io.StringIO(tight, newline=""), strict=True))
