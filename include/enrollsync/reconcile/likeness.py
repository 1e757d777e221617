"""Which unknown row resembles a record that the batch does not mention, and whether it is that record (rule 9b).

Leaves `<entity>_lookalikes`, a pair of a row (`source_key`) and a record (`old_key`) each: `alone` where the row
differs from the record in its identifier only and neither has another candidate; `near` where the pair is close enough
for the row to wait; `single` where row and record have each other only, which is enough to propose it to a person.
"""

from __future__ import annotations

import duckdb

from enrollsync import engine
from enrollsync.canonical import CLASSES, KINDS, ORGANIZATIONS, USERS, Entity
from enrollsync.workspace import RunManifest

_COMPARED = ("user_district_id", "user_state_id", "given_name", "middle_name", "family_name", "email", "grade",
             "birth_date")  # fmt: skip
_SCHEDULE = ("course_code", "period", "term", "term_start", "term_end")
"""What tells classes of one name apart: where it differs, it is another class, as next year's is."""


def find_lookalikes(connection: duckdb.DuckDBPyConnection, entity: Entity, manifest: RunManifest) -> None:
    """Create `<entity>_lookalikes`, and hold the rows that only lost their identifier's leading zeros."""
    name = entity.name
    connection.execute(_missed(entity, manifest))
    possible = f"SELECT EXISTS (FROM {name}_missed) AND EXISTS ({_newcomers(entity, manifest)})"
    if engine.one_row(connection, possible)[0]:
        connection.execute(_lost_zeros(entity))
        connection.execute(_lookalikes(entity, manifest))
    else:
        columns = "source_key VARCHAR, old_key BIGINT, near BOOLEAN, alone BOOLEAN, single BOOLEAN"
        connection.execute(f"CREATE TABLE {name}_lookalikes ({columns})")


def kind(table: str) -> str:
    """SQL for the kind of the person in a row of users."""
    cases = " ".join(f"WHEN '{role}' THEN '{kind}'" for role, kind in KINDS.items())
    return f"CASE {table}.role {cases} END"


def _newcomers(entity: Entity, manifest: RunManifest) -> str:
    """Rows of nobody known; when recycled rows are let through, also those whose identifier is somebody else's."""
    recycled = "OR another" if manifest.release else ""
    return f"SELECT source_key FROM {entity.name}_matched WHERE old_key IS NULL {recycled}"


def _missed(entity: Entity, manifest: RunManifest) -> str:
    """Records that no row speaks of, and whether they are `free` to be an unknown row's record.

    Vanished ones are; one behind whose identifier stands another is when a person lets recycled rows through; one that
    `id_changes.csv` names, and another source's, can be resembled, no more.
    """
    key = entity.key
    return f"""
        CREATE TABLE {entity.name}_missed AS
        SELECT {key}, true AS free
        FROM {entity.name}_vanished
        UNION ALL
        SELECT DISTINCT old_key, {"true" if manifest.release else "false"}
        FROM {entity.name}_matched
        WHERE another
        UNION ALL
        SELECT key, false
        FROM {entity.name}_named
        UNION ALL
        SELECT {key}, false
        FROM db_{entity.name} AS old
        WHERE source <> getvariable('source')
            AND {key} NOT IN (SELECT key FROM {entity.name}_named)
            AND NOT EXISTS (FROM {entity.name}_matched AS matched WHERE matched.old_key = old.{key})"""


def _lost_zeros(entity: Entity) -> str:
    """Spreadsheets drop leading zeros: `123` is nobody new while a `00123` is missing."""
    identifier = entity.identifier
    same_kind = f"AND {kind('old')} = {kind('new')}" if entity is USERS else ""
    return f"""
        INSERT INTO {entity.name}_held
        SELECT new.source_key, 'ID-LEADING-ZERO', old.{entity.key}
        FROM (
            FROM {entity.name}_linked
            SEMI JOIN (FROM {entity.name}_matched WHERE old_key IS NULL) USING (source_key)
            WHERE regexp_full_match({identifier}, '[0-9]+')
        ) AS new
        JOIN (
            FROM db_{entity.name}
            SEMI JOIN {entity.name}_missed USING ({entity.key})
            WHERE {identifier} LIKE '0%'
        ) AS old ON ltrim(old.{identifier}, '0') = ltrim(new.{identifier}, '0')
        WHERE length(old.{identifier}) > length(new.{identifier}) {same_kind}"""


def _lookalikes(entity: Entity, manifest: RunManifest) -> str:
    queries = {
        USERS.name: _similar_users(manifest),
        CLASSES.name: _similar_classes(manifest),
        ORGANIZATIONS.name: _similar_organizations(),
    }
    return f"""
        CREATE TABLE {entity.name}_lookalikes AS
        WITH newcomers AS (
            FROM {entity.name}_linked
            SEMI JOIN ({_newcomers(entity, manifest)}) USING (source_key)
        ),
        missed AS (
            FROM db_{entity.name}
            JOIN {entity.name}_missed USING ({entity.key})
            WHERE source = getvariable('source')
        ),
        {queries[entity.name]}
        SELECT source_key, old_key, near,
            fits AND near AND {_only_one("near", "source_key")} AND {_only_one("near", "old_key")} AS alone,
            {_only_one("true", "source_key")} AND {_only_one("true", "old_key")} AS single
        FROM pairs"""


def _only_one(which: str, of: str) -> str:
    return f"count(*) FILTER ({which}) OVER (PARTITION BY {of}) = 1"


def _same(names: tuple[str, ...], supplied: dict[str, list[str]]) -> str:
    """Equal wherever the batch supplies the column."""
    equal = [f"new.{name} IS NOT DISTINCT FROM old.{name}" for name in names if name in supplied]
    return " AND ".join(equal) or "true"


def _similar_users(manifest: RunManifest) -> str:
    """Same name and one strong value; a fit differs in the identifier alone and shares a school (rule 9b).

    An email that clashes (section 6) is not strong: it makes the row wait.
    """
    names = "lower(new.given_name) = lower(old.given_name) AND lower(new.family_name) = lower(old.family_name)"
    secured = " UNION ALL ".join(
        f"""
                SELECT new.source_key, old.user_key, true AS strong
                FROM newcomers AS new
                JOIN missed AS old ON {names} AND new.{name} = old.{name}"""
        for name in ("birth_date", "user_district_id", "user_state_id")
    )
    return f"""
        clashing_emails AS (
            SELECT lower(email) AS address, {kind("users_linked")} AS kind
            FROM users_linked
            WHERE email IS NOT NULL
            GROUP BY ALL
            HAVING count(*) > 1
            UNION
            SELECT lower(email), {kind("unsaid")}
            FROM db_users AS unsaid
            ANTI JOIN users_matched AS matched ON matched.old_key = unsaid.user_key
            WHERE email IS NOT NULL AND status = 'active'
            GROUP BY ALL
            HAVING count(*) > 1
        ),
        candidates AS (
            SELECT source_key, user_key, bool_or(strong) AS strong
            FROM ({secured}
                UNION ALL
                SELECT new.source_key, old.user_key, (lower(new.email), {kind("new")}) NOT IN (FROM clashing_emails)
                FROM newcomers AS new
                JOIN missed AS old ON {names} AND lower(new.email) = lower(old.email)
            )
            GROUP BY ALL
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
            SELECT candidates.source_key, old.user_key AS old_key, true AS near,
                {_same(_COMPARED, manifest.supplied.get("users", {}))}
                    AND {kind("new")} = {kind("old")}
                    AND old.status = 'active'
                    AND old.free
                    AND strong
                    AND schoolmates.source_key IS NOT NULL AS fits
            FROM candidates
            JOIN newcomers AS new ON new.source_key = candidates.source_key
            JOIN missed AS old ON old.user_key = candidates.user_key
            LEFT JOIN schoolmates ON schoolmates.source_key = candidates.source_key
                AND schoolmates.user_key = candidates.user_key
        )"""


def _similar_classes(manifest: RunManifest) -> str:
    """Same name, school, course, period and term; near with a person in common, where the batch says who is in it.

    A fit agrees in every other value too, and says at least one of course, period and term.
    """
    supplied = manifest.supplied.get("classes", {})
    unknown_people = "false" if "enrollments" in manifest.supplied else "true"
    return f"""
        resembling AS (
            SELECT new.source_key, old.class_key,
                {_same(("course_name", "subject", "grade"), supplied)}
                    AND coalesce(new.course_code, new.period, new.term) IS NOT NULL
                    AND old.free AS fits
            FROM newcomers AS new
            JOIN missed AS old ON new.name = old.name AND new.organization_key = old.organization_key
            WHERE old.status = 'active' AND {_same(_SCHEDULE, supplied)}
        ),
        acquainted AS (
            SELECT DISTINCT resembling.source_key, resembling.class_key
            FROM resembling
            JOIN enrollments_accepted AS person ON person.class_source_key = resembling.source_key
            JOIN users_keys ON users_keys.source_key = person.user_source_key
            JOIN db_enrollments AS enrolled ON enrolled.class_key = resembling.class_key
                AND enrolled.user_key = users_keys.key
        ),
        pairs AS (
            SELECT resembling.source_key, class_key AS old_key, fits,
                {unknown_people} OR acquainted.source_key IS NOT NULL AS near
            FROM resembling
            LEFT JOIN acquainted USING (source_key, class_key)
        )"""


def _similar_organizations() -> str:
    """Same name and type; a fit has a class or a person in common, a school that is merely called the same waits."""
    return f"""
        resembling AS (
            SELECT new.source_key, old.organization_key, old.free
            FROM newcomers AS new
            JOIN missed AS old ON new.name = old.name AND new.type = old.type
            WHERE old.status = 'active'
        ),
        acquainted AS ({_in_common("users", "memberships")}
            UNION
            {_in_common("classes", "classes")}
        ),
        pairs AS (
            SELECT resembling.source_key, organization_key AS old_key, true AS near,
                free AND acquainted.source_key IS NOT NULL AS fits
            FROM resembling
            LEFT JOIN acquainted USING (source_key, organization_key)
        )"""


def _in_common(entity: str, placed_by: str) -> str:
    """People or classes that the batch places in the new organization and the roster in the old one.

    They are matched after the organizations are, so that their source keys must do here.
    """
    key, own = ("user_key", "user_source_key") if entity == "users" else ("class_key", "source_key")
    return f"""
            SELECT resembling.source_key, resembling.organization_key
            FROM resembling
            JOIN {placed_by}_accepted AS new ON new.organization_source_key = resembling.source_key
            JOIN {entity}_addressed AS known ON known.source_key = new.{own} AND known.source = getvariable('source')
            JOIN db_{placed_by} AS old ON old.{key} = known.{key}
                AND old.organization_key = resembling.organization_key
            WHERE old.status = 'active'"""
