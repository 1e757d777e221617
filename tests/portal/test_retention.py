"""Every page goes on where people's values have left the audit, and says what cannot be had any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from enrollsync import steps
from nightly import other
from portal.conftest import FakeHost, browsing, deliver, run, write_district
from portal.forms import JSON

HOME = "/roster/districts/merced"
LATER = datetime(2031, 1, 1, tzinfo=UTC)


@pytest.fixture
def visitor(copied: Path) -> Iterator[TestClient]:
    with browsing(FakeHost()) as client:
        yield client


def test_pages_show_what_is_left_and_offer_no_undo(copied: Path, visitor: TestClient) -> None:
    (person,) = visitor.get(f"{HOME}/users?q=u1", headers=JSON).json()["found"]
    (first,) = [one for one in steps.runs("merced") if one["outcome"] == "applied"]
    write_district(
        copied, "merced", retention={"workspaces": 30, "audit": 30},
        source={"path": "data/landing/merced", "mode": "delta"},
    )  # fmt: skip
    deliver(copied, "merced", [other(9)])
    run("merced", "latest", datetime(2026, 12, 1, tzinfo=UTC))
    with closing(sqlite3.connect(copied / "data" / "merced.db")) as database:
        database.execute("UPDATE runs SET ended_at = '2026-11-20T12:00:00.000000+00:00' WHERE run_id <> 'latest'")
        database.commit()
    done = steps.retain("merced", run_id="cleaned", now=LATER, dry_run=False)
    assert done["old"]["runs_no_longer_undone"] == 1
    for page in ("/roster/", HOME, *(f"{HOME}/{page}" for page in (
        "users", f"users/{person['key']}", "classes", "runs", "runs/cleaned", f"runs/{first['run_id']}", "quality",
        "waiting", "doctor",
    ))):  # fmt: skip
        assert visitor.get(page).status_code == 200, page
    assert visitor.get(f"{HOME}/runs/{first['run_id']}", headers=JSON).json()["may_undo"] is False
    assert "values were removed since" in visitor.get(f"{HOME}/users/{person['key']}").text
    for day, status in (("2026-11-21", 200), ("2026-12-31", 200), ("2026-11-19", 404)):
        then = visitor.get(f"{HOME}/users/{person['key']}?as_of={day}")
        assert then.status_code == status, (
            day,
            "the newest values are those of the first run, which nobody had before",
        )
