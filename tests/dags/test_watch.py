"""A delivery starts its district's DAG."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from enrollsync.airflow import watch
from enrollsync.airflow.watch import DeliveryTrigger
from enrollsync.words.errors import Unreachable
from sftp_server import serving

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def landing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def look(trigger: DeliveryTrigger) -> str | None:
    """What one look tells, and that it was told."""
    news = asyncio.run(trigger.look())
    if news:
        watch._note(*news)
    return news and news[1]


def test_each_complete_delivery_is_told_once_and_not_again_by_a_triggerer_that_starts_anew(
    landing: Path, districts: Callable[..., Path]
) -> None:
    districts("lincoln", path=f"path: {landing}\n  watch: true\n  ready: .done")
    trigger = DeliveryTrigger("lincoln")
    (landing / "users.csv").write_text("monday")
    assert look(trigger) is None
    (landing / ".done").touch()
    monday = look(trigger)
    assert monday is not None
    assert (look(trigger), look(DeliveryTrigger("lincoln"))) == (None, None)
    (landing / "users.csv").write_text("tuesday, half of which")
    (landing / "users.csv").write_text("tuesday, all of it")
    assert look(trigger) not in (None, monday)
    assert look(trigger) is None


def test_without_a_sign_of_completeness_a_delivery_is_told_once_it_is_still(
    landing: Path, districts: Callable[..., Path]
) -> None:
    districts("lincoln", path=f"path: {landing}\n  watch: true")
    trigger = DeliveryTrigger("lincoln")
    told = []
    for part in ("a", "ab", "abc", "abc", "abc"):
        (landing / "users.csv").write_text(part)
        os.utime(landing / "users.csv", (len(part), len(part)))
        told.append(look(trigger) is not None)
    assert told == [False, False, False, True, False]


def test_a_place_that_cannot_be_looked_at_is_logged_once_and_looked_at_again(
    landing: Path, districts: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    districts("lincoln", path=f"path: {landing}\n  watch: true\n  ready: .done")
    trigger = DeliveryTrigger("lincoln")
    monkeypatch.setattr(trigger.log, "warning", lambda text, *values: said.append(text % values))
    (landing / ".done").touch()
    (landing / "users.csv").touch()
    with monkeypatch.context() as patch:

        def unreachable(*_: object) -> None:
            raise Unreachable("no answer")

        patch.setattr(watch, "spotted", unreachable)
        assert (look(trigger), look(trigger)) == (None, None)
    assert said == ["lincoln: nobody can tell whether there is a delivery: FILE-UNREACHABLE: no answer"]
    assert look(trigger) is not None


def test_a_delivery_on_a_server_is_told_by_the_connection_and_without_it_that_is_logged(
    landing: Path, districts: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    districts("lincoln", path="path: landing\n  connection: district_sftp\n  watch: true\n  ready: .done")
    trigger = DeliveryTrigger("lincoln")
    monkeypatch.setattr(trigger.log, "warning", lambda text, *values: said.append(text % values))
    (landing / "users.csv").write_text("monday")
    (landing / ".done").touch()
    assert look(trigger) is None
    assert "district_sftp" in said[0]
    with serving(landing.parent) as server:
        monkeypatch.setenv("AIRFLOW_CONN_DISTRICT_SFTP", json.dumps(server.connection()))
        assert look(trigger) is not None
    assert len(said) == 1


def test_dag_of_a_district_that_watches_runs_by_its_schedule_and_by_deliveries(
    districts: Callable[..., Path], landing: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    districts("lincoln", path=f"path: {landing}\n  watch: true")
    districts("grant", path=f"path: {landing}\n  watch: true", schedule="schedule: null")
    bag = DagBag(PROJECT / "dags")
    assert bag.import_errors == {}
    for district in ("lincoln", "grant"):
        dag = bag.dags[f"enrollment_sync__{district}"]
        (asset,) = dag.timetable.asset_condition.objects
        (watcher,) = asset.watchers
        assert (asset.name, watcher.trigger.serialize()[1]["district"]) == (f"landing://{district}", district)
        assert bag.dags[f"enrollment_undo__{district}"].schedule is None
    assert bag.dags["enrollment_sync__lincoln"].timetable.timetable.expression == "0 2 * * *"
