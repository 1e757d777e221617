"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from enrollsync.terminal.ending import stop
from enrollsync.words.errors import ConfigurationError


def not_empty(context: typer.Context, option: typer.CallbackParam, value: str | None) -> str | None:
    """An empty value is a shell variable that is not set: taken for no option at all, it would mean something else."""
    if value is not None and not value.strip():
        refusal = ConfigurationError(f"{option.opts[0]} is empty; leave the option out or give a value")
        stop(refusal, as_json=bool(context.params.get("as_json")))
    return value


DistrictOption = Annotated[str, typer.Option("--district", help="A name in include/districts, or a district file.")]
SourceOption = Annotated[
    str | None, typer.Option("--source", callback=not_empty, help="A folder or zip instead of the district's own.")
]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", callback=not_empty, help="URL of the roster database.")
]
PlanOption = Annotated[
    str | None, typer.Option("--plan", callback=not_empty, help="Approve only if the plan is still this one.")
]
# Eager: known before any other option is refused.
JsonOption = Annotated[bool, typer.Option("--json", is_eager=True, help="Print one JSON object on standard output.")]


class Kind(StrEnum):
    """What can be explained."""

    USER = "user"
    CLASS = "class"
    ORGANIZATION = "organization"
