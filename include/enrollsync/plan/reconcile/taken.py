"""Whether what a row brings as its identifier is free, or given up by whoever has it; else the row waits (rule 9).

A row that would get what somebody has depends on the row of that record: that must get something else itself. So rows
form chains, which end at an identifier that is free or at one that is kept, and cycles, which do not end. What is kept
in the end is kept for the whole chain. All chains are followed at once, doubling the steps, so that a file whose
identifiers are off by one line costs no more than another.

Source keys are followed like identifiers: where they are not the same, both have to be free.
"""

from __future__ import annotations

import duckdb

from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest
from enrollsync.words.canonical import Entity


def hold_taken(connection: duckdb.DuckDBPyConnection, entity: Entity, manifest: RunManifest) -> None:
    """Hold the candidates that cannot have what they bring, and leave `<entity>_claims`: those that bring something."""
    words = (str(entity.identifier), "source_key")
    connection.execute(_claims(entity))
    if not engine.one_row(connection, f"SELECT EXISTS (FROM {entity.name}_claims)")[0]:
        return
    for word in words:
        connection.execute(_contested(entity, word))
    # A row that waits for one word gives the other one up no more.
    while any([_hold_kept(connection, entity, word, manifest) for word in words]):
        pass


def _claims(entity: Entity) -> str:
    """Candidates, with the identifier and the source key that are new for their record; NULL what is not."""
    name, identifier = entity.name, entity.identifier

    def new(word: str) -> str:
        return f"CASE WHEN going.{word} IS DISTINCT FROM old.{word} THEN going.{word} END AS new_{word}"

    return f"""
        CREATE TABLE {name}_claims AS
        SELECT going.source_key, old_key,
            {new(str(identifier))},
            {new("source_key")}
        FROM (FROM {name}_candidates WHERE NOT alike) AS going
        LEFT JOIN db_{name} AS old ON old.{entity.key} = old_key
        WHERE new_{identifier} IS NOT NULL OR new_source_key IS NOT NULL"""


def _contested(entity: Entity, word: str) -> str:
    """Claims to what a record has (`holder`), and the row with which it would give that up (`leaver`; NULL: none)."""
    name, key = entity.name, entity.key
    of_this_source = "AND holder.source = getvariable('source')" if word == "source_key" else ""
    return f"""
        CREATE TABLE {name}_contested_{word} AS
        SELECT claims.source_key, holder.{key} AS holder, leaver.source_key AS leaver
        FROM {name}_claims AS claims
        JOIN db_{name} AS holder ON holder.{word} = claims.new_{word} {of_this_source}
        LEFT JOIN (FROM {name}_candidates WHERE NOT alike) AS leaver ON leaver.old_key = holder.{key}
            AND leaver.{word} IS DISTINCT FROM holder.{word}"""


def _hold_kept(connection: duckdb.DuckDBPyConnection, entity: Entity, word: str, manifest: RunManifest) -> bool:
    """Hold the claims whose chain ends where it is kept; returns whether there were any."""
    chains = f"{entity.name}_chains"
    connection.execute(_chains(entity, word))
    (followed,) = engine.one_row(connection, f"SELECT count(next) FROM {chains}")
    for _ in range(int(followed).bit_length()):
        connection.execute(f"""
            CREATE OR REPLACE TABLE {chains} AS
            SELECT this.source_key, further.next, this.kept OR coalesce(further.kept, false) AS kept
            FROM {chains} AS this
            LEFT JOIN {chains} AS further ON further.source_key = this.next""")
    return bool(connection.execute(_kept(entity, word, manifest)).fetchall())


def _chains(entity: Entity, word: str) -> str:
    name = entity.name
    return f"""
        CREATE OR REPLACE TABLE {name}_chains AS
        WITH present AS (
            SELECT source_key, holder,
                CASE WHEN leaver NOT IN (SELECT source_key FROM {name}_held) THEN leaver END AS next
            FROM {name}_contested_{word}
            WHERE source_key NOT IN (SELECT source_key FROM {name}_held)
        )
        SELECT source_key, next, next IS NULL AND holder NOT IN (SELECT key FROM {name}_released) AS kept
        FROM present"""


def _kept(entity: Entity, word: str, manifest: RunManifest) -> str:
    """Who brings what is kept, or what somebody else brings as well, waits. Rule 10 names those whom rule 9 does not
    explain: a row that fits nobody, behind the identifier of another person."""
    name = entity.name
    recycled = "false" if manifest.release else "another AND claims.old_key IS NULL"
    return f"""
        INSERT INTO {name}_held
        WITH going AS (
            FROM {name}_claims
            ANTI JOIN {name}_held USING (source_key)
        ),
        doubled AS (
            SELECT new_{word}
            FROM going
            WHERE new_{word} IS NOT NULL
            GROUP BY ALL
            HAVING count(*) > 1
        )
        SELECT claims.source_key,
            CASE WHEN {recycled} THEN 'PLAN-RECYCLED' ELSE 'PLAN-REIDENTIFY-TAKEN' END,
            coalesce(claims.old_key, matched.old_key)
        FROM going AS claims
        LEFT JOIN {name}_matched AS matched USING (source_key)
        WHERE claims.new_{word} IN (FROM doubled)
            OR claims.source_key IN (SELECT source_key FROM {name}_chains WHERE kept)
        RETURNING source_key"""
