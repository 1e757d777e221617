"""Every page goes on without whom the roster has forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from enrollsync.cli import app
from enrollsync.database import open_store
from enrollsync.settings import load_district
from portal.conftest import FakeHost, browsing

HOME = "/roster/districts/merced"


@pytest.fixture
def visitor(copied: Path, host: FakeHost) -> Iterator[TestClient]:
    """Somebody who may change Merced."""
    with browsing(host) as client:
        yield client


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def test_pages_show_the_run_and_nothing_of_the_person(copied: Path, visitor: TestClient, host: FakeHost) -> None:
    settings = load_district("merced")
    (person,) = visitor.get(f"{HOME}/users?q=u1", headers={"Accept": "application/json"}).json()["found"]
    result = CliRunner().invoke(app, ["forget", "u1", "--district", "merced", "--yes"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    (run,) = [one for one in open_store(host.database_url(settings)).runs("merced") if one["outcome"] == "forgotten"]
    pages = ("/roster/", HOME, *(f"{HOME}/{page}" for page in (
        "users?q=u1", "users", "classes", "organizations", "runs", f"runs/{run['run_id']}", "runs/first", "waiting",
        "doctor", "quality",
    )))  # fmt: skip
    for page in pages:
        shown = visitor.get(page)
        assert shown.status_code == 200, page
        assert "Family1" not in shown.text and "person1@" not in shown.text and "ST1" not in shown.text, page
    told = visitor.get(f"{HOME}/runs/{run['run_id']}", headers={"Accept": "application/json"}).json()
    assert (told["run"]["outcome"], told["may_undo"]) == ("forgotten", False)
    assert visitor.get(f"{HOME}/users/{person['key']}").status_code == 404
