"""The real DAG with the real steps on a small district: what `make demo` does."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clever_server import TOKEN, from_csv
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.sample import write_sample

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("airflow_database")]


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, districts: Callable[..., Path]) -> Callable[..., Any]:
    """Run the DAG of a district with a generated delivery; each task's state and the run's manifest."""
    from enrollsync import steps

    write_sample(tmp_path / "landing", "batch_upload", 60, 3, 0.0)
    districts("lincoln", path=f"path: {tmp_path / 'landing'}", url=f"url: sqlite:///{tmp_path / 'roster.db'}")
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))

    def go(when: datetime | None = None, **conf: Any) -> tuple[dict[str, str], RunManifest]:
        from airflow.dag_processing.dagbag import DagBag

        dag = DagBag(PROJECT / "dags").dags["enrollment_sync__lincoln"]
        run = dag.test(run_after=when, logical_date=when, run_conf=conf)
        workspace = Workspace(Path(steps.workspace_for("lincoln", run.run_id)))
        return {ti.task_id: ti.state for ti in run.get_task_instances()}, workspace.read()

    return go


def users(tmp_path: Path) -> int:
    with sqlite3.connect(tmp_path / "roster.db") as database:
        return database.execute("SELECT count(*) FROM roster_users WHERE status = 'active'").fetchone()[0]


def test_a_dry_run_writes_nothing_the_first_run_applies_and_that_run_again_and_the_next_are_in_sync(
    sync: Callable[..., Any], tmp_path: Path
) -> None:
    tasks, manifest = sync(dry_run=True)
    assert (tasks["load"], tasks["report"], manifest.outcome) == ("skipped", "success", "planned")
    assert not (tmp_path / "roster.db").exists()

    when = datetime(2026, 11, 2, 7, tzinfo=UTC)
    tasks, first = sync(when)
    assert (set(tasks.values()), first.outcome) == ({"success"}, "applied")
    loaded = users(tmp_path)
    assert loaded >= 60

    tasks, again = sync(when)
    assert (again.run_id, again.outcome) == (first.run_id, "in_sync")
    assert "failed" not in tasks.values()
    assert users(tmp_path) == loaded
    with sqlite3.connect(tmp_path / "roster.db") as database:
        runs = database.execute("SELECT run_id, outcome FROM roster_runs").fetchall()
    assert runs == [(first.run_id, "applied")], "the run did write; that it was repeated must not hide it"

    tasks, manifest = sync()
    assert (tasks["load"], tasks["report"], manifest.outcome) == ("skipped", "success", "in_sync")
    assert users(tmp_path) == loaded


def test_refused_delivery_fails_the_run_and_leaves_a_report(sync: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "landing" / "users.csv").write_text("nothing,of,a,roster\n")
    tasks, manifest = sync()
    assert (tasks["ingest"], tasks["load"], tasks["report"]) == ("failed", "upstream_failed", "failed")
    assert manifest.outcome == "refused"
    assert list((tmp_path / "data" / "runs").rglob("report.html"))


def test_with_an_object_store_no_task_leaves_a_run_on_its_machine_and_each_is_found_again(
    sync: Callable[..., Any], bucket: Any, tmp_path: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from enrollsync import steps
    from enrollsync.run.object_store import brought

    dags = DagBag(PROJECT / "dags").dags
    runs = tmp_path / "data" / "runs" / "lincoln"
    for outcome in ("applied", "in_sync"):
        run = dags["enrollment_sync__lincoln"].test()
        assert not list(runs.iterdir())
        told = next(ti.xcom_pull("report") for ti in run.get_task_instances() if ti.task_id == "report")
        assert told["outcome"] == outcome
        place = Workspace(brought(Path(steps.workspace_for("lincoln", run.run_id))))
        assert (place.read().outcome, (place.root / "report.html").is_file()) == (outcome, True)
    assert users(tmp_path) >= 60
    (tmp_path / "landing" / "users.csv").write_text("nothing,of,a,roster\n")
    run = dags["enrollment_sync__lincoln"].test()
    assert {ti.task_id: ti.state for ti in run.get_task_instances()}["report"] == "failed"
    assert Workspace(brought(Path(steps.workspace_for("lincoln", run.run_id)))).read().outcome == "refused"


def test_an_api_is_read_with_the_token_of_an_airflow_connection_which_is_kept_nowhere(
    sync: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, districts: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_sample(tmp_path / "clever", "clever", 40, 3, 0.0)
    districts(
        "lincoln", primary_source="primary_source: clever", path="api: clever\n  connection: clever_lincoln",
        url=f"url: sqlite:///{tmp_path / 'roster.db'}",
    )  # fmt: skip
    with from_csv(tmp_path / "clever").running() as server:
        connection = {"conn_type": "http", "host": server.url, "password": TOKEN}
        monkeypatch.setenv("AIRFLOW_CONN_CLEVER_LINCOLN", json.dumps(connection))
        tasks, manifest = sync()
        assert (set(tasks.values()), manifest.outcome, manifest.format) == ({"success"}, "applied", "clever_api")
        assert users(tmp_path) >= 40
        server.token = "another"
        tasks, manifest = sync()
        assert (tasks["ingest"], tasks["report"], manifest.outcome) == ("failed", "failed", "refused")
    kept = [path for folder in (tmp_path, Path(os.environ["AIRFLOW_HOME"])) for path in folder.rglob("*")]
    assert not [path for path in kept if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in "".join(capfd.readouterr())
