"""A delivery: files that came together, by name, with what tells them from every other delivery."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from enrollsync.formats import FileSpec, Format
from enrollsync.run.workspace import Notice
from enrollsync.words.errors import Refused
from enrollsync.words.printable import shown

MANIFEST_FILE = "manifest.csv"
"""Tells of the other files, in whatever format they are."""


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


@dataclass(frozen=True)
class Batch:
    """A delivery whose format is known, not read yet."""

    delivery: Delivery
    declared: Format
    """Fitted to the district."""
    present: tuple[FileSpec, ...]
    """The format's files that are there."""
    digest: str
    """The batch's identity."""
    stamps: dict[Path, tuple[int, int]]
    """Size and time of each file before it was looked into."""
    notices: tuple[Notice, ...] = ()
    """What is told of its arrival."""

    def take(self, target: Path) -> Batch:
        """The batch with the run's own copies of the files that are read, in `target`.

        Raises Refused (FILE-INCOMPLETE) when somebody wrote to one since it was found.
        """
        target.mkdir(mode=0o700, exist_ok=True)
        wanted = {spec.name for spec in self.present if spec.read} | ({MANIFEST_FILE} & set(self.delivery.files))
        for name in sorted(wanted):
            path = self.delivery.files[name]
            if not path.is_relative_to(target):  # where an archive was unpacked, they are there
                with _reading(path):
                    shutil.copyfile(path, target / path.name, follow_symlinks=False)
        if self.delivery.stamps() != self.stamps:
            raise Refused("FILE-INCOMPLETE", "a file changed while it was read; wait for the upload to end")
        own = {
            name: path if path.is_relative_to(target) else target / path.name
            for name, path in self.delivery.files.items()
        }
        return replace(self, delivery=replace(self.delivery, files=own))
