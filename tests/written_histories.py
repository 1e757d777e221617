"""Random histories of a real database without deliveries: plans made out of edits, applied and undone in a blink."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from enrollsync.database import RunRecord, Store
from enrollsync.database.schema import (
    CHANGES,
    UNDO_OF,
    USUAL_LINKS,
    arrow_schema,
    columns_of,
    primary_key,
    typed_column,
)
from enrollsync.load.apply import apply
from enrollsync.plan.plan import Plan, gather_operations, plan_id, write_operations
from enrollsync.run import engine
from enrollsync.run.workspace import Workspace
from enrollsync.undo import plan_undo
from enrollsync.words.canonical import BY_NAME, ENTITIES, Entity
from enrollsync.words.errors import ConfigurationError

DISTRICT = "demo"
Row = dict[str, Any]
_WORDS = ("Ann", "Leena", "García", 'quote"d', "back\\slash", "", None)


@dataclass
class History:
    """A district whose nights are edits drawn by chance; every run ends an hour after the one before."""

    store: Store
    folder: Path
    chance: Random
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    clock: datetime = datetime(2026, 9, 1, 2, tzinfo=UTC)
    written: list[str] = field(default_factory=list)
    """The runs that wrote something."""

    def night(self) -> None:
        """Up to eight edits of every entity in one run, or an earlier run undone."""
        if self.written and self.chance.random() < 0.4:
            self._undo(self.chance.choice(self.written))
        else:
            self._edit()

    def _edit(self) -> None:
        workspace = self._begin()
        state = self.store.export(DISTRICT, workspace.state, "batch_upload")
        rows: dict[str, list[Row]] = {}
        with engine.connect(workspace.root) as connection:
            for entity in ENTITIES:
                stored = pq.read_table(workspace.state / f"{entity.name}.parquet").to_pylist()
                stored.sort(key=itemgetter(*primary_key(entity)))
                rows[entity.name] = self._edited(entity, stored, rows)
                columns = [CHANGES.c.line, *(typed_column(name) for name in (*_TOLD, *columns_of(entity)))]
                after = pa.Table.from_pylist(rows[entity.name], arrow_schema(columns))
                connection.register(f"{entity.name}_made", after)
                connection.execute(f"CREATE TABLE {entity.name}_after AS FROM {entity.name}_made")
                path = workspace.state / f"{entity.name}.parquet"
                connection.execute(f"CREATE VIEW stored_{entity.name} AS FROM {engine.parquet(path)}")
            write_operations(connection, workspace, source="batch_upload")
            gather_operations(connection, workspace.plan)
            made = plan_id(connection, DISTRICT, "batch_upload", state)
        operations = sum(map(len, rows.values()))
        plan = Plan(
            plan_id=made, district_id=DISTRICT, source="batch_upload", state_version=state, operations=operations,
            counts={}, holds=[],
        )  # fmt: skip
        self._apply(workspace, plan, "applied", None)

    def _undo(self, run_id: str) -> None:
        workspace, run = self._begin(), self.store.run(DISTRICT, run_id)
        assert run
        state = self.store.export(DISTRICT, workspace.state)
        self.store.export_changes(DISTRICT, run["state_after"], workspace.state)
        try:
            plan = plan_undo(workspace, DISTRICT, run, state, keep_later=True)
        except ConfigurationError:
            return
        self._apply(workspace, plan, "undone", f"{UNDO_OF}{run_id}")

    def _begin(self) -> Workspace:
        return Workspace(self.folder / f"run-{next(self.numbers)}").create()

    def _apply(self, workspace: Workspace, plan: Plan, outcome: str, message: str | None) -> None:
        self.clock += timedelta(hours=1)
        record = RunRecord(
            run_id=workspace.root.name, district_id=DISTRICT, batch_hash=None, outcome=outcome, plan_id=plan.plan_id,
            started_at=self.clock - timedelta(minutes=1), ended_at=self.clock, source="batch_upload", message=message,
        )  # fmt: skip
        apply(self.store, workspace.plan, plan, record)
        self.written.append(record.run_id)

    # ---- edits -------------------------------------------------------------------------------------------------------

    def _edited(self, entity: Entity, stored: list[Row], others: dict[str, list[Row]]) -> list[Row]:
        """The entity's rows of the plan: at most one a record."""
        edited = [self._changed(entity, row) for row in stored if self.chance.random() < 0.4]
        known = {tuple(row[key] for key in primary_key(entity)) for row in stored}
        made = (self._created(entity, 1 + len(stored) + number, others) for number in range(self.chance.randrange(4)))
        new = {tuple(row[key] for key in primary_key(entity)): row for row in made if row}
        return [*edited, *(row for record, row in new.items() if record not in known)]

    def _changed(self, entity: Entity, row: Row) -> Row:
        if row["status"] == "removed":
            # A record stays what it is; a link may come again.
            again = {"status": "active", **_told("reactivate")}
            return {**row, **again} if entity.key is None else self._valued(entity, row)
        if self.chance.random() < 0.3:
            given_up = {entity.identifier: None} if entity.identifier and self.chance.random() < 0.5 else {}
            return {**row, **given_up, "status": "inactive", **_told("deactivate")}
        if entity.key and self.chance.random() < 0.3:
            name = f"id{next(self.numbers)}"
            return {**row, str(entity.identifier): name, "source_key": name, **_told("reidentify")}
        return self._valued(entity, row)

    def _valued(self, entity: Entity, row: Row) -> Row:
        return {**row, **self._values(entity), **_kept(entity, row), **_told("update")}

    def _created(self, entity: Entity, number: int, others: dict[str, list[Row]]) -> Row | None:
        row = {**self._values(entity), "status": "active", "source": "batch_upload", **_told("create")}
        row |= {"file": self.chance.choice(("users.csv", "users.csv", "staff.csv")), "line": next(self.numbers)}
        if entity.key:
            name = f"id{next(self.numbers)}"
            row |= {entity.key: number, "source_key": name, str(entity.identifier): name}
        for target in entity.links.values():
            end = BY_NAME[target]
            there = [other[str(end.key)] for other in others[target] if other["status"] == "active"]
            if not there:
                return None
            row[str(end.key)] = self.chance.choice(there)
        return row | (USUAL_LINKS.get(entity.name, {}) if self.chance.random() < 0.5 else {})

    def _values(self, entity: Entity) -> Row:
        primary = {"is_primary": self.chance.random() < 0.5} if "is_primary" in entity.values else {}
        roles = {name: self.chance.choice(("teacher", "staff")) for name in entity.told_apart_by}
        return {name: self.chance.choice(_WORDS) for name in entity.values if name not in primary} | primary | roles


def _kept(entity: Entity, row: Row) -> Row:
    """What names a record is never another's."""
    return {name: row[name] for name in entity.told_apart_by}


_TOLD = ("operation", "explicit", "reason", "file")


def _told(operation: str) -> Row:
    return {"operation": operation, "explicit": None, "reason": None, "file": "users.csv", "line": None}
