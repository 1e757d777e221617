"""A district's page, its runs, and one run: looked at, answered, taken back, begun."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, HTTPException, Query
from fastapi.responses import RedirectResponse, Response

from enrollsync.database.removed_values import removed_to
from enrollsync.plan import answers
from enrollsync.portal.deliveries import list_deliveries
from enrollsync.portal.entry import Answering, Changing, DistrictVisit, Inside
from enrollsync.portal.host import NotDone
from enrollsync.portal.morning import list_lines
from enrollsync.portal.pages import HEADERS, Page, read_day, root_of, show, when
from enrollsync.portal.review import Looking, review
from enrollsync.portal.run_view import Known, why
from enrollsync.portal.students import by_night_and_school
from enrollsync.portal.texts import say
from enrollsync.report.wording import OUTCOMES, UNFINISHED, changes
from enrollsync.run.object_store import which_have
from enrollsync.run.workspace import Answer
from enrollsync.settings import District, run_folder
from enrollsync.words.errors import FilesUnreachable

LISTED = 50
"""Runs on one page."""
_LONGEST_COMMENT = 500

routes = APIRouter(prefix="/districts/{district_id}")


@routes.get("")
def district(here: Inside, page: Page = 1) -> Response:
    """The district: last night, what waits, its students by night and school, and where to go on from here."""
    (line,) = list_lines(here, datetime.now(UTC), only=here.district.district_id)
    last = here.store.list_runs(here.district.district_id, limit=5)
    facts = {
        "line": line,
        "runs": _with_reports(here.district, last),
        "deliveries": list_deliveries(here.district),
    }
    return show(here, "district.html.j2", facts | by_night_and_school(here, page))


@routes.post("")
async def run_now(here: Changing, source: Annotated[str, Form(max_length=1000)] = "") -> Response:
    """Begin a run of the newest delivery, or of the one that is named."""
    wishes = {"source": source} if source else {}
    run_id = await asked_of_host(here.host.start(here.request, here.district.district_id, "sync", wishes))
    return to_run(here, run_id)


# ---- the list --------------------------------------------------------------------------------------------------------


class Filters:
    """What the list of runs is narrowed to; days are the district's."""

    def __init__(
        self,
        here: Inside,
        outcome: str = "",
        person: Annotated[str, Query(max_length=200)] = "",
        first: Annotated[str, Query(alias="from")] = "",
        last: Annotated[str, Query(alias="to")] = "",
    ) -> None:
        zone = here.district.zone
        begin, end = read_day(first), read_day(last)
        self.wanted: dict[str, Any] = {
            "outcome": outcome if outcome in OUTCOMES else "",
            "person": person.strip(),
            "since": begin and datetime.combine(begin, time(), zone),
            "until": end and datetime.combine(end + timedelta(days=1), time(), zone),
        }


@routes.get("/runs")
def runs(here: Inside, filters: Annotated[Filters, Depends()], page: Page = 1) -> Response:
    """The district's runs, newest first, and the deliveries that a run by hand may read."""
    found = here.store.list_runs(
        here.district.district_id, **filters.wanted, offset=LISTED * (page - 1), limit=LISTED + 1
    )
    facts = {
        "district_id": here.district.district_id,
        "runs": _with_reports(here.district, found[:LISTED]),
        "more": len(found) > LISTED,
        "page": page,
        "going": [one.run_id for one in here.host.running(here.district.district_id)],
        "deliveries": list_deliveries(here.district),
        "outcomes": {name: outcome.title for name, outcome in OUTCOMES.items()},
    }
    return show(here, "runs.html.j2", facts)


@routes.get("/runs.csv")
def runs_as_csv(here: Inside, filters: Annotated[Filters, Depends()]) -> Response:
    """The same list whole, for a spreadsheet."""
    from enrollsync.run.engine import with_escape

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    columns = ("run_id", "started", "outcome", "approved_by", "answer", "changes", "message")
    writer.writerow(columns)
    for run in here.store.list_runs(here.district.district_id, **filters.wanted):
        listed = _listed(run, here.district)
        writer.writerow(with_escape(str(listed[name] or "")) for name in columns)
    headers = HEADERS | {"Content-Disposition": "attachment; filename=runs.csv"}
    return Response(text.getvalue(), media_type="text/csv", headers=headers)


def _with_reports(district: District, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs as a page lists them, with the addresses of the reports that are kept."""
    folders = {run["run_id"]: run_folder(district, run["run_id"]) for run in runs}
    reported = set[Path]()
    with suppress(FilesUnreachable):  # the list is known all the same
        reported = which_have(folders.values(), "report.html")
    listed = []
    for run in runs:
        dag = f"enrollment_{'undo' if run['outcome'] == 'undone' else 'sync'}__{district.district_id}"
        address = f"{dag}/{quote(run['run_id'], safe='')}/report.html"
        listed.append(_listed(run, district) | {"report": address if folders[run["run_id"]] in reported else None})
    return listed


def _listed(run: Mapping[str, Any], district: District) -> dict[str, Any]:
    outcome = OUTCOMES.get(run["outcome"], UNFINISHED)
    return {
        "run_id": run["run_id"],
        "started": when(run["started_at"], district.zone),
        "started_at": run["started_at"],
        "outcome": run["outcome"],
        "said": say(outcome.title),
        "tone": outcome.tone,
        "changes": changes(run["outcome"], run["counts"]) if run["state_after"] is not None else None,
        "approved_by": run["approved_by"],
        "answer": run["answer"],
        "decided": answers.answered(run["answer"], run["approved_by"]) if run["approved_by"] else None,
        "message": why(run["message"]),
    }


# ---- one run ---------------------------------------------------------------------------------------------------------


@routes.get("/runs/{run_id}")
def run(here: Inside, run_id: str, look: Looking) -> Response:
    """One run: why it waits, what it changes by field and school and one by one, what was found, its files."""
    known = _known(here, run_id)
    return show(here, "run.html.j2", review(known, look) | {"may_undo": _may_undo(known)})


def _known(here: DistrictVisit, run_id: str) -> Known:
    known = Known(here, run_id)
    if not known:
        raise HTTPException(404, say("The district has no such run."))
    return known


def _may_undo(known: Known) -> bool:
    row = known.row
    if row is None or row["state_after"] is None or row["outcome"] == "forgotten" or not known.here.may_change:
        return False
    store, district_id = known.here.store, known.here.district.district_id
    return row["state_after"] > removed_to(store.rows, district_id) and known.run_id not in store.undone(district_id)


@routes.post("/runs/{run_id}")
async def decide(
    here: Answering,
    run_id: str,
    answer: Annotated[Literal["approve", "without_removals", "use_proposal", "reject", "undo"], Form()],
    comment: Annotated[str, Form(max_length=_LONGEST_COMMENT)] = "",
    keep_later: Annotated[bool, Form()] = False,
    plan_id: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Answer a plan that waits, or begin to take a run back; taking back is a plan that waits, too."""
    known = _known(here, run_id)
    if answer == "undo":
        if not here.may_change:
            raise HTTPException(403, "Forbidden")
        if not _may_undo(known):
            raise HTTPException(409, say("This run changed nothing, or is taken back already."))
        wishes = {"run": run_id, "keep_later": keep_later}
        return to_run(
            here, await asked_of_host(here.host.start(here.request, here.district.district_id, "undo", wishes))
        )
    _require_answer(known, answer, plan_id)
    assert known.waiting is not None
    await asked_of_host(here.host.answer(here.request, known.waiting, answer, comment.strip()))
    return to_run(here, run_id)


def _require_answer(known: Known, answer: Answer, plan_id: str) -> None:
    """Raises HTTPException 409 where nothing waits, the answer does not fit, or another plan was looked at."""
    if known.waiting is None or known.manifest is None:
        raise HTTPException(409, say("This run does not wait for an answer any more."))
    if answer not in answers.possible(known.manifest):
        raise HTTPException(409, say("This answer does not fit the plan that waits."))
    if plan_id != known.manifest.plan_id:
        raise HTTPException(409, say("The plan that waits is another one now; look at it and answer again."))


async def asked_of_host(doing: Any) -> Any:
    """What the host did; raises HTTPException 409 with its own words where it did not."""
    try:
        return await doing
    except NotDone as error:
        raise HTTPException(409, str(error)) from None


def to_run(here: DistrictVisit, run_id: str) -> RedirectResponse:
    """Leads to the run's page."""
    path = f"{root_of(here.request)}/districts/{here.district.district_id}/runs/{quote(run_id, safe='')}"
    return RedirectResponse(path, 303, headers=HEADERS)
