"""The runs that a roster remembers, and what is asked about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Delete, delete, func, insert, or_, select

from enrollsync.database.access import Database, leading_to
from enrollsync.database.dialects import Session
from enrollsync.database.forgotten import without_forgotten
from enrollsync.database.messages import one_line_errors
from enrollsync.database.schema import CHANGES, DISTRICT_STATE, FINDINGS, RUNS
from enrollsync.database.undos import list_undos, undo_runs, undone_runs
from enrollsync.formats import ID_CHANGES_FILE
from enrollsync.words.codes import FORGOTTEN as PLAN_FORGOTTEN

if TYPE_CHECKING:
    from enrollsync.database.schema import FoundInSchools, RunShares


@dataclass(frozen=True)
class RunRecord:
    """What the database remembers of one run."""

    run_id: str
    district_id: str
    batch_hash: str | None
    outcome: str
    """As in the command's JSON: `applied`, `in_sync`, `held`, ..."""
    plan_id: str | None
    started_at: datetime
    """With a time zone, like all instants here."""
    ended_at: datetime | None = None
    approved_by: str | None = None
    answer: str | None = None
    """What that person answered to a plan that waited, one of `workspace.Answer`."""
    comment: str | None = None
    """Why, in that person's words."""
    delivered_at: datetime | None = None
    source: str | None = None
    mode: str | None = None
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    message: str | None = None
    """One line for a person; no values of students."""
    fingerprint: str | None = None
    """See `shortcut.py`."""
    checked_at: datetime | None = None
    """When the database was last compared row by row."""
    state_version: int | None = None
    """The state that the run found; None when it did not look."""
    state_run: str | None = None
    """The run that led to that state; not kept."""
    found_in_schools: FoundInSchools | None = None
    """None: the run did not come to a plan."""

    def row(self) -> dict[str, str | int | None]:
        """The columns of `runs` but for the state after."""
        return {
            "district_id": self.district_id,
            "run_id": self.run_id,
            "batch_hash": self.batch_hash,
            "outcome": self.outcome,
            "plan_id": self.plan_id,
            "started_at": instant(self.started_at),
            "ended_at": instant(self.ended_at),
            "approved_by": self.approved_by,
            "answer": self.answer,
            "comment": self.comment,
            "delivered_at": instant(self.delivered_at),
            "source": self.source,
            "mode": self.mode,
            "counts_json": json.dumps(self.counts),
            "findings_json": json.dumps(self.findings),
            "message": self.message,
            "fingerprint": self.fingerprint,
            "checked_at": instant(self.checked_at),
            "state_before": self.state_version,
            "schools_json": None
            if self.found_in_schools is None
            else json.dumps(self.found_in_schools, separators=(",", ":")),
        }


def instant(moment: datetime | None) -> str | None:
    """UTC as ISO text of one length, so that text order is time order."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


@lru_cache(maxsize=128)
def shares_of(text: str) -> RunShares:
    """What a night changed never changes again, and in a state it is a long text; nobody writes to what this gives."""
    shares: RunShares = json.loads(text)
    return shares


class Memory(Database):
    """What a roster knows of its runs."""

    def last_applied(self, district_id: str, source: str) -> tuple[str, datetime | None] | None:
        """Batch hash and delivery time of the source's newest applied run that is not undone; None without one."""
        undone = self._undone(district_id)
        query = (
            select(RUNS.c.batch_hash, RUNS.c.delivered_at)
            .where(RUNS.c.district_id == district_id, RUNS.c.source == source, RUNS.c.outcome == "applied")
            .where(RUNS.c.batch_hash.is_not(None))
            .where(RUNS.c.run_id.not_in(undone))
            .order_by(RUNS.c.state_after.desc())
            .limit(1)
        )
        rows = self.rows(query)
        if not rows:
            return None
        delivered = rows[0]["delivered_at"]
        return rows[0]["batch_hash"], datetime.fromisoformat(delivered) if delivered else None

    def left_out_removals(self, district_id: str, source: str) -> str | None:
        """The source's newest run that left the roster in order and is not undone, if it was to remove nothing."""
        query = (
            select(RUNS.c.run_id, RUNS.c.answer)
            .where(RUNS.c.district_id == district_id, RUNS.c.source == source)
            .where(RUNS.c.outcome.in_(("applied", "in_sync")), RUNS.c.run_id.not_in(self._undone(district_id)))
            .order_by(RUNS.c.started_at.desc())
            .limit(1)
        )
        return next((row["run_id"] for row in self.rows(query) if row["answer"] == "without_removals"), None)

    def forgotten_answered(self, district_id: str) -> int:
        """The newest state in which a person answered a plan that had people who were forgotten; 0 where nobody did."""
        query = select(func.max(RUNS.c.state_before).label("state")).where(
            RUNS.c.district_id == district_id,
            RUNS.c.outcome.in_(("applied", "in_sync")),
            RUNS.c.approved_by.is_not(None),
            RUNS.c.findings_json.contains(f'"{PLAN_FORGOTTEN}"'),
        )
        return next((row["state"] or 0 for row in self.rows(query)), 0)

    def shares_before(self, district_id: str, runs: int) -> list[RunShares]:
        """What the last `runs` applied runs changed, newest first; those that are undone left out."""
        query = (
            select(RUNS.c.shares_json)
            .where(RUNS.c.district_id == district_id, RUNS.c.outcome == "applied", RUNS.c.shares_json.is_not(None))
            .where(RUNS.c.run_id.not_in(self._undone(district_id)))
            .order_by(RUNS.c.state_after.desc())
            .limit(runs)
        )
        return [json.loads(row["shares_json"]) for row in self.rows(query)]

    def _undone(self, district_id: str) -> list[str]:
        """The applied runs that are undone now."""
        return undone_runs(list_undos((row["run_id"], row["message"]) for row in self.rows(undo_runs(district_id))))

    def led_to(self, district_id: str, version: int) -> str | None:
        """The run that left the roster in that state; None for one that no run has written to."""
        return next((row["run_id"] for row in self.rows(leading_to(district_id, version))), None)

    def settled(self, district_id: str) -> dict[str, Any] | None:
        """The newest run that left the roster as its delivery says, if nothing was written since; None otherwise."""
        if not self.is_current():
            return None
        query = (
            select(RUNS)
            .join(DISTRICT_STATE, DISTRICT_STATE.c.district_id == RUNS.c.district_id)
            .where(RUNS.c.district_id == district_id, RUNS.c.outcome.in_(("applied", "in_sync")))
            .where(func.coalesce(RUNS.c.state_after, RUNS.c.state_before) == DISTRICT_STATE.c.version)
            .order_by(RUNS.c.started_at.desc())
            .limit(1)
        )
        return next(iter(self.rows(query)), None)

    def on_top(self, district_id: str, state_after: int) -> dict[str, int]:
        """Entity -> how many updates and re-identifications of one run no row of its delivery speaks of.

        They are memberships that became somebody's primary one or no longer are, and what `id_changes.csv` alone says.
        """
        spoken_of = CHANGES.c.file.is_not(None) & (CHANGES.c.file != ID_CHANGES_FILE.name)
        return self._counted(district_id, state_after, CHANGES.c.operation.in_(("update", "reidentify")), ~spoken_of)

    def said_inactive(self, district_id: str, state_after: int) -> dict[str, int]:
        """Entity -> how many deactivations of one run were of records that a row brings, and says to be inactive."""
        return self._counted(district_id, state_after, CHANGES.c.operation == "deactivate", CHANGES.c.reason.is_(None))

    def _counted(self, district_id: str, state_after: int, *which: ColumnElement[bool]) -> dict[str, int]:
        query = (
            select(CHANGES.c.entity, func.count().label("operations"))
            .where(CHANGES.c.district_id == district_id, CHANGES.c.state_after == state_after, *which)
            .group_by(CHANGES.c.entity)
        )
        return {row["entity"]: row["operations"] for row in self.rows(query)}

    def runs(self, district_id: str) -> list[dict[str, Any]]:
        """The runs, newest first: the columns of `runs` (instants as ISO text), `counts` and `findings` as dicts.

        The long ones, `shares_json` and `schools_json`, are left out.
        """
        query = (
            select(*_SHORT)
            .where(RUNS.c.district_id == district_id)
            .order_by(RUNS.c.started_at.desc(), RUNS.c.run_id.desc())
        )
        rows = self.rows(query)
        for row in rows:
            row["counts"] = json.loads(row.pop("counts_json"))
            row["findings"] = json.loads(row.pop("findings_json"))
        return rows

    def runs_since(self, district_ids: Collection[str], since: datetime) -> list[dict[str, Any]]:
        """The runs of several districts since then, and of each the newest whenever that was; the newest first.

        Instants are datetimes with a time zone, `counts` and `findings` dicts.
        """
        newest = (
            select(RUNS.c.district_id, func.max(RUNS.c.started_at).label("started_at"))
            .where(RUNS.c.district_id.in_(district_ids))
            .group_by(RUNS.c.district_id)
            .subquery()
        )
        told = ("district_id", "run_id", "outcome", "source", "started_at", "delivered_at", "counts_json",
                "findings_json", "message", "approved_by")  # fmt: skip
        query = (
            select(*(RUNS.c[name] for name in told))
            .join(newest, newest.c.district_id == RUNS.c.district_id)
            .where(or_(RUNS.c.started_at >= instant(since), RUNS.c.started_at == newest.c.started_at))
            .order_by(RUNS.c.started_at.desc(), RUNS.c.run_id.desc())
        )
        return [_told(row) for row in self.rows(query)]

    def list_runs(
        self, district_id: str, *, outcome: str = "", person: str = "", since: datetime | None = None,
        until: datetime | None = None, offset: int = 0, limit: int | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """The runs that fit, the newest first, as `run_told` gives them; `person` is part of a name."""
        conditions: list[ColumnElement[bool]] = [RUNS.c.district_id == district_id]
        if outcome:
            conditions.append(RUNS.c.outcome == outcome)
        if person:
            conditions.append(RUNS.c.approved_by.icontains(person, autoescape=True))
        if since:
            conditions.append(RUNS.c.started_at >= instant(since))
        if until:
            conditions.append(RUNS.c.started_at < instant(until))
        query = select(*_SHORT).where(*conditions).order_by(RUNS.c.started_at.desc(), RUNS.c.run_id.desc())
        return [_told(row) for row in self.rows(query.offset(offset).limit(limit))]

    def run_told(self, district_id: str, run_id: str) -> dict[str, Any] | None:
        """One run: the columns of `runs` but for long ones; instants as datetimes, `counts`, `findings` as dicts."""
        query = select(*_SHORT).where(RUNS.c.district_id == district_id, RUNS.c.run_id == run_id)
        return next((_told(row) for row in self.rows(query)), None)

    def undone(self, district_id: str) -> list[str]:
        """The runs that are undone now."""
        return self._undone(district_id)

    def shares_of_nights(self, district_id: str, runs: int, but: str = "") -> list[tuple[datetime, RunShares]]:
        """When the last applied runs `but` one began and what they changed, the newest first.

        Undone ones are among them: what they changed was seen then.
        """
        query = (
            select(RUNS.c.started_at, RUNS.c.shares_json)
            .where(RUNS.c.district_id == district_id, RUNS.c.outcome == "applied", RUNS.c.shares_json.is_not(None))
            .where(RUNS.c.run_id != but)
            .order_by(RUNS.c.state_after.desc())
            .limit(runs)
        )
        return [(datetime.fromisoformat(row["started_at"]), shares_of(row["shares_json"])) for row in self.rows(query)]

    def run(self, district_id: str, run_id: str) -> dict[str, Any] | None:
        """One run's row; None when there is no such run."""
        query = select(RUNS).where(RUNS.c.district_id == district_id, RUNS.c.run_id == run_id)
        return next(iter(self.rows(query)), None)

    def record_run(self, run: RunRecord, findings: Path | None = None) -> None:
        """Remember a run that wrote nothing. A rerun replaces the row, unless that run has written to the roster.

        `findings`: Parquet as `kept_findings.py` writes it.
        """
        self.require_roster()
        with one_line_errors(self.backend, run.district_id, files=False):
            if findings is None:
                with self.backend.recording(run.run_id) as connection:
                    _record(run, connection.execute, lambda query: connection.execute(query).all())
                return
            with self.backend.writing(run.run_id) as session:
                if _record(run, session.execute, session.rows):
                    append_findings(session, findings, run)


_NOT_TOLD = ("shares_json", "schools_json", "memberships_file", "enrollments_file")
_SHORT = tuple(column for column in RUNS.columns if column.name not in _NOT_TOLD)
"""The columns of `runs` but for the long ones, and those that only the audit needs."""


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A run's row with JSON read and instants made."""
    instants = {name: value and datetime.fromisoformat(value) for name, value in row.items() if name.endswith("_at")}
    texts = {name.removesuffix("_json"): json.loads(row.pop(name)) for name in [*row] if name.endswith("_json")}
    return row | instants | texts


def _record(run: RunRecord, execute: Callable[[Any], object], rows: Callable[[Any], Sequence[Any]]) -> bool:
    """Replace the run's row and findings, unless it has written to the roster; returns whether it did."""
    mine = (RUNS.c.district_id == run.district_id, RUNS.c.run_id == run.run_id)
    if rows(select(RUNS.c.run_id).where(*mine, RUNS.c.state_after.is_not(None))):
        return False
    for statement in forget_run(run):
        execute(statement)
    execute(insert(RUNS).values(**run.row()))
    return True


def forget_run(run: RunRecord) -> tuple[Delete, ...]:
    """Statements that make room for a run which may have been held before."""
    return tuple(
        delete(table).where(table.c.district_id == run.district_id, table.c.run_id == run.run_id)
        for table in (FINDINGS, RUNS)
    )


def append_findings(session: Session, findings: Path, run: RunRecord) -> None:
    """Add a run's findings, as Parquet with the columns of `findings` but for district and run."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = without_forgotten(session, pq.read_table(findings), run.district_id)
    for name, value in (("run_id", run.run_id), ("district_id", run.district_id)):
        rows = rows.add_column(0, name, pa.repeat(value, rows.num_rows))
    session.append(FINDINGS.name, rows.to_reader())
