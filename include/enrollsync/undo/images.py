"""What the undone run changed: what it found, what it left and what is there now of each record, and who came later.

Which of the three a value gets belongs to `keeping.py`, whether that is a conflict to `conflicts.py`.
"""

from __future__ import annotations

import duckdb

from enrollsync.as_of.tables import changed, said
from enrollsync.database.schema import FORGOTTEN_KEY, USUAL_LINKS, columns_of, primary_key
from enrollsync.run.engine import literal, one_row
from enrollsync.words.canonical import USERS, Entity


def values_of(entity: Entity) -> list[str]:
    """The columns that a change may change."""
    return [name for name in columns_of(entity) if name not in primary_key(entity)]


def images(entity: Entity) -> str:
    """One row for each record that the run changed: keys, `created`, and `now_`, `left_` and `back_` of every value.

    Creations that are undone already are not in it.
    """
    values = ", ".join(
        f"old.{name} AS now_{name}, {_left(entity, name)} AS left_{name}, {_back(entity, name)} AS back_{name}"
        for name in values_of(entity)
    )
    keys = ", ".join(primary_key(entity))
    return f"""
        CREATE TABLE {entity.name}_images AS
        WITH own AS (
            SELECT {keys}, operation = 'create' AS created, before_json, after_json
            FROM stored_changes
            WHERE entity = '{entity.name}' AND state_after = getvariable('undone')
        )
        SELECT {keys}, created, {values}
        FROM own
        JOIN stored_{entity.name} AS old USING ({keys})
        WHERE NOT (created AND old.status = 'removed'){_but_forgotten(entity)}"""


def _but_forgotten(entity: Entity) -> str:
    """Who was forgotten stays so; their links are nowhere any more."""
    return f" AND NOT starts_with(old.source_key, '{FORGOTTEN_KEY}')" if entity is USERS else ""


def forgotten(connection: duckdb.DuckDBPyConnection) -> int:
    """How many of the people whom the run changed were forgotten since."""
    query = f"""
        SELECT count(DISTINCT user_key)
        FROM stored_changes
        JOIN stored_users USING (user_key)
        WHERE state_after = getvariable('undone') AND starts_with(source_key, '{FORGOTTEN_KEY}')"""
    return int(one_row(connection, query)[0])


def _left(entity: Entity, name: str) -> str:
    """An audit row says all values of a creation, or none of the usual one; of a change, those that changed."""
    after = said(name, "after_json")
    usual = {column: literal(value) for column, value in USUAL_LINKS.get(entity.name, {}).items()}
    usual = usual and {**usual, "source": "getvariable('run_source')"}
    created = f"CASE WHEN after_json IS NULL THEN {usual[name]} ELSE {after} END" if name in usual else after
    return f"CASE WHEN created THEN {created} WHEN {changed(name)} THEN {after} ELSE old.{name} END"


def _back(entity: Entity, name: str) -> str:
    unborn = {
        "status": "'removed'",
        # What a source gives begins with no blank; the audit of what hung on the record still says whose it was.
        "source_key": f"' ' || old.source_key || ' removed ' || {entity.key}",
        str(entity.identifier): "NULL",
    }.get(name, f"old.{name}")
    return f"""CASE
            WHEN created THEN {unborn}
            WHEN {changed(name)} THEN {said(name, "before_json")}
            ELSE old.{name}
        END"""


def later(entity: Entity) -> str:
    """Which later run was the last to change a value of these records, and whether it was an undo.

    And the last later run that wrote a record at all.
    """
    keys = ", ".join(primary_key(entity))
    return f"""
        CREATE TABLE {entity.name}_later AS
        SELECT {keys}, "column", arg_max(run_id, state_after) AS run_id, arg_max(outcome, state_after) AS outcome
        FROM (
            SELECT {keys}, state_after, unnest(json_keys(before_json)) AS "column"
            FROM stored_changes
            SEMI JOIN {entity.name}_images USING ({keys})
            WHERE entity = '{entity.name}' AND state_after > getvariable('undone')
        )
        JOIN stored_runs USING (state_after)
        GROUP BY ALL;
        CREATE VIEW {entity.name}_writers AS
        SELECT {keys}, arg_max(run_id, state_after) AS run_id,
            bool_or(operation IN ('create', 'reactivate')) AS raised
        FROM stored_changes
        JOIN stored_runs USING (state_after)
        WHERE entity = '{entity.name}' AND state_after > getvariable('undone')
        GROUP BY ALL"""
