"""Reading rosters for pages: one pool of connections a database, and no page waits long for a lock."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from sqlalchemy import Engine

from enrollsync.database import Store, open_store

T = TypeVar("T")


class Pooled(Store):
    """A roster that many pages ask: its connections are kept, and that it is there is found out once."""

    _there = False
    _told: tuple[Any, Any] | None = None

    @cached_property
    def _engine(self) -> Engine:
        return self.backend.connect_for_pages()

    def has_roster(self) -> bool:
        """As in `Database`."""
        self._there = self._there or super().has_roster()
        return self._there

    def told(self, asked: Hashable, tell: Callable[[], T]) -> T:
        """What `tell` reads for `asked`; of a file that nobody has written to since, it is not read again.

        Where each district has a file of its own, a page about all of them would open hundreds.
        """
        stamp, told = self.backend.stamp(), self._told
        if stamp is None or told is None or told[0] != (asked, stamp):
            # Read after the stamp was taken: a write in between is noticed the next time.
            self._told = told = (asked, stamp), tell()
        found: T = told[1]
        return found


@lru_cache(maxsize=1024)
def roster(url: str) -> Pooled:
    """The roster behind a URL; raises DatabaseError for what is none."""
    return Pooled(open_store(url).backend)
