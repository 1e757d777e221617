"""What a roster has of a person: counted, and taken out in one transaction.

The person's row stays under its internal key with status `removed`, without a value; their links go. Audit rows keep
operation and order and say nothing, so that whoever replays them finds a record that nothing is known of.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Select,
    Text,
    Update,
    case,
    cast,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

from enrollsync.database import RunRecord
from enrollsync.database.access import state_version
from enrollsync.database.audit import Audit, audit_of, keep_creations
from enrollsync.database.dialects import Session
from enrollsync.database.forgotten import mark
from enrollsync.database.schema import (
    BASE,
    CHANGES,
    DISTRICT_STATE,
    FINDINGS,
    FORGOTTEN,
    FORGOTTEN_KEY,
    IDENTIFIER_HISTORY,
    KNOWN_FINDINGS,
    LOOKED_IN,
    NAMES,
    RUNS,
    SEARCH_NAMES,
    columns_of,
    looked_in,
)
from enrollsync.forget.person import Person
from enrollsync.words.canonical import ENTITIES, USERS
from enrollsync.words.errors import StalePlan

if TYPE_CHECKING:
    from enrollsync.as_of.records import Read

SAID = "(taken out: it named somebody who was forgotten)"
"""Stands where a person's own words named whom the roster has forgotten."""
FINDINGS_OF = "remembered findings"
REASON = "the person was forgotten since"
_USERS = BASE[USERS.name]
_LINKS = {entity: BASE[entity.name] for entity in ENTITIES if not entity.key and USERS.name in entity.links.values()}
_SAID_OF_USERS = (FINDINGS.c.user_id, FINDINGS.c.user_source_key)


def count_rows(read: Read, district_id: str, person: Person) -> dict[str, int]:
    """Place -> how many rows of the roster have something of the person."""
    audit = audit_of(*(entity.name for entity in _LINKS))
    rows = {
        "records of the roster": (_USERS, _USERS.c.user_key.in_(person.keys)),
        **{f"links, {entity.name}": (table, table.c.user_key.in_(person.keys)) for entity, table in _LINKS.items()},
        "audit rows": (audit, audit.c.user_key.in_(person.keys) & audit.c.state_after.is_not(None)),
        "former identifiers": (IDENTIFIER_HISTORY, _history(person.keys)),
        FINDINGS_OF: (FINDINGS, or_(*(column.in_(sorted(person.ids)) for column in _SAID_OF_USERS))),
    }
    counted = {place: _count(read, table, district_id, which) for place, (table, which) in rows.items()}
    remarks = read(_remarks(district_id)) + read(_known(district_id))
    return counted | {"remarks of persons": sum(person.is_named_in(row["text"]) for row in remarks)}


def count_active(read: Read, district_id: str, person: Person) -> int:
    """How many of the person's records are active."""
    return _count(read, _USERS, district_id, _USERS.c.user_key.in_(person.keys) & (_USERS.c.status == "active"))


def _count(read: Read, table: Audit, district_id: str, which: ColumnElement[bool]) -> int:
    query = select(func.count().label("rows")).select_from(table).where(table.c.district_id == district_id, which)
    return sum(row["rows"] for row in read(query))


def _history(keys: tuple[int, ...]) -> ColumnElement[bool]:
    table = IDENTIFIER_HISTORY
    return (table.c.entity == USERS.name) & or_(false(), *(table.c.entity_key == key for key in keys))


def _remarks(district_id: str) -> Select[Any]:
    """Why persons answered as they did, in their words."""
    return select(RUNS.c.run_id.label("id"), RUNS.c.comment.label("text")).where(
        RUNS.c.district_id == district_id, RUNS.c.comment.is_not(None)
    )


def _known(district_id: str) -> Select[Any]:
    return select(KNOWN_FINDINGS.c.known_id.label("id"), KNOWN_FINDINGS.c.reason.label("text")).where(
        KNOWN_FINDINGS.c.district_id == district_id
    )


def take_out(session: Session, run: RunRecord, person: Person) -> None:
    """Take a person out of the district's rows and remember the run; `run.state_version` is the state that was shown.

    Raises StalePlan where somebody has written since.
    """
    district_id, before = run.district_id, run.state_version or 0
    if state_version(session, district_id, lock=True) != before:
        raise StalePlan("somebody has written to the roster since it was looked at; nothing was taken out, look again")
    for statement in _statements(district_id, person):
        session.execute(statement)
    for table, column, name, query in (
        (RUNS, "comment", "run_id", _remarks(district_id)),
        (KNOWN_FINDINGS, "reason", "known_id", _known(district_id)),
    ):
        for row_id, text in session.rows(query):
            if person.is_named_in(text):
                same = (table.c.district_id == district_id, table.c[name] == row_id)
                session.execute(update(table).where(*same).values({column: SAID}))
    _remember(session, run, person, before)
    session.take_stock()


def _statements(district_id: str, person: Person) -> Iterator[Insert | Update | Delete]:
    for key in person.keys:
        yield _emptied(district_id, key)
        for entity, table in _LINKS.items():
            theirs = (table.c.district_id == district_id, table.c.user_key == key)
            yield keep_creations(entity, *theirs)
            yield delete(table).where(*theirs)
        yield _silenced(district_id, key)
        history = IDENTIFIER_HISTORY
        yield delete(history).where(history.c.district_id == district_id, _history((key,)))
    for column in _SAID_OF_USERS:
        for value in sorted(person.ids):
            yield (
                update(FINDINGS)
                .where(FINDINGS.c.district_id == district_id, column == value)
                .values(user_id=None, user_source_key=None)
            )
    for word in sorted(person.words):
        yield _unknown_name(district_id, word)


def _emptied(district_id: str, key: int) -> Update:
    values: dict[str, Any] = dict.fromkeys(name for name in columns_of(USERS) if name not in ("user_key", "source"))
    values |= {"source_key": f"{FORGOTTEN_KEY}{key}", "status": "removed"}
    return update(_USERS).where(_USERS.c.district_id == district_id, _USERS.c.user_key == key).values(values)


def _silenced(district_id: str, key: int) -> Update:
    """No value of before and after is left, nor which schools and classes there were.

    Where there was an image there is an empty one, because a change is known by having one.
    """
    table = CHANGES
    return (
        update(table)
        .where(table.c.district_id == district_id, table.c.user_key == key)
        .values(
            before_json=case((table.c.before_json.is_not(None), "{}")),
            # Of a creation without one the usual values would be told.
            after_json=case((table.c.after_json.is_not(None) | (table.c.operation == "create"), "{}")),
            entity_id=f"forgotten {key}",
            organization_key=None,
            class_key=None,
            reason=case((table.c.reason.is_not(None), cast(literal(REASON), Text))),
            file=None,
            line=None,
        )
    )


def _unknown_name(district_id: str, name: str) -> Delete:
    """A search finds no name that nobody has any more."""
    words, name = SEARCH_NAMES, name[:LOOKED_IN]
    bearers = (
        exists().where(_USERS.c.district_id == district_id, looked_in(_USERS.c[column]) == name)
        for column in NAMES[USERS.name]
    )
    return delete(words).where(
        words.c.district_id == district_id, words.c.entity == USERS.name, words.c.name == name, ~or_(*bearers)
    )


def _remember(session: Session, run: RunRecord, person: Person, before: int) -> None:
    """The run's row, the marks and the new state."""
    same = DISTRICT_STATE.c.district_id == run.district_id
    ((known,),) = session.rows(select(DISTRICT_STATE.c.forget_key).where(same))
    key = known or secrets.token_hex(32)
    whose = person.keys[0] if person.keys else 0  # of nobody who had a record
    session.execute(update(DISTRICT_STATE).where(same).values(version=before + 1, forget_key=key))
    session.execute(insert(RUNS).values(**run.row(), state_after=before + 1))
    for made in sorted({mark(key, column, value) for column, values in person.marked.items() for value in values}):
        row = {"district_id": run.district_id, "mark": made, "run_id": run.run_id, "state_after": before + 1}
        session.execute(
            # Both databases spell it like PostgreSQL.
            postgresql_insert(FORGOTTEN).values(**row, user_key=whose).on_conflict_do_nothing()
        )
