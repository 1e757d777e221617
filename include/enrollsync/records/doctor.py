"""What weakens a district's identifiers, and what no roster should have: records that a check finds, by their keys.

Each check is one statement that may read a whole table, so that its answer is kept as long as the state is the same.
What a check knows of a record is worked out again for the page, from the record as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, SelectBase, and_, case, exists, func, select, union_all

from enrollsync.database import Store
from enrollsync.database.schema import BASE
from enrollsync.validate.asked import OPAQUE
from enrollsync.words.canonical import CLASSES, ENROLLMENTS, KINDS, USERS, Entity

MOST = 1000
"""Records that a check lists; who has more than that has another trouble."""
Keys = tuple[tuple[int, ...], ...]
"""Of each case the keys of the records that it is about: one, or two that are too much alike."""


@dataclass(frozen=True)
class Check:
    """One question to the roster."""

    name: str
    title: str
    why: str
    act: str
    """What to do about it."""
    entity: Entity
    asks: Callable[[str], SelectBase]
    """District -> the statement; its columns are keys of the entity."""


_SSN = "^([0-9]{9}|[0-9]{3}-[0-9]{2}-[0-9]{4})$"
_STAFF = [role for role, kind in KINDS.items() if kind == "staff"]


def _active(entity: Entity, district_id: str, table: FromClause | None = None) -> ColumnElement[bool]:
    of = BASE[entity.name] if table is None else table
    return and_(of.c.district_id == district_id, of.c.status == "active")


def _like_numbers(district_id: str) -> Select[Any]:
    users = BASE[USERS.name]
    long_enough = func.length(users.c.user_id).in_((9, 11))
    return select(users.c.user_key).where(
        _active(USERS, district_id), case((long_enough, users.c.user_id.regexp_match(_SSN)), else_=False)
    )


def _pairs(district_id: str, *alike: Callable[[FromClause], ColumnElement[Any]]) -> Select[Any]:
    """Two active people of one kind who agree in all of `alike`, none of which is empty."""
    users = BASE[USERS.name]
    kind = case((users.c.role.in_(_STAFF), "staff"), else_="student")
    same = [sign(users) for sign in alike]
    first, last = func.min(users.c.user_key), func.max(users.c.user_key)
    return (
        select(first, last)
        .where(_active(USERS, district_id), *(sign.is_not(None) for sign in same))
        .group_by(*same, kind)  # what tells most people apart comes first
        .having(first < last)
    )


def _without(entity: Entity, link: str, key: str, district_id: str, *more: ColumnElement[bool]) -> Select[Any]:
    """Active records on which no active link hangs."""
    table, links = BASE[entity.name], BASE[link]
    own = table.c[str(entity.key)]
    hanging = exists().where(links.c[key] == own, links.c.district_id == district_id, links.c.status == "active", *more)
    return select(own).where(_active(entity, district_id), ~hanging)


def _students_without_a_class(district_id: str) -> SelectBase:
    """As `_without`; of most enrollments SQLite reads an index alone, so that it need not fetch each of millions."""
    users, links = BASE[USERS.name], BASE[ENROLLMENTS.name]
    students = select(users.c.user_key).where(_active(USERS, district_id), users.c.role == "student")
    own = exists(links.c.user_key).where(links.c.user_key == users.c.user_key, links.c.district_id == district_id)
    ended = select(links.c.user_key).where(links.c.district_id == district_id, links.c.status != "active")
    return union_all(
        students.where(~own), students.where(users.c.user_key.in_(ended), ~own.where(links.c.status == "active"))
    )


def _lower(name: str) -> Callable[[FromClause], ColumnElement[Any]]:
    return lambda table: func.lower(table.c[name])


def _birth_date(table: FromClause) -> ColumnElement[Any]:
    return table.c.birth_date


CHECKS: tuple[Check, ...] = (
    Check(
        "same_person", "Probably one person under two identifiers",
        "Names and birth date are the same; whoever looks for one record misses the other's classes.",
        "Compare them, and merge them if they are one person.", USERS,
        lambda district: _pairs(district, _birth_date, _lower("family_name"), _lower("given_name")),
    ),
    Check(
        "ssn", "Identifiers that look like social security numbers",
        "An identifier is shown, printed and sent; a social security number should be none of that.",
        "Give the person another identifier, here or in the source.", USERS, _like_numbers,
    ),
    Check(
        "case", "Identifiers that differ in their case only", "People take `ab1` and `AB1` for one.",
        "Rename one of them.", USERS,
        lambda district: _pairs_by_case(district),
    ),
    Check(
        "missing", "People without an identifier", "They can be found by name only, and a new source cannot tell them.",
        "Give them an identifier in the source.", USERS,
        lambda district: select(BASE["users"].c.user_key).where(
            _active(USERS, district), BASE["users"].c.user_id.is_(None)
        ),
    ),
    Check(
        "opaque", "Class identifiers that nobody can remember", "Nobody can tell one class from another by them.",
        "Open the class: it has a suggestion.", CLASSES,
        lambda district: select(BASE["classes"].c.class_key).where(
            _active(CLASSES, district), BASE["classes"].c.class_id.regexp_match(OPAQUE.replace("\\Z", "$"))
        ),
    ),
    Check(
        "student_no_class", "Students without a class", "They see nothing when they sign in.",
        "Ask the school, or look whether the source's enrollments are complete.", USERS,
        lambda district: _students_without_a_class(district),
    ),
    Check(
        "class_no_student", "Classes without students", "They may be left from another term, or wait for enrollments.",
        "Look at the class; take it out of the source if it is over.", CLASSES,
        lambda district: _without(
            CLASSES, "enrollments", "class_key", district, BASE["enrollments"].c.role == "student"
        ),
    ),
    Check(
        "class_no_teacher", "Classes without a teacher", "Nobody sees the class who could use it.",
        "Name a teacher in the source.", CLASSES,
        lambda district: _without(
            CLASSES, "enrollments", "class_key", district, BASE["enrollments"].c.role == "teacher"
        ),
    ),
    Check(
        "no_school", "People without a school", "No school's staff sees them.", "Name a school in the source.", USERS,
        lambda district: _without(USERS, "memberships", "user_key", district),
    ),
)  # fmt: skip
BY_NAME: dict[str, Check] = {check.name: check for check in CHECKS}


def _pairs_by_case(district_id: str) -> Select[Any]:
    users = BASE[USERS.name]
    first, last = func.min(users.c.user_key), func.max(users.c.user_key)
    return (
        select(first, last)
        .where(users.c.district_id == district_id, users.c.status != "removed", users.c.user_id.is_not(None))
        .group_by(func.lower(users.c.user_id))
        .having(first < last)
    )


def ask(store: Store, district_id: str, check: Check) -> Keys:
    """Whom the check finds, the first `MOST` and one more; kept until the district's state moves."""
    return _asked(store, district_id, store.version(district_id), check.name)


@lru_cache(maxsize=4096)
def _asked(store: Store, district_id: str, version: int, name: str) -> Keys:
    return tuple(tuple(int(key) for key in row.values()) for row in store.rows(first_of(BY_NAME[name], district_id)))


def first_of(check: Check, district_id: str) -> Select[Any]:
    """The statement of a check, as far as it is listed.

    For the sake of a few rows PostgreSQL would walk through two indexes side by side, which takes fifteen seconds when
    a state has no such row: so it finds all of them first.
    """
    found = check.asks(district_id).cte("found").prefix_with("MATERIALIZED", dialect="postgresql")
    return select(found).limit(MOST + 1)
