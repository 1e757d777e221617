"""Undoing a run: its audit rows against the roster as it is, turned into the plan that takes its changes back.

Reads Parquet, writes a plan like `reconcile` does, and never touches the database. Three images of every record that
the run changed decide: `back`, what the run found; `left`, what it left behind; `now`. What a later run has changed
since is a conflict; nothing is undone then, unless the later values are to be kept.

A creation that is undone leaves a row of status `removed`, without identifier and under a source key that no source
can give, so that both are free for another record.

`images` is what the run changed, `conflicts` what keeps it from being undone, `keeping` what stays as it is all the
same; the plan is made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from enrollsync.database.schema import UNDO_OF, columns_of
from enrollsync.plan.plan import Plan, count_operations, gather_operations, plan_id, write_operations
from enrollsync.run import engine
from enrollsync.run.workspace import COUNTED, Notice, Workspace
from enrollsync.undo.conflicts import find_conflicts, list_conflicts, list_later_runs
from enrollsync.undo.images import forgotten, images, later, values_of
from enrollsync.undo.keeping import final, keep, kept_table
from enrollsync.words.canonical import ENTITIES, Entity
from enrollsync.words.codes import FORGOTTEN
from enrollsync.words.errors import ConfigurationError, UndoConflict


def plan_undo(
    workspace: Workspace, district_id: str, run: dict[str, Any], state_version: int, *, keep_later: bool
) -> Plan:  # fmt: skip
    """Make the plan that takes back what `run` (a row of `runs`) changed, and write it to `plan/`.

    Reads the roster at `state_version`, and the `changes` and `runs` since that run, from `state/`. Raises
    UndoConflict when later runs changed the same values and `keep_later` does not leave those alone, and
    ConfigurationError when nothing is left to undo.
    """
    with engine.connect(workspace.root) as connection:
        _load(connection, workspace.state, run)
        conflicts = find_conflicts(connection)
        if conflicts and not keep_later:
            raise UndoConflict(run["run_id"], conflicts, list_conflicts(connection), list_later_runs(connection))
        keep(connection)
        for entity in ENTITIES:
            connection.execute(_after(entity))
        write_operations(connection, workspace, source=None)
        gather_operations(connection, workspace.plan)
        counts = {entity: dict.fromkeys(COUNTED, 0) | undone for entity, undone in count_operations(connection).items()}
        operations = sum(sum(numbers.values()) for numbers in counts.values())
        left = forgotten(connection)
        if not operations:
            because = "later runs changed all of it" if conflicts else "all of it is as it was before that run"
            because += _of_forgotten(left) if left else ""
            raise ConfigurationError(f"run {run['run_id']}: nothing is left to undo, {because}")
        plan = Plan(
            plan_id=plan_id(connection, district_id, "", state_version),
            district_id=district_id,
            source="",
            state_version=state_version,
            operations=operations,
            counts=counts,
            holds=[],
            notices=[Notice.of(FORGOTTEN, f"an undo brings nobody back{_of_forgotten(left)}")] if left else [],
        )
        plan.save(workspace.plan)
        return plan


def _of_forgotten(people: int) -> str:
    return f", and {people:,} of the people whom that run changed {'was' if people == 1 else 'were'} forgotten since"


def _reason(run: dict[str, Any]) -> str:
    return f"{UNDO_OF}{run['run_id']}"


def _load(connection: duckdb.DuckDBPyConnection, state: Path, run: dict[str, Any]) -> None:
    variables = {"undone": run["state_after"], "run_source": run["source"], "reason": _reason(run)}
    for name, value in variables.items():
        connection.execute(f"SET VARIABLE {name} = ?", [value])
    for table in (*(entity.name for entity in ENTITIES), "changes", "runs"):
        connection.execute(f"CREATE VIEW stored_{table} AS FROM {engine.parquet(state / f'{table}.parquet')}")
    for entity in ENTITIES:
        connection.execute(images(entity))
        connection.execute(later(entity))
        connection.execute(kept_table(entity))
        connection.execute(final(entity))


def _after(entity: Entity) -> str:
    differs = "now_{0} IS DISTINCT FROM {0}"
    identifier = entity.identifier
    renamed = f"WHEN now_{identifier} <> {identifier} THEN 'reidentify'" if identifier else ""
    return f"""
        CREATE VIEW {entity.name}_after AS
        SELECT
            CASE
                {renamed}
                WHEN now_status <> status AND status = 'active' THEN 'reactivate'
                WHEN now_status <> status THEN 'deactivate'
                ELSE 'update'
            END AS operation,
            NULL::VARCHAR AS file, NULL::BIGINT AS line, getvariable('reason') AS reason, true AS explicit,
            {", ".join(columns_of(entity))}
        FROM {entity.name}_final
        WHERE {" OR ".join(differs.format(name) for name in values_of(entity))}"""
