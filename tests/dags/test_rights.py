"""Rights per district under Airflow's FAB auth manager: the whole API server, in process, as people of two districts.

Fresno has a plan that waits; everything that is said of it to somebody of Oakland's holds `resno`.
"""

from __future__ import annotations

import hashlib
import re
import runpy
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from dags.conftest import PROJECT
from enrollsync.portal.host import Visitor
from portal.conftest import FIRST, SECOND, UPLOAD, add_upload, deliver, held_rows, run, write_district

pytestmark = pytest.mark.slow

Browsers = dict[str | None, TestClient]
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
HTML, JSON = {"Accept": "text/html"}, {"Accept": "application/json"}
ORIGIN = {"Origin": "http://testserver"}
PASSWORD = "only of this test"
PEOPLE = {
    "viewer": ["fresno:viewer"],
    "approver": ["fresno:approver"],
    "editor": ["fresno:editor"],
    "other": ["oakland:editor"],
    "both": ["fresno:viewer", "oakland:editor"],
    "admin": ["Admin"],
}
SYNC, NOWHERE, RUN = "enrollment_sync__fresno", "enrollment_sync__nowhere", "second"
PLAN = f"/roster/districts/fresno/runs/{RUN}"
FRESNO = {"district_id": "fresno", "run_id": RUN, "dag_id": SYNC, "dag_run_id": RUN, "task_id": "approve",
          "name": "report.html", "map_index": "-1", "variable_key": "fresno", "connection_id": "fresno_db",
          "pool_name": "roster_fresno", "xcom_key": "return_value", "upload_id": UPLOAD,
          "format_name": "batch_upload", "file": "users.csv", "check": "ssn"}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fresno has two nights, the second of which waits; Oakland shares its roster's database and has nobody yet."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", str(home))
        patch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
        patch.setattr("enrollsync.validate.checking.run_suite", import_module("quicker").plainly)
        for district_id in ("fresno", "oakland"):
            write_district(home, district_id, database={"url": "sqlite:///data/rosters.db"})
        (home / "include" / "districts" / "fresno-north.yaml").write_text("district_id: fresno-north\nname: [")
        for run_id, as_of, second in (("first", FIRST, False), (RUN, SECOND, True)):
            deliver(home, "fresno", held_rows(second=second))
            run("fresno", run_id, as_of)
        add_upload(home, "fresno")
        yield home


@pytest.fixture(autouse=True)
def of_this_home(home: Path, shipped_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROLLSYNC_HOME", str(home))


@pytest.fixture(scope="module")
def server(home: Path, airflow_database: None) -> Iterator[FastAPI]:
    """Airflow's API server with the project's plugin and FAB, where both districts' DAGs and people are known."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", FAB)
        patch.delenv("AIRFLOW__API__BASE_URL", raising=False)  # `make test` names another host
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "of this test alone" * 4)
        patch.setattr("airflow.plugins_manager.get_fastapi_plugins", plugged_in)
        purge_cached_app()
        app = create_app(apps="core")
        furnish(app)
        yield app
        purge_cached_app()


def plugged_in() -> tuple[list[Any], list[Any]]:
    """What the project's plugin mounts; the tests' Airflow has no plugins otherwise."""
    return runpy.run_path(str(PROJECT / "plugins" / "roster.py"))["RosterPlugin"].fastapi_apps, []


def furnish(app: FastAPI) -> None:
    """People with roles, DAGs as the DAG processor finds them, and what Airflow keeps of Fresno's run that waits."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    from enrollsync.airflow.roles import make_roles

    make_roles(["fresno", "oakland"])
    add_people()
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(DagBag(str(PROJECT / "dags"), bundle_name="dags-folder"), "dags-folder", None)
    admin = visitor(app, "admin")
    made = {
        f"dags/{SYNC}/dagRuns": {"dag_run_id": RUN, "logical_date": None, "note": "Fresno waits"},
        "variables": {"key": "fresno", "value": "of Fresno"},
        "connections": {"connection_id": "fresno_db", "conn_type": "postgres", "password": "of Fresno"},
        "pools": {"name": "roster_fresno", "slots": 1},
        f"dags/{SYNC}/dagRuns/{RUN}/taskInstances/ingest/xcomEntries": {"key": "return_value", "value": "of Fresno"},
    }
    for path, body in made.items():
        assert admin.post(f"/api/v2/{path}", json=body).is_success, path
    park()


def add_people() -> None:
    from airflow.providers.fab.auth_manager.models import Role, User
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # As Flask keeps it, but for a single round: each login would take a third of a second.
    kept = f"pbkdf2:sha256:1$salt${hashlib.pbkdf2_hmac('sha256', PASSWORD.encode(), b'salt', 1).hex()}"
    with create_session() as session:
        for name, roles in PEOPLE.items():
            user = User(username=name, first_name=name, last_name="", email=f"{name}@example.org", password=kept)
            user.roles = list(session.scalars(select(Role).where(Role.name.in_(roles))).unique())
            session.add(user)


def park() -> None:
    """Let Fresno's task `approve` wait for an answer, as its operator does."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        task = session.scalars(select(TaskInstance).where(TaskInstance.task_id == "approve")).one()
        task.state, task.dag_run.state = "awaiting_input", "running"
        session.merge(HITLDetail(ti_id=task.id, subject="Fresno: apply this plan?", options=["Approve", "Reject"],
                                 params={}, responded_at=None, responded_by=None, chosen_options=None))  # fmt: skip


def visitor(app: FastAPI, name: str | None) -> TestClient:
    """A browser in which this person has logged in; None: nobody has."""
    client = TestClient(app, follow_redirects=False, raise_server_exceptions=False)
    if name:
        answer = client.post("/auth/token", json={"username": name, "password": PASSWORD})
        client.cookies.set("_token", answer.json()["access_token"])
    return client


@pytest.fixture(scope="module")
def browsers(server: FastAPI) -> dict[str | None, TestClient]:
    return {name: visitor(server, name) for name in (None, *PEOPLE)}


def routes_of(routes: Iterable[Any], prefix: str = "") -> list[tuple[str, str]]:
    return sorted(
        (method, prefix + route.path) for route in routes if isinstance(route, APIRoute) for method in route.methods
    )


def portal() -> list[tuple[str, str]]:
    from enrollsync.airflow.portal import app

    return routes_of(app.routes, "/roster")


def filled(path: str, **values: str) -> str:
    known = FRESNO | values
    return re.sub(r"\{(\w+)(:path)?\}", lambda found: known.get(found[1], "1"), path)


def token_of(client: TestClient) -> str:
    """What a form of this session brings along, were there one."""
    from enrollsync.airflow.host import AirflowHost
    from enrollsync.portal.entry import Visit

    return Visit(Request({"type": "http"}), AirflowHost(), Visitor("", None, client.cookies["_token"])).token


def send(client: TestClient, path: str, **fields: str) -> Any:
    return client.post(path, data={"token": token_of(client), **fields}, headers=HTML | ORIGIN)


# ---- the portal's routes ---------------------------------------------------------------------------------------------


def test_nobody_gets_to_any_route_and_a_person_is_led_to_the_login(browsers: Browsers) -> None:
    nobody = browsers[None]
    for method, path in portal():
        answer = nobody.request(method, filled(path), headers=JSON)
        assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"}), path
        answer = nobody.request(method, filled(path), headers=HTML)
        there = urlsplit(answer.headers["location"])
        assert (answer.status_code, there.path) == (303, "/api/v2/auth/login"), path
        assert parse_qs(there.query) == {"next": [filled(path)]}


@pytest.mark.parametrize("district", ["fresno", "nowhere"])
@pytest.mark.parametrize("accept", [HTML, JSON], ids=["page", "data"])
def test_editor_of_another_district_gets_403_be_there_such_a_district_or_not(
    browsers: Browsers, district: str, accept: dict[str, str]
) -> None:
    other = browsers["other"]
    token = token_of(other)
    assert f'name="token" value="{token}"' in other.get("/roster/districts/oakland", headers=HTML).text
    walked = [one for one in portal() if "{district_id}" in one[1] or "{dag_id}" in one[1]]
    assert len(walked) > 15
    for method, path in walked:
        where = filled(path, district_id=district, dag_id=f"enrollment_sync__{district}")
        sent = {"data": {"token": token, "answer": "reject", "plan_id": "x"}} if method == "POST" else {}
        answer = other.request(method, where, headers=accept | ORIGIN, **sent)
        assert answer.status_code == 403, (method, where, answer.text)
        assert "resno" not in answer.text.replace(where, ""), (method, where)


def test_editor_of_another_district_finds_no_trace_of_it_on_any_page_of_their_own(browsers: Browsers) -> None:
    other, admin = browsers["other"], browsers["admin"]
    told = 0
    for method, path in portal():
        if method != "GET":
            continue
        where = filled(path, district_id="oakland", dag_id="enrollment_sync__oakland")
        for accept in (HTML, JSON):
            answer = other.get(where, headers=accept)
            assert answer.status_code in (200, 404), where
            assert "resno" not in answer.text, where
            told += "resno" in admin.get(filled(path), headers=accept).text
    assert told > 10, "the administrator sees it"
    for kind in ("users", "classes", "organizations"):
        for district, found in (("oakland", 0), ("fresno", 1)):
            facts = browsers["both"].get(f"/roster/districts/{district}/{kind}", headers=JSON).json()
            assert min(facts["total"], 1) == found, (kind, district)


def test_this_morning_shows_each_person_their_own_districts(browsers: Browsers) -> None:
    seen = {
        name: {one["district_id"] for one in client.get("/roster/", headers=JSON).json()["districts"]}
        for name, client in browsers.items()
        if name
    }
    assert seen == {
        "viewer": {"fresno"}, "approver": {"fresno"}, "editor": {"fresno"}, "other": {"oakland"},
        "both": {"fresno", "oakland"}, "admin": {"fresno", "oakland", "fresno-north"},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["viewer", "both"])
def test_viewer_may_look_at_everything_and_change_nothing(browsers: Browsers, name: str) -> None:
    client = browsers[name]
    for method, path in portal():
        if method == "GET" and path != "/roster/static/{name}":
            assert client.get(filled(path), headers=HTML).status_code in (200, 404), path
        elif method == "POST":
            answer = send(client, filled(path), answer="reject", plan_id="x")
            assert answer.status_code == 403, path
    assert client.get("/roster/districts/fresno/users/1?reveal=true", headers=HTML).status_code == 403


# ---- Airflow's own ---------------------------------------------------------------------------------------------------


def test_editor_of_another_district_sees_and_changes_nothing_of_it_by_airflows_own_routes(
    server: FastAPI, browsers: Browsers
) -> None:
    other, admin = browsers["other"], browsers["admin"]
    before, shown = kept_by_airflow(admin), 0
    walked = [one for one in routes_of(server.routes) if one[1].startswith(("/api/v2", "/ui"))]
    for method, path in walked:
        if "logout" in path:
            continue
        sent = {} if method in ("GET", "DELETE") else {"json": {}}
        status = {}
        for dag_id in (SYNC, NOWHERE, "~") if "{dag_id}" in path else (SYNC,):
            where = filled(path, dag_id=dag_id, **({"dag_run_id": "~"} if dag_id == "~" else {}))
            answer = other.request(method, where, headers=JSON, **sent)
            assert "resno" not in answer.text, (method, where)
            status[dag_id] = answer.status_code
            if method == "GET" and dag_id != NOWHERE:
                shown += "resno" in admin.get(where, headers=JSON).text
        assert status[SYNC] == status.get(NOWHERE, status[SYNC]), (method, path)
    assert shown > 30, "the administrator sees it"
    assert kept_by_airflow(admin) == before


def kept_by_airflow(admin: TestClient) -> list[Any]:
    paths = (f"dags/{SYNC}", f"dags/{SYNC}/dagRuns/{RUN}", f"dags/{SYNC}/dagRuns/{RUN}/taskInstances", "variables",
             f"dags/{SYNC}/dagRuns/{RUN}/taskInstances/ingest/xcomEntries", "connections", "pools",
             f"dags/{SYNC}/dagRuns/{RUN}/taskInstances/approve/-1/hitlDetails")  # fmt: skip
    answers = [admin.get(f"/api/v2/{path}", headers=JSON) for path in paths]
    assert all(answer.is_success for answer in answers)
    # A token for the file is made anew for each answer.
    return [{name: told for name, told in answer.json().items() if name != "file_token"} for answer in answers]


@pytest.mark.parametrize("name", ["viewer", "approver", "editor", "both"])
def test_connections_and_variables_are_not_readable_even_of_ones_own_district(browsers: Browsers, name: str) -> None:
    kept = ("connections", "connections/fresno_db", "variables", "variables/fresno", "config", "pools", "providers")
    for path in kept:
        answer = browsers[name].get(f"/api/v2/{path}", headers=JSON)
        assert (answer.status_code, "of Fresno" in answer.text) == (403, False), path
    tried = {"connection_id": "fresno_db", "conn_type": "http", "host": "http://127.0.0.1:1"}
    assert browsers[name].post("/api/v2/connections/test", json=tried).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"{SYNC}/dagRuns/{RUN}/taskInstances/approve/-1/hitlDetails", {"chosen_options": ["Approve"]}),
        ("PATCH", SYNC, {"is_paused": False}),
        ("POST", f"{SYNC}/dagRuns", {"logical_date": None}),
        ("POST", f"{SYNC}/clearTaskInstances", {"dag_run_id": RUN, "dry_run": True, "only_failed": False}),
        ("PATCH", f"{SYNC}/dagRuns/{RUN}", {"state": "failed"}),
        ("DELETE", SYNC, None),
    ],
)
@pytest.mark.parametrize("name", ["other", "both", "viewer"])
def test_who_may_not_change_a_district_cannot_do_it_over_rest(
    browsers: Browsers, name: str, method: str, path: str, body: Any
) -> None:
    assert browsers[name].request(method, f"/api/v2/dags/{path}", json=body).status_code == 403


def test_runs_of_another_district_cannot_be_reached_in_bulk(browsers: Browsers) -> None:
    run_of_theirs = {"dag_id": SYNC, "dag_run_id": RUN}
    for path, body in {
        "~/dagRuns": {"actions": [{"action": "delete", "entities": [run_of_theirs]}]},
        "~/clearDagRuns": {"dag_runs": [run_of_theirs], "dry_run": True},
    }.items():
        for name, status in (("both", 403), ("editor", 403 if path == "~/dagRuns" else 200)):
            method = "PATCH" if path == "~/dagRuns" else "POST"
            answer = browsers[name].request(method, f"/api/v2/dags/{path}", json=body)
            assert answer.status_code == status, (name, path, answer.text)


# ---- the session -----------------------------------------------------------------------------------------------------


def log_in(client: TestClient, path: str, name: str) -> Any:
    """Ask for the page, and fill in the login that stands before it; the last answer."""
    for _ in range(2):
        path = client.get(path, headers=HTML).headers["location"]
    page = client.get(path, headers=HTML)
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    sent = {"username": name, "password": PASSWORD, "csrf_token": found[1] if found else ""}
    return client.post(path, data=sent, headers=HTML | ORIGIN)


def test_login_leads_back_to_the_page_that_was_asked_for_again_on_the_next_day(server: FastAPI) -> None:
    browser, wanted = visitor(server, None), f"{PLAN}?entity=users&q=m%C3%BCller"
    for day in ("first", "next"):
        answer = log_in(browser, wanted, "viewer")
        assert answer.headers["location"].removeprefix("http://testserver") == wanted, day
        assert browser.get(wanted, headers=HTML).status_code == 200
        del browser.cookies["_token"]  # which lives for a day, while FAB remembers the login for a month


def test_logged_out_or_shut_out_person_is_led_to_the_login_and_a_program_gets_401(server: FastAPI) -> None:
    browser = visitor(server, "viewer")
    kept = browser.cookies["_token"]
    browser.get("/api/v2/auth/logout")
    for token in (kept, "of another server"):
        browser.cookies.clear()
        browser.cookies.set("_token", token)
        answer = browser.get(PLAN, headers=HTML)
        assert (answer.status_code, urlsplit(answer.headers["location"]).path) == (303, "/api/v2/auth/login")
        assert browser.get(PLAN, headers=JSON).status_code == 401


def test_form_counts_in_the_session_alone_that_it_was_made_for(server: FastAPI) -> None:
    mine, at_home = visitor(server, "editor"), visitor(server, "editor")
    token = token_of(at_home)
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Basic x"}):
        answer = mine.post("/roster/districts/fresno", data={"token": token}, headers=HTML | ORIGIN | headers)
        assert answer.status_code == 403, headers


# ---- who may do what -------------------------------------------------------------------------------------------------


def test_approver_answers_and_starts_nothing(browsers: Browsers) -> None:
    approver = browsers["approver"]
    page = approver.get("/roster/districts/fresno", headers=HTML).text
    assert "Run now" not in page and "Run now" in browsers["editor"].get("/roster/districts/fresno", headers=HTML).text
    assert send(approver, "/roster/districts/fresno").status_code == 403
    assert send(approver, f"{PLAN[: -len(RUN)]}first", answer="undo").status_code == 403
    plan = approver.get(PLAN, headers=JSON).json()
    assert [one["answer"] for one in plan["choices"]] == ["approve", "without_removals", "reject"]
    answer = send(approver, PLAN, answer="reject", plan_id=plan["run"]["plan_id"], comment="call the vendor")
    assert answer.status_code == 303, answer.text
    asked = browsers["admin"].get(f"/api/v2/dags/{SYNC}/dagRuns/{RUN}/taskInstances/approve/-1/hitlDetails").json()
    assert (asked["responded_by_user"]["name"], asked["chosen_options"]) == ("approver", ["Reject"])


def test_editor_starts_a_run_and_takes_one_back(browsers: Browsers) -> None:
    editor = browsers["editor"]
    for answer in (send(editor, "/roster/districts/fresno"), send(editor, f"{PLAN[: -len(RUN)]}first", answer="undo")):
        assert answer.status_code == 303, answer.text
    for kind in ("sync", "undo"):
        runs = editor.get(f"/api/v2/dags/enrollment_{kind}__fresno/dagRuns").json()["dag_runs"]
        assert "editor" in [one["triggering_user_name"] for one in runs]


def test_roles_are_made_again_without_what_was_added_by_hand(server: FastAPI) -> None:
    from airflow.providers.fab.auth_manager.models import Permission, Role
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from enrollsync.airflow.roles import make_roles, rights_of

    def rights(session: Any, name: str) -> set[tuple[str, str]]:
        role = session.scalars(select(Role).where(Role.name == name)).unique().one()
        return {(one.action.name, one.resource.name) for one in role.permissions}

    with create_session() as session:
        role = session.scalars(select(Role).where(Role.name == "fresno:viewer")).unique().one()
        role.permissions = list(session.scalars(select(Permission).where(Permission.id < 9)).unique())
    assert make_roles(["fresno"]) == ["fresno:viewer", "fresno:approver", "fresno:editor"]
    with create_session() as session:
        assert rights(session, "fresno:viewer") == rights_of("fresno", "viewer")
        assert rights(session, "oakland:editor") == rights_of("oakland", "editor")


def test_district_whose_id_is_too_long_for_a_role_is_named() -> None:
    from enrollsync.airflow.roles import make_roles
    from enrollsync.words.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="at most 55 characters"):
        make_roles(["d" * 55, "e" * 56])


# ---- the first start -------------------------------------------------------------------------------------------------


def test_first_start_makes_an_administrator_once_and_leaves_whoever_is_there(
    server: FastAPI, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow.providers.fab.auth_manager.models import Role, User
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from enrollsync.airflow import first_start

    def kept() -> dict[str, str]:
        with create_session() as session:
            return {user.username: user.password for user in session.scalars(select(User)).unique()}

    before = kept()
    monkeypatch.setattr(first_start, "ADMINISTRATOR", "chief")
    for password, said in (("a long one", "is new"), ("another", "stays as it is")):
        monkeypatch.setenv(first_start.PASSWORD, password)
        assert first_start.main() == 0
        told = f"The user chief {said}.\n6 roles of 2 districts are as they should be.\n"
        assert capsys.readouterr().out.endswith(told)
    client = TestClient(server)
    tried = [
        client.post("/auth/token", json={"username": "chief", "password": one}) for one in ("a long one", "another")
    ]
    assert [answer.status_code for answer in tried] == [201, 401]
    assert {name: kept()[name] for name in before} == before
    with create_session() as session:
        roles = set(session.scalars(select(Role.name)))
    assert {"Admin", "fresno:viewer", "oakland:editor"} <= roles


def test_a_role_that_cannot_be_made_is_told_in_one_line(
    server: FastAPI, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from enrollsync.airflow import first_start

    unheard_of = SimpleNamespace(district_id="d" * 80)
    monkeypatch.setattr(first_start, "read_districts", lambda: ({"long": unheard_of}, []))
    assert first_start.make_every_role() == 1
    assert capsys.readouterr().err.startswith("No role was made: ")
