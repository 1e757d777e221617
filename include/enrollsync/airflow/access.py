"""Nobody gets in without a login; a person is led there and back."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import RedirectResponse, Response

from enrollsync.airflow.links import login_path
from enrollsync.portal.pages import prefers_data

_LONGEST_NAME = 250
"""Bytes of an id in Airflow's database, or of a file's name."""
_LONGEST_PATH = 1000


async def log_in_first(request: Request, refused: Exception) -> Response:
    """Send a person without a session to the login and then back here; a program gets the status, as JSON."""
    assert isinstance(refused, HTTPException)
    if (
        _has_no_session(refused)
        and "text/html" in request.headers.get("accept", "").lower()
        and not prefers_data(request)
    ):
        return RedirectResponse(login_path(_asked_for(request)), 303, headers={"Cache-Control": "no-store"})
    return await http_exception_handler(request, refused)


def _has_no_session(refused: HTTPException) -> bool:
    """Airflow says 403 of a session that it cannot read any more, as its own pages know too."""
    return refused.status_code == 401 or (refused.status_code, refused.detail) == (403, "Invalid JWT token")


def _asked_for(request: Request) -> str:
    """The path and query of the request as they were sent, without a host, so that they lead nowhere else."""
    path = request.scope.get("raw_path", b"").decode("ascii", "replace") or quote(request.url.path)
    return f"{path}?{request.url.query}" if request.url.query else path


def require_path(request: Request) -> None:
    """Raises 404 for what can be no id and no file's name, before a database or a file system is asked for it."""
    for value in request.path_params.values():
        longest = max(len(part.encode()) for part in value.split("/"))
        if "\0" in value or longest > _LONGEST_NAME or len(value.encode()) > _LONGEST_PATH:
            raise HTTPException(404, "no such file")
