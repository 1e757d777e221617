"""Rows that wait for a person to say whose they are, each beside the records that it may be of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sqlalchemy import or_, select

from enrollsync.as_of.records import Read, Roster, Row
from enrollsync.database.schema import BASE
from enrollsync.database.settled import Place
from enrollsync.run import engine
from enrollsync.run.workspace import Workspace
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
    found: list[Waiting] = []
    for workspace in workspaces:
        if workspace.waiting.is_file():
            found += _of_run(workspace, settled)
    found = [one for one in found if only in (None, one.place)]
    return len(found), found[(page - 1) * PAGE : page * PAGE]


def _of_run(workspace: Workspace, settled: Collection[Place]) -> list[Waiting]:
    manifest = workspace.read()
    places = [(file, line) for run_id, file, line in settled if run_id == manifest.run_id]
    told = []
    with engine.connect(workspace.root) as connection:
        connection.register("settled", pa.table({
            "file": pa.array([file for file, _ in places], pa.string()),
            "line": pa.array([line for _, line in places], pa.int64()),
        }))  # fmt: skip
        for entity in (entity for entity in BY_NAME.values() if entity.key):
            table = workspace.canonical_table(entity.name)
            if not table.is_file():
                continue
            found = connection.execute(f"""
                SELECT waiting.*, {", ".join(f"arg_min({name}, row_id) AS said_{name}" for name in entity.columns)}
                FROM {engine.parquet(workspace.waiting)} AS waiting
                ANTI JOIN settled USING (file, line)
                JOIN {engine.parquet(table)} USING (source_key)
                WHERE entity = '{entity.name}'
                GROUP BY ALL
                ORDER BY code, waiting.file, waiting.line""")
            names = [column[0] for column in found.description]
            told += [
                _waiting(manifest.run_id, str(manifest.format), entity, dict(zip(names, row, strict=True)))
                for row in found.fetchall()
            ]
    return told


def _waiting(run_id: str, format_name: str, entity: Entity, row: dict[str, Any]) -> Waiting:
    says = {name: row[f"said_{name}"] for name in entity.columns}
    named = {name: row[name] for name in ("source_key", "code", "record_key", "file", "line")}
    return Waiting(run_id=run_id, format=format_name, entity=entity.name, says=says, **named)


def with_candidates(read: Read, district_id: str, rows: Iterable[Waiting]) -> list[Waiting]:
    """The rows with their candidates, the one that each seems to be first."""
    return [
        Waiting(**{**vars(row), "candidates": _candidates(read, district_id, BY_NAME[row.entity], row)}) for row in rows
    ]


def _candidates(read: Read, district_id: str, entity: Entity, row: Waiting) -> list[Row]:
    """Who has the identifier that the row brings is one too: the two may be one."""
    base, key = BASE[entity.name], str(entity.key)
    same = [base.c.source_key == row.source_key]
    if identifier := row.says[str(entity.identifier)]:
        same.append(base.c[str(entity.identifier)] == identifier)
    holders = read(select(base.c[key]).where(base.c.district_id == district_id, or_(*same)))
    keys = [row.record_key, *(holder[key] for holder in holders)]
    wanted = list(dict.fromkeys(key for key in keys if key is not None))
    records = {record[key]: record for record in Roster(read, district_id).records(entity, **{key: wanted})}
    return [records[one] for one in wanted if one in records]
