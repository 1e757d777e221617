"""A plan: the immutable list of operations that takes the database from one state to the batch's.

The operations stand in Parquet beside `plan.json`; the plan's id is a hash of what they do and of the state they
were made for, so that an approval can name exactly one plan.
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
    """The content hash of table `operations`: the same operations on the same state give the same id, in any order."""
    count, first, second = one_row(
        connection,
        """
        WITH digests AS (
            SELECT md5_number(concat_ws(chr(31), entity, operation, entity_key, entity_id,
                coalesce(before_json, ''), coalesce(after_json, ''))) AS digest
            FROM operations
        )
        SELECT count(*), coalesce(sum(digest % 1000000000000000003), 0)::VARCHAR, coalesce(bit_xor(digest), 0)::VARCHAR
        FROM digests""",
    )
    content = f"{district_id}\n{source}\n{state_version}\n{count}\n{first}\n{second}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]
