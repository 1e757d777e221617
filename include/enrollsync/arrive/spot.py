"""Whether there is something new where deliveries lie: a look at the listing, which reads and waits for nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from enrollsync.arrive.choose import Place, newest
from enrollsync.arrive.folder import LocalPlace
from enrollsync.settings import SourceSettings
from enrollsync.settings.connections import Connection
from enrollsync.words.errors import Refused

_NOT_YET = ("FILE-MISSING", "FILE-INCOMPLETE")


def spotted(source: SourceSettings, connection: Connection | None) -> str | None:
    """What tells the newest complete delivery from any other: its files' names, sizes and times, as a hash.

    None where there is none, or none that is complete yet. Raises Refused, Unreachable, ConfigurationError.
    """
    try:
        with _landing(source, connection) as (place, path):
            delivery = newest(place, path, source.ready, waits=False)
    except Refused as refused:
        if refused.code not in _NOT_YET:
            raise
        return None
    files = sorted((entry.path, entry.size, entry.modified) for entry in delivery.files)
    return hashlib.sha256(repr(files).encode()).hexdigest()


@contextmanager
def _landing(source: SourceSettings, connection: Connection | None) -> Iterator[tuple[Place, str]]:
    if source.folder is not None:
        yield LocalPlace(), str(source.folder)
        return
    from enrollsync.arrive.remote import opened

    with opened(source, connection) as place:
        yield place, str(source.path)
