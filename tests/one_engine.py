"""One DuckDB for all engines of a test process: making one takes as long as a dozen statements on a few rows.

Statements are parsed once in a process, which is an eighth of what they take on a few rows.

Each connection has a database of its own in it, empty at first and gone when it is closed, as if it were alone.
"""

from __future__ import annotations

import itertools
import tempfile
from functools import lru_cache
from typing import Any

import duckdb

_engines: dict[tuple[tuple[str, Any], ...], duckdb.DuckDBPyConnection] = {}
_numbers = itertools.count(1)


def connect(database: str, *, config: dict[str, Any]) -> Connection:
    """As `duckdb.connect(":memory:", config=config)`, but that what does not fit into memory spills elsewhere."""
    assert database == ":memory:"
    asked = tuple(sorted((config | {"temp_directory": tempfile.gettempdir()}).items()))
    if asked not in _engines:
        _engines[asked] = duckdb.connect(database, config=dict(asked))
    name = f"engine_{next(_numbers)}"
    return Connection(_engines[asked], name, owner=True)


@lru_cache(maxsize=4096)
def _parsed(query: str) -> list[duckdb.Statement]:
    (engine, *_) = _engines.values()
    return engine.extract_statements(query)


def close() -> None:
    """Close all engines."""
    while _engines:
        _engines.popitem()[1].close()


class Connection:
    """A `DuckDBPyConnection` that sees a database of its own."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, name: str, *, owner: bool) -> None:
        self._engine, self._name, self._owner = engine, name, owner
        self._own = engine.cursor()
        if owner:
            self._own.execute(f"ATTACH ':memory:' AS {name}")
        self._own.execute(f"USE {name}")

    def execute(self, query: str, parameters: object = None) -> duckdb.DuckDBPyConnection:
        """As the connection's own; a text that names a file is of one run alone, and not kept."""
        if "/" in query:
            return self._own.execute(query, parameters)
        for statement in _parsed(query):
            self._own.execute(statement, parameters)
        return self._own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def cursor(self) -> Connection:
        """Another connection to the same database."""
        return Connection(self._engine, self._name, owner=False)

    def close(self) -> None:
        """Close it, and drop what only it has."""
        if self._owner:
            self._own.execute("USE memory")
            self._own.execute(f"DETACH {self._name}")
        self._own.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
