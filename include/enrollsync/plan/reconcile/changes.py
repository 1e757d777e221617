"""What each known row changes: the record before beside the record after the run, and the operation between both.

Leaves `<entity>_changes`; what changes nothing is not in it.
"""

from __future__ import annotations

import duckdb

from enrollsync.database.schema import columns_of, primary_key
from enrollsync.formats import Format
from enrollsync.plan.reconcile.tables import COMPARED
from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest
from enrollsync.words.canonical import BY_NAME, ENTITIES, MEMBERSHIPS, Entity


def plan_changes(connection: duckdb.DuckDBPyConnection, manifest: RunManifest, declared: Format) -> dict[str, int]:
    """Work out what the rows of each entity create or change, once it is known what goes; returns how many do."""
    changed: dict[str, int] = {}
    for entity in ENTITIES:
        if entity is MEMBERSHIPS:
            connection.execute(_primary_memberships(manifest, declared))
        connection.execute(_changes(entity, manifest))
        planned = f"SELECT count(*) FROM {entity.name}_changes"
        changed[entity.name] = engine.one_row(connection, planned)[0]
    return changed


def _primary_memberships(manifest: RunManifest, declared: Format) -> str:
    """Each person's primary membership: in the primary school, that of the role which the person will have.

    The school is the one that rows call so; in a delta a new one (unless rows name all that somebody has, or any role
    of several), else the one that was, else the most frequent. A role there that stays without a row counts too.
    Who has one alone, which rows name, has no choice.
    """
    called = manifest.may_say(MEMBERSHIPS.name, "is_primary")
    is_called = ", coalesce(CAST(new.is_primary AS BOOLEAN), false) AS is_called" if called else ""
    any_called, called_first = (", bool_or(is_called) AS is_called", "is_called DESC, ") if called else ("", "")
    latest = manifest.mode_of("memberships") == "delta" and declared.names_latest_school
    new_first = "was_primary IS NULL DESC, " if latest else ""
    return f"""
        CREATE TABLE primary_memberships AS
        WITH said AS (
            SELECT user_key, organization_key, role, new.lines{is_called}
            FROM memberships_resolved AS new{_active_alone(manifest)}
        ),
        before AS (
            SELECT user_key, organization_key, role, coalesce(is_primary, false) AS was_primary
            FROM db_memberships
            WHERE status = 'active'
        ),
        several AS (
            SELECT user_key
            FROM said
            GROUP BY user_key
            HAVING count(*) > 1
            UNION
            SELECT user_key
            FROM before
            ANTI JOIN said USING (user_key, organization_key, role)
        ),
        known AS (
            SELECT user_key, organization_key, bool_or(was_primary) AS was_primary
            FROM before
            SEMI JOIN several USING (user_key)
            GROUP BY ALL
        ),
        schools AS (
            SELECT user_key, organization_key
            FROM (
                SELECT user_key, organization_key, sum(lines) AS lines{any_called}
                FROM said
                SEMI JOIN several USING (user_key)
                GROUP BY ALL
            )
            LEFT JOIN known USING (user_key, organization_key)
            LEFT JOIN organizations_lookup AS organization ON organization.key = organization_key
            QUALIFY row_number() OVER (
                PARTITION BY user_key
                ORDER BY {called_first}{new_first}coalesce(was_primary, false) DESC, lines DESC, organization.source_key
            ) = 1
        ),
        roles AS (
            SELECT user_key, organization_key, role, lines
            FROM said
            SEMI JOIN schools USING (user_key, organization_key)
            UNION ALL
            SELECT user_key, organization_key, role, 0
            FROM before
            SEMI JOIN schools USING (user_key, organization_key)
            ANTI JOIN memberships_resolved USING (user_key, organization_key, role)
            ANTI JOIN memberships_departures USING (user_key, organization_key, role)
        ),
        people AS (
            SELECT user_key, coalesce(new.role, old.role) AS own_role
            FROM (SELECT user_key FROM roles GROUP BY user_key HAVING count(*) > 1)
            LEFT JOIN users_changes AS new USING (user_key)
            LEFT JOIN db_users AS old USING (user_key)
        )
        SELECT user_key, organization_key, role, true AS chosen
        FROM roles
        LEFT JOIN people USING (user_key)
        QUALIFY row_number() OVER (
            PARTITION BY user_key
            ORDER BY coalesce(role = own_role, false) DESC, lines DESC, role
        ) = 1
        UNION ALL
        SELECT user_key, organization_key, role, true
        FROM said
        ANTI JOIN several USING (user_key)"""


def _active_alone(manifest: RunManifest) -> str:
    """What the delivery says to be inactive is nobody's primary membership."""
    said = ["new.status = 'inactive'"] if manifest.may_say(MEMBERSHIPS.name, "status") else []
    inactive = [*said, *_inactive_ends(MEMBERSHIPS, manifest)]
    return "".join(
        f"""
        {"AND" if place else "WHERE"} NOT coalesce({condition}, false)"""
        for place, condition in enumerate(inactive)
    )


def _changes(entity: Entity, manifest: RunManifest) -> str:
    """Records as they will be (`new`) beside what they are (`old`). What the primary source brought stays its own."""
    columns = columns_of(entity)
    values = [name for name in columns if name not in primary_key(entity)]
    new = "\n                ".join(f"{_new_value(entity, name, manifest)} AS {name}," for name in values)
    differs = "\n                ".join(f"OR old.{name} IS DISTINCT FROM {name}" for name in values)
    return f"""
        CREATE TABLE {entity.name}_changes AS
        WITH images AS (
            SELECT {", ".join(primary_key(entity))},
                {new}
                new.file, new.line, old
            {_both_sides(entity, manifest)}
        )
        SELECT {_operation(entity)} AS operation, file, line, NULL::VARCHAR AS reason,
            {f"coalesce({_GOES}, false)" if _says_status(entity, manifest) else "false"} AS explicit,
            {engine.listed(columns, 12)}
        FROM images
        WHERE (
                old.status IS NULL
                {differs}
            )
            AND (
                getvariable('source') = getvariable('primary_source')
                OR coalesce({_had(entity, "source")} = getvariable('source'), true)
            ){_unless_it_goes(entity, manifest)}"""


def _both_sides(entity: Entity, manifest: RunManifest) -> str:
    """What the batch says beside what the database has; a pair that comes again takes a removed link's row back."""
    keys = ", ".join(primary_key(entity))
    flags = "".join(
        f", coalesce(list_has_any(files, {files}), file IN {files}) AS {flag}"
        for flag, files in _partial_files(entity, manifest).items()
    )
    rows, stored = f"{entity.name}_{'differing' if entity.key else 'resolved'}", f"stored_{entity.name}"
    if entity in COMPARED and not _says_status(entity, manifest):
        compared = f"SEMI JOIN {entity.name}_compared USING ({keys})"
        rows, stored = f"(FROM {rows} {compared})", f"(FROM {stored} {compared})"
    if flags:
        rows = f"(SELECT *{flags} FROM {rows})"
    if entity.key:
        return f"""FROM {rows} AS new
            JOIN (FROM {entity.name}_assigned WHERE NOT alike) USING (source_key)
            LEFT JOIN db_{entity.name} AS old USING ({keys})"""
    primary = f"\n            LEFT JOIN primary_memberships USING ({keys})" if entity is MEMBERSHIPS else ""
    return f"""FROM {rows} AS new
            LEFT JOIN {stored} AS old USING ({keys}){primary}"""


def _operation(entity: Entity) -> str:
    identifier = entity.identifier
    renamed = f"WHEN old.{identifier} <> {identifier} THEN 'reidentify'\n                " if identifier else ""
    comes_back = "old.status = 'removed' OR old.status = 'inactive' AND images.status = 'active'"
    return f"""CASE
                WHEN old.status IS NULL THEN 'create'
                WHEN {_GOES} THEN 'deactivate'
                {renamed}WHEN {comes_back} THEN 'reactivate'
                ELSE 'update'
            END"""


_GOES = "old.status = 'active' AND images.status = 'inactive'"
"""SQL for whether a row says that an active record or link is inactive now."""


def _unless_it_goes(entity: Entity, manifest: RunManifest) -> str:
    """In a run that deactivates nothing, what a row says to be inactive stays as it is."""
    spared = manifest.adds_only and _says_status(entity, manifest)
    return f" AND NOT coalesce({_GOES}, false)" if spared else ""


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
                FROM {end.name}_assigned
                JOIN {end.name}_accepted USING (source_key)
                WHERE status = 'inactive'
            )"""
        for end in ends
        if manifest.may_say(end.name, "status")
    ]


def _new_value(entity: Entity, name: str, manifest: RunManifest) -> str:
    if name == "status":
        return _status(entity, manifest)
    if name == "source":
        return "getvariable('source')"
    if name == "source_key":
        return "new.source_key"
    if entity is MEMBERSHIPS and name == "is_primary":
        return "coalesce(chosen, false)"
    value = _supplied(entity, name, manifest)
    return f"coalesce({value}, false)" if name in entity.of_kind("flag") else value


def _supplied(entity: Entity, name: str, manifest: RunManifest) -> str:
    """An absent column, or a value that was taken away, keeps what the database has (rule 7)."""
    source_column = next((link for link, target in entity.links.items() if BY_NAME[target].key == name), name)
    files = manifest.supplied.get(entity.name, {}).get(source_column, [])
    had = _had(entity, name)
    if not files:
        return had
    kept = f"list_contains(new.kept, '{source_column}') AND new.{source_column} IS NULL"
    given = f"try_cast(new.{name} AS BOOLEAN)" if name in entity.of_kind("flag") else f"new.{name}"
    flag = _flag(files)
    missing = f"NOT {flag} OR " if flag in _partial_files(entity, manifest) else ""
    return f"""CASE WHEN {missing}{kept}
                    THEN {had}
                    ELSE {given} END"""


def _had(entity: Entity, name: str) -> str:
    """What the views show of the value until now: nothing of a removed link."""
    return f"old.{name}" if entity.key else f"CASE WHEN old.status <> 'removed' THEN old.{name} END"


def _partial_files(entity: Entity, manifest: RunManifest) -> dict[str, str]:
    """What says that a row stands in a file which has a column -> the files, where not all of the entity's have it."""
    supplied = manifest.supplied.get(entity.name, {})
    every = {file for files in supplied.values() for file in files}
    return {_flag(files): _listed(files) for files in supplied.values() if files and set(files) != every}


def _flag(files: list[str]) -> str:
    return "_".join(["in", *(file.partition(".")[0] for file in files)])


def _listed(files: list[str]) -> str:
    return f"[{', '.join(map(engine.literal, files))}]"
