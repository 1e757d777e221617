"""People, classes and organizations: found, and each with its life, now or at the end of an earlier day."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from fastapi.responses import Response

from enrollsync.as_of.day import end_of
from enrollsync.database.merges import merges_now
from enrollsync.database.schema import EDIT_REASON
from enrollsync.formats import why_not_editable
from enrollsync.portal.edits import editable_columns, seen
from enrollsync.portal.entry import DistrictVisit, Inside
from enrollsync.portal.pages import Page, read_day, show, when
from enrollsync.portal.texts import say
from enrollsync.records.open_findings import open_runs
from enrollsync.records.profile import profile
from enrollsync.records.search import Wanted, organizations_to_choose, search
from enrollsync.records.suggested import suggestion_for
from enrollsync.run.object_store import for_page
from enrollsync.run.workspace import Workspace
from enrollsync.settings import run_folder
from enrollsync.words.canonical import CLASSES, KINDS, ORGANIZATIONS, STATUSES, USERS, Entity
from enrollsync.words.codes import CODES
from enrollsync.words.errors import ConfigurationError
from enrollsync.words.masking import all_masked

routes = APIRouter(prefix="/districts/{district_id}")
log = logging.getLogger(__name__)

EVENTS = 50
"""Of a life, on one page."""
Key = Annotated[int, Path(ge=1, le=2**62)]
Text = Annotated[str, Query(max_length=200)]
Number = Annotated[str, Query(max_length=18, pattern="^[0-9]*$")]


@routes.get("/users")
def users(
    here: Inside, q: Text = "", school: Number = "", role: Text = "", status: Text = "", code: Text = "", page: Page = 1
) -> Response:
    """People who fit."""
    return _listed(here, USERS, Wanted(q, int(school) if school else None, role, status, code), page)


@routes.get("/classes")
def classes(
    here: Inside, q: Text = "", school: Number = "", status: Text = "", code: Text = "", page: Page = 1
) -> Response:
    """Classes that fit."""
    return _listed(here, CLASSES, Wanted(q, int(school) if school else None, "", status, code), page)


@routes.get("/organizations")
def organizations(here: Inside, q: Text = "", status: Text = "", code: Text = "", page: Page = 1) -> Response:
    """Organizations that fit."""
    return _listed(here, ORGANIZATIONS, Wanted(q, None, "", status, code), page)


class Asked:
    """What is asked of a profile."""

    def __init__(self, as_of: Text = "", reveal: bool = False, page: Page = 1, life: Page = 1) -> None:
        self.day = read_day(as_of)
        self.reveal = reveal
        self.page, self.life = page, life
        """Of the people around it, and of its life."""


@routes.get("/users/{key}")
def user(here: Inside, key: Key, asked: Annotated[Asked, Depends()]) -> Response:
    """One person."""
    return _told(here, USERS, key, asked)


@routes.get("/classes/{key}")
def one_class(here: Inside, key: Key, asked: Annotated[Asked, Depends()]) -> Response:
    """One class."""
    return _told(here, CLASSES, key, asked)


@routes.get("/organizations/{key}")
def organization(here: Inside, key: Key, asked: Annotated[Asked, Depends()]) -> Response:
    """One organization."""
    return _told(here, ORGANIZATIONS, key, asked)


def _listed(here: DistrictVisit, entity: Entity, wanted: Wanted, page: int) -> Response:
    district_id = here.district.district_id
    with here.store.asking() as read:
        found = search(read, district_id, entity, wanted, page)
        schools = organizations_to_choose(read, district_id)
    facts = {
        "entity": entity.name,
        "found": all_masked([card(entity, row) for row in found.records]),
        "total": found.total,
        "more": found.more,
        "page": found.page,
        "pages": found.pages,
        "schools": schools,
        "roles": list(KINDS),
        "statuses": list(STATUSES),
        "known_codes": {name: code.title for name, code in CODES.items()},
        "filters": {"school": entity is not ORGANIZATIONS, "role": entity is USERS},
    }
    return show(here, "people.html.j2", facts)


def card(entity: Entity, row: dict[str, Any]) -> dict[str, Any]:
    """What a list and a link tell of a record."""
    name = " ".join(row[part] for part in ("given_name", "middle_name", "family_name") if row.get(part))
    return {
        "entity": entity.name,
        "key": row[str(entity.key)],
        "name": name or row.get("name") or row[str(entity.identifier)] or row["source_key"],
        "identifier": row[str(entity.identifier)] or row["source_key"],
        "role": row.get("role") or row.get("type") or row.get("course_name"),
        "grade": row.get("grade"),
        "status": row["status"],
        "is_primary": bool(row.get("is_primary")),
        "organization": row.get("organization"),
        "organization_key": row.get("organization_key"),
    }


def _told(here: DistrictVisit, entity: Entity, key: int, asked: Asked) -> Response:
    if asked.reveal and not here.may_change:
        raise HTTPException(403, "Forbidden")
    before = end_of(asked.day, here.district.zone) if asked.day else None
    with here.store.asking() as read:
        try:
            found = profile(read, here.district.district_id, entity, key, before, asked.page)
        except ConfigurationError as error:  # of a day that the audit tells nothing of any more
            raise HTTPException(404, str(error)) from None
        open_now = open_runs(read, here.district.district_id) if entity is CLASSES and before is None else []
        merged = merges_now(read, here.district.district_id) if entity is USERS else {}
    if found is None:
        raise HTTPException(404, say("The roster has no such record, or had none on that day."))
    here.note_view(entity.name, key)
    if asked.reveal:
        log.info("shown whole: %s %s of district %s to %s", entity.name, key, here.district.district_id,
                 here.visitor.name)  # fmt: skip
    facts = {
        **_facts(here, entity, found),
        **_life(here, found["life"], asked.life),
        "suggestion": suggestion_for(found["record"], _workspaces(here, open_now)) if open_now else None,
        "merged_into": merged.get(key),
        "edits": here.district.edits if asked.day is None and _is_edited(found["origins"]) else None,
        "as_of": asked.day.isoformat() if asked.day else "",
        "revealed": asked.reveal,
    }
    hidden = all_masked(facts)
    facts = facts if asked.reveal else hidden | {"hides": hidden != facts}
    return show(here, "record.html.j2", facts | _form(here, entity, found["record"], asked))


def _is_edited(origins: dict[str, dict[str, Any]]) -> bool:
    """Whether a value is the one that a person gave here."""
    return any(event["reason"] == EDIT_REASON for event in origins.values())


def _form(here: DistrictVisit, entity: Entity, record: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """What may be changed here by this visitor, or why nothing may."""
    why = why_not_editable(here.district.primary_source, record["source"])
    open_now = here.may_change and asked.day is None and record["status"] != "removed"
    if why or not open_now:
        return {"editing": None, "not_edited": why if open_now else None}
    columns = {"identifier" if name == entity.identifier else name: record[name] for name in editable_columns(entity)}
    masked = columns if asked.reveal else all_masked(columns)
    # A form with a mask in it would store that.
    editing = {"columns": masked, "hidden": masked != columns, "seen": seen(here, entity, record)}
    return {"editing": editing, "not_edited": None}


def _workspaces(here: DistrictVisit, run_ids: list[str]) -> list[Workspace]:
    return [Workspace(for_page(run_folder(here.district, run_id))) for run_id in run_ids]


_HIDDEN = ("district_id", "source_key", "term_start", "term_end", "organization_key")


def _facts(here: DistrictVisit, entity: Entity, found: dict[str, Any]) -> dict[str, Any]:
    record = found["record"]
    ends = {"organizations": ORGANIZATIONS, "classes": CLASSES, "people": USERS}
    around = {name: [card(end, row) for row in found[name]] for name, end in ends.items() if name in found}
    school = found.get("organization")
    return {
        "entity": entity.name,
        "key": record[str(entity.key)],
        "card": card(entity, record),
        "values": [
            {"name": name, "value": value, "origin": _event(here, found["origins"].get(name))}
            for name, value in record.items()
            if name not in _HIDDEN and name != entity.key
        ],
        "earlier": [
            {"identifier": name["identifier"], "until": _when(here, name["until"])} for name in found["earlier"]
        ],
        "findings": [_event(here, event) for event in found["findings"]],
        "around": around,
        "organization": card(ORGANIZATIONS, school) if school else None,
        "nights": found.get("nights", []),
        **{name: found.get(name) for name in ("total", "more", "page", "pages", "classes_total", "classes_more")},
    }


def _life(here: DistrictVisit, life: list[dict[str, Any]], page: int) -> dict[str, Any]:
    """A page of the events, newest first, as `life`."""
    pages = max(1, -(-len(life) // EVENTS))
    page = min(page, pages)
    shown = [_event(here, event) for event in life[(page - 1) * EVENTS : page * EVENTS]]
    return {"life": shown, "life_total": len(life), "life_page": page, "life_pages": pages}


def _event(here: DistrictVisit, event: dict[str, Any] | None) -> dict[str, Any] | None:
    """An event of a life with its time as a person reads it."""
    return event and {**event, "told": _when(here, event["when"])}


def _when(here: DistrictVisit, instant: str) -> str:
    return when(datetime.fromisoformat(instant), here.district.zone)
