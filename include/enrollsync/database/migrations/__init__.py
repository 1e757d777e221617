"""Moves a database from the schema it has to the one this program needs; `versions/` holds the steps.

A published step is never edited: a new one follows it. Views are created by the steps too, because only they know which
ones they replace.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

VERSION_TABLE = "enrollsync_version"
"""Not Alembic's own name, so that the roster can share a database with another program that uses Alembic."""


def _config() -> Config:
    config = Config()
    # Alembic reads `%` as the start of a variable.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def known_revisions() -> tuple[str, ...]:
    """Every schema that this program knows, the one it needs first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def revision_of(connection: Connection) -> str | None:
    """The schema that the database has; None when it has no roster."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def upgrade(connection: Connection) -> None:
    """Bring the database to the newest schema, within the connection's transaction."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
