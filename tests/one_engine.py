"""One DuckDB for all runs of a test process, as one run has one: making it takes as long as a dozen small statements.

Statements are parsed once in a process, which is an eighth of what they take on a few rows.
"""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from enrollsync.run import engine

_made = engine._engine.__wrapped__


class Engine:
    """The engine that `engine.connect` asks for a connection; what does not fit into memory spills elsewhere."""

    def __init__(self, spill: Path, ordered: bool) -> None:
        self._engine = _shared(ordered, os.environ.get("ENROLLSYNC_MEMORY"))

    def cursor(self) -> Connection:
        """A connection to it."""
        return Connection(self._engine.cursor())


@lru_cache
def _shared(ordered: bool, memory: str | None) -> duckdb.DuckDBPyConnection:
    return _made(Path(tempfile.gettempdir()), ordered)


@lru_cache(maxsize=4096)
def _parsed(query: str) -> list[duckdb.Statement]:
    return _shared(False, None).extract_statements(query)


def close() -> None:
    """Close all engines."""
    _parsed.cache_clear()
    _shared.cache_clear()


class Connection:
    """A `DuckDBPyConnection` that knows statements which were asked before."""

    def __init__(self, own: duckdb.DuckDBPyConnection) -> None:
        self._own = own

    def execute(self, query: str, parameters: object = None) -> duckdb.DuckDBPyConnection:
        """As the connection's own; a text that names a file is of one run alone, and not kept."""
        if "/" in query:
            return self._own.execute(query, parameters)
        for statement in _parsed(query):
            self._own.execute(statement, parameters)
        return self._own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._own.close()
