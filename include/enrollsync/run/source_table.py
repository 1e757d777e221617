"""What was read of one source file, as `ingest.read.read_file` leaves it for later steps."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from enrollsync.run import engine


def numbered(table: Path) -> str:
    """SQL for a source table, with `line BIGINT`: the physical line on which each row starts.

    The lines are kept where some are left out, as malformed or blank ones are; elsewhere rows count them.
    """
    if "line" in pq.read_schema(table).names:
        return engine.parquet(table)
    return f"(SELECT file_row_number + 2 AS line, * FROM {engine.parquet(table)})"


def stored_columns(table: Path) -> list[str]:
    """The columns of a source table, in the file's order; secret ones are missing."""
    return [name for name in pq.read_schema(table).names if name != "line"]
