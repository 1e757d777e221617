"""The roster database as the steps use it: its schema, its present state as Parquet, and the runs it remembers.

Applying a plan belongs to `load.py`; what differs between databases to `dialects.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Engine,
    Select,
    Table,
    and_,
    delete,
    false,
    func,
    insert,
    not_,
    or_,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from enrollsync.database import migrations
from enrollsync.database.dialects import Backend, PostgresBackend, Session, SqliteBackend
from enrollsync.database.messages import one_line_errors
from enrollsync.database.schema import (
    BASE,
    CHANGES,
    DISTRICT_STATE,
    FINDINGS,
    IDENTIFIER_HISTORY,
    RUNS,
    UNDO_OF,
    USUAL_ENROLLMENT,
    arrow_schema,
)
from enrollsync.formats import ID_CHANGES_FILE
from enrollsync.settings import project_root
from enrollsync.settings.address import read_address
from enrollsync.words.canonical import ENROLLMENTS
from enrollsync.words.errors import DatabaseError

if TYPE_CHECKING:
    import pyarrow as pa

    from enrollsync.database.schema import RunShares


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
            "delivered_at": instant(self.delivered_at),
            "source": self.source,
            "mode": self.mode,
            "counts_json": json.dumps(self.counts),
            "findings_json": json.dumps(self.findings),
            "message": self.message,
            "fingerprint": self.fingerprint,
            "checked_at": instant(self.checked_at),
            "state_before": self.state_version,
        }


def instant(moment: datetime | None) -> str | None:
    """UTC as ISO text of one length, so that text order is time order."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


def open_store(url: str) -> Store:
    """The database behind a URL; nothing is opened or created yet.

    `sqlite:///path.db` (relative: from the project's root) or `postgresql://...`. Raises DatabaseError.
    """
    try:
        address = read_address(url)
    except ValueError as error:
        raise DatabaseError(f"database URL: {error}") from None
    if address.kind == "sqlite":
        return Store(SqliteBackend(project_root() / address.database))
    return Store(PostgresBackend(address))


class Store:
    """One roster database. Every method raises DatabaseError with one line that says what, where and what to do."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def migrate(self) -> None:
        """Create the schema or bring it up to date, in one transaction."""
        with one_line_errors(self.backend):
            self.backend.prepare()
            if self.is_current():
                return
            with self.backend.connect(create=True).begin() as connection:
                migrations.upgrade(connection)

    def is_current(self) -> bool:
        """Whether the schema is the one this program needs. Raises DatabaseError when it is a newer one."""
        return self._revision() == migrations.known_revisions()[0]

    def export(self, district_id: str, folder: Path, source: str | None = None) -> int:
        """Write the district's rows, in one consistent read, to `<table>.parquet`: base tables, identifier history.

        Every column but `district_id`, `removed` rows included. `undos.parquet` has the undos, see `Undo`. Returns the
        state version. A database that is not there, or has no roster, gives empty files and 0, and is not created.
        `source` is the one whose rows there will be most of: they are fetched in less time.
        """
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        if not self._has_roster():
            for table in _EXPORTED:
                pq.write_table(_schema_of(table).empty_table(), folder / f"{table.name}.parquet")
            _write_undos([], folder)
            return 0
        with one_line_errors(self.backend, files=False), self.backend.reading() as session:
            version = state_version(session, district_id)
            for table in _EXPORTED:
                if table is not BASE[ENROLLMENTS.name]:
                    self._export_table(session, table, district_id, folder)
            self._export_enrollments(session, district_id, folder, source)
            _write_undos(list_undos(session.rows(_undo_runs(district_id))), folder)
        return version

    def export_changes(self, district_id: str, since: int, folder: Path) -> None:
        """Write the audit of the runs that led to the state `since` or a later one to `changes.parquet`.

        `runs.parquet` has those runs. Every column but `district_id`.
        """
        with one_line_errors(self.backend, files=False), self.backend.reading() as session:
            for table in (CHANGES, RUNS):
                self._export_table(session, table, district_id, folder, table.c.state_after >= since)

    def _export_table(
        self, session: Session, table: Table, district_id: str, folder: Path, *conditions: ColumnElement[bool]
    ) -> None:
        import pyarrow.parquet as pq

        schema = _schema_of(table)
        columns = (table.c[name] for name in schema.names)
        query = select(*columns).where(table.c.district_id == district_id, *conditions)
        with pq.ParquetWriter(folder / f"{table.name}.parquet", schema) as writer:
            for batch in self.backend.batches(session, query, schema):
                writer.write_batch(batch)

    def _export_enrollments(self, session: Session, district_id: str, folder: Path, source: str | None) -> None:
        """Of those that are as usual, and from `source`, only the keys are fetched: millions of rows, two columns."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = BASE[ENROLLMENTS.name]
        usual = {**USUAL_ENROLLMENT, "source": source}
        is_usual = func.coalesce(and_(*(table.c[name] == value for name, value in usual.items())), false())
        schema = _schema_of(table)
        keys = pa.schema([field for field in schema if field.name not in usual])
        written = pa.schema([field if field in keys else field.with_type(_told_once(field.type)) for field in schema])

        def rows(fields: pa.Schema, condition: ColumnElement[bool]) -> Iterator[pa.RecordBatch]:
            query = select(*(table.c[name] for name in fields.names))
            return self.backend.batches(session, query.where(table.c.district_id == district_id, condition), fields)

        with pq.ParquetWriter(folder / f"{table.name}.parquet", written, store_schema=False) as writer:
            for batch in rows(keys, is_usual):
                columns = [
                    batch[field.name] if field in keys else _all_alike(usual[field.name], field.type, batch.num_rows)
                    for field in written
                ]
                writer.write_batch(pa.record_batch(columns, schema=written))
            for batch in rows(schema, not_(is_usual)):
                writer.write_batch(batch.cast(written))

    def version(self, district_id: str) -> int:
        """The state's version, which moves with every write; 0 before the first."""
        rows = self.rows(select(DISTRICT_STATE.c.version).where(DISTRICT_STATE.c.district_id == district_id))
        return int(rows[0]["version"]) if rows else 0

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
        return undone_runs(list_undos((row["run_id"], row["message"]) for row in self.rows(_undo_runs(district_id))))

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

        They are the former primary membership of somebody who has another one, and what `id_changes.csv` alone says.
        """
        query = (
            select(CHANGES.c.entity, func.count().label("operations"))
            .where(CHANGES.c.district_id == district_id, CHANGES.c.state_after == state_after)
            .where(CHANGES.c.operation.in_(("update", "reidentify")))
            .where(or_(CHANGES.c.file.is_(None), CHANGES.c.file == ID_CHANGES_FILE.name))
            .group_by(CHANGES.c.entity)
        )
        return {row["entity"]: row["operations"] for row in self.rows(query)}

    def runs(self, district_id: str) -> list[dict[str, Any]]:
        """The runs, newest first: the columns of `runs` (instants as ISO text), `counts` and `findings` as dicts.

        `shares_json`, the only long one, is left out.
        """
        shown = (column for column in RUNS.columns if column is not RUNS.c.shares_json)
        query = (
            select(*shown)
            .where(RUNS.c.district_id == district_id)
            .order_by(RUNS.c.started_at.desc(), RUNS.c.run_id.desc())
        )
        rows = self.rows(query)
        for row in rows:
            row["counts"] = json.loads(row.pop("counts_json"))
            row["findings"] = json.loads(row.pop("findings_json"))
        return rows

    def run(self, district_id: str, run_id: str) -> dict[str, Any] | None:
        """One run's row; None when there is no such run."""
        query = select(RUNS).where(RUNS.c.district_id == district_id, RUNS.c.run_id == run_id)
        return next(iter(self.rows(query)), None)

    def record_run(self, run: RunRecord, findings: Path | None = None) -> None:
        """Remember a run that wrote nothing. A rerun replaces the row, unless that run has written to the roster.

        `findings`: Parquet as `kept_findings.py` writes it.
        """
        self._require_roster()
        with one_line_errors(self.backend, run.district_id, files=False):
            if findings is None:
                with self.backend.recording(run.run_id) as connection:
                    _record(run, connection.execute, lambda query: connection.execute(query).all())
                return
            with self.backend.writing(run.run_id) as session:
                if _record(run, session.execute, session.rows):
                    append_findings(session, findings, run)

    @contextmanager
    def writing(self, run: RunRecord) -> Iterator[Session]:
        """A Session on a current schema: committed at the end, rolled back when anything goes wrong.

        Whoever waits for it in vain is told of `run`.
        """
        self._require_roster()
        with (
            one_line_errors(self.backend, run.district_id, files=False),
            self.backend.writing(run.run_id) as session,
        ):
            yield session

    def _require_roster(self) -> None:
        if not self._has_roster():
            raise DatabaseError(
                f"database {self.backend.place}: has no roster tables; run `enrollsync sync`, which creates them"
            )

    @cached_property
    def _engine(self) -> Engine:
        """For small questions; it keeps no connection open."""
        return self.backend.connect()

    def rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        """The few rows of a small question, as dicts; none where there is no roster."""
        if not self._has_roster():
            return []
        with one_line_errors(self.backend), self._engine.begin() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _revision(self) -> str | None:
        with one_line_errors(self.backend):
            revision = self._found_revision()
        if revision is not None and revision not in migrations.known_revisions():
            raise DatabaseError(
                f"database {self.backend.place}: its schema {revision} is from a newer EnrollSync; install that version"
            )
        return revision

    def _found_revision(self) -> str | None:
        try:
            with self._engine.connect() as connection:
                return migrations.revision_of(connection)
        except SQLAlchemyError:
            if self.backend.missing():
                return None
            raise

    def _has_roster(self) -> bool:
        """False when there is nothing yet. Raises DatabaseError for an old schema: readers never migrate."""
        revision = self._revision()
        if revision is not None and revision != migrations.known_revisions()[0]:
            raise DatabaseError(
                f"database {self.backend.place}: its schema {revision} is old; "
                "run `enrollsync sync`, which brings it up to date"
            )
        return revision is not None


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


@dataclass(frozen=True)
class Undo:
    """A run that undid another one."""

    run_id: str
    first_run: str
    """The run that all of it is about: what was undone, or whose undo was undone."""
    takes_back: bool
    """False where the undo of an undo brings `first_run` back."""


def list_undos(runs: Iterable[Sequence[str]]) -> list[Undo]:
    """The undos among (run id, message), oldest first: the message says which run was undone."""
    undos: dict[str, Undo] = {}
    for run_id, message in runs:
        target = message.removeprefix(UNDO_OF)
        before = undos.get(target, Undo(target, target, takes_back=False))
        undos[run_id] = Undo(run_id, before.first_run, takes_back=not before.takes_back)
    return list(undos.values())


def undone_runs(undos: Iterable[Undo]) -> list[str]:
    """The runs that are undone now: the last undo, or undo of an undo, decides."""
    decided = {undo.first_run: undo.takes_back for undo in undos}
    return [run_id for run_id, undone in decided.items() if undone]


def _undo_runs(district_id: str) -> Select[Any]:
    return (
        select(RUNS.c.run_id, RUNS.c.message)
        .where(RUNS.c.district_id == district_id, RUNS.c.outcome == "undone")
        .order_by(RUNS.c.state_after)
    )


def _write_undos(undos: list[Undo], folder: Path) -> None:
    """`undos.parquet`: `number` (1 is the oldest) and what an `Undo` has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("number", pa.int64()), ("run_id", pa.string()), ("first_run", pa.string()),
                        ("takes_back", pa.bool_())])  # fmt: skip
    rows = [{"number": number, **asdict(undo)} for number, undo in enumerate(undos, start=1)]
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "undos.parquet")


def append_findings(session: Session, findings: Path, run: RunRecord) -> None:
    """Add a run's findings, as Parquet with the columns of `findings` but for district and run."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(findings)
    for name, value in (("run_id", run.run_id), ("district_id", run.district_id)):
        rows = rows.add_column(0, name, pa.repeat(value, rows.num_rows))
    session.append(FINDINGS.name, rows.to_reader())


def _told_once(type_: pa.DataType) -> pa.DataType:
    """A text that many rows share, as a dictionary with a number a row."""
    import pyarrow as pa

    return pa.dictionary(pa.int8(), type_) if pa.types.is_string(type_) else type_


def _all_alike(value: str | bool | None, type_: pa.DataType, rows: int) -> pa.Array:
    import pyarrow as pa

    if not pa.types.is_dictionary(type_):
        return pa.repeat(pa.scalar(value, type_), rows)
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, type_.index_type), rows), [value])


_EXPORTED = (*BASE.values(), IDENTIFIER_HISTORY)


def _schema_of(table: Table) -> Any:
    return arrow_schema([column for column in table.columns if column.name != "district_id"])


def state_version(session: Session, district_id: str, *, lock: bool = False) -> int:
    """The version of the district's state, 0 before the first write; with `lock`, nobody else writes until the end."""
    query = select(DISTRICT_STATE.c.version).where(DISTRICT_STATE.c.district_id == district_id)
    rows = session.rows(query.with_for_update() if lock else query)
    return int(rows[0][0]) if rows else 0
