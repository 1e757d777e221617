"""Runs' folders and quarantines that are old enough. What must be remembered of a run stands in the database."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from enrollsync.run.object_store import brought, changed, drop, folders_of, remove, size
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District, run_folder, runs_folder
from enrollsync.words.errors import EnrollSyncError, FilesMissing

_GOING = ".going-"
"""Begins the name of a folder that is being removed: whoever is interrupted leaves no half of a run."""


@dataclass(frozen=True)
class OldFolders:
    """What is old enough to go."""

    runs: tuple[Path, ...]
    quarantines: tuple[Path, ...]
    """Of runs whose folder stays."""
    size: int
    """Bytes of both."""

    def remove(self) -> None:
        """Remove them; what cannot be removed is told by `left`."""
        for path in (*self.runs, *self.quarantines):
            going = path if path.name.startswith(_GOING) else path.with_name(_GOING + path.name)
            with suppress(OSError):
                path.rename(going)
            shutil.rmtree(going, ignore_errors=True)
        for path in self.runs:
            drop(path)
        for path in self.quarantines:
            remove(path.parent, ["quarantine"])

    def left(self) -> Iterator[str]:
        """What is there still, a line each for a person."""
        for path in (*self.runs, *self.quarantines):
            if path.exists() or path.with_name(_GOING + path.name).exists():
                yield f"{path} could not be removed; let this user write there, or remove it."


def find_folders(settings: District, wanted: frozenset[str], now: datetime) -> OldFolders:
    """Those of the district that may go at `now`; only reads.

    `wanted`: ids of runs whose findings are open. Their folders stay, and with them their quarantines, for these hold
    the lines that are still to be corrected.
    """
    ages = settings.retention
    kept = {run_folder(settings, run_id).name for run_id in wanted}
    folders = [_Folder.of(path) for path in folders_of(runs_folder(settings))]
    newest = max((one.touched for one in folders), default=None)
    free = [one for one in folders if one.path.name not in kept and one.touched != newest and not one.waits(now)]
    runs = tuple(one.path for one in free if one.is_older(ages.workspaces, now))
    quarantines = [
        one.path / name
        for one in free
        if one.path not in runs and one.is_older(ages.quarantine, now)
        for name in ("quarantine", f"{_GOING}quarantine")
        if any(_files_in(one.place / name))
    ]
    unfinished = tuple(sorted(runs_folder(settings).glob(f"{_GOING}*")))
    found = (*unfinished, *runs)
    places = {one.path: one.place for one in folders}
    held = (places[path.parent] / path.name for path in quarantines)
    return OldFolders(found, tuple(quarantines), sum(map(size, (*found, *held))))


@dataclass(frozen=True)
class _Folder:
    path: Path
    place: Path
    """Where it is to be read."""
    manifest: RunManifest | None
    """None where nobody can read it any more."""
    touched: datetime
    """When the run last noted something."""

    @classmethod
    def of(cls, path: Path) -> _Folder:
        try:
            place = brought(path, ["quarantine"])
        except FilesMissing:
            place = path
        noted = place / "run.json"
        if noted.is_file():
            last = noted.stat().st_mtime
        else:
            last = changed(path) or (place.stat().st_mtime if place.is_dir() else time.time())
        touched = datetime.fromtimestamp(last, UTC)
        try:
            manifest = Workspace(place).read()
        except EnrollSyncError:
            return cls(path, place, None, touched)
        return cls(path, place, manifest, max(touched, manifest.as_of))

    def is_older(self, days: int | None, now: datetime) -> bool:
        return days is not None and now - self.touched > timedelta(days=days)

    def waits(self, now: datetime) -> bool:
        """Whether a person may answer its plan still."""
        known = self.manifest
        return known is not None and known.outcome == "held" and known.answer_by is not None and known.answer_by > now


def _files_in(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())
