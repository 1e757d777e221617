"""Changing identifiers on a profile page: looked at first, then applied as a run of its own."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Path
from fastapi.responses import RedirectResponse, Response

from enrollsync import steps
from enrollsync.as_of.records import Roster, Row
from enrollsync.formats import why_not_editable
from enrollsync.portal.by_hand import Begin, called, do, look, why_asked
from enrollsync.portal.entry import Changing, DistrictVisit
from enrollsync.portal.pages import root_of, show
from enrollsync.portal.texts import say
from enrollsync.run.workspace import Edit
from enrollsync.words.blanks import trimmed
from enrollsync.words.canonical import CLASSES, ORGANIZATIONS, USERS, Entity
from enrollsync.words.masking import all_masked

routes = APIRouter(prefix="/districts/{district_id}")
Key = Annotated[int, Path(ge=1, le=2**62)]
_LONGEST = 500
_ITS_LINE = 2
"""Of the edited record in the files that the run reads; on the others stand those that it could be mistaken for."""


def editable_columns(entity: Entity) -> tuple[str, ...]:
    """What a person may change: the identifier, and secondary IDs."""
    return entity.of_kind("identifier", "secondary")


def seen(here: DistrictVisit, entity: Entity, record: Row) -> str:
    """A mark of the values that a form was made of: it tells whether somebody has changed them since."""
    values = repr([record[name] for name in (*editable_columns(entity), "status")])
    return hmac.new(here.host.secret(), values.encode(), hashlib.sha256).hexdigest()[:24]


class Asked:
    """What the form says; a value that it does not have stays as it is, an empty one is taken away."""

    def __init__(
        self,
        reason: Annotated[str, Form(max_length=_LONGEST)],
        seen: Annotated[str, Form(max_length=_LONGEST)],
        identifier: Annotated[str | None, Form(max_length=_LONGEST)] = None,
        user_district_id: Annotated[str | None, Form(max_length=_LONGEST)] = None,
        user_state_id: Annotated[str | None, Form(max_length=_LONGEST)] = None,
        plan: Annotated[str, Form(max_length=_LONGEST)] = "",
        looked: Annotated[str, Form(max_length=_LONGEST)] = "",
    ) -> None:
        self.reason = why_asked(reason)
        self.seen = seen
        self.plan, self.looked = plan, looked
        """The plan that was shown, once it was; empty before."""
        self.values = {"identifier": identifier, "user_district_id": user_district_id, "user_state_id": user_state_id}

    def changes(self, entity: Entity, record: Row) -> dict[str, str | None]:
        """Column -> new value as it was typed, of those that are to be another one."""
        said = {**self.values, str(entity.identifier): self.values["identifier"]}
        wanted = {name: said[name] for name in editable_columns(entity) if said.get(name) is not None}
        return {name: typed for name, typed in wanted.items() if trimmed(typed) != record[name]}


Wish = Annotated[Asked, Depends()]


@routes.post("/users/{key}")
def change_user(here: Changing, key: Key, asked: Wish) -> Response:
    """Change somebody's identifier or secondary IDs."""
    return _change(here, USERS, key, asked)


@routes.post("/classes/{key}")
def change_class(here: Changing, key: Key, asked: Wish) -> Response:
    """Change the identifier of a class."""
    return _change(here, CLASSES, key, asked)


@routes.post("/organizations/{key}")
def change_organization(here: Changing, key: Key, asked: Wish) -> Response:
    """Change the identifier of an organization."""
    return _change(here, ORGANIZATIONS, key, asked)


def _change(here: DistrictVisit, entity: Entity, key: int, asked: Asked) -> Response:
    with here.store.asking() as read:
        (record, *_) = [*Roster(read, here.district.district_id).records(entity, **{str(entity.key): [key]}), None]
    if record is None:
        raise HTTPException(404, say("The roster has no such record."))
    if why := why_not_editable(here.district.primary_source, record["source"]):
        raise HTTPException(409, say("It cannot be changed here: {why}.", why=why))
    if not hmac.compare_digest(asked.seen.encode(), seen(here, entity, record).encode()):
        raise HTTPException(409, say("Somebody changed this record while you looked at it; load its page again."))
    if not asked.reason:
        raise HTTPException(422, say("Say why: whoever asks later reads it in the record's life."))
    changes = asked.changes(entity, record)
    if not changes:
        raise HTTPException(422, say("Nothing would change: the new values are those that it has."))
    edit = Edit(entity=entity.name, key=key, changes=changes)
    if asked.plan:
        return _apply(here, edit, asked)
    return show(here, "edit.html.j2", _preview(here, edit, asked, record))


@dataclass(frozen=True)
class _Change:
    """A value that would be another one."""

    name: str
    before: str | None
    after: str | None


def _preview(here: DistrictVisit, edit: Edit, asked: Asked, record: Row) -> dict[str, Any]:
    looked = look(here, _started(here, edit, asked), steps.edit, line=_ITS_LINE)
    return {
        "entity": edit.entity,
        "key": edit.key,
        "name": called(record),
        "changes": [_Change(name, all_masked(record[name]), value) for name, value in edit.values.items()],
        **looked.facts,
        "reason": asked.reason,
        "seen": asked.seen,
        "values": {name: value for name, value in asked.values.items() if value is not None},
        "sticks": here.district.edits == "stick",
    }


def _apply(here: DistrictVisit, edit: Edit, asked: Asked) -> Response:
    do(here, _started(here, edit, asked), steps.edit, asked.plan, asked.looked)
    home = f"{root_of(here.request)}/districts/{here.district.district_id}"
    return RedirectResponse(f"{home}/{edit.entity}/{edit.key}", 303)


def _started(here: DistrictVisit, edit: Edit, asked: Asked) -> Begin:
    return partial(steps.start_edit, str(here.file), edit, reason=asked.reason)
