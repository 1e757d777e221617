"""Which rows that waited a person has settled since, as long as that is not undone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Select, select

from enrollsync.database.schema import RUNS, SETTLED
from enrollsync.database.undos import list_undos, undo_runs, undone_runs

Place = tuple[str, str, int]
"""Run, file and line."""


def message_of(run_id: str, file: str, line: int) -> str:
    """The `message` of the run that settled a row which waited in the run `run_id`; it names no person."""
    return f"{SETTLED}{line} of {file} of run {run_id}"


def settled_rows(read: Callable[[Select[Any]], list[dict[str, Any]]], district_id: str) -> set[Place]:
    """Where the settled rows stood."""
    query = select(RUNS.c.run_id, RUNS.c.message).where(
        RUNS.c.district_id == district_id, RUNS.c.message.like(f"{SETTLED}%"), RUNS.c.state_after.is_not(None)
    )
    found = read(query)
    undos = list_undos([(row["run_id"], row["message"]) for row in read(undo_runs(district_id))]) if found else []
    undone = set(undone_runs(undos))
    places = (
        re.fullmatch(rf"{SETTLED}(\d+) of (.+) of run (.+)", row["message"])
        for row in found
        if row["run_id"] not in undone
    )
    return {(place[3], place[2], int(place[1])) for place in places if place}
