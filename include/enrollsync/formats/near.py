"""Headers that are nearly what a format expects: which one is likely meant, by its spelling or in another language.

Nothing is renamed unasked: a message names what is likely meant, and a person agrees.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches

from enrollsync.formats.declare import FileSpec, Format
from enrollsync.words.synonyms import SYNONYMS

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


def likely_renames(written: Sequence[str], spec: FileSpec, declared: Format) -> dict[str, str]:
    """Header as it is written -> the one that is likely meant: misspelt ones, and then those in other words."""
    misspelt = near_misses(written, spec, declared)
    return misspelt | translations(written, spec, declared, misspelt)


def translations(written: Sequence[str], spec: FileSpec, declared: Format, known: Mapping[str, str]) -> dict[str, str]:
    """Header as it is written -> the one that the file lacks and that means the same: `Vorname`, `First Name`.

    `known`: what is renamed already. Where two would mean the same, neither does.
    """
    expected = declared.expected(spec, [known.get(name, name) for name in written])
    meant = {
        letters(word): header
        for header, words in _words(spec, declared).items()
        if header not in expected
        for word in words
    }
    strange = [cell for cell, name in zip(written, expected, strict=True) if name not in spec.known]
    found = {cell: meant[letters(cell)] for cell in strange if letters(cell) in meant}
    headers = list(found.values())
    return {cell: header for cell, header in found.items() if headers.count(header) == 1}


def _words(spec: FileSpec, declared: Format) -> dict[str, tuple[str, ...]]:
    """Header of the file -> other words for what it brings; its principal entity's come first."""
    ours = sorted(declared.of_file(spec.name), key=lambda mapping: mapping.entity != spec.entity)
    words: dict[str, tuple[str, ...]] = {}
    for mapping in ours:
        for column, cell in mapping.cells.items():
            named = SYNONYMS.get(f"{mapping.entity}.{column}", SYNONYMS.get(column, ()))
            if cell.column and named:
                words.setdefault(cell.column, named)
    return words
