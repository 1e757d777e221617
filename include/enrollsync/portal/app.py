"""The portal as one application: its rooms of routes behind one door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from enrollsync.portal import doctor, edits, merging, morning, pages, people, quality, runs, uploads, waiting
from enrollsync.portal.bodies import SmallForms
from enrollsync.portal.entry import Visit, require_names
from enrollsync.portal.health import Health
from enrollsync.portal.host import Host, Visitor
from enrollsync.portal.texts import say
from enrollsync.words.errors import EnrollSyncError

assets = APIRouter()


def build(
    host: Host,
    others: tuple[APIRouter, ...] = (),
    refused: Callable[[Request, Exception], Awaitable[Response]] | None = None,
) -> FastAPI:
    """The portal in front of a host. Nobody gets to any route but `/health`, assets included, without introducing
    themselves.

    `others`: routes of the host's own that stand below the same path; `refused` answers whoever could not introduce
    themselves, where the host wants to do so itself (a login page).
    """

    identified = Depends(host.identify)

    def introduce(request: Request, visitor: Visitor = identified) -> None:
        request.state.visitor = visitor

    app = FastAPI(
        title="Roster",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(introduce), Depends(require_names)],
        exception_handlers=_handlers(refused),
    )
    app.add_middleware(SmallForms)
    app.add_route("/health", Health(host).answer, methods=["GET"])  # beside the door: it says nothing of anybody
    app.state.host = host
    rooms = (morning, runs, people, edits, merging, waiting, doctor, quality, uploads)
    for router in (assets, *(room.routes for room in rooms), *others):
        app.include_router(router)
    return app


@assets.get("/static/{name}")
def asset(name: str) -> Response:
    """A style or a script of the pages."""
    if name not in pages.ASSETS:
        raise HTTPException(404, say("There is no such page."))
    headers = pages.HEADERS | {"Cache-Control": "private, max-age=31536000, immutable"}
    return Response(pages.asset(name)[0], media_type=pages.ASSETS[name], headers=headers)


def _handlers(refused: Callable[[Request, Exception], Awaitable[Response]] | None) -> dict[Any, Any]:
    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if refused is not None and not hasattr(request.state, "visitor"):
            return await refused(request, error)
        return _problem(request, error.status_code, str(error.detail))

    async def broken(request: Request, error: Exception) -> Response:
        return _problem(request, 503, str(error))

    async def mistaken(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        names = ", ".join(sorted({str(one["loc"][-1]) for one in error.errors()}))
        return _problem(
            request, 422, say("What was sent as {names} cannot be read; go back and try again.", names=names)
        )

    return {HTTPException: refuse, RequestValidationError: mistaken, EnrollSyncError: broken}


def _problem(request: Request, status: int, message: str) -> Response:
    """One line in place of a page; who has not introduced themselves gets it as JSON."""
    visitor = getattr(request.state, "visitor", None)
    if visitor is None or pages.prefers_data(request) or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": message}, status, headers=pages.HEADERS)
    here = Visit(request, request.app.state.host, visitor)
    facts = {"status": status, "message": message, "before": _page_before(request)}
    return pages.show(here, "problem.html.j2", facts, status=status)


def _page_before(request: Request) -> str | None:
    """Address of the page whose form was sent, without a host: loaded anew, it shows what is there now."""
    try:
        page = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return None
    if request.method != "POST" or not page.path.startswith(f"{pages.root_of(request)}/districts/"):
        return None
    return f"{page.path}?{page.query}" if page.query else page.path
