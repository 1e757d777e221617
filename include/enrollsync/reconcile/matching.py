"""Which accepted row is which record of the database, and which rows must wait for a person (rules 6, 9 and 10).

Only keys are worked with here; what a record says is compared later (`changes.py`). Each keyed entity leaves
`<entity>_known` (source key, the record's key, NULL in `old_key` for a new one), `<entity>_vanished` (keys of this
source's records that the batch does not mention), `<entity>_held` (source key, code) and `<entity>_keys` (every source
key that a row may refer to). Links leave `<entity>_linked`. Rows that refer to nothing, or to a row that waits, are
`<entity>_unlinked`.
"""

from __future__ import annotations

import duckdb

from enrollsync import engine
from enrollsync.accept import records
from enrollsync.canonical import BY_NAME, CLASSES, ENTITIES, KINDS, MEMBERSHIPS, ORGANIZATIONS, USERS, Entity
from enrollsync.settings import District
from enrollsync.workspace import RunManifest, Workspace

_COMPARED = ("user_district_id", "user_state_id", "given_name", "middle_name", "family_name", "email", "grade",
             "birth_date")  # fmt: skip


def match_entities(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, manifest: RunManifest, district: District
) -> None:
    """Create the matching tables of all entities, in dependency order."""
    connection.execute("SET VARIABLE source = ?", [manifest.format])
    connection.execute("SET VARIABLE primary_source = ?", [district.primary_source])
    for entity in ENTITIES:
        connection.execute(_delivered(entity, workspace))
    for entity in ENTITIES:
        connection.execute(_linked(entity))
        connection.execute(_unlinked(entity, needed=bool(entity.links) and _some_unlinked(connection, entity)))
        connection.execute(f"CREATE TABLE {entity.name}_held (source_key VARCHAR, code VARCHAR, old_key BIGINT)")
        if entity.key:
            connection.execute(_matched(entity))
            _find_lookalikes(connection, entity, manifest)
            _hold(connection, entity)
            connection.execute(_known(entity))


def _delivered(entity: Entity, workspace: Workspace) -> str:
    """What may load, and every record that the batch mentions at all, rejected ones included."""
    canonical = engine.parquet(workspace.canonical_table(entity.name))
    return f"""
        CREATE VIEW {entity.name}_accepted AS {records(entity, workspace)};
        CREATE VIEW {entity.name}_present AS
        SELECT {", ".join(entity.identity)}
        FROM {canonical}
        WHERE {" AND ".join(f"{name} IS NOT NULL" for name in entity.identity)};
        CREATE VIEW {entity.name}_set_aside AS
        FROM {canonical} AS given
        SEMI JOIN {engine.parquet(workspace.aside_table(entity.name))} AS aside USING (row_id)"""


def _linked(entity: Entity) -> str:
    """Accepted rows with the keys of what they link to; what hangs on a row that waits waits too."""
    if entity.key:
        keys = "".join(f", {target}_link.key AS {BY_NAME[target].key}" for target in entity.links.values())
        return f"""
        CREATE VIEW {entity.name}_linked AS
        SELECT new.*{keys}
        FROM {entity.name}_accepted AS new{_links_joined(entity, "LEFT JOIN")}
        WHERE {_all_linked(entity)}"""
    keys = ", ".join(f"{target}_link.key AS {BY_NAME[target].key}" for target in entity.links.values())
    lines = ", lines" if entity is MEMBERSHIPS else ""
    return f"""
        CREATE TABLE {entity.name}_linked AS
        SELECT {keys}, {", ".join(entity.values)}, file, line{lines}, files, kept
        FROM {entity.name}_accepted AS new{_links_joined(entity, "JOIN")}"""


def _links_joined(entity: Entity, how: str) -> str:
    return "".join(
        f"""
        {how} {target}_keys AS {target}_link ON {target}_link.source_key = new.{link} AND NOT {target}_link.waits"""
        for link, target in entity.links.items()
    )


def _all_linked(entity: Entity) -> str:
    found = [f"({link} IS NULL OR {target}_link.key IS NOT NULL)" for link, target in entity.links.items()]
    return " AND ".join(found) or "true"


def _some_unlinked(connection: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    """Most nights nothing is, and millions of rows need not be asked why."""
    name = entity.name
    counts = f"SELECT (SELECT count(*) FROM {name}_accepted) > (SELECT count(*) FROM {name}_linked)"
    return bool(engine.one_row(connection, counts)[0])


def _unlinked(entity: Entity, *, needed: bool) -> str:
    """Accepted rows that hang on a row that waits (`waits`), or on nothing that batch or database know."""
    waits = " OR ".join(
        f"coalesce(new.{link} IN (SELECT source_key FROM {target}_waiting), false)"
        for link, target in entity.links.items()
    )
    return f"""
        CREATE TABLE {entity.name}_unlinked AS
        SELECT {", ".join(f"new.{name}" for name in dict.fromkeys((*entity.identity, *entity.links)))}, file, line,
            {waits or "false"} AS waits
        FROM {entity.name}_accepted AS new{_links_joined(entity, "LEFT JOIN")}
        WHERE {f"NOT ({_all_linked(entity)})" if needed else "false"}"""


def _matched(entity: Entity) -> str:
    """By the source's own key; by the identifier where the record came from another source (people: of one kind).

    `another` is rule 10: both names differ, and birth date or email differs, counting only what both sides have.
    """
    same_kind = f"AND {_kind('others')} = {_kind('new')}" if entity is USERS else ""
    old_key = f"coalesce(own.{entity.key}, others.{entity.key})"
    return f"""
        CREATE TABLE {entity.name}_matched AS
        WITH others AS (
            SELECT *
            FROM db_{entity.name}
            WHERE source <> getvariable('source') AND {entity.identifier} IS NOT NULL
        )
        SELECT new.source_key, new.{entity.identifier}, {old_key} AS old_key,
            {_another_person() if entity is USERS else "false"} AS another
        FROM {entity.name}_linked AS new
        LEFT JOIN db_{entity.name} AS own ON own.source = getvariable('source') AND own.source_key = new.source_key
        LEFT JOIN others ON others.{entity.identifier} = new.{entity.identifier} AND own.{entity.key} IS NULL
            {same_kind};
        CREATE TABLE {entity.name}_vanished AS
        SELECT old.{entity.key}
        FROM db_{entity.name} AS old
        ANTI JOIN {entity.name}_matched AS matched ON matched.old_key = old.{entity.key}
        ANTI JOIN {entity.name}_present AS present ON present.source_key = old.source_key
        WHERE old.source = getvariable('source')"""


def _another_person() -> str:
    def differs(name: str) -> str:
        return f"coalesce(lower(new.{name}) <> lower(coalesce(own.{name}, others.{name})), false)"

    names = " AND ".join(map(differs, ("given_name", "family_name")))
    return f"{names} AND ({' OR '.join(map(differs, ('birth_date', 'email')))})"


def _find_lookalikes(connection: duckdb.DuckDBPyConnection, entity: Entity, manifest: RunManifest) -> None:
    """Pairs of a row that nobody knows and a record that the batch does not mention, and whether they fit exactly."""
    name = entity.name
    possible = f"SELECT EXISTS (FROM {name}_vanished) AND EXISTS (FROM {name}_matched WHERE old_key IS NULL)"
    if engine.one_row(connection, possible)[0]:
        connection.execute(_lookalikes(entity, manifest))
    else:
        connection.execute(f"CREATE TABLE {name}_lookalikes (source_key VARCHAR, old_key BIGINT, alone BOOLEAN)")


def _lookalikes(entity: Entity, manifest: RunManifest) -> str:
    queries = {
        USERS.name: _similar_users(manifest),
        CLASSES.name: _similar_classes(),
        ORGANIZATIONS.name: _similar_organizations(),
    }
    return f"""
        CREATE TABLE {entity.name}_lookalikes AS
        WITH newcomers AS (
            FROM {entity.name}_linked
            SEMI JOIN (FROM {entity.name}_matched WHERE old_key IS NULL) USING (source_key)
        ),
        vanished AS (
            FROM db_{entity.name}
            SEMI JOIN {entity.name}_vanished USING ({entity.key})
        ),
        {queries[entity.name]}
        SELECT source_key, old_key,
            fits AND count(*) OVER (PARTITION BY source_key) = 1 AND count(*) OVER (PARTITION BY old_key) = 1 AS alone
        FROM pairs"""


def _similar_users(manifest: RunManifest) -> str:
    """Same name and one strong value; a fit differs in the identifier alone and shares a school (rule 9b)."""
    supplied = manifest.supplied.get("users", {})
    same = " AND ".join(f"new.{name} IS NOT DISTINCT FROM old.{name}" for name in _COMPARED if name in supplied)
    strong = ("birth_date", "user_district_id", "user_state_id")
    names = "lower(new.given_name) = lower(old.given_name) AND lower(new.family_name) = lower(old.family_name)"
    candidates = " UNION ".join(
        f"""
            SELECT new.source_key, old.user_key
            FROM newcomers AS new
            JOIN vanished AS old ON {names} AND new.{name} = old.{name}"""
        for name in strong
    )
    return f"""
        shared_emails AS (
            SELECT lower(email) AS address
            FROM users_linked
            WHERE email IS NOT NULL
            GROUP BY ALL
            HAVING count(*) > 1
        ),
        candidates AS ({candidates}
            UNION
            SELECT new.source_key, old.user_key
            FROM newcomers AS new
            JOIN vanished AS old ON {names} AND lower(new.email) = lower(old.email)
            WHERE lower(new.email) NOT IN (FROM shared_emails)
        ),
        schoolmates AS (
            SELECT DISTINCT candidates.source_key, user_key
            FROM candidates
            JOIN memberships_accepted AS new ON new.user_source_key = candidates.source_key
            JOIN organizations_keys AS organization ON organization.source_key = new.organization_source_key
            JOIN db_memberships AS old USING (user_key)
            WHERE old.organization_key = organization.key AND old.status = 'active'
        ),
        pairs AS (
            SELECT candidates.source_key, old.user_key AS old_key,
                {same or "true"}
                    AND {_kind("new")} = {_kind("old")}
                    AND old.status = 'active'
                    AND schoolmates.source_key IS NOT NULL AS fits
            FROM candidates
            JOIN newcomers AS new ON new.source_key = candidates.source_key
            JOIN vanished AS old ON old.user_key = candidates.user_key
            LEFT JOIN schoolmates ON schoolmates.source_key = candidates.source_key
                AND schoolmates.user_key = candidates.user_key
        )"""


def _kind(table: str) -> str:
    cases = " ".join(f"WHEN '{role}' THEN '{kind}'" for role, kind in KINDS.items())
    return f"CASE {table}.role {cases} END"


def _similar_classes() -> str:
    """Same school, name, course, period and term, and a person in common: held until rule 9 is built for classes."""
    same = " AND ".join(
        f"new.{name} IS NOT DISTINCT FROM old.{name}" for name in ("course_code", "period", "term", "organization_key")
    )
    return f"""
        pairs AS (
            SELECT DISTINCT new.source_key, old.class_key AS old_key, false AS fits
            FROM newcomers AS new
            JOIN vanished AS old ON new.name = old.name AND {same}
            JOIN enrollments_accepted AS person
                ON person.class_source_key = new.source_key
            JOIN users_keys ON users_keys.source_key = person.user_source_key
            JOIN db_enrollments AS enrolled
                ON enrolled.class_key = old.class_key AND enrolled.user_key = users_keys.key
            WHERE old.status = 'active'
        )"""


def _similar_organizations() -> str:
    """Same name and type: held until rule 9 is built for organizations."""
    return """
        pairs AS (
            SELECT new.source_key, old.organization_key AS old_key, false AS fits
            FROM newcomers AS new
            JOIN vanished AS old ON new.name = old.name AND new.type = old.type
            WHERE old.status = 'active'
        )"""


def _hold(connection: duckdb.DuckDBPyConnection, entity: Entity) -> None:
    name = entity.name
    connection.execute(f"""
        INSERT INTO {name}_held
        SELECT source_key, 'PLAN-AMBIGUOUS', old_key
        FROM {name}_lookalikes
        WHERE NOT alone
        UNION ALL
        SELECT source_key, 'PLAN-RECYCLED', old_key
        FROM {name}_matched
        WHERE another;
        CREATE TABLE {name}_candidates AS
        SELECT new.source_key, new.{entity.identifier}, coalesce(new.old_key, found.old_key) AS old_key
        FROM {name}_matched AS new
        LEFT JOIN (FROM {name}_lookalikes WHERE alone) AS found USING (source_key)
        WHERE source_key NOT IN (SELECT source_key FROM {name}_held)""")
    # Holding one record can keep its identifier from another, so look again until nothing more is held.
    while connection.execute(_taken(entity)).fetchall():
        pass


def _taken(entity: Entity) -> str:
    """Hold the rows whose new identifier another record keeps (rule 9)."""
    name, identifier, key = entity.name, entity.identifier, entity.key
    return f"""
        INSERT INTO {name}_held
        WITH going AS (
            SELECT source_key, {identifier}, old_key
            FROM {name}_candidates
            WHERE source_key NOT IN (SELECT source_key FROM {name}_held)
        ),
        claims AS (
            SELECT going.*
            FROM going
            LEFT JOIN db_{name} AS old ON old.{key} = going.old_key
            WHERE going.{identifier} IS NOT NULL AND going.{identifier} IS DISTINCT FROM old.{identifier}
        ),
        kept AS (
            SELECT old.{identifier}
            FROM db_{name} AS old
            SEMI JOIN claims USING ({identifier})
            LEFT JOIN going ON going.old_key = old.{key}
            WHERE going.old_key IS NULL OR going.{identifier} IS NOT DISTINCT FROM old.{identifier}
        )
        SELECT claims.source_key, 'PLAN-REIDENTIFY-TAKEN', claims.old_key
        FROM claims
        JOIN kept USING ({identifier})
        RETURNING source_key"""


def _known(entity: Entity) -> str:
    """Rows to plan, new ones with fresh keys; and the key of every source key that a row may refer to."""
    name, key = entity.name, entity.key
    return f"""
        CREATE TABLE {name}_known AS
        WITH highest AS (
            SELECT coalesce(max({key}), 0) AS used
            FROM stored_{name}
        ),
        going AS (
            SELECT source_key, old_key
            FROM {name}_candidates
            WHERE source_key NOT IN (SELECT source_key FROM {name}_held)
        )
        SELECT source_key, old_key, old_key AS {key}
        FROM going
        WHERE old_key IS NOT NULL
        UNION ALL
        SELECT source_key, old_key, used + row_number() OVER (ORDER BY source_key)
        FROM going, highest
        WHERE old_key IS NULL;
        CREATE TABLE {name}_waiting AS
        SELECT source_key FROM {name}_held
        UNION
        SELECT source_key FROM {name}_unlinked;
        CREATE TABLE {name}_keys AS
        SELECT source_key, {key} AS key, false AS waits
        FROM {name}_known
        UNION ALL
        SELECT source_key, {key}, source_key IN (SELECT source_key FROM {name}_waiting)
        FROM db_{name}
        ANTI JOIN {name}_known USING ({key})
        WHERE source = getvariable('source') AND source_key NOT IN (SELECT source_key FROM {name}_known)"""
