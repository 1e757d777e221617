"""Rows that wait for a person: whose each may be, side by side, and the answer that loads it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException
from fastapi.responses import RedirectResponse, Response

from enrollsync import steps
from enrollsync.database.settled import settled_rows
from enrollsync.portal.by_hand import called, do, look, why_asked
from enrollsync.portal.entry import Changing, DistrictVisit, Inside
from enrollsync.portal.pages import Page, root_of, show
from enrollsync.portal.texts import say
from enrollsync.records.open_findings import open_runs
from enrollsync.records.waiting import PAGE, Waiting, waiting_rows, with_candidates
from enrollsync.run.object_store import for_page
from enrollsync.run.workspace import Settle, Workspace
from enrollsync.settings import run_folder
from enrollsync.words.canonical import BY_NAME, USERS
from enrollsync.words.codes import CODES, DOUBLE
from enrollsync.words.masking import all_masked

routes = APIRouter(prefix="/districts/{district_id}")
_LONGEST = 500
_HIDDEN = ("source_key", "organization_source_key", "user_source_key")
SOMEBODY_NEW = "new"
"""The answer that a row is of none of the records that it may be of."""


@routes.get("/waiting")
def waiting(here: Inside, page: Page = 1) -> Response:
    """Rows that wait, those of one reason together."""
    district_id = here.district.district_id
    with here.store.asking() as read:
        workspaces = [Workspace(for_page(run_folder(here.district, run_id))) for run_id in open_runs(read, district_id)]
        total, found = waiting_rows(workspaces, settled_rows(read, district_id), page)
        rows = with_candidates(read, district_id, found)
    for row in rows:
        for candidate in row.candidates:
            here.note_view(row.entity, candidate[str(BY_NAME[row.entity].key)])
    pages = max(1, -(-total // PAGE))
    facts = {"rows": [_told(row) for row in rows], "total": total, "page": min(page, pages), "pages": pages,
             "gone": [one.root.name for one in workspaces if not one.waiting.is_file()]}  # fmt: skip
    return show(here, "waiting.html.j2", all_masked(facts))


class Said:
    """What the form says of one row."""

    def __init__(
        self,
        run_id: Annotated[str, Form(max_length=_LONGEST)],
        file: Annotated[str, Form(max_length=_LONGEST)],
        line: Annotated[int, Form(ge=1, le=2**40)],
        answer: Annotated[str, Form(max_length=20, pattern="^(new|[0-9]{1,18})$")],
        reason: Annotated[str, Form(max_length=_LONGEST)],
        plan: Annotated[str, Form(max_length=_LONGEST)] = "",
        looked: Annotated[str, Form(max_length=_LONGEST)] = "",
    ) -> None:
        self.place = (run_id, file, line)
        self.answer = answer
        self.record = None if answer == SOMEBODY_NEW else int(answer)
        self.reason = why_asked(reason)
        self.plan, self.looked = plan, looked


@routes.post("/waiting")
def settle(here: Changing, said: Annotated[Said, Depends()]) -> Response:
    """Say whose a row is: looked at first, then done."""
    district_id = here.district.district_id
    with here.store.asking() as read:
        (row, *_) = [*_asked(here, said, settled_rows(read, district_id), open_runs(read, district_id)), None]
        if row is None:
            raise HTTPException(409, say("This row does not wait any more; load the page again."))
        (row,) = with_candidates(read, district_id, [row])
    keys = [candidate[str(BY_NAME[row.entity].key)] for candidate in row.candidates]
    if said.record is not None and said.record not in keys:
        raise HTTPException(422, say("The row is none of that record's; choose one of those beside it."))
    if not said.reason:
        raise HTTPException(422, say("Say why: whoever asks later reads it in the record's life."))
    asked = Settle(
        run_id=row.run_id, format=row.format, entity=row.entity, source_key=row.source_key, record=said.record,
        alone=row.code == DOUBLE, file=row.file, line=row.line,
    )  # fmt: skip
    begin = partial(steps.start_settle, str(here.file), asked, reason=said.reason)
    if said.plan:
        do(here, begin, steps.settle, said.plan, said.looked)
        return RedirectResponse(f"{root_of(here.request)}/districts/{district_id}/waiting", 303)
    looked = look(here, begin, steps.settle)  # what names its plan is no number of a person's
    facts = {"row": all_masked(_told(row)), "answer": said.answer, "reason": said.reason, **looked.facts}
    return show(here, "settle.html.j2", facts)


def _asked(here: DistrictVisit, said: Said, settled: set[tuple[str, str, int]], open_now: list[str]) -> list[Waiting]:
    if said.place[0] not in open_now:
        return []
    place = Workspace(for_page(run_folder(here.district, said.place[0])))
    return waiting_rows([place], settled, only=said.place)[1]


def _told(row: Waiting) -> dict[str, Any]:
    """A row as the page shows it: its values beside those of each candidate."""
    entity = BY_NAME[row.entity]
    names = [name for name in entity.columns if name not in _HIDDEN and name != "status"]
    candidates = [
        {
            "key": record[str(entity.key)],
            "name": called(record),
            "status": record["status"],
            "is_it": record[str(entity.key)] == row.record_key,
        }
        for record in row.candidates
    ]
    values = [
        {
            "name": name,
            "says": row.says[name],
            "has": [{"value": record.get(name), "differs": _differs(row.says[name], record.get(name))}
                    for record in row.candidates],
        }
        for name in names
        if row.says[name] or any(record.get(name) for record in row.candidates)
    ]  # fmt: skip
    return {
        "run_id": row.run_id, "entity": row.entity, "code": row.code, "title": CODES[row.code].title,
        "why": CODES[row.code].why, "file": row.file, "line": row.line, "name": called(row.says), "values": values,
        "candidates": candidates, "person": entity is USERS,
    }  # fmt: skip


def _differs(said: str | None, had: Any) -> bool:
    """Of what both have."""
    return bool(said and had and str(said).lower() != str(had).lower())
