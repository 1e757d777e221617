"""Which file of which format is meant by one whose name nobody knows: its header line tells."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from enrollsync.formats import FileSpec, Format, delivered
from enrollsync.formats.near import likely_renames
from enrollsync.words.printable import first_of, quoted, shortened

_LONGEST = 100_000
"""Characters of a first line that are looked at."""


@dataclass(frozen=True)
class Likeness:
    """A file, and the one of a format that it is likest to; at least half of what that cannot do without is there."""

    path: Path
    declared: Format
    spec: FileSpec
    renames: dict[str, str]
    """Headers that are likely others, misspelt or in another language."""
    shared: tuple[str, ...]
    """Headers of the format that it has then."""
    lacking: tuple[str, ...]
    """Headers that the format cannot do without, and that are not there."""
    strange: tuple[str, ...]
    """Headers that the format does not know."""

    def __str__(self) -> str:
        meant = [f"{quoted(theirs)} as {ours}" for theirs, ours in self.renames.items()]
        shares = f"shares {len(self.shared)} headers" + (f" ({first_of(meant)})" if meant else "")
        lacks = f", lacks {first_of(self.lacking)}" if self.lacking else ""
        besides = f", has {first_of([*map(quoted, self.strange)])} besides" if self.strange else ""
        name, title = quoted(shortened(self.path.name)), self.declared.title
        return f"{name} is nearest to {self.spec.name} of {title}: {shares}{lacks}{besides}"


def nearest(files: Iterable[Path]) -> list[Likeness]:
    """What each CSV file is likest to, the likest first; nothing of those that are like none."""
    found = [likeness for path in files if (likeness := _nearest(path, _header(path)))]
    return sorted(found, key=lambda likeness: (-len(likeness.shared), likeness.path.name))


def _nearest(path: Path, header: list[str]) -> Likeness | None:
    candidates = [
        _compared(path, declared, spec, header)
        for declared in delivered().values()
        for spec in declared.files
        if spec.required and spec.read
    ]
    likely = [one for one in candidates if 2 * len(one.lacking) <= len(one.spec.required)]
    return max(likely, key=lambda one: (len(one.shared), -len(one.lacking)), default=None)


def _compared(path: Path, declared: Format, spec: FileSpec, header: list[str]) -> Likeness:
    renames = likely_renames(header, spec, declared)
    expected = declared.expected(spec, [renames.get(cell, cell) for cell in header])
    return Likeness(
        path,
        declared,
        spec,
        renames,
        shared=tuple(name for name in spec.known if name in expected),
        lacking=tuple(name for name in spec.required if name not in expected),
        strange=tuple(cell for cell, name in zip(header, expected, strict=True) if cell and name not in spec.known),
    )


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            return [cell.strip() for cell in next(csv.reader([stream.readline(_LONGEST)]), [])]
    except (OSError, csv.Error):
        return []
