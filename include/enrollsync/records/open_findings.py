"""Which findings are open: those of the run that last looked at every row of its source."""

from __future__ import annotations

from sqlalchemy import func, select

from enrollsync.as_of.records import Read
from enrollsync.database.schema import RUNS


def open_runs(read: Read, district_id: str) -> list[str]:
    """Of every source the newest run that read its delivery, unless it was refused or broke, or was an undo.

    A night that took the short cut read nothing: what the last full one found still holds.
    """
    read_it = (
        select(RUNS.c.source, func.max(RUNS.c.started_at).label("started_at"))
        .where(
            RUNS.c.district_id == district_id,
            RUNS.c.outcome.not_in(("refused", "failed", "undone", "paused", "forgotten", "trimmed")),
        )
        .where(RUNS.c.checked_at >= RUNS.c.started_at)
        .group_by(RUNS.c.source)
        .subquery()
    )
    query = (
        select(RUNS.c.run_id)
        .join(read_it, (read_it.c.source == RUNS.c.source) & (read_it.c.started_at == RUNS.c.started_at))
        .where(RUNS.c.district_id == district_id)
    )
    return [row["run_id"] for row in read(query)]
