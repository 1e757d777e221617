"""A few records as they were: read by key, and taken back one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, literal_column, select

from enrollsync.database.audit import audit_of
from enrollsync.database.schema import BASE, columns_of, primary_key
from enrollsync.words.canonical import Entity

Row = dict[str, Any]
Read = Callable[[Select[Any]], list[Row]]
"""Answers a question with rows, such as `Store.rows`; several answers are of one state only within one transaction."""


def changes_since(
    entity: Entity,
    district_id: str,
    state: int,
    *of_these: ColumnElement[bool],
    keys: Mapping[str, Collection[int]] | None = None,
    by_state: bool = False,
) -> Select[Any]:
    """What runs changed of some records of the entity after that state, the newest first, as `taken_back` needs it.

    `by_state`: the state finds them, not one of the `keys`.
    """
    told = (*primary_key(entity), "operation", "before_json")
    # Looked up by its index, a state brings all that the nights since then changed.
    audit = audit_of(entity.name)
    after = audit.c.state_after if by_state else audit.c.state_after + literal_column("0")
    return (
        select(*(audit.c[name] for name in told))
        .where(audit.c.district_id == district_id, audit.c.entity == literal_column(f"'{entity.name}'"))
        .where(*(audit.c[name].in_(values) for name, values in (keys or {}).items()), *of_these)
        .where(after > state)
        .order_by(audit.c.state_after.desc(), audit.c.sequence.desc())
    )


def taken_back(entity: Entity, rows: Iterable[Row], changes: Iterable[Row]) -> list[Row]:
    """The rows of the base table as they were before `changes` (newest first); who was not there yet is left out.

    A row needs the keys, and of the rest only what is asked for.
    """
    keys = primary_key(entity)
    then = {tuple(row[key] for key in keys): row for row in rows}
    for change in changes:
        record = tuple(change[key] for key in keys)
        if record not in then:
            continue
        if change["operation"] == "create":
            del then[record]
        else:
            found = json.loads(change["before_json"])
            then[record] = {name: found.get(name, value) for name, value in then[record].items()}
    return list(then.values())


@dataclass(frozen=True)
class Roster:
    """A district's roster, as it is or as it was, asked for a few records at a time."""

    read: Read
    district_id: str
    state: int | None = None
    """The version of the state that is asked for; None: as it is."""

    def records(self, entity: Entity, **keys: Collection[int]) -> list[Row]:
        """The columns of the records that have these keys (`user_key=[1, 2]`), as the views show them: none removed."""
        base = BASE[entity.name]
        if not all(keys.values()):
            return []
        rows = self.read(
            select(*(base.c[name] for name in columns_of(entity)))
            .where(base.c.district_id == self.district_id)
            .where(*(base.c[name].in_(values) for name, values in keys.items()))
        )
        if self.state is not None:
            changes = self.read(changes_since(entity, self.district_id, self.state, keys=keys))
            rows = taken_back(entity, rows, changes)
        return [row for row in rows if row["status"] != "removed"]
