"""Whether the portal can show anything, for a monitor or a load balancer: without a login, and no more than yes or no.

What is asked of databases is asked once in a while, however often somebody looks: anybody may.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import literal, select

from enrollsync.portal.districts import list_districts
from enrollsync.portal.host import Host
from enrollsync.portal.pages import HEADERS
from enrollsync.portal.reader import roster
from enrollsync.settings.address import read_address
from enrollsync.words.errors import EnrollSyncError

log = logging.getLogger(__name__)

_KEPT = 10.0
"""Seconds for which an answer holds."""
_PATIENCE = 5.0
"""Seconds to wait for somebody else's first look; whoever hears nothing by then takes it for unwell."""


@dataclass
class _Known:
    well: bool = False
    until: float = float("-inf")


class Health:
    """The route, with the last answer."""

    def __init__(self, host: Host, clock: Callable[[], float] = time.monotonic) -> None:
        self.host = host
        self.clock = clock
        self._known = _Known()
        self._looking = Lock()

    def answer(self, request: Request) -> Response:
        """`{"status": "ok", "database": true}`, or 503 where Airflow's database or a roster's does not answer."""
        well = self._is_well()
        told = {"status": "ok" if well else "unwell", "database": well}
        return JSONResponse(told, 200 if well else 503, headers=HEADERS)

    def _is_well(self) -> bool:
        if self.clock() < self._known.until:
            return self._known.well
        had_one = self._known.until > 0
        if not self._looking.acquire(timeout=0 if had_one else _PATIENCE):
            return self._known.well  # somebody looks already
        try:
            if self.clock() >= self._known.until:
                self._known = _Known(databases_answer(self.host), self.clock() + _KEPT)
            return self._known.well
        finally:
            self._looking.release()


def databases_answer(host: Host) -> bool:
    """Whether the host's database answers, and each server that has rosters; a roster in a file needs nobody."""
    try:
        host.schedules([])
        for url in _servers(host):
            roster(url).rows(select(literal(1).label("one")))
    except Exception as error:  # whatever a driver raises: it does not answer
        log.warning("not well: %s", error if isinstance(error, EnrollSyncError) else type(error).__name__)
        return False
    return True


def _servers(host: Host) -> list[str]:
    """A URL for each database on a server, however many districts with logins of their own share it."""
    urls: dict[tuple[str | None, int | None, str], str] = {}
    for file in list_districts():
        if file.settings:
            url = host.database_url(file.settings)
            address = read_address(url)
            if address.kind != "sqlite":
                urls.setdefault((address.host, address.port, address.database), url)
    return list(urls.values())
