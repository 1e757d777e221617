"""People, classes and organizations in the portal: found, shown, and shown as they were."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from enrollsync.database import open_store
from enrollsync.portal.app import build
from nightly import other
from portal.conftest import HTML, FakeHost, deliver, run, write_district

JSON = {"Accept": "application/json"}
BASE = "/roster/districts/fresno"
HOSTILE = "<script>alert('x')</script>"
SSN = "123456789"
OPAQUE = "8f14e45fceea167a5a36dedd4bea2543"
"""A class's identifier."""


@pytest.fixture(scope="module")
def people_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fresno: three people over two nights, the first of them a day earlier; a second one got another identifier."""
    home = tmp_path_factory.mktemp("people")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", str(home))
        patch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
        write_district(home, "fresno", thresholds={"floor": 1000})
        first = other(1, userLastName="Müller", userStateId="ST-77"), other(2, userId=SSN, userFirstName=HOSTILE)
        deliver(home, "fresno", [*first, other(3, classId=OPAQUE)])
        run("fresno", "first", datetime(2026, 11, 22, 7, tzinfo=UTC))
        with open_store("sqlite:///data/fresno.db").backend.connect(write=True).begin() as connection:
            connection.execute(text("UPDATE runs SET ended_at = '2026-11-22T07:05:00.000000+00:00'"))
        second = first[0] | {"userId": "n1", "userGrade": "6"}
        deliver(home, "fresno", [second | {"userGrade": "5"}, first[1], other(3, classId=OPAQUE)])
        run("fresno", "second", datetime(2026, 11, 23, 7, tzinfo=UTC))
    return home


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def visitor(people_home: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("ENROLLSYNC_HOME", str(people_home))
    monkeypatch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
    around = FastAPI()
    around.mount("/roster", build(host))
    with TestClient(around, follow_redirects=False, headers=HTML) as client:
        yield client


def facts(visitor: TestClient, path: str) -> dict[str, Any]:
    answer = visitor.get(BASE + path, headers=JSON)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def key_of(visitor: TestClient, asked: str, kind: str = "users") -> int:
    (one,) = facts(visitor, f"/{kind}?q={asked}")["found"]
    return int(one["key"])


@pytest.mark.parametrize("asked", ["u1", "n1", "muller", "MÜLLER", "ST-77", "person1@DEMO.example", "given1 mul"])
def test_a_person_is_found_by_old_identifier_plain_accent_or_secondary_id(visitor: TestClient, asked: str) -> None:
    (one,) = facts(visitor, f"/users?q={asked}")["found"]
    assert (one["name"], one["identifier"]) == ("Given1 Müller", "n1")


def test_filters_narrow_and_a_page_that_is_not_there_is_the_last(visitor: TestClient) -> None:
    assert facts(visitor, "/users?role=teacher")["total"] == 0
    assert facts(visitor, "/users?status=active&page=99")["page"] == 1
    school = key_of(visitor, "S1", "organizations")
    assert facts(visitor, f"/users?school={school}")["total"] == 3
    assert facts(visitor, f"/classes?school={school}")["total"] == 2
    assert visitor.get(f"{BASE}/users?school=x").status_code == 422


@pytest.mark.parametrize("path", ["/users", "/classes", "/organizations"])
def test_lists_are_pages_with_a_labelled_search(visitor: TestClient, path: str) -> None:
    page = visitor.get(BASE + path)
    assert page.status_code == 200 and 'name="q"' in page.text and 'role="search"' in page.text


def test_a_profile_says_what_is_and_where_it_came_from(visitor: TestClient) -> None:
    told = facts(visitor, f"/users/{key_of(visitor, 'n1')}")
    values = {one["name"]: one for one in told["values"]}
    assert values["user_id"]["value"] == "n1"
    assert (values["user_id"]["origin"]["run_id"], values["user_id"]["origin"]["line"]) == ("second", 2)
    assert values["grade"]["origin"]["run_id"] == "first"
    assert [one["identifier"] for one in told["earlier"]] == ["u1"]
    assert [one["name"] for one in told["around"]["organizations"]] == ["North"]
    page = visitor.get(f"{BASE}/users/{key_of(visitor, 'n1')}").text
    assert "Müller" in page and "EST" in page and "u1" in page


def test_a_profile_as_of_a_day_is_what_it_was_then(visitor: TestClient) -> None:
    key = key_of(visitor, "n1")
    then = facts(visitor, f"/users/{key}?as_of=2026-11-22")
    assert (then["card"]["identifier"], then["earlier"], then["as_of"]) == ("u1", [], "2026-11-22")
    assert {event["run_id"] for event in then["life"]} == {"first"}
    assert facts(visitor, f"/users/{key}?as_of=")["card"]["identifier"] == "n1"
    assert visitor.get(f"{BASE}/users/{key}?as_of=2026-11-21").status_code == 404
    assert visitor.get(f"{BASE}/users/{key}?as_of=tomorrow").status_code == 422


def test_a_district_counts_its_active_students_by_night_and_school(visitor: TestClient) -> None:
    told = facts(visitor, "")
    assert [count for _, count in told["active"]] == [3, 3]
    (school,) = told["schools"]
    assert (school["name"], school["students"]) == ("North", 3) and [count for _, count in school["nights"]] == [3, 3]
    assert "Active students by school" in visitor.get(BASE).text


def test_a_long_life_is_told_in_pages(visitor: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/users/{key_of(visitor, 'n1')}"
    whole = facts(visitor, path)["life"]
    monkeypatch.setattr("enrollsync.portal.people.EVENTS", 2)
    pages = [facts(visitor, f"{path}?life={page}") for page in (1, 2, 99)]
    assert [page["life_page"] for page in pages] == [1, 2, pages[0]["life_pages"]]
    assert pages[0]["life"] + pages[1]["life"] == whole[:4] and len(whole) > 2
    assert f"life={2}" in visitor.get(BASE + path).text


def test_a_class_that_says_nothing_is_offered_a_better_identifier(visitor: TestClient) -> None:
    page = visitor.get(f"{BASE}/classes/{key_of(visitor, OPAQUE, 'classes')}").text
    assert "A better identifier" in page and "This class could be" in page


@pytest.mark.parametrize("kind", ["classes", "organizations"])
def test_a_class_and_an_organization_name_their_people(visitor: TestClient, kind: str) -> None:
    key = key_of(visitor, "C1" if kind == "classes" else "S1", kind)
    told = facts(visitor, f"/{kind}/{key}")
    assert "n1" in {one["identifier"] for one in told["around"]["people"]}
    assert told["total"] == (2 if kind == "classes" else 3)
    assert {one["identifier"] for one in facts(visitor, f"/{kind}/{key}?as_of=2026-11-22")["around"]["people"]} >= {
        "u1"
    }
    assert visitor.get(f"{BASE}/{kind}/{key}").status_code == 200


def test_hostile_values_are_inert(visitor: TestClient) -> None:
    key = key_of(visitor, "alert")
    for path in ("/users", f"/users/{key}", f"/users?q={HOSTILE}", "/classes?q=%25'--", "/users?q=%00"):
        assert HOSTILE not in visitor.get(BASE + path).text


def test_what_could_be_a_social_security_number_is_hidden_until_an_editor_asks(
    visitor: TestClient, host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(visitor, SSN)
    assert SSN not in visitor.get(f"{BASE}/users").text + visitor.get(f"{BASE}/users/{key}").text
    caplog.set_level(logging.INFO, logger="enrollsync")
    assert SSN in visitor.get(f"{BASE}/users/{key}?reveal=true").text
    assert f"shown whole: users {key} of district fresno to ada" in caplog.text
    host.changes = set()
    assert visitor.get(f"{BASE}/users/{key}?reveal=true").status_code == 403


def test_looking_is_logged_without_what_was_seen(visitor: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    key = key_of(visitor, "n1")
    caplog.set_level(logging.INFO, logger="enrollsync")
    visitor.get(f"{BASE}/users/{key}")
    assert f"viewed: users {key} of district fresno by ada" in caplog.text and "Müller" not in caplog.text


def test_nobody_without_the_right_sees_anybody(visitor: TestClient, host: FakeHost) -> None:
    host.reads = set()
    for path in ("/users", "/users/1", "/classes", "/classes/1", "/organizations", "/organizations/1"):
        assert visitor.get(BASE + path).status_code == 403
    host.reads = None
    assert visitor.get(f"{BASE}/users/999999").status_code == 404
    assert visitor.get(f"{BASE}/users/0").status_code == visitor.get(f"{BASE}/users/{10**30}").status_code == 422
