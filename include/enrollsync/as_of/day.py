"""When a day ends where the district is, and with which state of its roster."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from enrollsync.as_of.records import Read
from enrollsync.database.memory import instant
from enrollsync.database.removed_values import require_values
from enrollsync.database.schema import RUNS


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant that is no more of that day, in UTC.

    Where clocks are moved at midnight, the next day's may come twice, or not at all: the day ends when it comes last.
    """
    midnight = datetime.combine(day + timedelta(days=1), time(), zone)
    return max(midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def state_before(read: Read, district_id: str, moment: datetime) -> int:
    """The version of the state that the last run before that instant left behind; 0 when there was none yet.

    Raises ConfigurationError where the audit cannot tell the roster of that time any more.
    """
    ended_at = func.coalesce(RUNS.c.ended_at, RUNS.c.started_at)
    query = (
        select(func.max(RUNS.c.state_after).label("state"))
        .where(RUNS.c.district_id == district_id, RUNS.c.state_after.is_not(None))
        .where(ended_at < str(instant(moment)))
    )
    state = next((row["state"] or 0 for row in read(query)), 0)
    if state:  # of a time when there was nobody yet, no value is asked for
        require_values(read, district_id, state, "the roster as it was then cannot be told")
    return state
