"""Whether the plan of what a person changes by hand does what they asked: nothing withheld, nothing that waits."""

from __future__ import annotations

import duckdb

from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import Edit, Settle, Workspace
from enrollsync.words.canonical import BY_NAME, ENTITIES


def does_what_was_asked(run: Run) -> bool:
    """A value that the rules withhold, or a record that waits, would leave half of it."""
    edit, settle, place = run.manifest.edit, run.manifest.settle, run.place
    with engine.connect(place.root) as connection:
        if edit is not None:
            return _edits(connection, place, edit)
        assert settle is not None
        return _settles(connection, place, settle)


def _edits(connection: duckdb.DuckDBPyConnection, place: Workspace, edit: Edit) -> bool:
    """The record gets all of the values, and nothing else changes."""
    entity = BY_NAME[edit.entity]
    values = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in edit.values)
    asked = _count(
        connection, place, edit.entity, f"{entity.key} = $key AND {values}", {"key": edit.key, **edit.values}
    )
    return asked == 1 == sum(_count(connection, place, other.name) for other in ENTITIES)


def _settles(connection: duckdb.DuckDBPyConnection, place: Workspace, settle: Settle) -> bool:
    """The row is that record's, or a new one's."""
    named: dict[str, str | int | None] = {"source_key": settle.source_key}
    if settle.record is None:
        return _count(connection, place, settle.entity, "source_key = $source_key AND operation = 'create'", named) == 1
    condition = f"source_key = $source_key AND {BY_NAME[settle.entity].key} = $key AND operation <> 'deactivate'"
    return _count(connection, place, settle.entity, condition, named | {"key": settle.record}) == 1


def _count(
    connection: duckdb.DuckDBPyConnection, place: Workspace, entity: str, condition: str = "true",
    values: dict[str, str | int | None] | None = None,
) -> int:  # fmt: skip
    table = place.plan_table(entity)
    if not table.exists():
        return 0
    return int(engine.one_row(connection, f"SELECT count(*) FROM {engine.parquet(table)} WHERE {condition}", values)[0])
