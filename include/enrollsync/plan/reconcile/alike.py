"""Which rows say what the record behind their key is already: nearly all, most nights.

One pass over all rows finds them, by a hash of 64 bits of what a row says and of what the record has there. Such a row
is that record's and changes nothing, so that the rules look at the other rows (`<entity>_differing`) and records
(`<entity>_in_question`) alone: what a row may mean besides its key (rules 9 and 10) needs a value that differs.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from enrollsync.database.schema import primary_key
from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest
from enrollsync.words.canonical import BY_NAME, Entity


def find_alike(connection: duckdb.DuckDBPyConnection, entity: Entity, manifest: RunManifest, *, none: bool) -> None:
    """Create `<entity>_behind`, `_differing` and `_in_question` of records; `none`: keys do not say whose rows are."""
    connection.execute(_nobody_behind(entity) if none else _behind(entity, manifest))
    if _some_alike(connection, entity):
        connection.execute(_differing(entity, f"{entity.name}_behind"))
        connection.execute(_in_question(entity))
    else:
        connection.execute(_all_differ(entity))


def compare(connection: duckdb.DuckDBPyConnection, entity: Entity, manifest: RunManifest) -> None:
    """Create `<entity>_compared`, once all such links are resolved."""
    connection.execute(_compared(entity, manifest))


def differ_after_all(connection: duckdb.DuckDBPyConnection, entity: Entity, rows: str) -> None:
    """The rows of the query `rows` have lost a value since: they are not alike any more, once all are assigned."""
    name = entity.name
    connection.execute(f"UPDATE {name}_assigned SET alike = false WHERE source_key IN ({rows})")
    if _some_alike(connection, entity):
        connection.execute(f"DROP TABLE {name}_differing; {_differing(entity, f'{name}_assigned')}")


def _some_alike(connection: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    return bool(engine.one_row(connection, f"SELECT EXISTS (FROM {entity.name}_behind WHERE alike)")[0])


def _behind(entity: Entity, manifest: RunManifest) -> str:
    supplied = _supplied(entity, manifest)
    links = [str(BY_NAME[target].key) for link, target in entity.links.items() if link in supplied]
    means = _hash([str(entity.identifier), *(name for name in entity.values if name in supplied), *links])
    stays = "status IS DISTINCT FROM 'inactive'" if manifest.may_say(entity.name, "status") else "true"
    return f"""
        CREATE TABLE {entity.name}_behind AS
        SELECT new.source_key, new.{entity.identifier}, old.{entity.key},
            coalesce(new.means = old.means, false) AS alike
        FROM (
            SELECT source_key, {entity.identifier}, CASE WHEN {stays} THEN {means} END AS means
            FROM {entity.name}_resolved
        ) AS new
        LEFT JOIN (
            SELECT source_key, {entity.key}, CASE WHEN status = 'active' THEN {means} END AS means
            FROM db_{entity.name}
            WHERE source = getvariable('source')
        ) AS old USING (source_key)"""


def _supplied(entity: Entity, manifest: RunManifest) -> set[str]:
    return {column for column, files in manifest.supplied.get(entity.name, {}).items() if files}


def _hash(values: Iterable[str]) -> str:
    return f"hash({', '.join(values) or 'true'})"


def _nobody_behind(entity: Entity) -> str:
    return f"""
        CREATE TABLE {entity.name}_behind AS
        SELECT source_key, {entity.identifier}, NULL::BIGINT AS {entity.key}, false AS alike
        FROM {entity.name}_resolved"""


def _compared(entity: Entity, manifest: RunManifest) -> str:
    """An inactive or removed link is like none that a row says, and nothing goes where it has no row."""
    keys = ", ".join(primary_key(entity))
    values = _supplied(entity, manifest) & set(entity.values)
    said = {name: f"coalesce(try_cast({name} AS BOOLEAN), false)" for name in entity.of_kind("flag")}
    return f"""
        CREATE TABLE {entity.name}_compared AS
        SELECT {keys}, new.said IS NOT NULL AS said
        FROM (
            SELECT {keys}, {_hash(said.get(name, name) for name in sorted(values))} AS means, true AS said
            FROM {entity.name}_resolved
        ) AS new
        FULL JOIN (
            SELECT {keys},
                CASE
                    WHEN status = 'active' AND source = getvariable('source')
                    THEN {_hash(sorted(values))}
                END AS means
            FROM stored_{entity.name}
        ) AS old USING ({keys})
        WHERE new.means IS DISTINCT FROM old.means"""


def _differing(entity: Entity, rows: str) -> str:
    return f"""
        CREATE TABLE {entity.name}_differing AS
        FROM {entity.name}_resolved
        SEMI JOIN (FROM {rows} WHERE NOT alike) USING (source_key)"""


def _in_question(entity: Entity) -> str:
    return f"""
        CREATE TABLE {entity.name}_in_question AS
        FROM db_{entity.name}
        ANTI JOIN (FROM {entity.name}_behind WHERE alike) USING ({entity.key})"""


def _all_differ(entity: Entity) -> str:
    """A first load copies nothing."""
    return f"""
        CREATE VIEW {entity.name}_differing AS FROM {entity.name}_resolved;
        CREATE VIEW {entity.name}_in_question AS FROM db_{entity.name}"""
