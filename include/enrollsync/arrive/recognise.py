"""What a delivery is, told from the names of its files; nothing here looks into one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from enrollsync.formats import FORMATS, ID_CHANGES_FILE, Format
from enrollsync.settings import District
from enrollsync.words.errors import Refused
from enrollsync.words.printable import first_of, quoted, shortened

_UNSUPPORTED: dict[str, set[str]] = {
    "Apple School Manager": {"locations.csv", "rosters.csv"},
    "Microsoft School Data Sync": {"studentenrollment.csv", "teacherroster.csv"},
    "OneRoster": {"orgs.csv", "manifest.csv", "academicsessions.csv", "courses.csv"},
}
"""Formats that are known and cannot be read yet -> files that no other has; the first that fits is named."""
_CLOSE = 0.75
"""How alike two names are at least when one is likely meant by the other; see `difflib`."""


def recognise(files: dict[str, Path], district: District) -> Format:
    """Tell the format from the files by lower-case name, and that it is one this district may deliver.

    Raises Refused: FILE-UNSUPPORTED for a format that cannot be read, else FILE-MISSING with what was found.
    """
    _refuse_unsupported(files)
    declared = _declared(files, district)
    if declared.name not in {district.primary_source, "batch_upload"}:
        raise Refused("FILE-MISSING", f"these are {declared.title} files, but the district's primary source is "
                      f"{district.primary_source}; deliver that, or correct `primary_source`")  # fmt: skip
    missing = [spec.name for spec in declared.files if not spec.optional_file and spec.name not in files]
    if missing:
        lacks = ", ".join(f"{name}{_hint([name], files)}" for name in missing)
        said = f"the {declared.title} set lacks {lacks}; {_found(files)}; deliver the whole set"
        raise Refused("FILE-MISSING", said, file=missing[0])
    return declared


def _refuse_unsupported(files: dict[str, Path]) -> None:
    for title, telling in _UNSUPPORTED.items():
        if telling & set(files):
            supported = " or ".join(declared.title for declared in FORMATS.values())
            said = f"these are {title} files, which this version cannot read; deliver {supported} files"
            raise Refused("FILE-UNSUPPORTED", said)


def _declared(files: dict[str, Path], district: District) -> Format:
    """The format that shares most files with them; changes of identifiers alone are the primary source's."""
    telling = set(files) - {ID_CHANGES_FILE.name}
    overlaps = {name: sum(spec.name in telling for spec in each.files) for name, each in FORMATS.items()}
    best = max(overlaps, key=overlaps.__getitem__)
    if overlaps[best]:
        return FORMATS[best]
    if not telling and district.primary_source in FORMATS:
        return FORMATS[district.primary_source]
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
