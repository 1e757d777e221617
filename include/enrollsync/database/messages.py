"""What the databases' errors mean to a person, on one line.

Only the first line of a server's message is ever quoted: the lines below it hold values, which may be a student's.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC

import adbc_driver_manager
from sqlalchemy.exc import SQLAlchemyError

from enrollsync.database.dialects import Backend
from enrollsync.words.errors import DatabaseError


@contextmanager
def one_line_errors(backend: Backend, district_id: str | None = None, *, files: bool = True) -> Iterator[None]:
    """Turn whatever a driver raises into one DatabaseError: what, where, what to do.

    When somebody else writes, it says who; on a server that takes the district whose lock it is. `files`: also what
    the file system raises; not where files of the run are used as well.
    """
    try:
        yield
    except (*_DRIVERS, OSError) as error:
        if isinstance(error, OSError) and not files:
            raise
        text = backend.hide(_text_of(error))
        said = (_writer(backend, district_id) if re.search(_LOCKED, text) else None) or explain(text)
        raise DatabaseError(f"database {backend.place}: {said}") from None


def _writer(backend: Backend, district_id: str | None) -> str | None:
    writer = backend.writer(district_id)
    if writer is None:
        return None
    since = f"since {writer.since.astimezone(UTC):%H:%M:%S} UTC" if writer.since else ""
    if writer.run_id is None:
        told = ", ".join(part for part in (writer.program, since) if part)
        return f"another program is writing to it or has locked it ({told}); try again when that has ended"
    return f"run {writer.run_id} is writing{since and f' ({since})'}; wait until it has ended, and try again"


def _text_of(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)


_DRIVERS = (SQLAlchemyError, adbc_driver_manager.Error, sqlite3.Error)
_LOCKED = "is locked|lock timeout|LockNotAvailable"
_MEANINGS = (
    (
        "read-only transaction|during recovery",
        "can only be read by this login: it is a standby, or its transactions are read-only by default "
        "(`default_transaction_read_only`); name the primary server, or a user who may write",
    ),
    (
        "permission denied for schema|must be owner of",
        "this login may not change the roster's schema ({reason}); let the owner of its tables run "
        "`enrollsync database migrate`, or name another login",
    ),
    (
        "permission denied for",
        "refuses this user ({reason}); grant it what it needs to read and write the roster's schema, or name another",
    ),
    ("readonly|read-only", "cannot be written; make the file and its folder writable for this user"),
    (
        "unable to open|Permission denied",
        "cannot be opened; check that this user may read and write the file and its folder",
    ),
    ("File exists|Not a directory", "cannot be created; a part of its path is a file, name another one"),
    ("not a database|malformed", "is no SQLite database, or a damaged one; name another file or restore a backup"),
    (_LOCKED, "another program is writing to it or has locked it; try again when that has ended"),
    ("disk is full|No space left|disk I/O error", "the disk is full or cannot be written; make room and run again"),
    (
        "authentication failed|no password supplied",
        "refuses the login; check user and password of the connection",
    ),
    (
        "connection (to server|failed)|could not translate|Name or service|timeout expired|server closed",
        "cannot be reached ({reason}); check host, port and database name, and that the server runs",
    ),
    (
        "no such (table|column)|relation .* does not exist",
        "has no roster tables; run `enrollsync sync`, which creates them",
    ),
    (
        "(?i)unique constraint",
        "nothing was written: two records would have the same identifier or key ({reason}); plan again",
    ),
    ("(table|view|index|relation|type) .*already exists", "holds tables of another program; name an empty database"),
    (
        "(?i)foreign key",
        "nothing was written: a record refers to one that is not there ({reason}); plan again",
    ),
)
"""A pattern in the driver's text -> what is wrong and what to do; the first that fits."""


def explain(text: str) -> str:
    """One line for a driver's message."""
    stated = re.search(r"(?:ERROR|FATAL):\s+(.*)", text)
    lines = (stated.group(1) if stated else text).strip().splitlines()
    reason = lines[0] if lines else "failed without saying why"
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, text):
            return meaning.format(reason=reason)
    return reason
