"""Who is writing: how a writer says so, and how one that waited in vain for the lock finds out.

A district's lock is its row of `district_state` on PostgreSQL, where sessions carry a name. SQLite has one lock for the
whole file, whose holder leaves a note beside it. Both tell people something, and neither decides anything.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, TextClause, func, select, text

_SESSION = "enrollsync run "
"""Begins the name of a writing session; the run follows. PostgreSQL cuts names at 63 bytes."""


@dataclass(frozen=True)
class Writer:
    """A run that holds the lock."""

    run_id: str
    since: datetime | None
    """When it began to write; None where the server does not tell."""


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


def named_session(run_id: str) -> Select[Any]:
    """Names the session until its transaction ends, for everybody who looks at the server."""
    return select(func.set_config("application_name", _SESSION + run_id, True))


def holding_sessions(district_id: str | None) -> TextClause:
    """`application_name, xact_start` of the sessions that hold the district's lock.

    Who locked or changed the row stands in it; a new district's row is not visible yet, nor is a district always known:
    then it is whoever writes to the table and waits for nobody.
    """
    return text("""
        WITH owners AS (
            SELECT pid
            FROM district_state
            JOIN pg_locks ON transactionid = district_state.xmax AND granted
            WHERE district_id = :district_id
        ),
        writers AS (
            SELECT pid
            FROM pg_locks
            JOIN pg_database ON pg_database.oid = pg_locks.database AND datname = current_database()
            WHERE relation = 'district_state'::regclass
                AND mode = 'RowExclusiveLock'
                AND granted
                AND cardinality(pg_blocking_pids(pid)) = 0
        )
        SELECT application_name, xact_start
        FROM pg_stat_activity
        WHERE pid IN (SELECT pid FROM owners)
            OR NOT EXISTS (SELECT pid FROM owners) AND pid IN (SELECT pid FROM writers)
    """).bindparams(district_id=district_id)


def named_writer(sessions: list[tuple[str, datetime | None]]) -> Writer | None:
    """The run that the only session is of; None when there are several, or it is another program's."""
    if len(sessions) != 1 or not sessions[0][0].startswith(_SESSION):
        return None
    name, since = sessions[0]
    return Writer(name.removeprefix(_SESSION), since)


# ---- SQLite ----------------------------------------------------------------------------------------------------------


@contextmanager
def noted(database: Path, run_id: str) -> Iterator[None]:
    """Keep a note beside the database; for whoever holds its write lock, and only as long.

    The note is locked too, so that one which a killed process left behind is known for what it is.
    """
    path = _note(database)
    handle = _open_note(path)
    if handle is None:
        # A database whose folder takes no note may be written all the same.
        yield
        return
    try:
        said = {"run_id": run_id, "process": os.getpid(), "since": datetime.now(UTC).isoformat()}
        with suppress(OSError):
            os.write(handle, json.dumps(said).encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _open_note(path: Path) -> int | None:
    try:
        # What lies there is nobody's: there is one writer at a time.
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return None
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def noting_writer(database: Path) -> Writer | None:
    """The run whose note lies beside the database; None without one, or when its process is no more."""
    try:
        with _note(database).open(encoding="utf-8") as note:
            if not _is_locked(note.fileno()):
                return None
            said = json.load(note)
            return Writer(said["run_id"], datetime.fromisoformat(said["since"]))
    except (OSError, ValueError, KeyError):
        return None


def _note(database: Path) -> Path:
    return database.with_name(database.name + "-writer")


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
