"""What the steps of a run tell each other, and through which files."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from enrollsync import steps
from enrollsync.run.run import Run
from enrollsync.run.step import INGEST, LOAD, NIGHT, PLAN, REPORT, VALIDATE, Step
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.words.errors import ConfigurationError
from nightly import Nightly, other, student

ROWS = [student(), student("301", userFirstName="Bo", userEmail="bo@demo.example"), student("302", userFirstName="")]


def started(nightly: Nightly, run_id: str) -> Path:
    nightly.deliver(ROWS)
    return Path(steps.start(nightly.district, run_id=run_id, as_of=datetime(2026, 11, 23, 7, tzinfo=UTC)))


def carry(names: tuple[str, ...], source: Path, target: Path) -> None:
    for name in ("run.json", "settings.json", *names):
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        elif (source / name).is_file():
            shutil.copy(source / name, target / name)


@pytest.mark.slow
def test_each_step_does_with_the_files_that_it_says_it_reads_and_leaves_no_other_than_it_says(
    nightly: Nightly, tmp_path: Path
) -> None:
    store = started(nightly, "carried")
    actions = {INGEST: steps.ingest, VALIDATE: steps.validate, PLAN: steps.plan, LOAD: steps.load, REPORT: steps.report}
    for which in NIGHT:
        machine = Workspace(tmp_path / which.name).create().root
        carry(which.reads, store, machine)
        actions[which](str(machine))
        before = {name for name in which.reads if (store / name).exists()}
        made = {path.name for path in machine.iterdir() if path.is_file() or any(path.rglob("*.*"))}
        assert made <= {"run.json", "settings.json", *before, *which.writes}, which
        carry(which.writes, machine, store)
    assert Run.open(str(store)).manifest.outcome == "applied"
    assert (store / "report.html").is_file()
    assert nightly.view("users", "user_id") == [("300",), ("301",)]


def test_the_page_on_the_architecture_names_what_each_step_reads_and_writes() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "architecture.md").read_text()
    for which in NIGHT:
        _, _, reads, writes = table_row(page, which)
        assert (reads, writes) == (set(which.reads), set(which.writes))


def table_row(page: str, which: Step) -> tuple[str, str, set[str], set[str]]:
    (row,) = re.findall(rf"^\| {which.name} \|.*$", page, re.MULTILINE)
    name, folders, reads, writes = (cell.strip() for cell in row.strip("|").split("|"))
    told = [{path.rstrip("/") for path in re.findall(r"`([^`]+)`", cell)} for cell in (reads, writes)]
    return name, folders, told[0], told[1]


def test_a_district_file_that_is_edited_while_a_plan_waits_changes_the_next_run_and_not_this_one(
    nightly: Nightly,
) -> None:
    workspace = str(started(nightly, "edited"))
    nightly.settings = {"name": "Another Name", "thresholds": {"deactivate_percent": 1}}
    assert nightly.district
    run = Run.open(workspace)
    assert (run.settings.name, run.settings.thresholds.deactivate_percent) == ("Demo Unified", 10)


def test_what_a_run_knows_of_itself_is_read_and_written_once_a_step(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    read, write = Workspace.read, Workspace.write

    def counted_read(place: Workspace) -> RunManifest:
        calls["read"] += 1
        return read(place)

    def counted_write(place: Workspace, manifest: RunManifest) -> None:
        calls["write"] += 1
        write(place, manifest)

    monkeypatch.setattr(Workspace, "read", counted_read)
    monkeypatch.setattr(Workspace, "write", counted_write)
    assert nightly.run(ROWS)["outcome"] == "applied"
    # The state is read beside the checks, somebody asks whether the plan may be loaded, and the start writes.
    assert calls == {"read": len(NIGHT) + 2, "write": len(NIGHT) + 1}


def test_a_plan_that_is_made_again_counts_every_row_once(nightly: Nightly) -> None:
    nightly.begin([student(), other(1)])
    like_leena = student("10", userEmail="")
    nightly.deliver([student("9", userFirstName="Lena", userEmail="x@demo.example"), other(1), like_leena])
    workspace = steps.start(nightly.district, run_id="again", as_of=datetime(2026, 11, 23, 7, tzinfo=UTC))
    steps.ingest(workspace, force=True)
    steps.validate(workspace)
    planned, again = steps.plan(workspace), steps.plan(workspace)
    assert planned["counts"]["users"]["held"] == 1
    assert (again["counts"], again["findings"]) == (planned["counts"], planned["findings"])


def test_a_run_that_an_older_version_began_says_that_a_new_one_is_needed(nightly: Nightly) -> None:
    workspace = started(nightly, "older")
    (workspace / "settings.json").unlink()
    with pytest.raises(ConfigurationError, match="^run older: an older EnrollSync began it.*; start a new run$"):
        steps.validate(str(workspace))
