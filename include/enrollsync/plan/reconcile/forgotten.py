"""Rows of people who were forgotten: they wait, unless a person lets them in as somebody new (`sync --release`).

A row whose record is there is that record's, whoever went by the same identifier before.
"""

from __future__ import annotations

import duckdb

from enrollsync.database.forgotten import MARKED, mark_sql
from enrollsync.plan.reconcile.tables import empty
from enrollsync.run import engine
from enrollsync.run.workspace import Notice, RunManifest
from enrollsync.words.codes import FORGOTTEN, GUARD_FORGOTTEN


def find_forgotten(connection: duckdb.DuckDBPyConnection, manifest: RunManifest) -> None:
    """Create `users_forgotten`, and hold its rows in `users_held`."""
    connection.execute(empty("users_forgotten"))
    (some,) = engine.one_row(connection, "SELECT EXISTS (FROM stored_forgotten)")
    if some and not manifest.release:
        connection.execute(_forgotten())
        connection.execute(
            f"INSERT INTO users_held SELECT DISTINCT source_key, '{FORGOTTEN}', NULL FROM users_forgotten"
        )


def _forgotten() -> str:
    """Each value's mark is made once a row, and not once for each mark that is known."""
    values = ",\n                ".join(f"({mark_sql(column, f'new.{column}')})" for column in MARKED)
    return f"""
        INSERT INTO users_forgotten
        WITH district AS (
            SELECT DISTINCT key
            FROM stored_forgotten
        ),
        unknown AS (
            SELECT source_key
            FROM users_matched
            WHERE old_key IS NULL
                AND source_key NOT IN (SELECT source_key FROM users_held)
                AND source_key NOT IN (SELECT source_key FROM users_lookalikes WHERE alone)
        ),
        marked AS (
            SELECT source_key, unnest([
                {values}
            ]) AS mark
            FROM users_accepted AS new
            SEMI JOIN unknown USING (source_key)
            CROSS JOIN district
        )
        SELECT DISTINCT source_key, user_key, state_after
        FROM marked
        JOIN stored_forgotten USING (mark)"""


def hold_forgotten(connection: duckdb.DuckDBPyConnection, answered: int) -> list[Notice]:
    """A hold for people who were forgotten and whom the delivery still has, until somebody has answered it once.

    `answered`: the state in which a person last answered such a plan; 0 where nobody did.
    """
    rows, newest = engine.one_row(
        connection, "SELECT count(DISTINCT source_key), coalesce(max(state_after), 0) FROM users_forgotten"
    )
    if not rows or newest <= answered:
        return []
    whom = "somebody who was forgotten" if rows == 1 else f"{rows:,} people who were forgotten"
    message = (
        f"the delivery has {whom} ({FORGOTTEN}); take them out at the source. Approving loads the rest without them, "
        "`--release` loads them as somebody new"
    )
    return [Notice.of(GUARD_FORGOTTEN, message)]
