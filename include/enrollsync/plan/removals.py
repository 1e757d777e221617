"""A plan less its removals: what is applied when a person approves without them.

Reads the plan's files and writes others of the same kind beside them; the plan itself stays what was shown.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from enrollsync.formats import ID_CHANGES_FILE
from enrollsync.plan.plan import Plan, count_operations, gather_operations, plan_id
from enrollsync.plan.reconcile.absence import ANOTHER_ROLE, ANOTHER_SCHOOL
from enrollsync.plan.shares import Share
from enrollsync.run import engine
from enrollsync.run.workspace import OPERATIONS, Workspace
from enrollsync.words.canonical import ENTITIES, Entity


def without_removals(workspace: Workspace, plan: Plan) -> Plan:
    """The plan less its deactivations, its tables in `workspace.without_removals`; what they did besides, stays done.

    That is what makes both halves fit: who moves to another school loses the old one's mark of being the primary one,
    and a record that got another identifier before it went has it, because somebody else may have the old one now.
    """
    workspace.without_removals.mkdir(exist_ok=True)
    with engine.connect(workspace.root) as connection:
        for entity in ENTITIES:
            connection.execute(
                f"CREATE VIEW {entity.name}_planned AS FROM {engine.parquet(workspace.plan_table(entity.name))}"
            )
            engine.write_parquet(connection, _left(entity), workspace.without_removals / f"{entity.name}.parquet")
        summary = workspace.without_removals / workspace.organizations_summary.name
        engine.write_parquet(connection, _summary_left(workspace), summary)
        gather_operations(connection, workspace.without_removals)
        return _recounted(connection, plan)


def _left(entity: Entity) -> str:
    remainders = {"memberships": _formerly_primary()}
    remainder = _renamed(entity) if entity.key else remainders.get(entity.name)
    kept = f"FROM {entity.name}_planned WHERE operation <> 'deactivate'"
    return " UNION ALL BY NAME ".join(part for part in (kept, remainder) if part)


def _renamed(entity: Entity) -> str:
    """What a line of `id_changes.csv` renamed, as if it stayed."""
    without_status = "json_merge_patch({0}, '{{\"status\":null}}')::VARCHAR AS {0}"
    images = ", ".join(without_status.format(name) for name in ("before_json", "after_json"))
    return f"""
        SELECT * REPLACE (
            'reidentify' AS operation, 'active' AS status, '{ID_CHANGES_FILE.name} says so' AS reason,
            '{ID_CHANGES_FILE.name}' AS file, NULL::BIGINT AS line, {images}
        )
        FROM {entity.name}_planned
        WHERE operation = 'deactivate' AND json_exists(after_json, '$.{entity.identifier}')"""


def _formerly_primary() -> str:
    """As `reconcile.absence` plans it for a membership that stays."""
    return f"""
        SELECT planned.* REPLACE (
            'update' AS operation, 'active' AS status, false AS is_primary,
            CASE
                WHEN moved.organization_key = planned.organization_key THEN '{ANOTHER_ROLE}'
                ELSE '{ANOTHER_SCHOOL}'
            END AS reason, NULL::VARCHAR AS file, NULL::BIGINT AS line,
            '{{"is_primary":true}}' AS before_json, '{{"is_primary":false}}' AS after_json
        )
        FROM memberships_planned AS planned
        JOIN (
            SELECT user_key, organization_key
            FROM memberships_planned
            WHERE operation <> 'deactivate' AND is_primary AND status = 'active'
        ) AS moved USING (user_key)
        WHERE operation = 'deactivate'
            AND coalesce(json_extract_string(before_json, '$.is_primary')::BOOLEAN, is_primary)"""


def _summary_left(workspace: Workspace) -> str:
    return f"""
        SELECT * REPLACE (0::BIGINT AS deactivated, unchanged + deactivated AS unchanged)
        FROM {engine.parquet(workspace.organizations_summary)}"""


def _recounted(connection: duckdb.DuckDBPyConnection, plan: Plan) -> Plan:
    counts = {entity: plan.counts[entity] | planned for entity, planned in count_operations(connection).items()}
    return plan.model_copy(
        update={
            "plan_id": plan_id(connection, plan.district_id, plan.source, plan.state_version),
            "operations": sum(numbers[name] for numbers in counts.values() for name in OPERATIONS),
            "counts": counts,
            "shares": [_share_left(share, counts[share.entity]) for share in plan.shares],
            "students": {key: (active, created, 0, 0) for key, (active, created, _, _) in plan.students.items()},
        }
    )


def _share_left(share: Share, counts: dict[str, int]) -> Share:
    changed = share.changed if share.organization_key is not None else counts["update"] + counts["reidentify"]
    created = share.created if share.organization_key is not None else counts["create"] + counts["reactivate"]
    return replace(share, deactivated=0, removed=0, changed=changed, created=created)
