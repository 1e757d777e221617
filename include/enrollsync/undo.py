"""Undoing a run: its audit rows against the roster as it is, turned into the plan that takes its changes back.

Reads Parquet, writes a plan like `reconcile` does, and never touches the database. Three images of every record that
the run changed decide: `back`, what the run found; `left`, what it left behind; `now`. What a later run has changed
since is a conflict; nothing is undone then, unless the later values are to be kept.

A creation that is undone leaves a row of status `removed`, without identifier and under a source key that no source
can give, so that both are free for another record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import BigInteger, Boolean

from enrollsync import engine
from enrollsync.canonical import BY_NAME, ENTITIES, Entity
from enrollsync.database.schema import USUAL_ENROLLMENT, columns_of, primary_key, typed_column
from enrollsync.errors import ConfigurationError, UndoConflict
from enrollsync.plan import Plan, count_operations, gather_operations, json_of_values, plan_id, write_operations
from enrollsync.workspace import COUNTED, Workspace

_MOST_LISTED = 1000
"""Conflicts that an error carries; the rest is counted."""
_ENDS = tuple((entity, BY_NAME[target]) for entity in ENTITIES for target in entity.links.values())
"""What hangs on what: memberships on users, ..., classes on organizations."""


def plan_undo(
    workspace: Workspace, district_id: str, run: dict[str, Any], state_version: int, *, keep_later: bool
) -> Plan:  # fmt: skip
    """Make the plan that takes back what `run` (a row of `runs`) changed, and write it to `plan/`.

    Reads the roster at `state_version`, and the `changes` and `runs` since that run, from `state/`. Raises
    UndoConflict when later runs changed the same values and `keep_later` does not leave those alone, and
    ConfigurationError when nothing is left to undo.
    """
    with engine.connect(workspace.root) as connection:
        _load(connection, workspace.state, run)
        conflicts = _find_conflicts(connection)
        if conflicts and not keep_later:
            raise UndoConflict(run["run_id"], conflicts, _list_conflicts(connection))
        _keep(connection)
        for entity in ENTITIES:
            connection.execute(_after(entity))
        gather_operations(connection)
        counts = {entity.name: dict.fromkeys(COUNTED, 0) | count_operations(connection, entity) for entity in ENTITIES}
        operations = sum(sum(numbers.values()) for numbers in counts.values())
        if not operations:
            because = "later runs changed all of it" if conflicts else "all of it is as it was before that run"
            raise ConfigurationError(f"run {run['run_id']}: nothing is left to undo, {because}")
        plan = Plan(
            plan_id=plan_id(connection, district_id, _reason(run), state_version),
            district_id=district_id,
            source="",
            state_version=state_version,
            operations=operations,
            counts=counts,
            holds=[],
        )
        write_operations(connection, workspace)
        plan.save(workspace.plan)
        return plan


def _reason(run: dict[str, Any]) -> str:
    return f"undo of run {run['run_id']}"


def _load(connection: duckdb.DuckDBPyConnection, state: Path, run: dict[str, Any]) -> None:
    variables = {"undone": run["state_after"], "run_source": run["source"], "reason": _reason(run)}
    for name, value in variables.items():
        connection.execute(f"SET VARIABLE {name} = ?", [value])
    for table in (*(entity.name for entity in ENTITIES), "changes", "runs"):
        connection.execute(f"CREATE VIEW stored_{table} AS FROM {engine.parquet(state / f'{table}.parquet')}")
    for entity in ENTITIES:
        connection.execute(_images(entity))
        connection.execute(_later(entity))
        connection.execute(_kept_table(entity))
        connection.execute(_final(entity))


# ---- what the run changed --------------------------------------------------------------------------------------------


def _values(entity: Entity) -> list[str]:
    """The columns that a change may change."""
    return [name for name in columns_of(entity) if name not in primary_key(entity)]


def _images(entity: Entity) -> str:
    """One row for each record that the run changed: keys, `created`, and `now_`, `left_` and `back_` of every value.

    Creations that are undone already are not in it.
    """
    values = ", ".join(
        f"old.{name} AS now_{name}, {_left(entity, name)} AS left_{name}, {_back(entity, name)} AS back_{name}"
        for name in _values(entity)
    )
    keys = ", ".join(primary_key(entity))
    return f"""
        CREATE TABLE {entity.name}_images AS
        WITH own AS (
            SELECT {keys}, operation = 'create' AS created, before_json, after_json
            FROM stored_changes
            WHERE entity = '{entity.name}' AND state_after = getvariable('undone')
        )
        SELECT {keys}, created, {values}
        FROM own
        JOIN stored_{entity.name} AS old USING ({keys})
        WHERE NOT (created AND old.status = 'removed')"""


def _left(entity: Entity, name: str) -> str:
    """An audit row says all values of a creation, or none of the usual one; of a change, those that changed."""
    said = _said(name, "after_json")
    usual = {**USUAL_ENROLLMENT, "source": "getvariable('run_source')"} if entity.name == "enrollments" else {}
    created = f"CASE WHEN after_json IS NULL THEN {usual[name]} ELSE {said} END" if name in usual else said
    return f"CASE WHEN created THEN {created} WHEN {_changed(name)} THEN {said} ELSE old.{name} END"


def _back(entity: Entity, name: str) -> str:
    unborn = {
        "status": "'removed'",
        # What a source gives begins with no blank; the audit of what hung on the record still says whose it was.
        "source_key": f"' ' || old.source_key || ' removed ' || {entity.key}",
        str(entity.identifier): "NULL",
    }.get(name, f"old.{name}")
    return f"""CASE
            WHEN created THEN {unborn}
            WHEN {_changed(name)} THEN {_said(name, "before_json")}
            ELSE old.{name}
        END"""


def _changed(name: str) -> str:
    return f"json_exists(before_json, '$.{name}')"


def _said(name: str, text: str) -> str:
    kinds = {BigInteger: "BIGINT", Boolean: "BOOLEAN"}
    kind = kinds.get(type(typed_column(name).type), "VARCHAR")
    return f"try_cast(json_extract_string({text}, '$.{name}') AS {kind})"


def _later(entity: Entity) -> str:
    """Which later run was the last to change a value of these records, and whether it was an undo.

    And the last later run that wrote a record at all.
    """
    keys = ", ".join(primary_key(entity))
    return f"""
        CREATE TABLE {entity.name}_later AS
        SELECT {keys}, "column", arg_max(run_id, state_after) AS run_id, arg_max(outcome, state_after) AS outcome
        FROM (
            SELECT {keys}, state_after, unnest(json_keys(before_json)) AS "column"
            FROM stored_changes
            SEMI JOIN {entity.name}_images USING ({keys})
            WHERE entity = '{entity.name}' AND state_after > getvariable('undone')
        )
        JOIN stored_runs USING (state_after)
        GROUP BY ALL;
        CREATE VIEW {entity.name}_writers AS
        SELECT {keys}, arg_max(run_id, state_after) AS run_id,
            bool_or(operation IN ('create', 'reactivate')) AS raised
        FROM stored_changes
        JOIN stored_runs USING (state_after)
        WHERE entity = '{entity.name}' AND state_after > getvariable('undone')
        GROUP BY ALL"""


# ---- what stays as it is now -----------------------------------------------------------------------------------------


def _kept_table(entity: Entity) -> str:
    """What is left alone: one value, or the whole record (`column` NULL), with or without what hangs on it."""
    keys = ", ".join(f"{key} BIGINT" for key in primary_key(entity))
    return f'CREATE TABLE {entity.name}_kept ({keys}, "column" VARCHAR, with_links BOOLEAN)'


def _final(entity: Entity) -> str:
    """`<entity>_final`: the images with every value as it will be. `<entity>_will`: the whole table as it will be."""
    keys = ", ".join(primary_key(entity))
    values = ", ".join(
        f"CASE WHEN whole OR list_has_any(left_alone, {_one_with(entity, name)}) THEN now_{name} ELSE back_{name} END "
        f"AS {name}"
        for name in _values(entity)
    )
    columns = ", ".join(columns_of(entity))
    return f"""
        CREATE VIEW {entity.name}_final AS
        WITH kept AS (
            SELECT {keys}, bool_or("column" IS NULL) AS whole, list("column") AS left_alone
            FROM {entity.name}_kept
            GROUP BY ALL
        )
        SELECT images.*, {values}
        FROM {entity.name}_images AS images
        LEFT JOIN kept USING ({keys});
        CREATE VIEW {entity.name}_will AS
        SELECT {columns}
        FROM {entity.name}_final
        UNION ALL
        SELECT {columns}
        FROM stored_{entity.name}
        ANTI JOIN {entity.name}_images USING ({keys})"""


def _one_with(entity: Entity, name: str) -> list[str]:
    """The values that stay or go together: a record's names."""
    names = [str(entity.identifier), "source_key", "source"] if entity.key else []
    return names if name in names else [name]


# ---- conflicts -------------------------------------------------------------------------------------------------------


def _find_conflicts(connection: duckdb.DuckDBPyConnection) -> int:
    """Leave every conflict in `<entity>_conflicts`: keys, `column`, `why`, the later `run_id`; returns how many."""
    total = 0
    for entity in ENTITIES:
        parts = [_changed_later(entity), *_new_conflicts(entity)]
        connection.execute(f"CREATE TABLE {entity.name}_conflicts AS {' UNION '.join(parts)}")
        total += engine.one_row(connection, f"SELECT count(*) FROM {entity.name}_conflicts")[0]
    return total


def _new_conflicts(entity: Entity) -> list[str]:
    """Those that depend on what else is left alone."""
    needed = [_needed(linking, target) for linking, target in _ENDS if target is entity]
    orphans = [_orphaned(linking, target) for linking, target in _ENDS if linking is entity]
    return [*_taken(entity), *needed, *orphans]


def _changed_later(entity: Entity) -> str:
    """Values that are not what the run left behind, or that a later run gave which was no undo."""
    keys = ", ".join(primary_key(entity))
    undoing = {name: f"created OR now_{name} IS DISTINCT FROM back_{name}" for name in _values(entity)}
    moved = {name: f"({undone}) AND now_{name} IS DISTINCT FROM left_{name}" for name, undone in undoing.items()}
    return f"""
        (
            WITH judged AS (
                SELECT {keys}, {_names_where(undoing)} AS undoing, {_names_where(moved)} AS moved
                FROM {entity.name}_images
            ),
            found AS (
                SELECT {keys}, unnest(moved) AS "column"
                FROM judged
                UNION
                SELECT {keys}, later."column"
                FROM judged
                JOIN {entity.name}_later AS later USING ({keys})
                WHERE outcome <> 'undone' AND list_contains(undoing, later."column")
            )
            SELECT {keys}, "column", 'it was changed later' AS why, run_id
            FROM found
            LEFT JOIN {entity.name}_later USING ({keys}, "column")
        )"""


def _names_where(conditions: dict[str, str]) -> str:
    cases = ", ".join(f"CASE WHEN {condition} THEN '{name}' END" for name, condition in conditions.items())
    return f"list_filter([{cases}], lambda name: name IS NOT NULL)"


def _taken(entity: Entity) -> list[str]:
    """An identifier or a source key that would come back, and that another record has."""
    if entity.key is None:
        return []
    return [_held_by_another(entity, [str(entity.identifier)]), _held_by_another(entity, ["source_key", "source"])]


def _held_by_another(entity: Entity, names: list[str]) -> str:
    same = " AND ".join(f"holder.{name} = mine.{name}" for name in names)
    changed = " OR ".join(f"mine.{name} IS DISTINCT FROM mine.now_{name}" for name in names)
    return f"""
        SELECT mine.{entity.key}, '{names[0]}' AS "column", 'another record has it' AS why, writer.run_id
        FROM {entity.name}_final AS mine
        JOIN {entity.name}_will AS holder ON {same}
        LEFT JOIN {entity.name}_writers AS writer ON writer.{entity.key} = holder.{entity.key}
        WHERE holder.{entity.key} <> mine.{entity.key} AND ({changed})"""


def _needed(linking: Entity, target: Entity) -> str:
    """A record whose creation would be undone, or that would become inactive, while something new hangs on it."""
    keys = ", ".join(primary_key(linking))
    return f"""
        SELECT mine.{target.key}, CASE WHEN created THEN '{linking.name}' ELSE 'status' END AS "column",
            'something that stays hangs on it' AS why, max(writer.run_id) AS run_id
        FROM {target.name}_final AS mine
        JOIN {linking.name}_will AS hanging USING ({target.key})
        LEFT JOIN {linking.name}_writers AS writer USING ({keys})
        WHERE {_stands(linking, "hanging")}
            AND (
                mine.status = 'removed' AND created
                OR mine.status = 'inactive' AND mine.now_status = 'active' AND writer.raised
            )
        GROUP BY ALL"""


def _orphaned(linking: Entity, target: Entity) -> str:
    """A link that would come back to a record which is not there any more."""
    keys = ", ".join(f"mine.{key}" for key in primary_key(linking))
    column = "status" if linking.key is None else target.key
    back = f"mine.status IS DISTINCT FROM mine.now_status{_moved(linking, target)}"
    return f"""
        SELECT {keys}, '{column}' AS "column", 'what it belongs to is not there' AS why, NULL AS run_id
        FROM {linking.name}_final AS mine
        JOIN {target.name}_will AS whole USING ({target.key})
        ANTI JOIN (FROM {target.name}_final WHERE created) AS going USING ({target.key})
        WHERE whole.status = 'removed' AND {_stands(linking, "mine")} AND ({back})"""


def _moved(linking: Entity, target: Entity) -> str:
    return f" OR mine.{target.key} IS DISTINCT FROM mine.now_{target.key}" if linking.key else ""


def _stands(linking: Entity, table: str) -> str:
    """Whether it needs what it hangs on: an inactive link does not."""
    return f"{table}.status <> 'removed'" if linking.key else f"{table}.status = 'active'"


def _list_conflicts(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The first conflicts, with identifiers as they may be shown."""
    parts = " UNION ALL ".join(
        f"""
        SELECT {number} AS place, '{entity.name}' AS entity, {_shown(entity)} AS record, "column", why, found.run_id
        FROM {entity.name}_conflicts AS found
        {_shown_from(entity)}"""
        for number, entity in enumerate(ENTITIES)
    )
    rows = connection.execute(
        f'SELECT * EXCLUDE (place) FROM ({parts}) ORDER BY place, record, why, "column" LIMIT {_MOST_LISTED}'
    )
    names = [column[0] for column in rows.description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def _shown(entity: Entity) -> str:
    if entity.key:
        return engine.masked(f"coalesce(now_{entity.identifier}, back_{entity.identifier}, {_plain('now_source_key')})")
    ends = [BY_NAME[target] for target in entity.links.values()]
    return " || ' ' || ".join(
        engine.masked(f"coalesce({end.name}.{end.identifier}, {_plain(f'{end.name}.source_key')})") for end in ends
    )


def _shown_from(entity: Entity) -> str:
    if entity.key:
        return f"JOIN {entity.name}_images USING ({entity.key})"
    ends = [BY_NAME[target] for target in entity.links.values()]
    return " ".join(f"JOIN stored_{end.name} AS {end.name} USING ({end.key})" for end in ends)


def _plain(source_key: str) -> str:
    """The source's own word for the record, also where its creation was undone."""
    return f"regexp_extract({source_key}, '^ ?(?:student:|staff:)?(.*?)(?: removed [0-9]+)?$', 1)"


# ---- leaving later values alone --------------------------------------------------------------------------------------


def _keep(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave alone what conflicts, what hangs on it, and what that needs, until nothing new is found.

    A creation that conflicts stays with its links; a person always does. What such a link needs at its other end
    stays too, by itself.
    """
    for entity in ENTITIES:
        connection.execute(_leave_alone(entity, f"SELECT * FROM {entity.name}_conflicts", with_links=True))
    steps = [_leave_links(linking, target) for linking, target in _ENDS]
    for entity in ENTITIES:
        steps += [_leave_alone(entity, part, with_links=entity.name == "users") for part in _new_conflicts(entity)]
    # Every step is run each time round: what one leaves alone, another one may have to follow.
    while sum(len(connection.execute(step).fetchall()) for step in steps):
        pass


def _leave_alone(entity: Entity, conflicts: str, *, with_links: bool) -> str:
    """A record that is there or not as a whole is left alone as a whole."""
    keys = ", ".join(primary_key(entity))
    return f"""
        INSERT INTO {entity.name}_kept
        SELECT DISTINCT {keys}, CASE WHEN created OR now_status = 'removed' THEN NULL ELSE "column" END, {with_links}
        FROM ({conflicts})
        JOIN {entity.name}_images USING ({keys})
        EXCEPT
        FROM {entity.name}_kept
        RETURNING 1"""


def _leave_links(linking: Entity, target: Entity) -> str:
    keys = ", ".join(primary_key(linking))
    end = target.key if target.key in primary_key(linking) else f"now_{target.key}"
    return f"""
        INSERT INTO {linking.name}_kept
        SELECT {keys}, NULL, true
        FROM {linking.name}_images
        WHERE created
            AND {end} IN (SELECT {target.key} FROM {target.name}_kept WHERE "column" IS NULL AND with_links)
            AND ({keys}) NOT IN (SELECT ({keys}) FROM {linking.name}_kept WHERE "column" IS NULL)
        RETURNING 1"""


# ---- the plan --------------------------------------------------------------------------------------------------------


def _after(entity: Entity) -> str:
    differs = "now_{0} IS DISTINCT FROM {0}"
    identifier = entity.identifier
    renamed = f"WHEN now_{identifier} <> {identifier} THEN 'reidentify'" if identifier else ""
    return f"""
        CREATE VIEW {entity.name}_after AS
        SELECT
            CASE
                {renamed}
                WHEN now_status <> status AND status = 'active' THEN 'reactivate'
                WHEN now_status <> status THEN 'deactivate'
                ELSE 'update'
            END AS operation,
            NULL::VARCHAR AS file, NULL::BIGINT AS line, getvariable('reason') AS reason, true AS explicit,
            {json_of_values(entity, "now_{0}", differs)} AS before_json,
            {json_of_values(entity, "{0}", differs)} AS after_json,
            {", ".join(columns_of(entity))}
        FROM {entity.name}_final
        WHERE {" OR ".join(differs.format(name) for name in _values(entity))}"""
