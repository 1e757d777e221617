"""Reading rosters for pages: one pool of connections a database, and no page waits long for a lock."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from sqlalchemy import Engine, func, select

from enrollsync.database import Store, open_store
from enrollsync.database.dialects import Backend, SqliteBackend
from enrollsync.database.schema import KNOWN_FINDINGS, RUNS

T = TypeVar("T")
_KEPT = 64
"""Answers of one roster."""


class Pooled(Store):
    """A roster that many pages ask: its connections are kept, and that it is there is found out once."""

    _there = False

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._told: dict[Hashable, tuple[Any, Any]] = {}

    @cached_property
    def _engine(self) -> Engine:
        return self.backend.connect_for_pages()

    def has_roster(self) -> bool:
        """As in `Database`."""
        self._there = self._there or super().has_roster()
        return self._there

    def told(self, asked: Hashable, tell: Callable[[], T]) -> T:
        """What `tell` reads of runs and known findings for `asked`; not again as long as there are no others.

        Where each district has a file of its own, a page about all of them would open hundreds.
        """
        stamp, told = self._stamp(), self._told.get(asked)
        if stamp is None or told is None or told[0] != stamp:
            # Read after the stamp was taken: a write in between is noticed the next time.
            told = stamp, tell()
            if len(self._told) >= _KEPT:
                self._told.clear()
            self._told[asked] = told
        found: T = told[1]
        return found

    def _stamp(self) -> tuple[Any, ...] | None:
        """What moves with every write to a file; in a server, with every run and with what a person says to know."""
        if isinstance(self.backend, SqliteBackend):
            return self.backend.stamp()
        tables = ((RUNS, "started_at", "ended_at"), (KNOWN_FINDINGS, "made_at", "ended_at"))
        asked = (
            select(func.count().label("n"), *(func.max(table.c[name]).label(name) for name in names))
            for table, *names in tables
        )
        return tuple(value for query in asked for row in self.rows(query) for value in row.values())


@lru_cache(maxsize=1024)
def roster(url: str) -> Pooled:
    """The roster behind a URL; raises DatabaseError for what is none."""
    return Pooled(open_store(url).backend)
