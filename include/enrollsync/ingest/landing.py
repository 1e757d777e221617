"""Where deliveries land: find the newest complete one, unpack it safely, say what it is.

Nothing here looks into a CSV file.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from enrollsync.errors import ConfigurationError, Refused
from enrollsync.formats import FORMATS, ID_CHANGES_FILE, FileSpec, Format
from enrollsync.settings import District, project_root
from enrollsync.workspace import Notice, RunManifest, Workspace, error_file_name

_STILL_ARRIVING = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".uploading", ".lock")
_LARGEST_UNPACKED = 8 << 30
"""Bytes; a state's roster unpacks to less than one gigabyte."""
_LARGEST_RATIO = 250
"""Unpacked to packed; rosters reach 30."""
_PIECE = 1 << 20
"""Bytes of an entry that are unpacked at a time."""
_ENCRYPTED = 0x1
"""The bit among an entry's flags that says so."""
_ONEROSTER_FILES = {"orgs.csv", "manifest.csv", "academicsessions.csv", "courses.csv"}


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
        found = path.stat()
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
    declared = recognise(delivery, district)
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
    landing = (project_root() / district.source.path).resolve()
    if not picked.resolve().is_relative_to(landing if landing.is_dir() else landing.parent):
        raise ConfigurationError(
            f"district {district.district_id}: the delivery that was picked is not in `source.path`; choose one that is"
        )


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
        _unpack(place, unpack_to)
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
    deliveries = [entry for entry in source.iterdir() if _csv_files(entry) or entry.suffix.lower() == ".zip"]
    if _csv_files(source):
        if not deliveries:
            return source
        deliveries.append(source)
    complete = [entry for entry in deliveries if _is_complete(entry)]
    if not complete and deliveries:
        raise Refused("FILE-INCOMPLETE", f"every delivery in {source} is still being written; wait for it to end")
    if not complete:
        raise Refused("FILE-MISSING", f"there are no CSV files in {source}; deliver them, or correct the path")
    return max(complete, key=_arrival)


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
    return entry.suffix.lower() == ".csv" and not entry.name.startswith(".") and entry.is_file()


def _arrival(delivery: Path) -> tuple[float, str]:
    times = [entry.stat().st_mtime for entry in _csv_files(delivery)] or [delivery.stat().st_mtime]
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


def _unpack(archive: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True, mode=0o700)
    try:
        with zipfile.ZipFile(archive) as opened:
            _refuse_unsafe(opened, archive.name)
            for entry in opened.infolist():
                _extract(opened, entry, target / _path_of(entry), archive.name)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise Refused("FILE-INCOMPLETE", f"the zip is damaged ({error}); deliver it again", file=archive.name) from None
    except (NotImplementedError, RuntimeError, IndexError, ValueError) as error:
        raise Refused("FILE-UNSAFE", f"the zip cannot be unpacked: {error}", file=archive.name) from None


def _path_of(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Where an entry is unpacked to; some programs for Windows write folders with backslashes."""
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith(("/", "\\"))


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, archive: str) -> None:
    try:
        (target if _is_folder(entry) else target.parent).mkdir(parents=True, exist_ok=True)
        if not _is_folder(entry):
            with opened.open(entry) as packed, target.open("xb") as unpacked:
                shutil.copyfileobj(packed, unpacked, _PIECE)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise  # the archive is not to blame
        what = f"its entry {entry.filename[:80]!r} cannot be unpacked: {error.strerror or error}"
        raise Refused("FILE-UNSAFE", f"{what}; make a plain zip of the files", file=archive) from None


def _refuse_unsafe(opened: zipfile.ZipFile, name: str) -> None:
    entries = opened.infolist()
    for entry in entries:
        path = _path_of(entry)
        if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
            raise Refused("FILE-UNSAFE", "an entry's path leads out of the archive; make a plain zip", file=name)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Refused("FILE-UNSAFE", "an entry is a link; make a plain zip of the files", file=name)
        if entry.flag_bits & _ENCRYPTED:
            raise Refused("FILE-UNSAFE", "it is encrypted; make a plain zip without a password", file=name)
    files = [_folded(_path_of(entry)) for entry in entries if not _is_folder(entry)]
    if len(set(files)) < len(files):
        raise Refused("FILE-UNSAFE", "two entries unpack to one file; make a plain zip of the files", file=name)
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > _LARGEST_UNPACKED or (unpacked > 1 << 26 and unpacked > _LARGEST_RATIO * packed):
        raise Refused("FILE-UNSAFE", f"it would unpack to {unpacked >> 20} MiB, which no roster does", file=name)


def _folded(path: PurePosixPath) -> tuple[str, ...]:
    """A path as the least particular file system tells it from others: no case, no accents apart, no dots at an end."""
    return tuple(unicodedata.normalize("NFC", part).casefold().rstrip(". ") for part in path.parts)


def recognise(delivery: Delivery, district: District) -> Format:
    """Tell the format from the files' names, and that it is one this district may deliver.

    Raises Refused (FILE-MISSING), or ConfigurationError for a format that is not supported.
    """
    if _ONEROSTER_FILES & set(delivery.files):
        raise ConfigurationError("these are OneRoster files, which this version cannot read yet")
    telling = set(delivery.files) - {ID_CHANGES_FILE.name}
    overlaps = {name: sum(spec.name in telling for spec in each.files) for name, each in FORMATS.items()}
    best = max(overlaps, key=overlaps.__getitem__)
    if not overlaps[best]:
        known = "; ".join(f"{one.title}: {', '.join(spec.name for spec in one.files)}" for one in FORMATS.values())
        raise Refused("FILE-MISSING", f"none of the files is known ({known})")
    declared = FORMATS[best]
    if declared.name not in {district.primary_source, "batch_upload"}:
        raise Refused("FILE-MISSING", f"these are {declared.title} files, but the district's primary source is "
                      f"{district.primary_source}; deliver that, or correct `primary_source`")  # fmt: skip
    missing = [spec.name for spec in declared.files if not spec.optional_file and spec.name not in delivery.files]
    if missing:
        raise Refused("FILE-MISSING", f"the {declared.title} set lacks {', '.join(missing)}; deliver the whole set",
                      file=missing[0])  # fmt: skip
    return declared
