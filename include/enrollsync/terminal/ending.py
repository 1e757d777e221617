"""How a command ends: in one line and with a status, never with a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from enrollsync.words.errors import EnrollSyncError, UndoConflict


@contextmanager
def errors_stop(as_json: bool) -> Iterator[None]:
    """Whatever refuses within ends the command."""
    try:
        yield
    except EnrollSyncError as error:
        stop(error, as_json)


def stop(error: EnrollSyncError, as_json: bool) -> NoReturn:
    """Say why, in one line, and end with the error's status."""
    raise typer.Exit(tell(error, as_json))


def tell(error: EnrollSyncError, as_json: bool) -> int:
    """Say why, in one line; returns the error's status."""
    if as_json:
        typer.echo(json.dumps({**nothing_done(), "outcome": error.outcome, "message": str(error)}))
    option = " (--keep-later)" if isinstance(error, UndoConflict) else ""
    typer.echo(f"enrollsync: {error}{option}", err=True)
    return error.exit_status


def nothing_done() -> dict[str, Any]:
    """The object of a run that ended before there was one: its keys are the same, for programs that read it."""
    from enrollsync.run.workspace import COUNTED
    from enrollsync.words.canonical import ENTITIES

    counts = {entity.name: dict.fromkeys(COUNTED, 0) for entity in ENTITIES}
    return {
        "run_id": None, "outcome": None, "plan_id": None, "counts": counts, "findings": {}, "holds": [],
        "artifacts": None, "message": None, "answers": [],
    }  # fmt: skip
