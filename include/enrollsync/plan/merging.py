"""Two records of one person made one: the plan that gives what hangs on the one to the other (rule 9).

Reads Parquet, writes a plan as `reconcile` does, and never touches the database. Who goes becomes inactive and keeps
identifier and source key, so that both lead to the one who is kept; the run's message remembers whom that is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow.parquet as pq

from enrollsync.database.schema import columns_of
from enrollsync.plan.plan import Plan, count_operations, gather_operations, plan_id, write_operations
from enrollsync.run import engine
from enrollsync.run.workspace import COUNTED, Merge, Workspace
from enrollsync.words.canonical import ENROLLMENTS, ENTITIES, KINDS, MEMBERSHIPS, USERS, Entity

REASON = "two records of one person were merged"


Row = dict[str, Any]


def both(workspace: Workspace, merge: Merge) -> tuple[Row | None, Row | None]:
    """Who goes and who is kept, as `state/` has them; None for whom the roster does not have."""
    rows = pq.read_table(workspace.state / f"{USERS.name}.parquet").to_pylist()
    found = {row["user_key"]: row for row in rows if row["status"] != "removed"}
    return found.get(merge.gone), found.get(merge.kept)


def merged(workspace: Workspace) -> set[int]:
    """Who was merged before."""
    return set(pq.read_table(workspace.state / "merges.parquet")["user_key"].to_pylist())


def why_two(gone: Row | None, kept: Row | None, merged: Collection[int]) -> str | None:
    """Why two users cannot be made one, for the end of a sentence; None when they can."""
    if gone is None or kept is None:
        return "the roster has no such record; it may have been undone"
    if gone["user_key"] == kept["user_key"]:
        return "it is one record"
    if {gone["user_key"], kept["user_key"]} & set(merged):
        return "one of them was merged before; undo that first, or take the record that it was merged into"
    if gone["source"] != kept["source"]:
        return f"one comes from {gone['source']}, the other from {kept['source']}; correct the source"
    if KINDS.get(gone["role"]) != KINDS.get(kept["role"]):
        return "one is a student, the other an employee"
    if kept["status"] != "active":
        return "the one to be kept is inactive; keep the other one"
    return None


def plan_merge(workspace: Workspace, district_id: str, merge: Merge, state_version: int) -> Plan:
    """Make the plan that merges two users of the roster in `state/`, at `state_version`, and write it to `plan/`."""
    with engine.connect(workspace.root) as connection:
        for name, key in (("gone", merge.gone), ("kept", merge.kept)):
            connection.execute(f"SET VARIABLE {name} = ?", [key])
        for entity in ENTITIES:
            stored = engine.parquet(workspace.state / f"{entity.name}.parquet")
            connection.execute(f"CREATE VIEW stored_{entity.name} AS FROM {stored}")
            connection.execute(f"CREATE VIEW {entity.name}_after AS{_after(entity)}")
        write_operations(connection, workspace, source=None)
        gather_operations(connection, workspace.plan)
        counts = {entity: dict.fromkeys(COUNTED, 0) | done for entity, done in count_operations(connection).items()}
        plan = Plan(
            plan_id=plan_id(connection, district_id, "", state_version),
            district_id=district_id,
            source="",
            state_version=state_version,
            operations=sum(sum(numbers.values()) for numbers in counts.values()),
            counts=counts,
            holds=[],
        )
        plan.save(workspace.plan)
        return plan


def _after(entity: Entity) -> str:
    inactive = {"status": "'inactive'"}
    if entity is USERS:
        return _goes(entity, inactive, "user_key = getvariable('gone')")
    ours = "user_key = getvariable('gone') AND status = 'active'"
    if entity is MEMBERSHIPS:
        leaves, passes = _goes(entity, {**inactive, "is_primary": "false"}, ours), _passes(entity, _primary())
    elif entity is ENROLLMENTS:
        leaves, passes = _goes(entity, inactive, ours), _passes(entity, "gone.is_primary")
    else:
        return _goes(entity, inactive, "false")
    return f"{leaves}\n        UNION ALL{passes}"


def _goes(entity: Entity, new: dict[str, str], condition: str) -> str:
    changed = ", ".join(f"{value} AS {name}" for name, value in new.items())
    return f"""
        SELECT 'deactivate' AS operation, NULL::VARCHAR AS file, NULL::BIGINT AS line, '{REASON}' AS reason,
            true AS explicit, {", ".join(columns_of(entity))}
        FROM (SELECT * REPLACE ({changed}) FROM stored_{entity.name} WHERE {condition})"""


def _passes(entity: Entity, is_primary: str) -> str:
    """Active links of who goes that the other one has not, or not any more."""
    columns = ", ".join(columns_of(entity))
    others = ", ".join(name for name in columns_of(entity) if name.endswith("_key") or name in entity.told_apart_by)
    return f"""
        SELECT CASE WHEN was IS NULL THEN 'create' ELSE 'reactivate' END AS operation, NULL::VARCHAR AS file,
            NULL::BIGINT AS line, '{REASON}' AS reason, true AS explicit, {columns}
        FROM (
            SELECT gone.* REPLACE (getvariable('kept') AS user_key, {is_primary} AS is_primary)
            FROM stored_{entity.name} AS gone
            WHERE user_key = getvariable('gone') AND status = 'active'
        )
        LEFT JOIN (SELECT {others}, status AS was FROM stored_{entity.name}) USING ({others})
        WHERE was IS DISTINCT FROM 'active'"""


def _primary() -> str:
    """Who has a primary membership keeps it."""
    return """gone.is_primary AND NOT EXISTS (
                    FROM stored_memberships AS own
                    WHERE own.user_key = getvariable('kept') AND own.status = 'active' AND own.is_primary
                )"""
