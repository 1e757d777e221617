"""What stays as it is now, so that later runs keep what they changed, and how every record will be.

Conflicts themselves are found in `conflicts.py`.
"""

from __future__ import annotations

import duckdb

from enrollsync.database.schema import columns_of, primary_key
from enrollsync.undo.conflicts import ENDS, new_conflicts
from enrollsync.undo.images import values_of
from enrollsync.words.canonical import ENTITIES, USERS, Entity


def kept_table(entity: Entity) -> str:
    """What is left alone: one value, or the whole record (`column` NULL), with or without what hangs on it."""
    keys = ", ".join(primary_key(entity))
    return f"""
        CREATE TABLE {entity.name}_kept AS
        SELECT {keys}, NULL::VARCHAR AS "column", NULL::BOOLEAN AS with_links
        FROM stored_{entity.name}
        LIMIT 0"""


def final(entity: Entity) -> str:
    """`<entity>_final`: the images with every value as it will be. `<entity>_will`: the whole table as it will be."""
    keys = ", ".join(primary_key(entity))
    values = ", ".join(
        f"CASE WHEN whole OR list_has_any(left_alone, {_one_with(entity, name)}) THEN now_{name} ELSE back_{name} END "
        f"AS {name}"
        for name in values_of(entity)
    )
    columns = ", ".join(columns_of(entity))
    return f"""
        CREATE VIEW {entity.name}_final AS
        WITH kept AS (
            SELECT {keys}, bool_or("column" IS NULL) AS whole, list("column") AS left_alone
            FROM {entity.name}_kept
            GROUP BY ALL
        )
        SELECT images.*, {values}
        FROM {entity.name}_images AS images
        LEFT JOIN kept USING ({keys});
        CREATE VIEW {entity.name}_will AS
        SELECT {columns}
        FROM {entity.name}_final
        UNION ALL
        SELECT {columns}
        FROM stored_{entity.name}
        ANTI JOIN {entity.name}_images USING ({keys})"""


def _one_with(entity: Entity, name: str) -> list[str]:
    """The values that stay or go together: a record's names."""
    names = [str(entity.identifier), "source_key", "source"] if entity.key else []
    return names if name in names else [name]


def keep(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave alone what conflicts, what hangs on it, and what that needs, until nothing new is found.

    A creation that conflicts stays with its links; a person always does. What such a link needs at its other end
    stays too, by itself.
    """
    for entity in ENTITIES:
        connection.execute(_leave_alone(entity, f"SELECT * FROM {entity.name}_conflicts", with_links=True))
    steps = [_leave_links(linking, target) for linking, target in ENDS]
    for entity in ENTITIES:
        steps += [_leave_alone(entity, part, with_links=entity is USERS) for part in new_conflicts(entity)]
    # Every step is run each time round: what one leaves alone, another one may have to follow.
    while sum(len(connection.execute(step).fetchall()) for step in steps):
        pass


def _leave_alone(entity: Entity, conflicts: str, *, with_links: bool) -> str:
    """A record that is there or not as a whole is left alone as a whole."""
    keys = ", ".join(primary_key(entity))
    return f"""
        INSERT INTO {entity.name}_kept
        SELECT DISTINCT {keys}, CASE WHEN created OR now_status = 'removed' THEN NULL ELSE "column" END, {with_links}
        FROM ({conflicts})
        JOIN {entity.name}_images USING ({keys})
        EXCEPT
        FROM {entity.name}_kept
        RETURNING 1"""


def _leave_links(linking: Entity, target: Entity) -> str:
    keys = ", ".join(primary_key(linking))
    end = target.key if target.key in primary_key(linking) else f"now_{target.key}"
    return f"""
        INSERT INTO {linking.name}_kept
        SELECT {keys}, NULL, true
        FROM {linking.name}_images
        WHERE created
            AND {end} IN (SELECT {target.key} FROM {target.name}_kept WHERE "column" IS NULL AND with_links)
            AND ({keys}) NOT IN (SELECT ({keys}) FROM {linking.name}_kept WHERE "column" IS NULL)
        RETURNING 1"""
