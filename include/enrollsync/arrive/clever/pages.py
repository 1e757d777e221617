"""A collection of Clever's API, page by page: each checked and kept as Parquet, all of them together one CSV file.

A page is kept with the columns that the format names and nothing else, beside what is needed to go on after it; a step
that is repeated goes on there. DuckDB takes the JSON apart: no record becomes an object of Python's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb

from enrollsync.formats.clever_api import Collection, Several
from enrollsync.run import engine
from enrollsync.words.errors import Refused

LIMIT = 10_000
"""Records that are asked for at once, as many as Clever gives."""
MOST_PAGES = 100_000
"""Of one collection; somebody answers without end otherwise."""


@dataclass(frozen=True)
class Progress:
    """How far a collection was read."""

    pages: int = 0
    records: int = 0
    announced: int | None = None
    """How many there are to be, where the first answer says so."""
    after: str | None = None
    """The last record's `id`, after which the next page starts."""
    ended: bool = False
    lacking: bool = False
    """Whether the district does not share it."""


@dataclass(frozen=True)
class Page:
    """What one answer says besides its records."""

    records: int
    last: str | None
    """The last record's `id`; None where there is no record."""
    next: str | None
    """The record after which the next page starts; None where this is the last."""
    announced: int | None


class Cache:
    """The pages of one collection in the run's folder."""

    def __init__(self, folder: Path, collection: Collection) -> None:
        self._folder = folder
        self._collection = collection
        self._note = folder / f"{collection.title}.json"

    def read(self) -> Progress:
        """How far it was read; from the beginning where nothing says so."""
        try:
            return Progress(**json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            return Progress()

    def write(self, progress: Progress) -> None:
        """Keep it, in one step."""
        half = self._note.with_suffix(".part")
        half.write_text(json.dumps(asdict(progress)))
        half.chmod(0o600)
        half.replace(self._note)

    def page(self, number: int) -> Path:
        """Where a page is kept."""
        return self._folder / f"{self._collection.title}-{number:06}.parquet"


def question_after(collection: Collection, progress: Progress) -> dict[str, str]:
    """What the next page is asked for with."""
    paging = {"starting_after": progress.after} if progress.after else {"count": "true"}
    return {"limit": str(LIMIT), **collection.question, **paging}


def take(
    connection: duckdb.DuckDBPyConnection, collection: Collection, answer: bytes, progress: Progress, cache: Cache
) -> Progress:
    """Keep one answer's records, and say how far that is. Raises Refused (FILE-ANSWER, FILE-INCOMPLETE)."""
    path = cache.page(progress.pages + 1)
    page = _read(connection, collection, answer, path)
    _refuse_astray(collection, progress, page)
    path.chmod(0o600)
    return replace(
        progress,
        pages=progress.pages + 1,
        records=progress.records + page.records,
        announced=page.announced if progress.pages == 0 else progress.announced,
        after=page.last or progress.after,
        ended=page.next is None,
    )


def _refuse_astray(collection: Collection, progress: Progress, page: Page) -> None:
    """A page that leads elsewhere than to what follows it: nobody knows what was left out."""
    title, number = collection.title, progress.pages + 1
    if page.next is not None and page.next != page.last:
        raise _incomplete(f"page {number:,} of {title} leads on to another place than its own end")
    if page.next is not None and page.next == progress.after:
        raise _incomplete(f"page {number:,} of {title} leads back to itself")
    if progress.announced is not None and progress.records + page.records > progress.announced:
        raise _incomplete(f"there are more {title} than the {progress.announced:,} that were announced")
    if number >= MOST_PAGES:
        raise _incomplete(f"there is no end to the {title}")


def finish(connection: duckdb.DuckDBPyConnection, collection: Collection, progress: Progress, cache: Cache) -> None:
    """Raise Refused (FILE-INCOMPLETE) where the pages are not all that was announced, each record once."""
    if progress.announced not in (None, progress.records):
        raise _incomplete(f"{progress.announced:,} {collection.title} were announced and {progress.records:,} came")
    pages = _pages(progress, cache)
    (twice,) = engine.one_row(connection, f"SELECT count(*) - count(DISTINCT id) FROM {pages}")
    if twice:
        raise _incomplete(f"{twice:,} of {progress.records:,} {collection.title} came more than once")


def write_csv(
    connection: duckdb.DuckDBPyConnection, collection: Collection, progress: Progress, cache: Cache, target: Path
) -> None:
    """The collection's file: a line a record, in the order of the answers. A column without any value is left out."""
    pages = _pages(progress, cache)
    optional = [name for name in collection.columns if name not in collection.required]
    counts = ", ".join(["count(*)", *(f"count({engine.name(name)})" for name in optional)])
    filled = engine.one_row(connection, f"SELECT {counts} FROM {pages}")[1:]
    empty = {name for name, values in zip(optional, filled, strict=True) if not values}
    columns = ", ".join(engine.name(name) for name in collection.columns if name not in empty)
    connection.sql(f"SELECT {columns} FROM {pages}").write_csv(str(target), header=True, use_tmp_file=False)
    target.chmod(0o600)


def _pages(progress: Progress, cache: Cache) -> str:
    paths = ", ".join(engine.literal(str(cache.page(number + 1))) for number in range(progress.pages))
    return f"read_parquet([{paths}])"


def _incomplete(said: str) -> Refused:
    again = "the set changed while it was read, or the answers are not whole; run again when Clever's sync has ended"
    return Refused("FILE-INCOMPLETE", f"{said}; {again}")


def goes_on(title: str, more: int) -> Refused:
    """What is said when records follow a page that named no next one."""
    return _incomplete(f"the last page of {title} was not the last: {more:,} more follow it")


def changed(title: str, read: int, now: int) -> Refused:
    """What is said when a collection has another size after the reading than was read."""
    return _incomplete(f"{read:,} {title} were read, and there are {now:,} now")


# ---- one answer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """What an answer says besides its records."""

    length: int
    """Records in it, or what stands in their places."""
    announced: int | None
    """How many there are of them in all, where it says so."""
    links: Any


def head_of(connection: duckdb.DuckDBPyConnection, path: str, answer: bytes) -> Head:
    """What stands around the records of an answer for `path`. Raises Refused (FILE-ANSWER) where it is no list of them.

    `count` is asked for by a parameter that Clever documents; where the number stands, it does not.
    """
    with as_described(path):
        length, links, announced = engine.one_row(
            connection,
            """
            SELECT CASE json_type(answer, '$.data') WHEN 'ARRAY' THEN json_array_length(answer, '$.data') END,
                json_extract(answer, '$.links'),
                coalesce(json_extract_string(answer, '$.count'), json_extract_string(answer, '$.paging.count'))
            FROM (SELECT $answer::JSON AS answer)""",
            {"answer": answer.decode("utf-8")},
        )
        if length is None:
            raise ValueError
        is_number = re.fullmatch("[0-9]{1,15}", announced or "")
        return Head(length, int(announced) if is_number else None, json.loads(links or "null"))


@contextmanager
def as_described(path: str) -> Iterator[None]:
    """Raise Refused (FILE-ANSWER) for what cannot be read of an answer for `path`."""
    try:
        yield
    except (ValueError, RecursionError, duckdb.InvalidInputException, duckdb.ConversionException):
        said = f"the answer for /{path} is none that Clever describes"
        remedy = "look whether the connection's host is right and the token a district's"
        raise Refused("FILE-ANSWER", f"{said}; {remedy}") from None


def _read(connection: duckdb.DuckDBPyConnection, collection: Collection, answer: bytes, path: Path) -> Page:
    head = head_of(connection, collection.path, answer)
    with as_described(collection.path):
        engine.write_parquet(connection, _records(collection), path, {"answer": answer.decode("utf-8")})
        kept, nameless, last = engine.one_row(
            connection,
            f"SELECT count(*), count(*) FILTER (coalesce(id, '') = ''), last(id) FROM {engine.parquet(path)}",
        )
        if kept != head.length or nameless:
            raise ValueError
        return Page(head.length, last, _next(head.links), head.announced)


def _records(collection: Collection) -> str:
    """SQL for the records of `$answer`, in its order: each is taken apart once, whatever columns are made of it."""
    paths = [path for given in collection.values.values() for path in given.split("|")]
    places = {path: f"texts[{place}]" for place, path in enumerate(paths, start=1)}
    values = {
        name: f"coalesce({', '.join(places[path] for path in given.split('|'))})"
        for name, given in collection.values.items()
    }
    values |= {
        name: f"CASE WHEN json_type(record, '$.{path}') = 'OBJECT' THEN 'true' END"
        for name, path in collection.marks.items()
    }
    values |= {name: _list(several, values) for name, several in collection.lists.items()}
    columns = ", ".join(f"{value} AS {engine.name(name)}" for name, value in values.items())
    texts = ", ".join(f"'$.{path}'" for path in paths)
    return f"""
        SELECT {columns}
        FROM (
            SELECT record, json_extract_string(record, [{texts}]) AS texts
            FROM (SELECT unnest(json_extract($answer::JSON, '$.data[*].data')) AS record)
        )"""


def _list(several: Several, values: dict[str, str]) -> str:
    """SQL for a list as one text."""
    elements = f"json_extract_string(record, '$.{several.all}[*]')"
    left_out = f" AND one IS DISTINCT FROM {values[several.without]}" if several.without else ""
    return f"nullif(array_to_string(list_filter({elements}, lambda one: one IS NOT NULL{left_out}), ','), '')"


def _next(links: Any) -> str | None:
    """The record after which the next page starts, by the link `next`; of its address nothing else is used.

    Raises ValueError for a link that leads nowhere.
    """
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "next":
            (after,) = parse_qs(urlsplit(str(link.get("uri"))).query).get("starting_after", [])
            return after
    return None
