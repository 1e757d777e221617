"""The first run under another primary source, or other keys of one: which record each row takes over.

Two systems know the same people by other keys, so keys cannot say who is who. What both say is compared, strongest
first, and only what fits one row and one record counts; of people a name or the birth date has to agree as well. An
adopted record keeps its key, its history and its links; source and source key change, and the identifier where the
sources do not agree on it. Who is not adopted stays until a person lets go.

Such a plan always waits, deactivates nothing by itself, and comes with a list of all pairs (`switch.csv`).
"""

from __future__ import annotations

import duckdb

from enrollsync.plan.reconcile.tables import RECORDS, empty
from enrollsync.run import engine
from enrollsync.run.workspace import Notice, Workspace
from enrollsync.words.canonical import CLASSES, ORGANIZATIONS, USERS, Entity

SWITCH = "GUARD-SWITCH"


def is_switch(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the primary source brings students, and none whom the roster has is known by its keys.

    Either all are another source's (staff tells nothing: such a source may bring some beside the primary one), or the
    source keyed them by their identifiers before and by something of its own now, or the other way round, as Clever's
    files and its API do.
    """
    if not engine.one_row(connection, _ASKED)[0]:
        return False
    if not engine.one_row(connection, "SELECT EXISTS (FROM db_users WHERE role = 'student' AND " + _OURS + ")")[0]:
        return True
    # A handful is asked first: on most nights all of them are known, and a million keys need not be compared.
    if any(engine.one_row(connection, _known(some))[0] for some in ("LIMIT 1000", "")):
        return False
    return engine.one_row(connection, _KEYED_ALIKE) == (False,)


_OURS = "source = getvariable('source')"
_ASKED = """
    SELECT getvariable('source') = getvariable('primary_source')
        AND EXISTS (FROM users_accepted WHERE role = 'student')
        AND EXISTS (FROM db_users WHERE role = 'student')"""


def _known(some: str) -> str:
    return f"""
    SELECT EXISTS (
        FROM db_users
        SEMI JOIN (FROM users_accepted WHERE role = 'student' {some}) USING (source_key)
        WHERE role = 'student' AND {_OURS}
    )"""


_BY_IDENTIFIER = f"avg(coalesce({engine.without_kind('source_key')} = user_id, false)::INT) > 0.5"
_KEYED_ALIKE = f"""
    SELECT (SELECT {_BY_IDENTIFIER} FROM db_users WHERE role = 'student' AND {_OURS})
        = (SELECT {_BY_IDENTIFIER} FROM users_accepted WHERE role = 'student')"""


def adopt(connection: duckdb.DuckDBPyConnection, entity: Entity) -> None:
    """Create `<entity>_adopted`: each row that takes over another source's record, and by what both were matched."""
    connection.execute(empty("{entity}_adopted", entity))
    for matched_by, conditions in _STEPS[entity.name]:
        pairs = " UNION ".join(_pairs(entity, condition) for condition in conditions)
        connection.execute(_one_to_one(entity, matched_by, pairs))
    if entity is CLASSES:
        connection.execute(_one_to_one(entity, "people", _sharing_people()))


_STEPS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    ORGANIZATIONS.name: (
        ("identifier", ("new.organization_id = old.organization_id AND agree(new.name, old.name)",)),
        ("name", ("lower(new.name) = lower(old.name) AND new.type IS NOT DISTINCT FROM old.type",)),
        ("identifier", ("new.organization_id = old.organization_id",)),
        ("name", ("lower(new.name) = lower(old.name)",)),
    ),
    USERS.name: (
        ("identifier", ("new.user_id = old.user_id",)),
        (
            "secondary ID",
            tuple(
                f"new.{one} = old.{other}"
                for one, other in (
                    ("user_state_id", "user_state_id"),
                    ("user_district_id", "user_district_id"),
                    ("user_id", "user_state_id"),
                    ("user_id", "user_district_id"),
                    ("user_state_id", "user_id"),
                    ("user_district_id", "user_id"),
                )
            ),
        ),
        ("email", ("lower(new.email) = lower(old.email)",)),
        (
            "names and birth date",
            (
                "lower(new.family_name) = lower(old.family_name) AND lower(new.given_name) = lower(old.given_name) "
                "AND new.birth_date = old.birth_date",
            ),
        ),
    ),
    CLASSES.name: (
        ("identifier", ("new.class_id = old.class_id AND agree(new.name, old.name)",)),
        (
            "name and schedule",
            (
                "new.name = old.name AND new.organization_key = old.organization_key"
                + "".join(f" AND new.{name} IS NOT DISTINCT FROM old.{name}" for name in CLASSES.alike_in("schedule")),
            ),
        ),
        ("identifier", ("new.class_id = old.class_id AND new.organization_key = old.organization_key",)),
        ("name", ("new.name = old.name AND new.organization_key = old.organization_key",)),
    ),
}
"""Entity -> what a row and a record are matched by, the strongest first, and SQL for it: any of several."""


def _pairs(entity: Entity, condition: str) -> str:
    more = _OF_PEOPLE if entity is USERS else ""
    return f"""
            SELECT new.source_key, old.{entity.key} AS key
            FROM {entity.name}_resolved AS new
            JOIN db_{entity.name} AS old ON {condition}
            WHERE {_unknown_by_key("old", entity)}{more}"""


def _unknown_by_key(record: str, entity: Entity) -> str:
    """SQL for whether no row names the record by the key that this source gave it."""
    named = f"{record}.source_key IN (SELECT source_key FROM {entity.name}_resolved)"
    return f"NOT ({record}.source = getvariable('source') AND {named})"


_OF_PEOPLE = """
                AND kind_of(new.role) = kind_of(old.role)
                AND (
                    agree(new.family_name, old.family_name)
                    OR agree(new.given_name, old.given_name)
                    OR agree(new.birth_date, old.birth_date)
                )"""
"""Two systems may both count from one, and families share an email: a name or the birth date has to agree as well."""


def _sharing_people() -> str:
    """Classes of which more than half of either's people are both's."""
    return """
            WITH brought AS (
                SELECT DISTINCT class_source_key AS source_key, people.key AS user_key
                FROM enrollments_accepted
                JOIN users_lookup AS people ON people.source_key = user_source_key
            ),
            had AS (
                SELECT class_key AS key, user_key
                FROM db_enrollments
                WHERE status = 'active'
            )
            SELECT brought.source_key, had.key
            FROM brought
            JOIN had USING (user_key)
            JOIN (SELECT source_key, count(*) AS people FROM brought GROUP BY ALL) AS after USING (source_key)
            JOIN (SELECT key, count(*) AS people FROM had GROUP BY ALL) AS before ON before.key = had.key
            GROUP BY brought.source_key, had.key, after.people, before.people
            HAVING 2 * count(*) > greatest(after.people, before.people)"""


def _one_to_one(entity: Entity, matched_by: str, pairs: str) -> str:
    """Of what is still free on both sides, the pairs that have each other only."""
    name = entity.name
    return f"""
        INSERT INTO {name}_adopted
        SELECT source_key, key, '{matched_by}'
        FROM ({pairs}
        )
        WHERE source_key NOT IN (SELECT source_key FROM {name}_adopted)
            AND key NOT IN (SELECT key FROM {name}_adopted)
            AND source_key NOT IN (
                SELECT source_key
                FROM db_{name}
                WHERE source = getvariable('source')
            )
        QUALIFY count(*) OVER (PARTITION BY source_key) = 1 AND count(*) OVER (PARTITION BY key) = 1"""


def hold_switch(connection: duckdb.DuckDBPyConnection, workspace: Workspace, source: str) -> Notice:
    """Why the plan waits, in numbers; every pair, and who stays without one, is written to `workspace.switch_list`."""
    query = "SELECT string_agg(DISTINCT source, ', ' ORDER BY source) FROM db_users WHERE role = 'student'"
    (former,) = engine.one_row(connection, query)
    told = "; ".join(_counted(connection, entity) for entity in RECORDS)
    _write(connection, workspace)
    where = "every pair, and who stays without one, is in switch.csv in the run's folder"
    says = f"{source} keys people otherwise than before" if source in former else f"{source} takes over from {former}"
    return Notice.of(SWITCH, f"{says}, and takes nobody away: {told}; {where}")


def _counted(connection: duckdb.DuckDBPyConnection, entity: Entity) -> str:
    name = entity.name
    ways = connection.execute(f"""
        SELECT matched_by, count(*)
        FROM {name}_adopted
        SEMI JOIN {name}_assigned USING (source_key)
        GROUP BY matched_by
        ORDER BY count(*) DESC, matched_by
    """).fetchall()
    left, new, waiting = engine.one_row(
        connection,
        f"""
        SELECT
            (
                SELECT count(*)
                FROM db_{name}
                WHERE status = 'active' AND {entity.key} NOT IN (SELECT {entity.key} FROM {name}_assigned)
            ),
            (SELECT count(*) FROM {name}_assigned WHERE old_key IS NULL),
            (SELECT count(*) FROM {name}_held)""",
    )
    matched = sum(count for _, count in ways)
    by = f" (by {', '.join(f'{way} {count:,}' for way, count in ways)})" if ways else ""
    others = {"new": new, "left without a row": left, "waiting": waiting}
    return ", ".join([f"{name}: {matched:,} matched{by}", *(f"{n:,} {what}" for what, n in others.items() if n)])


def _write(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """For its owner alone: it holds the identifiers of children."""
    workspace.switch_list.unlink(missing_ok=True)
    workspace.switch_list.touch(mode=0o600)
    parts = [
        f"""
        SELECT '{entity.singular}' AS entity, adopted.matched_by, old.source AS old_source,
            coalesce(old.{entity.identifier}, old.source_key) AS old_id,
            coalesce(new.{entity.identifier}, new.source_key) AS new_id
        FROM {entity.name}_assigned AS assigned
        LEFT JOIN {entity.name}_resolved AS new USING (source_key)
        LEFT JOIN {entity.name}_adopted AS adopted USING (source_key)
        LEFT JOIN db_{entity.name} AS old ON old.{entity.key} = assigned.old_key
        UNION ALL
        SELECT '{entity.singular}', NULL, old.source, coalesce(old.{entity.identifier}, old.source_key), NULL
        FROM db_{entity.name} AS old
        ANTI JOIN {entity.name}_assigned USING ({entity.key})
        WHERE old.status = 'active'"""
        for entity in RECORDS
    ]
    listed = " UNION ALL ".join(parts)
    shown = ", ".join(f"{engine.cell(engine.masked(name))} AS {name}" for name in ("old_id", "new_id"))
    written = f"SELECT * REPLACE ({shown})"
    connection.sql(f"{written} FROM ({listed}) ORDER BY entity, matched_by, old_id, new_id").write_csv(
        str(workspace.switch_list), header=True, use_tmp_file=False
    )
