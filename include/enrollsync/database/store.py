"""The roster database as the steps use it. Applying a plan belongs to `load/`."""

from __future__ import annotations

from enrollsync.database.dialects import PostgresBackend, SqliteBackend
from enrollsync.database.districts import Districts
from enrollsync.database.export import Exports
from enrollsync.database.known_findings import Knowledge
from enrollsync.database.memory import Memory
from enrollsync.settings import project_root
from enrollsync.settings.address import read_address
from enrollsync.words.errors import DatabaseError


class Store(Exports, Memory, Knowledge, Districts):
    """One roster database: its schema (`access.py`), rows (`export.py`), runs (`memory.py`), `known_findings.py`,
    districts as a whole (`districts.py`)."""


def open_store(url: str) -> Store:
    """The database behind a URL; nothing is opened or created yet.

    `sqlite:///path.db` (relative: from the project's root) or `postgresql://...`. Raises DatabaseError.
    """
    try:
        address = read_address(url)
    except ValueError as error:
        raise DatabaseError(f"database URL: {error}") from None
    if address.kind == "sqlite":
        return Store(SqliteBackend(project_root() / address.database))
    return Store(PostgresBackend(address))
