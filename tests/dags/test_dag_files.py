"""The DAG files as Airflow parses them: one DAG per usable district file, cheaply, and a clear word on the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enrollsync.words.errors import ConfigurationError, EnrollSyncError, UndoConflict
from secret_urls import MALFORMED, SECRET, WITH_A_PASSWORD

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

PROJECT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((PROJECT / "dags").glob("*.py"))
HEAVY = ("adbc_driver_manager", "alembic", "duckdb", "great_expectations", "numpy", "pandas", "pyarrow")


def parsed() -> DagBag:
    """What the DAG files give, less the one DAG that is no district's: `test_maintenance.py` has it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(PROJECT / "dags")
    del bag.dags["enrollment_maintenance"]
    return bag


def test_shipped_district_files_parse_without_import_errors() -> None:
    bag = parsed()
    assert bag.import_errors == {}
    assert "enrollment_sync__demo" in bag.dags


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.name)
def test_dag_file_stays_under_80_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 80


def test_every_district_file_gives_a_dag_to_sync_and_one_to_undo(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    districts("oak-park_2")
    assert set(parsed().dags) == {
        f"enrollment_{kind}__{district}" for kind in ("sync", "undo") for district in ("lincoln", "oak-park_2")
    }


def test_tasks_run_one_after_another(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    tasks = parsed().dags["enrollment_sync__lincoln"].task_dict
    order = ["ingest", "validate", "plan", "approve", "load", "report"]
    assert list(tasks) == order
    assert {name: task.downstream_task_ids for name, task in tasks.items()} == {
        "ingest": {"validate"},
        "validate": {"plan"},
        "plan": {"approve"},
        "approve": {"load"},
        "load": {"report"},
        "report": set(),
    }


def test_undo_is_planned_and_always_asks(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    dag = parsed().dags["enrollment_undo__lincoln"]
    assert [task.task_id for task in dag.topological_sort()] == ["plan", "approve", "undo", "report"]
    assert dag.schedule is None


def test_report_runs_whatever_happened_before(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    assert parsed().dags["enrollment_sync__lincoln"].get_task("report").trigger_rule == "all_done"


@pytest.mark.parametrize("dag_id", ["enrollment_sync__lincoln", "enrollment_undo__lincoln"])
def test_every_task_retries_with_reason_and_waits_for_the_districts_only_slot(
    districts: Callable[..., Path], dag_id: str
) -> None:
    districts("lincoln")
    dag = parsed().dags[dag_id]
    for task in dag.tasks:
        assert task.retries >= 3
        assert task.retry_exponential_backoff
        assert task.retry_policy is not None
        assert task.pool == "roster_lincoln"
    assert dag.max_active_runs == 1
    assert dag.doc_md
    assert "enrollsync" in dag.tags


def test_only_the_writing_task_says_that_the_roster_has_changed(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    dags = parsed().dags
    for dag_id, writer in (("enrollment_sync__lincoln", "load"), ("enrollment_undo__lincoln", "undo")):
        outlets = {task.task_id: [asset.name for asset in task.outlets] for task in dags[dag_id].tasks if task.outlets}
        assert outlets == {writer: ["roster://lincoln"]}


def test_owner_of_a_district_stands_on_its_dags_with_a_link(districts: Callable[..., Path]) -> None:
    path = districts("lincoln")
    path.write_text(path.read_text() + "owner: {name: Data office, link: 'mailto:data@example.org'}\n")
    dag = parsed().dags["enrollment_sync__lincoln"]
    assert dag.owner == "Data office"
    assert dag.owner_links == {"Data office": "mailto:data@example.org"}


def test_every_task_of_a_district_waits_in_the_queue_of_its_size(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    state = districts("state")
    state.write_text(state.read_text() + "size: large\n")
    queues = {(name.split("__")[1], task.queue) for name, dag in parsed().dags.items() for task in dag.tasks}
    assert queues == {("lincoln", "small"), ("state", "large")}


def test_dag_runs_in_the_districts_own_night_one_at_a_time(districts: Callable[..., Path]) -> None:
    districts("lincoln", schedule='schedule: "30 3 * * 1-5"', timezone="timezone: America/Anchorage")
    dag = parsed().dags["enrollment_sync__lincoln"]
    assert dag.timetable.expression == "30 3 * * 1-5"
    assert str(dag.timetable.timezone) == "America/Anchorage"
    assert dag.catchup is False
    assert dag.max_active_runs == 1


def test_schedule_null_runs_only_by_hand(districts: Callable[..., Path]) -> None:
    districts("lincoln", schedule="schedule: null")
    assert parsed().dags["enrollment_sync__lincoln"].schedule is None


def test_form_asks_for_an_ordinary_night_unless_somebody_fills_it_in(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    params = parsed().dags["enrollment_sync__lincoln"].params
    assert params.dump() == {
        "source": None, "force": False, "dry_run": False, "adds_only": False, "release": False, "lets_go": False,
        "deactivate_percent": None, "update_percent": None, "reason": None,
    }  # fmt: skip
    for name in params:
        assert params.get_param(name).schema["title"]
        assert params.get_param(name).schema["section"]
        assert params.get_param(name).description or params.get_param(name).schema["description_md"]
        # Airflow marks what may not be empty as a field that has to be filled in.
        assert "null" in params.get_param(name).schema["type"]


def test_form_leads_to_the_list_of_deliveries(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    schema = parsed().dags["enrollment_sync__lincoln"].params.get_param("source").schema
    assert "](/roster/districts/lincoln/runs#deliveries)" in schema["description_md"]


def test_undo_form_demands_a_run_and_leads_to_the_list_of_them(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    asked = parsed().dags["enrollment_undo__lincoln"].params.get_param("run")
    assert not asked.has_value
    assert "](/roster/districts/lincoln/runs)" in asked.schema["description_md"]


def test_undo_that_conflicts_names_the_switch_of_the_form_and_no_option_of_the_command(
    districts: Callable[..., Path],
) -> None:
    districts("lincoln")
    switch = parsed().dags["enrollment_undo__lincoln"].params.get_param("keep_later").schema["title"]
    said = str(UndoConflict("night", 2, [], ["later"]))
    assert f"`{switch}`" in said
    assert "--" not in said


def test_dags_of_a_district_stay_the_same_version_after_a_delivery_and_a_run(
    districts: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import DagSerialization

    def versions() -> dict[str, str]:
        return {name: SerializedDagModel.hash(DagSerialization.to_dict(dag)) for name, dag in parsed().dags.items()}

    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    districts("lincoln", path=f"path: {tmp_path / 'landing'}")
    before = versions()
    (tmp_path / "landing" / "tonight").mkdir(parents=True)
    folder = tmp_path / "data" / "runs" / "lincoln" / "night"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    assert versions() == before


def test_dags_carry_the_districts_name_and_offer_no_backfill(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    dags = parsed().dags
    assert {name: dag.dag_display_name for name, dag in dags.items()} == {
        "enrollment_sync__lincoln": "Demo Unified",
        "enrollment_undo__lincoln": "Demo Unified: take a run back",
    }
    for dag in dags.values():
        assert {"scheduled", "manual", "operator_triggered"} <= set(dag.allowed_run_types)
        assert "backfill" not in dag.allowed_run_types


def test_settings_stand_on_the_dags_page_with_no_more_of_the_database_than_its_place(
    districts: Callable[..., Path],
) -> None:
    districts("lincoln", url="url: postgresql://roster@db/roster?sslmode=require")
    dag = parsed().dags["enrollment_sync__lincoln"]
    assert dag.tags == {"enrollsync", "batch_upload"}
    assert "America/New_York" in dag.doc_md
    assert "url: postgresql://db/roster\n" in dag.doc_md


def test_no_password_in_a_district_file_reaches_an_import_error(districts: Callable[..., Path]) -> None:
    districts("lincoln")
    for number, url in enumerate((*MALFORMED, *WITH_A_PASSWORD)):
        districts(f"nested{number}", url=f"url: {json.dumps(url)}")
        path = districts(f"flat{number}", url="x: 1")
        path.write_text(path.read_text().replace("database:\n  x: 1", f"database: {json.dumps(url)}"))
    bag = parsed()
    assert set(bag.dags) == {"enrollment_sync__lincoln", "enrollment_undo__lincoln"}
    (error,) = bag.import_errors.values()
    assert error.count("`database") == 2 * len(MALFORMED + WITH_A_PASSWORD)
    assert SECRET not in error


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"schedule": 'schedul: "0 2 * * *"'}, "`schedul` is no known key"),
        ({"schedule": 'schedule: "0 99 * * *"'}, "`schedule`"),
        ({"timezone": "timezone: America/Nowhere"}, "`timezone`"),
        ({"name": "name: [unclosed"}, "not readable as YAML"),
    ],
)
def test_broken_district_file_is_an_import_error_and_the_others_load(
    districts: Callable[..., Path], replaced: dict[str, str], said: str
) -> None:
    districts("lincoln")
    broken = districts("oakland", **replaced)
    bag = parsed()
    assert set(bag.dags) == {"enrollment_sync__lincoln", "enrollment_undo__lincoln"}
    (path, error), *others = bag.import_errors.items()
    assert others == []
    assert Path(path).name == "district_files.py", "an error of enrollment_sync.py itself would retire every DAG"
    assert f"{broken}: " in error
    assert said in error
    assert "lincoln" not in error


def test_each_broken_district_file_has_a_line_of_its_own(districts: Callable[..., Path]) -> None:
    broken = [districts("oakland", name="name: [unclosed"), districts("salem", timezone="timezone: America/Nowhere")]
    (error,) = parsed().import_errors.values()
    first, second = error.splitlines()[-2:]
    assert f"{broken[0]}: " in first
    assert second.startswith(f"{broken[1]}: ")


def test_district_id_used_twice_belongs_to_the_file_of_that_name(districts: Callable[..., Path]) -> None:
    original = districts("lincoln")
    (original.parent / "a_copy.yaml").write_text(original.read_text().replace("Demo Unified", "Copy"))
    bag = parsed()
    assert bag.dags["enrollment_sync__lincoln"].dag_display_name == "Demo Unified"
    (error,) = bag.import_errors.values()
    assert "a_copy.yaml: `district_id`: 'lincoln' is already used by lincoln.yaml" in error


def test_task_run_builds_its_own_dag_only(districts: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    districts("lincoln")
    districts("oakland")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "enrollment_sync__oakland")
    assert list(parsed().dags) == ["enrollment_sync__oakland"]


def test_parsing_imports_nothing_heavy_beyond_airflow() -> None:
    script = (
        "import json, runpy, sys\nimport airflow.sdk\nbefore = set(sys.modules)\n"
        f"for path in {[str(path) for path in DAG_FILES]!r}:\n    runpy.run_path(path)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    imported = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert imported.isdisjoint(HEAVY)


@pytest.mark.slow
def test_hundreds_of_district_files_are_twice_as_many_dags(districts: Callable[..., Path]) -> None:
    for number in range(300):
        districts(f"d{number:04}")
    assert len(parsed().dags) == 600


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ("postgresql://roster:p%40ss@db.example:5432/roster", "postgresql://roster:p%40ss@db.example:5432/roster"),
        (
            '{"conn_type": "postgres", "host": "db", "login": "me", "password": "p@/s", "schema": "roster", '
            '"extra": {"sslmode": "require"}}',
            "postgresql://me:p%40%2Fs@db/roster?sslmode=require",
        ),
        ("sqlite:////srv/roster.db", "sqlite:////srv/roster.db"),
        ('{"conn_type": "sqlite", "host": "data/roster.db"}', "sqlite:///data/roster.db"),
    ],
)
def test_connection_of_the_database_becomes_a_url(
    districts: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, connection: str, url: str
) -> None:
    from enrollsync.airflow import runs
    from enrollsync.settings import load_district

    districts("lincoln", url="connection: district_db")
    monkeypatch.setenv("AIRFLOW_CONN_DISTRICT_DB", connection)
    assert runs.database_url(load_district("lincoln")) == url


def test_unknown_connection_is_a_configuration_error(districts: Callable[..., Path]) -> None:
    from enrollsync.airflow import runs
    from enrollsync.settings import load_district

    districts("lincoln", url="connection: nowhere")
    with pytest.raises(ConfigurationError, match="nowhere"):
        runs.database_url(load_district("lincoln"))


def test_a_connection_that_airflow_cannot_read_is_not_quoted(
    districts: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from enrollsync.airflow import runs
    from enrollsync.database import open_store
    from enrollsync.settings import load_district

    districts("lincoln", url="connection: district_db")
    unreadable = [f"{{{SECRET}", f'{{"conn_type": "postgres", "port": "{SECRET}"}}', f'["{SECRET}"]', *MALFORMED]
    for value in unreadable:
        monkeypatch.setenv("AIRFLOW_CONN_DISTRICT_DB", value)
        try:
            shown = open_store(runs.database_url(load_district("lincoln")) or "").backend.place
        except EnrollSyncError as error:
            shown = str(error)
        assert SECRET not in shown
    assert SECRET not in "".join(capfd.readouterr())
