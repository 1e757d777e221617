"""Accepted rows against the database as it is: the operations between both, joined set-wise in DuckDB.

Reads Parquet, writes Parquet; never touches the database itself. `matching` says which row is which record,
`changes` what a row changes, `absence` what goes, `findings` what is told of it; `tables` lists what they share.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from enrollsync.plan.guard import Past, judge
from enrollsync.plan.hints import all_terms_ended
from enrollsync.plan.plan import Plan, count_operations, gather_operations, plan_id, write_operations
from enrollsync.plan.reconcile.absence import find_departures, plan_absences
from enrollsync.plan.reconcile.changes import plan_changes
from enrollsync.plan.reconcile.findings import write_findings
from enrollsync.plan.reconcile.forgotten import hold_forgotten
from enrollsync.plan.reconcile.matching import match_entities
from enrollsync.plan.reconcile.rekeying import propose_id_changes
from enrollsync.plan.reconcile.schools import find_in_schools
from enrollsync.plan.reconcile.switching import hold_switch
from enrollsync.plan.shares import measure, measure_students
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import OPERATIONS, Workspace
from enrollsync.words.canonical import ENTITIES, Entity
from enrollsync.words.codes import DOUBLE, NO_ROLE


def reconcile(run: Run, state_version: int, past: Past) -> Plan:
    """Make the plan that takes the state of that version, exported to `state/`, to the accepted rows; it is in `plan/`.

    Findings of its own (held rows, references that nothing answers) replace those of an earlier try.
    """
    workspace, state, checked = run.place, run.place.state, run.manifest.checked
    district_id, source = run.settings.district_id, run.format.source.name
    how = engine.table_or_view(workspace.canonical, state)
    with engine.connect(workspace.root) as connection:
        for entity in ENTITIES:
            connection.execute(_stored(entity, state, how))
        for name, file in (
            ("history", "identifier_history"),
            ("undos", "undos"),
            ("edits", "edits"),
            ("merges", "merges"),
            ("forgotten", "forgotten"),
        ):
            connection.execute(f"CREATE {how} stored_{name} AS FROM {engine.parquet(state / f'{file}.parquet')}")
        switches = match_entities(connection, run, how)
        find_departures(connection, run, nothing=switches or run.manifest.adds_only)
        changed = plan_changes(connection, run.manifest, run.format)
        plan_absences(connection, how)
        # Of what one person changes, nothing is learnt about nights, and limits do not hold it.
        by_hand, edited = run.manifest.by_hand, run.manifest.edit is not None
        write_operations(connection, workspace, source=None if by_hand else source, edited=edited)
        gather_operations(connection, workspace.plan)
        write_findings(connection, run)
        planned = count_operations(connection)
        counts = {
            entity.name: planned[entity.name] | _count(connection, entity, checked[entity.name], changed[entity.name])
            for entity in ENTITIES
        }
        shares = [] if by_hand else measure(connection)
        holds, unusual = ([], []) if by_hand else judge(connection, run, shares, counts, past)
        if switches:
            # That everything changes goes without saying: it has another source now.
            others = [hold for hold in holds if hold.code != "GUARD-UPDATE"]
            holds = [hold_switch(connection, workspace, source), *others]
        if not by_hand:
            holds = [*hold_forgotten(connection, past.forgotten_answered), *holds]
        plan = Plan(
            plan_id=plan_id(connection, district_id, source, state_version),
            district_id=district_id,
            source=source,
            state_version=state_version,
            operations=sum(counts[entity][name] for entity in counts for name in OPERATIONS),
            counts=counts,
            shares=shares,
            students={} if by_hand else measure_students(connection),
            found_in_schools=None if by_hand else find_in_schools(connection, workspace),
            notices=[*all_terms_ended(connection, run), *unusual],
            holds=[] if by_hand else [*holds, *propose_id_changes(connection, workspace, waits=bool(holds))],
        )
        engine.write_parquet(connection, _organizations_summary(), workspace.organizations_summary)
        engine.write_parquet(connection, _waiting_rows(workspace), workspace.waiting)
        plan.save(workspace.plan)
        return plan


def _stored(entity: Entity, state: Path, how: str) -> str:
    return f"""
        CREATE {how} stored_{entity.name} AS
        FROM {engine.parquet(state / f"{entity.name}.parquet")};
        CREATE {how} db_{entity.name} AS
        FROM stored_{entity.name}
        WHERE status <> 'removed'"""


def _count(
    connection: duckdb.DuckDBPyConnection, entity: Entity, accepted: dict[str, int], changed: int
) -> dict[str, int]:
    """What led to no operation. Read = created + updated + re-identified + reactivated + these."""
    name = entity.name
    known, unknown, read, doubled = engine.one_row(
        connection,
        f"""
        SELECT
            (SELECT count(*) FROM {name}_{"assigned" if entity.key else "resolved"}),
            (SELECT count(*) FROM {name}_dangling WHERE NOT waits),
            (SELECT count(*) FROM {name}_accepted),
            (SELECT count(*) FROM {name}_doubled)""",
    )
    return {
        "unchanged": known - changed,
        "held": accepted["held"] + read - known - unknown,
        "rejected": accepted["rejected"] + unknown,
        "collapsed": accepted["collapsed"] + doubled,
    }


def _waiting_rows(workspace: Workspace) -> str:
    """The rows that wait for a person: what each is of, where it stands, and which record it may be, if any.

    Rows of two people under one identifier are rejected, and wait for a person all the same. Who has no role waits for
    another delivery.
    """
    parts = [
        f"""
        SELECT '{entity.name}' AS entity, source_key, code, old_key AS record_key, file, line
        FROM {entity.name}_held
        JOIN {entity.name}_accepted USING (source_key)
        WHERE code <> '{NO_ROLE}'
        UNION ALL
        SELECT DISTINCT '{entity.name}', given.source_key, code, old.{entity.key}, given.file, given.line
        FROM {engine.parquet(workspace.findings)} AS found
        JOIN {engine.parquet(workspace.canonical_table(entity.name))} AS given USING (row_id)
        LEFT JOIN db_{entity.name} AS old ON old.source_key = given.source_key
            AND old.source = getvariable('source')
        WHERE code = '{DOUBLE}' AND severity = 'critical' AND found.entity = '{entity.name}'"""
        for entity in ENTITIES
        if entity.key
    ]
    return " UNION ALL ".join(parts)


def _organizations_summary() -> str:
    """For each organization, how many of its people and classes change."""
    return f"""
        WITH people AS (
            SELECT coalesce(after.organization_key, old.organization_key) AS organization_key, user_key AS key,
                'users' AS entity
            FROM (FROM db_memberships WHERE is_primary AND status = 'active') AS old
            FULL JOIN (FROM memberships_after WHERE is_primary) AS after USING (user_key)
            UNION ALL
            SELECT coalesce(after.organization_key, old.organization_key), class_key, 'classes'
            FROM (FROM db_classes WHERE status = 'active') AS old
            FULL JOIN classes_after AS after USING (class_key)
        ),
        placed AS (
            SELECT people.organization_key, operation, count(*) AS n
            FROM people
            LEFT JOIN (
                SELECT 'users' AS entity, user_key AS key, operation FROM users_after
                UNION ALL
                SELECT 'classes', class_key, operation FROM classes_after
            ) AS done ON done.entity = people.entity AND done.key = people.key
            GROUP BY ALL
        )
        SELECT {engine.masked("coalesce(after.organization_id, old.organization_id, placed.organization_key::VARCHAR)")}
                AS organization_id,
            coalesce(any_value(after.name), any_value(old.name)) AS name,
            coalesce(sum(n) FILTER (placed.operation IN ('create', 'reactivate')), 0)::BIGINT AS created,
            coalesce(sum(n) FILTER (placed.operation IN ('update', 'reidentify')), 0)::BIGINT AS updated,
            coalesce(sum(n) FILTER (placed.operation = 'deactivate'), 0)::BIGINT AS deactivated,
            coalesce(sum(n) FILTER (placed.operation IS NULL), 0)::BIGINT AS unchanged
        FROM placed
        LEFT JOIN db_organizations AS old USING (organization_key)
        LEFT JOIN organizations_after AS after USING (organization_key)
        WHERE placed.organization_key IS NOT NULL
        GROUP BY 1
        ORDER BY 1"""
