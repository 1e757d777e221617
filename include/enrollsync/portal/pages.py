"""Lays facts out as a page, or gives them as they are to a program that prefers JSON."""

from __future__ import annotations

import hashlib
from calendar import timegm
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import HTTPException, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment

from enrollsync.portal.entry import DistrictVisit, Visit
from enrollsync.portal.plots import one_line
from enrollsync.portal.texts import CATALOGUE, say
from enrollsync.report.page import strict_templates
from enrollsync.words.codes import CODES

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer; none of it is kept by a browser, and nothing in it comes from elsewhere."""
Page = Annotated[int, Query(ge=1, le=100_000)]
"""Which page of a list is asked for."""
ASSETS = {
    "roster.css": "text/css",
    "roster.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "plots.js": "text/javascript",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}
"""What pages load, by name."""


def prefers_data(request: Request) -> bool:
    """Whether JSON is asked for, and HTML is not named before it."""
    accepted = request.headers.get("accept", "").lower()
    return "application/json" in accepted.partition("text/html")[0]


class _Asked(dict[str, str]):
    """What the page's address asks for; what it does not ask for is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def show(here: Visit, template: str, facts: dict[str, Any], *, status: int = 200) -> Response:
    """The facts as JSON where the request prefers it, else the template filled with them.

    Every value on a page is escaped; what a template needs besides the facts (the visit, words) is not in the JSON.
    """
    if prefers_data(here.request):
        return JSONResponse(jsonable_encoder(facts), status, headers=HEADERS)
    return HTMLResponse(render(here, template, facts), status, headers=HEADERS)


def render(here: Visit, template: str, facts: dict[str, Any]) -> str:
    """The page."""
    around = {
        "here": here,
        "root": root_of(here.request),
        "district": here.district if isinstance(here, DistrictVisit) else None,
        "may_answer": here.may_answer if isinstance(here, DistrictVisit) else False,
        "may_change": here.may_change if isinstance(here, DistrictVisit) else False,
        "codes": CODES,
        "asked": _Asked((name, value) for name, value in here.request.query_params.items() if value),
        "path": here.request.url.path,
    }
    return _environment().get_template(template).render(around | facts)


def root_of(request: Request) -> str:
    """Path under which the portal is mounted, without a slash at its end: `/roster`."""
    return str(request.scope.get("root_path", "")).rstrip("/")


@cache
def asset(name: str) -> tuple[bytes, str]:
    """The content of an asset and a mark that changes with it."""
    content = files("enrollsync.portal").joinpath("static", name).read_bytes()
    if name == "roster.css":  # what a report looks like, and what pages have besides
        content = files("enrollsync.report").joinpath("page.css").read_bytes() + content
    return content, hashlib.sha256(content).hexdigest()[:12]


@cache
def _environment() -> Environment:
    environment = strict_templates("portal/templates")
    environment.install_gettext_translations(CATALOGUE, newstyle=True)  # type: ignore[attr-defined]
    environment.filters |= {
        "signed": lambda number: f"{number:+,}".replace("-", "−"),
        "when": when,
        "clock": clock,
        "on_day": on_day,
        "one_line": one_line,
        "midnight": lambda day: timegm(day.timetuple()),
        "age": age,
        "with_query": with_query,
        "field": lambda name: name.replace("_", " "),
        "value": value,
        "consecutive": lambda rows, name: [list(some) for _, some in groupby(rows, key=itemgetter(name))],
        "zip": zip,
        "zip_names": lambda names: [(name, name.replace("_", " ") if name.islower() else name) for name in names],
    }
    environment.globals["asset"] = lambda name: f"static/{name}?v={asset(name)[1]}"
    return environment


def when(moment: datetime | None, zone: ZoneInfo) -> str:
    """`Tue 24 Nov 2026, 02:00 EST`: in the district's time zone, which it names."""
    if moment is None:
        return say("never")
    local = moment.astimezone(zone)
    return f"{on_day(local)}, {local:%H:%M} {local.tzname()}"


def clock(moment: datetime, zone: ZoneInfo) -> str:
    """`Wed 02:00 EST`."""
    return f"{moment.astimezone(zone):%a %H:%M %Z}"


def on_day(day: date) -> str:
    """`Tue 24 Nov 2026`."""
    return f"{day:%a} {day.day} {day:%b %Y}"


def read_day(text: str) -> date | None:
    """The day that an address names; None where it names none. Raises HTTPException 422 for what is no day."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise HTTPException(422, say("{day} is no day; write one like 2026-11-24.", day=text[:20])) from None


def age(moment: datetime, now: datetime) -> str:
    """How long ago, in a word: `5 h`, `2 days`."""
    hours = int((now - moment).total_seconds() // 3600)
    if hours < 1:
        return say("under 1 h")
    return say("{hours} h", hours=hours) if hours < 48 else say("{days} days", days=hours // 24)


def value(found: Any) -> str:
    """A value of a record as a person reads it; nothing and an empty text look alike."""
    if found in (None, ""):
        return "–"
    return say("yes") if found is True else say("no") if found is False else str(found)


def with_query(asked: dict[str, str], **changes: Any) -> str:
    """The query of this page with some values changed; what is empty or None is left out."""
    return "?" + urlencode({name: value for name, value in (asked | changes).items() if value not in (None, "")})
