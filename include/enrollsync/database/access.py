"""Reaching a roster database: its schema, sessions that write, and small questions.

What differs between databases belongs to `dialects.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from sqlalchemy import Engine, Select, select
from sqlalchemy.exc import SQLAlchemyError

from enrollsync.database import migrations
from enrollsync.database.dialects import Backend, Session
from enrollsync.database.messages import one_line_errors
from enrollsync.database.schema import DISTRICT_STATE, METADATA, RUNS
from enrollsync.words.errors import DatabaseError


class Database:
    """One roster database. Every method raises DatabaseError with one line that says what, where and what to do."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def migrate(self) -> None:
        """Create the schema or bring it up to date, in one transaction."""
        with one_line_errors(self.backend):
            self.backend.prepare()
            if self.is_current():
                return
            with self.backend.connect(create=True).begin() as connection:
                migrations.upgrade(connection)

    def way_back(self) -> tuple[str, str, str]:
        """The schema that the database has, the one before it, and a sentence on what going back there loses.

        Raises DatabaseError where there is no roster or no way back.
        """
        revision = self._revision()
        if revision is None:
            self.require_roster()
        back = migrations.way_back(str(revision))
        if back is None:
            raise DatabaseError(
                f"database {self.backend.place}: its schema {revision} cannot be taken back; "
                "restore the back-up from before the upgrade"
            )
        return (str(revision), *back)

    def downgrade(self) -> None:
        """Take the newest step of the schema back, in one transaction. Raises as `way_back` does."""
        _, before, _ = self.way_back()
        with one_line_errors(self.backend), self.backend.connect(create=True).begin() as connection:
            migrations.downgrade(connection, before)

    def is_current(self) -> bool:
        """Whether the schema is the one this program needs. Raises DatabaseError when it is a newer one."""
        return self._revision() == migrations.known_revisions()[0]

    def version(self, district_id: str) -> int:
        """The state's version, which moves with every write; 0 before the first."""
        rows = self.rows(select(DISTRICT_STATE.c.version).where(DISTRICT_STATE.c.district_id == district_id))
        return int(rows[0]["version"]) if rows else 0

    @contextmanager
    def writing(self, district_id: str, run_id: str) -> Iterator[Session]:
        """A Session on a current schema: committed at the end, rolled back when anything goes wrong.

        Whoever waits for it in vain is told of the run.
        """
        self.require_roster()
        with (
            one_line_errors(self.backend, district_id, files=False),
            self.backend.writing(run_id) as session,
        ):
            yield session

    def wipe(self) -> bool:
        """Overwrite what rows were before they were changed or deleted; returns whether all of it could be."""
        with one_line_errors(self.backend):
            return self.backend.wipe(METADATA.tables.values())

    def require_roster(self) -> None:
        """Raise DatabaseError where there is no roster, or an old one."""
        if not self.has_roster():
            raise DatabaseError(
                f"database {self.backend.place}: has no roster tables; run `enrollsync sync`, which creates them"
            )

    @cached_property
    def _engine(self) -> Engine:
        """For small questions; it keeps no connection open."""
        return self.backend.connect()

    def rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        """The few rows of a small question, as dicts; none where there is no roster."""
        if not self.has_roster():
            return []
        with one_line_errors(self.backend), self._engine.begin() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @contextmanager
    def asking(self) -> Iterator[Callable[[Select[Any]], list[dict[str, Any]]]]:
        """Like `rows`, for several small questions whose answers are of one state, each by an index."""
        if not self.has_roster():
            yield lambda query: []
            return
        with one_line_errors(self.backend), self._engine.begin() as connection:
            for setting in (*self.backend.one_state, *self.backend.by_index):
                connection.exec_driver_sql(setting)
            yield lambda query: [dict(row) for row in connection.execute(query).mappings()]

    def _revision(self) -> str | None:
        with one_line_errors(self.backend):
            revision = self._found_revision()
        if revision is not None and revision not in migrations.known_revisions():
            raise DatabaseError(
                f"database {self.backend.place}: its schema {revision} is from a newer EnrollSync; install that version"
            )
        return revision

    def _found_revision(self) -> str | None:
        try:
            with self._engine.connect() as connection:
                return migrations.revision_of(connection)
        except SQLAlchemyError:
            if self.backend.missing():
                return None
            raise

    def has_roster(self) -> bool:
        """False when there is nothing yet. Raises DatabaseError for an old schema: readers never migrate."""
        revision = self._revision()
        if revision is not None and revision != migrations.known_revisions()[0]:
            raise DatabaseError(
                f"database {self.backend.place}: its schema {revision} is old; "
                "the district's next run brings it up to date, or `enrollsync sync` now"
            )
        return revision is not None


def state_version(session: Session, district_id: str, *, lock: bool = False) -> int:
    """The version of the district's state, 0 before the first write; with `lock`, nobody else writes until the end."""
    query = select(DISTRICT_STATE.c.version).where(DISTRICT_STATE.c.district_id == district_id)
    rows = session.rows(query.with_for_update() if lock else query)
    return int(rows[0][0]) if rows else 0


def leading_to(district_id: str, version: int) -> Select[Any]:
    """Asks for the run that left the district's roster in this state; none leads to the first."""
    return select(RUNS.c.run_id).where(RUNS.c.district_id == district_id, RUNS.c.state_after == version)
