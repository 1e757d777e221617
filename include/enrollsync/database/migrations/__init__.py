"""Moves a database from the schema it has to the one this program needs; `versions/` holds the steps.

A published step is never edited: a new one follows it. Views are created by the steps too, because only they know which
ones they replace. A step's `downgrade` says in its docstring what going back loses; steps up to 0008 rewrite what is
told of the past, and have none. Alembic runs them; what schema a database has, and which one it needs, is known
without it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, MetaData, Table, Text, inspect, select

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "enrollsync_version"
"""Not Alembic's own name, so that the roster can share a database with another program that uses Alembic."""

_VERSION = Table(VERSION_TABLE, MetaData(), Column("version_num", Text))
_STEPS = Path(__file__).parent / "versions"


@cache
def known_revisions() -> tuple[str, ...]:
    """Every schema that this program knows, the one it needs first; a step's file is named after its revision."""
    return tuple(sorted((path.stem.split("_")[0] for path in _STEPS.glob("*.py")), reverse=True))


def revision_of(connection: Connection) -> str | None:
    """The schema that the database has; None when it has no roster."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalar()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the database to a schema, the newest if none is named, within the connection's transaction."""
    from alembic import command

    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the steps after `revision` back, within the connection's transaction; each must have a way back."""
    from alembic import command

    command.downgrade(_config(connection), revision)


def way_back(revision: str) -> tuple[str, str] | None:
    """The schema before this one, and a sentence on what going back there loses; None where there is no way back."""
    from alembic.script import ScriptDirectory

    step = ScriptDirectory(str(_STEPS.parent)).get_revision(revision)
    back = getattr(step.module, "downgrade", None)
    return (str(step.down_revision), str(back.__doc__).strip()) if back else None


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    # Alembic reads `%` as the start of a variable.
    config.set_main_option("script_location", str(_STEPS.parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
