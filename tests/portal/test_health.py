"""The one route without a login: whether databases answer, and nothing else."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from enrollsync.portal import health
from enrollsync.portal.app import build
from portal.conftest import FakeHost, browsing, write_district

NOBODY = "postgresql://roster:pa55word@127.0.0.1:1/roster"


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
    write_district(tmp_path, "lincoln")
    return tmp_path


def test_it_is_answered_to_nobody_in_particular(home: Path, host: FakeHost) -> None:
    host.visitor = None
    with browsing(host) as visitor:
        answer = visitor.get("/roster/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": True})
        assert answer.headers["cache-control"] == "no-store"
        assert visitor.post("/roster/health").status_code == 405


def test_it_is_the_only_route_beside_the_door() -> None:
    beside = [route for route in build(FakeHost()).routes if not isinstance(route, APIRoute)]
    assert [(route.path, route.methods) for route in beside if isinstance(route, Route)] == [
        ("/health", {"GET", "HEAD"})
    ]
    assert len(beside) == 1


def test_roster_that_does_not_answer_is_said_without_saying_which(
    home: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "database_url", lambda district: NOBODY)
    with browsing(host) as visitor:
        answer = visitor.get("/roster/health")
    assert (answer.status_code, answer.text) == (503, '{"status":"unwell","database":false}')


def test_host_that_breaks_is_said_too(home: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError(NOBODY)

    monkeypatch.setattr(host, "schedules", broken)
    with browsing(host) as visitor:
        answer = visitor.get("/roster/health")
    assert (answer.status_code, "pa55word" in answer.text) == (503, False)


def test_district_file_that_cannot_be_used_is_not_the_portals_health(home: Path, host: FakeHost) -> None:
    (home / "include" / "districts" / "fresno.yaml").write_text("name: [")
    with browsing(host) as visitor:
        assert visitor.get("/roster/health").status_code == 200


def test_databases_are_asked_once_in_a_while_however_many_look(monkeypatch: pytest.MonkeyPatch, host: FakeHost) -> None:
    now, asked, well = [0.0], [], [True]
    monkeypatch.setattr(health, "databases_answer", lambda _: asked.append(1) or well[0])
    looked = health.Health(host, clock=lambda: now[0])
    assert [looked._is_well() for _ in range(5)] == [True] * 5 and len(asked) == 1
    now[0], well[0] = 9.0, False
    assert looked._is_well() and len(asked) == 1
    now[0] = 11.0
    assert not looked._is_well() and len(asked) == 2


def test_whoever_looks_while_a_database_is_silent_is_told_what_was_known(
    monkeypatch: pytest.MonkeyPatch, host: FakeHost
) -> None:
    now, go, begun = [0.0], Event(), Event()
    looked = health.Health(host, clock=lambda: now[0])
    monkeypatch.setattr(health, "databases_answer", lambda _: True)
    assert looked._is_well()

    def silent(_: Any) -> bool:
        begun.set()
        return not go.wait(10)

    monkeypatch.setattr(health, "databases_answer", silent)
    now[0] = 60.0
    other = Thread(target=looked._is_well)
    other.start()
    assert begun.wait(5)
    assert looked._is_well(), "nobody stands in line behind it"
    go.set()
    other.join()
    assert not looked._is_well()


def test_one_server_is_asked_once_for_all_its_districts(home: Path, host: FakeHost) -> None:
    for number in range(3):
        write_district(home, f"d{number}", database={"url": f"postgresql://d{number}@db.example/roster"})
    assert health._servers(host) == ["postgresql://d0@db.example/roster"]
