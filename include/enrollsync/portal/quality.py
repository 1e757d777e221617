"""Findings over time: what is new since the night before, by code and by school, and what a person knows of already."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Path
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select

from enrollsync.as_of.records import Read, Row
from enrollsync.database.schema import BASE
from enrollsync.portal.entry import Changing, DistrictVisit, Inside
from enrollsync.portal.pages import Page, prefers_data, read_day, root_of, show, when
from enrollsync.portal.plots import Plot, largest_lines
from enrollsync.portal.texts import say
from enrollsync.records.open_findings import open_runs
from enrollsync.records.quality import Night, Rise, all_known, in_force, known_of, last_nights, rises
from enrollsync.records.school_findings import SchoolFinding, of_files, of_roster
from enrollsync.records.search import organizations_to_choose
from enrollsync.report.page import inline_style
from enrollsync.run.object_store import for_page
from enrollsync.run.workspace import Workspace
from enrollsync.settings import District, run_folder
from enrollsync.words.canonical import ORGANIZATIONS
from enrollsync.words.codes import CODES, Severity
from enrollsync.words.masking import all_masked, masked

SCHOOLS = 25
"""On one page."""
RISEN = 5
"""Schools that are named where a code has risen."""
LISTED = 200
"""Findings of one code that are told of one school; of more only the number."""
_LONGEST = timedelta(days=366)
"""How long somebody may know of findings without looking again."""
_TO_MEND = (Severity.CRITICAL, Severity.WARNING)
routes = APIRouter(prefix="/districts/{district_id}/quality")
Key = Annotated[int, Path(ge=1, le=2**62)]
Reason = Annotated[str, Form(max_length=500)]
log = logging.getLogger(__name__)


@routes.get("")
def quality(here: Inside, page: Page = 1) -> Response:
    """What is new since the night before, then findings by night, code and school, and what is known of them."""
    district_id, district = here.district.district_id, here.district
    with here.store.asking() as read:
        nights = last_nights(read, district_id, district.zone)
        known = in_force(read(all_known([district_id])), _today(district))
        choices = organizations_to_choose(read, district_id) if here.may_change else []
        facts = {
            "night": nights[-1].day if nights else None,
            "before": nights[-2].day if len(nights) > 1 else None,
            "new": _new(read, district, nights, known),
            "plots": [*_by_severity(district, nights), *_by_school_plot(read, district, nights)],
            "codes": _codes(district, nights),
            **_schools(read, district, nights, page),
            "known": _told_known(read, district, known),
        }
    around = {"choices": choices, "first": _today(district) + timedelta(days=1), "last": _today(district) + _LONGEST}
    return show(here, "quality.html.j2", all_masked(facts) | around)


@routes.post("")
def know(
    here: Changing,
    code: Annotated[str, Form(max_length=50)],
    until: Annotated[str, Form(max_length=20)],
    reason: Reason,
    school: Annotated[str, Form(max_length=18, pattern="^[0-9]*$")] = "",
) -> Response:
    """Let findings of a code count as nothing new until a day, in one school or in all."""
    day, today, why = read_day(until), _today(here.district), " ".join(reason.split())
    if code not in CODES:
        raise HTTPException(422, say("There is no such finding."))
    if day is None or not today < day <= today + _LONGEST:
        raise HTTPException(422, say("Name a day after today, and within a year: then somebody looks again."))
    if not why:
        raise HTTPException(422, say("Say why: whoever asks later reads it here."))
    key = int(school) if school else None
    if key is not None:
        with here.store.asking() as read:
            _school(read, here.district, key)
    known_id = here.store.know_findings(
        here.district.district_id, code, key, until=day, person=here.visitor.name, reason=why, now=datetime.now(UTC)
    )
    log.info("known findings %s: %s in %s of district %s until %s by %s", known_id, code,
             "all schools" if key is None else f"organization {key}", here.district.district_id, day,
             here.visitor.name)  # fmt: skip
    return _to_page(here)


@routes.post("/known/{known_id}")
def end(here: Changing, known_id: str) -> Response:
    """Let them count as new again before the day comes."""
    here.store.end_known_findings(here.district.district_id, known_id, person=here.visitor.name, now=datetime.now(UTC))
    log.info("known findings %s of district %s ended by %s", known_id, here.district.district_id, here.visitor.name)
    return _to_page(here)


@routes.get("/schools/{key}")
def school(here: Inside, key: Key) -> Response:
    """What is to be mended in one school, and how much there was night after night."""
    return show(here, "quality_school.html.j2", _of_school(here, key))


@routes.get("/schools/{key}/mail")
def mail(here: Inside, key: Key) -> Response:
    """The same as a file that needs nothing else, for who keeps that school's records and has no access here."""
    facts = _of_school(here, key)
    if prefers_data(here.request):
        return show(here, "", facts)
    style, style_hash = inline_style()
    around = {"style": style, "style_hash": style_hash, "made": _today(here.district)}
    answer = show(here, "quality_mail.html.j2", facts | around)
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(facts["school"]["name"])).strip("-") or str(key)
    answer.headers["Content-Disposition"] = f"attachment; filename={name[:60]}-{facts['night'] or 'no-night'}.html"
    log.info("downloaded: findings of organization %s of district %s by %s", key, here.district.district_id,
             here.visitor.name)  # fmt: skip
    return answer


def _to_page(here: DistrictVisit) -> Response:
    return RedirectResponse(f"{root_of(here.request)}/districts/{here.district.district_id}/quality", 303)


def _today(district: District) -> date:
    return datetime.now(district.zone).date()


# ---- the district ----------------------------------------------------------------------------------------------------


def _titled(district: District, code: str) -> dict[str, Any]:
    """What the table of findings says of a code; an older program may have had others."""
    known = CODES.get(code)
    if known is None:
        return {"code": code, "title": code, "severity": Severity.INFO.value, "remedy": ""}
    severity = known.severity_in(district.primary_source).value
    return {"code": code, "title": known.title, "severity": severity, "remedy": known.remedy}


def _worst_first(told: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(told, key=lambda one: (list(Severity).index(Severity(one["severity"])), -one["now"], one["code"]))


def _new(read: Read, district: District, nights: list[Night], known: list[Row]) -> list[dict[str, Any]]:
    if len(nights) < 2:
        return []
    found = rises(nights[-2], nights[-1], known_of(known))
    names = _names(read, district, {key for rise in found for key in [*rise.schools][:RISEN]})
    return _worst_first(_risen(district, rise, names) for rise in found)


def _risen(district: District, rise: Rise, names: Mapping[str, str]) -> dict[str, Any]:
    schools = [
        {"key": int(key), "name": names.get(key, key), "before": before, "now": now}
        for key, (before, now) in [*rise.schools.items()][:RISEN]
    ]
    counted = {"before": rise.before, "now": rise.now, "schools": schools, "schools_found": len(rise.schools)}
    return _titled(district, rise.code) | counted


def _codes(district: District, nights: list[Night]) -> list[dict[str, Any]]:
    """Every code of the last two nights."""
    now, before = _last_two(nights)
    codes = {**before, **now}
    return _worst_first(
        _titled(district, code) | {"now": now.get(code, 0), "before": before.get(code, 0)} for code in codes
    )


def _last_two(nights: list[Night]) -> tuple[dict[str, int], dict[str, int]]:
    return nights[-1].counts if nights else {}, nights[-2].counts if len(nights) > 1 else {}


def _by_severity(district: District, nights: list[Night]) -> Iterable[Plot]:
    """A plot for each severity, because there is much more advice than there are rows that do not load."""
    titles = {
        Severity.CRITICAL: say("Rows that do not load, by night"),
        Severity.WARNING: say("Rows that load with a warning, by night"),
        Severity.INFO: say("Advice, by night"),
    }
    for severity, title in titles.items():
        found = [
            (night.day, {code: n for code, n in night.counts.items() if _severity(district, code) == severity})
            for night in nights
        ]
        plot = largest_lines(title, found, lambda codes: {code: code for code in codes})
        if plot:
            yield plot


def _severity(district: District, code: str) -> str:
    return str(_titled(district, code)["severity"])


def _to_mend(district: District, night: Night) -> list[str]:
    return [code for code in night.counts if _severity(district, code) in _TO_MEND]


def _by_school_plot(read: Read, district: District, nights: list[Night]) -> Iterable[Plot]:
    measured = [night for night in nights if night.schools is not None]
    found = [(night.day, night.by_school(_to_mend(district, night))) for night in measured]
    plot = largest_lines(say("Findings to be mended, by school and night"), found, partial(_names, read, district))
    if plot:
        yield plot


def _schools(read: Read, district: District, nights: list[Night], page: int) -> dict[str, Any]:
    """A page of the schools in which something is to be mended, those with most first."""
    two = [*nights[-2:]]
    now, before = ({}, {}) if not two else (_count_schools(district, two[-1]), _count_schools(district, two[0]))
    before = before if len(two) > 1 else {}
    keys = sorted({*now, *before}, key=lambda key: (-now.get(key, 0), -before.get(key, 0), int(key)))
    pages = max(1, -(-len(keys) // SCHOOLS))
    page = min(page, pages)
    shown = keys[SCHOOLS * (page - 1) : SCHOOLS * page]
    names = _names(read, district, shown)
    schools = [
        {"key": int(key), "name": names.get(key, key), "now": now.get(key, 0), "before": before.get(key, 0)}
        for key in shown
    ]
    return {"schools": schools, "page": page, "pages": pages}


def _count_schools(district: District, night: Night) -> dict[str, int]:
    return night.by_school(_to_mend(district, night))


def _names(read: Read, district: District, keys: Iterable[str]) -> dict[str, str]:
    """Key -> name of an organization, or what else it is called."""
    base, wanted = BASE[ORGANIZATIONS.name], [int(key) for key in keys]
    columns = (base.c.organization_key, base.c.name, base.c.organization_id, base.c.source_key)
    query = select(*columns).where(base.c.district_id == district.district_id, base.c.organization_key.in_(wanted))
    return {str(row["organization_key"]): _called(row) for row in read(query)} if wanted else {}


def _called(school: Row) -> str:
    return masked(school["name"] or school["organization_id"] or school["source_key"])


def _told_known(read: Read, district: District, known: list[Row]) -> list[dict[str, Any]]:
    names = _names(read, district, {str(row["organization_key"]) for row in known if row["organization_key"]})
    return [
        {
            **_titled(district, row["code"]),
            "known_id": row["known_id"],
            "school": names.get(str(row["organization_key"]), str(row["organization_key"]))
            if row["organization_key"]
            else None,
            "until": date.fromisoformat(row["until"]),
            "person": row["person"],
            "reason": row["reason"],
            "made": when(datetime.fromisoformat(row["made_at"]), district.zone),
        }
        for row in known
    ]


# ---- a school --------------------------------------------------------------------------------------------------------


def _school(read: Read, district: District, key: int) -> Row:
    base = BASE[ORGANIZATIONS.name]
    query = select(base).where(base.c.district_id == district.district_id, base.c.organization_key == key)
    rows = [row for row in read(query) if row["status"] != "removed"]
    if not rows:
        raise HTTPException(404, say("The roster has no such record."))
    return rows[0]


def _of_school(here: DistrictVisit, key: int) -> dict[str, Any]:
    """What both pages of a school tell; identifiers that could be social security numbers keep four digits."""
    district = here.district
    with here.store.asking() as read:
        row = _school(read, district, key)
        nights = last_nights(read, district.district_id, district.zone)
        found, whole = _found(read, district, row)
    here.note_view("findings of organizations", key)
    counts = nights[-1].at(key) if nights else {}
    plot = largest_lines(
        say("Findings in this school, by night"),
        [(night.day, night.at(key)) for night in nights if night.schools is not None],
        lambda codes: {code: code for code in codes},
    )
    facts = {
        "district_id": district.district_id,
        "school": {"key": key, "name": _called(row), "identifier": row["organization_id"] or row["source_key"]},
        "night": nights[-1].day if nights else None,
        "plot": plot,
        "groups": _groups(district, counts, found),
        "whole": whole,
    }
    hidden: dict[str, Any] = all_masked(facts)
    return hidden


def _found(read: Read, district: District, school: Row) -> tuple[list[SchoolFinding], bool]:
    """The findings of the runs that are open, and whether the files of all these runs are there."""
    found, gone = [], []
    for run_id in open_runs(read, district.district_id):
        place = Workspace(for_page(run_folder(district, run_id)))
        if place.school_findings.is_file():
            found += of_files(place.school_findings, school["organization_key"])
        elif not place.findings.is_file():
            gone.append(run_id)
    return found + (of_roster(read, district.district_id, gone, school) if gone else []), not gone


def _groups(district: District, counts: Mapping[str, int], found: list[SchoolFinding]) -> list[dict[str, Any]]:
    """By code, the worst first; what is counted and told nowhere is advice, or its run's files are gone."""
    told: dict[str, list[SchoolFinding]] = {}
    for one in found:
        told.setdefault(one.code, []).append(one)
    return _worst_first(
        _titled(district, code)
        | {
            "remedy": CODES[code].remedy_at_school if code in CODES else "",
            "now": max(counts.get(code, 0), len(told.get(code, []))),
            "found": [asdict(one) for one in told.get(code, [])[:LISTED]],
        }
        for code in {**told, **counts}
    )
