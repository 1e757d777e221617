"""What each known row changes: the record before beside the record after the run, and the operation between both.

Leaves `<entity>_compared`: rows of the base table as they will be, with `COLUMNS`. Rows that change nothing are not in
it. In a snapshot, links that no known row mentions are, as they are and without an operation.
"""

from __future__ import annotations

import duckdb

from enrollsync.database.schema import columns_of, primary_key
from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest
from enrollsync.words.canonical import BY_NAME, ENTITIES, MEMBERSHIPS, Entity

COLUMNS = ("operation", "file", "line", "reason", "explicit")
"""What an operation has besides the row. `reason` is NULL where the batch says so; `explicit`: a row asks for it."""


def plan_changes(connection: duckdb.DuckDBPyConnection, manifest: RunManifest) -> dict[str, int]:
    """Work out what the rows of each entity create or change; returns how many do."""
    changed: dict[str, int] = {}
    connection.execute(_primary_schools(manifest))
    for entity in ENTITIES:
        connection.execute(_compared(entity, manifest))
        planned = f"SELECT count(*) FROM {entity.name}_compared WHERE operation IS NOT NULL"
        changed[entity.name] = engine.one_row(connection, planned)[0]
    return changed


def _primary_schools(manifest: RunManifest) -> str:
    """Each person's primary school: in a delta a new one, else the one that was, else the most frequent."""
    new_first = "known.status IS DISTINCT FROM 'active' DESC," if manifest.mode_of("memberships") == "delta" else ""
    return f"""
        CREATE TABLE primary_schools AS
        SELECT user_key, organization_key, true AS chosen
        FROM memberships_linked AS new
        LEFT JOIN organizations_keys AS organization ON organization.key = organization_key
        LEFT JOIN db_memberships AS known USING (user_key, organization_key){_active_alone(manifest)}
        QUALIFY row_number() OVER (
            PARTITION BY user_key
            ORDER BY {new_first} coalesce(known.is_primary, false) DESC, new.lines DESC, organization.source_key
        ) = 1"""


def _active_alone(manifest: RunManifest) -> str:
    """What the delivery says to be inactive is nobody's primary school."""
    said = ["new.status = 'inactive'"] if manifest.may_say(MEMBERSHIPS.name, "status") else []
    inactive = [*said, *_inactive_ends(MEMBERSHIPS, manifest)]
    return "".join(
        f"""
        {"AND" if place else "WHERE"} NOT coalesce({condition}, false)"""
        for place, condition in enumerate(inactive)
    )


def _compared(entity: Entity, manifest: RunManifest) -> str:
    columns = columns_of(entity)
    old = ", ".join(f"old.{name} AS old_{name}" for name in columns)
    new = ", ".join(f"{_new_value(entity, name, manifest)} AS new_{name}" for name in columns)
    differs = " OR ".join(f"old_{name} IS DISTINCT FROM new_{name}" for name in columns)
    return f"""
        CREATE TABLE {entity.name}_compared AS
        WITH images AS (
            SELECT new.file, new.line, new.line IS NOT NULL AS is_known, old.status IS NULL AS is_new, {new}, {old}
            {_both_sides(entity, manifest)}
        )
        SELECT {_operation(entity, differs)} AS operation, file, line, NULL::VARCHAR AS reason,
            {f"coalesce({_goes()}, false)" if _says_status(entity, manifest) else "false"} AS explicit,
            {", ".join(f"CASE WHEN is_known THEN new_{name} ELSE old_{name} END AS {name}" for name in columns)}
        FROM images
        WHERE (is_new OR NOT is_known OR {differs}){_unless_it_goes(entity, manifest)}"""


def _both_sides(entity: Entity, manifest: RunManifest) -> str:
    """What the batch says beside what the database has."""
    keys = ", ".join(primary_key(entity))
    if entity.key:
        return f"""
            FROM {entity.name}_linked AS new
            JOIN {entity.name}_known USING (source_key)
            LEFT JOIN db_{entity.name} AS old USING ({keys})"""
    # A removed link keeps its row, which the same pair takes again.
    sweeping = manifest.mode_of(entity.name) == "snapshot" and entity.name in manifest.supplied
    primary = f"LEFT JOIN primary_schools USING ({keys})" if entity.name == "memberships" else ""
    return f"""
            FROM {entity.name}_linked AS new
            {"FULL" if sweeping else "LEFT"} JOIN stored_{entity.name} AS old USING ({keys})
            {primary}"""


def _operation(entity: Entity, differs: str) -> str:
    identifier = entity.identifier
    renamed = f"WHEN old_{identifier} <> new_{identifier} THEN 'reidentify'" if identifier else ""
    return f"""CASE
                WHEN NOT is_known THEN NULL
                WHEN is_new THEN 'create'
                WHEN {_goes()} THEN 'deactivate'
                {renamed}
                WHEN old_status = 'removed' OR old_status = 'inactive' AND new_status = 'active' THEN 'reactivate'
                WHEN {differs} THEN 'update'
            END"""


def _goes() -> str:
    """SQL for whether a row says that an active record or link is inactive now."""
    return "old_status = 'active' AND new_status = 'inactive'"


def _unless_it_goes(entity: Entity, manifest: RunManifest) -> str:
    """In a run that deactivates nothing, what a row says to be inactive stays as it is."""
    spared = manifest.adds_only and _says_status(entity, manifest)
    return f" AND NOT coalesce({_goes()}, false)" if spared else ""


def _says_status(entity: Entity, manifest: RunManifest) -> bool:
    """Whether a row may say of a record, or of a link or its ends, that it is inactive."""
    ends = () if entity.key else entity.links.values()
    return any(manifest.may_say(name, "status") for name in (entity.name, *ends))


def _status(entity: Entity, manifest: RunManifest) -> str:
    """A row that does not say otherwise brings an active record; what hangs on an inactive one is inactive too."""
    if not _says_status(entity, manifest):
        return "'active'"
    said = "'active'"
    if manifest.may_say(entity.name, "status"):
        kept = "CASE WHEN list_contains(new.kept, 'status') THEN nullif(old.status, 'removed') END"
        said = f"coalesce(new.status, {kept}, 'active')"
    cases = " ".join(f"WHEN {inactive} THEN 'inactive'" for inactive in _inactive_ends(entity, manifest))
    return f"CASE {cases} ELSE {said} END" if cases else said


def _inactive_ends(entity: Entity, manifest: RunManifest) -> list[str]:
    """SQL for each end of a link of which the delivery may say that it is inactive: whether it does."""
    ends = [BY_NAME[target] for target in entity.links.values() if not entity.key]
    return [
        f"""{end.key} IN (
                SELECT {end.key}
                FROM {end.name}_known
                JOIN {end.name}_accepted USING (source_key)
                WHERE status = 'inactive'
            )"""
        for end in ends
        if manifest.may_say(end.name, "status")
    ]


def _new_value(entity: Entity, name: str, manifest: RunManifest) -> str:
    if name in primary_key(entity):
        return name
    if name == "status":
        return _own(_status(entity, manifest), entity, name)
    if name in {"source", "source_key"}:
        return _own("getvariable('source')" if name == "source" else "new.source_key", entity, name)
    if entity.name == "memberships" and name == "is_primary":
        return _own("coalesce(chosen, false)", entity, name)
    given = f"coalesce(try_cast(new.{name} AS BOOLEAN), false)" if name == "is_primary" else f"new.{name}"
    return _own(_supplied(entity, name, given, manifest), entity, name)


def _own(given: str, entity: Entity, name: str) -> str:
    """The primary source takes over what another one brought; another one leaves alone what the primary brought."""
    return f"""CASE
            WHEN {_had(entity, "source")} <> getvariable('source')
                AND getvariable('source') <> getvariable('primary_source')
            THEN old.{name}
            ELSE {given}
        END"""


def _had(entity: Entity, name: str) -> str:
    """What the views show of the value until now: nothing of a removed link."""
    return f"old.{name}" if entity.key else f"CASE WHEN old.status <> 'removed' THEN old.{name} END"


def _supplied(entity: Entity, name: str, given: str, manifest: RunManifest) -> str:
    """An absent column, or a value that was taken away, keeps what the database has (rule 7)."""
    source_column = next((link for link, target in entity.links.items() if BY_NAME[target].key == name), name)
    files = manifest.supplied.get(entity.name, {}).get(source_column, [])
    every = {file for named in manifest.supplied.get(entity.name, {}).values() for file in named}
    kept = f"coalesce({_had(entity, name)}, false)" if name == "is_primary" else _had(entity, name)
    if not files:
        return kept
    keeps = [f"list_contains(new.kept, '{source_column}') AND new.{source_column} IS NULL"]
    if set(files) != every:
        listed = ", ".join(f"'{file}'" for file in files)
        keeps.append(f"NOT coalesce(list_has_any(new.files, [{listed}]), new.file IN ({listed}))")
    return f"CASE WHEN {' OR '.join(f'({keep})' for keep in keeps)} THEN {kept} ELSE {given} END"
