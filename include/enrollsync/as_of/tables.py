"""Whole tables as they were, joined in DuckDB out of the exported roster and its audit."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Boolean

from enrollsync.database import Store
from enrollsync.database.schema import IDENTIFIER_HISTORY, columns_of, primary_key, typed_column
from enrollsync.run import engine
from enrollsync.words.canonical import ENTITIES, Entity


def export_as_of(store: Store, district_id: str, state: int, folder: Path) -> None:
    """Write the district's base tables and identifier history as they were in that state, like `Store.export` does.

    The roster as it is and the audit since then are left in `now/` below the folder.
    """
    now = folder / "now"
    present = store.export(district_id, now)
    store.export_changes(district_id, state + 1, now)
    with engine.connect(folder) as connection:
        for table in ("changes", "runs"):
            # A run that ended meanwhile has not changed what was exported.
            connection.execute(
                f"CREATE VIEW later_{table} AS FROM {engine.parquet(now / f'{table}.parquet')} "
                f"WHERE state_after <= {present:d}"
            )
        for entity in ENTITIES:
            stored = engine.parquet(now / f"{entity.name}.parquet")
            engine.write_parquet(connection, _taken_back(entity, stored), folder / f"{entity.name}.parquet")
        history = f"{IDENTIFIER_HISTORY.name}.parquet"
        known = f"FROM {engine.parquet(now / history)} ANTI JOIN later_runs USING (run_id)"
        engine.write_parquet(connection, known, folder / history)


def _taken_back(entity: Entity, stored: str) -> str:
    """The rows before `later_changes`: of every value, what the first later change of it found."""
    keys = primary_key(entity)
    values = [name for name in columns_of(entity) if name not in keys]
    found = ", ".join(
        f"arg_min({{'found': {said(name, 'before_json')}}}, state_after) FILTER ({changed(name)}) AS {name}"
        for name in values
    )
    then = ", ".join(
        f"now.{name}"
        if name in keys
        else f"CASE WHEN first.{name} IS NULL THEN now.{name} ELSE first.{name}.found END AS {name}"
        for name in columns_of(entity)
    )
    return f"""
        WITH first AS (
            SELECT {", ".join(keys)}, bool_or(operation = 'create') AS unborn, {found}
            FROM later_changes
            WHERE entity = '{entity.name}'
            GROUP BY {", ".join(keys)}
        )
        SELECT {then}
        FROM {stored} AS now
        LEFT JOIN first USING ({", ".join(keys)})
        WHERE NOT coalesce(unborn, false)"""


def changed(name: str) -> str:
    """SQL for whether an audit row changed that value of a record."""
    return f"json_exists(before_json, '$.{name}')"


def said(name: str, text: str) -> str:
    """SQL for that value in the JSON text of an audit row."""
    kinds = {BigInteger: "BIGINT", Boolean: "BOOLEAN"}
    kind = kinds.get(type(typed_column(name).type), "VARCHAR")
    return f"try_cast(json_extract_string({text}, '$.{name}') AS {kind})"
