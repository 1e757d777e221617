"""Deliveries in a folder of this machine, packed or not. Links within it are not followed.

Which one is taken says `choose.py`; nothing here looks into a CSV file.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from enrollsync.arrive.archive import unpack, unpack_gz
from enrollsync.arrive.choose import Entry, Ready, newest, refuse_arriving, refuse_link
from enrollsync.arrive.delivery import Delivery
from enrollsync.formats import delivered
from enrollsync.run.workspace import error_file_name
from enrollsync.words.errors import Refused
from enrollsync.words.printable import shown


def find_delivery(source: Path, unpack_to: Path, ready: Ready = None) -> Delivery:
    """The delivery at `source`: a zip, a folder of CSV files, or a folder of such deliveries (the newest complete one).

    CSV files that lie beside such deliveries are together one more of them; each may be packed by gzip. `ready` says
    what tells that one is complete, see `SourceSettings.ready`; for so many seconds without change it waits.

    Raises Refused (FILE-MISSING, FILE-INCOMPLETE, FILE-UNSAFE).
    """
    try:
        place = Path(newest(LocalPlace(), str(source), ready).path)
        _refuse_unspeakable(place)
        if place.is_dir():
            is_packed = any(entry.name.lower().endswith(".gz") for entry in _look(place).csv_files)
            return _unpacked_files(place, unpack_to) if is_packed else _folder(place)
        arrived = place.stat().st_mtime
        unpack(place, unpack_to)
    except OSError as error:
        raise Refused("FILE-MISSING", f"the delivery cannot be read: {error.strerror or error}") from None
    return _unpacked(_only_folder(unpack_to), place.name, arrived)


def _refuse_unspeakable(place: Path) -> None:
    """The run's records are UTF-8, and they name the delivery."""
    if shown(str(place)) != str(place):
        raise Refused("FILE-UNSAFE", "the delivery's name is not UTF-8; rename it", file=shown(place.name))


class LocalPlace:
    """A folder of this machine as a landing place."""

    def look(self, path: str) -> Entry | None:
        """What is there now; links to it are followed, those within it are not."""
        place = Path(path)
        return _entry(place, depth=2) if place.is_file() or place.is_dir() else None

    def is_whole_zip(self, path: str) -> bool:
        """Whether a file is a zip that has its end."""
        return zipfile.is_zipfile(path)


def _look(folder: Path) -> Entry:
    return _entry(folder, depth=1)


def _entry(path: Path, depth: int) -> Entry:
    """`depth`: how many folders deep is looked."""
    found, is_link = path.lstat(), path.is_symlink()
    within = None
    if path.is_dir():
        within = tuple(_entries(path, depth - 1)) if depth else ()
    is_other_name = is_link and resolved(path).parent == resolved(path.parent)
    return Entry(str(path), path.name, found.st_size, found.st_mtime, is_link, is_other_name, within)


def _entries(folder: Path, depth: int) -> Iterator[Entry]:
    for path in folder.iterdir():
        if path.is_symlink() or path.is_dir() or path.is_file():
            with suppress(FileNotFoundError):  # it went meanwhile
                yield _entry(path, depth)


def _unpacked_files(folder: Path, unpack_to: Path) -> Delivery:
    """A folder's files with those unpacked that gzip has packed, in a folder of the run's own."""
    found = _look(folder)
    refuse_arriving(found)
    names = [entry.name.lower().removesuffix(".gz") for entry in found.csv_files]
    if len(set(names)) < len(names):
        raise Refused("FILE-UNSAFE", "a file is there twice, packed and unpacked; remove one")
    shutil.rmtree(unpack_to, ignore_errors=True)
    unpack_to.mkdir(parents=True, mode=0o700)
    for entry in found.csv_files:
        refuse_link(entry, "the file itself")
        if entry.name.lower().endswith(".gz"):
            unpack_gz(Path(entry.path), unpack_to / entry.name[: -len(".gz")])
        else:
            shutil.copyfile(entry.path, unpack_to / entry.name)
    return _folder(unpack_to, found.arrived[0])


def _folder(folder: Path, arrived: float | None = None) -> Delivery:
    found = _look(folder)
    refuse_arriving(found)
    files = found.csv_files
    if not files:
        raise Refused("FILE-MISSING", f"there are no CSV files in the folder {folder.name}; deliver them")
    for entry in files:
        refuse_link(entry, "the file itself")
    by_name = {entry.name.lower(): Path(entry.path) for entry in files}
    if len(by_name) < len(files):
        raise Refused("FILE-UNSAFE", "two files differ in upper and lower case of their names only; remove one")
    when = arrived if arrived is not None else found.arrived[0]
    return Delivery(folder, _in_their_places(by_name), datetime.fromtimestamp(when, UTC))


def _in_their_places(files: dict[str, Path]) -> dict[str, Path]:
    """Error files stand for the files that they came from, where those are not there themselves."""
    known = {spec.name for declared in delivered().values() for spec in declared.files}
    originals = {error_file_name(name): name for name in known - set(files)}
    return {originals.get(name, name): path for name, path in files.items()}


def _unpacked(folder: Path, archive: str, arrived: float) -> Delivery:
    if not _look(folder).csv_files:
        said = "it holds no CSV files where they are looked for; put the files at the top of the zip or in one folder"
        raise Refused("FILE-MISSING", said, file=archive)
    return _folder(folder, arrived)


def _only_folder(folder: Path) -> Path:
    """Archives often hold one folder that holds the files."""
    inner = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name != "__MACOSX"]
    return inner[0] if len(inner) == 1 and not _look(folder).csv_files else folder


def resolved(path: Path) -> Path:
    """The path without links; unlike `Path.resolve`, as it is where they lead in a circle."""
    return Path(os.path.realpath(path))
