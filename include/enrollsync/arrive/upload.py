"""A delivery that somebody sends from a browser: in a private folder of its own until a run has read it, or for a day.

`files/` is a delivery like any other, `upload.json` says who sent it and what became of it. Its id is that of the dry
run too that checks and plans it, whose workspace goes with it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
import zipfile
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field

from enrollsync.run.object_store import brought, drop, folders_of, keep
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District, project_root, run_folder, uploads_folder
from enrollsync.words import private
from enrollsync.words.errors import EnrollSyncError, Refused
from enrollsync.words.kinds import kind_of
from enrollsync.words.masking import new_name
from enrollsync.words.printable import printable, shortened

MOST_FILES = 40
"""Files of one upload."""
log = logging.getLogger(__name__)
_KEPT = timedelta(days=1)
_MOST_KEPT = 10
"""Uploads of a district that no run was started with."""
_ID = re.compile(r"upload__\d{8}T\d{6}__[a-z]{24}")
_TRIES = 10
"""To get the lock, a fiftieth of a second each."""
_LONGEST_NAME = 150
"""Bytes of a file's name."""


class Sent(BaseModel):
    """What is known of an upload besides its files: `upload.json`."""

    model_config = ConfigDict(extra="forbid")

    person: str
    sent_at: datetime
    renames: dict[str, dict[str, str]] = Field(default_factory=dict)
    """File -> header as it is written -> the one that is likely meant, where the check refused the headers."""
    run_id: str | None = None
    """The run that was started with it."""


@dataclass(frozen=True)
class Upload:
    """One upload to a district."""

    district: District
    root: Path

    @property
    def id(self) -> str:
        """Also the id of the run that checks it."""
        return self.root.name

    @property
    def folder(self) -> Path:
        """The delivery."""
        return self.root / "files"

    @property
    def source(self) -> str:
        """The delivery as a run's form names it."""
        return str(self.folder.relative_to(project_root()))

    @property
    def workspace(self) -> Workspace:
        """Of the run that checks and plans it, without writing anything."""
        return Workspace(run_folder(self.district, self.id))

    @property
    def files(self) -> dict[str, int]:
        """Name -> bytes; none while they are replaced."""
        try:
            return {path.name: path.stat().st_size for path in sorted(self.folder.iterdir())}
        except OSError:
            return {}

    def read(self) -> Sent | None:
        """What is known of it; None before it is whole, or once it is gone."""
        try:
            return Sent.model_validate_json((self.root / "upload.json").read_text())
        except (OSError, ValueError):
            return None

    def write(self, sent: Sent) -> None:
        """Replace what is known of it in one step."""
        half = self.root / "upload.json.part"
        private.make_file(half)
        half.write_text(sent.model_dump_json())
        half.replace(self.root / "upload.json")

    def add(self, name: str, content: IO[bytes]) -> None:
        """Keep one file of it. Raises Refused for a name or a content that no delivery has, OSError without room."""
        _require_name(name)
        there = [path.name for path in self.folder.iterdir()]
        if name.casefold() in map(str.casefold, there):
            raise Refused("FILE-UNSAFE", "two files have this name; send one of them", file=name)
        if there and ".zip" in {Path(other).suffix.lower() for other in (name, *there)}:
            raise Refused("FILE-UNSAFE", "send one zip alone, or CSV files and no zip", file=name)
        path = self.folder / name
        private.make_file(path)
        with path.open("wb") as kept:
            shutil.copyfileobj(content, kept, 1 << 20)
        _require_kind(path)

    def replace(self, folder: Path) -> None:
        """Take the files of another folder in the place of its own."""
        shutil.rmtree(self.folder)
        folder.replace(self.folder)

    def lock(self) -> IO[bytes] | None:
        """Be the only one who works on it, of all processes of this machine, until what is returned is closed.

        None where somebody else is; whoever dies leaves it.
        """
        for _ in range(_TRIES):  # somebody may just be asking
            if lock := self._locked(fcntl.LOCK_EX):
                return lock
            time.sleep(0.02)
        return None

    @property
    def is_worked_on(self) -> bool:
        """Whether somebody has its lock now."""
        try:
            with self._locked(fcntl.LOCK_SH) or nullcontext() as lock:
                return lock is None
        except FileNotFoundError:  # it was removed meanwhile
            return False

    def _locked(self, how: int) -> IO[bytes] | None:
        lock = (self.root / "lock").open("ab")
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return lock

    def is_of_before(self, instant: datetime) -> bool:
        """Whether it was sent before that, by its id."""
        return datetime.strptime(self.id.split("__")[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) < instant

    def hand_over(self) -> None:
        """Let a run on another machine find the delivery. Raises FilesUnreachable."""
        keep(self.folder)

    def take_back(self) -> None:
        """No run is to read it."""
        drop(self.root)

    def remove(self) -> None:
        """Leave nothing of it, nor of what was made of it."""
        for folder in (self.workspace.root, self.root):
            shutil.rmtree(folder, ignore_errors=True)
        self.take_back()


def begin_upload(district: District, now: datetime) -> Upload:
    """A new upload, empty. Raises OSError where its folder cannot be made."""
    root = uploads_folder(district.district_id) / f"upload__{now.astimezone(UTC):%Y%m%dT%H%M%S}__{new_name()}"
    upload = Upload(district, root)
    private.make_folder(upload.folder)
    return upload


def find_upload(district: District, upload_id: str) -> Upload | None:
    """The upload of that id; None where there is none any more."""
    upload = Upload(district, uploads_folder(district.district_id) / upload_id)
    return upload if _ID.fullmatch(upload_id) and upload.read() else None


def list_uploads(district: District) -> list[Upload]:
    """The district's uploads, the newest first."""
    return [upload for upload in _all(district) if upload.read()]


def picked(district: District, place: Path) -> Path:
    """Where a picked delivery is to be read: an upload may lie on another machine. Raises FilesUnreachable."""
    is_away = place.is_relative_to(uploads_folder(district.district_id)) and not place.exists()
    return brought(place) if is_away else place


def _all(district: District) -> list[Upload]:
    folder = uploads_folder(district.district_id)
    found = folder.iterdir() if folder.is_dir() else ()
    return [Upload(district, path) for path in sorted(found, reverse=True) if _ID.fullmatch(path.name)]


def sweep_after(run: Run) -> None:
    """What `sweep` does, once a run has ended; of an upload that it has read, on whichever machine, nothing is left."""
    district, known = run.settings, run.manifest
    upload = Upload(district, project_root() / Path(known.source or "").parent)
    try:
        if known.picked and upload.root.parent == uploads_folder(district.district_id) and _is_read(known):
            upload.take_back()
        sweep(district, known.as_of)
    except EnrollSyncError as error:  # the next run's turn
        log.warning("old uploads stay in the object store: %s", error)


def sweep(district: District, now: datetime) -> None:
    """Remove the district's uploads that a run has read, those of more than a day ago, and all but the newest."""
    for upload in swept(district, now):
        upload.remove()


def swept(district: District, now: datetime) -> list[Upload]:
    """Which those are."""
    here = _all(district)
    found = []
    for place, upload in enumerate(here):
        with suppress(OSError):  # another sweep was quicker
            if not upload.is_worked_on and _is_over(upload, now, is_old=place >= _MOST_KEPT):
                found.append(upload)
    elsewhere = _elsewhere(district, {one.id for one in here})
    return found + [upload for upload in elsewhere if upload.is_of_before(now - _KEPT)]


def _elsewhere(district: District, here: set[str]) -> list[Upload]:
    """Uploads that were handed over on another machine."""
    found = folders_of(uploads_folder(district.district_id))
    return [Upload(district, path) for path in found if _ID.fullmatch(path.name) and path.name not in here]


def _is_over(upload: Upload, now: datetime, *, is_old: bool) -> bool:
    sent = upload.read()
    if sent is None:  # it is being received, or whoever received it has died
        return now.timestamp() - upload.root.stat().st_mtime > _KEPT.total_seconds()
    if sent.run_id is None:
        return is_old or now - sent.sent_at > _KEPT
    return now - sent.sent_at > _KEPT or _has_read(upload.district, sent.run_id)


def _has_read(district: District, run_id: str) -> bool:
    """Whether the run has a copy of its own; one that was refused or broke may be begun again from its first step."""
    try:
        known = Workspace(brought(run_folder(district, run_id), ())).read()
    except EnrollSyncError:
        return False
    return _is_read(known)


def _is_read(known: RunManifest) -> bool:
    return "ingest" in known.seconds and known.outcome not in ("refused", "failed")


def _require_name(name: str) -> None:
    if not name or name[0] == "." or re.search(r'[/\\:*?"<>|]', name) or printable(name) != name:
        said = "its name has characters that a delivery's files do not have; rename it"
        raise Refused("FILE-UNSAFE", said, file=shortened(name))
    if len(os.fsencode(name)) > _LONGEST_NAME:
        raise Refused("FILE-UNSAFE", "its name is too long; rename it", file=shortened(name))
    if Path(name).suffix.lower() not in (".csv", ".zip"):
        raise Refused("FILE-UNSAFE", "it is no .csv and no .zip; save a spreadsheet as CSV in UTF-8", file=name)


def _require_kind(path: Path) -> None:
    """By what stands in it: a name is quickly changed."""
    if path.suffix.lower() == ".zip":
        if not zipfile.is_zipfile(path):
            raise Refused("FILE-INCOMPLETE", "this is no whole zip; send it again", file=path.name)
        return
    with path.open("rb") as stream:
        kind = kind_of(stream.read(1 << 10))
    if kind:
        raise Refused("FILE-ENCODING", f"this is {kind}, not a CSV file; save it as CSV in UTF-8", file=path.name)
