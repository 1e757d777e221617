"""What keeps a run from being undone: later changes, names that others have, and what would hang in the air.

Only looks; what is left alone because of a conflict is decided in `keeping.py`.
"""

from __future__ import annotations

from typing import Any

import duckdb

from enrollsync.database.schema import primary_key
from enrollsync.run import engine
from enrollsync.undo.images import values_of
from enrollsync.words.canonical import BY_NAME, ENTITIES, KIND_PREFIXES, USERS, Entity

_MOST_LISTED = 1000
"""Conflicts that an error carries; the rest is counted."""
ENDS = tuple((entity, BY_NAME[target]) for entity in ENTITIES for target in entity.links.values())
"""What hangs on what: memberships on users, ..., classes on organizations."""


def find_conflicts(connection: duckdb.DuckDBPyConnection) -> int:
    """Leave every conflict in `<entity>_conflicts`: keys, `column`, `why`, the later `run_id`; returns how many."""
    total = 0
    for entity in ENTITIES:
        parts = [_changed_later(entity), *new_conflicts(entity)]
        connection.execute(f"CREATE TABLE {entity.name}_conflicts AS {' UNION '.join(parts)}")
        total += engine.one_row(connection, f"SELECT count(*) FROM {entity.name}_conflicts")[0]
    return total


def new_conflicts(entity: Entity) -> list[str]:
    """Those that depend on what else is left alone."""
    needed = [_needed(linking, target) for linking, target in ENDS if target is entity]
    orphans = [_orphaned(linking, target) for linking, target in ENDS if linking is entity]
    return [*_taken(entity), *needed, *orphans]


def _changed_later(entity: Entity) -> str:
    """Values that are not what the run left behind, or that a later run gave which was no undo."""
    keys = ", ".join(primary_key(entity))
    undoing = {name: f"created OR now_{name} IS DISTINCT FROM back_{name}" for name in values_of(entity)}
    moved = {name: f"({undone}) AND now_{name} IS DISTINCT FROM left_{name}" for name, undone in undoing.items()}
    return f"""
        (
            WITH judged AS (
                SELECT {keys}, {_names_where(undoing)} AS undoing, {_names_where(moved)} AS moved
                FROM {entity.name}_images
            ),
            found AS (
                SELECT {keys}, unnest(moved) AS "column"
                FROM judged
                UNION
                SELECT {keys}, later."column"
                FROM judged
                JOIN {entity.name}_later AS later USING ({keys})
                WHERE outcome <> 'undone' AND list_contains(undoing, later."column")
            )
            SELECT {keys}, "column", 'it was changed later' AS why, run_id
            FROM found
            LEFT JOIN {entity.name}_later USING ({keys}, "column")
        )"""


def _names_where(conditions: dict[str, str]) -> str:
    cases = ", ".join(f"CASE WHEN {condition} THEN '{name}' END" for name, condition in conditions.items())
    return f"list_filter([{cases}], lambda name: name IS NOT NULL)"


def _taken(entity: Entity) -> list[str]:
    """An identifier or a source key that would come back, and that another record has."""
    if entity.key is None:
        return []
    return [_held_by_another(entity, [str(entity.identifier)]), _held_by_another(entity, ["source_key", "source"])]


def _held_by_another(entity: Entity, names: list[str]) -> str:
    same = " AND ".join(f"holder.{name} = mine.{name}" for name in names)
    changed = " OR ".join(f"mine.{name} IS DISTINCT FROM mine.now_{name}" for name in names)
    return f"""
        SELECT mine.{entity.key}, '{names[0]}' AS "column", 'another record has it' AS why, writer.run_id
        FROM {entity.name}_final AS mine
        JOIN {entity.name}_will AS holder ON {same}
        LEFT JOIN {entity.name}_writers AS writer ON writer.{entity.key} = holder.{entity.key}
        WHERE holder.{entity.key} <> mine.{entity.key} AND ({changed})"""


def _needed(linking: Entity, target: Entity) -> str:
    """A record whose creation would be undone, or that would become inactive, while something new hangs on it."""
    same = " AND ".join(f"writer.{name} = hanging.{name}" for name in primary_key(linking))
    return f"""
        SELECT mine.{target.key}, CASE WHEN created THEN '{linking.name}' ELSE 'status' END AS "column",
            'something that stays hangs on it' AS why, max(writer.run_id) AS run_id
        FROM {target.name}_final AS mine
        JOIN {linking.name}_will AS hanging USING ({target.key})
        LEFT JOIN {linking.name}_writers AS writer ON {same}
        WHERE {_stands(linking, "hanging")}
            AND (
                mine.status = 'removed' AND created
                OR mine.status = 'inactive' AND mine.now_status = 'active' AND writer.raised
            )
        GROUP BY ALL"""


def _orphaned(linking: Entity, target: Entity) -> str:
    """A link that would come back to a record which is not there any more."""
    keys = ", ".join(f"mine.{key}" for key in primary_key(linking))
    column = "status" if linking.key is None else target.key
    back = f"mine.status IS DISTINCT FROM mine.now_status{_moved(linking, target)}"
    return f"""
        SELECT {keys}, '{column}' AS "column", 'what it belongs to is not there' AS why, NULL AS run_id
        FROM {linking.name}_final AS mine
        JOIN {target.name}_will AS whole USING ({target.key})
        ANTI JOIN (FROM {target.name}_final WHERE created) AS going USING ({target.key})
        WHERE whole.status = 'removed' AND {_stands(linking, "mine")} AND ({back})"""


def _moved(linking: Entity, target: Entity) -> str:
    return f" OR mine.{target.key} IS DISTINCT FROM mine.now_{target.key}" if linking.key else ""


def _stands(linking: Entity, table: str) -> str:
    """Whether it needs what it hangs on: an inactive link does not."""
    return f"{table}.status <> 'removed'" if linking.key else f"{table}.status = 'active'"


def list_conflicts(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The first conflicts: `record` is for the operator who asked; `shown` has no identifiers of people, for a page."""
    parts = " UNION ALL ".join(
        f"""
        SELECT {number} AS place, '{entity.name}' AS entity, {_shown(entity)} AS record, "column", why, found.run_id,
            {_without_identifiers(entity)} AS shown
        FROM {entity.name}_conflicts AS found
        {_shown_from(entity)}"""
        for number, entity in enumerate(ENTITIES)
    )
    rows = connection.execute(
        f'SELECT * EXCLUDE (place) FROM ({parts}) ORDER BY place, record, why, "column" LIMIT {_MOST_LISTED}'
    )
    names = [column[0] for column in rows.description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def list_later_runs(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The later runs that the conflicts are with, the newest first: in this order they can be undone."""
    named = " UNION ALL ".join(f"SELECT run_id FROM {entity.name}_conflicts" for entity in ENTITIES)
    found = connection.execute(
        f"SELECT run_id FROM stored_runs SEMI JOIN ({named}) USING (run_id) ORDER BY state_after DESC"
    )
    return [run_id for (run_id,) in found.fetchall()]


def _shown(entity: Entity) -> str:
    if entity.key:
        return engine.masked(f"coalesce(now_{entity.identifier}, back_{entity.identifier}, {_plain('now_source_key')})")
    return " || ' ' || ".join(_named(BY_NAME[target]) for target in entity.links.values())


def _named(end: Entity) -> str:
    return engine.masked(f"coalesce({end.name}.{end.identifier}, {_plain(f'{end.name}.source_key')})")


def _without_identifiers(entity: Entity) -> str:
    """As `_shown`, with the internal keys of people in the place of their identifiers: `17`, `17 C1`."""
    if entity is USERS:
        return "user_key::VARCHAR"
    if entity.key:
        return _shown(entity)
    return " || ' ' || ".join(
        "users.user_key::VARCHAR" if end is USERS else _named(end)
        for end in (BY_NAME[target] for target in entity.links.values())
    )


def _shown_from(entity: Entity) -> str:
    if entity.key:
        return f"JOIN {entity.name}_images USING ({entity.key})"
    ends = [BY_NAME[target] for target in entity.links.values()]
    return " ".join(f"JOIN stored_{end.name} AS {end.name} USING ({end.key})" for end in ends)


def _plain(source_key: str) -> str:
    """The source's own word for the record, also where its creation was undone."""
    return f"regexp_extract({source_key}, '^ ?(?:{'|'.join(KIND_PREFIXES)})?(.*?)(?: removed [0-9]+)?$', 1)"
