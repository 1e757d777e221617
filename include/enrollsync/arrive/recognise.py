"""What a delivery is, told from the names of its files; nothing here looks into one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from enrollsync.formats import FORMATS, ID_CHANGES_FILE, UNREAD, Format
from enrollsync.settings import District
from enrollsync.words.errors import Refused
from enrollsync.words.printable import first_of, quoted, shortened

_CLOSE = 0.75
"""How alike two names are at least when one is likely meant by the other; see `difflib`."""


def recognise(files: dict[str, Path], district: District) -> Format:
    """Tell the format from the files by lower-case name, and that it is one this district may deliver.

    Raises Refused: FILE-UNSUPPORTED for a format that cannot be read, else FILE-MISSING with what was found.
    """
    declared = _told(files) or _likeliest(files, district)
    if declared.source.name != district.primary_source and not declared.source.is_guest:
        raise Refused("FILE-MISSING", f"these are {declared.title} files, but the district's primary source is "
                      f"{district.primary_source}; deliver that, or correct `primary_source`")  # fmt: skip
    missing = [spec.name for spec in declared.files if not spec.optional_file and spec.name not in files]
    if missing:
        lacks = ", ".join(f"{name}{_hint([name], files)}" for name in missing)
        said = f"the {declared.title} set lacks {lacks}; {_found(files)}; deliver the whole set"
        raise Refused("FILE-MISSING", said, file=missing[0])
    return declared


def _told(files: dict[str, Path]) -> Format | None:
    """The format of which most telling files are there; None where none is.

    Raises Refused where they tell a format that cannot be read.
    """
    telling = {declared.name: len(files.keys() & set(declared.telling)) for declared in FORMATS.values()}
    best = max(telling, key=telling.__getitem__)
    if telling[best]:
        return FORMATS[best]
    for unread in UNREAD:
        if files.keys() & set(unread.telling):
            supported = " or ".join(declared.title for declared in FORMATS.values())
            said = f"these are {unread.title} files, which this version cannot read; deliver {supported} files"
            raise Refused("FILE-UNSUPPORTED", said)
    return None


def _likeliest(files: dict[str, Path], district: District) -> Format:
    """The format that shares most files with them; changes of identifiers alone are the primary source's."""
    named = set(files) - {ID_CHANGES_FILE.name}
    shared = {name: sum(spec.name in named for spec in each.files) for name, each in FORMATS.items()}
    best = max(shared, key=shared.__getitem__)
    if shared[best]:
        return FORMATS[best]
    ours = [declared for declared in FORMATS.values() if declared.source.name == district.primary_source]
    if ours and not named:
        return ours[0]
    known = "; ".join(f"{one.title} is {', '.join(spec.name for spec in one.files)}" for one in FORMATS.values())
    hint = _hint(dict.fromkeys(spec.name for one in FORMATS.values() for spec in one.files), files)
    raise Refused("FILE-MISSING", f"none of the files is known{hint}; {_found(files)}; {known}")


def _found(files: dict[str, Path]) -> str:
    return f"found: {first_of(sorted(shortened(path.name) for path in files.values()))}"


def _hint(wanted: Iterable[str], files: dict[str, Path]) -> str:
    """The first file that nobody knows and whose name holds a wanted one, or is like it."""
    known = {spec.name for declared in FORMATS.values() for spec in declared.files}
    strange = {name: path.name for name, path in sorted(files.items()) if name not in known}
    for name in wanted:
        holding = [other for other in strange if Path(name).stem in other]
        for other in holding or difflib.get_close_matches(name, strange, n=1, cutoff=_CLOSE):
            return f" (is {quoted(strange[other])} {name}?)"
    return ""
