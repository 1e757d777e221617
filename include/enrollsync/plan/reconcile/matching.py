"""Which accepted row is which record of the database, and which rows must wait for a person (rules 6, 9 and 10).

Keys decide, unless a row is unlike the record behind its key: then it may be another record's row under a new
identifier (rule 9), or somebody new (rule 10). What else a record says is compared later (`changes.py`). What is
made on the way stands in `tables.py`.
"""

from __future__ import annotations

import duckdb

from enrollsync.plan.reconcile.alike import compare, find_alike
from enrollsync.plan.reconcile.clashes import find_clashes
from enrollsync.plan.reconcile.edits import are_kept, with_edited_values
from enrollsync.plan.reconcile.forgotten import find_forgotten
from enrollsync.plan.reconcile.likeness import KINDS_OF_PEOPLE, find_lookalikes, resemblance
from enrollsync.plan.reconcile.merges import (
    OF_PEOPLE,
    are_merged,
    doubled,
    nothing_doubled,
    once,
    removals_left,
    removals_meant,
    with_said,
)
from enrollsync.plan.reconcile.renames import are_named, read_id_changes, renamed_without_a_row, respoken
from enrollsync.plan.reconcile.switching import adopt, is_switch
from enrollsync.plan.reconcile.tables import COMPARED, empty
from enrollsync.plan.reconcile.taken import hold_taken
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, Settle, Workspace
from enrollsync.validate.accept import records
from enrollsync.words.canonical import BY_NAME, ENTITIES, MEMBERSHIPS, USERS, Entity
from enrollsync.words.codes import NO_ROLE


def match_entities(connection: duckdb.DuckDBPyConnection, run: Run, how: str) -> bool:
    """Create the matching tables of all entities, in dependency order; `how`: see `engine.table_or_view`.

    Returns whether the run is the first one under another primary source (`switching.py`).
    """
    workspace, manifest = run.place, run.manifest
    connection.execute(KINDS_OF_PEOPLE)
    connection.execute("SET VARIABLE source = ?", [run.format.source.name])
    connection.execute("SET VARIABLE primary_source = ?", [run.settings.primary_source])
    merged, edited = are_merged(connection), are_kept(connection, run)
    renamed = read_id_changes(connection, run, merged=merged)
    for entity in ENTITIES:
        twice = merged and entity in OF_PEOPLE
        connection.execute(_doubled(entity, workspace) if twice else nothing_doubled(entity))
        connection.execute(_delivered(entity, workspace, how, renamed=renamed, edited=edited, twice=twice))
    connection.execute(f"CREATE TABLE removals AS FROM {engine.parquet(workspace.accepted_table('removals'))}")
    for entity in ENTITIES:
        connection.execute(_removals(entity, renamed=renamed, merged=merged and entity in OF_PEOPLE))
    switches = is_switch(connection)
    for entity in ENTITIES:
        connection.execute(_resolved(entity))
        connection.execute(_dangling(entity, needed=bool(entity.links) and _some_dangle(connection, entity)))
        if entity.key:
            _match(connection, run, entity, switches=switches)
        if entity is USERS:
            find_clashes(connection, manifest)
        if entity in COMPARED:
            compare(connection, entity, manifest)
    return switches


def _match(connection: duckdb.DuckDBPyConnection, run: Run, entity: Entity, *, switches: bool) -> None:
    """Which row is which record of an entity, and which rows wait."""
    manifest = run.manifest
    connection.execute(empty("{entity}_held", entity))
    if switches:
        adopt(connection, entity)
    settle = manifest.settle if manifest.settle and manifest.settle.entity == entity.name else None
    moved = switches or settle is not None or are_named(connection, entity)
    find_alike(connection, entity, manifest, none=moved)
    records = f"{entity.name}_{'addressed' if moved else 'in_question'}"
    connection.execute(_matched(entity, records, switches=switches))
    if settle:
        connection.execute(_settled(entity, settle))
    if settle and settle.record is None:
        connection.execute(empty("{entity}_lookalikes", entity))
    else:
        find_lookalikes(connection, entity, manifest)
    if entity is USERS and manifest.mode_of(entity.name) == "delta" and run.format.may_lack(entity.name, "role"):
        connection.execute(_without_role())
    _hold(connection, entity, manifest)
    connection.execute(_assigned(entity))
    connection.execute(renamed_without_a_row(entity))


def _doubled(entity: Entity, workspace: Workspace) -> str:
    return doubled(entity, respoken(entity, with_said(entity, records(entity, workspace)), entity.columns))


def _delivered(entity: Entity, workspace: Workspace, how: str, *, renamed: bool, edited: bool, twice: bool) -> str:
    """What may load, and every record that the batch mentions at all, rejected ones included.

    `twice`: whether some of its rows say what others do.
    """
    canonical = engine.parquet(workspace.canonical_table(entity.name))
    accepted = records(entity, workspace)
    present = f"""
        SELECT {", ".join(entity.identity)}
        FROM {canonical}
        WHERE {" AND ".join(f"{name} IS NOT NULL" for name in entity.identity)}"""
    if twice:
        accepted = once(entity, accepted)
    if renamed:
        accepted = respoken(entity, accepted, entity.columns)
        present = respoken(entity, present, entity.identity)
    if edited and entity is USERS:
        accepted = with_edited_values(accepted)
    return f"""
        CREATE {how} {entity.name}_accepted AS {accepted};
        CREATE {how} {entity.name}_delivered AS {present};
        {_aside(entity, canonical, workspace, how)}"""


def _aside(entity: Entity, canonical: str, workspace: Workspace, how: str) -> str:
    if entity.key:
        return ""
    aside = workspace.aside_table(entity.name)
    which = f"SEMI JOIN {engine.parquet(aside)} AS aside USING (row_id)" if aside.is_file() else "WHERE false"
    return f"""
        CREATE {how} {entity.name}_aside AS
        SELECT {", ".join(entity.identity)}
        FROM {canonical}
        {which}"""


def _removals(entity: Entity, *, renamed: bool, merged: bool) -> str:
    """What rows ask to be removed of an entity; `merged`: whether its rows may name people who were merged."""
    removals = f"""
        SELECT {", ".join(entity.identity)}, file, line
        FROM removals
        WHERE entity = '{entity.name}'"""
    if merged:
        removals = removals_meant(entity, removals)
    asked = respoken(entity, removals, entity.identity) if renamed else removals
    if merged:
        asked = removals_left(entity, asked)
    return f"""
        CREATE VIEW {entity.name}_removals AS{asked}"""


def _resolved(entity: Entity) -> str:
    """Accepted rows with the keys of what they link to; what hangs on a row that waits waits too."""
    if entity.key:
        keys = "".join(f", {target}_link.key AS {BY_NAME[target].key}" for target in entity.links.values())
        return f"""
        CREATE VIEW {entity.name}_resolved AS
        SELECT new.*{keys}
        FROM {entity.name}_accepted AS new{_links_joined(entity, "LEFT JOIN")}
        WHERE {_all_resolved(entity)}"""
    keys = ", ".join(f"{target}_link.key AS {BY_NAME[target].key}" for target in entity.links.values())
    lines = ", lines" if entity is MEMBERSHIPS else ""
    return f"""
        CREATE TABLE {entity.name}_resolved AS
        SELECT {keys}, {", ".join(entity.values)}, status, file, line{lines}, files, kept
        FROM {entity.name}_accepted AS new{_links_joined(entity, "JOIN")}"""


def _links_joined(entity: Entity, how: str) -> str:
    return "".join(
        f"""
        {how} {target}_lookup AS {target}_link ON {target}_link.source_key = new.{link} AND NOT {target}_link.waits"""
        for link, target in entity.links.items()
    )


def _all_resolved(entity: Entity) -> str:
    found = [f"({link} IS NULL OR {target}_link.key IS NOT NULL)" for link, target in entity.links.items()]
    return "\n            AND ".join(found) or "true"


def _some_dangle(connection: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    """Most nights nothing is, and millions of rows need not be asked why."""
    name = entity.name
    counts = f"SELECT (SELECT count(*) FROM {name}_accepted) > (SELECT count(*) FROM {name}_resolved)"
    return bool(engine.one_row(connection, counts)[0])


def _dangling(entity: Entity, *, needed: bool) -> str:
    """Accepted rows that hang on a row that waits (`waits`), or on nothing that batch or database know."""
    waits = "\n                OR ".join(
        f"coalesce(new.{link} IN (SELECT source_key FROM {target}_unplanned), false)"
        for link, target in entity.links.items()
    )
    return f"""
        CREATE TABLE {entity.name}_dangling AS
        SELECT {", ".join(f"new.{name}" for name in dict.fromkeys((*entity.identity, *entity.links)))}, file, line,
            {waits or "false"} AS waits
        FROM {entity.name}_accepted AS new{_links_joined(entity, "LEFT JOIN")}
        WHERE {f"NOT ({_all_resolved(entity)})" if needed else "false"}"""


def _matched(entity: Entity, records: str, *, switches: bool) -> str:
    """By the source's own key among the `records`; by the identifier where one came from another source (people: of one
    kind), or as it was adopted when the primary source is another one."""
    same_kind = "AND kind_of(others.role) = kind_of(new.role)" if entity is USERS else ""
    unknown = f"own.{entity.key} IS NULL"
    by_identifier = f"""LEFT JOIN others ON others.{entity.identifier} = new.{entity.identifier} AND {unknown}
                {same_kind}"""
    adopted = f"""LEFT JOIN {entity.name}_adopted AS adopted ON adopted.source_key = new.source_key
            LEFT JOIN others ON others.{entity.key} = adopted.key AND {unknown}"""
    flags = ",\n            ".join(f"{condition} AS {flag}" for flag, condition in resemblance(entity).items())
    apart = " AND old.user_key NOT IN (SELECT user_key FROM stored_merges)" if entity is USERS else ""
    return f"""
        CREATE TABLE {entity.name}_matched AS
        WITH others AS (
            SELECT *
            FROM {records}
            WHERE {"true" if switches else f"source <> getvariable('source') AND {entity.identifier} IS NOT NULL"}
        ),
        pairs AS (
            SELECT new.*, CASE WHEN own.{entity.key} IS NULL THEN others ELSE own END AS old
            FROM {entity.name}_differing AS new
            LEFT JOIN {records} AS own ON own.source = getvariable('source') AND own.source_key = new.source_key
            {adopted if switches else by_identifier}
        )
        SELECT source_key, {entity.identifier}, old.{entity.key} AS old_key,
            {flags},
            false AS alike
        FROM pairs AS new
        UNION ALL
        SELECT source_key, {entity.identifier}, {entity.key}, false, false, false, true
        FROM {entity.name}_behind
        WHERE alike;
        CREATE TABLE {entity.name}_without_row AS
        SELECT old.{entity.key}, old.source_key IN (SELECT source_key FROM {entity.name}_delivered) AS rejected
        FROM {entity.name}_in_question AS old
        ANTI JOIN {entity.name}_matched AS matched ON matched.old_key = old.{entity.key}
        ANTI JOIN {entity.name}_in_id_changes AS named ON named.key = old.{entity.key}
        WHERE old.source = getvariable('source'){apart};
        CREATE VIEW {entity.name}_absent AS
        SELECT {entity.key}
        FROM {entity.name}_without_row
        WHERE NOT rejected"""


def _settled(entity: Entity, settle: Settle) -> str:
    """The row is the record's that a person named, or of nobody whom the roster has."""
    name, row = entity.name, f"source_key = {engine.literal(settle.source_key)}"
    if settle.record is None:
        return f"UPDATE {name}_matched SET another = true WHERE {row} AND old_key IS NOT NULL"
    return f"""
        UPDATE {name}_matched
        SET old_key = {settle.record:d}, another = false, stranger = false, unlike = false
        WHERE {row};
        DELETE FROM {name}_without_row
        WHERE {entity.key} = {settle.record:d}"""


def _without_role() -> str:
    """The roster knows the role of whom it has; of nobody new."""
    return f"""
        INSERT INTO users_held
        SELECT source_key, '{NO_ROLE}', NULL
        FROM users_resolved
        SEMI JOIN (FROM users_matched WHERE old_key IS NULL) USING (source_key)
        WHERE role IS NULL AND source_key NOT IN (SELECT source_key FROM users_held)"""


def _hold(connection: duckdb.DuckDBPyConnection, entity: Entity, manifest: RunManifest) -> None:
    if entity is USERS:
        find_forgotten(connection, manifest)
    reasons = f"EXISTS (FROM {entity.name}_lookalikes) OR EXISTS (FROM {entity.name}_renames WHERE fate = 'taken')"
    if engine.one_row(connection, f"SELECT {reasons}")[0]:
        connection.execute(_waiting(entity))
    connection.execute(_candidates(entity))
    connection.execute(_released(entity, manifest))
    hold_taken(connection, entity, manifest)


def _waiting(entity: Entity) -> str:
    """Why a row waits, the first reason that holds: one code a row.

    Where rows that wait may be the record behind another row's key, that row is no reason to change it.
    """
    name = entity.name
    return f"""
        INSERT INTO {name}_held
        WITH ambiguous AS (
            FROM {name}_lookalikes
            WHERE near AND NOT alone
        ),
        reasons AS (
            SELECT new.source_key, 'PLAN-REIDENTIFY-TAKEN' AS code, renamed.key AS old_key, 1 AS place
            FROM {name}_matched AS new
            JOIN {name}_renames AS renamed ON new.source_key IN (renamed.source_key, renamed.new_source_key)
            WHERE fate = 'taken'
            UNION ALL
            SELECT source_key, 'PLAN-AMBIGUOUS', old_key, 2
            FROM ambiguous
            UNION ALL
            SELECT source_key, 'PLAN-AMBIGUOUS', old_key, 3
            FROM {name}_matched
            WHERE unlike AND NOT another AND old_key IN (SELECT old_key FROM ambiguous)
                AND source_key NOT IN (SELECT source_key FROM {name}_lookalikes WHERE alone)
        )
        SELECT source_key, code, old_key
        FROM reasons
        WHERE source_key NOT IN (SELECT source_key FROM {name}_held)
        QUALIFY rank() OVER (PARTITION BY source_key ORDER BY place) = 1"""


def _candidates(entity: Entity) -> str:
    """Rows that do not wait yet, and records that are renamed without a row (`rowless`), with their new identifiers.

    Behind the key of somebody else, or of a record that another row is, a row is a new record's.
    """
    name, identifier = entity.name, entity.identifier
    return f"""
        CREATE TABLE {name}_renamed_alone AS
        SELECT key, renamed.key IS NOT NULL AS goes, new_source_key, new_id
        FROM {name}_in_id_changes
        ANTI JOIN {name}_matched AS matched ON matched.old_key = key
        LEFT JOIN (FROM {name}_renames WHERE fate = 'open') AS renamed USING (key);
        CREATE TABLE {name}_candidates AS
        SELECT new.source_key, new.{identifier}, CASE WHEN another OR found_by.old_key IS NOT NULL THEN found.old_key
                ELSE coalesce(found.old_key, new.old_key) END AS old_key, false AS rowless, false AS alike
        FROM (FROM {name}_matched WHERE NOT alike) AS new
        LEFT JOIN (FROM {name}_lookalikes WHERE alone) AS found USING (source_key)
        LEFT JOIN (FROM {name}_lookalikes WHERE alone) AS found_by ON found_by.old_key = new.old_key
        WHERE source_key NOT IN (SELECT source_key FROM {name}_held)
        UNION ALL
        SELECT source_key, {identifier}, old_key, false, true
        FROM {name}_matched
        WHERE alike AND source_key NOT IN (SELECT source_key FROM {name}_held)
        UNION ALL
        SELECT new_source_key, new_id, key, true, false
        FROM {name}_renamed_alone
        WHERE goes"""


def _released(entity: Entity, manifest: RunManifest) -> str:
    """Records whose identifier passes to somebody new (rule 10), and the rows that take it, where a person lets them.

    A record of which another row speaks that waits keeps its identifier.
    """
    name = entity.name
    return f"""
        CREATE VIEW {name}_released AS
        WITH going AS (
            FROM {name}_candidates
            WHERE source_key NOT IN (SELECT source_key FROM {name}_held)
        )
        SELECT matched.old_key AS key, source_key
        FROM {name}_matched AS matched
        SEMI JOIN (FROM going WHERE old_key IS NULL) USING (source_key)
        WHERE {str(manifest.release).lower()} AND another
            AND matched.old_key NOT IN (SELECT old_key FROM going WHERE old_key IS NOT NULL)
            AND matched.old_key NOT IN (SELECT old_key FROM {name}_held WHERE old_key IS NOT NULL)"""


def _assigned(entity: Entity) -> str:
    """Rows to plan, new ones with fresh keys; and the key of every source key that a row may refer to."""
    name, key = entity.name, entity.key
    return f"""
        CREATE TABLE {name}_assigned AS
        WITH highest AS (
            SELECT coalesce(max({key}), 0) AS used
            FROM stored_{name}
        ),
        going AS (
            SELECT source_key, old_key, alike
            FROM {name}_candidates
            WHERE NOT rowless AND source_key NOT IN (SELECT source_key FROM {name}_held)
        )
        SELECT source_key, old_key, old_key AS {key}, alike
        FROM going
        WHERE old_key IS NOT NULL
        UNION ALL
        SELECT source_key, old_key, used + row_number() OVER (ORDER BY source_key), false
        FROM going, highest
        WHERE old_key IS NULL;
        UPDATE {name}_renamed_alone
        SET goes = false
        WHERE (new_source_key, key) IN (SELECT (source_key, old_key) FROM {name}_held);
        CREATE TABLE {name}_unplanned AS
        SELECT source_key FROM {name}_held
        UNION
        SELECT source_key FROM {name}_dangling;
        CREATE TABLE {name}_lookup AS
        WITH of_no_row AS (
            SELECT old.{key} AS key, coalesce(renamed.new_source_key, old.source_key) AS source_key
            FROM db_{name} AS old
            LEFT JOIN (FROM {name}_renamed_alone WHERE goes) AS renamed ON renamed.key = old.{key}
            ANTI JOIN {name}_assigned USING ({key})
            WHERE old.source = getvariable('source')
        )
        SELECT source_key, {key} AS key, false AS waits
        FROM {name}_assigned
        UNION ALL
        SELECT source_key, key, source_key IN (SELECT source_key FROM {name}_unplanned)
        FROM of_no_row
        WHERE source_key NOT IN (SELECT source_key FROM {name}_assigned)"""
