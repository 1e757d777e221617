"""Headers that are nearly what a format expects: which one is likely meant, and a file with its header line anew.

Nothing is renamed unasked: a message names what is likely meant, and a person agrees.
"""

from __future__ import annotations

import codecs
import csv
import re
import shutil
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

from enrollsync.formats import FileSpec, Format
from enrollsync.ingest.lines import LONGEST, parse_header
from enrollsync.words.kinds import UTF16

_CLOSE = 0.75
"""How alike two headers are at least when one is likely meant by the other; see `difflib`."""
_LONGEST_NAME = 100
"""Characters of a header that is compared; what is longer is none."""
_MOST = 100
"""Headers of a file that are compared with those that it lacks."""


def letters(name: str) -> str:
    """What of a header is the same however it is spelt: `Student Id`, `student_id` and `studentId` are one."""
    return re.sub(r"[\W_]", "", name).casefold()


def is_header(expected: Iterable[str], spec: FileSpec) -> bool:
    """Whether the line is the header, however it is spelt; in any other a cell may be a child's name: no quoting."""
    return not {letters(name) for name in spec.required}.isdisjoint(map(letters, expected))


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is likely meant by a name; None where none is like it."""
    folded = {candidate.casefold(): candidate for candidate in candidates}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=_CLOSE)
    return folded[close[0]] if close else None


def near_misses(written: Sequence[str], spec: FileSpec, declared: Format) -> dict[str, str]:
    """Header as it is written -> the one that the file lacks and that is likely meant, the likeliest pairs first.

    Where a format passes over headers that it does not know, such a one may be another matter: only what differs in
    spelling alone is meant then, or what the file cannot do without. Empty for a line that is no header.
    """
    expected = declared.expected(spec, written)
    if not is_header(expected, spec):
        return {}
    lacking = [name for name in spec.known if name not in expected]
    strange = [cell for cell, name in zip(written, expected, strict=True) if cell and name not in spec.known]
    pairs = sorted(
        (-likeness, cell, name)
        for cell in list(dict.fromkeys(strange))[:_MOST]
        for name in lacking
        if (likeness := _likeness(cell, name)) >= _least(name, spec, declared)
    )
    found: dict[str, str] = {}
    for _, cell, name in pairs:
        if cell not in found and name not in found.values() and strange.count(cell) == 1:
            found[cell] = name
    return found


def _least(name: str, spec: FileSpec, declared: Format) -> float:
    return 1 if declared.unknown_headers and name not in spec.required else _CLOSE


def _likeness(cell: str, name: str) -> float:
    if letters(cell) == letters(name):
        return 1
    return 0 if len(cell) > _LONGEST_NAME else SequenceMatcher(None, cell.casefold(), name.casefold()).ratio()


def read_header(path: Path, encoding: str) -> list[str]:
    """The cells of a file's first line, trimmed; none where it is no text."""
    try:
        with path.open(encoding=_codec(path, encoding), newline="") as stream:
            return [cell.strip() for cell in parse_header(stream.readline(LONGEST).rstrip("\r\n"))]
    except (OSError, UnicodeError):
        return []


def rename_headers(path: Path, target: Path, renames: dict[str, str], encoding: str) -> None:
    """Copy a file to `target` with other headers in its first line; the rest stays."""
    codec = _codec(path, encoding)
    with path.open(encoding=codec, newline="") as old, target.open("w", encoding=codec, newline="") as new:
        line = old.readline(LONGEST)
        text = line.rstrip("\r\n")
        cells = [renames.get(cell.strip(), cell) for cell in parse_header(text)]
        csv.writer(new, lineterminator=line[len(text) :]).writerow(cells)
        shutil.copyfileobj(old, new)


def _codec(path: Path, encoding: str) -> str:
    """As the file is read: its byte-order mark says more than the district does."""
    with path.open("rb") as stream:
        begins = stream.read(len(codecs.BOM_UTF8))
    if begins[:2] in UTF16:
        return "utf-16"
    return "utf-8-sig" if begins == codecs.BOM_UTF8 else encoding
