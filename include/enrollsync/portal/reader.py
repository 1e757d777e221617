"""Reading rosters for pages: one pool of connections a database, and no page waits long for a lock."""

from __future__ import annotations

from functools import cached_property, lru_cache

from sqlalchemy import Engine

from enrollsync.database import Store, open_store


class _Pooled(Store):
    """A roster that many pages ask: its connections are kept, and that it is there is found out once."""

    _there = False

    @cached_property
    def _engine(self) -> Engine:
        return self.backend.connect_for_pages()

    def has_roster(self) -> bool:
        """As in `Database`."""
        self._there = self._there or super().has_roster()
        return self._there


@lru_cache(maxsize=1024)
def roster(url: str) -> Store:
    """The roster behind a URL; raises DatabaseError for what is none."""
    return _Pooled(open_store(url).backend)
