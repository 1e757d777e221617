"""Clever's API as a way of arriving: asked for whole, it fills the run's own folder with the files of a delivery.

A set is taken only where nothing says that it is less than the district: the counts that were announced before came,
and are the same after; every page leads on to the next one, and nothing follows the last; no record came twice; and
the district's data was not renewed meanwhile (`last_sync`).
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb

from enrollsync.arrive.clever import pages
from enrollsync.arrive.clever.client import Api, Stopped
from enrollsync.arrive.clever.pages import Cache, Progress
from enrollsync.arrive.delivery import Batch, Delivery
from enrollsync.formats.clever_api import CLEVER_API, COLLECTIONS, UNREAD_ROLES, Collection
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import Notice
from enrollsync.settings.connections import Connection, api_access
from enrollsync.words.errors import Refused

AT_ONCE = 4
"""Collections that are asked for at the same time."""
_IGNORED = "FILE-IGNORED"

log = logging.getLogger(__name__)
Telling = Callable[[str], object]


def fetched_batch(run: Run, connection: Connection, telling: Telling) -> Batch:
    """The set as the API has it, as files of the run's own.

    `telling` hears how far it is, in counts. Raises Refused (FILE-INCOMPLETE, FILE-DENIED, FILE-ANSWER), Unreachable,
    ConfigurationError.
    """
    with closing(Api(api_access(connection), connection.name)) as api:
        return fetched_by(api, run, telling)


def fetched_by(api: Api, run: Run, telling: Telling) -> Batch:
    """The same through an API that is at hand."""
    run.place.batch.mkdir(mode=0o700, exist_ok=True)
    folder = run.place.batch / "pages"
    with engine.connect(run.place.source, ordered=True) as connection:
        district = District.of(connection, _whole(api, "districts"))
        _begin(folder, district)
        read = _read_all(api, run, folder, _Counter(telling))
        unread = {role: _count(api, connection, "users", role=role) for role in UNREAD_ROLES}
        _refuse_changed(api, connection, district, read)
        files = _write(connection, folder, run.place.batch, read)
    shutil.rmtree(folder, ignore_errors=True)
    declared = run.settings.fitted(CLEVER_API)
    delivery = Delivery(run.place.batch, files, min(district.renewed or run.manifest.as_of, run.manifest.as_of))
    present = tuple(spec for spec in declared.files if spec.name in files)
    notices = tuple(_notices(read, unread))
    return Batch(delivery, declared, present, delivery.digest(list(files)), delivery.stamps(), notices)


# ---- the district ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class District:
    """What tells whether the data is still the same."""

    id: str
    last_sync: str | None
    """When it last gave Clever its data."""

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, answer: bytes) -> District:
        """The one district that the token reads. Raises Refused where it is not one."""
        head = pages.head_of(connection, "districts", answer)
        if head.length != 1:
            said = f"the token reads {head.length:,} districts"
            raise Refused("FILE-DENIED", f"{said}; put the token of one district into the connection")
        with pages.as_described("districts"):
            ((name, last_sync),) = engine.one_row(
                connection,
                "SELECT json_extract_string($answer::JSON, ['$.data[0].data.id', '$.data[0].data.last_sync'])",
                {"answer": answer.decode("utf-8")},
            )
            if not name:
                raise ValueError
        return cls(name, last_sync)

    @property
    def renewed(self) -> datetime | None:
        """When the district last gave Clever its data; None where that is not told."""
        try:
            moment = datetime.fromisoformat(self.last_sync or "")
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _begin(folder: Path, district: District) -> None:
    """Keep pages of an earlier try where they are of the same data."""
    note, told = folder / "district.json", json.dumps([district.id, district.last_sync])
    if not (note.is_file() and note.read_text() == told):
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    note.write_text(told)
    note.chmod(0o600)


def _refuse_changed(
    api: Api, connection: duckdb.DuckDBPyConnection, before: District, read: dict[Collection, Progress]
) -> None:
    for collection, progress in read.items():
        now = None if progress.lacking else _count(api, connection, collection.path, **collection.question)
        if now not in (None, progress.records):
            raise pages.changed(collection.title, progress.records, now)
    if District.of(connection, _whole(api, "districts")) != before:
        said = "the district's data was renewed while it was read"
        raise Refused("FILE-INCOMPLETE", f"{said}; run again when Clever's sync has ended")


def _count(api: Api, connection: duckdb.DuckDBPyConnection, path: str, **question: str) -> int | None:
    """How many there are, where Clever says so."""
    answer = api.ask(path, {"limit": "1", "count": "true", **question}, may_lack=True)
    return None if answer is None else pages.head_of(connection, path, answer).announced


def _whole(api: Api, path: str) -> bytes:
    return api.ask(path, {}) or b""


# ---- the collections -------------------------------------------------------------------------------------------------


class _Counter:
    """Says how many records are read, of how many."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._lock = Lock()
        self._read: dict[str, Progress] = {}

    def note(self, collection: Collection, progress: Progress) -> None:
        """A page more of this collection."""
        with self._lock:
            self._read[collection.title] = progress
            records = sum(one.records for one in self._read.values())
            announced = sum(one.announced or one.records for one in self._read.values())
        whole = "" if progress.announced is None else f" of {progress.announced:,}"
        log.info("clever: %s%s %s, page %s", f"{progress.records:,}", whole, collection.title, progress.pages)
        self._telling(f"ingest: {records:,} of {announced:,} records from Clever")


def _read_all(api: Api, run: Run, folder: Path, counter: _Counter) -> dict[Collection, Progress]:
    """Read every collection, some at the same time; the first error ends them all."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        reading = {
            collection: threads.submit(_read, api, run, collection, Cache(folder, collection), counter)
            for collection in COLLECTIONS
        }
        try:
            _, open_ones = wait(reading.values(), return_when=FIRST_EXCEPTION)
        except BaseException:
            api.stop()
            raise
        if open_ones:
            api.stop()
            threads.shutdown(cancel_futures=True)
    failed = [error for one in reading.values() if not one.cancelled() and (error := one.exception())]
    for error in sorted(failed, key=lambda error: isinstance(error, Stopped)):
        raise error
    return {collection: one.result() for collection, one in reading.items()}


def _read(api: Api, run: Run, collection: Collection, cache: Cache, counter: _Counter) -> Progress:
    progress = cache.read()
    ask = partial(api.ask, collection.path, may_lack=collection.may_lack)
    with engine.connect(run.place.source, ordered=True) as connection:
        while not (progress.ended or progress.lacking):
            answer = ask(pages.question_after(collection, progress))
            if answer is None:
                progress = Progress(lacking=True)
            else:
                progress = pages.take(connection, collection, answer, progress, cache)
                if progress.ended:
                    _refuse_more(connection, collection, progress, ask)
            cache.write(progress)
            counter.note(collection, progress)
        if not progress.lacking:
            pages.finish(connection, collection, progress, cache)
    return progress


def _refuse_more(
    connection: duckdb.DuckDBPyConnection, collection: Collection, progress: Progress, ask: Callable[..., Any]
) -> None:
    """Nothing may follow the last page; where nothing was announced, nobody would know otherwise."""
    if progress.after is not None:
        answer = ask(pages.question_after(collection, progress)) or b""
        if more := pages.head_of(connection, collection.path, answer).length:
            raise pages.goes_on(collection.title, more)


def _write(
    connection: duckdb.DuckDBPyConnection, folder: Path, target: Path, read: dict[Collection, Progress]
) -> dict[str, Path]:
    files = {collection.file: target / collection.file for collection, one in read.items() if not one.lacking}
    for collection, progress in read.items():
        if collection.file in files:
            pages.write_csv(connection, collection, progress, Cache(folder, collection), files[collection.file])
    return files


def _notices(read: dict[Collection, Progress], unread: dict[str, int | None]) -> Iterator[Notice]:
    for collection, progress in read.items():
        if progress.lacking:
            said = f"Clever does not share {collection.title} with this token; classes keep what the roster has"
            yield Notice.of(_IGNORED, said)
    counted = [f"{count:,} {UNREAD_ROLES[role]}" for role, count in unread.items() if count]
    if counted:
        yield Notice.of(_IGNORED, f"{' and '.join(counted)} are passed over: a roster does not have them")
