"""The DAG that takes away what is old: by hand it only looks."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from enrollsync.airflow import upkeep
from enrollsync.run.workspace import RunManifest, Workspace

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def old_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, districts: Callable[..., Path]) -> Path:
    """Lincoln keeps folders for a month and has one of a year ago; Oakland keeps all; a third file is broken."""
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    url = f"url: sqlite:///{tmp_path / 'roster.db'}"
    lincoln = districts("lincoln", url=url)
    lincoln.write_text(lincoln.read_text() + "retention: {workspaces: 30}\n")
    districts("oakland", url=url)
    districts("fresno", name="name: [unclosed")
    runs = tmp_path / "data" / "runs"
    for district in ("lincoln", "oakland"):
        for run_id, year in (("old", 2020), ("new", 2026)):
            place = Workspace(runs / district / run_id).create()
            as_of = datetime(year, 1, 1, tzinfo=UTC)
            place.write(RunManifest(run_id=run_id, district=district, as_of=as_of, outcome="in_sync"))

            os.utime(place.root / "run.json", (as_of.timestamp(), as_of.timestamp()))
    return runs


def kept(runs: Path) -> set[str]:
    return {str(path.relative_to(runs)) for path in runs.glob("*/*")}


ALL = {"lincoln/old", "lincoln/new", "oakland/old", "oakland/new"}


def test_only_districts_that_name_an_age_have_their_turn(old_runs: Path) -> None:
    assert upkeep.districts_with_ages() == ["lincoln"]


@pytest.mark.parametrize("run_type, dry_run, looks", [
    ("manual", True, True), ("manual", None, True), ("manual", False, False), ("scheduled", True, False),
])  # fmt: skip
def test_by_hand_it_looks_and_by_itself_it_removes(
    old_runs: Path, monkeypatch: pytest.MonkeyPatch, run_type: str, dry_run: bool | None, looks: bool
) -> None:
    run = SimpleNamespace(run_type=run_type, run_id="one")
    monkeypatch.setattr(upkeep, "get_current_context", lambda: {"dag_run": run, "params": {"dry_run": dry_run}})
    done = upkeep.clean("lincoln")
    assert (done["dry_run"], done["old"]["workspaces"], done["district"]) == (looks, 1, "lincoln")
    assert kept(old_runs) == (ALL if looks else ALL - {"lincoln/old"})


@pytest.mark.slow
@pytest.mark.usefixtures("airflow_database")
@pytest.mark.parametrize("conf, left", [({}, ALL), ({"dry_run": False}, ALL - {"lincoln/old"})])
def test_dag_does_each_district_apart(old_runs: Path, conf: dict[str, Any], left: set[str]) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(PROJECT / "dags" / "enrollment_maintenance.py").dags["enrollment_maintenance"]
    run = dag.test(run_conf=conf)
    assert {(ti.task_id, ti.state) for ti in run.get_task_instances()} == {
        ("list_districts", "success"), ("clean", "success"),
    }  # fmt: skip
    assert kept(old_runs) == left
