"""Folders of runs and uploads in an object store, for machines that share no disk.

`ENROLLSYNC_RUNS` names it (`s3://bucket/prefix`), `AIRFLOW_CONN_ENROLLSYNC_RUNS` how it is reached; where nothing is
named, folders are on this disk alone, and nothing here does anything.

What a folder has stands in its `files.json`. A content lies under its path and digest and is never written over, so
that whoever is interrupted leaves the folder as the last step left it. Who works on a folder has it on the own disk
meanwhile, and leaves none of it there; copies to look at go an hour later.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from enrollsync.settings import project_root
from enrollsync.settings.bucket import is_denied, s3_client, why_not
from enrollsync.settings.connections import optional_connection
from enrollsync.words import private
from enrollsync.words.errors import ConfigurationError, FilesUnreachable

if TYPE_CHECKING:
    from pyarrow import fs

T = TypeVar("T")
PLACE = "ENROLLSYNC_RUNS"
CONNECTION = "enrollsync_runs"
ALWAYS = ("run.json", "settings.json", "upload.json")
"""Files that come with any part of a folder."""
_INDEX = "files.json"
_COPY = ".copy"
"""Marks a folder that is a copy of what the store has; its time is that of its last use."""
_HALF = ".half-"
_COPIES_STAY = 3600
"""Seconds."""
_AT_ONCE = 8
"""Files on their way."""
_PIECE = 8 << 20
"""Bytes."""
_held: set[Path] = set()
"""Folders on which this process works: what it made is newer than what the store has."""
_brought: set[Path] = set()
"""Copies that this process has made."""


class Content(BaseModel):
    """One file of a folder."""

    model_config = ConfigDict(extra="forbid")

    digest: str
    size: int
    changed: int
    """Nanoseconds since 1970; with the size, it says whether a copy is the same."""

    def is_at(self, path: Path) -> bool:
        """Whether the file there is this one."""
        with suppress(FileNotFoundError):
            found = path.stat()
            return (found.st_size, found.st_mtime_ns) == (self.size, self.changed)
        return False


class Listing(BaseModel):
    """`files.json`: what a folder has."""

    model_config = ConfigDict(extra="forbid")

    files: dict[str, Content] = Field(default_factory=dict)
    """Path within the folder -> what is there."""
    folders: list[str] = Field(default_factory=list)
    """Those within it, of which some are empty."""


# ---- what others call ------------------------------------------------------------------------------------------------


@contextmanager
def at_hand(
    folder: Path, reads: Collection[str] | None = None, writes: Collection[str] | None = None
) -> Iterator[None]:  # fmt: skip
    """Work on a folder: it is brought here before, and what was made of it is kept after, whatever happens.

    `reads`, `writes`: names within the folder, None for all. Of what is called as `writes` says, nothing stays in the
    store that is not here afterwards. Nothing at all stays here. Raises FilesUnreachable, ConfigurationError.
    """
    store = _store()
    if store is None:
        yield
        return
    _leave_old(folder.parent)
    there = store.bring(folder, reads)
    _make_copy(folder, there)
    _brought.add(folder)
    _held.add(folder)
    try:
        with (folder / _COPY).open() as mark:
            fcntl.flock(mark, fcntl.LOCK_SH)  # until the block ends, nobody takes it for left behind
            try:
                yield
            finally:
                store.keep(folder, there, writes)
    finally:
        _held.discard(folder)
        leave()


def brought(folder: Path, names: Collection[str] | None = None) -> Path:
    """The folder, with what the store has of it, or of these names in it; a run that goes on here stays as it is.

    Raises FilesUnreachable, ConfigurationError.
    """
    store = _store()
    if store and folder not in _held:
        _leave_old(folder.parent)
        store.bring(folder, names)
    return folder


def keep(folder: Path, writes: Collection[str] | None = None) -> None:
    """Let the store have what the folder is now; `writes` as in `at_hand`.

    Raises FilesUnreachable, ConfigurationError.
    """
    store = _store()
    if store and folder not in _held and folder.is_dir():
        store.keep(folder, store.listing(folder) or Listing(), writes)


def has(folder: Path, name: str) -> bool:
    """Whether the folder has a file of that name. Raises FilesUnreachable, ConfigurationError."""
    if (folder / name).is_file():
        return True
    store = _store()
    return bool(store and name in (store.listing(folder) or Listing()).files)


def size(folder: Path) -> int | None:
    """Bytes that the store has of the folder; None where it has none."""
    store = _store()
    listed = store.listing(folder) if store else None
    return sum(content.size for content in listed.files.values()) if listed else None


def bring_all(beneath: Path, names: Collection[str] | None = None) -> None:
    """All folders of a folder, as `brought`."""
    store = _store()
    for folder in store.folders(beneath) if store else ():
        brought(folder, names)


def drop(folder: Path) -> None:
    """Leave nothing of the folder in the store, nor of those within; what is here of it is others' business.

    Raises FilesUnreachable, ConfigurationError.
    """
    store = _store()
    if store:
        store.drop(folder)
        _brought.discard(folder)


def leave() -> None:
    """Remove the copies that this process has made."""
    for folder in _brought - _held:
        shutil.rmtree(folder, ignore_errors=True)
        _brought.discard(folder)


def _leave_old(beneath: Path) -> None:
    """Remove copies that nobody has looked at for long: of a page, or of a task that was killed."""
    if time.monotonic() - _looked_for_old.get(beneath.parent, -_BETWEEN) < _BETWEEN:
        return
    _looked_for_old[beneath.parent] = time.monotonic()
    for mark in beneath.parent.glob(f"*/*/{_COPY}"):
        with suppress(OSError), mark.open() as lock:
            if time.time() - mark.stat().st_mtime > _COPIES_STAY:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(mark.parent, ignore_errors=True)


_BETWEEN = 60
"""Seconds between two looks for copies that nobody needs."""
_looked_for_old: dict[Path, float] = {}


# ---- the store -------------------------------------------------------------------------------------------------------


def _store() -> _Store | None:
    place = os.environ.get(PLACE, "").strip()
    return _store_at(place, os.environ.get(f"AIRFLOW_CONN_{CONNECTION.upper()}", "")) if place else None


@lru_cache(maxsize=1)
def _store_at(place: str, connection: str) -> _Store:
    """`connection`: that of the environment, of which another one means another store."""
    if not re.fullmatch(r"s3://[A-Za-z0-9._-]+(/[^/]+)*/?", place):
        raise ConfigurationError(f"{PLACE}: {place!r} is no object store; write one like s3://bucket/folder")
    atexit.register(leave)
    return _Store(s3_client(optional_connection(CONNECTION, PLACE)), place.removeprefix("s3://").strip("/"))


@dataclass(frozen=True)
class _Store:
    files: fs.S3FileSystem
    prefix: str
    """Bucket and what stands before every key."""

    def listing(self, folder: Path) -> Listing | None:
        """What the store has of the folder; None: nothing."""
        try:
            return Listing.model_validate_json(self._read(f"{self._key(folder)}/{_INDEX}"))
        except FileNotFoundError:
            return None
        except ValidationError:
            raise ConfigurationError(
                f"{PLACE}: {_INDEX} of {folder.name} is damaged, or another EnrollSync wrote it; start a new run"
            ) from None

    def folders(self, beneath: Path) -> list[Path]:
        """The folders that the store has of this one, by name."""
        from pyarrow import fs

        chosen = fs.FileSelector(self._key(beneath), allow_not_found=True)
        with self._reached(beneath):
            found = self.files.get_file_info(chosen)
        return sorted(beneath / one.base_name for one in found if one.type == fs.FileType.Directory)

    def bring(self, folder: Path, names: Collection[str] | None) -> Listing:
        """Make the folder here what the store has of it, as far as it is called so; returns all that it has."""
        for _ in range(3):
            listed = self.listing(folder)
            if listed is None:
                self._forget_copy(folder)
                return Listing()
            try:
                self._bring(folder, listed, names)
            except FileNotFoundError:  # somebody has kept a newer one meanwhile
                continue
            return listed
        raise FilesUnreachable(f"{PLACE}: {folder.name} changes while it is read; try again")

    def _bring(self, folder: Path, listed: Listing, names: Collection[str] | None) -> None:
        _make_copy(folder, listed)
        _brought.add(folder)
        wanted = {path: content for path, content in listed.files.items() if _is_of(path, names)}
        for path in _files_of(folder):
            if path not in listed.files and _is_of(path, names):
                (folder / path).unlink(missing_ok=True)
        missing = [path for path, content in wanted.items() if not content.is_at(folder / path)]
        _all_at_once(lambda path: self._fetch(folder, path, wanted[path]), missing)

    def _fetch(self, folder: Path, path: str, content: Content) -> None:
        half = folder / f"{_HALF}{token_hex(8)}"
        private.make_file(half)
        try:
            with self._reached(folder), self.files.open_input_stream(self._content(folder, path, content)) as stream:
                digest = blake2b(digest_size=_DIGEST)
                with half.open("wb") as kept:
                    while piece := stream.read(_PIECE):
                        digest.update(piece)
                        kept.write(piece)
            if digest.hexdigest() != content.digest:
                raise FilesUnreachable(f"{PLACE}: {path} of {folder.name} came damaged; try again")
            os.utime(half, ns=(content.changed, content.changed))
            half.replace(folder / path)
        finally:
            half.unlink(missing_ok=True)

    def keep(self, folder: Path, known: Listing, writes: Collection[str] | None) -> None:
        """Take what is new here, then say so, then let go what nothing names any more.

        `known`: what the store has. Of it goes what is not here and is called so (`writes`, None: anything).
        """
        here = {path: folder / path for path in _files_of(folder)}
        same = {path: content for path, content in known.files.items() if path in here and content.is_at(here[path])}
        new = dict(_all_at_once(lambda path: (path, self._send(folder, path, known)), here.keys() - same.keys()))
        elsewhere = {
            path: content for path, content in known.files.items() if path not in here and not _is_of(path, writes)
        }
        listed = Listing(files=dict(sorted((elsewhere | same | new).items())), folders=_folders_of(folder))
        if listed == known:
            return
        with self._reached(folder), self.files.open_output_stream(f"{self._key(folder)}/{_INDEX}") as stream:
            stream.write(listed.model_dump_json().encode())
        _make_copy(folder, listed)
        left = {self._content(folder, *item) for item in known.files.items()}
        left -= {self._content(folder, *item) for item in listed.files.items()}
        _all_at_once(self._delete, left)

    def _send(self, folder: Path, path: str, known: Listing) -> Content:
        found = (folder / path).stat()
        digest = blake2b(digest_size=_DIGEST)
        with (folder / path).open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
        content = Content(digest=digest.hexdigest(), size=found.st_size, changed=found.st_mtime_ns)
        before = known.files.get(path)
        if before is None or before.digest != content.digest:
            key = self._content(folder, path, content)
            with (
                (folder / path).open("rb") as stream,
                self._reached(folder),
                self.files.open_output_stream(key) as kept,
            ):
                shutil.copyfileobj(stream, kept, _PIECE)
        return content

    def drop(self, folder: Path) -> None:
        """What says that the folder is there goes first."""
        key = self._key(folder)
        self._delete(f"{key}/{_INDEX}")
        with suppress(FileNotFoundError), self._reached(folder):
            self.files.delete_dir(key)

    def _forget_copy(self, folder: Path) -> None:
        """A copy of what the store has not any more was taken away elsewhere; what began here stays."""
        if (folder / _COPY).exists():
            shutil.rmtree(folder, ignore_errors=True)

    def _key(self, folder: Path) -> str:
        try:
            within = folder.relative_to(project_root() / "data")
        except ValueError:
            said = f"{PLACE}: {folder} is not beneath {project_root() / 'data'}"
            raise ConfigurationError(f"{said}; set ENROLLSYNC_HOME to the same folder on every machine") from None
        return "/".join((self.prefix, *within.parts))

    def _content(self, folder: Path, path: str, content: Content) -> str:
        return f"{self._key(folder)}/{path}.{content.digest}"

    def _read(self, key: str) -> bytes:
        with self._reached(Path(key).parent), self.files.open_input_stream(key) as stream:
            return bytes(stream.read())

    def _delete(self, key: str) -> None:
        with suppress(FileNotFoundError), self._reached(Path(key).parent):
            self.files.delete_file(key)

    @contextmanager
    def _reached(self, folder: Path) -> Iterator[None]:
        """Say in one line what the store refuses, or that it does not answer. Raises FileNotFoundError as it is."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno is not None:  # of this machine's disk
                said = f"{folder} cannot be written here: {error.strerror}; make room, or let this user write there"
                raise FilesUnreachable(f"{PLACE}: {said}") from None
            why = why_not(error)
            remedy = f"put a key with that right into the connection {CONNECTION}" if is_denied(why) else "try again"
            raise FilesUnreachable(f"{PLACE}: {folder.name} cannot be read or kept ({why}); {remedy}") from None


_DIGEST = 16
"""Bytes."""


def _make_copy(folder: Path, listed: Listing) -> None:
    private.make_folder(folder)
    for name in ("", *listed.folders):
        _require_within(name)
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in listed.files:
        _require_within(path)
        (folder / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    private.make_file(folder / _COPY)
    (folder / _COPY).touch()


def _require_within(path: str) -> None:
    """Who may write to the bucket may not write elsewhere on a machine's disk."""
    way = PurePosixPath(path)
    if way.is_absolute() or ".." in way.parts or "\0" in path:
        said = f"{PLACE}: {_INDEX} of a folder names {path!r}, which is not within it; see who may write to the store"
        raise ConfigurationError(said)


def _files_of(folder: Path) -> list[str]:
    """Paths of the files within the folder that others may have; no link is followed."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    within = (str(path.relative_to(folder)) for path in found)
    return [path for path in within if not path.startswith((_COPY, _HALF)) and path.split("/")[0] not in _OF_HERE]


_OF_HERE = ("lock", "batch")
"""Whose an upload is at the moment, and a delivery on its way."""


def _folders_of(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())
    return sorted(str(path) for path in found if path.parts[0] not in _OF_HERE)


def _is_of(path: str, names: Collection[str] | None) -> bool:
    return names is None or path in ALWAYS or PurePosixPath(path).parts[0] in names


def _all_at_once(do: Callable[[str], T], paths: Iterable[str]) -> list[T]:
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        return list(workers.map(do, sorted(paths)))
