"""Deliveries in a folder of files or zips: find the newest complete one. Links within it are not followed.

Nothing here looks into a CSV file.
"""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from enrollsync.arrive.archive import unpack, unpack_gz
from enrollsync.arrive.delivery import Delivery
from enrollsync.formats import delivered
from enrollsync.run.workspace import error_file_name
from enrollsync.words.errors import Refused
from enrollsync.words.printable import first_of, shortened, shown

Ready = str | int | None
"""What tells that a delivery is complete: `manifest`, the name of a marker, seconds without change; None: nothing."""
MANIFEST = "manifest"
_MANIFEST_FILE = "manifest.csv"
_STILL_ARRIVING = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".uploading", ".lock")


def find_delivery(source: Path, unpack_to: Path, ready: Ready = None) -> Delivery:
    """The delivery at `source`: a zip, a folder of CSV files, or a folder of such deliveries (the newest complete one).

    CSV files that lie beside such deliveries are together one more of them; each may be packed by gzip. `ready` says
    what tells that one is complete, see `SourceSettings.ready`; for so many seconds without change it waits.

    Raises Refused (FILE-MISSING, FILE-INCOMPLETE, FILE-UNSAFE).
    """
    try:
        place = _newest(source, ready)
        _refuse_unspeakable(place)
        if place.is_dir():
            return _folder(place) if not _packed_files(place) else _unpacked_files(place, unpack_to)
        arrived = place.stat().st_mtime
        unpack(place, unpack_to)
    except OSError as error:
        raise Refused("FILE-MISSING", f"the delivery cannot be read: {error.strerror or error}") from None
    return _unpacked(_only_folder(unpack_to), place.name, arrived)


def _refuse_unspeakable(place: Path) -> None:
    """The run's records are UTF-8, and they name the delivery."""
    if shown(str(place)) != str(place):
        raise Refused("FILE-UNSAFE", "the delivery's name is not UTF-8; rename it", file=shown(place.name))


def _newest(source: Path, ready: Ready) -> Path:
    if not (source.is_file() or source.is_dir()):
        raise Refused("FILE-MISSING", f"there is no folder or zip {source}; correct the path or deliver the files")
    if source.is_file():
        return _settled(_whole_zip(source), ready)
    deliveries = [entry for entry in source.iterdir() if _is_delivery(entry) and not _is_other_name(entry)]
    if _csv_files(source):
        if not deliveries:
            return _settled(source, ready)
        deliveries.append(source)
    complete = [entry for entry in deliveries if _is_complete(entry) and _has_mark(entry, ready)]
    if not complete and deliveries:
        lacks = f" or lacks {ready}" if isinstance(ready, str) else ""
        raise Refused(
            "FILE-INCOMPLETE", f"every delivery in {source} is still being written{lacks}; wait for it to end"
        )
    if not complete:
        said = f"there are no CSV files in {source}; {_found(source)}; deliver CSV files, or correct the path"
        raise Refused("FILE-MISSING", said)
    newest = max(complete, key=_arrival)
    if newest != source:
        _refuse_link(newest, "the files themselves")
    return _settled(newest, ready)


def _has_mark(delivery: Path, ready: Ready) -> bool:
    """Whether the file that says so is there: in the delivery's folder, or beside it under its name and the mark's."""
    if not isinstance(ready, str):
        return True
    if ready == MANIFEST:
        return delivery.is_file() or any(path.name.lower() == _MANIFEST_FILE for path in _csv_files(delivery))
    return (delivery / ready).is_file() or delivery.with_name(delivery.name + ready).is_file()


def _settled(delivery: Path, ready: Ready) -> Path:
    """The delivery, once it is complete as far as `ready` tells. Raises Refused (FILE-INCOMPLETE) where it is not."""
    if not _has_mark(delivery, ready):
        lacks = _MANIFEST_FILE if ready == MANIFEST else ready
        said = f"the delivery {shortened(delivery.name)} lacks {lacks}, which says that it is complete; wait for it"
        raise Refused("FILE-INCOMPLETE", said)
    if isinstance(ready, int):
        _wait_until_still(delivery, ready)
    return delivery


def _wait_until_still(delivery: Path, seconds: int) -> None:
    """Wait until nothing has been written for so long, twice as long at most."""
    last = time.monotonic() + 2 * seconds
    while (left := _arrival(delivery)[0] + seconds - time.time()) > 0:
        if time.monotonic() + left > last:
            said = f"the delivery {shortened(delivery.name)} is still being written to; wait for it to end"
            raise Refused("FILE-INCOMPLETE", said)
        time.sleep(left)


def _is_delivery(entry: Path) -> bool:
    return bool(_csv_files(entry)) or entry.suffix.lower() == ".zip"


def _is_other_name(entry: Path) -> bool:
    """Whether it is a link to what lies beside it, as `latest` may be."""
    return entry.is_symlink() and resolved(entry).parent == resolved(entry.parent)


def _refuse_link(entry: Path, instead: str) -> None:
    """A link could lead to files that whoever delivers may not read."""
    if entry.is_symlink():
        said = f"it is a link, and links are not followed; deliver {instead}"
        raise Refused("FILE-UNSAFE", said, file=shown(entry.name))


def _found(folder: Path) -> str:
    names = sorted(shortened(entry.name) for entry in folder.iterdir() if not entry.name.startswith("."))
    return f"found: {first_of(names)}" if names else "it is empty"


def _whole_zip(source: Path) -> Path:
    if source.suffix.lower() == ".csv":
        raise Refused("FILE-INCOMPLETE", "this is one file of a delivery; name its folder", file=source.name)
    if not zipfile.is_zipfile(source):
        raise Refused("FILE-INCOMPLETE", "this is neither a folder nor a whole zip", file=source.name)
    return source


def _csv_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [entry for entry in folder.iterdir() if _is_csv(entry)]


def _packed_files(folder: Path) -> list[Path]:
    return [entry for entry in _csv_files(folder) if entry.suffix.lower() == ".gz"]


def _unpacked_files(folder: Path, unpack_to: Path) -> Delivery:
    """A folder's files with those unpacked that gzip has packed, in a folder of the run's own."""
    _refuse_arriving(folder)
    files = _csv_files(folder)
    names = [entry.name.lower().removesuffix(".gz") for entry in files]
    if len(set(names)) < len(names):
        raise Refused("FILE-UNSAFE", "a file is there twice, packed and unpacked; remove one")
    shutil.rmtree(unpack_to, ignore_errors=True)
    unpack_to.mkdir(parents=True, mode=0o700)
    for entry in files:
        _refuse_link(entry, "the file itself")
        if entry.suffix.lower() == ".gz":
            unpack_gz(entry, unpack_to / entry.name[: -len(".gz")])
        else:
            shutil.copyfile(entry, unpack_to / entry.name)
    return _folder(unpack_to, _arrival(folder)[0])


def _is_csv(entry: Path) -> bool:
    """Whether it is meant as a CSV file of a delivery, packed by gzip or not, be it a link."""
    named = entry.name.lower().endswith((".csv", ".csv.gz")) and not entry.name.startswith(".")
    return named and (entry.is_symlink() or entry.is_file())


def _arrival(delivery: Path) -> tuple[float, str]:
    times = [entry.lstat().st_mtime for entry in _csv_files(delivery)] or [delivery.lstat().st_mtime]
    return max(times), delivery.name


def _is_complete(delivery: Path) -> bool:
    return not _arriving(delivery) if delivery.is_dir() else zipfile.is_zipfile(delivery)


def _arriving(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name.lower().endswith(_STILL_ARRIVING))


def _refuse_arriving(folder: Path) -> None:
    if arriving := _arriving(folder):
        said = "the delivery is still being written; wait for it to end"
        raise Refused("FILE-INCOMPLETE", said, file=shown(arriving[0]))


def _folder(folder: Path, arrived: float | None = None) -> Delivery:
    _refuse_arriving(folder)
    files = _csv_files(folder)
    if not files:
        raise Refused("FILE-MISSING", f"there are no CSV files in the folder {folder.name}; deliver them")
    for path in files:
        _refuse_link(path, "the file itself")
    by_name = {path.name.lower(): path for path in files}
    if len(by_name) < len(files):
        raise Refused("FILE-UNSAFE", "two files differ in upper and lower case of their names only; remove one")
    when = arrived if arrived is not None else max(path.stat().st_mtime for path in files)
    return Delivery(folder, _in_their_places(by_name), datetime.fromtimestamp(when, UTC))


def _in_their_places(files: dict[str, Path]) -> dict[str, Path]:
    """Error files stand for the files that they came from, where those are not there themselves."""
    known = {spec.name for declared in delivered().values() for spec in declared.files}
    originals = {error_file_name(name): name for name in known - set(files)}
    return {originals.get(name, name): path for name, path in files.items()}


def _unpacked(folder: Path, archive: str, arrived: float) -> Delivery:
    if not _csv_files(folder):
        said = "it holds no CSV files where they are looked for; put the files at the top of the zip or in one folder"
        raise Refused("FILE-MISSING", said, file=archive)
    return _folder(folder, arrived)


def _only_folder(folder: Path) -> Path:
    """Archives often hold one folder that holds the files."""
    inner = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name != "__MACOSX"]
    return inner[0] if len(inner) == 1 and not _csv_files(folder) else folder


def resolved(path: Path) -> Path:
    """The path without links; unlike `Path.resolve`, as it is where they lead in a circle."""
    return Path(os.path.realpath(path))
