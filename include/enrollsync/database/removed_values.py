"""Up to which state the audit has lost people's values, because they were older than the district keeps them.

Whoever would need them says so: an undo of such a run, and the roster as it was before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Select, select

from enrollsync.database.schema import OUTCOME_TRIMMED, RUNS, TRIMMED
from enrollsync.words.errors import ConfigurationError

IMAGE = '{"values": "removed"}'
"""Stands in `changes` in the place of what a person's record was before and after."""
WHY = "its values were removed since, being older than the district keeps them"

Read = Callable[[Select[Any]], list[dict[str, Any]]]


def removed_to(read: Read, district_id: str) -> int:
    """The newest state whose audit rows have lost their values; 0 where none have."""
    query = select(RUNS.c.message).where(RUNS.c.district_id == district_id, RUNS.c.outcome == OUTCOME_TRIMMED)
    return max((int(str(row["message"]).removeprefix(TRIMMED)) for row in read(query)), default=0)


def require_values(read: Read, district_id: str, state: int, what: str) -> None:
    """Raise ConfigurationError where `what` needs the audit of runs after that state, and some have no values left."""
    if state < removed_to(read, district_id):
        raise ConfigurationError(f"{what}: {WHY} (`retention.audit` in the district's file)")
