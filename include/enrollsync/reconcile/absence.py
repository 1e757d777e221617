"""What goes: explicit removals, and in a snapshot the records of this source that the batch does not mention.

Present but invalid is not absent: a record that a rejected or held row may speak of is left alone (section 6).
"""

from __future__ import annotations

import duckdb

from enrollsync import engine
from enrollsync.canonical import BY_NAME, ENTITIES, Entity
from enrollsync.database.schema import columns_of, primary_key
from enrollsync.formats import FORMATS
from enrollsync.reconcile.changes import entity_id, names_joined, operation_keys
from enrollsync.workspace import RunManifest, Workspace


def plan_absences(connection: duckdb.DuckDBPyConnection, workspace: Workspace, manifest: RunManifest) -> None:
    """Add `deactivate` operations; leaves `<entity>_gone` (keys, explicit, file, line, reason) for each entity."""
    if manifest.mode == "snapshot":
        connection.execute(_doubtful_words(workspace))
    for entity in ENTITIES:
        connection.execute(_gone(entity, manifest, workspace))
        connection.execute(_deactivations(entity))
    connection.execute(_former_primary_schools())


def _gone(entity: Entity, manifest: RunManifest, workspace: Workspace) -> str:
    keys = ", ".join(primary_key(entity))
    parts = [_removed(entity, workspace)]
    if manifest.mode == "snapshot" and entity.name in manifest.supplied:
        parts.append(_missing(entity, manifest))
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


def _missing(entity: Entity, manifest: RunManifest) -> str:
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
        *_covered(entity, manifest),
        *_delivered_roles(entity, manifest),
    ]
    mentioned = _mentioned_records(entity) if entity.key else _mentioned_links(entity)
    return f"""
        (
            WITH {entity.name}_mentioned AS ({mentioned})
            SELECT {keys}, false AS explicit, NULL AS file, NULL::BIGINT AS line,
                'the batch no longer has it' AS reason
            FROM db_{entity.name} AS old
            WHERE {" AND ".join(conditions)}
        )"""


def _same_keys(entity: Entity) -> str:
    return " AND ".join(f"mentioned.{name} = old.{name}" for name in primary_key(entity))


def _mentioned_records(entity: Entity) -> str:
    """Known rows, rows that wait or were rejected, and records that a damaged line seems to be."""
    key = entity.key
    return f"""
            SELECT {key}
            FROM {entity.name}_known
            UNION ALL
            SELECT {key}
            FROM db_{entity.name}
            JOIN {entity.name}_present USING (source_key)
            WHERE source = getvariable('source')
            UNION ALL
            SELECT old_key
            FROM {entity.name}_held
            WHERE old_key IS NOT NULL
            UNION ALL
            SELECT {key}
            FROM {entity.name}_doubtful"""


def _mentioned_links(entity: Entity) -> str:
    """Links that a row mentions, and all that hang on a record which waits or is doubtful."""
    keys = ", ".join(primary_key(entity))
    joins = "".join(
        f"""
            JOIN {target}_ever ON {target}_ever.source_key = present.{link}"""
        for link, target in entity.links.items()
    )
    found = ", ".join(f"{target}_ever.key AS {BY_NAME[target].key}" for target in entity.links.values())
    doubtful = "".join(
        f"""
            UNION ALL
            SELECT {keys}
            FROM db_{entity.name}
            WHERE {BY_NAME[target].key} IN (
                SELECT {BY_NAME[target].key} FROM {target}_doubtful
                UNION ALL
                SELECT old_key FROM {target}_held
            )"""
        for target in entity.links.values()
    )
    return f"""
            SELECT {found}
            FROM {entity.name}_present AS present{joins}{doubtful}
            UNION ALL
            SELECT {keys}
            FROM {entity.name}_doubtful"""


def _covered(entity: Entity, manifest: RunManifest) -> list[str]:
    """A class without a term is always covered; a term that the batch lacks, or that has ended, is left alone."""
    if entity.name not in {"classes", "enrollments"}:
        return []
    today = manifest.as_of.date().isoformat()
    return [f"""old.class_key NOT IN (
                SELECT class_key
                FROM db_classes
                WHERE term IS NOT NULL
                    AND (
                        term NOT IN (SELECT term FROM classes_delivered WHERE term IS NOT NULL)
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
    ever = "".join(_ever(entity) for entity in ENTITIES if entity.key)
    return f"""
        {ever}
        CREATE VIEW classes_delivered AS
        FROM {engine.parquet(workspace.canonical_table("classes"))};
        CREATE TABLE words AS
        SELECT DISTINCT entity, file, line, lower(trim(word, ' "')) AS word
        FROM (
            SELECT entity, file, line,
                unnest(string_split(raw, ',') || regexp_split_to_array(raw, '[,;\\s"]+')) AS word
            FROM {engine.parquet(workspace.accepted_table("rejected"))}
        );
        {doubtful}"""


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
        FROM {entity.name}_keys{earlier};"""


def _doubtful(entity: Entity) -> str:
    if entity.key is None:
        return _doubtful_links(entity)
    signs = [f"lower(old.{entity.identifier})", f"lower({_plain_key('old')})"]
    if entity.name == "users":
        signs += ["lower(old.email)", "lower(old.user_district_id)", "lower(old.user_state_id)"]
    by_sign = " UNION ".join(
        f"SELECT {entity.key} FROM db_{entity.name} AS old JOIN words ON words.word = {sign} "
        f"AND words.entity = '{entity.name}'{_not_a_school(entity)}"
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
    keys = primary_key(entity)
    columns = ", ".join("'inactive' AS status" if name == "status" else f"old.{name}" for name in columns_of(entity))
    return f"""
        INSERT INTO {entity.name}_after BY NAME
        SELECT gone.file, gone.line, 'deactivate' AS operation, {columns}
        FROM {entity.name}_gone AS gone
        JOIN db_{entity.name} AS old USING ({", ".join(keys)});
        INSERT INTO operations
        SELECT '{entity.name}', 'deactivate', {operation_keys(entity, "old")}, {entity_id(entity, "old")},
            gone.file, gone.line, gone.reason, gone.explicit, '{{"status":"active"}}', '{{"status":"inactive"}}'
        FROM {entity.name}_gone AS gone
        JOIN db_{entity.name} AS old USING ({", ".join(keys)}){names_joined(entity, "old")}"""


def _former_primary_schools() -> str:
    """Another school becomes the primary one; the membership that was primary, if it stays, loses the mark."""
    entity = BY_NAME["memberships"]
    columns = ", ".join("false AS is_primary" if name == "is_primary" else f"old.{name}" for name in columns_of(entity))
    return f"""
        CREATE TABLE former_primary AS
        SELECT old.*
        FROM db_memberships AS old
        JOIN primary_schools AS now USING (user_key)
        ANTI JOIN memberships_known AS mentioned ON mentioned.user_key = old.user_key
            AND mentioned.organization_key = old.organization_key
        ANTI JOIN memberships_gone AS gone ON gone.user_key = old.user_key
            AND gone.organization_key = old.organization_key
        WHERE old.is_primary AND old.status = 'active';
        INSERT INTO memberships_after BY NAME
        SELECT 'update' AS operation, {columns}
        FROM former_primary AS old;
        INSERT INTO operations
        SELECT 'memberships', 'update', {operation_keys(entity, "old")}, {entity_id(entity, "old")}, NULL, NULL,
            'another school became the primary one', false, '{{"is_primary":true}}', '{{"is_primary":false}}'
        FROM former_primary AS old{names_joined(entity, "old")}"""
