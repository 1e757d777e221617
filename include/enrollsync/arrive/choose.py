"""Which delivery of a landing place is the newest complete one, wherever that place is.

It goes by a listing alone: names, sizes and times, and whether a zip has its end. Nothing here reads a CSV file.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from enrollsync.arrive.delivery import MANIFEST_FILE
from enrollsync.words.errors import Refused
from enrollsync.words.printable import first_of, shortened, shown

Ready = str | int | None
"""What tells that a delivery is complete: `manifest`, the name of a marker, seconds without change; None: nothing."""
MANIFEST = "manifest"
_STILL_ARRIVING = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".uploading", ".lock")


@dataclass(frozen=True)
class Entry:
    """A file of a landing place, or a folder with what lies in it."""

    path: str
    """As the place itself calls it."""
    name: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970."""
    is_link: bool = False
    is_other_name: bool = False
    """Whether it is a link to what lies beside it, as `latest` may be."""
    within: tuple[Entry, ...] | None = None
    """What lies in a folder; None: it is a file."""

    @property
    def csv_files(self) -> list[Entry]:
        """What is meant as the CSV files of a delivery, packed by gzip or not, be it a link."""
        return [entry for entry in self.within or () if entry.is_csv]

    @property
    def files(self) -> list[Entry]:
        """Of a delivery: its CSV files, or the zip itself."""
        return [self] if self.within is None else self.csv_files

    @property
    def is_csv(self) -> bool:
        """Whether it is meant as a CSV file, by its name."""
        named = self.name.lower().endswith((".csv", ".csv.gz")) and not self.name.startswith(".")
        return named and (self.is_link or self.within is None)

    @property
    def is_delivery(self) -> bool:
        """Whether it is a zip, or a folder of CSV files."""
        return bool(self.csv_files) or PurePath(self.name).suffix.lower() == ".zip"

    @property
    def arriving(self) -> list[str]:
        """Names in a folder that say themselves that they are not whole yet."""
        return sorted(entry.name for entry in self.within or () if entry.name.lower().endswith(_STILL_ARRIVING))

    @property
    def arrived(self) -> tuple[float, str]:
        """When the newest of its CSV files came; of one moment, the last name counts as the newest."""
        return max([entry.modified for entry in self.csv_files] or [self.modified]), self.name


class Place(Protocol):
    """Where deliveries lie: a folder of this machine, or a server's."""

    def look(self, path: str) -> Entry | None:
        """What is there now, with what lies in it and in its folders; None where nothing is."""

    def is_whole_zip(self, path: str) -> bool:
        """Whether a file is a zip that has its end."""


def newest(place: Place, path: str, ready: Ready, *, waits: bool = True) -> Entry:
    """The delivery at `path`: a zip, a folder of CSV files, or the newest complete one of a folder of such deliveries.

    CSV files that lie beside such deliveries are together one more of them. Where `ready` is seconds, it waits for
    them, unless it may not: then what is not still yet is refused.

    Raises Refused (FILE-MISSING, FILE-INCOMPLETE, FILE-UNSAFE).
    """
    delivery = _marked(place, path, ready)
    return _when_still(place, delivery, ready, waits=waits) if isinstance(ready, int) else delivery


def _marked(place: Place, path: str, ready: Ready) -> Entry:
    """The newest delivery that has the mark which `ready` asks for."""
    source = place.look(path)
    if source is None:
        raise Refused("FILE-MISSING", f"there is no folder or zip {path}; correct the path or deliver the files")
    if source.within is None:
        return _with_mark(place, _whole_zip(place, source), None, ready)
    deliveries = [entry for entry in source.within if entry.is_delivery and not entry.is_other_name]
    if source.csv_files:
        if not deliveries:
            return _with_mark(place, source, None, ready)
        deliveries.append(source)
    complete = [one for one in deliveries if _is_complete(place, one) and _has_mark(place, one, source, ready)]
    if not complete and deliveries:
        lacks = f" or lacks {ready}" if isinstance(ready, str) else ""
        raise Refused("FILE-INCOMPLETE", f"every delivery in {path} is still being written{lacks}; wait for it to end")
    if not complete:
        said = f"there are no CSV files in {path}; {_found(source)}; deliver CSV files, or correct the path"
        raise Refused("FILE-MISSING", said)
    chosen = max(complete, key=lambda one: one.arrived)
    if chosen is not source:
        refuse_link(chosen, "the files themselves")
    return chosen


def _has_mark(place: Place, delivery: Entry, landing: Entry | None, ready: Ready) -> bool:
    """Whether the file that says so is there: in the delivery's folder, or beside it under its name and the mark's."""
    if not isinstance(ready, str):
        return True
    if ready == MANIFEST:
        return delivery.within is None or any(one.name.lower() == MANIFEST_FILE for one in delivery.csv_files)
    if any(one.name == ready and one.within is None for one in delivery.within or ()):
        return True
    if landing is None or landing is delivery:
        mark = place.look(delivery.path + ready)
        return mark is not None and mark.within is None
    return any(one.name == delivery.name + ready and one.within is None for one in landing.within or ())


def _with_mark(place: Place, delivery: Entry, landing: Entry | None, ready: Ready) -> Entry:
    """The delivery. Raises Refused (FILE-INCOMPLETE) where it lacks the mark."""
    if not _has_mark(place, delivery, landing, ready):
        lacks = MANIFEST_FILE if ready == MANIFEST else ready
        said = f"the delivery {shortened(delivery.name)} lacks {lacks}, which says that it is complete; wait for it"
        raise Refused("FILE-INCOMPLETE", said)
    return delivery


def _when_still(place: Place, delivery: Entry, seconds: int, *, waits: bool) -> Entry:
    """The delivery once nothing has been written to it for so long, waited for twice as long at most."""
    last = time.monotonic() + (2 * seconds if waits else 0)
    while (left := delivery.arrived[0] + seconds - time.time()) > 0:
        if time.monotonic() + left > last:
            said = f"the delivery {shortened(delivery.name)} is still being written to; wait for it to end"
            raise Refused("FILE-INCOMPLETE", said)
        time.sleep(left)
        delivery = look_again(place, delivery)
    return delivery


def look_again(place: Place, delivery: Entry) -> Entry:
    """The delivery as it is now. Raises Refused (FILE-INCOMPLETE) where it is gone."""
    now = place.look(delivery.path)
    if now is None:
        said = f"the delivery {shortened(delivery.name)} went while it was looked at; wait for the upload to end"
        raise Refused("FILE-INCOMPLETE", said)
    return now


def _is_complete(place: Place, delivery: Entry) -> bool:
    return place.is_whole_zip(delivery.path) if delivery.within is None else not delivery.arriving


def _whole_zip(place: Place, source: Entry) -> Entry:
    if PurePath(source.name).suffix.lower() == ".csv":
        raise Refused("FILE-INCOMPLETE", "this is one file of a delivery; name its folder", file=source.name)
    if not place.is_whole_zip(source.path):
        raise Refused("FILE-INCOMPLETE", "this is neither a folder nor a whole zip", file=source.name)
    return source


def _found(folder: Entry) -> str:
    names = sorted(shortened(entry.name) for entry in folder.within or () if not entry.name.startswith("."))
    return f"found: {first_of(names)}" if names else "it is empty"


def refuse_link(entry: Entry, instead: str) -> None:
    """A link could lead to files that whoever delivers may not read."""
    if entry.is_link:
        said = f"it is a link, and links are not followed; deliver {instead}"
        raise Refused("FILE-UNSAFE", said, file=shown(entry.name))


def refuse_arriving(folder: Entry) -> None:
    """Raise Refused (FILE-INCOMPLETE) where a file's name says that it is not whole yet."""
    if arriving := folder.arriving:
        said = "the delivery is still being written; wait for it to end"
        raise Refused("FILE-INCOMPLETE", said, file=shown(arriving[0]))
