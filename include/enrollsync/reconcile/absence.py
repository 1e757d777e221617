"""What goes: explicit removals, and in a snapshot the records of this source that the batch does not mention.

Present but invalid is not absent: a record that a rejected or held row may speak of is left alone (section 6).
"""

from __future__ import annotations

import duckdb

from enrollsync import engine
from enrollsync.canonical import BY_NAME, ENTITIES, ID_CHANGES, Entity
from enrollsync.database.schema import columns_of, primary_key
from enrollsync.formats import FORMATS
from enrollsync.workspace import RunManifest, Workspace


def plan_absences(connection: duckdb.DuckDBPyConnection, workspace: Workspace, manifest: RunManifest) -> None:
    """Work out `deactivate` operations; leaves for each entity `<entity>_gone` (keys, explicit, file, line, reason).

    With them every operation is known: `<entity>_after` has them all, with the rows as they will be.
    """
    if manifest.mode == "snapshot":
        for entity in ENTITIES:
            connection.execute(_spoken_of(entity))
        rejected = _rejected_lines(connection, workspace)
        connection.execute(_doubtful_words(workspace) if rejected else _nothing_doubtful())
    for entity in ENTITIES:
        connection.execute(_gone(entity, manifest, workspace))
        connection.execute(_deactivations(entity))
    connection.execute(_former_primary_schools())
    for entity in ENTITIES:
        connection.execute(_after(entity))


def _after(entity: Entity) -> str:
    parts = [f"FROM {entity.name}_compared WHERE operation IS NOT NULL", f"FROM {entity.name}_deactivated"]
    if entity.key:
        parts.append(f"FROM {entity.name}_reidentified")
    if entity.name == "memberships":
        parts.append("FROM former_primary")
    return f"CREATE VIEW {entity.name}_after AS {' UNION ALL BY NAME '.join(parts)}"


def _rejected_lines(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> int:
    query = f"SELECT count(*) FROM {engine.parquet(workspace.accepted_table('rejected'))}"
    return int(engine.one_row(connection, query)[0])


def _gone(entity: Entity, manifest: RunManifest, workspace: Workspace) -> str:
    keys = ", ".join(primary_key(entity))
    parts = [_removed(entity, workspace)]
    if entity.key:
        parts.append(_passed_on(entity))
    if manifest.mode == "snapshot" and entity.name in manifest.supplied:
        parts.append(_missing(entity, manifest, workspace))
    return f"""
        CREATE TABLE {entity.name}_gone AS
        SELECT {keys}, bool_or(explicit) AS explicit, any_value(file) AS file, any_value(line) AS line,
            max(reason) AS reason
        FROM ({" UNION ALL ".join(parts)})
        GROUP BY ALL"""


def _removed(entity: Entity, workspace: Workspace) -> str:
    """A removed class takes its enrollments with it."""
    if entity.name not in {"classes", "enrollments"}:
        keys = ", ".join(f"NULL::BIGINT AS {name}" for name in primary_key(entity))
        return f"SELECT {keys}, true AS explicit, '' AS file, 0::BIGINT AS line, '' AS reason WHERE false"
    keys = ", ".join(f"old.{name}" for name in primary_key(entity))
    return f"""
        SELECT {keys}, true AS explicit, removal.file, removal.line, 'the batch removes the class' AS reason
        FROM {engine.parquet(workspace.accepted_table("removals"))} AS removal
        JOIN classes_keys ON classes_keys.source_key = removal.source_key
        JOIN db_{entity.name} AS old ON old.class_key = classes_keys.key
        WHERE old.status = 'active'"""


def _passed_on(entity: Entity) -> str:
    """Records whose identifier somebody else has now, because a person let that row through (rule 10)."""
    return f"""
        SELECT released.key, true AS explicit, new.file, new.line, 'its identifier is somebody else''s now' AS reason
        FROM {entity.name}_released AS released
        JOIN {entity.name}_linked AS new USING (source_key)"""


def _missing(entity: Entity, manifest: RunManifest, workspace: Workspace) -> str:
    """Active records of this source that no row mentions, in terms that the batch covers.

    A link goes with either of its ends, even when a rejected row still mentions it.
    """
    keys = ", ".join(f"old.{name}" for name in primary_key(entity))
    unmentioned = f"NOT EXISTS (FROM {entity.name}_mentioned AS mentioned WHERE {_same_keys(entity)})"
    ends = "".join(
        f" OR old.{BY_NAME[target].key} IN (SELECT {BY_NAME[target].key} FROM {target}_gone)"
        for target in (entity.links.values() if not entity.key else ())
    )
    conditions = [
        "old.status = 'active'",
        "old.source = getvariable('source')",
        f"({unmentioned}{ends})",
        *_covered(entity, manifest, workspace),
        *_delivered_roles(entity, manifest),
    ]
    return f"""
        (
            WITH {entity.name}_mentioned AS ({_mentioned_records(entity) if entity.key else _mentioned_links(entity)})
            SELECT {keys}, false AS explicit, NULL AS file, NULL::BIGINT AS line,
                'the batch no longer has it' AS reason
            FROM {_unmatched(entity)} AS old
            WHERE {" AND ".join(conditions)}
        )"""


def _unmatched(entity: Entity) -> str:
    """Records that no row which is planned speaks of."""
    if entity.key:
        return f"(FROM db_{entity.name} SEMI JOIN {entity.name}_vanished USING ({entity.key}))"
    return f"(FROM {entity.name}_compared WHERE operation IS NULL)"


def _same_keys(entity: Entity) -> str:
    return " AND ".join(f"mentioned.{name} = old.{name}" for name in primary_key(entity))


def _mentioned_records(entity: Entity) -> str:
    """Records under another identifier now, records that a row waits for, and those that a damaged line seems to be."""
    key = entity.key
    return f"""
            SELECT {key}
            FROM {entity.name}_known
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
                SELECT key FROM {target}_unsaid
            )"""
        for target in entity.links.values()
    )
    return f"""
            SELECT {keys}
            FROM {entity.name}_spoken_of{doubtful}
            UNION ALL
            SELECT {keys}
            FROM {entity.name}_doubtful"""


def _spoken_of(entity: Entity) -> str:
    """For links: those of which a row speaks that is not planned as it stands, by any identifier their ends ever had.

    For records, the identifiers that they ever had.
    """
    if entity.key:
        return _ever(entity)
    links = ", ".join(entity.links)
    joins = "".join(
        f"""
        JOIN {target}_ever ON {target}_ever.source_key = unplanned.{link}"""
        for link, target in entity.links.items()
    )
    found = ", ".join(f"{target}_ever.key AS {BY_NAME[target].key}" for target in entity.links.values())
    return f"""
        CREATE TABLE {entity.name}_spoken_of AS
        WITH unplanned AS (
            SELECT {links} FROM {entity.name}_set_aside
            UNION
            SELECT {links} FROM {entity.name}_unlinked
        )
        SELECT {found}
        FROM unplanned{joins}"""


def _covered(entity: Entity, manifest: RunManifest, workspace: Workspace) -> list[str]:
    """A class without a term is always covered; a term that the batch lacks, or that has ended, is left alone."""
    if entity.name not in {"classes", "enrollments"}:
        return []
    today = manifest.as_of.date().isoformat()
    delivered = engine.parquet(workspace.canonical_table("classes"))
    return [f"""old.class_key NOT IN (
                SELECT class_key
                FROM db_classes
                WHERE term IS NOT NULL
                    AND (
                        term NOT IN (SELECT term FROM {delivered} WHERE term IS NOT NULL)
                        OR term_end < '{today}'
                    )
            )"""]  # fmt: skip


def _delivered_roles(entity: Entity, manifest: RunManifest) -> list[str]:
    """Whose file was not delivered, or has lines that nobody may look into, is left alone."""
    if entity.name not in {"users", "memberships"}:
        return []
    seen = {file.name for file in manifest.files if not file.blind}
    roles = [spec.role for spec in FORMATS[manifest.format or ""].files if spec.role and spec.name not in seen]
    listed = ", ".join(f"'{role}'" for role in roles)
    return [f"old.role NOT IN ({listed})"] if roles else []


def _doubtful_words(workspace: Workspace) -> str:
    """The words on lines that were rejected, and the records of the database that one of these lines may mean.

    A damaged line may have lost its identifier, so names, emails and secondary IDs speak for a record too.
    """
    doubtful = "\n".join(_doubtful(entity) for entity in ENTITIES)
    return f"""
        CREATE TABLE words AS
        SELECT DISTINCT entity, file, line, lower(trim(word, ' "')) AS word
        FROM (
            SELECT entity, file, line,
                unnest(string_split(raw, ',') || regexp_split_to_array(raw, '[,;\\s"]+')) AS word
            FROM {engine.parquet(workspace.accepted_table("rejected"))}
        );
        {doubtful}"""


def _nothing_doubtful() -> str:
    return "".join(
        f"CREATE TABLE {entity.name}_doubtful ({', '.join(f'{key} BIGINT' for key in primary_key(entity))});"
        for entity in ENTITIES
    )


def _ever(entity: Entity) -> str:
    """Source key -> key, earlier identifiers included: a row may still say the old one while another says the new."""
    kinds = ("student:", "staff:") if entity.name == "users" else ("",)
    earlier = "".join(
        f"""
        UNION
        SELECT '{kind}' || old_id, entity_key
        FROM stored_history
        WHERE entity = '{entity.name}'"""
        for kind in ("", *kinds)
    )
    return f"""
        CREATE VIEW {entity.name}_ever AS
        SELECT source_key, key
        FROM {entity.name}_keys
        UNION
        SELECT source_key, key
        FROM {entity.name}_renames
        WHERE key IS NOT NULL{earlier};"""


def _doubtful(entity: Entity) -> str:
    if entity.key is None:
        return _doubtful_links(entity)
    signs = [f"lower(old.{entity.identifier})", f"lower({_plain_key('old')})"]
    if entity.name == "users":
        signs += ["lower(old.email)", "lower(old.user_district_id)", "lower(old.user_state_id)"]
    by_sign = " UNION ".join(
        f"SELECT {entity.key} FROM db_{entity.name} AS old JOIN words ON words.word = {sign} "
        f"AND words.entity IN ('{entity.name}', '{ID_CHANGES.name}'){_not_a_school(entity)}"
        for sign in signs
    )
    by_name = _named_on_one_line() if entity.name == "users" else ""
    return f"CREATE TABLE {entity.name}_doubtful AS {by_sign}{by_name};"


def _not_a_school(entity: Entity) -> str:
    """A school's identifier stands on every line of its people, and may be a person's too: it speaks for the school."""
    if entity.name == "organizations":
        return ""
    return " AND words.word NOT IN (SELECT lower(organization_id) FROM db_organizations WHERE organization_id NOT NULL)"


def _plain_key(table: str) -> str:
    """A source key without the kind of person that we put before it."""
    return f"regexp_replace({table}.source_key, '^(student|staff):', '')"


def _named_on_one_line() -> str:
    return """
            UNION
            SELECT user_key
            FROM db_users AS old
            JOIN words AS given ON given.word = lower(old.given_name) AND given.entity = 'users'
            JOIN words AS family ON family.word = lower(old.family_name) AND family.entity = 'users'
                AND family.file = given.file AND family.line = given.line"""


def _doubtful_links(entity: Entity) -> str:
    """A link is doubtful when one rejected line names both of its ends."""
    spoken = ",".join(_spoken(entity, target) for target in entity.links.values())
    first, second = entity.links.values()
    keys = ", ".join(primary_key(entity))
    return f"""
        CREATE TABLE {entity.name}_doubtful AS
        WITH {spoken}
        SELECT DISTINCT {keys}
        FROM {first}_spoken
        JOIN {second}_spoken USING (file, line)
        JOIN db_{entity.name} USING ({keys});"""


def _spoken(entity: Entity, target: str) -> str:
    """Which records of `target` the rejected lines of a kind of link name, by identifier or source key."""
    linked = BY_NAME[target]
    return f"""
        {target}_spoken AS (
            SELECT file, line, said.{linked.key}
            FROM words
            JOIN (
                SELECT {linked.key}, lower({linked.identifier}) AS word
                FROM db_{target}
                UNION
                SELECT {linked.key}, lower({_plain_key(f"db_{target}")})
                FROM db_{target}
            ) AS said USING (word)
            WHERE words.entity = '{entity.name}'
        )"""


def _deactivations(entity: Entity) -> str:
    """Rows as they will be, inactive; what passes its identifier on has neither that nor its source key any more."""
    new = {"status": "'inactive'"}
    released, before, after, status = "", "", "", "'active'"
    if entity.key:
        passes = "released.key IS NOT NULL"
        key = f"'released:' || old.{entity.key} || ':' || old.source_key"
        new |= {
            "source_key": f"CASE WHEN {passes} THEN {key} ELSE old.source_key END",
            str(entity.identifier): f"CASE WHEN NOT {passes} THEN old.{entity.identifier} END",
        }
        released = f"LEFT JOIN {entity.name}_released AS released ON released.key = old.{entity.key}"
        status = "old.status"
        before = _if_passed_on(entity, "old.source_key", f"old.{entity.identifier}")
        after = _if_passed_on(entity, key, "NULL")
    columns = ", ".join(f"{new.get(name, f'old.{name}')} AS {name}" for name in columns_of(entity))
    return f"""
        CREATE TABLE {entity.name}_deactivated AS
        SELECT 'deactivate' AS operation, gone.file, gone.line, gone.reason, gone.explicit,
            '{{' || {before}'"status":' || to_json({status}) || '}}' AS before_json,
            '{{' || {after}'"status":"inactive"}}' AS after_json, {columns}
        FROM {entity.name}_gone AS gone
        JOIN db_{entity.name} AS old USING ({", ".join(primary_key(entity))})
        {released}"""


def _if_passed_on(entity: Entity, source_key: str, identifier: str) -> str:
    return f"""CASE WHEN released.key IS NULL THEN '' ELSE '"source_key":' || to_json({source_key})
                || ',"{entity.identifier}":' || coalesce(to_json({identifier})::VARCHAR, 'null') || ',' END || """


def _former_primary_schools() -> str:
    """Another school becomes the primary one; the membership that was primary, if it stays, loses the mark."""
    entity = BY_NAME["memberships"]
    columns = ", ".join("false AS is_primary" if name == "is_primary" else f"old.{name}" for name in columns_of(entity))
    return f"""
        CREATE TABLE former_primary AS
        SELECT 'update' AS operation, NULL::VARCHAR AS file, NULL::BIGINT AS line,
            'another school became the primary one' AS reason, false AS explicit,
            '{{"is_primary":true}}' AS before_json, '{{"is_primary":false}}' AS after_json, {columns}
        FROM db_memberships AS old
        JOIN primary_schools AS now USING (user_key)
        ANTI JOIN memberships_linked AS mentioned ON mentioned.user_key = old.user_key
            AND mentioned.organization_key = old.organization_key
        ANTI JOIN memberships_gone AS gone ON gone.user_key = old.user_key
            AND gone.organization_key = old.organization_key
        WHERE old.is_primary AND old.status = 'active'"""
