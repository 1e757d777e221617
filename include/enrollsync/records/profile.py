"""One person, class or organization: what it is or was, where its values came from, what belongs to it, its life."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select

from enrollsync.as_of.day import state_before
from enrollsync.as_of.records import Read, Roster, Row, changes_since
from enrollsync.database.memory import instant
from enrollsync.database.schema import BASE, CHANGED_CLASS, CHANGES, STUDENTS
from enrollsync.records.active import active_after, last_nights
from enrollsync.records.open_findings import open_runs
from enrollsync.records.search import PAGE, Wanted, search
from enrollsync.report.explain import life_of
from enrollsync.words.canonical import CLASSES, ENROLLMENTS, MEMBERSHIPS, ORGANIZATIONS, USERS, Entity
from enrollsync.words.folding import words_of


def profile(
    read: Read, district_id: str, entity: Entity, key: int, before: datetime | None = None, page: int = 1
) -> Row | None:
    """Everything that is known of one record, or was known right before that instant; None where it is not there.

    `record`: the columns of the base table. `origins`: column -> the event of its life that gave it its value.
    `earlier`, `life`: as `explain.life_of` tells them. `findings`: the events of `life` that are open findings; none of
    an earlier day. Of a person: `organizations` and `classes`; of a class: `organization` and `people`; of an
    organization: `people`, `classes` (the first ones) and `nights` (when a night began, how many students
    were active after it). People are those of this page, with `total`, `more` (than that), `page` and `pages`.
    """
    state = None if before is None else state_before(read, district_id, before)
    roster = Roster(read, district_id, state)
    record = next(iter(roster.records(entity, **{str(entity.key): [key]})), None)
    if record is None:
        return None
    told = life_of(read, district_id, entity, key)
    until = None if before is None else instant(before)
    life = [event for event in told["life"] if until is None or event["when"] < until]
    still_open = open_runs(read, district_id) if before is None else []
    return {
        "record": record,
        "origins": _origins(entity, life),
        "earlier": [name for name in told["earlier"] if until is None or name["until"] < until],
        "findings": [event for event in life if "finding" in event and event["run_id"] in still_open],
        "life": life,
        **_AROUND[entity.name](roster, record, page),
    }


def _origins(entity: Entity, life: list[Row]) -> dict[str, Row]:
    """Column -> the newest event that gave it a value."""
    origins: dict[str, Row] = {}
    for event in life:
        if event.get("operation") and event["entity"] == entity.name:
            for name in event["after"] or {}:
                origins.setdefault(name, event)
    return origins


# ---- what belongs to it ----------------------------------------------------------------------------------------------


def _around_user(roster: Roster, user: Row, page: int) -> Row:
    links = roster.records(MEMBERSHIPS, user_key=[user["user_key"]])
    enrolled = roster.records(ENROLLMENTS, user_key=[user["user_key"]])
    return {
        "organizations": _joined(roster, links, ORGANIZATIONS),
        "classes": _joined(roster, enrolled, CLASSES),
    }


def _around_class(roster: Roster, found: Row, page: int) -> Row:
    school = found["organization_key"]
    schools = roster.records(ORGANIZATIONS, organization_key=[] if school is None else [school])
    people = _joined(roster, roster.records(ENROLLMENTS, class_key=[found["class_key"]]), USERS)
    return {"organization": next(iter(schools), None), **_paged(people, page)}


def _around_organization(roster: Roster, school: Row, page: int) -> Row:
    key = school["organization_key"]
    around = _school_then(roster, key, page) if roster.state is not None else _school_now(roster, key, page)
    nights = last_nights(roster.read, roster.district_id, roster.state)
    return {**around, "nights": active_after(nights, STUDENTS, str(key))}


def _school_now(roster: Roster, key: int, page: int) -> Row:
    wanted = Wanted(school=key)
    people = search(roster.read, roster.district_id, USERS, wanted, page)
    classes = search(roster.read, roster.district_id, CLASSES, wanted)
    return {
        "people": people.records,
        "total": people.total,
        "more": people.more,
        "page": people.page,
        "pages": people.pages,
        "classes": classes.records,
        "classes_total": classes.total,
        "classes_more": classes.more,
    }


def _school_then(roster: Roster, key: int, page: int) -> Row:
    """Who was active there, by the names that they have now; shown is what they were called then."""
    links = roster.records(MEMBERSHIPS, organization_key=[key])
    members = {link["user_key"] for link in links if link["status"] == "active"}
    names = roster.read(_names_of_members(roster.district_id, key))
    here = [row["user_key"] for row in sorted(names, key=_by_name) if row["user_key"] in members]
    paged = _paged([{"user_key": member} for member in dict.fromkeys(here)], page)
    shown = [row["user_key"] for row in paged["people"]]
    then = {row["user_key"]: row for row in roster.records(USERS, user_key=shown)}
    classes = sorted(_classes_then(roster, key), key=_by_name)
    return {
        **paged,
        "people": [then[member] for member in shown if member in then],
        "classes": classes[:PAGE],
        "classes_total": len(classes),
        "classes_more": False,
    }


def _names_of_members(district_id: str, key: int) -> Select[Any]:
    links, users = BASE[MEMBERSHIPS.name], BASE[USERS.name]
    same = (users.c.district_id == links.c.district_id) & (users.c.user_key == links.c.user_key)
    return (
        select(users.c.user_key, users.c.family_name, users.c.given_name)
        .join_from(links, users, same)
        .where(links.c.organization_key == key, links.c.district_id == district_id)
    )


def _classes_then(roster: Roster, key: int) -> list[Row]:
    """Those that belong to it now, and those that have moved away since, as far as they belonged to it then."""
    assert roster.state is not None
    base = BASE[CLASSES.name]
    now = select(base.c.class_key).where(base.c.organization_key == key, base.c.district_id == roster.district_id)
    moved = CHANGES.c.before_json.like(f'%"organization_key":{key:d}%')
    since = changes_since(CLASSES, roster.district_id, roster.state, CHANGED_CLASS, moved, by_state=True)
    keys = {row["class_key"] for query in (now, since) for row in roster.read(query)}
    return [row for row in roster.records(CLASSES, class_key=keys) if row["organization_key"] == key]


_AROUND = {"users": _around_user, "classes": _around_class, "organizations": _around_organization}


def _joined(roster: Roster, links: list[Row], end: Entity) -> list[Row]:
    """Each link with the name and identifier at its other end: the active ones first, by name."""
    key = str(end.key)
    ends = {row[key]: row for row in roster.records(end, **{key: {link[key] for link in links}})}
    joined = [
        {**ends[link[key]], "role": link["role"], "is_primary": link["is_primary"], "status": link["status"]}
        for link in links
        if link[key] in ends
    ]
    return sorted(joined, key=lambda row: (row["status"] != "active", not row["is_primary"], *_by_name(row)))


def _by_name(row: Row) -> tuple[str, ...]:
    return tuple(" ".join(words_of(row.get(name) or "")) for name in ("family_name", "given_name", "name"))


def _paged(people: list[Row], page: int) -> Row:
    pages = max(1, -(-len(people) // PAGE))
    page = min(max(page, 1), pages)
    shown = people[(page - 1) * PAGE : page * PAGE]
    return {"people": shown, "total": len(people), "more": False, "page": page, "pages": pages}
