"""What goes: explicit removals, and in a snapshot the records of this source that the batch does not mention.

Present but invalid is not absent: a record that a rejected or held row may speak of is left alone (section 6). Which
those are is worked out in `doubt.py`.
"""

from __future__ import annotations

import duckdb

from enrollsync.database.schema import primary_key, record_keys
from enrollsync.plan.reconcile.doubt import find_doubtful
from enrollsync.plan.reconcile.tables import COMPARED
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.words.canonical import BETWEEN_TERMS, BY_NAME, CLASSES, ENTITIES, MEMBERSHIPS, USERS, Entity

LET_GO = "its source is no longer the primary one, and a person let it go"
ANOTHER_SCHOOL = "another school became the primary one"
ANOTHER_ROLE = "another role became the primary one"
"""Why a membership is updated of which no row speaks: who is primary moved to it or away from it."""


def find_departures(connection: duckdb.DuckDBPyConnection, run: Run, *, nothing: bool) -> None:
    """Work out what goes, once all rows are matched: `<entity>_departures`; `nothing`: this run lets nobody go."""
    other_roles = bool(engine.one_row(connection, f"SELECT EXISTS ({_in_other_roles(run)})")[0])
    if run.manifest.mode == "snapshot" or other_roles:
        find_doubtful(connection, run.place)
    removing = {name for (name,) in connection.execute("SELECT DISTINCT entity FROM removals").fetchall()}
    for entity in ENTITIES:
        connection.execute(
            _departures(entity, removing, run, other_roles=other_roles and entity is MEMBERSHIPS, nothing=nothing)
        )


def plan_absences(connection: duckdb.DuckDBPyConnection, how: str) -> None:
    """Work out `deactivate` operations: what goes, as it will be, once what rows change is known.

    With them every operation is known: `<entity>_after` has them all, with the rows as they will be.
    """
    for entity in ENTITIES:
        connection.execute(_deactivations(entity))
    connection.execute(_remarked())
    for entity in ENTITIES:
        connection.execute(_after(entity, how))


def _after(entity: Entity, how: str) -> str:
    parts = [f"FROM {entity.name}_changes", f"FROM {entity.name}_deactivations"]
    if entity.key:
        parts.append(f"FROM {entity.name}_reidentifications ANTI JOIN {entity.name}_deactivations USING ({entity.key})")
    if entity is MEMBERSHIPS:
        parts.append("FROM memberships_remarked")
    operations = "\n        UNION ALL BY NAME\n        ".join(parts)
    return f"""
        CREATE {how} {entity.name}_after AS
        {operations}"""


def _departures(entity: Entity, removing: set[str], run: Run, *, other_roles: bool, nothing: bool) -> str:
    manifest = run.manifest
    keys = ", ".join(primary_key(entity))
    sweeping = manifest.mode_of(entity.name) == "snapshot" and entity.name in manifest.supplied
    parts = [_removed(entity)]
    if not entity.key:
        parts += [*_ends_removed(entity, removing), *_ends_gone(entity, explicit=sweeping)]
    if manifest.release and entity.key:
        parts.append(_passed_on(entity))
    if manifest.lets_go:
        parts.append(_former(entity))
    if nothing:
        parts = [f"SELECT * FROM ({part}) WHERE false" for part in parts]
    elif sweeping:
        parts.append(_missing(entity, run))
    elif other_roles:
        parts.append(_former_roles(run))
    return f"""
        CREATE TABLE {entity.name}_departures AS
        SELECT {keys}, bool_or(explicit) AS explicit, any_value(file) AS file, any_value(line) AS line,
            coalesce(max(reason) FILTER (explicit), max(reason)) AS reason
        FROM ({" UNION ALL ".join(parts)})
        GROUP BY ALL"""


def _removed(entity: Entity) -> str:
    """Active records and links that a row asks to be removed; who brought a link may ask it."""
    keys = ", ".join(f"old.{name}" for name in primary_key(entity))
    ends = entity.links if not entity.key else {"source_key": entity.name}
    joins = "".join(
        f"""
        JOIN {target}_lookup ON {target}_lookup.source_key = removal.{link}"""
        for link, target in ends.items()
    )
    same = " AND ".join(
        [f"old.{BY_NAME[target].key} = {target}_lookup.key" for target in ends.values()]
        + [f"coalesce(old.{name} = removal.{name}, true)" for name in entity.told_apart_by]
    )
    ours = "" if entity.key else " AND old.source = getvariable('source')"
    reason = f"the batch removes the {entity.singular}" if entity.key else "the batch removes it"
    return f"""
        SELECT {keys}, true AS explicit, removal.file, removal.line, '{reason}' AS reason
        FROM {entity.name}_removals AS removal{joins}
        JOIN db_{entity.name} AS old ON {same}
        WHERE old.status = 'active'{ours}"""


def _ends_removed(entity: Entity, removing: set[str]) -> list[str]:
    """Active links of records that a row asks to be removed, be these active or not."""
    keys = ", ".join(f"old.{name}" for name in primary_key(entity))
    return [
        f"""
        SELECT {keys}, true AS explicit, removal.file, removal.line, 'the batch removes the {BY_NAME[target].singular}'
        FROM {target}_removals AS removal
        JOIN {target}_lookup AS found ON found.source_key = removal.source_key
        JOIN db_{entity.name} AS old ON old.{BY_NAME[target].key} = found.key
        WHERE old.status = 'active'"""
        for target in entity.links.values()
        if target in removing
    ]


def _ends_gone(entity: Entity, *, explicit: bool) -> list[str]:
    """Active links of records that go; `explicit`: of those alone that a row or a person asks to go, because a sweep of
    the links themselves takes care of the others."""
    keys = ", ".join(f"old.{name}" for name in primary_key(entity))
    return [
        f"""
        SELECT {keys}, gone.explicit, gone.file, gone.line, gone.reason
        FROM {target}_departures AS gone
        JOIN db_{entity.name} AS old USING ({BY_NAME[target].key})
        WHERE old.status = 'active'{" AND gone.explicit" if explicit else ""}"""
        for target in entity.links.values()
    ]


def _passed_on(entity: Entity) -> str:
    """Records whose identifier somebody else has now, because a person let that row through (rule 10)."""
    return f"""
        SELECT released.key, true AS explicit, new.file, new.line, 'its identifier is somebody else''s now' AS reason
        FROM {entity.name}_released AS released
        JOIN {entity.name}_resolved AS new USING (source_key)"""


def _former(entity: Entity) -> str:
    """What a former primary source left behind: active records and links of no row, of students where it has a role.

    Staff may be another source's that is delivered beside the primary one, and nobody asks for them to go.
    """
    keys = ", ".join(f"old.{name}" for name in primary_key(entity))
    theirs = "old.source <> getvariable('source')" + (
        " AND old.role = 'student'" if entity in (USERS, MEMBERSHIPS) else ""
    )
    rows = f"{entity.name}_{'assigned' if entity.key else 'resolved'}"
    return f"""
        SELECT {keys}, true AS explicit, NULL AS file, NULL::BIGINT AS line, '{LET_GO}' AS reason
        FROM db_{entity.name} AS old
        ANTI JOIN {rows} USING ({", ".join(primary_key(entity))})
        WHERE old.status = 'active' AND {theirs} AND getvariable('source') = getvariable('primary_source')"""


def _missing(entity: Entity, run: Run) -> str:
    """Active records of this source that no row mentions, in terms that the batch covers.

    A link goes with either of its ends, even when a rejected row still mentions it.
    """
    ends = "".join(
        f"""
                    OR old.{BY_NAME[target].key} IN (SELECT {BY_NAME[target].key} FROM {target}_departures)"""
        for target in (entity.links.values() if not entity.key else ())
    )
    conditions = [
        "old.status = 'active'",
        "old.source = getvariable('source')",
        f"({_unmentioned(entity)}{ends})",
        *_covered(entity, run),
        *_delivered_roles(entity, run),
    ]
    return _gone(entity, _without_row(entity), conditions, "the batch no longer has it")


def _former_roles(run: Run) -> str:
    """Roles of somebody in a school where rows that say all roles there name others, in a delta."""
    conditions = [_unmentioned(MEMBERSHIPS), *_delivered_roles(MEMBERSHIPS, run)]
    return _gone(MEMBERSHIPS, f"({_in_other_roles(run)})", conditions, "the batch names another role there")


def _in_other_roles(run: Run) -> str:
    """Active memberships of this source, of people whom such rows name in that school in other roles alone, or, where
    they say all that somebody has, elsewhere alone."""
    files = ", ".join(map(engine.literal, run.format.files_of_all_roles)) or "NULL"
    keys, ends = (", ".join(names) for names in (primary_key(MEMBERSHIPS), record_keys(MEMBERSHIPS)))
    if whole := ", ".join(map(engine.literal, run.format.files_of_all_memberships)):
        files, ends = whole, str(USERS.key)
    return f"""
            FROM db_memberships
            SEMI JOIN (FROM memberships_resolved WHERE file IN ({files})) USING ({ends})
            ANTI JOIN memberships_resolved USING ({keys})
            WHERE status = 'active' AND source = getvariable('source')"""


def _gone(entity: Entity, records: str, conditions: list[str], reason: str) -> str:
    """Those of the records that meet the conditions; `<entity>_mentioned` has what a row that waits speaks of."""
    keys = ", ".join(f"old.{name}" for name in primary_key(entity))
    all_of_them = "\n                AND ".join(conditions)
    return f"""
        (
            WITH {entity.name}_mentioned AS ({_mentioned_records(entity) if entity.key else _mentioned_links(entity)})
            SELECT {keys}, false AS explicit, NULL AS file, NULL::BIGINT AS line,
                '{reason}' AS reason
            FROM {records} AS old
            WHERE {all_of_them}
        )"""


def _unmentioned(entity: Entity) -> str:
    return f"NOT EXISTS (FROM {entity.name}_mentioned AS mentioned WHERE {_same_keys('mentioned', entity)})"


def _without_row(entity: Entity) -> str:
    """Records that no row which is planned speaks of."""
    if entity.key:
        return f"(FROM db_{entity.name} SEMI JOIN {entity.name}_absent USING ({entity.key}))"
    keys = ", ".join(primary_key(entity))
    if entity in COMPARED:
        return f"(FROM db_{entity.name} SEMI JOIN (FROM {entity.name}_compared WHERE NOT said) USING ({keys}))"
    return f"(FROM db_{entity.name} ANTI JOIN {entity.name}_resolved USING ({keys}))"


def _same_keys(table: str, entity: Entity) -> str:
    return " AND ".join(f"{table}.{name} = old.{name}" for name in primary_key(entity))


def _mentioned_records(entity: Entity) -> str:
    """Records under another identifier now, records that a row waits for, and those that a damaged line seems to be."""
    key = entity.key
    return f"""
            SELECT {key}
            FROM {entity.name}_assigned
            UNION ALL
            SELECT old_key
            FROM {entity.name}_held
            WHERE old_key IS NOT NULL
            UNION ALL
            SELECT {key}
            FROM {entity.name}_doubtful"""


def _mentioned_links(entity: Entity) -> str:
    """Links that a rejected or waiting row mentions, and all that hang on a record which waits or is doubtful, or of
    which the batch says no more than its new identifier."""
    keys = ", ".join(primary_key(entity))
    doubtful = "".join(
        f"""
            UNION ALL
            SELECT {keys}
            FROM db_{entity.name}
            WHERE {BY_NAME[target].key} IN (
                SELECT {BY_NAME[target].key} FROM {target}_doubtful
                UNION ALL
                SELECT old_key FROM {target}_held
                UNION ALL
                SELECT key FROM {target}_renamed_alone
            )"""
        for target in entity.links.values()
    )
    return f"""
            SELECT {keys}
            FROM {entity.name}_unplanned_pairs{doubtful}
            UNION ALL
            SELECT {keys}
            FROM {entity.name}_doubtful"""


def _covered(entity: Entity, run: Run) -> list[str]:
    """A class without a term is always covered; one with a term that the batch lacks, or that ended, is left alone.

    A delta of classes does not say which terms the links cover; the classes that have some do.
    """
    if CLASSES.name not in {entity.name, *entity.links.values()}:
        return []
    today = run.manifest.as_of.date().isoformat()
    delivered = f"SELECT term FROM {engine.parquet(run.place.canonical_table(CLASSES.name))}"
    if run.manifest.mode_of(CLASSES.name) == "delta":
        delivered += " UNION ALL SELECT term FROM db_classes SEMI JOIN enrollments_resolved USING (class_key)"
    return [f"""old.class_key NOT IN (
                SELECT class_key
                FROM db_classes
                WHERE term IS NOT NULL
                    AND (
                        NOT coalesce(list_has_all(
                            (
                                SELECT list(DISTINCT own)
                                FROM (SELECT unnest(string_split(term, '{BETWEEN_TERMS}')) AS own FROM ({delivered}))
                            ),
                            string_split(term, '{BETWEEN_TERMS}')
                        ), false)
                        OR term_end < '{today}'
                    )
            )"""]  # fmt: skip


def _delivered_roles(entity: Entity, run: Run) -> list[str]:
    """Whose file was not delivered, or has lines that nobody may look into, is left alone."""
    if entity not in (USERS, MEMBERSHIPS):
        return []
    seen = {file.name for file in run.manifest.files if not file.blind}
    roles = [spec.role for spec in run.format.files if spec.role and spec.name not in seen]
    listed = ", ".join(f"'{role}'" for role in roles)
    return [f"old.role NOT IN ({listed})"] if roles else []


def _deactivations(entity: Entity) -> str:
    """Rows as they will be, inactive; a membership is then nobody's primary one."""
    if entity.key:
        return _deactivated_records(entity)
    new = {"status": "'inactive'"} | ({"is_primary": "false"} if entity is MEMBERSHIPS else {})
    changed = ", ".join(f"{value} AS {name}" for name, value in new.items())
    return f"""
        CREATE TABLE {entity.name}_deactivations AS
        SELECT 'deactivate' AS operation, gone.file, gone.line, gone.reason, gone.explicit,
            old.* REPLACE ({changed})
        FROM {entity.name}_departures AS gone
        JOIN db_{entity.name} AS old USING ({", ".join(primary_key(entity))})"""


def _deactivated_records(entity: Entity) -> str:
    """What passes its identifier on has neither that nor its source key any more.

    What the batch renames besides, without a row that speaks of it, goes under its new identifier.
    """
    name, key, identifier = entity.name, str(entity.key), str(entity.identifier)
    freed = f"'released:' || old.{key} || ':' || old.source_key"
    passes = "released.key IS NOT NULL"
    new = {
        "status": "'inactive'",
        "source_key": f"""CASE
                    WHEN {passes} THEN {freed}
                    ELSE coalesce(renamed.source_key, old.source_key)
                END""",
        identifier: f"CASE WHEN NOT {passes} THEN coalesce(renamed.{identifier}, old.{identifier}) END",
    }
    changed = ",\n                ".join(f"{value} AS {column}" for column, value in new.items())
    return f"""
        CREATE TABLE {name}_deactivations AS
        SELECT 'deactivate' AS operation, gone.file, gone.line, gone.reason, gone.explicit,
            old.* REPLACE (
                {changed}
            )
        FROM {name}_departures AS gone
        JOIN db_{name} AS old USING ({key})
        LEFT JOIN {name}_released AS released ON released.key = old.{key}
        LEFT JOIN {name}_reidentifications AS renamed USING ({key})"""


def _remarked() -> str:
    """Memberships that stay without a row: one becomes the primary one, or another does in its place."""
    is_now = "(now.organization_key = old.organization_key AND now.role = old.role)"
    return f"""
        CREATE TABLE memberships_remarked AS
        SELECT 'update' AS operation, NULL::VARCHAR AS file, NULL::BIGINT AS line,
            CASE
                WHEN now.organization_key = old.organization_key THEN '{ANOTHER_ROLE}'
                ELSE '{ANOTHER_SCHOOL}'
            END AS reason, false AS explicit,
            old.* REPLACE ({is_now} AS is_primary)
        FROM db_memberships AS old
        JOIN primary_memberships AS now USING (user_key)
        ANTI JOIN memberships_resolved AS said ON {_same_keys("said", MEMBERSHIPS)}
        ANTI JOIN memberships_departures AS gone ON {_same_keys("gone", MEMBERSHIPS)}
        WHERE old.status = 'active' AND coalesce(old.is_primary, false) <> {is_now}"""
