"""A plan: the immutable list of operations that takes the database from one state to the batch's.

The operations stand in Parquet beside `plan.json`, with the rows to write; the plan's id is a hash of what they do and
of the state they were made for, so that an approval can name exactly one plan.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from enrollsync.database.schema import (
    EDIT_REASON,
    RECORD_KEYS,
    USUAL_LINKS,
    Counts,
    FoundInSchools,
    columns_of,
    primary_key,
    record_keys,
)
from enrollsync.plan.shares import Share
from enrollsync.run.engine import connect, literal, one_row, parquet, write_parquet
from enrollsync.run.workspace import OPERATIONS, Notice, Workspace
from enrollsync.words.canonical import ENTITIES, Entity
from enrollsync.words.errors import EnrollSyncError


class Plan(BaseModel):
    """What `plan.json` holds."""

    model_config = ConfigDict(frozen=True)

    plan_id: str
    district_id: str
    source: str
    state_version: int
    """The database's state that the operations start from."""
    operations: int
    counts: dict[str, dict[str, int]]
    """Entity -> how many of each operation, and of rows unchanged, held, rejected and collapsed."""
    holds: list[Notice]
    """Why the whole plan waits for a person; empty when it need not."""
    notices: list[Notice] = Field(default_factory=list)
    """What is to be told of it besides."""
    shares: list[Share] = Field(default_factory=list)
    """What it changes of each entity and organization; an undo has none, because nothing is learnt from it."""
    students: dict[str, Counts] = Field(default_factory=dict)
    """The same of the students alone, as `shares.measure_students` counts them."""
    found_in_schools: FoundInSchools | None = None
    """How many findings there are on the rows of each organization; None where no delivery was read."""

    def save(self, folder: Path) -> None:
        """Write `plan.json`, without the identifiers that its shares name: they may be social security numbers."""
        text = self.model_dump_json(indent=1, exclude={"shares": {"__all__": {"organization"}}})
        (folder / "plan.json").write_text(text)


def load_plan(workspace: Workspace) -> Plan:
    """Read the run's plan. Raises EnrollSyncError when its operations are not those that its id stands for."""
    plan = Plan.model_validate_json((workspace.plan / "plan.json").read_text())
    with connect(workspace.root) as connection:
        gather_operations(connection, workspace.plan)
        found = plan_id(connection, plan.district_id, plan.source, plan.state_version)
    if found != plan.plan_id:
        raise EnrollSyncError(
            f"plan {plan.plan_id}: its files in {workspace.plan} are not what they were when it was made, so nothing "
            "was written; start a new run, and find out who changed them"
        )
    return plan


def write_operations(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, *, source: str | None, edited: bool = False
) -> None:
    """Write the operations of every `<entity>_after` to `plan/<entity>.parquet`; nothing is left of an earlier plan.

    `source` is the one that the run will be remembered with, if any: what is usual of it need not be told.

    `<entity>_after` is what a planner leaves: `operation, explicit, reason, file, line` and the columns of the base
    table as they will be. What changes is told here, beside the rows of `stored_<entity>`: the roster as it is.
    Of what a person `edited` the files are ours alone, so that no change names them.
    """
    shutil.rmtree(workspace.without_removals, ignore_errors=True)
    connection.execute(_TOLD)
    for entity in ENTITIES:
        if entity.key:
            connection.execute(_before(entity))
        (some,) = one_row(connection, f"SELECT EXISTS (FROM {entity.name}_after)")
        planned = _planned(entity, source, _EDITED if edited else _SAID) if some else _nothing_planned(entity)
        write_parquet(connection, planned, workspace.plan_table(entity.name))


def gather_operations(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Create the view `operations` over a written plan's tables, each row with a hash of the row it leads to."""
    tables = {entity: folder / f"{entity.name}.parquet" for entity in ENTITIES}
    filled = [entity for entity, table in tables.items() if pq.read_metadata(table).num_rows]
    parts = [
        f"""
        SELECT '{entity.name}' AS entity, operation, {", ".join(_record_keys(entity))}, before_json,
            CASE WHEN operation <> 'create' THEN after_json END AS after_json, reason,
            hash({", ".join(columns_of(entity))}) AS after
        FROM {parquet(tables[entity])}"""
        for entity in filled or ENTITIES[:1]
    ]
    connection.execute(f"CREATE VIEW operations AS {' UNION ALL '.join(parts)}")


def count_operations(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Entity -> how many of each of `OPERATIONS` the view `operations` has."""
    query = "SELECT entity, operation, count(*) FROM operations GROUP BY ALL"
    planned = {(entity, operation): count for entity, operation, count in connection.execute(query).fetchall()}
    return {
        entity.name: {operation: planned.get((entity.name, operation), 0) for operation in OPERATIONS}
        for entity in ENTITIES
    }


_TOLD = """
    CREATE OR REPLACE TEMP MACRO told(name, value, other) AS
        CASE
            WHEN value IS DISTINCT FROM other
            THEN '"' || name || '":' || coalesce(to_json(value)::VARCHAR, 'null')
        END"""
"""A member of a JSON text, where the value is another one on the other side."""


def _record_keys(entity: Entity) -> list[str]:
    """The keys of the records that an operation touches, in the order of `RECORD_KEYS`."""
    own = record_keys(entity)
    return [key if key in own else f"NULL::BIGINT AS {key}" for key in RECORD_KEYS]


_SAID = "reason, file, line"
_EDITED = f"{literal(EDIT_REASON)} AS reason, NULL::VARCHAR AS file, NULL::BIGINT AS line"
"""Why a change is planned."""


def _before(entity: Entity) -> str:
    """All that is told of a change reads these, and not every record each time."""
    return f"""
        CREATE TABLE {entity.name}_before AS
        FROM stored_{entity.name}
        SEMI JOIN {entity.name}_after USING ({entity.key})"""


def _planned(entity: Entity, source: str | None, why: str) -> str:
    """The operations of one base table, in the order in which it lies: writing it is several times as fast so."""
    keys = ", ".join(primary_key(entity))
    columns = ", ".join(f"new.{name}" for name in columns_of(entity))
    old = f"{entity.name}_before" if entity.key else f"stored_{entity.name}"
    return f"""
        SELECT operation, {columns}, {_named(entity)} AS entity_id,
            CASE WHEN operation <> 'create' THEN {_changes(entity, "old", "new")} END AS before_json,
            CASE WHEN operation <> 'create' OR NOT {_usual(entity, source)} THEN {_changes(entity, "new", "old")} END
                AS after_json,
            {why}
        FROM {entity.name}_after AS new
        LEFT JOIN {old} AS old USING ({keys})
        ORDER BY {keys}"""


def _nothing_planned(entity: Entity) -> str:
    """The same without a row, which is not worth planning how to tell of."""
    texts = "NULL::VARCHAR AS entity_id, NULL::VARCHAR AS before_json, NULL::VARCHAR AS after_json"
    return f"SELECT operation, {', '.join(columns_of(entity))}, {texts}, {_SAID} FROM {entity.name}_after WHERE false"


def _changes(entity: Entity, side: str, other: str) -> str:
    """SQL for the JSON text of what is not alike on both sides, as one of them has it; of a creation, all its values.

    A deactivation says its status, also of who was inactive before: the identifier has passed to somebody else.
    """
    members = (
        f"told('{name}', {side}.{name}, {_other_status(other) if name == 'status' else f'{other}.{name}'})"
        for name in columns_of(entity)
        if name not in record_keys(entity)
    )
    return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'"


def _other_status(other: str) -> str:
    return f"CASE WHEN operation <> 'deactivate' THEN {other}.status END"


def _named(entity: Entity) -> str:
    """A record that gave its identifier up goes by the name that it had."""
    if entity.identifier is None:
        return "NULL::VARCHAR"
    names = (f"{side}.{name}" for side, name in (
        ("new", entity.identifier), ("old", entity.identifier), ("old", "source_key"), ("new", "source_key")
    ))  # fmt: skip
    return f"coalesce({', '.join(names)})"


def _usual(entity: Entity, source: str | None) -> str:
    """What the audit need not say, see `USUAL_LINKS`."""
    if entity.name not in USUAL_LINKS or source is None:
        return "false"
    usual = {**USUAL_LINKS[entity.name], "source": source}
    return f"({' AND '.join(f'new.{name} IS NOT DISTINCT FROM {literal(value)}' for name, value in usual.items())})"


def plan_id(connection: duckdb.DuckDBPyConnection, district_id: str, source: str, state_version: int) -> str:
    """The content hash of `operations`: the same ones on the same state give the same id, in any order.

    `after` in it stands for the row that an operation leads to.
    """
    digests = one_row(
        connection,
        """
        WITH digests AS (
            SELECT
                hash(entity, operation, user_key, organization_key, class_key, before_json, after_json, reason, after)
                    AS one,
                hash(after, reason, after_json, before_json, class_key, organization_key, user_key, operation, entity,
                    'again') AS other
            FROM operations
        )
        SELECT count(*), bit_xor(one), sum(one)::VARCHAR, bit_xor(other), sum(other)::VARCHAR
        FROM digests""",
    )
    content = "\n".join(str(part) for part in (district_id, source, state_version, *digests))
    return hashlib.sha256(content.encode()).hexdigest()[:16]
