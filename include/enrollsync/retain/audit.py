"""People's values in the audit: how many are old enough, and their removal, which is a run that says up to where.

Rows stay with their run, operation, record and reason; identifiers stay, because old ones lead to their records. What a
person changed on a profile page stays whole: deliveries are held against it (`edits: stick`), and it is identifiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Text, case, cast, func, insert, literal, select, update

from enrollsync.database import RunRecord, Store
from enrollsync.database.access import state_version
from enrollsync.database.memory import instant
from enrollsync.database.removed_values import IMAGE, removed_to
from enrollsync.database.schema import CHANGES, DISTRICT_STATE, EDITED, OUTCOME_TRIMMED, RUNS, TRIMMED
from enrollsync.words.canonical import USERS

if TYPE_CHECKING:
    from enrollsync.as_of.records import Read


@dataclass(frozen=True)
class OldValues:
    """Values that are old enough."""

    before: datetime
    """The runs ended before that."""
    state: int
    """The newest of their states."""
    rows: int
    runs: int
    """That wrote, and could be undone so far."""


def find_values(read: Read, district_id: str, before: datetime) -> OldValues | None:
    """What runs that ended before that instant have left in the audit; None where there is nothing, or no more.

    The newest run that wrote keeps its values, however old: it is what an undo is most often for.
    """
    done = removed_to(read, district_id)
    ended = func.coalesce(RUNS.c.ended_at, RUNS.c.started_at)
    newest = select(DISTRICT_STATE.c.version).where(DISTRICT_STATE.c.district_id == district_id).scalar_subquery()
    old = select(func.max(RUNS.c.state_after).label("state"), func.count().label("runs")).where(
        RUNS.c.district_id == district_id, RUNS.c.state_after > done, RUNS.c.state_after < newest,
        ended < str(instant(before)),
    )  # fmt: skip
    (found,) = read(old) or [{"state": None, "runs": 0}]
    if found["state"] is None:
        return None
    rows = select(func.count().label("rows")).where(*_which(district_id, done, found["state"]))
    return OldValues(before, found["state"], read(rows)[0]["rows"], found["runs"])


def _which(district_id: str, done: int, state: int) -> tuple[ColumnElement[bool], ...]:
    """Audit rows of people's own records that have values, of the runs after `done` up to `state`."""
    edits = select(RUNS.c.state_after).where(RUNS.c.district_id == district_id, RUNS.c.message == EDITED)
    image = func.coalesce(CHANGES.c.after_json, CHANGES.c.before_json)
    return (
        CHANGES.c.district_id == district_id,
        CHANGES.c.entity == USERS.name,
        CHANGES.c.state_after > done,
        CHANGES.c.state_after <= state,
        CHANGES.c.state_after.not_in(edits.where(RUNS.c.state_after.is_not(None))),
        image.is_not(None),
        image != "{}",  # whom the roster has forgotten says nothing already
    )


def remove_values(store: Store, district_id: str, old: OldValues, *, run_id: str, now: datetime) -> None:
    """Take them out in one transaction, and remember up to where. Raises DatabaseError."""
    with store.writing(district_id, run_id) as session:
        version = state_version(session, district_id, lock=True)

        def read(query: Any) -> list[dict[str, Any]]:
            (column,) = query.selected_columns.keys()
            return [{column: row[0]} for row in session.rows(query)]

        done = removed_to(read, district_id)
        if old.state <= done:  # somebody was quicker
            return
        images = {
            name: case((CHANGES.c[name].is_(None), None), else_=cast(literal(IMAGE), Text))
            for name in ("before_json", "after_json")
        }
        session.execute(update(CHANGES).where(*_which(district_id, done, old.state)).values(images))
        run = RunRecord(
            run_id=run_id, district_id=district_id, batch_hash=None, outcome=OUTCOME_TRIMMED, plan_id=None,
            started_at=now, ended_at=now, message=f"{TRIMMED}{old.state}", state_version=version,
        )  # fmt: skip
        session.execute(insert(RUNS).values(**run.row(), state_after=None))
