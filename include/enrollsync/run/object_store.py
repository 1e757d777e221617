"""Folders of runs and uploads in an object store, for machines that share no disk.

`ENROLLSYNC_RUNS` names it (`s3://bucket/prefix`), `AIRFLOW_CONN_ENROLLSYNC_RUNS` how it is reached; where nothing is
named, folders are on this disk alone, and nothing here does anything.

What a folder has stands in its `files.json`. A content lies under its path and digest and is never written over, so
that whoever is interrupted leaves the folder as the last step left it. A task has a folder on its own disk while it
works on it (`at_hand`), and leaves none of it there. Who only looks has a copy of that moment, which nobody changes,
in a place of the process's own (`brought`); it goes an hour after it was last asked for, and with the process.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
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
from threading import Lock
from typing import IO, TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from enrollsync.settings import project_root
from enrollsync.settings.bucket import is_denied, s3_client, why_not
from enrollsync.settings.connections import optional_connection
from enrollsync.words import private
from enrollsync.words.errors import ConfigurationError, EnrollSyncError, FilesMissing, FilesUnreachable

if TYPE_CHECKING:
    from pyarrow import fs

S = TypeVar("S")
T = TypeVar("T")
PLACE = "ENROLLSYNC_RUNS"
CONNECTION = "enrollsync_runs"
ALWAYS = ("run.json", "settings.json")
"""Files that come with any part of a folder."""
FOR_PAGES = ("canonical", "findings.parquet", "plan", "quarantine", "state", "id_changes.csv", "switch.csv",
             "report.html", "report.json", "findings.csv")  # fmt: skip
"""What the portal reads of a run: not the delivery, and not what the checks leave for the plan."""
_INDEX = "files.json"
_AT_HAND = ".at-hand"
"""Marks a folder in which a task works, or was killed."""
_STRAYS_STAY = 86_400
"""Seconds; somebody may be about to name what they have sent."""
_COPIES_STAY = 3600
"""Seconds."""
_AT_ONCE = 8
"""Files on their way."""
_PIECE = 8 << 20
"""Bytes."""
_DIGEST = 16
"""Bytes."""
_TRIES = 5
"""How often something is read that changes meanwhile."""
_OF_HERE = ("lock", "batch")
"""Whose an upload is at the moment, and a delivery on its way: never kept, nor is a name that begins with a dot."""
_GONE = ("NO_SUCH_KEY", "RESOURCE_NOT_FOUND")
"""What the store says of something that went between a look and the reading."""
_held: set[Path] = set()
"""Folders on which this process works."""
log = logging.getLogger(__name__)


class Content(BaseModel):
    """One file of a folder."""

    model_config = ConfigDict(extra="forbid")

    digest: str
    size: int
    changed: int
    """Nanoseconds since 1970."""

    def is_at(self, path: Path) -> bool:
        """Whether the file there is this one, by size and time."""
        with suppress(OSError):
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

    def of(self, names: Collection[str] | None) -> dict[str, Content]:
        """The files in what is called so; None: all."""
        return {path: content for path, content in self.files.items() if _is_of(path, names)}


# ---- what others call ------------------------------------------------------------------------------------------------


@contextmanager
def at_hand(folder: Path, names: Collection[str] | None = None) -> Iterator[None]:
    """Work on a folder: what is called so in it (None: all) is brought here before, and what is here is kept after.

    It is kept whatever happens, and nothing stays here. Raises FilesUnreachable, ConfigurationError; where somebody has
    changed or removed the folder meanwhile, nothing of this work is kept.
    """
    store = _store()
    if store is None:
        yield
        return
    with _only_here(folder):
        _held.add(folder)
        try:
            there = store.listing(folder)
            if there is not None or (folder / _AT_HAND).exists():
                # What a task left that was killed here is older, or only half of it.
                shutil.rmtree(folder, ignore_errors=True)
            if there is not None:
                try:
                    store.fetch(folder, folder, there, names)
                except FileNotFoundError:
                    raise _incomplete(folder) from None
            store.mark(folder)
            try:
                yield
            finally:
                store.keep(folder, there, names)
        finally:
            _held.discard(folder)
            shutil.rmtree(folder, ignore_errors=True)
            leave()


def brought(folder: Path, names: Collection[str] | None = None) -> Path:
    """Where the folder is to be read, as far as it is called so (None: all): a copy, or itself where none is kept.

    Raises FilesUnreachable, ConfigurationError.
    """
    store = _store()
    if store is None or folder in _held:
        return folder
    for _ in range(_TRIES):
        listed = store.listing(folder)
        if listed is None:
            return folder
        with suppress(FileNotFoundError):  # somebody has kept a newer one meanwhile
            return store.copy(folder, listed, names)
    raise _incomplete(folder)


def for_page(folder: Path) -> Path:
    """The same for a page, which shows what is damaged as what is gone. Raises as `brought`, but no FilesMissing."""
    try:
        return brought(folder, FOR_PAGES)
    except FilesMissing as error:
        log.warning("%s", error)
        return folder


def _incomplete(folder: Path) -> FilesMissing:
    return FilesMissing(f"{PLACE}: files of {folder.name} are missing, or change while they are read; try again")


def keep(folder: Path, names: Collection[str] | None = None) -> None:
    """Let the store have what is here, be it only what is called so; who works on the folder does that at the end.

    Raises FilesUnreachable, ConfigurationError.
    """
    store = _store()
    if store and folder not in _held and folder.is_dir():
        store.keep(folder, store.listing(folder), names)


def keep_if_possible(folder: Path) -> bool:
    """The same at the end of a run that is over; whether the store has it now. What cannot be kept stays here."""
    try:
        keep(folder)
    except EnrollSyncError as error:
        log.warning("the files of run %s stay on this machine: %s", folder.name, error)
        return False
    return _store() is not None and folder not in _held


def which_have(folders: Collection[Path], name: str) -> set[Path]:
    """Those that have a file of that name. Raises FilesUnreachable, ConfigurationError."""
    store = _store()
    if store is None:
        return {folder for folder in folders if (folder / name).is_file()}

    def has(folder: Path) -> bool:
        listed = store.listing(folder)
        return (folder / name).is_file() if listed is None else name in listed.files

    return {folder for folder, found in zip(folders, _all_at_once(has, folders), strict=True) if found}


def folders_of(beneath: Path) -> list[Path]:
    """The folders within one, here and in the store, by name. Raises FilesUnreachable, ConfigurationError."""
    here = {path for path in (beneath.iterdir() if beneath.is_dir() else ()) if _is_own_folder(path)}
    store = _store()
    return sorted(here | (set(store.folders(beneath)) if store else set()))


def size(folder: Path) -> int:
    """Bytes, in the store or else here."""
    store = _store()
    if store and (found := store.objects(folder)):
        return sum(one.size or 0 for one in found)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def changed(folder: Path) -> float | None:
    """When the store got something of the folder last, in seconds since 1970; None where it has nothing."""
    store = _store()
    found = store.objects(folder) if store else []
    return max((one.mtime_ns / 1e9 for one in found if one.mtime_ns), default=None)


def strays(folder: Path) -> Path | None:
    """A folder with what was sent for this one and is not named yet, or not any more; None where there is nothing."""
    store = _store()
    return store.copy_strays(folder) if store else None


def leave_copy(copy: Path) -> None:
    """Remove one copy that `brought` or `strays` made; nothing else."""
    if (own := _own.get(os.getpid())) and copy.is_relative_to(own[0]):
        shutil.rmtree(own[0] / copy.relative_to(own[0]).parts[0], ignore_errors=True)


def remove(folder: Path, names: Collection[str]) -> None:
    """Take what is called so out of the folder's files in the store. Raises FilesUnreachable, ConfigurationError."""
    store = _store()
    listed = store.listing(folder) if store else None
    if store and listed:
        gone = [path for path in listed.files if PurePosixPath(path).parts[0] in names]
        left = {path: content for path, content in listed.files.items() if path not in gone}
        store.say(folder, listed, Listing(files=left, folders=listed.folders))


def drop(folder: Path) -> None:
    """Leave nothing of the folder in the store, nor of those within; what is here of it is others' business.

    Raises FilesUnreachable, ConfigurationError.
    """
    store = _store()
    if store:
        store.drop(folder)


def leave() -> None:
    """Remove the copies of this process."""
    if own := _own.pop(os.getpid(), None):
        shutil.rmtree(own[0], ignore_errors=True)
        own[1].close()


# ---- copies, and who has a folder ------------------------------------------------------------------------------------

_own: dict[int, tuple[Path, IO[bytes]]] = {}
"""Process -> the folder of its copies, and the lock that says that it lives."""
_one_at_a_time = Lock()


def _place_of_copies() -> Path:
    """The folder of this process's copies; those of processes that are gone, and of long ago, go."""
    with _one_at_a_time:
        if os.getpid() in _own and not _own[os.getpid()][0].is_dir():
            leave()  # somebody has emptied the disk
        if os.getpid() not in _own:
            copies = project_root() / "data" / "copies"
            private.make_folder(copies)
            for other in copies.glob("[!.]*"):
                with suppress(OSError), (other / "lock").open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(other, ignore_errors=True)
            own = copies / token_hex(8)
            begun = copies / f".{own.name}"  # nobody else's business before it is locked
            private.make_folder(begun)
            private.make_file(begun / "lock")
            mine = (begun / "lock").open("rb")
            fcntl.flock(mine, fcntl.LOCK_EX)
            begun.rename(own)
            _own[os.getpid()] = own, mine
            atexit.register(leave)
        own = _own[os.getpid()][0]
        for copy in own.iterdir():
            with suppress(OSError):
                if copy.is_dir() and time.time() - copy.stat().st_mtime > _COPIES_STAY:
                    shutil.rmtree(copy, ignore_errors=True)
        return own


@lru_cache(maxsize=1024)
def _lock_of(copy: Path) -> Lock:
    return Lock()


@contextmanager
def _only_here(folder: Path) -> Iterator[None]:
    """Be the only one on this machine who works on the folder. Raises FilesUnreachable where somebody does."""
    lock = folder.with_name(f".{blake2b(folder.name.encode(), digest_size=_DIGEST).hexdigest()}.lock")
    try:
        private.make_folder(folder.parent)
        held = _locked(lock)
    except BlockingIOError:
        said = f"{PLACE}: another task of this machine works on {folder.name} still; try again"
        raise FilesUnreachable(said) from None
    except OSError as error:
        said = f"{PLACE}: {folder.parent} cannot be written: {error.strerror}; make room, or let this user write there"
        raise FilesUnreachable(said) from None
    with held:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _locked(path: Path) -> IO[bytes]:
    """The file, locked; it is made where it is not there. Raises OSError."""
    while True:
        private.make_file(path)
        with suppress(FileNotFoundError):  # who had it has just removed it
            held = path.open("rb")
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(held.fileno()).st_ino == path.stat().st_ino:
                    return held
            except BaseException:
                held.close()
                raise
            held.close()


# ---- the store -------------------------------------------------------------------------------------------------------


def _store() -> _Store | None:
    place = os.environ.get(PLACE, "").strip()
    return _store_at(place, os.environ.get(f"AIRFLOW_CONN_{CONNECTION.upper()}", "")) if place else None


@lru_cache(maxsize=1)
def _store_at(place: str, connection: str) -> _Store:
    """`connection`: that of the environment, of which another one means another store."""
    if not re.fullmatch(r"s3://[A-Za-z0-9._-]+(/[^/]+)*/?", place):  # what it is may be a secret
        raise ConfigurationError(f"{PLACE}: is no object store; write one like s3://bucket/folder")
    return _Store(s3_client(optional_connection(CONNECTION, PLACE)), place.removeprefix("s3://").strip("/"))


@dataclass(frozen=True)
class _Store:
    files: fs.S3FileSystem
    prefix: str
    """Bucket and what stands before every key."""

    def listing(self, folder: Path) -> Listing | None:
        """What the store has of the folder; None: nothing."""
        key = f"{self._key(folder)}/{_INDEX}"
        for _ in range(_TRIES):
            try:
                with self._reached(folder), self.files.open_input_stream(key) as stream:
                    return Listing.model_validate_json(bytes(stream.read()))
            except FileNotFoundError:
                return None
            except ValidationError:  # its length was asked for before a newer one came
                time.sleep(0.05)
        raise FilesMissing(
            f"{PLACE}: {_INDEX} of {folder.name} is damaged, or another EnrollSync wrote it; start a new run"
        )

    def folders(self, beneath: Path) -> list[Path]:
        """The folders that the store has of this one."""
        from pyarrow import fs

        chosen = fs.FileSelector(self._key(beneath), allow_not_found=True)
        with self._reached(beneath):
            found = self.files.get_file_info(chosen)
        return [beneath / one.base_name for one in found if one.type == fs.FileType.Directory]

    def copy(self, folder: Path, listed: Listing, names: Collection[str] | None) -> Path:
        """A copy of the folder at this listing; what of it was asked for before is there already."""
        with self._reached(folder):
            version = blake2b(f"{folder} {listed.model_dump_json()}".encode(), digest_size=_DIGEST).hexdigest()
            whole = _place_of_copies() / version
            copy = whole / folder.relative_to(project_root() / "data")
            with _lock_of(copy):
                self.fetch(folder, copy, listed, names)
                os.utime(whole)
        return copy

    def fetch(self, folder: Path, target: Path, listed: Listing, names: Collection[str] | None) -> None:
        """Put what is called so of the folder into `target`."""
        wanted = listed.of(names)
        with self._reached(folder):
            private.make_folder(target)
            for name in (*listed.folders, *(str(PurePosixPath(path).parent) for path in wanted)):
                _require_within(name)
                (target / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            missing = [path for path, content in wanted.items() if not content.is_at(target / path)]
            _all_at_once(lambda path: self._fetch(folder, path, wanted[path], target), missing)

    def _fetch(self, folder: Path, path: str, content: Content, target: Path) -> None:
        _require_within(path)
        half = target / f".{token_hex(8)}"
        private.make_file(half)
        try:
            digest = blake2b(digest_size=_DIGEST)
            with self.files.open_input_stream(self._content(folder, path, content)) as stream, half.open("wb") as kept:
                while piece := stream.read(_PIECE):
                    digest.update(piece)
                    kept.write(piece)
            if digest.hexdigest() != content.digest:
                raise FilesMissing(f"{PLACE}: {path} of {folder.name} came damaged; try again")
            os.utime(half, ns=(content.changed, content.changed))
            half.replace(target / path)
        finally:
            half.unlink(missing_ok=True)

    def keep(self, folder: Path, known: Listing | None, names: Collection[str] | None) -> None:
        """Take what is here, then say so, then let go what nothing names any more.

        `known`: what the store has. Of it goes what is called so and is not here.
        """
        if not folder.is_dir():
            return
        before = known or Listing()
        with self._reached(folder):
            here = _files_of(folder)
            sent = _all_at_once(lambda path: self._send(folder, path, before.files.get(path)), here)
            left = {path: content for path, content in before.files.items() if not _is_of(path, names)}
            files = left | dict(zip(here, sent, strict=True))
            listed = Listing(files=dict(sorted(files.items())), folders=_folders_of(folder))
        if self.listing(folder) != known:
            said = f"{PLACE}: the files of {folder.name} were changed or removed meanwhile, so nothing more was kept"
            raise FilesUnreachable(f"{said}; try again")
        if listed != known:
            self.say(folder, before, listed)

    def _send(self, folder: Path, path: str, before: Content | None) -> Content:
        if before and before.is_at(folder / path):
            return before
        found = (folder / path).stat()
        with (folder / path).open("rb") as stream:
            digest = blake2b(digest_size=_DIGEST)
            while piece := stream.read(_PIECE):
                digest.update(piece)
            content = Content(digest=digest.hexdigest(), size=found.st_size, changed=found.st_mtime_ns)
            if before is None or before.digest != content.digest:
                stream.seek(0)
                with self.files.open_output_stream(self._content(folder, path, content)) as kept:
                    shutil.copyfileobj(stream, kept, _PIECE)
        return content

    def say(self, folder: Path, before: Listing, listed: Listing) -> None:
        """From now on the folder has this in the place of what it had `before`; what nothing names any more goes.

        Raises FilesUnreachable where somebody has removed the folder meanwhile, which stays removed.
        """
        text = listed.model_dump_json().encode()

        def write(key: str) -> None:
            with self.files.open_output_stream(key) as stream:
                stream.write(text)

        with self._reached(folder):  # in a thread, where no signal leaves half of it behind
            _all_at_once(write, [f"{self._key(folder)}/{_INDEX}"])
        named, found = self._named(folder, listed), self.objects(folder)
        if named - {one.path for one in found}:
            self.drop(folder)
            raise FilesUnreachable(f"{PLACE}: the files of {folder.name} were removed meanwhile, so nothing was kept")
        old, now = self._named(folder, before), time.time()
        stray = [one for one in found if one.path not in named]
        gone = [one.path for one in stray if one.path in old or now - (one.mtime_ns or 0) / 1e9 > _STRAYS_STAY]
        with self._reached(folder):
            _all_at_once(self._delete, gone)

    def _named(self, folder: Path, listed: Listing) -> set[str]:
        return {self._content(folder, *item) for item in listed.files.items()} | {f"{self._key(folder)}/{_INDEX}"}

    def objects(self, folder: Path) -> list[fs.FileInfo]:
        """All that there is beneath the folder's key, named or not."""
        from pyarrow import fs

        with self._reached(folder):
            found = self.files.get_file_info(fs.FileSelector(self._key(folder), recursive=True, allow_not_found=True))
        return [one for one in found if one.type == fs.FileType.File]

    def copy_strays(self, folder: Path) -> Path | None:
        """What nothing names, each under its own name in a folder of its number."""
        named = self._named(folder, self.listing(folder) or Listing())
        keys = sorted(one.path for one in self.objects(folder) if one.path not in named)
        if not keys:
            return None
        with self._reached(folder):
            copy = _place_of_copies() / token_hex(8)
            for number, key in enumerate(keys):
                target = copy / str(number) / PurePosixPath(key).name.rpartition(".")[0]
                private.make_folder(target.parent)
                private.make_file(target)
                with suppress(FileNotFoundError), self.files.open_input_stream(key) as stream:
                    target.write_bytes(stream.read())
        return copy

    def mark(self, folder: Path) -> None:
        """Say on this disk that a task works here."""
        with self._reached(folder):
            private.make_folder(folder)
            private.make_file(folder / _AT_HAND)

    def drop(self, folder: Path) -> None:
        """What says that the folder is there goes first."""
        key = self._key(folder)
        with self._reached(folder):
            self._delete(f"{key}/{_INDEX}")
            with suppress(FileNotFoundError):
                self.files.delete_dir(key)

    def _delete(self, key: str) -> None:
        with suppress(FileNotFoundError):
            self.files.delete_file(key)

    def _key(self, folder: Path) -> str:
        try:
            within = folder.relative_to(project_root() / "data")
        except ValueError:
            said = f"{PLACE}: {folder} is not beneath {project_root() / 'data'}"
            raise ConfigurationError(f"{said}; set ENROLLSYNC_HOME to the same folder on every machine") from None
        return "/".join((self.prefix, *within.parts))

    def _content(self, folder: Path, path: str, content: Content) -> str:
        return f"{self._key(folder)}/{path}.{content.digest}"

    @contextmanager
    def _reached(self, folder: Path) -> Iterator[None]:
        """Say in one line what the store or this disk refuses. Raises FilesUnreachable, FileNotFoundError as it is."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno is not None:
                said = f"{folder.name} cannot be written or read on this machine's disk: {error.strerror}"
                raise FilesUnreachable(f"{PLACE}: {said}; make room, or let this user write there") from None
            why = why_not(error)
            if why in _GONE:
                raise FileNotFoundError(folder.name) from None
            remedy = f"put a key with that right into the connection {CONNECTION}" if is_denied(why) else "try again"
            said = f"the object store ({PLACE}) does not give or take the files of {folder.name} ({why})"
            raise FilesUnreachable(f"{said}; {remedy}") from None


def _require_within(path: str) -> None:
    """Who may write to the bucket may not write elsewhere on a machine's disk."""
    way = PurePosixPath(path)
    if way.is_absolute() or ".." in way.parts or "\0" in path:
        said = f"{PLACE}: {_INDEX} of a folder names {path!r}, which is not within it; see who may write to the store"
        raise ConfigurationError(said)


def _is_own_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and path.name[0] != "."


def _files_of(folder: Path) -> list[str]:
    """Paths of the files within the folder that are kept; no link is followed."""
    return _kept(folder, (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()))


def _folders_of(folder: Path) -> list[str]:
    return _kept(folder, (path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()))


def _kept(folder: Path, found: Iterable[Path]) -> list[str]:
    within = (path.relative_to(folder) for path in found)
    return sorted(
        str(path) for path in within if path.parts[0] not in _OF_HERE and not any(name[0] == "." for name in path.parts)
    )


def _is_of(path: str, names: Collection[str] | None) -> bool:
    return names is None or path in ALWAYS or PurePosixPath(path).parts[0] in names


def _all_at_once(do: Callable[[S], T], items: Collection[S]) -> list[T]:
    if not items:
        return []
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        return list(workers.map(do, items))
