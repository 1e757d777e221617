"""*This morning*: the verdict in a word, the worst first, and nothing of a district that one may not read."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from enrollsync.database import open_store
from enrollsync.portal import reader
from enrollsync.portal.host import Schedule, Waiting
from enrollsync.portal.morning import Verdict, judge
from enrollsync.settings import District
from portal.conftest import GONE, RENAMED, FakeHost

NOW = datetime(2026, 11, 24, 13, tzinfo=UTC)
JSON = {"Accept": "application/json"}


def lines(visitor: TestClient, query: str = "") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = visitor.get(f"/roster/{query}", headers=JSON).json()["districts"]
    return listed


def test_worst_district_stands_first_and_each_has_its_verdict(visitor: TestClient) -> None:
    assert [(line["district_id"], line["verdict"]["word"]) for line in lines(visitor)] == [
        ("springfield", "Settings broken"), ("lincoln", "Waits for you"), ("oakland", "Applied"),
    ]  # fmt: skip


def test_line_counts_what_the_waiting_plan_would_do(visitor: TestClient) -> None:
    (line,) = lines(visitor, "?q=linc")
    told = {name: line[name] for name in ("run_id", "changed", "deactivated", "written", "created")}
    assert told == {"run_id": "second", "changed": RENAMED, "deactivated": GONE, "written": False, "created": 0}
    assert [night["outcome"] for night in line["nights"] if night["outcome"]] == ["applied"]


def test_a_roster_in_a_file_is_asked_again_only_once_somebody_has_written_to_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "roster.db"
    store = open_store(f"sqlite:///{file}")
    store.migrate()
    asked: list[str] = []
    kept = reader.roster(f"sqlite:///{file}")

    def look(*, seconds_ago: int | None = None) -> int:
        for path in tmp_path.iterdir() if seconds_ago else ():
            os.utime(path, (NOW.timestamp() - seconds_ago,) * 2)
        kept.told("the runs", lambda: asked.append("once"))
        return len(asked)

    assert [look(seconds_ago=60), look(seconds_ago=60), look(seconds_ago=50)] == [1, 1, 2]
    file.write_bytes(file.read_bytes() + b" ")
    assert [look(), look()] == [3, 4], "a moment after a write nobody knows whether another one follows"


def test_rejected_lines_are_counted(visitor: TestClient) -> None:
    (line,) = lines(visitor, "?q=oakland")
    assert line["rejected"] > 0 and line["rejected_more"] is None


def test_broken_district_file_has_its_line_with_the_message(visitor: TestClient) -> None:
    page = visitor.get("/roster/").text
    assert "Settings broken" in page and "springfield.yaml" in page


def test_district_that_may_not_be_read_leaves_no_trace(visitor: TestClient, host: FakeHost) -> None:
    host.reads = {"oakland"}
    answer = visitor.get("/roster/")
    assert "Oakland Unified" in answer.text
    assert "incoln" not in answer.text and "springfield" not in answer.text


def test_list_is_narrowed_by_verdict_and_sorted(visitor: TestClient) -> None:
    assert [line["district_id"] for line in lines(visitor, "?verdict=Applied")] == ["oakland"]
    assert [line["district_id"] for line in lines(visitor, "?sort=name")] == ["lincoln", "oakland", "springfield"]
    assert [line["district_id"] for line in lines(visitor, "?sort=deactivated")][0] == "lincoln"


def test_who_may_only_look_gets_no_button_that_changes_something(visitor: TestClient, host: FakeHost) -> None:
    assert "Run now" in visitor.get("/roster/").text
    host.changes = set()
    assert "Run now" not in visitor.get("/roster/").text


# ---- the verdict -----------------------------------------------------------------------------------------------------


def settings() -> District:
    told = {
        "district_id": "demo", "name": "Demo", "primary_source": "clever", "timezone": "America/New_York",
        "source": {"path": "x"}, "database": {"url": "sqlite:///x.db"},
    }  # fmt: skip
    return District.model_validate(told)


def ended(outcome: str, *codes: str, message: str | None = None) -> dict[str, Any]:
    return {"outcome": outcome, "findings": dict.fromkeys(codes, 1), "message": message}


TOMORROW = Schedule(False, NOW + timedelta(hours=13))


@pytest.mark.parametrize(
    ("last", "schedule", "word"),
    [
        (ended("applied"), TOMORROW, "Applied"),
        (ended("in_sync"), TOMORROW, "In sync"),
        (ended("in_sync", "FILE-OVERDUE"), TOMORROW, "No delivery"),
        (ended("refused", "FILE-MISSING"), TOMORROW, "No delivery"),
        (ended("refused", "FILE-HEADER"), TOMORROW, "Refused"),
        (ended("failed"), TOMORROW, "Failed"),
        (ended("held"), TOMORROW, "Not answered"),
        (ended("rejected"), TOMORROW, "Rejected"),
        (ended("paused"), TOMORROW, "Paused"),
        (ended("applied"), Schedule(True, None), "Paused"),
        (ended("failed"), Schedule(True, None), "Failed"),
        (ended("applied"), Schedule(False, NOW - timedelta(hours=2)), "Did not run"),
        (ended("applied"), Schedule(False, NOW - timedelta(minutes=2)), "Applied"),
        (ended("applied"), Schedule(False, None), "Applied"),
        (ended("applied"), None, "Applied"),
        (None, TOMORROW, "No run yet"),
        (None, Schedule(True, None), "Paused"),
    ],
)
def test_verdict(last: dict[str, Any] | None, schedule: Schedule | None, word: str) -> None:
    assert judge(settings(), last, None, schedule, NOW).word == word


def waits_until(by: datetime | None) -> Verdict:
    return judge(settings(), ended("applied"), (Waiting("demo", "1", "sync"), {"answer_by": by}), TOMORROW, NOW)


def test_waiting_plan_names_until_when_in_the_districts_time() -> None:
    assert waits_until(NOW + timedelta(hours=1)).word == "Waits for you until 09:00"
    assert waits_until(NOW + timedelta(hours=20)).word == "Waits for you until Wed 04:00"
    assert waits_until(None).word == "Waits for you"
    assert {waits_until(NOW + timedelta(hours=hours)).kind for hours in (1, 20)} == {"Waits for you"}
