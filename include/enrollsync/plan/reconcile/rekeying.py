"""What probably has a new identifier though no rule may say so: the plan waits, with a proposal to look at.

**Many at once.** What rule 9(b) explains by itself, an exact fit of one row and one record, is no part of this. Of the
rest, the records and the rows that may be each other's, whichever are fewer are judged (a delta leaves out most of the
roster, and a snapshot of a new school year brings people besides): are they at least `_LEAST` and `_LEAST_PERCENT` of
the active records, and do `_PAIRED_PERCENT` of them resemble one record each that resembles nothing else? Pairs are
those of `likeness.py`; for classes also without a person in common, because everybody may have been re-keyed too.

**The same people.** A school or class that got a new name as well looks like one that goes and one that comes, but for
who is in it: more than half of the people of either, and at least `_LEAST_PEOPLE`. A class must not be at another time
or of another teacher. One school is reason enough to wait. A class is not, since a teacher may begin something else
with the same children: classes are proposed where the plan waits anyway.
"""

from __future__ import annotations

import duckdb

from enrollsync.plan.reconcile.tables import empty
from enrollsync.run.engine import one_row, parquet
from enrollsync.run.workspace import Notice, Workspace
from enrollsync.words.canonical import CLASSES, ENTITIES, ID_CHANGES, ORGANIZATIONS, Entity

_LEAST = 20
_LEAST_PERCENT = 20
_PAIRED_PERCENT = 80
_LEAST_PEOPLE = 5


def propose_id_changes(connection: duckdb.DuckDBPyConnection, workspace: Workspace, *, waits: bool) -> list[Notice]:
    """A hold for each entity and reason; the pairs are written to `workspace.proposed_id_changes`.

    `waits`: whether the plan does so already.
    """
    workspace.proposed_id_changes.unlink(missing_ok=True)
    connection.execute(empty("proposed"))
    holds = [hold for entity in ENTITIES if entity.key for hold in _many_at_once(connection, entity)]
    holds += _same_people(connection, ORGANIZATIONS)
    if holds or waits:
        holds += _same_people(connection, CLASSES)
    if holds:
        _write(connection, workspace)
    return holds


def _hold(found: str) -> Notice:
    remedy = "if it is right, take it with `--use-proposal`, or deliver it with the batch"
    return Notice.of("GUARD-REKEYED", f"{found}; look at id_changes.csv in the run's folder, and {remedy}")


# ---- many at once ----------------------------------------------------------------------------------------------------


def _many_at_once(connection: duckdb.DuckDBPyConnection, entity: Entity) -> list[Notice]:
    if not one_row(connection, f"SELECT EXISTS (FROM {entity.name}_lookalikes)")[0]:
        return []
    pairs, judged, active = _count(connection, entity)
    enough = judged >= _LEAST and 100 * judged >= _LEAST_PERCENT * active
    if not enough or 100 * pairs < _PAIRED_PERCENT * judged:
        return []
    connection.execute(f"INSERT INTO proposed BY NAME {_pairs(entity)}")
    return [_hold(f"{pairs:,} of {judged:,} {entity.name} seem to be there under another identifier")]


def _count(connection: duckdb.DuckDBPyConnection, entity: Entity) -> tuple[int, int, int]:
    """Pairs, the fewer of records and rows that may be each other's, active records of this source."""
    name = entity.name
    pairs, records, rows, active = one_row(
        connection,
        f"""
        SELECT
            (SELECT count(*) FROM ({_pairs(entity)})),
            (
                SELECT count(*)
                FROM db_{name}
                WHERE status = 'active' AND {entity.key} NOT IN (SELECT old_key FROM {name}_lookalikes WHERE alone)
                    AND {entity.key} IN (FROM {name}_absent UNION ALL SELECT old_key FROM {name}_lookalikes)
            ),
            (
                SELECT count(*)
                FROM {name}_matched
                WHERE (old_key IS NULL OR source_key IN (SELECT source_key FROM {name}_lookalikes))
                    AND source_key NOT IN (SELECT source_key FROM {name}_lookalikes WHERE alone)
                    AND source_key NOT IN ({_lost_zeros(entity)})
            ),
            (SELECT count(*) FROM db_{name} WHERE status = 'active' AND source = getvariable('source'))""",
    )
    return pairs, min(records, rows), active


def _pairs(entity: Entity) -> str:
    name, identifier = entity.name, entity.identifier
    return f"""
                SELECT '{entity.singular}' AS entity, old.{identifier} AS old_id, new.{identifier} AS new_id
                FROM {name}_lookalikes AS pair
                JOIN {name}_matched AS new USING (source_key)
                JOIN db_{name} AS old ON old.{entity.key} = pair.old_key
                SEMI JOIN (FROM {name}_open_records WHERE free) AS missed ON missed.{entity.key} = pair.old_key
                WHERE single AND NOT alone AND old.status = 'active'
                    AND source_key NOT IN ({_lost_zeros(entity)})
                    AND old.{identifier} IS NOT NULL AND new.{identifier} IS NOT NULL"""


def _lost_zeros(entity: Entity) -> str:
    """Rows whose identifiers should be as they were."""
    return f"SELECT source_key FROM {entity.name}_held WHERE code = 'ID-LEADING-ZERO'"


# ---- the same people -------------------------------------------------------------------------------------------------


def _same_people(connection: duckdb.DuckDBPyConnection, entity: Entity) -> list[Notice]:
    come = f"SELECT EXISTS (FROM {entity.name}_assigned WHERE old_key IS NULL)"
    if not one_row(connection, come)[0]:
        return []
    found = connection.execute(f"INSERT INTO proposed BY NAME {_paired_by_people(entity)} RETURNING people").fetchall()
    if not found:
        return []
    counted = f"{len(found):,} {entity.singular if len(found) == 1 else entity.name}"
    people = sum(people for (people,) in found)
    seem = "seems" if len(found) == 1 else "seem"
    return [
        _hold(f"{counted} {seem} to be there under another name and identifier, with {people:,} of the same people")
    ]


def _paired_by_people(entity: Entity) -> str:
    """Records that go and rows that come, where more than half of either's people, whom the roster has, are both's."""
    name, key, identifier = entity.name, str(entity.key), str(entity.identifier)
    links = "memberships" if entity is ORGANIZATIONS else "enrollments"
    left_out = f"SELECT {key} FROM {name}_departures WHERE NOT explicit"
    going = f"FROM {name}_absent" if entity is ORGANIZATIONS else left_out
    return f"""
        WITH brought AS (
            SELECT {key}, user_key, role = 'teacher' AS teaches, user_key IN (SELECT user_key FROM db_users) AS known
            FROM {links}_resolved
            SEMI JOIN (FROM {name}_assigned WHERE old_key IS NULL) USING ({key})
        ),
        had AS (
            SELECT {key}, user_key, role = 'teacher' AS teaches, true AS known
            FROM db_{links}
            WHERE status = 'active' AND {key} IN ({going})
        ),
        shared AS (
            SELECT brought.{key} AS new_key, had.{key} AS old_key, count(*) AS people,
                bool_or(brought.teaches AND had.teaches) AS taught_by_one
            FROM brought
            JOIN had USING (user_key)
            GROUP BY ALL
        ),
        sizes AS (
            SELECT {key}, count(*) FILTER (known) AS people, bool_or(teaches) AS taught
            FROM (FROM brought UNION ALL FROM had)
            GROUP BY ALL
        )
        SELECT '{entity.singular}' AS entity, old.{identifier} AS old_id, new.{identifier} AS new_id, shared.people
        FROM shared
        JOIN sizes AS before ON before.{key} = old_key
        JOIN sizes AS after ON after.{key} = new_key
        JOIN db_{name} AS old ON old.{key} = old_key
        JOIN {name}_assigned AS known ON known.{key} = new_key
        JOIN {name}_resolved AS new ON new.source_key = known.source_key
        WHERE shared.people >= {_LEAST_PEOPLE}
            AND 2 * shared.people > greatest(before.people, after.people)
            AND old.status = 'active'
            AND old.{identifier} IS NOT NULL AND new.{identifier} IS NOT NULL
            AND old.{identifier} NOT IN (SELECT old_id FROM proposed WHERE entity = '{entity.singular}')
            AND {"true" if entity is ORGANIZATIONS else _of_one_time_and_teacher()}"""


def _of_one_time_and_teacher() -> str:
    others = " OR ".join(f"coalesce(new.{name} <> old.{name}, false)" for name in CLASSES.alike_in("schedule"))
    return f"NOT ({others}) AND (taught_by_one OR NOT (before.taught AND after.taught))"


def _write(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """For its owner alone: it holds the identifiers of children. What was delivered stays in it."""
    workspace.proposed_id_changes.touch(mode=0o600)
    delivered = f"SELECT entity, old_id, new_id FROM {parquet(workspace.canonical_table(ID_CHANGES.name))}"
    lines = f"{delivered} UNION ALL SELECT entity, old_id, new_id FROM proposed"
    connection.sql(f"SELECT * FROM ({lines}) ORDER BY entity, old_id").write_csv(
        str(workspace.proposed_id_changes), header=True, use_tmp_file=False
    )
