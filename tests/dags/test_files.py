"""The app that serves a run's files, without Airflow around it: who gets in, and which files there are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

RUN = "/roster/enrollment_sync__lincoln/manual__2026-11-23T02%3A00%3A00%2B00%3A00"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, districts: Callable[..., Path]) -> Path:
    """That of the run `RUN`."""
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    districts("lincoln")
    place = tmp_path / "data" / "runs" / "lincoln" / "manual__2026-11-23T02_00_00_00_00"
    place.mkdir(parents=True)
    for name in ("report.html", "quarantine/users.csv", "data_docs/index.html", "plan/plan.json", "run.json"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    return place


@pytest.fixture
def stranger(folder: Path) -> Iterator[TestClient]:
    """Somebody without a session."""
    from enrollsync.airflow.portal import serve

    around = FastAPI()
    around.mount("/roster", serve)
    with TestClient(around, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture
def reader(stranger: TestClient, airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Somebody who may read every DAG."""
    log_in(monkeypatch, role="viewer")
    return stranger


def log_in(monkeypatch: pytest.MonkeyPatch, role: str | None) -> None:
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user

    from enrollsync.airflow.portal import app

    create_auth_manager()
    ada = SimpleAuthManagerUser(username="ada", role=role)
    monkeypatch.setitem(app.dependency_overrides, get_user, lambda: ada)


# ---- without a session ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", [{}, {"_token": "of another day"}], ids=["none", "unreadable"])
def test_person_without_a_session_is_sent_to_the_login_and_back(
    stranger: TestClient, session: dict[str, str], airflow_database: None
) -> None:
    from airflow.api_fastapi.app import init_auth_manager

    init_auth_manager()
    answer = stranger.get(f"{RUN}/report.html?as_of=2026-11-01", headers=BROWSER, cookies=session)
    there = urlsplit(answer.headers["location"])
    assert (answer.status_code, there.netloc, there.path) == (303, "", "/api/v2/auth/login")
    assert parse_qs(there.query) == {"next": [f"{RUN}/report.html?as_of=2026-11-01"]}


def test_login_of_an_airflow_that_shares_its_host_is_below_its_own_path(
    stranger: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://intranet.example/airflow")
    answer = stranger.get(f"{RUN}/report.html", headers=BROWSER)
    there = urlsplit(answer.headers["location"])
    assert there.path == "/airflow/api/v2/auth/login"
    assert parse_qs(there.query) == {"next": [f"/airflow{RUN}/report.html"]}


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/json, text/html;q=0.5", ""])
def test_program_without_a_session_gets_401(stranger: TestClient, accept: str) -> None:
    answer = stranger.get(f"{RUN}/report.html", headers={"Accept": accept})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize(
    "path",
    [
        "/roster//evil.example/a",
        "/roster/%2F%2Fevil.example/a/b",
        "/roster/\\evil.example/a/b",
        "/roster/@evil.example",
    ],
)
@pytest.mark.parametrize("host", ["localhost:8080", "evil.example"])
def test_login_leads_back_to_airflow_and_nowhere_else(stranger: TestClient, path: str, host: str) -> None:
    from airflow.api_fastapi.core_api.security import is_safe_url

    answer = stranger.get(f"/roster{path}", headers={**BROWSER, "Host": host})
    if answer.status_code == 303:
        there = urlsplit(answer.headers["location"])
        assert (there.scheme, there.netloc, there.path) == ("", "", "/api/v2/auth/login")
        (following,) = parse_qs(there.query)["next"]
        assert following.startswith("/roster/") and is_safe_url(following)
    else:
        assert answer.status_code == 404


# ---- with one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.html", "quarantine/users.csv", "data_docs/index.html"])
def test_reader_of_the_dag_gets_the_runs_files(reader: TestClient, name: str) -> None:
    answer = reader.get(f"{RUN}/{name}")
    assert (answer.status_code, answer.text) == (200, name)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        f"{RUN}/data_docs/%00",
        f"{RUN}/quarantine/%00.csv",
        f"{RUN}/data_docs/{'x' * 5000}",
        f"{RUN}/data_docs/{'%C3%A9' * 200}",
        f"{RUN}/{'x' * 5000}",
        f"/roster/enrollment_sync__lincoln/{'x' * 5000}/report.html",
        f"/roster/enrollment_sync__{'x' * 5000}/manual__1/report.html",
        f"/roster/enrollment_sync__{'x' * 245}/manual__1/report.html",
        "/roster/enrollment_sync__lincoln%00/manual__1/report.html",
        "/roster/enrollment_sync__oakland/manual__1/report.html",
        f"{RUN}/run.json",
        f"{RUN}/data_docs/../run.json",
        f"{RUN}/data_docs/..%2Frun.json",
        f"{RUN}/data_docs//etc/passwd",
        f"{RUN}/data_docs/%2Fetc%2Fpasswd",
        f"{RUN}/quarantine/..%2Frun.json",
        f"{RUN}/data_docs/",
    ],
    ids=lambda path: path[-40:],
)
def test_what_is_no_file_of_the_run_is_404(reader: TestClient, path: str) -> None:
    assert reader.get(path).status_code == 404


@pytest.mark.parametrize("name", ["report.html", "quarantine/users.csv", "data_docs/index.html"])
@pytest.mark.parametrize("place", ["file", "folder", "run"])
def test_link_in_a_runs_folder_is_not_followed(
    reader: TestClient, folder: Path, tmp_path: Path, name: str, place: str
) -> None:
    linked = {"file": folder / name, "folder": (folder / name).parent, "run": folder}[place]
    elsewhere = tmp_path / "elsewhere"
    linked.rename(elsewhere)
    linked.symlink_to(elsewhere)
    assert reader.get(f"{RUN}/{name}").status_code == 404


@pytest.mark.parametrize(
    ("name", "archive"), [("quarantine/users.csv", "quarantine.zip"), ("plan/plan.json", "plan.csv")]
)
def test_link_in_a_runs_folder_gets_into_nothing_that_is_made_of_it(
    reader: TestClient, folder: Path, tmp_path: Path, name: str, archive: str
) -> None:
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert reader.get(f"{RUN}/{archive}").status_code == 404


# ---- who may read what -----------------------------------------------------------------------------------------------


LIST = "/roster/districts/lincoln/runs"


@pytest.mark.parametrize("path", [LIST, f"{RUN}/report.html"])
@pytest.mark.parametrize("district", ["lincoln", "oakland"])
def test_who_may_not_read_the_districts_dag_gets_403_be_there_such_a_district_or_not(
    stranger: TestClient, airflow_database: None, monkeypatch: pytest.MonkeyPatch, path: str, district: str
) -> None:
    log_in(monkeypatch, role=None)
    assert stranger.get(f"{path}?dag_id=enrollment_sync__other".replace("lincoln", district)).status_code == 403


def test_list_of_runs_of_no_district_is_404(reader: TestClient) -> None:
    assert reader.get(LIST.replace("lincoln", "oakland")).status_code == 404


def test_person_without_a_session_comes_back_to_the_list_of_runs(stranger: TestClient) -> None:
    answer = stranger.get(LIST, headers=BROWSER)
    assert (answer.status_code, parse_qs(urlsplit(answer.headers["location"]).query)) == (303, {"next": [LIST]})


def test_whatever_a_report_may_link_beside_it_is_served(reader: TestClient, folder: Path) -> None:
    from enrollsync.report.facts import LINKS

    for link in LINKS:
        (folder / link.href).write_text(link.label)
    answers = {link.href: reader.get(f"{RUN}/{link.href}").status_code for link in LINKS}
    assert answers == {"findings.csv": 200, "id_changes.csv": 200, "switch.csv": 200}


# ---- with an object store --------------------------------------------------------------------------------------------


def test_the_files_of_a_run_that_another_machine_made_are_served(bucket: Any, reader: TestClient, folder: Path) -> None:
    from enrollsync.run.object_store import drop, keep

    keep(folder)
    shutil.rmtree(folder)
    assert reader.get(f"{RUN}/report.html").text == "report.html"
    assert reader.get(f"{RUN}/quarantine.zip").status_code == 200
    drop(folder)
    assert reader.get(f"{RUN}/report.html").status_code == 404
    assert not folder.exists()
