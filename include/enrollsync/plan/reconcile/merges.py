"""Rows under the identifier of somebody who was merged into another person: they mean the one who was kept (rule 9).

Where the batch has a row of that person's own as well, that one counts, and the other is collapsed into it.
"""

from __future__ import annotations

import duckdb

from enrollsync.plan.reconcile.tables import empty
from enrollsync.run import engine
from enrollsync.words.canonical import ENTITIES, USERS, Entity

OF_PEOPLE = tuple(entity for entity in ENTITIES if entity is USERS or USERS.name in entity.links.values())
"""The entities whose rows name a person."""


def are_merged(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether anybody was merged."""
    return bool(engine.one_row(connection, "SELECT EXISTS (FROM stored_merges)")[0])


def read_merges() -> str:
    """Create `users_merged`, and have rows under those source keys read as the ones of whom they mean.

    Comes after what the batch and persons have renamed: who was renamed and then merged is also meant by a row that is
    read as if it said their new identifier.
    """
    return """
        CREATE TABLE users_merged AS
        WITH called AS (
            SELECT user_key, source_key, user_id, source
            FROM db_users
            UNION
            SELECT user_key, source_key, user_id, source
            FROM users_addressed
        ),
        gone AS (
            SELECT called.source_key, called.user_id, kept.source_key AS new_source_key, kept.user_id AS new_id,
                into_key AS key
            FROM stored_merges
            JOIN called USING (user_key)
            JOIN users_addressed AS kept ON kept.user_key = into_key
            WHERE called.source = getvariable('source') AND kept.source = called.source
        )
        SELECT source_key, new_source_key, user_id AS old_id, new_id, key
        FROM gone
        ANTI JOIN users_aliases USING (source_key)
        UNION ALL
        SELECT alias.source_key, gone.new_source_key, alias.old_id, gone.new_id, key
        FROM users_aliases AS alias
        JOIN gone ON gone.source_key = alias.new_source_key;
        DELETE FROM users_aliases
        WHERE source_key IN (SELECT source_key FROM users_merged);
        INSERT INTO users_aliases
        SELECT * EXCLUDE (key)
        FROM users_merged"""


def nobody_merged() -> str:
    """The same where nobody was."""
    return empty("users_merged")


def doubled(entity: Entity, respoken: str) -> str:
    """Create `<entity>_doubled`: the rows that say once more what another row says of who was kept, or that the record
    which went is inactive: that it is already.

    `respoken` are all rows as they are meant, each with the source key that it says as `said` besides.
    """
    identity = ", ".join(entity.identity)
    own = ", ".join(f"said AS {name}" if name == _person(entity) else name for name in entity.identity)
    return f"""
        CREATE TABLE {entity.name}_doubled AS
        WITH spoken AS ({respoken}
        ),
        theirs AS (
            FROM spoken
            SEMI JOIN users_merged AS merged ON merged.source_key = said
        ),
        own AS (
            SELECT DISTINCT {identity}, true AS there
            FROM spoken
            SEMI JOIN theirs USING ({identity})
            ANTI JOIN users_merged AS merged ON merged.source_key = said
        )
        SELECT {own}
        FROM theirs
        LEFT JOIN own USING ({identity})
        QUALIFY there OR status IS NOT DISTINCT FROM 'inactive' OR row_number() OVER (
            PARTITION BY {identity}
            ORDER BY status IS NOT DISTINCT FROM 'inactive', said
        ) > 1"""


def nothing_doubled(entity: Entity) -> str:
    """The same where nobody was merged."""
    return empty("{entity}_doubled", entity)


def with_said(entity: Entity, query: str) -> str:
    """The rows of `query` with the source key of the person as the row says it, as `said`."""
    return f"""
        SELECT *, {_person(entity)} AS said
        FROM ({query}
        )"""


def once(entity: Entity, query: str) -> str:
    """The rows of `query` without the doubled ones."""
    return f"""
        FROM ({query}
        )
        ANTI JOIN {entity.name}_doubled USING ({", ".join(entity.identity)})"""


def removals_meant(entity: Entity, query: str) -> str:
    """The rows of `query`, which ask for removals, without those that name who was merged into somebody else.

    A source that clears the second record away means that record, which is gone already.
    """
    return f"""
        FROM ({query}
        ) AS asked
        ANTI JOIN users_merged AS merged ON merged.source_key = asked.{_person(entity)}"""


def removals_left(entity: Entity, respoken: str) -> str:
    """Of the removals as they are meant those of which no row brings what they take from somebody who was kept.

    The source may clear away the identifier that was kept here, and go on with the other one.
    """
    identity = ", ".join(entity.identity)
    return f"""
        FROM ({respoken}
        ) AS asked
        WHERE {_person(entity)} NOT IN (SELECT new_source_key FROM users_merged)
            OR NOT coalesce(({identity}) IN (SELECT ({identity}) FROM {entity.name}_accepted), false)"""


def _person(entity: Entity) -> str:
    return "source_key" if entity is USERS else next(link for link, to in entity.links.items() if to == USERS.name)
