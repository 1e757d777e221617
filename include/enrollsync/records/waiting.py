"""Rows that wait for a person to say whose they are, each beside the records that it may be of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

import duckdb
import pyarrow as pa
from sqlalchemy import and_, or_, select

from enrollsync.as_of.records import Read, Roster, Row
from enrollsync.database.schema import BASE
from enrollsync.database.settled import Place
from enrollsync.formats import FORMATS
from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.words.canonical import BY_NAME, Entity

PAGE = 20
"""Rows on one page."""


@dataclass(frozen=True)
class Waiting:
    """A row that waits."""

    run_id: str
    format: str
    entity: str
    source_key: str
    code: str
    record_key: int | None
    """Of the record that it seems to be."""
    file: str
    line: int
    says: Row
    """Canonical column -> value, as the row has it."""
    candidates: list[Row] = field(default_factory=list)
    """Records that it may be of: the one that it seems to be, and who has its identifier."""

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.run_id, self.file, self.line


def waiting_rows(
    workspaces: Iterable[Workspace], settled: Collection[Place], page: int = 1, only: Place | None = None
) -> tuple[int, list[Waiting]]:
    """How many rows of these runs wait, and one page of them; a run whose files are gone tells nothing.

    `settled` ones are left out; `only`: that one alone. Without candidates, which `with_candidates` adds.
    """
    total, found = 0, list[Waiting]()
    first, last = (page - 1) * PAGE, page * PAGE
    for workspace in workspaces:
        if not workspace.waiting.is_file():
            continue
        manifest = workspace.read()
        with engine.connect(workspace.root) as connection:
            _narrow(connection, workspace, [place for place in settled if place[0] == manifest.run_id], only)
            (number,) = engine.one_row(connection, "SELECT count(*) FROM waiting")
            begin, end = max(first - total, 0), min(last - total, number)
            if begin < end:
                found += _page(connection, workspace, manifest, begin, end - begin)
        total += number
    return total, found


def _narrow(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, settled: list[Place], only: Place | None
) -> None:
    """Create `waiting`: those that are not settled."""
    for name, places in (("settled", settled), ("only_those", [only] if only else [])):
        columns = {"file": [file for _, file, _ in places], "line": [line for *_, line in places]}
        kinds = pa.schema([("file", pa.string()), ("line", pa.int64())])
        connection.register(name, pa.table(columns, kinds))
    connection.execute(f"""
        CREATE VIEW waiting AS
        FROM {engine.parquet(workspace.waiting)}
        ANTI JOIN settled USING (file, line)
        {"SEMI JOIN only_those USING (file, line)" if only else ""}""")


def _page(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, manifest: RunManifest, offset: int, limit: int
) -> list[Waiting]:
    names = ("entity", "source_key", "code", "record_key", "file", "line")
    rows = connection.execute(f"""
        SELECT {", ".join(names)}
        FROM waiting
        ORDER BY entity, code, file, line, source_key
        LIMIT {limit:d} OFFSET {offset:d}""").fetchall()
    shown = [dict(zip(names, row, strict=True)) for row in rows]
    says = {
        (name, place): said
        for name in {row["entity"] for row in shown}
        for place, said in _says(connection, workspace, BY_NAME[name], shown)
    }
    return [
        Waiting(manifest.run_id, str(manifest.format), **row, says=says[row["entity"], (row["file"], row["line"])])
        for row in shown
    ]


def _says(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, entity: Entity, shown: list[Row]
) -> Iterator[tuple[tuple[str, int], Row]]:
    """File and line of each of the rows, and what it says."""
    own = [row for row in shown if row["entity"] == entity.name]
    found = connection.execute(
        f"""
        SELECT place.file, place.line, {", ".join(f"given.{name}" for name in entity.columns)}
        FROM (
            SELECT unnest($keys) AS source_key, unnest($files) AS file, unnest($lines) AS line
        ) AS place
        JOIN {engine.parquet(workspace.canonical_table(entity.name))} AS given
            ON given.source_key = place.source_key AND given.file = place.file
            AND list_contains(given.lines, place.line)""",
        {name: [row[column] for row in own] for name, column in (
            ("keys", "source_key"), ("files", "file"), ("lines", "line")
        )},
    ).fetchall()  # fmt: skip
    for file, line, *values in found:
        yield (file, line), dict(zip(entity.columns, values, strict=True))


def with_candidates(read: Read, district_id: str, rows: Iterable[Waiting]) -> list[Waiting]:
    """The rows with their candidates, the one that each seems to be first."""
    return [replace(row, candidates=_candidates(read, district_id, BY_NAME[row.entity], row)) for row in rows]


def _candidates(read: Read, district_id: str, entity: Entity, row: Waiting) -> list[Row]:
    """Who has the identifier that the row brings is one too: the two may be one."""
    base, key = BASE[entity.name], str(entity.key)
    same = [and_(base.c.source == FORMATS[row.format].source.name, base.c.source_key == row.source_key)]
    if identifier := row.says[str(entity.identifier)]:
        same.append(base.c[str(entity.identifier)] == identifier)
    holders = read(select(base.c[key]).where(base.c.district_id == district_id, or_(*same)))
    keys = [row.record_key, *(holder[key] for holder in holders)]
    wanted = list(dict.fromkeys(key for key in keys if key is not None))
    records = {record[key]: record for record in Roster(read, district_id).records(entity, **{key: wanted})}
    return [records[one] for one in wanted if one in records]
