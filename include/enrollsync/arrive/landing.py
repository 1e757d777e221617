"""Where deliveries land: find the newest complete one. Links within it are not followed.

Nothing here looks into a CSV file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from enrollsync.arrive.archive import unpack
from enrollsync.arrive.recognise import recognise
from enrollsync.formats import FORMATS, FileSpec, Format
from enrollsync.run.workspace import Notice, RunManifest, Workspace, error_file_name
from enrollsync.settings import District, project_root
from enrollsync.words.errors import ConfigurationError, Refused
from enrollsync.words.printable import first_of, shortened

_STILL_ARRIVING = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".uploading", ".lock")


@dataclass(frozen=True)
class Delivery:
    """One batch: its files by lower-case name, all in one folder."""

    folder: Path
    files: dict[str, Path]
    delivered_at: datetime
    """When the newest of its files arrived."""

    def stamps(self) -> dict[Path, tuple[int, int]]:
        """Size and time of each file; they differ once somebody has written to it. Raises Refused (FILE-MISSING)."""
        return {path: _stamp(path) for path in self.files.values()}

    def digest(self, names: list[str]) -> str:
        """The batch's identity: a hash of the named files' names and contents. Raises Refused (FILE-MISSING)."""
        whole = hashlib.sha256()
        with ThreadPoolExecutor() as threads:  # hashing leaves the interpreter to others
            for name, content in zip(sorted(names), threads.map(self._content, sorted(names)), strict=True):
                whole.update(f"{name}\0{content}\0".encode())
        return whole.hexdigest()

    def _content(self, name: str) -> str:
        with _reading(self.files[name]), self.files[name].open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    with _reading(path):
        found = path.lstat()
    return found.st_size, found.st_mtime_ns


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refused("FILE-MISSING", f"it cannot be read: {error.strerror}", file=shown(path.name)) from None


def shown(name: str) -> str:
    """A file's name as text: bytes of it that are no UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


@dataclass(frozen=True)
class Batch:
    """A delivery whose format is known, not read yet."""

    delivery: Delivery
    declared: Format
    present: tuple[FileSpec, ...]
    """The format's files that are there."""
    digest: str
    """The batch's identity."""
    stamps: dict[Path, tuple[int, int]]
    """Size and time of each file before it was looked into."""


@contextmanager
def found_batch(workspace: Workspace, manifest: RunManifest, district: District) -> Iterator[Batch]:
    """The delivery, its format recognised; what is unpacked of an archive is gone afterwards.

    Raises Refused when there is none, or an incomplete or unsafe one.
    """
    try:
        yield _find_batch(workspace, manifest, district)
    finally:
        shutil.rmtree(workspace.batch, ignore_errors=True)


def _find_batch(workspace: Workspace, manifest: RunManifest, district: District) -> Batch:
    if district.source.connection and not manifest.source:
        raise ConfigurationError(
            f"district {district.district_id}: `source.connection` cannot be used yet; copy the delivery to a folder "
            "and name that in `source.path`"
        )
    place = project_root() / (manifest.source or district.source.path)
    if manifest.picked:
        _refuse_elsewhere(place, district)
    delivery = find_delivery(place, workspace.batch)
    declared = recognise(delivery.files, district)
    stamps = delivery.stamps()
    present = tuple(spec for spec in declared.files if spec.name in delivery.files)
    return Batch(delivery, declared, present, delivery.digest([spec.name for spec in present]), stamps)


def find_overdue(delivered_at: datetime, manifest: RunManifest, district: District) -> list[Notice]:
    """A notice when the delivery that was found is older than `source.due_hours`; one that a person named never is."""
    age = manifest.as_of - delivered_at
    if manifest.source or district.source.due_hours is None or age <= timedelta(hours=district.source.due_hours):
        return []
    hours = age.total_seconds() / 3600
    message = f"the newest one came {hours:,.0f} hours ago; one is due every {district.source.due_hours:g} hours"
    return [Notice.of("FILE-OVERDUE", message)]


def _refuse_elsewhere(picked: Path, district: District) -> None:
    """Who may start a district's runs may not read another district's files."""
    landing = _resolved(project_root() / district.source.path)
    if not _resolved(picked).is_relative_to(landing if landing.is_dir() else landing.parent):
        raise ConfigurationError(
            f"district {district.district_id}: the delivery that was picked is not in `source.path`; choose one that is"
        )


def _resolved(path: Path) -> Path:
    """The path without links; unlike `Path.resolve`, as it is where they lead in a circle."""
    return Path(os.path.realpath(path))


def find_delivery(source: Path, unpack_to: Path) -> Delivery:
    """The delivery at `source`: a zip, a folder of CSV files, or a folder of such deliveries (the newest complete one).

    CSV files that lie beside such deliveries are together one more of them.

    Raises Refused (FILE-MISSING, FILE-INCOMPLETE, FILE-UNSAFE).
    """
    try:
        place = _newest(source)
        _refuse_unspeakable(place)
        if place.is_dir():
            return _folder(place)
        arrived = place.stat().st_mtime
        unpack(place, unpack_to)
    except OSError as error:
        raise Refused("FILE-MISSING", f"the delivery cannot be read: {error.strerror or error}") from None
    return _unpacked(_only_folder(unpack_to), place.name, arrived)


def _refuse_unspeakable(place: Path) -> None:
    """The run's records are UTF-8, and they name the delivery."""
    if shown(str(place)) != str(place):
        raise Refused("FILE-UNSAFE", "the delivery's name is not UTF-8; rename it", file=shown(place.name))


def _newest(source: Path) -> Path:
    if not (source.is_file() or source.is_dir()):
        raise Refused("FILE-MISSING", f"there is no folder or zip {source}; correct the path or deliver the files")
    if source.is_file():
        return _whole_zip(source)
    deliveries = [entry for entry in source.iterdir() if _is_delivery(entry) and not _is_other_name(entry)]
    if _csv_files(source):
        if not deliveries:
            return source
        deliveries.append(source)
    complete = [entry for entry in deliveries if _is_complete(entry)]
    if not complete and deliveries:
        raise Refused("FILE-INCOMPLETE", f"every delivery in {source} is still being written; wait for it to end")
    if not complete:
        said = f"there are no CSV files in {source}; {_found(source)}; deliver CSV files, or correct the path"
        raise Refused("FILE-MISSING", said)
    newest = max(complete, key=_arrival)
    if newest != source:
        _refuse_link(newest, "the files themselves")
    return newest


def _is_delivery(entry: Path) -> bool:
    return bool(_csv_files(entry)) or entry.suffix.lower() == ".zip"


def _is_other_name(entry: Path) -> bool:
    """Whether it is a link to what lies beside it, as `latest` may be."""
    return entry.is_symlink() and _resolved(entry).parent == _resolved(entry.parent)


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


def _is_csv(entry: Path) -> bool:
    """Whether it is meant as a CSV file of a delivery, be it a link."""
    named = entry.suffix.lower() == ".csv" and not entry.name.startswith(".")
    return named and (entry.is_symlink() or entry.is_file())


def _arrival(delivery: Path) -> tuple[float, str]:
    times = [entry.lstat().st_mtime for entry in _csv_files(delivery)] or [delivery.lstat().st_mtime]
    return max(times), delivery.name


def _is_complete(delivery: Path) -> bool:
    return not _arriving(delivery) if delivery.is_dir() else zipfile.is_zipfile(delivery)


def _arriving(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name.lower().endswith(_STILL_ARRIVING))


def _folder(folder: Path, arrived: float | None = None) -> Delivery:
    if arriving := _arriving(folder):
        said = "the delivery is still being written; wait for it to end"
        raise Refused("FILE-INCOMPLETE", said, file=shown(arriving[0]))
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
    known = {spec.name for declared in FORMATS.values() for spec in declared.files}
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
