"""Who comes in, to which district, and whether what they send may change anything.

Every route of the app stands behind `introduce`; a route of a district takes an `Inside`, one that answers a plan an
`Answering`, one that changes anything else a `Changing`, or a `Sending` where it takes files.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fastapi import Depends, Form, Header, HTTPException, Request

from enrollsync.portal.districts import DistrictFile, find_district
from enrollsync.portal.host import Host, Right, Visitor
from enrollsync.portal.reader import Pooled, roster
from enrollsync.portal.texts import say
from enrollsync.settings import District

log = logging.getLogger(__name__)

_LONGEST_NAME = 250
"""Bytes of an id; nothing that is longer is looked up."""


@dataclass(frozen=True)
class Visit:
    """One request: who asks, of which host."""

    request: Request
    host: Host
    visitor: Visitor

    @staticmethod
    def zone(name: str) -> ZoneInfo:
        """A district's time zone, for a page about many of them."""
        return ZoneInfo(name)

    @property
    def token(self) -> str:
        """What a form of this session has to bring along, so that no other site can send it."""
        return hmac.new(self.host.secret(), self.visitor.session.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class DistrictVisit(Visit):
    """A request about a district that the visitor may look at."""

    district: District
    file: Path
    """The district's."""

    @property
    def store(self) -> Pooled:
        """The district's roster."""
        return roster(self.host.database_url(self.district))

    @property
    def may_answer(self) -> bool:
        """Whether the visitor may answer a plan that waits."""
        return _may(self, self.district.district_id, "answer")

    @property
    def may_change(self) -> bool:
        """Whether the visitor may start runs here, and change what is kept."""
        return _may(self, self.district.district_id, "edit")

    def note_view(self, entity: str, key: int) -> None:
        """Log for the audit that a record was looked at, without what stands in it."""
        log.info("viewed: %s %s of district %s by %s", entity, key, self.district.district_id, self.visitor.name)


def _may(here: Visit, district_id: str, right: Right) -> bool:
    return bool(here.host.allowed(here.visitor, [district_id], right))


def visit(request: Request) -> Visit:
    """Who asks; `app.build` has let them introduce themselves."""
    return Visit(request, request.app.state.host, request.state.visitor)


def inside(district_id: str, here: Annotated[Visit, Depends(visit)]) -> DistrictVisit:
    """A visit to a district.

    Raises HTTPException 403 for who may not look at it, be there such a district or not; 404 where there is none, and
    409 for one whose file cannot be used.
    """
    if not _may(here, district_id, "look"):
        raise HTTPException(403, "Forbidden")
    file = find_district(district_id)
    if file is None:
        raise HTTPException(404, say("There is no such district."))
    return DistrictVisit(here.request, here.host, here.visitor, _usable(file), file.path)


def _usable(file: DistrictFile) -> District:
    if file.settings is None:
        raise HTTPException(409, say("The district's settings are broken: {problem}", problem=file.problem))
    return file.settings


def from_our_page(
    here: Annotated[DistrictVisit, Depends(inside)], origin: Annotated[str, Header()] = ""
) -> DistrictVisit:
    """A visit from a page of ours. Raises HTTPException 403."""
    # Whoever sends a password of its own along is not led by another page.
    if not here.visitor.is_program and not _is_ours(origin, here):
        _refuse()
    return here


def require_token(here: DistrictVisit, token: str) -> None:
    """Raises HTTPException 403 for a form that was not made for this session."""
    if not here.visitor.is_program and not hmac.compare_digest(token.encode(), here.token.encode()):
        _refuse()


def _refuse() -> NoReturn:
    raise HTTPException(403, say("This page is not the one that was asked for; load it again."))


def sent_by_us(
    here: Annotated[DistrictVisit, Depends(from_our_page)],
    token: Annotated[str, Form(max_length=_LONGEST_NAME)] = "",
) -> DistrictVisit:
    """A visit from a page of ours, in the session that the page was made for.

    Raises HTTPException 403.
    """
    require_token(here, token)
    return here


def answering(here: Annotated[DistrictVisit, Depends(sent_by_us)]) -> DistrictVisit:
    """A visit that answers a plan, by who may. Raises HTTPException 403."""
    if not here.may_answer:
        raise HTTPException(403, "Forbidden")
    return here


def changing(here: Annotated[DistrictVisit, Depends(sent_by_us)]) -> DistrictVisit:
    """A visit that changes something else, by who may. Raises HTTPException 403."""
    if not here.may_change:
        raise HTTPException(403, "Forbidden")
    return here


def sending(here: Annotated[DistrictVisit, Depends(from_our_page)]) -> DistrictVisit:
    """As `changing`, before anything is read of what is sent: `require_token` is left to the route.

    Raises HTTPException 403.
    """
    if not here.may_change:
        raise HTTPException(403, "Forbidden")
    return here


def _is_ours(origin: str, here: Visit) -> bool:
    """Whether the browser says that a page of this host sent the form; browsers always say so of a POST.

    A proxy may have changed the request's own word for the host; then the public address counts.
    """
    try:
        page = urlsplit(origin)
    except ValueError:
        return False
    ours = {here.request.headers.get("host"), urlsplit(here.host.address()).netloc}
    return page.scheme in ("http", "https") and bool(page.netloc) and page.netloc in ours


def require_names(request: Request) -> None:
    """Raises 404 for what can be no id, before a database or a file system is asked for it."""
    for value in request.path_params.values():
        if isinstance(value, str) and ("\0" in value or len(value.encode()) > _LONGEST_NAME):
            raise HTTPException(404, say("There is no such page."))


Here = Annotated[Visit, Depends(visit)]
Inside = Annotated[DistrictVisit, Depends(inside)]
Answering = Annotated[DistrictVisit, Depends(answering)]
Changing = Annotated[DistrictVisit, Depends(changing)]
Sending = Annotated[DistrictVisit, Depends(sending)]
