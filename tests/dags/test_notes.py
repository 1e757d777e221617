"""The notes on runs and tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from enrollsync.airflow import runs
from enrollsync.airflow.notes import MOST_CHARACTERS, text_of

HOLD = {"code": "GUARD-UPDATE", "message": "14 of 18 active users of 0002 would be changed (77.8 %; the limit is 50 %)"}
RESULT = {"outcome": "held", "counts": {"users": {"update": 60, "unchanged": 13}}, "findings": {"ID-CASE": 1_200}}


def test_note_begins_with_the_verdict_and_its_reason() -> None:
    hold = f"{HOLD['code']}: {HOLD['message']}"
    amounts = "would: 60 update · ID-CASE 1,200"
    assert text_of({**RESULT, "holds": [HOLD]}).split("\n\n") == [f"**held**: {hold}", amounts]
    given_up = text_of({**RESULT, "holds": [HOLD], "message": "nobody answered"})
    assert given_up.split("\n\n") == ["**held**: nobody answered", amounts, hold]


def test_note_of_a_run_without_a_reason_says_the_changes_on_its_first_line() -> None:
    assert text_of({**RESULT, "outcome": "applied"}) == "**applied** · 60 update · ID-CASE 1,200"
    assert text_of({"outcome": None, "counts": {}}) == "**not finished** · -"


def test_note_with_many_reasons_is_no_longer_than_airflows_column() -> None:
    text = text_of({**RESULT, "holds": [HOLD] * 60})
    assert len(text) <= MOST_CHARACTERS
    assert text.startswith("**held**")
    assert text.endswith("(see the report)")


def test_note_of_a_run_without_a_workspace_is_one_line() -> None:
    message = "the run ended before it had a folder; the log of its first task says why"
    assert text_of({"outcome": "failed", "counts": {}, "message": message}) == f"**failed**: {message}"


def report_result(monkeypatch: pytest.MonkeyPatch, district: str) -> dict[str, Any]:
    """What the task `report` of a run leaves for its note when it fails."""
    kept: dict[str, Any] = {}
    context = {"dag_run": SimpleNamespace(run_id="r1"), "ti": SimpleNamespace(xcom_push=kept.__setitem__)}
    monkeypatch.setattr(runs, "get_current_context", lambda: context)
    with pytest.raises(AirflowFailException) as failed:
        runs.report(district)
    assert str(failed.value) == kept["return_value"]["message"]
    return kept["return_value"]


def test_run_whose_settings_broke_says_so_in_its_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, districts: Callable[..., Path]
) -> None:
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    districts("lincoln", timezone="timezone: America/Nowhere")
    text = text_of(report_result(monkeypatch, "lincoln"))
    assert text.startswith("**failed**: ") and "`timezone`" in text and "\n" not in text


def test_run_whose_folder_could_not_be_made_says_so_in_its_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, districts: Callable[..., Path]
) -> None:
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    districts("lincoln")
    result = report_result(monkeypatch, "lincoln")
    assert text_of(result) == ("**failed**: the run ended before it had a folder; the log of its first task says why")
