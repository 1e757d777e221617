"""A DuckDB connection as every step uses it: bounded in memory, spilling into the run's workspace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb


def connect(workspace: Path, *, ordered: bool = False) -> duckdb.DuckDBPyConnection:
    """An in-memory engine; what does not fit into `ENROLLSYNC_MEMORY` (default 2GB) spills into `workspace`.

    Rows come in the files' order when `ordered`; otherwise only where a query says so, which lets large results stream.
    """
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": os.environ.get("ENROLLSYNC_MEMORY", "2GB"),
            "temp_directory": str(workspace / "spill"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": ordered,
        },
    )


def write_parquet(connection: duckdb.DuckDBPyConnection, query: str, path: Path, parameters: object = None) -> None:
    """Write a query's result to `path` (a file of our own naming), replacing it in one step."""
    half = path.with_suffix(".part")
    relation = connection.sql(query, params=parameters)
    relation.write_parquet(str(half))
    half.replace(path)


def one_row(connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> tuple[Any, ...]:
    """The only row of a result, read to its end: an unread result would block the connection."""
    (row,) = connection.execute(query, parameters).fetchall()
    return tuple(row)
