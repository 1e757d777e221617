"""Days on which a district rests: its scheduled runs end at once, those by hand do not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from enrollsync import steps
from enrollsync.airflow import runs, signals
from enrollsync.database import open_store
from enrollsync.run.workspace import Workspace

IN_WINTER = datetime(2026, 12, 24, 7, tzinfo=UTC)


@pytest.fixture
def begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, districts: Callable[..., Path]
) -> Callable[[str, datetime], str]:
    """`begin(run_type, at)`: the first task of a run of a district that rests in winter."""
    path = districts("lincoln")
    with path.open("a") as file:
        file.write("pauses:\n- {from: 2026-12-21, to: 2027-01-03, name: winter break}\n")
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    params = dict.fromkeys(("source", "deactivate_percent", "update_percent", "reason"))
    params |= dict.fromkeys(("dry_run", "adds_only", "release", "lets_go"), False)

    def go(run_type: str, at: datetime) -> str:
        run = SimpleNamespace(run_id="r1", run_type=run_type, start_date=at, run_after=at, conf=None)
        monkeypatch.setattr(runs, "get_current_context", lambda: {"params": params, "dag_run": run})
        return runs.start("lincoln")

    return go


def test_scheduled_run_in_a_pause_ends_at_once_and_is_remembered_as_paused(
    begin: Callable[..., str], tmp_path: Path
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match=r"paused: winter break \(2026-12-21 to 2027-01-03\)"):
        begin("scheduled", IN_WINTER)
    workspace = tmp_path / "data" / "runs" / "lincoln" / "r1"
    result = steps.report(str(workspace), database_url=f"sqlite:///{tmp_path / 'lincoln.db'}")
    assert result["outcome"] == "paused"
    assert "winter break" in result["message"]
    assert "winter break" in (workspace / "report.html").read_text()
    (run,) = open_store(f"sqlite:///{tmp_path / 'lincoln.db'}").runs("lincoln")
    assert (run["outcome"], run["message"]) == ("paused", result["message"])


@pytest.mark.parametrize(
    ("run_type", "at"), [("manual", IN_WINTER), ("scheduled", datetime(2027, 1, 4, 12, tzinfo=UTC))]
)
def test_run_by_hand_and_the_first_scheduled_one_after_the_pause_go_on(
    begin: Callable[..., str], run_type: str, at: datetime
) -> None:
    assert Workspace(Path(begin(run_type, at))).read().outcome is None


@pytest.mark.parametrize(("at", "told"), [(IN_WINTER, []), (datetime(2027, 2, 1, tzinfo=UTC), ["missing"])])
def test_nobody_is_told_in_a_pause_that_no_delivery_has_come(
    begin: Callable[..., str], monkeypatch: pytest.MonkeyPatch, at: datetime, told: list[str]
) -> None:
    sent: list[str] = []

    def notifier(event: str, workspace: str) -> Callable[[Any], None]:
        return lambda context: sent.append(event)

    monkeypatch.setattr(signals, "RosterNotifier", notifier)
    monkeypatch.setattr(signals, "get_current_context", dict)
    monkeypatch.setattr(signals, "measure", lambda manifest, district_id, ended: None)
    workspace = begin("manual", at)
    Workspace(Path(workspace)).update(outcome="refused", findings={"FILE-MISSING": 1})
    signals.run_ended(workspace, failed=True)
    assert sent == told
