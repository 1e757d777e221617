"""Whole runs through Airflow (`dag.test()`), with steps that only say what they were asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import enrollsync
from enrollsync.airflow import districts
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import load_district
from enrollsync.words.errors import ConfigurationError, DatabaseError, Refused, StalePlan, Unreachable

PROJECT = Path(__file__).resolve().parents[2]


class FakeSteps(SimpleNamespace):
    """`enrollsync.steps` without the work: answers can be replaced by errors to raise, calls are kept."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = str(workspace)
        self.calls: list[str] = []
        self.started: dict[str, Any] = {}
        self.asked: dict[str, dict[str, Any]] = {}
        self.moved = False
        self.answers: dict[str, Any] = {
            "ingest": {"outcome": None},
            "validate": {},
            "plan": {"outcome": "planned", "plan_id": "p1", "holds": []},
            "load": {"outcome": "applied"},
            "report": {"outcome": "applied", "message": "all is well"},
        }

    def start(self, district: str, **given: Any) -> str:
        self.started = {"district": district, **given}
        place = Workspace(Path(self.workspace)).create()
        place.write_settings(load_district(district))
        place.write(RunManifest(run_id=given["run_id"], district=district, as_of=given["as_of"]))
        return self.workspace

    def workspace_for(self, district: str, run_id: str) -> str:
        return self.workspace

    def is_stale(self, workspace: str, database_url: str | None = None) -> bool:
        return self.moved

    def result(self, workspace: str) -> dict[str, Any]:
        return {"run_id": "r1", "artifacts": workspace, "counts": {}, **self.answers["plan"]}

    def fail(self, workspace: str, reason: str) -> None:
        place = Workspace(Path(workspace))
        if place.read().outcome != "failed":
            place.update(outcome="failed", error=reason)

    def reject(self, workspace: str, rejected_by: str | None, reason: str) -> None:
        Workspace(Path(workspace)).update(outcome="held", error=reason)

    def runs(self, district: str, database_url: str | None = None) -> list[dict[str, Any]]:
        return []

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        def step(workspace: str, database_url: str | None = None, **asked: Any) -> dict[str, Any]:
            assert workspace == self.workspace
            assert database_url is None
            self.calls.append(name)
            self.asked[name] = asked
            answer = self.answers[name]
            if isinstance(answer, BaseException):
                raise answer
            if name == "plan":
                Workspace(Path(workspace)).update(outcome=answer["outcome"], plan_id=answer.get("plan_id"))
            return {"workspace": workspace, "artifacts": workspace, "run_id": "r1", "counts": {}, **answer}

        return step


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, districts: Callable[..., Path]) -> FakeSteps:
    districts("lincoln")
    fake = FakeSteps(tmp_path / "workspace")
    monkeypatch.setattr(enrollsync, "steps", fake, raising=False)
    monkeypatch.setitem(sys.modules, "enrollsync.steps", fake)
    return fake


@pytest.fixture
def run(
    steps: FakeSteps, airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, dict[str, str], dict[str, int]]]:
    """Run the district's DAG; the run's state, each task's state and how often each was tried."""
    monkeypatch.setattr(districts, "_LONGEST_PAUSE", timedelta(0))

    def go(**conf: Any) -> tuple[str, dict[str, str], dict[str, int]]:
        from airflow.dag_processing.dagbag import DagBag

        dag = DagBag(PROJECT / "dags").dags["enrollment_sync__lincoln"]
        for task in dag.tasks:
            task.retry_delay = timedelta(0)
            task.retry_exponential_backoff = 0
        finished = dag.test(logical_date=None, run_conf=conf)
        tasks = finished.get_task_instances()
        return finished.state, {ti.task_id: ti.state for ti in tasks}, {ti.task_id: ti.try_number for ti in tasks}

    return go


def test_good_delivery_is_loaded_by_a_manual_run_without_logical_date(
    steps: FakeSteps, run: Callable[..., Any]
) -> None:
    state, tasks, _ = run()
    assert state == "success"
    assert set(tasks.values()) == {"success"}
    assert steps.calls == ["ingest", "validate", "plan", "load", "report"]
    assert steps.asked["load"] == {"approved_by": None, "answer": None, "only_plan": None}
    assert steps.asked["ingest"] == {"force": False, "connection": None}
    assert steps.started["district"] == "lincoln"
    assert steps.started["run_id"].startswith("manual__")
    assert isinstance(steps.started["as_of"], datetime)
    assert steps.started["as_of"].tzinfo is not None
    assert steps.started["source"] is None
    assert not any(
        steps.started[name] for name in ("dry_run", "adds_only", "release", "lets_go", "picked", "overrides")
    )


def test_what_the_form_asks_reaches_the_steps(steps: FakeSteps, run: Callable[..., Any]) -> None:
    run(source="data/other", adds_only=True, force=True, deactivate_percent=40, reason="roll-over")
    started = steps.started
    assert (started["source"], started["picked"]) == ("data/other", True)
    assert (started["adds_only"], started["release"]) == (True, False)
    assert (started["overrides"], started["override_reason"]) == ({"deactivate_percent": 40}, "roll-over")
    assert steps.asked["ingest"] == {"force": True, "connection": None}


@pytest.mark.parametrize(
    "conf",
    [{"update_percent": 90}, {"update_percent": 90, "reason": "  "}, {"adds_only": True, "release": True}],
    ids=["limit without a reason", "limit with an empty reason", "release that would only add"],
)
def test_form_that_contradicts_itself_fails_at_once_reads_nothing_and_is_reported_in_one_line(
    steps: FakeSteps, run: Callable[..., Any], conf: dict[str, Any]
) -> None:
    state, tasks, tries = run(**conf)
    assert (state, tasks["ingest"], tries["ingest"]) == ("failed", "failed", 1)
    assert steps.calls == ["report"]
    manifest = Workspace(Path(steps.workspace)).read()
    assert manifest.outcome == "failed"
    assert "trigger the run again" in (manifest.error or "")


def test_a_known_delivery_is_not_looked_at_and_is_reported(steps: FakeSteps, run: Callable[..., Any]) -> None:
    steps.answers["ingest"] = {"outcome": "in_sync"}
    steps.answers["report"] = {"outcome": "in_sync", "message": None}
    state, tasks, _ = run()
    assert state == "success"
    assert tasks == {name: "skipped" for name in ("ingest", "validate", "plan", "approve", "load")} | {
        "report": "success"
    }
    assert steps.calls == ["ingest", "report"]


@pytest.mark.parametrize(
    ("planned", "conf"),
    [
        ({"outcome": "in_sync"}, {}),
        ({"outcome": "planned"}, {"dry_run": True}),
        ({"outcome": "held"}, {"dry_run": True}),
    ],
    ids=["in sync", "dry run", "held dry run"],
)
def test_plan_that_is_not_to_be_applied_skips_the_load_and_is_reported(
    steps: FakeSteps, run: Callable[..., Any], planned: dict[str, Any], conf: dict[str, Any]
) -> None:
    steps.answers["plan"] = planned
    steps.answers["report"] = {"outcome": planned["outcome"], "message": None}
    state, tasks, _ = run(**conf)
    assert (state, tasks["approve"], tasks["load"], tasks["report"]) == ("success", "skipped", "skipped", "success")
    assert steps.calls == ["ingest", "validate", "plan", "report"]


@pytest.mark.parametrize("outcome", ["held", "in_sync"])
def test_load_that_finds_another_state_and_may_not_go_on_is_skipped(
    steps: FakeSteps, run: Callable[..., Any], outcome: str
) -> None:
    steps.answers["load"] = {"outcome": outcome}
    state, tasks, _ = run()
    assert (state, tasks["load"], tasks["report"]) == ("success", "skipped", "success")


def test_refused_delivery_fails_at_once_and_is_reported(steps: FakeSteps, run: Callable[..., Any]) -> None:
    steps.answers["ingest"] = Refused("FILE-HEADER", "`usrId` is unknown", file="users.csv", line=1)
    steps.answers["report"] = {"outcome": "refused", "message": "FILE-HEADER users.csv, line 1: `usrId` is unknown"}
    state, tasks, tries = run()
    assert state == "failed"
    assert tasks["ingest"] == "failed"
    assert tries["ingest"] == 1
    assert tasks["load"] == "upstream_failed"
    assert steps.calls == ["ingest", "report"]


@pytest.mark.parametrize(
    "error", [ConfigurationError("wrong"), StalePlan("moved")], ids=lambda error: type(error).__name__
)
def test_error_that_trying_again_cannot_mend_is_not_retried(
    steps: FakeSteps, run: Callable[..., Any], error: Exception
) -> None:
    steps.answers["load"] = error
    steps.answers["report"] = {"outcome": "failed", "message": str(error)}
    state, tasks, tries = run()
    assert (state, tasks["load"], tries["load"]) == ("failed", "failed", 1)


@pytest.mark.parametrize(
    ("task", "error"),
    [("load", DatabaseError("database is locked")), ("ingest", Unreachable("Clever does not answer"))],
)
def test_what_may_be_back_later_is_tried_again(
    steps: FakeSteps, run: Callable[..., Any], task: str, error: Exception
) -> None:
    steps.answers[task] = error
    steps.answers["report"] = {"outcome": "failed", "message": str(error)}
    state, tasks, tries = run()
    assert (state, tasks[task]) == ("failed", "failed")
    assert tries[task] == 4
    assert steps.calls.count(task) == 4


def test_run_fails_when_a_task_died_before_it_could_write_its_outcome(
    steps: FakeSteps, run: Callable[..., Any]
) -> None:
    steps.answers["load"] = RuntimeError("killed")
    steps.answers["report"] = {"outcome": "planned", "message": "nothing was written down"}
    state, tasks, _ = run()
    assert state == "failed"
    assert tasks["report"] == "failed"


def test_run_that_never_had_a_workspace_fails_and_its_report_is_not_tried_again(
    steps: FakeSteps, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(district: str, **given: Any) -> str:
        raise ConfigurationError("no such source")

    monkeypatch.setattr(steps, "start", refuse)
    state, tasks, tries = run()
    assert (state, tasks["report"], tries["report"]) == ("failed", "failed", 1)
    assert steps.calls == []
