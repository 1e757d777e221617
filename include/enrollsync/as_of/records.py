"""A few records as they were: read by key, and taken back one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from enrollsync.database.schema import CHANGES, primary_key
from enrollsync.words.canonical import Entity

Row = dict[str, Any]
Read = Callable[[Select[Any]], list[Row]]
"""Answers a question with rows, such as `Store.rows`; several answers are of one state only within one transaction."""


def changes_since(entity: Entity, district_id: str, state: int, *of_these: ColumnElement[bool]) -> Select[Any]:
    """What runs changed of some records of the entity after that state, the newest first, as `taken_back` needs it."""
    told = (*primary_key(entity), "operation", "before_json")
    return (
        select(*(CHANGES.c[name] for name in told))
        .where(CHANGES.c.district_id == district_id, CHANGES.c.entity == entity.name, *of_these)
        .where(CHANGES.c.state_after > state)
        .order_by(CHANGES.c.state_after.desc(), CHANGES.c.sequence.desc())
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
