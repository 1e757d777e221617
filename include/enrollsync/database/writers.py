"""Who is writing: how a writer says so, and how one that waited in vain for the lock finds out.

A district's lock is its row of `district_state` on PostgreSQL, where sessions carry a name. SQLite has one lock for the
whole file, whose holder leaves a note beside it. Both tell people something, and neither decides anything.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, Text, TextClause, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from enrollsync.database.migrations import VERSION_TABLE
from enrollsync.database.schema import METADATA

_SESSION = "enrollsync run "
"""Begins the name of a writing session; the run follows. PostgreSQL cuts names at 63 bytes."""
_TABLES = [*METADATA.tables, VERSION_TABLE]


@dataclass(frozen=True)
class Writer:
    """Who holds the lock: a run, or another program."""

    run_id: str | None
    since: datetime | None
    """When it began to write; None where the server does not tell."""
    program: str | None = None
    """What the other program calls itself, and its process on the server."""


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


def named_session(run_id: str) -> Select[Any]:
    """Names the session until its transaction ends, for everybody who looks at the server."""
    return select(func.set_config("application_name", _SESSION + run_id, True))


def holding_sessions(district_id: str | None) -> tuple[TextClause, ...]:
    """Questions for `application_name, pid, xact_start` of the sessions that may hold what was waited for.

    The first that has an answer is right. A table that is locked as a whole keeps everybody waiting, who asks here
    too, so no table is looked into before that is known. Without a district it may have been a new schema that
    waited, for which any lock is one too many.
    """
    locked = _on_tables(("AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock"))
    return (locked, _writing(district_id)) if district_id else (locked, _writing(None), _on_tables(None))


def _on_tables(modes: Sequence[str] | None) -> TextClause:
    """Who has locked one of the roster's tables, in one of the modes or in any."""
    return text("""
        SELECT application_name, pid, xact_start
        FROM pg_stat_activity
        WHERE pid IN (
            SELECT pid
            FROM pg_locks
            JOIN pg_class ON pg_class.oid = relation AND relname = ANY(:tables) AND pg_table_is_visible(pg_class.oid)
            JOIN pg_database ON pg_database.oid = pg_locks.database AND datname = current_database()
            WHERE granted
                AND (mode = ANY(:modes) OR :modes IS NULL)
                AND pid <> pg_backend_pid()
                AND cardinality(pg_blocking_pids(pid)) = 0
        )
        ORDER BY xact_start, pid
    """).bindparams(bindparam("tables", _TABLES, ARRAY(Text)), bindparam("modes", modes, ARRAY(Text)))


def _writing(district_id: str | None) -> TextClause:
    """Who locked or changed the district's row.

    A new district's row is not visible yet, nor is a district always known: then it is whoever writes to the table and
    waits for nobody.
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
            WHERE relation = to_regclass('district_state')
                AND mode = 'RowExclusiveLock'
                AND granted
                AND cardinality(pg_blocking_pids(pid)) = 0
        )
        SELECT application_name, pid, xact_start
        FROM pg_stat_activity
        WHERE pid IN (SELECT pid FROM owners)
            OR NOT EXISTS (SELECT pid FROM owners) AND pid IN (SELECT pid FROM writers)
    """).bindparams(bindparam("district_id", district_id, Text))


def named_writer(name: str, process: int, since: datetime | None) -> Writer:
    """Who the session is of."""
    if name.startswith(_SESSION):
        return Writer(name.removeprefix(_SESSION), since)
    return Writer(None, since, f"{name or 'without a name'}, process {process} on the server")


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
