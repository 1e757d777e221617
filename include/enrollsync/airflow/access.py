"""Nobody gets in without a login; a person is led there and back."""

from __future__ import annotations

from urllib.parse import quote

from airflow.api_fastapi.app import create_auth_manager
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
    if not _has_no_session(refused):
        return await http_exception_handler(request, refused)
    if "text/html" in request.headers.get("accept", "").lower() and not prefers_data(request):
        return _without_old_login(
            RedirectResponse(login_path(_asked_for(request)), 303, headers={"Cache-Control": "no-store"})
        )
    return await http_exception_handler(request, HTTPException(401, refused.detail, refused.headers))


def _without_old_login(response: Response) -> Response:
    """Have the browser forget a login of FAB's own, which outlives Airflow's session by weeks.

    FAB's login page would not ask such a browser anything, and lead to Airflow's first page whatever was asked for.
    """
    if flask_app := getattr(create_auth_manager(), "flask_app", None):
        told = flask_app.config
        response.delete_cookie(told["SESSION_COOKIE_NAME"], path=told["SESSION_COOKIE_PATH"], httponly=True)
    return response


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
