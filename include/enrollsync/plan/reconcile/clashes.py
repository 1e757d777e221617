"""Secondary IDs and emails of the batch that somebody has whom only the database knows (rule 7).

Clashes within the batch were found before, by the checks. Who is in the batch says what he has; in a snapshot nobody of
its own source is outside of it. Leaves `users_clashes` and takes clashing secondary IDs out
of `users_resolved`; the holder keeps his own.
"""

from __future__ import annotations

import duckdb

from enrollsync.plan.reconcile.alike import differ_after_all
from enrollsync.plan.reconcile.tables import empty
from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest
from enrollsync.words.canonical import USERS

CODES_OF_CLASHES = ("SEC-DUPLICATE", "VAL-EMAIL-DUPLICATE")
_SECONDARY = USERS.of_kind("secondary")


def find_clashes(connection: duckdb.DuckDBPyConnection, manifest: RunManifest) -> None:
    """Find the clashes of the rows that are planned, once users are matched."""
    connection.execute(_holders(manifest))
    if not engine.one_row(connection, "SELECT EXISTS (FROM users_holders)")[0]:
        connection.execute(empty("{entity}_clashes", USERS))
        return
    connection.execute(_clashes())
    if engine.one_row(connection, "SELECT EXISTS (FROM users_clashes WHERE code = 'SEC-DUPLICATE')")[0]:
        connection.execute("ALTER VIEW users_resolved RENAME TO users_resolved_with_clashes")
        connection.execute(_without_clashes())
        differ_after_all(connection, USERS, "SELECT source_key FROM users_clashes")


def _holders(manifest: RunManifest) -> str:
    outside = "true" if manifest.mode_of("users") == "delta" else "source <> getvariable('source')"
    return f"""
        CREATE VIEW users_holders AS
        FROM db_users
        ANTI JOIN users_assigned USING (user_key)
        WHERE status = 'active' AND {outside} AND user_key NOT IN (SELECT key FROM users_released)"""


def _clashes() -> str:
    secondary = "".join(
        f"""
        SELECT new.source_key, '{column}' AS field, 'SEC-DUPLICATE' AS code
        FROM said AS new
        SEMI JOIN holders AS old ON old.{column} = new.{column}
        UNION ALL"""
        for column in _SECONDARY
    )
    return f"""
        CREATE TABLE users_clashes AS
        WITH holders AS (
            FROM users_holders
        ),
        said AS (
            SELECT *
            FROM users_resolved
            SEMI JOIN users_assigned USING (source_key)
        )
        {secondary}
        SELECT new.source_key, 'email', 'VAL-EMAIL-DUPLICATE'
        FROM said AS new
        SEMI JOIN holders AS old
            ON lower(old.email) = lower(new.email) AND kind_of(old.role) = kind_of(new.role)"""


def _without_clashes() -> str:
    cleared = ", ".join(
        f"""
            CASE WHEN source_key NOT IN (SELECT source_key FROM users_clashes WHERE field = '{column}')
                THEN {column} END AS {column}"""
        for column in _SECONDARY
    )
    return f"""
        CREATE VIEW users_resolved AS
        SELECT * REPLACE ({cleared})
        FROM users_resolved_with_clashes"""
