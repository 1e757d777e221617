"""Results, runs and tables as a person reads them, or as JSON; what only a terminal needs is imported there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import typer

from enrollsync.words.errors import EnrollSyncError, UndoConflict
from enrollsync.words.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

_MOST_SHOWN = 50
"""Conflicts that a person is shown; `--json` has more."""


def progress() -> AbstractContextManager[Status]:
    """One moving line on a terminal that says which step is running."""
    from rich.console import Console

    return Console(stderr=True).status("starting")


def print_result(result: dict[str, Any], as_json: bool, message: str | None = None, *, undoes: bool = False) -> None:
    """What a run came to; `message` is said besides. With `as_json`, the object that programs read."""
    if as_json:
        typer.echo(json.dumps(result))
        return
    from rich.text import Text

    console = console_for()
    console.print(
        Text.assemble((result["outcome"], "bold"), f"  run {result['run_id']}  plan {result['plan_id'] or '-'}")
    )
    if result["outcome"] not in {"refused", "failed"}:
        console.print(counts_table(result["counts"], result["outcome"], undoes=undoes))
    for hold in result["holds"]:
        console.print(f"held: {hold['code']}: {hold['message']}", style="yellow")
    if result["findings"]:
        findings = ", ".join(f"{code} {n:,}" for code, n in result["findings"].items())
        console.print(f"findings: {findings}", soft_wrap=True)
    if message:
        console.print(message, style="yellow", soft_wrap=True)
    for line in _how_to_answer(result):
        console.print(line, soft_wrap=True)
    report = Path(result["artifacts"], "report.html")
    place = f"report: {report}" if report.exists() else f"files: {report.parent}"
    console.print(printable(place), soft_wrap=True)


def _how_to_answer(result: dict[str, Any]) -> Iterator[str]:
    """What to add to the same command so that a plan that waits is applied."""
    from enrollsync.plan.answers import MEANS, OPTIONS

    for answer, option in OPTIONS.items():
        if answer in result["answers"]:
            plan = "" if answer == "use_proposal" else f" --plan {result['plan_id']}"
            yield f"answer: `sync {option}{plan}` {MEANS[answer]}"


def counts_table(counts: dict[str, dict[str, int]], outcome: str, *, undoes: bool) -> Table:
    """Records by entity and by what became of them, in the outcome's words."""
    from rich.table import Table

    from enrollsync.report.wording import headings, word_for

    columns = list(headings(outcome, undoes=undoes))
    table = Table("", *(word_for(name, outcome, undoes=undoes) for name in columns), box=None)
    for entity, numbers in counts.items():
        table.add_row(entity, *(f"{numbers[name]:,}" if numbers[name] else "·" for name in columns))
    return table


def print_refused_undo(result: dict[str, Any], error: EnrollSyncError, as_json: bool) -> None:
    """The result, with the records that keep the run from being undone."""
    if not isinstance(error, UndoConflict):
        print_result(result, as_json)
    elif as_json:
        print_result({**result, "later_runs": error.later_runs, "conflicts": error.conflicts}, as_json)
    else:
        names = ("entity", "record", "column", "why", "run_id")
        shown = [[str(conflict[name] or "-") for name in names] for conflict in error.conflicts[:_MOST_SHOWN]]
        print_table((*names[:-1], "run"), shown)
        print_result(result, as_json)


def print_forgotten(result: dict[str, Any], as_json: bool) -> None:
    """The end of `forget`, which has said before what goes."""
    if as_json:
        typer.echo(json.dumps(result))
        return
    run = f"  run {result['run_id']}" if result["run_id"] else ""
    typer.echo(f"{result['outcome']}{run}")
    if result["message"]:
        typer.echo(printable(result["message"]))


def print_runs(found: list[dict[str, Any]], zone: ZoneInfo) -> None:
    """A line a run, its time in the district's zone."""
    if not found:
        typer.echo("no runs yet")
        return
    from enrollsync.plan.answers import answered
    from enrollsync.report.wording import changes

    header = (f"started ({zone})", "run", "outcome", "decided", "changes", "plan")
    rows = [
        [
            f"{datetime.fromisoformat(run['started_at']).astimezone(zone):%Y-%m-%d %H:%M}",
            run["run_id"], run["outcome"], answered(run["answer"], run["approved_by"]),
            changes(run["outcome"], run["counts"]), run["plan_id"] or "-",
        ]
        for run in found
    ]  # fmt: skip
    print_table(header, rows)


def print_table(header: Iterable[str], rows: list[list[str]]) -> None:
    """Columns that line up, whole: nothing is cut where a program or a file reads them."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(*header, box=None)
        for row in rows:
            table.add_row(*map(escape, row))
        Console(highlight=False, emoji=False).print(table)
        return
    lines = [list(header), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())


def say(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines of text, each with the style that it has on a terminal."""
    if sys.stdout.isatty():
        from rich.console import Console

        for style, text in lines:
            Console(highlight=False, emoji=False).print(text, style=style, markup=False, soft_wrap=True)
        return
    for _, text in lines:
        typer.echo(text)


def console_for(*, stderr: bool = False) -> Console:
    """Prints names and paths as they are, though they look like markup; 120 columns where it is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, stderr=stderr)
    if not console.is_terminal:
        console.width = 120
    return console
