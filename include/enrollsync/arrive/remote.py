"""Deliveries that lie as files on another machine: the newest complete one is copied into the run's own folder.

Which one that is says `choose.py`, as of a folder of this machine; how a machine is reached, one module each. A copy
that may not be whole is never taken: each file has the size that was listed, and the listing is the same afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from enrollsync.arrive.archive import LARGEST
from enrollsync.arrive.choose import Entry, Place, Ready, look_again, newest, refuse_link
from enrollsync.settings import SourceSettings
from enrollsync.settings.connections import Connection
from enrollsync.words import private
from enrollsync.words.errors import Refused
from enrollsync.words.printable import shown

Telling = Callable[[str], object]


class RemotePlace(Place, Protocol):
    """A landing place whose files have to be fetched. What it cannot reach it raises as Unreachable."""

    def pieces(self, path: str) -> Iterator[bytes]:
        """A file's bytes, from its beginning."""


def opened(source: SourceSettings, connection: Connection | None) -> AbstractContextManager[RemotePlace]:
    """A district's landing place, reached until the block ends."""
    if source.is_in_bucket or connection is None:
        from enrollsync.arrive.bucket import bucket_place

        return bucket_place(connection)
    from enrollsync.arrive.sftp import sftp_place

    return sftp_place(connection)


def fetched(source: SourceSettings, connection: Connection | None, target: Path, telling: Telling) -> Path:
    """The newest complete delivery of a district's landing place, copied into `target`; see `fetch`."""
    with opened(source, connection) as place:
        return fetch(place, str(source.path), source.ready, target, telling)


def fetch(place: RemotePlace, path: str, ready: Ready, target: Path, telling: Telling) -> Path:
    """Copy the newest complete delivery at `path` into `target`, with its names and times; its folder or zip there.

    Files that an earlier try has copied, and that are still the same, are not read again.

    Raises Refused (FILE-MISSING, FILE-INCOMPLETE, FILE-UNSAFE), Unreachable.
    """
    delivery = newest(place, path, ready)
    files = delivery.files
    _refuse_unfit(files)
    folder = target / "arrived"
    private.make_folder(folder)
    _forget_others(folder, files)
    done, total = 0, sum(entry.size for entry in files)
    for entry in files:
        telling(f"ingest: {done >> 20:,} of {total >> 20:,} MiB fetched")
        _copy(place, entry, folder / entry.name)
        done += entry.size
    now = look_again(place, delivery)
    if now.arriving or _stamps(now) != _stamps(delivery):
        raise Refused("FILE-INCOMPLETE", "a file changed while it was read; wait for the upload to end")
    return folder if delivery.within is not None else folder / delivery.name


def _stamps(delivery: Entry) -> set[tuple[str, int, float]]:
    return {(entry.name, entry.size, entry.modified) for entry in delivery.files}


def _refuse_unfit(files: list[Entry]) -> None:
    """What another machine calls a file becomes a name on this one."""
    for entry in files:
        refuse_link(entry, "the file itself")
        if entry.name in (".", "..") or "/" in entry.name or "\0" in entry.name or shown(entry.name) != entry.name:
            said = "its name has characters that a delivery's files do not have; rename it"
            raise Refused("FILE-UNSAFE", said, file=shown(entry.name))
    if (total := sum(entry.size for entry in files)) > LARGEST:
        said = f"the delivery has {total >> 20:,} MiB, which no roster has; remove what does not belong there"
        raise Refused("FILE-UNSAFE", said)


def _forget_others(folder: Path, files: list[Entry]) -> None:
    """Leave only what an earlier try has copied of this very delivery."""
    wanted = {entry.name: entry for entry in files}
    for path in folder.iterdir():
        if path.name not in wanted or not _is_copied(wanted[path.name], path):
            path.unlink()


def _is_copied(entry: Entry, path: Path) -> bool:
    found = path.stat()
    return found.st_size == entry.size and abs(found.st_mtime - entry.modified) < 0.001


def _copy(place: RemotePlace, entry: Entry, target: Path) -> None:
    if target.exists():
        return
    half = target.with_name(f"{target.name}.part")
    private.make_file(half)
    with half.open("wb") as copy:
        for piece in place.pieces(entry.path):
            copy.write(piece)
            if copy.tell() > entry.size:
                break
    if (copied := half.stat().st_size) != entry.size:
        came = "more" if copied > entry.size else f"{copied:,}"
        said = f"it was listed with {entry.size:,} bytes and came with {came}"
        raise Refused("FILE-INCOMPLETE", f"{said}; wait for the upload to end", file=entry.name)
    os.utime(half, (entry.modified, entry.modified))
    half.replace(target)
