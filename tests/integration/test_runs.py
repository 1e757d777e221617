"""`enrollsync runs`: what a person and a program read, and that reading writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from enrollsync import steps
from enrollsync.cli import app
from enrollsync.database import migrations, open_store
from nightly import Nightly, student


def runs(nightly: Nightly, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["runs", "--district", nightly.district, *arguments], catch_exceptions=False)


def test_runs_are_one_json_object_newest_first(nightly_everywhere: Nightly) -> None:
    nightly = nightly_everywhere
    nightly.run([student()])
    nightly.run()
    listed = json.loads(runs(nightly, "--json").stdout)
    assert list(listed) == ["runs"]
    assert {(run["run_id"], run["outcome"]) for run in listed["runs"]} == {
        ("run-001", "applied"), ("run-002", "in_sync"),
    }  # fmt: skip
    assert listed["runs"][0]["run_id"] == "run-002"
    assert listed["runs"][1]["counts"]["users"]["create"] == 1


def test_a_person_reads_one_line_a_run(nightly: Nightly) -> None:
    nightly.settings["timezone"] = "America/New_York"
    first = nightly.run([student()])
    nightly.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    nightly.run([student(userGrade="6")], approve=True)
    header, newest, oldest = runs(nightly).stdout.splitlines()
    assert header.split() == ["started", "(America/New_York)", "run", "outcome", "decided", "changes", "plan"]
    assert "approved by a person" in newest and "  1 update" in newest
    assert oldest.split()[:4] == ["2026-11-23", "02:00", "run-001", "applied"]
    assert "5 create" in oldest and oldest.endswith(first["plan_id"])


def test_runs_that_wrote_nothing_do_not_look_as_if_they_had(nightly: Nightly) -> None:
    nightly.begin([student()])
    nightly.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    assert nightly.run([student(userGrade="6")])["outcome"] == "held"
    assert nightly.run()["outcome"] == "held"
    steps.reject(nightly.workspace, rejected_by="pat", reason="rejected by pat")
    steps.report(nightly.workspace)
    nightly.run({"users.csv": "nothing\n"})
    refused, rejected, held, applied = runs(nightly).stdout.splitlines()[1:]
    assert "  rejected by pat  would: 1 update" in rejected
    assert "  -                would: 1 update" in held
    assert refused.split()[3:] == ["refused", "-", "-", "-"]
    assert "would" not in applied and "approved" not in rejected


def test_a_missing_database_has_no_runs_and_stays_missing(nightly_from_nothing: Nightly) -> None:
    assert (runs(nightly_from_nothing).exit_code, runs(nightly_from_nothing).stdout) == (0, "no runs yet\n")
    assert json.loads(runs(nightly_from_nothing, "--json").stdout) == {"runs": []}
    assert not Path(nightly_from_nothing.database_url.removeprefix("sqlite:///")).parent.exists()


def test_an_old_schema_is_not_migrated_and_ends_with_5(nightly_from_nothing: Nightly) -> None:
    store = open_store(nightly_from_nothing.database_url)
    store.backend.prepare()
    with store.backend.connect(create=True).begin() as connection:
        migrations.upgrade(connection, "0001")
    result = runs(nightly_from_nothing)
    assert result.exit_code == 5 and "enrollsync sync" in result.stderr
    assert nightly_from_nothing.query(
        nightly_from_nothing.database_url, f"SELECT version_num FROM {migrations.VERSION_TABLE}"
    ) == [{"version_num": "0001"}]


def test_another_districts_runs_are_not_shown(nightly: Nightly) -> None:
    nightly.begin([student()])
    nightly.settings["district_id"] = "other"
    assert json.loads(runs(nightly, "--json").stdout) == {"runs": []}


@pytest.mark.parametrize("command", ["runs", "undo run-001", "explain user 300"])
def test_a_database_known_to_airflow_alone_ends_with_2(nightly: Nightly, command: str) -> None:
    nightly.settings["database"] = {"connection": "roster"}
    result = CliRunner().invoke(app, [*command.split(), "--district", nightly.district])
    assert result.exit_code == 2 and "--database" in result.stderr
