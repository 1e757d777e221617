"""`make demo`: run the demo district's DAG through Airflow, without a scheduler, and show what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from enrollsync import steps
from enrollsync.report.wording import word_for
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import load_district, project_root
from enrollsync.words.codes import CODES

DISTRICT = "demo"
LOG = Path(os.environ["AIRFLOW_HOME"]) / "logs" / "demo.log"


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Send everything that this process and its children write to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(1), os.dup(2)
    with log.open("wb") as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)


def run_dag() -> tuple[str, str]:
    """Run the DAG once; its run's id and state."""
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag().dags[f"enrollment_sync__{DISTRICT}"]
    for task in dag.tasks:
        task.retries = 0  # a person is waiting
    run = dag.test()
    return run.run_id, run.state


def counts_table(manifest: RunManifest) -> Table:
    """What happened to the records, an entity a row; columns in which nothing happened are left out."""
    happened = [
        name for name in next(iter(manifest.counts.values()), {}) if any(c[name] for c in manifest.counts.values())
    ]
    table = Table("", *map(word_for, happened), box=SIMPLE_HEAD)
    for entity, counts in manifest.counts.items():
        table.add_row(entity, *(f"{counts[name]:,}" for name in happened))
    return table


def findings_table(manifest: RunManifest) -> Table:
    """How often each kind of finding occurred, and what it means."""
    table = Table("code", "rows", "meaning", box=SIMPLE_HEAD)
    for code, number in sorted(manifest.findings.items()):
        table.add_row(code, f"{number:,}", CODES[code].title)
    return table


def show(console: Console, workspace: Workspace, state: str) -> None:
    """The outcome first, then the details, then where to look."""
    manifest = workspace.read()
    console.print(f"\n[bold]{manifest.outcome}[/bold]  (DAG run {manifest.run_id}: {state})\n")
    for line in filter(None, [manifest.error, *(f"{hold.code}: {hold.message}" for hold in manifest.holds)]):
        console.print(line, markup=False)
    if manifest.counts:
        console.print(counts_table(manifest))
    if manifest.findings:
        console.print(findings_table(manifest))
    for name, place in (
        ("report", workspace.root / "report.html"),
        ("quarantine", workspace.quarantine),
        ("database", (load_district(DISTRICT).database.url or "").removeprefix("sqlite:///")),
    ):
        shown = Path(place)
        inside = shown.is_absolute() and shown.is_relative_to(project_root())
        console.print(
            f"{name:<11} {shown.relative_to(project_root()) if inside else shown}", markup=False, soft_wrap=True
        )


def main() -> int:
    """Exit status 0 when the DAG run succeeded, else 1."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print(f"Running enrollment_sync__{DISTRICT} through Airflow ...")
    with output_to(LOG):
        run_id, state = run_dag()
    workspace = Workspace(Path(steps.workspace_for(DISTRICT, run_id)))
    if workspace.root.is_dir():
        show(console, workspace, state)
    if state != "success":
        console.print(f"The DAG run is {state}; Airflow's log is {LOG.relative_to(project_root())}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
