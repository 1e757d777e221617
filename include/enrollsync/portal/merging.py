"""Two records that are one person: beside each other, and made one."""

from __future__ import annotations

import hashlib
import hmac
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import or_, select

from enrollsync import steps
from enrollsync.as_of.records import Read, Roster, Row
from enrollsync.database.merges import merges_now
from enrollsync.database.schema import BASE, columns_of
from enrollsync.plan.merging import why_two
from enrollsync.portal.by_hand import called, do, look, why_asked
from enrollsync.portal.edits import Key
from enrollsync.portal.entry import Changing, DistrictVisit, Inside
from enrollsync.portal.pages import root_of, show
from enrollsync.portal.texts import say
from enrollsync.run.workspace import Merge
from enrollsync.words.canonical import USERS
from enrollsync.words.masking import all_masked

routes = APIRouter(prefix="/districts/{district_id}")
_LONGEST = 500
_SHOWN = (*USERS.of_kind("identifier"), *(name for name in USERS.values), "status")


@routes.get("/users/{key}/merge")
def compare(
    here: Inside, key: Key, other: Annotated[str, Query(max_length=_LONGEST)] = "",
    other_key: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:  # fmt: skip
    """A person beside the one whom `other` (an identifier) or `other_key` names."""
    with here.store.asking() as read:
        kept, gone = _record(here, read, key), _other(here, read, other.strip(), other_key)
        merged = merges_now(read, here.district.district_id)
    if other and gone is None:
        raise HTTPException(404, say("The roster has nobody with that identifier."))
    if gone is None:
        return show(here, "merge.html.j2", {"kept": all_masked(_told(kept)), "gone": None})
    for one in (kept, gone):
        here.note_view(USERS.name, one["user_key"])
    return show(here, "merge.html.j2", _beside(here, kept, gone, merged))


class Said:
    """What the form says."""

    def __init__(
        self,
        gone: Annotated[int, Form(ge=1, le=2**62)],
        seen: Annotated[str, Form(max_length=_LONGEST)],
        reason: Annotated[str, Form(max_length=_LONGEST)],
        plan: Annotated[str, Form(max_length=_LONGEST)] = "",
        looked: Annotated[str, Form(max_length=_LONGEST)] = "",
    ) -> None:
        self.gone = gone
        self.seen = seen
        self.reason = why_asked(reason)
        self.plan, self.looked = plan, looked


@routes.post("/users/{key}/merge")
def merge(here: Changing, key: Key, said: Annotated[Said, Depends()]) -> Response:
    """Make one of both, and keep the record of this page: looked at first, then done."""
    with here.store.asking() as read:
        kept, gone = _record(here, read, key), _record(here, read, said.gone)
        merged = merges_now(read, here.district.district_id)
    if why := why_two(gone, kept, merged):
        raise HTTPException(409, say("They cannot be merged: {why}.", why=why))
    if not hmac.compare_digest(said.seen.encode(), _seen(here, kept, gone).encode()):
        raise HTTPException(409, say("Somebody changed one of them while you looked; load the page again."))
    if not said.reason:
        raise HTTPException(422, say("Say why: whoever asks later reads it in the record's life."))
    begin = partial(steps.start_merge, str(here.file), Merge(gone=said.gone, kept=key), reason=said.reason)
    if said.plan:
        do(here, begin, steps.merge, said.plan, said.looked)
        return RedirectResponse(f"{root_of(here.request)}/districts/{here.district.district_id}/users/{key}", 303)
    looked = look(here, begin, steps.merge)
    return show(here, "merge.html.j2", _beside(here, kept, gone, merged) | {"reason": said.reason, **looked.facts})


def _record(here: DistrictVisit, read: Read, key: int) -> Row:
    (record, *_) = [*Roster(read, here.district.district_id).records(USERS, user_key=[key]), None]
    if record is None:
        raise HTTPException(404, say("The roster has no such record."))
    return record


def _other(here: DistrictVisit, read: Read, identifier: str, key: int | None) -> Row | None:
    if key is not None:
        return _record(here, read, key)
    users = BASE[USERS.name]
    if not identifier or "\0" in identifier:  # no database has such a text
        return None
    found = read(
        select(*(users.c[name] for name in columns_of(USERS))).where(
            users.c.district_id == here.district.district_id, users.c.status != "removed",
            or_(users.c.user_id == identifier, users.c.source_key == identifier),
        )
    )  # fmt: skip
    return next(iter(found), None)


def _beside(here: DistrictVisit, kept: Row, gone: Row, merged: dict[int, int]) -> dict[str, Any]:
    told = {
        "kept": _told(kept),
        "gone": _told(gone),
        "values": [
            {"name": name, "kept": kept[name], "gone": gone[name], "differs": kept[name] != gone[name]}
            for name in _SHOWN
            if kept[name] or gone[name]
        ],
        "why_not": why_two(gone, kept, merged),
    }
    return {**all_masked(told), "seen": _seen(here, kept, gone)}


def _told(record: Row) -> dict[str, Any]:
    return {"key": record["user_key"], "name": called(record), "identifier": record["user_id"] or record["source_key"]}


def _seen(here: DistrictVisit, kept: Row, gone: Row) -> str:
    """A mark of what both were when they were looked at."""
    values = repr([[record[name] for name in columns_of(USERS)] for record in (kept, gone)])
    return hmac.new(here.host.secret(), values.encode(), hashlib.sha256).hexdigest()[:24]
