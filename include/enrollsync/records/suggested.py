"""What a class could be called whose identifier says nothing to people (rule 8), as the last look at it said."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from enrollsync.run.workspace import Workspace
from enrollsync.validate.asked import OPAQUE
from enrollsync.words.canonical import CLASSES


def suggestion_for(found: dict[str, Any], workspaces: Iterable[Workspace]) -> str | None:
    """The message of the finding on a class, out of the runs whose findings are open; None where there is none.

    A run whose files are gone tells nothing.
    """
    identifier = found[str(CLASSES.identifier)]
    if identifier is None or re.match(OPAQUE, identifier) is None:
        return None
    for workspace in workspaces:
        table = workspace.canonical_table(CLASSES.name)
        if workspace.findings.is_file() and table.is_file() and (message := _message(workspace, found["source_key"])):
            return message
    return None


def _message(workspace: Workspace, source_key: str) -> str | None:
    from enrollsync.run import engine

    with engine.connect(workspace.root) as connection:
        row = connection.execute(
            f"""
            SELECT message
            FROM {engine.parquet(workspace.findings)}
            SEMI JOIN (
                SELECT row_id
                FROM {engine.parquet(workspace.canonical_table(CLASSES.name))}
                WHERE source_key = $source_key
            ) USING (row_id)
            WHERE code = 'ID-OPAQUE' AND entity = 'classes'
            ORDER BY file, line
            LIMIT 1""",
            {"source_key": source_key},
        ).fetchone()
    return None if row is None else str(row[0])
