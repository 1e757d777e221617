"""Which program this is, as far as that decides what a run's files mean."""

from __future__ import annotations

from importlib.metadata import version


def program() -> str:
    """Version and schema of this program, and DuckDB's version: plans are named by its hashes."""
    from enrollsync.database.migrations import known_revisions

    return f"EnrollSync {version('enrollsync')} (schema {known_revisions()[0]}, DuckDB {version('duckdb')})"
