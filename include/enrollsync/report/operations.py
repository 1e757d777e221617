"""A plan as a CSV file for a person: one row an operation, made when somebody asks for it.

It shows identifiers and values of children: whoever serves it checks who may see them.
"""

from __future__ import annotations

from pathlib import Path

from enrollsync.run import engine
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import BY_NAME, ENTITIES, Entity


def write_csv(workspace: Workspace, target: Path) -> None:
    """Write `entity, operation, record, reason, file, line, before, after` of every operation of the run's plan."""
    parts = " UNION ALL ".join(_operations(entity, workspace) for entity in ENTITIES)
    shown = ", ".join(f"{engine.cell(name)} AS {name}" for name in ("record", "reason", "file", "before", "after"))
    with engine.connect(workspace.root) as connection:
        rows = connection.sql(f"SELECT * REPLACE ({shown}) FROM ({parts}) ORDER BY place, file, line, record")
        rows.project("* EXCLUDE (place)").write_csv(str(target), header=True, use_tmp_file=False)


def _operations(entity: Entity, workspace: Workspace) -> str:
    """One row an operation; `after` of a creation is the row that it makes."""
    record = "entity_id" if entity.key else " || ' in ' || ".join(f"{link}_named.name" for link in _ends(entity))
    joins = "".join(
        f"""
        LEFT JOIN ({_names(BY_NAME[target], workspace)}) AS {link}_named
            ON {link}_named.key = plan.{BY_NAME[target].key}"""
        for link, target in _ends(entity).items()
    )
    values = ", ".join(f"{name} := plan.{name}" for name in (*entity.values, "status", "source"))
    return f"""
        SELECT {ENTITIES.index(entity)} AS place, '{entity.name}' AS entity, operation, {record} AS record, reason,
            file, line, before_json AS before,
            coalesce(after_json, to_json(struct_pack({values}))::VARCHAR) AS after
        FROM {engine.parquet(workspace.written(workspace.plan_table(entity.name)))} AS plan{joins}"""


def _ends(entity: Entity) -> dict[str, str]:
    """The links that make up a record's name: `user` in `class`."""
    return {} if entity.key else dict(sorted(entity.links.items(), key=lambda item: item[1] != "users"))


def _names(target: Entity, workspace: Workspace) -> str:
    """Key -> what a record is called after the plan, else before it."""
    name = f"coalesce({target.identifier}, source_key) AS name"
    planned, stored = (
        engine.parquet(path) for path in (workspace.plan_table(target.name), workspace.state / f"{target.name}.parquet")
    )
    return f"""
            SELECT {target.key} AS key, {name} FROM {planned}
            UNION ALL
            SELECT {target.key}, {name} FROM {stored} ANTI JOIN {planned} AS planned USING ({target.key})"""
