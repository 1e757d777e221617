"""Where SQLite and PostgreSQL differ: connecting, locking, and types on the way out.

Statements are built elsewhere, once for both. Nothing here knows what a roster is. Who holds a lock stands in
`writers.py`, what the databases' errors mean to a person in `messages.py`.
"""

from __future__ import annotations

import logging
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    MetaData,
    Select,
    Table,
    Text,
    column,
    create_engine,
    event,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy import cast as cast_as
from sqlalchemy import table as clause_table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.ddl import DropTable, ExecutableDDLElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.util import LRUCache

from enrollsync.database.writers import Writer, holding_sessions, named_session, named_writer, noted, noting_writer
from enrollsync.settings.address import Address
from enrollsync.words import private
from enrollsync.words.errors import DatabaseError

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection as ArrowConnection
    from adbc_driver_manager.dbapi import Cursor

# Arrow and its drivers are imported where they are used: they bring numpy and pandas along, a second that an unchanged
# batch saves.

LOCK_SECONDS = 30
"""How long a session, a reader's too, waits for a lock before it says who holds it."""
STATEMENT_MINUTES = 30
"""The longest statement of a load; a server's own limit is meant for small questions."""
CONNECT_SECONDS = 10
PAGE_SECONDS = 10
"""The longest that a page waits for an answer."""
_BATCH_ROWS = 65_536
_SENT_ROWS = 1_024
_EVERYBODY, _ANYBODY_ELSE = 0o007, 0o077
log = logging.getLogger(__name__)
_SCHEMA_LOCK = 0x656E726F6C6C
"""Any number that two migrations at the same time agree on (`enroll`)."""


class passed_over(FunctionElement[Any]):
    """A column that SQLite shall not look records up by, because another one tells more of them apart."""

    inherit_cache = True


@compiles(passed_over)
def _plain(element: passed_over, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(passed_over, "sqlite")
def _without_index(element: passed_over, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@dataclass(frozen=True)
class Session:
    """One transaction on an Arrow connection: Core statements in, Arrow tables in and out."""

    cursor: Cursor
    dialect: Dialect

    def execute(self, statement: ClauseElement) -> None:
        """Run a statement with its values bound."""
        compiled = cast(SQLCompiler, statement.compile(dialect=self.dialect))
        self.cursor.execute(str(compiled), [compiled.params[name] for name in compiled.positiontup or ()])

    def rows(self, statement: ClauseElement) -> list[tuple[Any, ...]]:
        """The few rows of a small question."""
        self.execute(statement)
        return self.cursor.fetchall()

    def stage(self, table: str, rows: pa.RecordBatchReader) -> None:
        """Fill a new temporary table."""
        self.cursor.adbc_ingest(table, self._in_pieces(rows), mode="create", temporary=True)

    def define(self, *statements: ExecutableDDLElement) -> None:
        """Run statements that change the schema."""
        for statement in statements:
            self.cursor.execute(str(statement.compile(dialect=self.dialect)))

    def count(self, *columns: Column[Any]) -> None:
        """Let PostgreSQL take stock of columns that were filled a moment ago, so that it plans well.

        Wide ones that nothing joins by would cost most of the time; it finds out about them by itself.
        """
        write = self.dialect.identifier_preparer
        for table, own in groupby(columns, lambda column: column.table):
            named = ", ".join(map(write.format_column, own))
            self.cursor.execute(f"ANALYZE {write.format_table(cast(Table, table))} ({named})")

    def take_stock(self) -> None:
        """Let SQLite know how the rows are spread, by a sample of each index; PostgreSQL finds out by itself."""
        if self.dialect.name == "sqlite":
            self.cursor.execute("PRAGMA analysis_limit = 1000")
            self.cursor.fetchall()
            self.cursor.execute("ANALYZE")

    def may_define(self, *tables: Table) -> bool:
        """Whether this login may take the tables' constraints and indexes away, and put them back checked at once."""
        if self.dialect.name != "postgresql":
            return False
        relations = [func.to_regclass(table.name) for table in tables]
        owned = func.bool_and(func.pg_has_role(column("relowner"), literal("USAGE")))
        return bool(self.rows(select(owned).select_from(text("pg_class")).where(column("oid").in_(relations)))[0][0])

    def append(self, table: str, rows: pa.RecordBatchReader) -> None:
        """Add rows to a table; columns that `rows` lacks are NULL."""
        if not self._sees_a_part(table):
            self.cursor.adbc_ingest(table, self._in_pieces(rows), mode="append")
            return
        # PostgreSQL takes no COPY from a login for which a policy chooses the rows.
        names = rows.schema.names
        target, staged = (clause_table(name, *map(column, names)) for name in (table, f"appended_{table}"))
        self.stage(staged.name, rows)
        self.execute(insert(target).from_select(names, select(*staged.columns)))
        self.define(DropTable(Table(staged.name, MetaData())))

    def _in_pieces(self, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """For PostgreSQL, so few rows together that the server stores some while the next ones are turned for it.

        The driver turns all rows of a batch before it sends the first; what the socket holds is in the server's hands.
        """
        import pyarrow as pa

        if self.dialect.name != "postgresql":
            return rows
        pieces = (batch.slice(at, _SENT_ROWS) for batch in rows for at in range(0, batch.num_rows, _SENT_ROWS))
        return pa.RecordBatchReader.from_batches(rows.schema, pieces)

    def _sees_a_part(self, table: str) -> bool:
        """Whether row-level security chooses which of the table's rows this login sees and writes."""
        if self.dialect.name != "postgresql":
            return False
        return bool(self.rows(select(func.row_security_active(cast_as(literal(table), Text))))[0][0])


_SETTLED_NS = 2_000_000_000
_COMPILED: LRUCache[Any, Any] = LRUCache(500)
"""What pages ask, compiled once for all files: hundreds of districts would each keep the same."""


@cache
def _any_file() -> Engine:
    """An engine whose dialect knows what there is to know of SQLite."""
    engine = create_engine("sqlite://")
    engine.connect().close()
    return engine


class SqliteBackend:
    """A file; readers never wait for the writer (write-ahead log)."""

    dialect = sqlite.dialect(paramstyle="qmark")
    one_state = ()
    """What makes a transaction see one state of the database; here every one does."""
    by_index = ()
    """What makes small questions be answered by an index; here they are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)
        """Where it is, for messages; never with a user or a password."""

    def missing(self) -> bool:
        """Whether there is no database at all; looking creates none."""
        if self.path.is_dir():
            raise DatabaseError(f"database {self.place}: is a folder; name a file in `database.url`")
        return not self.path.exists()

    def stamp(self) -> tuple[int, ...] | None:
        """What moves with every write to the file or its log; None where that cannot be told, as right after one."""
        stamps = []
        for path in (self.path, self.path.with_name(f"{self.path.name}-wal")):
            with suppress(OSError):
                found = path.stat()
                stamps += [found.st_ino, found.st_size, found.st_mtime_ns]
        # Of two writes that follow one another this fast, a file system may tell one time.
        recent = any(time.time_ns() - changed < _SETTLED_NS for changed in stamps[2::3])
        return None if recent else tuple(stamps)

    def prepare(self) -> None:
        """Make the file and its folder, for their owner alone; what SQLite lays beside the file follows the file.

        A file that everybody may read was made so by a habit of the system, and is shut; one that a group may read
        was opened to it by somebody, and stays.
        """
        if self.missing():
            private.make_folder(self.path.parent)
            private.make_file(self.path)
        elif (mode := stat.S_IMODE(self.path.stat().st_mode)) & _EVERYBODY:
            try:
                self.path.chmod(mode & ~_ANYBODY_ELSE)
            except OSError:
                log.warning("database %s: everybody may read it; let its owner shut it (`chmod 600`)", self.place)

    def connect(self, *, create: bool = False, write: bool = False) -> Engine:
        """For small questions; with `create`, for one migration at a time, and with `write`, for one writer."""
        engine = create_engine("sqlite://", creator=lambda: self._open(create=create), poolclass=NullPool)
        begin = "BEGIN IMMEDIATE" if create or write else "BEGIN"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def connect_for_pages(self) -> Engine:
        """For small questions, many of them, from many threads; opening a file again is cheap."""
        shared = _any_file()
        engine = Engine(self.connect().pool, shared.dialect, shared.url)
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine.execution_options(compiled_cache=_COMPILED)

    def _open(self, *, create: bool = False) -> sqlite3.Connection:
        # Without an isolation level Python starts no transactions behind our back.
        uri = f"{self.path.as_uri()}?mode={'rwc' if create else 'rw'}"
        connection = sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None)
        if create:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A Session that sees one state of the database, however long it reads."""
        with self._cursor() as cursor:
            cursor.execute("BEGIN")
            yield Session(cursor, self.dialect)

    @contextmanager
    def recording(self, run_id: str) -> Iterator[Connection]:
        """For a run's small writes, without Arrow; otherwise like `writing`."""
        with self.connect(write=True).begin() as connection, noted(self.path, run_id):
            yield connection

    @contextmanager
    def writing(self, run_id: str) -> Iterator[Session]:
        """A Session that is committed at the end, or rolled back when anything goes wrong; it names the run."""
        with self._cursor() as cursor:
            cursor.execute("PRAGMA foreign_keys = ON")
            # Once a run says `applied`, a power cut may not take it back.
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA cache_size = -262144")
            # The write lock comes first: a transaction that has read cannot wait for another writer.
            cursor.execute("BEGIN IMMEDIATE")
            # Closing without a commit rolls back.
            with noted(self.path, run_id):
                yield Session(cursor, self.dialect)
            cursor.execute("COMMIT")

    def wipe(self, tables: Iterable[Table]) -> bool:
        """Write the file anew, without what was deleted from it, and empty its write-ahead log; that is everything."""
        with closing(self._open()) as connection:
            connection.execute("VACUUM")
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError("database is locked")
        return True

    def writer(self, district_id: str | None) -> Writer | None:
        """The run that holds the file's lock, which is one for all districts; None when it is not known."""
        return noting_writer(self.path)

    @contextmanager
    def _cursor(self) -> Iterator[Cursor]:
        import adbc_driver_sqlite.dbapi

        # A reader too opens for writing: closing then tidies the write-ahead log away. The file is never created here.
        uri = f"{self.path.as_uri()}?mode=rw"
        # Transactions are begun by hand: the driver's own begin without the write lock.
        with adbc_driver_sqlite.dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {_milliseconds(LOCK_SECONDS)}")
            cursor.fetchall()
            yield cursor

    def batches(self, session: Session, query: Select[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The query's rows in the schema's types."""
        import pyarrow as pa

        # The driver takes each column's type from the first rows it sees, which may all be NULL: one row goes ahead
        # that has a value in every column, and is cut off again.
        samples = [literal("" if pa.types.is_string(field.type) else 0) for field in schema]
        typed = select(*samples).union_all(query)
        session.cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
        session.cursor.execute(_literal(typed, self.dialect))
        first = True
        for batch in session.cursor.fetch_record_batch():
            yield pa.record_batch(batch.slice(int(first)).columns, names=schema.names).cast(schema)
            first = False

    def hide(self, text: str) -> str:
        """The text without the password; a file has none."""
        return text


class PostgresBackend:
    """A server, reached by a libpq URL."""

    dialect = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    one_state = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",)
    by_index = tuple(f"SET LOCAL enable_{way} = off" for way in ("seqscan", "hashjoin", "mergejoin"))
    """Small questions are answered record by record, never by reading all: a thousand of millions would seem near."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.place = str(address)
        self.url = URL.create(
            "postgresql+psycopg", address.user, address.password, address.host, address.port, address.database,
            {"connect_timeout": str(CONNECT_SECONDS), "application_name": "enrollsync", **address.options},
        )  # fmt: skip

    def missing(self) -> bool:
        """Whether the server has no such database."""
        try:
            with self.connect().connect():
                return False
        except SQLAlchemyError as error:
            if f'database "{self.url.database}" does not exist' in str(error):
                return True
            raise

    def prepare(self) -> None:
        """A server's databases are made by those who run it."""

    def connect(self, *, create: bool = False) -> Engine:
        """For small questions and small writes; with `create`, for one migration at a time."""
        engine = create_engine(self.url, poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def limit(connection: Connection) -> None:
            for setting in _limits():
                connection.exec_driver_sql(setting)
            if create:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")

        return engine

    def connect_for_pages(self) -> Engine:
        """For small questions, many of them, from many threads: connections are kept, and none waits long."""
        engine = create_engine(self.url, pool_pre_ping=True, pool_recycle=300)

        @event.listens_for(engine, "begin")
        def limit(connection: Connection) -> None:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            for setting in ("lock_timeout", "statement_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {setting} = {_milliseconds(PAGE_SECONDS)}")

        return engine

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A Session that sees one state of the database, however long it reads."""
        with self._arrow() as connection, connection.cursor() as cursor:
            for setting in self.one_state:
                cursor.execute(setting)
            cursor.execute(_lock_limit())
            yield Session(cursor, self.dialect)

    @contextmanager
    def recording(self, run_id: str) -> Iterator[Connection]:
        """For a run's small writes, without Arrow; otherwise like `writing`."""
        with self.connect().begin() as connection:
            connection.execute(named_session(run_id))
            yield connection

    @contextmanager
    def writing(self, run_id: str) -> Iterator[Session]:
        """A Session that is committed at the end, or rolled back when anything goes wrong; it names the run."""
        with self._arrow() as connection, connection.cursor() as cursor:
            for setting in _limits():
                cursor.execute(setting)
            session = Session(cursor, self.dialect)
            session.rows(named_session(run_id))
            yield session
            connection.commit()

    def wipe(self, tables: Iterable[Table]) -> bool:
        """Free the space of rows that nobody sees any more, and sample columns anew, whose values the server keeps.

        Returns whether that was everything: the server passes over tables that are not the login's.
        """
        names = [self.dialect.identifier_preparer.format_table(table) for table in tables]
        whose = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(%s)"
        engine = create_engine(self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in names:
                connection.exec_driver_sql(f"VACUUM (ANALYZE) {name}")
            return all(connection.exec_driver_sql(whose, (name,)).scalar() for name in names)

    def writer(self, district_id: str | None) -> Writer | None:
        """Who holds the district's lock, or a whole table; None when it is not known."""
        try:
            with self.connect().begin() as connection:
                for question in holding_sessions(district_id):
                    if found := connection.execute(question).all():
                        return named_writer(*found[0])
        except SQLAlchemyError:
            # Who asks has an error to tell already.
            return None
        return None

    def _arrow(self) -> ArrowConnection:
        import adbc_driver_postgresql.dbapi

        uri = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection: ArrowConnection = adbc_driver_postgresql.dbapi.connect(uri)
        return connection

    def batches(self, session: Session, query: Select[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The query's rows in the schema's types."""
        # Bound values would keep the driver from COPY, which is what makes it read in batches.
        session.cursor.execute(_literal(query, self.dialect))
        for batch in session.cursor.fetch_record_batch():
            yield batch.cast(schema)

    def hide(self, text: str) -> str:
        """The text without the password."""
        for secret in self.address.secrets:
            text = text.replace(secret, "***")
        return text


def _lock_limit() -> str:
    return f"SET LOCAL lock_timeout = {_milliseconds(LOCK_SECONDS)}"


def _limits() -> tuple[str, ...]:
    return (
        _lock_limit(),
        f"SET LOCAL statement_timeout = '{STATEMENT_MINUTES}min'",
        # For one transaction at a time: checking a state's references in memory takes a third of the time.
        "SET LOCAL work_mem = '256MB'",
        "SET LOCAL maintenance_work_mem = '512MB'",
    )


def _milliseconds(seconds: float) -> int:
    """At least one, because PostgreSQL takes none for ever."""
    return max(1, round(seconds * 1000))


def _literal(query: ClauseElement, dialect: Dialect) -> str:
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


Backend = SqliteBackend | PostgresBackend
