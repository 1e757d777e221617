"""What a delivery is, told from the names of its files; into one is looked only to say what it may be."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path

from enrollsync.arrive.delivery import MANIFEST_FILE
from enrollsync.arrive.nearest import nearest
from enrollsync.formats import ID_CHANGES_FILE, UNREAD, Format, delivered
from enrollsync.settings import District
from enrollsync.words.errors import Refused
from enrollsync.words.printable import first_of, quoted, shortened

_MOST = 3
"""Files of which a message says what they may be."""
_CLOSE = 0.75
"""How alike two names are at least when one is likely meant by the other; see `difflib`."""


def recognise(files: dict[str, Path], district: District) -> Format:
    """Tell the format from the files by lower-case name, and that it is one this district may deliver.

    What is missing of a delivery that lists its own files is seen when that list is read.

    Raises Refused: FILE-UNSUPPORTED for a format that cannot be read, else FILE-MISSING with what was found.
    """
    declared = _told(files)
    if declared and _is_told_by_its_list_alone(declared, files) and declared.source.name != district.primary_source:
        files = {name: path for name, path in files.items() if name != MANIFEST_FILE}
        declared = _told(files)
    declared = declared or _likeliest(files, district)
    if declared.source.name != district.primary_source and not declared.source.is_guest:
        raise Refused("FILE-MISSING", f"these are {declared.title} files, but the district's primary source is "
                      f"{district.primary_source}; deliver that, or correct `primary_source`")  # fmt: skip
    missing = [spec.name for spec in declared.files if not spec.optional_file and spec.name not in files]
    if missing and not (declared.listing and declared.listing.file in files):
        lacks = ", ".join(f"{name}{_hint([name], files)}" for name in missing)
        said = f"the {declared.title} set lacks {lacks}; {_found(files)}; deliver the whole set"
        raise Refused("FILE-MISSING", said, file=missing[0])
    return declared


def _is_told_by_its_list_alone(declared: Format, files: dict[str, Path]) -> bool:
    """Whether only `manifest.csv` speaks for it, and that may stand beside files of any format."""
    return files.keys() & set(declared.telling) == {MANIFEST_FILE}


def _told(files: dict[str, Path]) -> Format | None:
    """The format of which most telling files are there, and of those that share them most others; None where none is.

    Raises Refused where they tell a format that cannot be read.
    """
    telling = {declared.name: len(files.keys() & set(declared.telling)) for declared in delivered().values()}
    best = max(telling, key=lambda name: (telling[name], _shared(delivered()[name], files)))
    if telling[best]:
        return delivered()[best]
    for unread in UNREAD:
        if files.keys() & set(unread.telling):
            supported = " or ".join(declared.title for declared in delivered().values())
            said = f"these are {unread.title} files, which this version cannot read; deliver {supported} files"
            raise Refused("FILE-UNSUPPORTED", said)
    return None


def format_of(files: dict[str, Path]) -> Format | None:
    """The format that the files by lower-case name are likeliest of; None where no name is known.

    Raises Refused: FILE-UNSUPPORTED for a format that cannot be read.
    """
    return _told(files) or _sharing(files)


def _sharing(files: dict[str, Path]) -> Format | None:
    named = set(files) - {ID_CHANGES_FILE.name}
    shared = {name: _shared(each, named) for name, each in delivered().items()}
    best = max(shared, key=shared.__getitem__)
    return delivered()[best] if shared[best] else None


def _likeliest(files: dict[str, Path], district: District) -> Format:
    """The format that shares most files with them; changes of identifiers alone are the primary source's."""
    if shared := _sharing(files):
        return shared
    ours = [declared for declared in delivered().values() if declared.source.name == district.primary_source]
    if ours and set(files) == {ID_CHANGES_FILE.name}:
        return ours[0]
    raise nobody_knows(files)


def nobody_knows(files: dict[str, Path]) -> Refused:
    """Why no format is found: what was looked for, what was there, and what comes nearest by its header line."""
    read = {one.title: [spec.name for spec in one.files if spec.read] for one in delivered().values()}
    known = "; ".join(f"{title} is {', '.join(names)}" for title, names in read.items())
    hint = _hint(dict.fromkeys(name for names in read.values() for name in names), files)
    near = "".join(f"; {likeness}" for likeness in nearest(files.values())[:_MOST])
    return Refused("FILE-MISSING", f"none of the files is known{hint}{near}; {_found(files)}; {known}")


def _shared(declared: Format, files: Collection[str]) -> int:
    return sum(spec.name in files for spec in declared.files)


def _found(files: dict[str, Path]) -> str:
    return f"found: {first_of(sorted(shortened(path.name) for path in files.values()))}"


def _hint(wanted: Iterable[str], files: dict[str, Path]) -> str:
    """The first file that nobody knows and whose name holds a wanted one, or is like it."""
    known = {spec.name for declared in delivered().values() for spec in declared.files}
    strange = {name: path.name for name, path in sorted(files.items()) if name not in known}
    stems = {Path(name).stem: written for name, written in strange.items()}
    for name in wanted:
        stem = Path(name).stem
        holding = [other for other in stems if stem in other]
        for other in holding or difflib.get_close_matches(stem, stems, n=1, cutoff=_CLOSE):
            return f" (is {quoted(stems[other])} {name}?)"
    return ""
