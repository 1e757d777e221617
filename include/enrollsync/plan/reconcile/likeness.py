"""Which row resembles a record that is not the one behind its key, and whether it is that record's (rule 9b).

A row may be another record's when nobody known is behind its key, or somebody whom it is unlike (`resemblance`). A
record may be another row's when no row speaks of it, or one that is unlike it.

Leaves `<entity>_lookalikes`, a pair of a row (`source_key`) and a record (`old_key`) each: `alone` where the row
differs from the record in its identifier only and neither has another candidate; `near` where the pair is close enough
for the row to wait; `single` where row and record have each other only, which is enough to propose it to a person.
"""

from __future__ import annotations

import duckdb

from enrollsync.database.schema import link_keys
from enrollsync.plan.reconcile.tables import empty
from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest
from enrollsync.words.canonical import BY_NAME, CLASSES, KINDS, ORGANIZATIONS, USERS, Entity

KINDS_OF_PEOPLE = f"""
    CREATE OR REPLACE TEMP MACRO kind_of(role) AS
        CASE role {" ".join(f"WHEN '{role}' THEN '{kind}'" for role, kind in KINDS.items())} END;
    CREATE OR REPLACE TEMP MACRO differ(one, other) AS coalesce(lower(one) <> lower(other), false);
    CREATE OR REPLACE TEMP MACRO agree(one, other) AS coalesce(lower(one) = lower(other), false)"""
"""What the statements about people call by a name. Only values that both have differ or agree."""


def resemblance(entity: Entity) -> dict[str, str]:
    """SQL conditions on a row (`new`) and the record behind its key (`old`), each after those that it refers to.

    `another`: they are two people by rule 10. `stranger`: they are two, as far as anybody can see. `unlike`: they may
    be two, if a better record or row is found.
    """
    if entity is USERS:
        return _resemblance_of_users()
    told_apart = (*entity.alike_in("name"), *link_keys(entity), *entity.alike_in("schedule"))
    unlike = "\n                OR ".join(f"coalesce(new.{name} <> old.{name}, false)" for name in told_apart)
    return {"another": "false", "stranger": "false", "unlike": unlike}


def _resemblance_of_users() -> dict[str, str]:
    def compared(how: str, *names: str) -> list[str]:
        return [f"{how}(new.{name}, old.{name})" for name in names]

    names = compared("differ", *USERS.alike_in("name"))
    birth_or_email = f"({' OR '.join(compared('differ', 'birth_date', 'email'))})"
    proven = "\n                    OR ".join(compared("agree", *USERS.alike_in("proof")))
    unproven = f"""NOT (
                    {proven}
                )"""
    return {
        "another": "\n                AND ".join([*names, birth_or_email]),
        "stranger": f"another\n                OR {birth_or_email} AND {unproven}",
        "unlike": f"{' OR '.join(names)} OR stranger",
    }


def find_lookalikes(connection: duckdb.DuckDBPyConnection, entity: Entity, manifest: RunManifest) -> None:
    """Create `<entity>_lookalikes`, and hold the rows that only lost their identifier's leading zeros."""
    name = entity.name
    connection.execute(_open_rows(entity))
    connection.execute(_open_records(entity))
    possible = f"SELECT EXISTS (FROM {name}_open_records) AND EXISTS (FROM {name}_open_rows)"
    if engine.one_row(connection, possible)[0]:
        connection.execute(_lost_zeros(entity))
        connection.execute(_lookalikes(entity, manifest))
    else:
        connection.execute(empty("{entity}_lookalikes", entity))


def _open_rows(entity: Entity) -> str:
    """Rows of nobody known, and rows that are unlike the record behind their key (`own_key`).

    Where `id_changes.csv` names that record, it has said who is who.
    """
    name = entity.name
    return f"""
        CREATE TABLE {name}_open_rows AS
        SELECT source_key, old_key AS own_key, stranger
        FROM {name}_matched
        WHERE old_key IS NULL OR unlike AND old_key NOT IN (SELECT key FROM {name}_in_id_changes)"""


def _open_records(entity: Entity) -> str:
    """Records of which no row speaks, or one that is unlike them (`own_row`).

    Only `free` ones can be another row's: one that `id_changes.csv` names, another source's, and one whose own row was
    rejected (`rejected`) can be resembled, no more.
    """
    name, key = entity.name, entity.key
    return f"""
        CREATE TABLE {name}_open_records AS
        SELECT {key}, NOT rejected AS free, rejected, NULL AS own_row
        FROM {name}_without_row
        UNION ALL
        SELECT own_key, true, false, source_key
        FROM {name}_open_rows
        WHERE own_key IS NOT NULL
        UNION ALL
        SELECT key, false, false, NULL
        FROM {name}_in_id_changes
        UNION ALL
        SELECT {key}, false, false, NULL
        FROM {name}_in_question AS old
        WHERE source <> getvariable('source')
            AND {key} NOT IN (SELECT key FROM {name}_in_id_changes)
            AND NOT EXISTS (FROM {name}_matched AS matched WHERE matched.old_key = old.{key})"""


def _lost_zeros(entity: Entity) -> str:
    """Spreadsheets drop leading zeros: `123` is nobody new while a `00123` is missing."""
    identifier = entity.identifier
    same_kind = "AND kind_of(old.role) = kind_of(new.role)" if entity is USERS else ""
    return f"""
        INSERT INTO {entity.name}_held
        SELECT new.source_key, 'ID-LEADING-ZERO', old.{entity.key}
        FROM (
            FROM {entity.name}_differing
            SEMI JOIN (FROM {entity.name}_matched WHERE old_key IS NULL) USING (source_key)
            WHERE regexp_full_match({identifier}, '[0-9]+')
        ) AS new
        JOIN (
            FROM {entity.name}_in_question
            SEMI JOIN (FROM {entity.name}_open_records WHERE own_row IS NULL AND NOT rejected) USING ({entity.key})
            WHERE {identifier} LIKE '0%'
        ) AS old ON ltrim(old.{identifier}, '0') = ltrim(new.{identifier}, '0')
        WHERE length(old.{identifier}) > length(new.{identifier}) {same_kind}"""


def _lookalikes(entity: Entity, manifest: RunManifest) -> str:
    """Pairs, but for rows that stay with the record behind their key, and for the records of such rows.

    A row that is unlike that record leaves it (`leaving`) when it is a stranger to it, when it fits another record, or
    when another row fits that one.
    """
    queries = {
        USERS.name: _similar_users(manifest),
        CLASSES.name: _similar_classes(manifest),
        ORGANIZATIONS.name: _similar_organizations(),
    }
    return f"""
        CREATE TABLE {entity.name}_lookalikes AS
        WITH seekers AS (
            FROM {entity.name}_differing
            JOIN {entity.name}_open_rows USING (source_key)
        ),
        missed AS (
            FROM {entity.name}_in_question
            JOIN {entity.name}_open_records USING ({entity.key})
            WHERE source = getvariable('source')
        ),
        {queries[entity.name]},
        leaving AS (
            SELECT source_key
            FROM seekers
            WHERE stranger
            UNION
            SELECT unnest([source_key, own_row])
            FROM pairs
            WHERE fits AND near
        )
        SELECT source_key, old_key, near,
            fits AND free AND near
                AND {_only_one("near", "source_key")}
                AND {_only_one("near", "old_key")} AS alone,
            {_only_one("true", "source_key")}
                AND {_only_one("true", "old_key")} AS single
        FROM pairs
        WHERE (own_key IS NULL OR source_key IN (FROM leaving))
            AND (own_row IS NULL OR own_row IN (FROM leaving WHERE source_key IS NOT NULL))
            AND (fits OR NOT rejected)"""


def _only_one(which: str, of: str) -> str:
    return f"count(*) FILTER ({which}) OVER (PARTITION BY {of}) = 1"


def _same(names: tuple[str, ...], supplied: dict[str, list[str]]) -> str:
    """Equal wherever the batch supplies the column."""
    equal = [f"new.{name} IS NOT DISTINCT FROM old.{name}" for name in names if name in supplied]
    return "\n                    AND ".join(equal) or "true"


def _similar_users(manifest: RunManifest) -> str:
    """Same name and one strong value; a fit differs in the identifier alone and shares a school (rule 9b).

    An email that clashes (section 6) is not strong: it makes the row wait.
    """
    names = "".join(f" AND lower(new.{name}) = lower(old.{name})" for name in USERS.alike_in("name"))
    secured = "".join(
        f"""
                SELECT new.source_key, old.user_key, true AS strong
                FROM seekers AS new
                JOIN missed AS old ON new.{name} = old.{name}
                   {names}
                UNION ALL"""
        for name in USERS.alike_in("proof")
        if name not in USERS.of_kind("email")
    )
    return f"""
        sought_emails AS (
            SELECT lower(email)
            FROM seekers
            WHERE email IS NOT NULL
        ),
        clashing_emails AS (
            SELECT lower(email) AS address, kind_of(users_resolved.role) AS kind
            FROM users_resolved
            WHERE lower(email) IN (FROM sought_emails)
            GROUP BY ALL
            HAVING count(*) > 1
            UNION
            SELECT lower(email), kind_of(unsaid.role)
            FROM users_in_question AS unsaid
            ANTI JOIN (FROM users_matched WHERE NOT unlike) AS matched ON matched.old_key = unsaid.user_key
            WHERE lower(email) IN (FROM sought_emails) AND status = 'active'
            GROUP BY ALL
            HAVING count(*) > 1
        ),
        candidates AS (
            SELECT source_key, user_key, bool_or(strong) AS strong
            FROM ({secured}
                SELECT new.source_key, old.user_key, (lower(new.email), kind_of(new.role)) NOT IN (FROM clashing_emails)
                FROM seekers AS new
                JOIN missed AS old ON lower(new.email) = lower(old.email)
                   {names}
            )
            GROUP BY ALL
        ),
        schoolmates AS (
            SELECT DISTINCT candidates.source_key, user_key
            FROM candidates
            JOIN memberships_accepted AS new ON new.user_source_key = candidates.source_key
            JOIN organizations_lookup AS organization ON organization.source_key = new.organization_source_key
            JOIN db_memberships AS old USING (user_key)
            WHERE old.organization_key = organization.key AND old.status = 'active'
        ),
        pairs AS (
            SELECT candidates.source_key, own_key, old.user_key AS old_key, own_row, free, rejected, true AS near,
                {_same(USERS.alike_in("name", "proof", "detail"), manifest.supplied.get("users", {}))}
                    AND kind_of(new.role) = kind_of(old.role)
                    AND old.status = 'active'
                    AND strong
                    AND schoolmates.source_key IS NOT NULL AS fits
            FROM candidates
            JOIN seekers AS new ON new.source_key = candidates.source_key
            JOIN missed AS old ON old.user_key = candidates.user_key
            LEFT JOIN schoolmates ON schoolmates.source_key = candidates.source_key
                AND schoolmates.user_key = candidates.user_key
        )"""


def _similar_classes(manifest: RunManifest) -> str:
    """Same name, school, course, period and term; near with a person in common, where the batch says who is in it.

    A fit agrees in every other value too, and says at least one of course, period and term. Where the row's key leads
    to a class, or a row to this class, nothing less will do.
    """
    supplied = manifest.supplied.get("classes", {})
    unknown_people = "false" if "enrollments" in manifest.supplied else "true"
    return f"""
        resembling AS (
            SELECT new.source_key, own_key, old.class_key AS old_key, own_row, free, rejected,
                {_same(CLASSES.alike_in("detail"), supplied)}
                    AND coalesce(new.course_code, new.period, new.term) IS NOT NULL AS fits
            FROM seekers AS new
            JOIN missed AS old ON new.name = old.name AND new.organization_key = old.organization_key
            WHERE old.status = 'active' AND {_same(CLASSES.alike_in("schedule"), supplied)}
        ),
        {_COMPARED_BY_PEOPLE},
        shared AS (
            SELECT source_key, old_key, count(*) AS people
            FROM (
                SELECT DISTINCT compared.source_key, compared.old_key, enrolled.user_key
                FROM compared
                JOIN enrollments_accepted AS person ON person.class_source_key = compared.source_key
                JOIN users_lookup ON users_lookup.source_key = person.user_source_key
                JOIN db_enrollments AS enrolled ON enrolled.class_key = compared.old_key
                    AND enrolled.user_key = users_lookup.key
            )
            GROUP BY ALL
        ),
        {_closest("fits", f"shared.people IS NOT NULL OR {unknown_people}")}"""


def _similar_organizations() -> str:
    """Same name and type; a fit has a class or a person in common, a school that is merely called the same waits."""
    return f"""
        resembling AS (
            SELECT new.source_key, own_key, old.organization_key AS old_key, own_row, free, rejected, true AS fits
            FROM seekers AS new
            JOIN missed AS old ON new.name = old.name AND new.type = old.type
            WHERE old.status = 'active'
        ),
        {_COMPARED_BY_PEOPLE},
        shared AS (
            SELECT source_key, old_key, count(*) AS people
            FROM ({_in_common("users", "memberships")}
                UNION
                {_in_common("classes", "classes")}
            )
            GROUP BY ALL
        ),
        {_closest("shared.people IS NOT NULL", "true")}"""


_COMPARED_BY_PEOPLE = """compared AS (
            SELECT source_key, old_key
            FROM resembling
            UNION
            SELECT source_key, own_key
            FROM seekers
            WHERE own_key IS NOT NULL AND source_key IN (SELECT unnest([source_key, own_row]) FROM resembling)
        )"""
"""The pairs that resemble each other, and for each row or record in them what its key says."""


def _closest(fits: str, near: str) -> str:
    """`pairs`: of those that resemble each other, what no key speaks against.

    A key is outdone by a fit that has more people in common, in the row's eyes and in the record's.
    """
    return f"""pairs AS (
            SELECT resembling.* REPLACE ({fits} AS fits), {near} AS near
            FROM resembling
            LEFT JOIN shared USING (source_key, old_key)
            LEFT JOIN shared AS by_key ON by_key.source_key = resembling.source_key AND by_key.old_key = own_key
            LEFT JOIN shared AS rival ON rival.source_key = own_row AND rival.old_key = resembling.old_key
            WHERE own_key IS NULL AND own_row IS NULL
                OR fits AND shared.people > greatest(coalesce(by_key.people, 0), coalesce(rival.people, 0))
        )"""


def _in_common(entity: str, placed_by: str) -> str:
    """People or classes that the batch places in the row's organization and the roster in the record's.

    They are matched after the organizations are, so that their source keys must do here.
    """
    key = BY_NAME[entity].key
    own = next((link for link, target in BY_NAME[placed_by].links.items() if target == entity), "source_key")
    return f"""
                SELECT compared.source_key, compared.old_key, '{entity}', known.{key}
                FROM compared
                JOIN {placed_by}_accepted AS new ON new.organization_source_key = compared.source_key
                JOIN {entity}_addressed AS known ON known.source_key = new.{own}
                    AND known.source = getvariable('source')
                JOIN db_{placed_by} AS old ON old.{key} = known.{key} AND old.organization_key = compared.old_key
                WHERE old.status = 'active'"""
