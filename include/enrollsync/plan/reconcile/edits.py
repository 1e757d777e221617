"""Rows that still say what a person has changed since on a profile page, in a district whose edits stick.

An identifier that was edited is read as the one that its record has now, as a line of `id_changes.csv` would have it
(rule 9), and a secondary ID stays what the person made it, as long as the row says what was there before.
"""

from __future__ import annotations

import duckdb

from enrollsync.plan.reconcile.tables import RECORDS
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import USERS, Entity

_SECONDARY = USERS.of_kind("secondary")


def are_kept(connection: duckdb.DuckDBPyConnection, run: Run) -> bool:
    """Whether any edit is to be kept against the rows of this run."""
    if run.settings.edits != "stick" or run.manifest.edit:
        return False
    (some,) = engine.one_row(connection, "SELECT EXISTS (FROM stored_edits)")
    return bool(some)


def read_edits(connection: duckdb.DuckDBPyConnection, workspace: Workspace, rekeyed: dict[str, str]) -> None:
    """Create `<entity>_edited`, which identifiers of rows were edited, and `users_edited_values`.

    `rekeyed`: entity -> SQL for the source key that a `holder` had while it had the identifier `{to}` for `{given}`.
    """
    for entity in RECORDS:
        connection.execute(_edited(entity, workspace, rekeyed[entity.name]))
    connection.execute(_edited_values())


def with_edited_values(query: str) -> str:
    """The rows of people in `query`, each with the secondary IDs that a person gave since."""
    values = ",\n            ".join(
        f"""CASE
                WHEN edited.{name} IS NOT NULL AND edited.{name}.was IS NOT DISTINCT FROM given.{name}
                THEN edited.{name}.made
                ELSE given.{name}
            END AS {name}"""
        for name in _SECONDARY
    )
    return f"""
        SELECT given.* REPLACE (
            {values}
        )
        FROM ({query}
        ) AS given
        LEFT JOIN users_edited_values AS edited USING (source_key)"""


def _edited(entity: Entity, workspace: Workspace, rekeyed: str) -> str:
    """An identifier that somebody has again, or beside which the batch says the new one, is no more the edited one."""
    name, identifier = entity.name, entity.identifier
    return f"""
        CREATE TABLE {name}_edited AS
        WITH said AS (
            SELECT DISTINCT source_key
            FROM {engine.parquet(workspace.canonical_table(name))}
            WHERE source_key IS NOT NULL
        ),
        lost AS (
            SELECT entity_key, json_extract_string(before_json, '$.{identifier}') AS old_id, state_after
            FROM stored_edits
            WHERE entity = '{name}'
        ),
        meant AS (
            SELECT {rekeyed.format(given=f"holder.{identifier}", to="old_id")} AS source_key,
                holder.source_key AS new_source_key, old_id, holder.{identifier} AS new_id, state_after
            FROM lost
            JOIN db_{name} AS holder ON holder.{entity.key} = entity_key
            WHERE old_id NOT IN (SELECT {identifier} FROM db_{name} WHERE {identifier} IS NOT NULL)
                AND holder.{identifier} IS NOT NULL AND holder.source = getvariable('source')
        )
        SELECT source_key, new_source_key, old_id, new_id
        FROM meant
        WHERE source_key IN (FROM said) AND (source_key = new_source_key OR new_source_key NOT IN (FROM said))
        QUALIFY row_number() OVER (PARTITION BY source_key ORDER BY state_after DESC) = 1"""


def _edited_values() -> str:
    """Source key -> of each secondary ID what was there before its last edit and what is there since."""
    values = ", ".join(
        f"""
            CASE
                WHEN old.{name} IS NOT DISTINCT FROM last.{name}.made THEN last.{name}
            END AS {name}"""
        for name in _SECONDARY
    )
    lasts = ", ".join(
        f"""
                arg_max({{
                    'was': json_extract_string(before_json, '$.{name}'),
                    'made': json_extract_string(after_json, '$.{name}')
                }}, state_after) FILTER (json_exists(before_json, '$.{name}')) AS {name}"""
        for name in _SECONDARY
    )
    return f"""
        CREATE TABLE users_edited_values AS
        WITH last AS (
            SELECT entity_key, {lasts}
            FROM stored_edits
            WHERE entity = 'users'
            GROUP BY entity_key
        )
        SELECT source_key, {values}
        FROM last
        JOIN db_users AS old ON old.user_key = entity_key AND old.source = getvariable('source')"""
