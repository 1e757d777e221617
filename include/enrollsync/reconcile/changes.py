"""What each known row changes: the record after the run beside the record before, and the operation that leads there.

Leaves `<entity>_after` (rows of the base table as they will be, with `operation`) and fills `operations`.
"""

from __future__ import annotations

import duckdb

from enrollsync import engine
from enrollsync.canonical import BY_NAME, ENTITIES, Entity
from enrollsync.database.schema import columns_of, primary_key
from enrollsync.workspace import RunManifest

OPERATIONS_TABLE = """
    CREATE TABLE operations (
        entity VARCHAR, operation VARCHAR, entity_key BIGINT, user_key BIGINT, organization_key BIGINT,
        class_key BIGINT, entity_id VARCHAR, file VARCHAR, line BIGINT, reason VARCHAR, explicit BOOLEAN,
        before_json VARCHAR, after_json VARCHAR
    )"""
"""`entity_key` belongs to a keyed entity; the other keys are both ends of a link. `explicit`: asked for by a row."""


def plan_changes(connection: duckdb.DuckDBPyConnection, manifest: RunManifest) -> dict[str, int]:
    """Work out what the rows of each entity create or change; returns how many do."""
    changed: dict[str, int] = {}
    connection.execute(_primary_schools(manifest))
    for entity in ENTITIES:
        connection.execute(_images(entity, manifest))
        connection.execute(f"CREATE TABLE {entity.name}_after AS {_after(entity)}")
        changed[entity.name] = engine.one_row(connection, f"SELECT count(*) FROM {entity.name}_after")[0]
        connection.execute(_record_operations(entity))
    return changed


def json_of_changes(entity: Entity, side: str) -> str:
    """JSON text of the columns that differ between `old` and `new`, as they are on `side`."""
    differing = ", ".join(
        f"CASE WHEN old_{name} IS DISTINCT FROM new_{name} "
        f"THEN '\"{name}\":' || coalesce(to_json({side}_{name})::VARCHAR, 'null') END"
        for name in columns_of(entity)
        if name not in primary_key(entity)
    )
    return f"'{{' || concat_ws(',', {differing}) || '}}'"


def entity_id(entity: Entity, table: str) -> str:
    """A record's name for people: its identifier, else its source key; both ends for what links two records."""
    if entity.identifier:
        return f"coalesce({table}.{entity.identifier}, {table}.source_key)"
    ends = [f"{name}_names.name" for name in entity.links.values()]
    return " || ' ' || ".join(reversed(ends) if entity.name == "enrollments" else ends)


def operation_keys(entity: Entity, table: str) -> str:
    """The four key columns of an operation."""
    own = f"{table}.{entity.key}" if entity.key else "NULL"
    ends = {BY_NAME[target].key for target in entity.links.values()} if not entity.key else set()
    others = (f"{table}.{key}" if key in ends else "NULL" for key in ("user_key", "organization_key", "class_key"))
    return ", ".join((own, *others))


def names_joined(entity: Entity, table: str) -> str:
    """The joins that `entity_id` needs."""
    if entity.identifier:
        return ""
    return "".join(
        f"""
        LEFT JOIN {name}_names ON {name}_names.key = {table}.{BY_NAME[name].key}"""
        for name in entity.links.values()
    )


def _primary_schools(manifest: RunManifest) -> str:
    """Each person's primary school: in a delta a new one, else the one that was, else the most frequent."""
    new_first = "known.status IS DISTINCT FROM 'active' DESC," if manifest.mode == "delta" else ""
    return f"""
        CREATE TABLE primary_schools AS
        SELECT user_key, organization_key, true AS chosen
        FROM memberships_known AS new
        LEFT JOIN db_memberships AS known USING (user_key, organization_key)
        QUALIFY row_number() OVER (
            PARTITION BY user_key
            ORDER BY {new_first} coalesce(known.is_primary, false) DESC, new.lines DESC, new.organization_source_key
        ) = 1"""


def _images(entity: Entity, manifest: RunManifest) -> str:
    """Known rows with the record before (`old_…`) and after (`new_…`)."""
    keys = primary_key(entity)
    columns = columns_of(entity)
    old = ", ".join(f"old.{name} AS old_{name}" for name in columns)
    new = ", ".join(f"{_new_value(entity, name, manifest)} AS new_{name}" for name in columns)
    primary = "LEFT JOIN primary_schools USING (user_key, organization_key)" if entity.name == "memberships" else ""
    return f"""
        CREATE TABLE {entity.name}_images AS
        SELECT new.file, new.line, old.status IS NULL AS is_new, {new}, {old}
        FROM {entity.name}_known AS new
        LEFT JOIN db_{entity.name} AS old USING ({", ".join(keys)})
        {primary}"""


def _new_value(entity: Entity, name: str, manifest: RunManifest) -> str:
    if name in primary_key(entity):
        return name
    if name == "status":
        return _own("'active'", name)
    if name in {"source", "source_key"}:
        return _own("getvariable('source')" if name == "source" else "new.source_key", name)
    if entity.name == "memberships" and name == "is_primary":
        return _own("coalesce(chosen, false)", name)
    given = f"coalesce(try_cast(new.{name} AS BOOLEAN), false)" if name == "is_primary" else f"new.{name}"
    return _own(_supplied(entity, name, given, manifest), name)


def _own(given: str, name: str) -> str:
    """The primary source takes over what another one brought; another one leaves alone what the primary brought."""
    return f"""CASE
            WHEN old.source <> getvariable('source') AND getvariable('source') <> getvariable('primary_source')
            THEN old.{name}
            ELSE {given}
        END"""


def _supplied(entity: Entity, name: str, given: str, manifest: RunManifest) -> str:
    """An absent column, or a value that was taken away, keeps what the database has (rule 7)."""
    source_column = next((link for link, target in entity.links.items() if BY_NAME[target].key == name), name)
    files = manifest.supplied.get(entity.name, {}).get(source_column, [])
    every = {file for named in manifest.supplied.get(entity.name, {}).values() for file in named}
    if not files:
        return f"coalesce(old.{name}, false)" if name == "is_primary" else f"old.{name}"
    keeps = [f"list_contains(new.kept, '{source_column}') AND new.{source_column} IS NULL"]
    if set(files) != every:
        listed = ", ".join(f"'{file}'" for file in files)
        keeps.append(f"NOT list_has_any(new.files, [{listed}])")
    kept = f"coalesce(old.{name}, false)" if name == "is_primary" else f"old.{name}"
    return f"CASE WHEN {' OR '.join(f'({keep})' for keep in keeps)} THEN {kept} ELSE {given} END"


def _after(entity: Entity) -> str:
    columns = columns_of(entity)
    differs = " OR ".join(f"old_{name} IS DISTINCT FROM new_{name}" for name in columns)
    identifier = entity.identifier
    renamed = f"WHEN old_{identifier} <> new_{identifier} THEN 'reidentify'" if identifier else ""
    return f"""
        SELECT file, line,
            CASE
                WHEN is_new THEN 'create'
                {renamed}
                WHEN old_status = 'inactive' THEN 'reactivate'
                WHEN {differs} THEN 'update'
            END AS operation,
            {", ".join(f"new_{name} AS {name}" for name in columns)},
            CASE WHEN NOT is_new THEN {json_of_changes(entity, "old")} END AS before_json,
            {json_of_changes(entity, "new")} AS after_json
        FROM {entity.name}_images
        WHERE is_new OR {differs}"""


def _record_operations(entity: Entity) -> str:
    names = ""
    if entity.key:
        names = f"""
        CREATE TABLE {entity.name}_names AS
        SELECT coalesce(after.{entity.key}, old.{entity.key}) AS key,
            coalesce(after.{entity.identifier}, old.{entity.identifier}, after.source_key, old.source_key) AS name
        FROM db_{entity.name} AS old
        FULL JOIN {entity.name}_after AS after USING ({entity.key});"""
    return f"""{names}
        INSERT INTO operations
        SELECT '{entity.name}', operation, {operation_keys(entity, "after")}, {entity_id(entity, "after")},
            file, line, 'the batch says so', false, before_json, after_json
        FROM {entity.name}_after AS after{names_joined(entity, "after")}"""
