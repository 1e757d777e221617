"""Applies a plan: data, audit rows, run, identifier history and state version in one transaction.

What to change was decided before (`plan.py`); nothing is decided here. Rows go from Parquet to the database as Arrow
(`planned.py`), into temporary tables, and from there by one statement a table and kind of change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Insert,
    MetaData,
    Select,
    Table,
    Text,
    UniqueConstraint,
    Update,
    cast,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.schema import AddConstraint, CreateIndex, DropConstraint, DropIndex

from enrollsync.database.access import leading_to, state_version
from enrollsync.database.audit import keep_creations
from enrollsync.database.dialects import Session
from enrollsync.database.memory import RunRecord, append_findings, forget_run, instant
from enrollsync.database.schema import (
    BASE,
    CHANGES,
    CREATED,
    DISTRICT_STATE,
    IDENTIFIER_HISTORY,
    RUNS,
    arrow_schema,
    columns_of,
    is_by_hand,
    primary_key,
    typed_column,
)
from enrollsync.database.store import Store
from enrollsync.load.planned import Planned
from enrollsync.load.search_names import names_to_find, remember_names
from enrollsync.plan.shares import to_remember
from enrollsync.words.canonical import ENTITIES, Entity
from enrollsync.words.errors import AlreadyApplied, DatabaseError, StalePlan

if TYPE_CHECKING:
    from enrollsync.plan.plan import Plan

_MOVING = " moving "
"""Starts a source key that is on its way to another one; what a source gives is trimmed and begins with no blank."""


def apply(store: Store, plan_folder: Path, plan: Plan, run: RunRecord, findings: Path | None = None) -> int:
    """Apply the plan in `plan_folder` and keep `findings` (`kept_findings.py`); returns the number of operations.

    Applying the same plan again in the same run does nothing and returns the same. Raises StalePlan when the
    database has moved since the plan was made, and DatabaseError; in both cases nothing was written.
    """
    planned = _planned(plan_folder, plan)
    operations = sum(table.count for table in planned)
    names = names_to_find(plan_folder)
    with store.writing(run.district_id, run.run_id) as session:
        _lock(session, plan.district_id)
        if _is_applied(session, plan, run):
            return operations
        _refuse_stale(session, plan, run)
        with _constraints_at_the_end(session):
            for table in planned:
                _write(session, table, run)
                if table.audited:
                    session.append(CHANGES.name, table.audit_rows())
        remember_names(session, plan.district_id, names)
        _record(session, plan, run, {f"{table.entity.name}_file": table.file for table in planned if table.file})
        if findings:
            append_findings(session, findings, run)
        if not is_by_hand(run.message):  # one record changes nothing about how rows are spread
            session.take_stock()
    return operations


def _planned(folder: Path, plan: Plan) -> list[Planned]:
    """The operations on each base table, numbered one after the other."""
    planned: list[Planned] = []
    for entity in ENTITIES:
        first = planned[-1].first + planned[-1].count if planned else 1
        path = folder / f"{entity.name}.parquet"
        planned.append(Planned.read(path, entity, plan.district_id, plan.state_version + 1, first))
    return planned


def _lock(session: Session, district_id: str) -> None:
    """Make this the district's only writer until the transaction ends."""
    session.execute(_first_state(district_id))
    state_version(session, district_id, lock=True)


@contextmanager
def _constraints_at_the_end(session: Session) -> Iterator[None]:
    """While the roster is empty, build indexes and check constraints once, after all rows, in the same transaction.

    Row by row they cost nearly three times what the rows do (seen on PostgreSQL with 626,000 enrollments). SQLite
    cannot take a constraint away, and on PostgreSQL the tables' owner alone may, who sees the rows of all districts.
    """
    tables = (*BASE.values(), CHANGES)
    filled = any(session.rows(select(literal(1)).select_from(table).limit(1)) for table in tables)
    may_define = not filled and session.may_define(*tables)
    if filled or (session.dialect.name == "postgresql" and not may_define):
        yield
        return
    indexes = [index for table in tables for index in table.indexes]
    references = [key for table in tables for key in table.foreign_key_constraints]
    keys = [key for table in BASE.values() for key in (table.primary_key, *_unique_constraints(table))]
    if not may_define:
        references, keys = [], []
    session.define(*map(DropConstraint, references), *map(DropIndex, indexes), *map(DropConstraint, keys))
    yield
    session.define(*map(AddConstraint, keys))
    if references:
        # Uncounted, a state's enrollments are checked against its users one by one.
        session.count(*(column for table in BASE.values() for column in _checked_columns(table)))
    session.define(*map(AddConstraint, references), *map(CreateIndex, indexes))


def _unique_constraints(table: Table) -> list[UniqueConstraint]:
    return [constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]


def _checked_columns(table: Table) -> Iterator[Column[Any]]:
    """Those by which references are looked up, at either end."""
    referring = [column for key in table.foreign_key_constraints for column in key.columns]
    yield from dict.fromkeys([*table.primary_key.columns, *referring])


def _is_applied(session: Session, plan: Plan, run: RunRecord) -> bool:
    query = (
        select(RUNS.c.plan_id)
        .where(RUNS.c.district_id == run.district_id, RUNS.c.run_id == run.run_id)
        .where(RUNS.c.state_after.is_not(None))
    )
    applied = [plan_id for (plan_id,) in session.rows(query)]
    if applied and applied != [plan.plan_id]:
        raise AlreadyApplied(f"run {run.run_id}: has applied another plan already; start a new run")
    return bool(applied)


def _refuse_stale(session: Session, plan: Plan, run: RunRecord) -> None:
    version = state_version(session, plan.district_id)
    if version != plan.state_version:
        raise StalePlan(
            f"plan {plan.plan_id}: was made for state {plan.state_version} of the database, which is at {version} now; "
            "nothing was written, plan again"
        )
    led = [run_id for (run_id,) in session.rows(leading_to(plan.district_id, version))]
    if run.state_run is not None and led != [run.state_run]:
        raise StalePlan(
            f"plan {plan.plan_id}: was made for what run {run.state_run} left, which this database has not: it was "
            "restored since; nothing was written, plan again"
        )


def _write(session: Session, planned: Planned, run: RunRecord) -> None:
    """Bring one base table to what the plan says: changes first, because a new record may take an identifier over."""
    entity = planned.entity
    if planned.count > planned.creations:
        staged = _staged(entity)
        session.stage(staged.name, planned.changed_rows(arrow_schema(list(staged.columns))))
        _refuse_strangers(session, entity, staged, run.district_id)
        if entity.identifier:
            session.execute(_history(entity, staged, run))
            session.execute(_release(entity, staged, run.district_id))
        if not entity.key:
            session.execute(keep_creations(entity, _is_staged(entity, staged, run.district_id)))
        session.execute(_change(entity, staged, run.district_id))
    if planned.creations:
        session.append(entity.name, planned.created_rows())


def _record(session: Session, plan: Plan, run: RunRecord, files: dict[str, str]) -> None:
    for statement in forget_run(run):
        session.execute(statement)
    states = {"state_before": plan.state_version, "state_after": plan.state_version + 1}
    shares = json.dumps(to_remember(plan.shares, plan.students), separators=(",", ":")) if plan.shares else None
    session.execute(insert(RUNS).values(**{**run.row(), **states, **files, "shares_json": shares}))
    session.execute(_next_state(plan.district_id))


def _refuse_strangers(session: Session, entity: Entity, staged: Table, district_id: str) -> None:
    """A change that would hit no row, or a plan that does not fit this database, must not pass for applied."""
    (strangers,) = session.rows(_count_strangers(entity, staged, district_id))[0]
    if strangers:
        raise DatabaseError(f"plan: changes {strangers} {entity.name} that the database does not have; plan again")


# ---- statements ------------------------------------------------------------------------------------------------------


def _staged(entity: Entity) -> Table:
    """The temporary table that holds the entity's rows as they are to be."""
    columns = [typed_column(name) for name in columns_of(entity)]
    return Table(f"staged_{entity.name}", MetaData(), Column("operation", Text), *columns)


def _same_row(entity: Entity, staged: Table, district_id: str) -> tuple[ColumnElement[bool], ...]:
    base = BASE[entity.name]
    return (
        base.c.district_id == district_id,
        *(base.c[name] == staged.c[name] for name in primary_key(entity)),
    )


def _history(entity: Entity, staged: Table, run: RunRecord) -> Insert:
    """One row for each identifier that a record had and will not have any more."""
    base = BASE[entity.name]
    old, new = base.c[str(entity.identifier)], staged.c[str(entity.identifier)]
    values = {
        "district_id": base.c.district_id,
        "entity": literal(entity.name),
        "entity_key": base.c[str(entity.key)],
        "run_id": literal(run.run_id),
        "old_id": old,
        "new_id": new,
        "changed_at": literal(instant(run.ended_at or run.started_at)),
        "changed_by": literal(run.approved_by or run.source, Text),
    }
    lost = (
        select(*values.values())
        .where(*_same_row(entity, staged, run.district_id))
        .where(staged.c.operation != "create", old.is_not(None), old.is_distinct_from(new))
    )
    return insert(IDENTIFIER_HISTORY).from_select(list(values), lost)


def _release(entity: Entity, staged: Table, district_id: str) -> Update:
    """Take the old identifier and source key from every record that gets another.

    Uniqueness is checked row by row, so that a swap needs both to be free before either is taken.
    """
    base = BASE[entity.name]
    identifier = str(entity.identifier)
    moving = [base.c[name].is_distinct_from(staged.c[name]) for name in (identifier, "source_key", "source")]
    return (
        update(base)
        .values({identifier: None, "source_key": literal(_MOVING).concat(cast(base.c[str(entity.key)], Text))})
        .where(*_same_row(entity, staged, district_id))
        .where(staged.c.operation != "create", or_(*moving))
    )


def _change(entity: Entity, staged: Table, district_id: str) -> Update:
    """Everything but creations."""
    values: dict[str, Any] = {name: staged.c[name] for name in columns_of(entity) if name not in primary_key(entity)}
    # The audit has its creation from now on.
    kept = {} if entity.key else dict.fromkeys(CREATED)
    return (
        update(BASE[entity.name])
        .values(values | kept)
        .where(*_same_row(entity, staged, district_id))
        .where(staged.c.operation != "create")
    )


def _is_staged(entity: Entity, staged: Table, district_id: str) -> ColumnElement[bool]:
    """Whether a row of the base table is one that changes."""
    same = _same_row(entity, staged, district_id)
    return select(staged.c.operation).where(*same).correlate(BASE[entity.name]).exists()


def _count_strangers(entity: Entity, staged: Table, district_id: str) -> Select[tuple[int]]:
    base = BASE[entity.name]
    known = select(base.c.district_id).where(*_same_row(entity, staged, district_id)).correlate(staged).exists()
    return select(func.count()).select_from(staged).where(staged.c.operation != "create", ~known)


def _first_state(district_id: str) -> Insert:
    # Both databases spell it like PostgreSQL.
    return postgresql_insert(DISTRICT_STATE).values(district_id=district_id, version=0).on_conflict_do_nothing()


def _next_state(district_id: str) -> Update:
    return (
        update(DISTRICT_STATE)
        .values(version=DISTRICT_STATE.c.version + 1)
        .where(DISTRICT_STATE.c.district_id == district_id)
    )
