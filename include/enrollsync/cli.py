"""The `enrollsync` command: the steps of a run without a scheduler.

Says what happened and ends with the exit status that the README lists; what happens is decided in `steps`. What only
some commands need, or only a person at a terminal, is imported when it is needed.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from enrollsync.run.breakage import told
from enrollsync.settings import load_district, project_root
from enrollsync.settings.address import without_addresses
from enrollsync.terminal import process
from enrollsync.terminal.database import database_app
from enrollsync.terminal.ending import errors_stop, nothing_done, stop, tell
from enrollsync.terminal.options import (
    DatabaseOption,
    DistrictOption,
    JsonOption,
    Kind,
    PlanOption,
    SourceOption,
    not_empty,
)
from enrollsync.terminal.printing import (
    console_for,
    counts_table,
    print_forgotten,
    print_refused_undo,
    print_result,
    print_runs,
    progress,
    say,
)
from enrollsync.words.errors import ConfigurationError, EnrollSyncError
from enrollsync.words.printable import printable

if TYPE_CHECKING:
    from enrollsync.run.workspace import Answer


class _Commands(TyperGroup):
    """The commands; whatever ends one, it is one line and a status, never a traceback."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *, standalone_mode: bool = True,
        **more: Any,
    ) -> Any:  # fmt: skip
        """Run a command; where the process is not to end with it, its status is returned."""
        ends = process.begin() if standalone_mode and args is None else None
        as_json = "--json" in (sys.argv if args is None else args)
        try:
            status = super().main(args, prog_name, standalone_mode=False, **more)
        except TyperException as error:
            said = without_addresses(error.format_message()).rstrip(".")
            status = tell(ConfigurationError(f"{said}; see `enrollsync --help`"), as_json)
        except typer.Abort:
            status = tell(ConfigurationError("nobody answered; nothing was done"), as_json)
        except Exception as error:
            status = tell(told("the command", project_root() / "data", error), as_json)
        if ends:
            ends(status or 0)
        return sys.exit(status) if standalone_mode else status

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Without any argument, show the help."""
        if not args:
            typer.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="Keeps a school district's roster database true to its enrollment source.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(database_app, name="database")
_HELD = 3
_STATUS = {"held": _HELD, "refused": 4}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"enrollsync {version('enrollsync')}")
        raise typer.Exit


@app.callback()
def _logging(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every step to standard error.")] = False,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        stop(ConfigurationError("an argument is not UTF-8; write it in UTF-8"), as_json="--json" in sys.argv)
    log = logging.getLogger("enrollsync")
    log.setLevel(logging.INFO if verbose else logging.ERROR)
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)


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
    plan_id: PlanOption = None,
    adds_only: Annotated[
        bool, typer.Option("--adds-only", help="Deactivate nothing; with --approve: leave that out of the plan.")
    ] = False,
    use_proposal: Annotated[
        bool, typer.Option("--use-proposal", help="Take the proposed id_changes.csv of a hold as delivered.")
    ] = False,
    release: Annotated[bool, typer.Option("--release", help="Let held recycled identifiers through.")] = False,
    let_go: Annotated[
        bool, typer.Option("--let-go", help="Deactivate whom a former primary source left without a row.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Take no short cut.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the roster database to what the delivery says."""

    def load(workspace: str) -> None:
        from enrollsync import steps

        planned = steps.result(workspace)
        used = use_proposal and "use_proposal" in planned["answers"]
        if used:
            planned = steps.use_proposal(workspace, person=_user(), database_url=database)
        if planned["outcome"] != "planned" and not approve:
            return
        less = approve and adds_only
        answer: Answer | None = "without_removals" if less else "use_proposal" if used else None
        # Whoever lets identifiers pass to somebody else decides, even where nothing waits.
        decided = planned["outcome"] == "held" or (planned["outcome"] == "planned" and (release or answer is not None))
        steps.load(
            workspace, approved_by=_user() if decided else None, answer=answer if decided else None,
            only_plan=plan_id, database_url=database,
        )  # fmt: skip

    if plan_id is not None and not approve:
        stop(ConfigurationError("--plan names the plan that --approve means; give both"), as_json)
    if adds_only and release:
        said = "--adds-only and --release exclude each other: a release deactivates who had the identifier; give one"
        stop(ConfigurationError(said), as_json)
    if adds_only and let_go:
        stop(ConfigurationError("--adds-only and --let-go exclude each other; give one"), as_json)
    _run(
        district, source, database, as_json, dry_run=False, last="plan", then=load, release=release, force=force,
        adds_only=adds_only and not approve, lets_go=let_go,
    )  # fmt: skip


@app.command()
def undo(
    run_id: Annotated[str, typer.Argument(help="The run to take back, as `enrollsync runs` names it.")],
    district: DistrictOption,
    database: DatabaseOption = None,
    keep_later: Annotated[bool, typer.Option("--keep-later", help="Leave what later runs changed alone.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what taking a run back changes, ask on a terminal, and do it; that is a run too, and can be undone."""
    from enrollsync import steps

    started = datetime.now(UTC)
    agreed = partial(_agreed, undone=run_id, ask=not yes and _at_a_terminal(), as_json=as_json)
    with errors_stop(as_json):
        workspace = steps.start_undo(
            district, run_id, run_id=_new_run_id(started), as_of=started, keep_later=keep_later, database_url=database
        )
        try:
            steps.undo(workspace, approved_by=_user(), agreed=agreed, database_url=database)
        except EnrollSyncError as error:
            print_refused_undo(steps.report(workspace, database_url=database), error, as_json)
            raise typer.Exit(tell(error, as_json=False)) from None
        print_result(steps.report(workspace, database_url=database), as_json, undoes=True)


@app.command()
def forget(
    user_id: Annotated[str, typer.Argument(help="An identifier of the person, an earlier one, or a source key.")],
    district: DistrictOption,
    database: DatabaseOption = None,
    key: Annotated[
        int | None, typer.Option("--key", help="Whose record, where several people went by that identifier.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it without asking; nothing can bring the values back.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take a person's values out of the roster and of kept files: shows what, and asks for a typed yes."""
    from enrollsync.database import open_store
    from enrollsync.forget import forget as take_out
    from enrollsync.forget import look
    from enrollsync.run.run import database_url_of

    started = datetime.now(UTC)
    with errors_stop(as_json):
        settings = load_district(district)
        store = open_store(database_url_of(settings, database))
        looked = look(settings, store, user_id, key)
        asked = not yes and _at_a_terminal()
        for line in looked.lines() if asked or not as_json else ():
            typer.echo(printable(line), err=as_json)
        told = {**nothing_done(), "taken_out": looked.places}
        if not yes and not (asked and _typed_yes()):
            said = "nothing was taken out" if asked else "nothing was taken out; look at it, and say --yes to do it"
            print_forgotten({**told, "outcome": "rejected" if asked else "held", "message": said}, as_json)
            raise typer.Exit(0 if asked else _HELD)
        run_id = _new_run_id(started)
        left = take_out(
            settings, store, looked, run_id=run_id, person=_user(), started=started, ended=datetime.now(UTC)
        )
    print_forgotten({**told, "run_id": run_id, "outcome": "forgotten", "message": "; ".join(left) or None}, as_json)


def _typed_yes() -> bool:
    try:
        return bool(
            typer.prompt("Type yes to take this out for good", default="", show_default=False, err=True) == "yes"
        )
    except typer.Abort:
        return False


@app.command()
def retention(
    district: DistrictOption,
    database: DatabaseOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is old enough.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take away what is older than the district's file keeps it (`retention`); what it does not name stays."""
    from enrollsync import steps

    now = datetime.now(UTC)
    with errors_stop(as_json):
        done = steps.retain(
            district, run_id=f"retention__{_new_run_id(now)}", now=now, dry_run=dry_run, database_url=database
        )
    lines = done.pop("lines")
    if as_json:
        typer.echo(json.dumps(done))
        return
    for line in [f"{'would remove' if dry_run else 'removed'}:", *(f"  {line}" for line in lines), done["message"]]:
        if line:
            typer.echo(printable(line))


@app.command()
def runs(district: DistrictOption, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List the runs, newest first; only reads the database."""
    from enrollsync import steps

    with errors_stop(as_json):
        found = steps.runs(district, database_url=database)
        if as_json:
            typer.echo(json.dumps({"runs": found}))
        else:
            print_runs(found, load_district(district).zone)


@app.command()
def explain(
    kind: Annotated[Kind, typer.Argument(help="What it is.")],
    identifier: Annotated[str, typer.Argument(metavar="ID", help="An identifier, an earlier one, or a source key.")],
    district: DistrictOption,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a record is as it is: file, line, rule, before and after, run, approver; only reads the database."""
    from enrollsync import steps

    with errors_stop(as_json):
        told = steps.explain(district, kind.value, identifier, database_url=database)
        if as_json:
            typer.echo(json.dumps(told))
        else:
            from enrollsync.report.explain import lines

            say(lines(told, load_district(district).zone))


@app.command()
def export(
    out: Path,
    district: DistrictOption,
    format_name: Annotated[str, typer.Option("--format", help="batch_upload, clever or oneroster.")],
    database: DatabaseOption = None,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], help="As it was at the end of that day, in the district's time."),
    ] = None,
    spreadsheet: Annotated[
        bool, typer.Option("--spreadsheet", help="For looking at: no cell is taken for a formula.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the roster as files of a format into a new folder (or zip) OUT; only reads the database."""
    with errors_stop(as_json):
        settings = load_district(district)
        with nullcontext() if as_json or not sys.stderr.isatty() else progress() as status:
            from enrollsync.database import open_store
            from enrollsync.export import export_roster
            from enrollsync.run.run import database_url_of

            exported = export_roster(
                settings, open_store(database_url_of(settings, database)), out, format_name,
                today=datetime.now(settings.zone).date(), as_of=as_of.date() if as_of else None,
                spreadsheet=spreadsheet, telling=lambda what: status.update(f"{what} …") if status else None,
            )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(asdict(exported)))
        return
    for line in exported.lines():
        typer.echo(printable(line))


@app.command()
def init(
    delivery: Path,
    district_id: Annotated[
        str | None, typer.Option("--id", callback=not_empty, help="The district's identifier.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", callback=not_empty, help="What people call it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a delivery (a folder or zip) and write a district file for it."""
    from enrollsync.onboard import begin

    ask = None if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()) else typer.prompt
    try:
        begun = begin(delivery, district_id=district_id, name=name, ask=ask)
    except EnrollSyncError as error:
        stop(error, as_json)
    if as_json:
        typer.echo(json.dumps(asdict(begun)))
        return
    for line in begun.lines():
        typer.echo(printable(line))


@app.command()
def sample(
    out: Path,
    format_name: Annotated[
        str, typer.Option("--format", help="One of a district's sources, or oneroster_1_1.")
    ] = "batch_upload",
    students: Annotated[int, typer.Option(min=1)] = 1000,
    seed: int = 1,
    dirt: Annotated[float, typer.Option(min=0, max=1, help="Share of lines with a planted fault.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Make a synthetic district and, with dirt, answers.json: what was planted on which line."""
    from enrollsync.sample import write_sample

    try:
        made = write_sample(out, format_name, students, seed, dirt)
    except EnrollSyncError as error:
        stop(error, as_json)
    if as_json:
        typer.echo(json.dumps({**asdict(made), "folder": str(made.folder)}))
        return
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
    **asked: bool,
) -> None:
    """Run the steps up to `last`, then `then`; report in any case, and end with the right status.

    `asked`: fields of `RunManifest`, as for `steps.start`.
    """
    try:
        if "://" in (source or ""):
            raise ConfigurationError("--source: found an address; write a folder or a zip")
        load_district(district)
        with nullcontext() if as_json or not sys.stderr.isatty() else progress() as status:
            from enrollsync import steps
            from enrollsync.terminal.forked import ForkedChecks

            def telling(step: str) -> None:
                if status:
                    status.update(f"{step} …")

            started = datetime.now(UTC)
            run_id = _new_run_id(started)
            # A path on the command line starts where the command was given, not at the project's root.
            given = os.path.realpath(source) if source is not None else None
            workspace = steps.start(district, run_id=run_id, as_of=started, source=given, dry_run=dry_run, **asked)
            error = None
            try:
                steps.night(
                    workspace, last=last, then=then, force=force, database_url=database, telling=telling,
                    checks=ForkedChecks(),
                )  # fmt: skip
            except EnrollSyncError as first:
                error = first
            telling("report")
            try:
                result = steps.report(workspace, database_url=database)
            except EnrollSyncError as second:
                # What broke the run says more than that it could not be reported either.
                raise error or second from None
    except EnrollSyncError as refusal:
        stop(refusal, as_json)
    print_result(result, as_json, message=None if error else result["message"])
    if error:
        stop(error, as_json=False)
    raise typer.Exit(_STATUS.get(result["outcome"], 0))


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(planned: dict[str, Any], *, undone: str, ask: bool, as_json: bool) -> bool:
    """Show what an undo changes; whether the person at the terminal, if one is asked, wants that."""
    from enrollsync.report.wording import OPERATION_NOTES

    if ask or not as_json:
        console = console_for(stderr=as_json)
        console.print(f"Taking back run {undone}:")
        console.print(counts_table(planned["counts"], planned["outcome"], undoes=True))
        console.print(f"Taken out: {OPERATION_NOTES['Taken out']}.", soft_wrap=True)
    try:
        return not ask or typer.confirm("Take these changes back?", err=True)
    except typer.Abort:
        return False


def _new_run_id(started: datetime) -> str:
    return f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def _user() -> str:
    """Who approves: the name of the account, or its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
