"""Keeps what a person typed into the portal's searches out of the API server's access log.

Airflow logs the query of every request once it is answered, and a search names people. So the query is taken from the
request as the log will find it: on the portal's pages the whole, and on the way to the login that of the page to which
it leads back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from enrollsync.airflow.links import PREFIX

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
_BACK = "next"
"""Where a login leads afterwards."""


class QuietQueries:
    """An ASGI middleware below the one that logs, with which it shares the request."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer the request as it came, and leave the log less of it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        asked = {**scope}
        scope["query_string"] = _unsaid(scope)
        await self.app(asked, receive, send)
        return None


def _unsaid(scope: Scope) -> bytes:
    query: bytes = scope["query_string"]
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if path == PREFIX or path.startswith(f"{PREFIX}/"):
        return b""
    if f"{_BACK}=".encode() not in query:
        return query
    pairs = parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True)
    return urlencode([(name, urlsplit(value).path if name == _BACK else value) for name, value in pairs]).encode()
