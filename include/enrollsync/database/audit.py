"""The audit as one: what stands in `changes`, and the creations of links that their own rows tell.

Most links are created once and never change. Such a one is not written a second time: its row has the state, the number
and the line of its creation (`CREATED`) until something changes it. Whoever changes or deletes links writes those
creations to `changes` before, in the same transaction (`keep_creations`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    Select,
    Subquery,
    Table,
    Text,
    case,
    cast,
    func,
    insert,
    literal_column,
    null,
    select,
    union_all,
)

from enrollsync.database.schema import BASE, CHANGES, RUNS, USUAL_LINKS, primary_key
from enrollsync.words.canonical import BY_NAME, Entity

Audit = Table | Subquery
"""What has the columns of `CHANGES`."""


def audit_of(*entities: str) -> Audit:
    """The operations on these entities and maybe on others, which who asks tells apart by `entity`.

    A link whose creation stands in `changes` is a row without `state_after` besides, which who asks passes over: with a
    condition of its own, PostgreSQL would not join this part by its indexes.
    """
    links = [_created(BY_NAME[name]) for name in entities if name in USUAL_LINKS]
    return union_all(select(CHANGES), *links).subquery("audit") if links else CHANGES


def file_of(audit: Audit) -> ColumnElement[str | None]:
    """The file of an operation's line, where the run's row of `RUNS` is joined to it.

    The creation of a usual link is by a line of the run's usual file for such links.
    """
    usual = case({name: RUNS.c[f"{name}_file"] for name in USUAL_LINKS}, value=audit.c.entity)
    by_line = (audit.c.operation == "create") & audit.c.after_json.is_(None) & audit.c.line.is_not(None)
    return func.coalesce(audit.c.file, case((by_line, usual))).label("file")


def keep_creations(entity: Entity, *which: ColumnElement[bool]) -> Insert:
    """Write to `CHANGES` what the rows of these links tell of their creation, before they change or go."""
    told = BASE[entity.name].c.created_state.is_not(None)
    return insert(CHANGES).from_select(CHANGES.columns.keys(), _created(entity).where(told, *which))


def _created(entity: Entity) -> Select[Any]:
    """What rows of the base table tell of their creation, as rows of `CHANGES`."""
    table = BASE[entity.name]
    told: dict[str, ColumnElement[Any]] = {
        **{name: table.c[name] for name in ("district_id", *primary_key(entity))},
        "state_after": table.c.created_state,
        "sequence": cast(table.c.created_sequence, BigInteger),
        "entity": literal_column(f"'{entity.name}'", Text),
        "operation": literal_column("'create'", Text),
        "line": cast(table.c.created_line, BigInteger),
    }
    columns = (told.get(column.name, cast(null(), column.type)).label(column.name) for column in CHANGES.columns)
    return select(*columns)
