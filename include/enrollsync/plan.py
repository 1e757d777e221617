"""A plan: the immutable list of operations that takes the database from one state to the batch's.

The operations stand in Parquet beside `plan.json`, with the rows to write; the plan's id is a hash of what they do and
of the state they were made for, so that an approval can name exactly one plan.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
from pydantic import BaseModel, ConfigDict

from enrollsync.engine import one_row
from enrollsync.workspace import Notice

OPERATIONS = ("create", "update", "reidentify", "reactivate", "deactivate")


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

    def save(self, folder: Path) -> None:
        """Write `plan.json`."""
        (folder / "plan.json").write_text(self.model_dump_json(indent=1))


def load_plan(folder: Path) -> Plan:
    """Read `plan.json`."""
    return Plan.model_validate_json((folder / "plan.json").read_text())


def plan_id(connection: duckdb.DuckDBPyConnection, district_id: str, source: str, state_version: int) -> str:
    """The content hash of `operations`: the same ones on the same state give the same id, in any order.

    `after` in it stands for the row that an operation leads to.
    """
    digests = one_row(
        connection,
        """
        WITH digests AS (
            SELECT hash(entity, operation, user_key, organization_key, class_key, before_json, after) AS one,
                hash(after, before_json, class_key, organization_key, user_key, operation, entity, 'again') AS other
            FROM operations
        )
        SELECT count(*), bit_xor(one), sum(one)::VARCHAR, bit_xor(other), sum(other)::VARCHAR
        FROM digests""",
    )
    content = "\n".join(str(part) for part in (district_id, source, state_version, *digests))
    return hashlib.sha256(content.encode()).hexdigest()[:16]
