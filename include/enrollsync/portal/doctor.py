"""What weakens a district's identifiers and its roster: each check by itself, with a way to act."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from enrollsync.as_of.records import Roster
from enrollsync.portal.entry import DistrictVisit, Inside
from enrollsync.portal.pages import Page, show
from enrollsync.portal.people import card
from enrollsync.portal.texts import say
from enrollsync.records.active import active_after, last_nights
from enrollsync.records.doctor import BY_NAME, CHECKS, MOST, Check, ask
from enrollsync.words.canonical import ORGANIZATIONS, USERS
from enrollsync.words.masking import all_masked

routes = APIRouter(prefix="/districts/{district_id}")
PAGE = 20
"""Cases on one page."""
_LOST = 0.5
"""Share of its people that a school has lost, from which on that is told."""


@routes.get("/doctor")
def doctor(here: Inside) -> Response:
    """All checks; each fills in what it finds by itself, because on a large roster it takes seconds once a night."""
    checks = [{"name": one.name, "title": say(one.title), "why": say(one.why), "act": say(one.act)} for one in CHECKS]
    return show(here, "doctor.html.j2", {"checks": checks, "shrunk": all_masked(_shrunk(here))})


@routes.get("/doctor/{check}")
def examined(here: Inside, check: str, page: Page = 1) -> Response:
    """What one check finds."""
    if check not in BY_NAME:
        raise HTTPException(404, say("There is no such page."))
    asked = BY_NAME[check]
    found = ask(here.store, here.district.district_id, asked)
    pages = max(1, -(-min(len(found), MOST) // PAGE))
    page = min(page, pages)
    facts = {
        "check": asked.name, "title": say(asked.title), "why": say(asked.why), "act": say(asked.act),
        "total": min(len(found), MOST), "more": len(found) > MOST, "page": page, "pages": pages,
        "cases": _cases(here, asked, found[(page - 1) * PAGE : page * PAGE]),
    }  # fmt: skip
    part = here.request.headers.get("hx-request") == "true"
    return show(here, "doctor_found.html.j2" if part else "doctor_check.html.j2", all_masked(facts))


def _cases(here: DistrictVisit, asked: Check, found: tuple[tuple[int, ...], ...]) -> list[dict[str, Any]]:
    """Each case with the records that it is about."""
    key = str(asked.entity.key)
    with here.store.asking() as read:
        keys = {one for case in found for one in case}
        records = {
            row[key]: row for row in Roster(read, here.district.district_id).records(asked.entity, **{key: keys})
        }
    for one in records:
        here.note_view(asked.entity.name, one)
    cases = [[card(asked.entity, records[one]) for one in case if one in records] for case in found]
    two = asked.entity is USERS and asked.name == "same_person"
    return [{"records": case, "merge": two and len(case) == 2} for case in cases if case]


def _shrunk(here: DistrictVisit) -> list[dict[str, Any]]:
    """Schools that have lost most of their people within the last nights."""
    district_id = here.district.district_id
    with here.store.asking() as read:
        nights = last_nights(read, district_id)
        told = {key for _, shares in nights for key in shares.get(USERS.name, {}) if key}
        lost = {}
        for key in told:
            numbers = [number for _, number in active_after(nights, USERS.name, key)]
            if numbers and numbers[-1] <= (1 - _LOST) * max(numbers) and max(numbers) > 1:
                lost[int(key)] = (max(numbers), numbers[-1])
        schools = Roster(read, district_id).records(ORGANIZATIONS, organization_key=list(lost))
    return [
        {**card(ORGANIZATIONS, row), "most": lost[row["organization_key"]][0], "now": lost[row["organization_key"]][1]}
        for row in sorted(schools, key=lambda row: str(row["name"]))
        if row["status"] == "active"
    ]
