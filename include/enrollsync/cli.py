"""The `enrollsync` command: the steps of a run without a scheduler.

Says what happened and ends with the status of section 4.1; what happens is decided in `steps`.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import sys
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.table import Table

from enrollsync.errors import ConfigurationError, EnrollSyncError
from enrollsync.settings import load_district

app = typer.Typer(
    help="Keeps a school district's roster database true to its enrollment source.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_HELD = 3
_STATUS = {"held": _HELD, "refused": 4}

DistrictOption = Annotated[str, typer.Option("--district", help="A name in include/districts, or a district file.")]
SourceOption = Annotated[str | None, typer.Option("--source", help="A folder or zip instead of the district's own.")]
DatabaseOption = Annotated[str | None, typer.Option("--database", help="URL of the roster database.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.callback()
def _logging(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every step to standard error.")] = False,
) -> None:
    level = logging.INFO if verbose else logging.ERROR
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@app.command()
def check(district: DistrictOption, source: SourceOption = None, as_json: JsonOption = False) -> None:
    """Read and check a delivery; touches no database."""
    _run(district, source, None, as_json, dry_run=True, last="validate")


@app.command()
def plan(
    district: DistrictOption, source: SourceOption = None, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Check a delivery and show what it would change; only reads the database."""
    _run(district, source, database, as_json, dry_run=True, last="plan")


@app.command()
def sync(
    district: DistrictOption,
    source: SourceOption = None,
    database: DatabaseOption = None,
    approve: Annotated[bool, typer.Option("--approve", help="Apply a plan that is held.")] = False,
    plan_id: Annotated[str | None, typer.Option("--plan", help="Approve only if the plan is still this one.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Take no short cut.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the roster database to what the delivery says."""

    def load(workspace: str) -> None:
        from enrollsync import steps

        outcome = steps.result(workspace)["outcome"]
        if outcome == "planned" or approve:
            approver = _user() if outcome == "held" else None
            steps.load(workspace, approved_by=approver, only_plan=plan_id, database_url=database)

    if plan_id and not approve:
        _stop(ConfigurationError("--plan names the plan that --approve means; give both"), as_json)
    _run(district, source, database, as_json, dry_run=False, last="plan", then=load, force=force)


@app.command()
def sample(
    out: Path,
    format_name: Annotated[str, typer.Option("--format", help="batch_upload or clever.")] = "batch_upload",
    students: Annotated[int, typer.Option(min=1)] = 1000,
    seed: int = 1,
    dirt: Annotated[float, typer.Option(min=0, max=1, help="Share of lines with a planted fault.")] = 0.0,
) -> None:
    """Make a synthetic district and, with dirt, answers.json: what was planted on which line."""
    from enrollsync.sample import write_sample

    try:
        made = write_sample(out, format_name, students, seed, dirt)
    except EnrollSyncError as error:
        _stop(error, as_json=False)
    for name, rows in made.files.items():
        typer.echo(f"{made.folder / name}: {rows:,} rows")


def _run(
    district: str,
    source: str | None,
    database: str | None,
    as_json: bool,
    *,
    dry_run: bool,
    last: str,
    then: Callable[[str], None] | None = None,
    force: bool = False,
) -> None:
    """Run the steps up to `last`, then `then`; report in any case, and end with the right status."""
    try:
        load_district(district)
        console = Console(stderr=True)
        with nullcontext() if as_json or not console.is_terminal else console.status("starting") as status:
            from enrollsync import steps

            def step(name: str, action: Callable[[str], Any]) -> Any:
                if status:
                    status.update(f"{name} …")
                return action(workspace)

            started = datetime.now(UTC)
            run_id = f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
            # A path on the command line starts where the command was given, not at the project's root.
            given = str(Path(source).resolve()) if source else None
            workspace = steps.start(district, run_id=run_id, as_of=started, source=given, dry_run=dry_run)
            error = _steps(step, last, then, database, force)
            result = step("report", partial(steps.report, database_url=database))
    except EnrollSyncError as refusal:
        _stop(refusal, as_json)
    _print(result, as_json)
    if error:
        _stop(error, as_json=False)
    raise typer.Exit(_STATUS.get(result["outcome"], 0))


def _steps(
    step: Callable[[str, Callable[[str], Any]], Any],
    last: str,
    then: Callable[[str], None] | None,
    database: str | None,
    force: bool,
) -> EnrollSyncError | None:
    from enrollsync import steps

    try:
        if (
            step("ingest", partial(steps.ingest, database_url=database, force=force, before_reading=_warm_up))[
                "outcome"
            ]
            == "in_sync"
        ):
            return None
        step("validate", steps.validate)
        if last == "plan":
            step("plan", partial(steps.plan, database_url=database))
        if then:
            step("load", then)
    except EnrollSyncError as error:
        return error
    return None


def _warm_up() -> None:
    """Import Great Expectations, which takes seconds, while the files are read."""
    Thread(target=import_module, args=("enrollsync.validate.checking",), daemon=True).start()


def _user() -> str:
    """Who approves: the name of the account, or its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _stop(error: EnrollSyncError, as_json: bool) -> None:
    """Say why, in one line, and end with the error's status."""
    if as_json:
        typer.echo(json.dumps({"outcome": error.outcome, "message": str(error)}))
    typer.echo(f"enrollsync: {error}", err=True)
    raise typer.Exit(error.exit_status)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(f"[bold]{result['outcome']}[/bold]  run {result['run_id']}  plan {result['plan_id'] or '-'}")
    if result["outcome"] not in {"refused", "failed"}:
        console.print(_counts(result["counts"]))
    for hold in result["holds"]:
        console.print(f"held: {hold['code']}: {hold['message']}", style="yellow")
    if result["findings"]:
        findings = ", ".join(f"{code} {n:,}" for code, n in result["findings"].items())
        console.print(f"findings: {findings}", soft_wrap=True)
    console.print(f"report: {result['artifacts']}/report.html", soft_wrap=True)


def _counts(counts: dict[str, dict[str, int]]) -> Table:
    columns = list(next(iter(counts.values()), {}))
    table = Table("", *columns, box=None)
    for entity, numbers in counts.items():
        table.add_row(entity, *(f"{numbers[name]:,}" if numbers[name] else "·" for name in columns))
    return table
