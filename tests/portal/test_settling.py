"""The pages on which rows that wait are settled, records merged, and what weakens identifiers is found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from enrollsync.portal.by_hand import Looked
from enrollsync.run.object_store import folders_of, keep
from enrollsync.settings import load_district, runs_folder
from nightly import other, student
from portal.conftest import FIRST, SECOND, SSN, FakeHost, browsing, copy_of, deliver, furnishing, run, write_district
from portal.forms import JSON, ORIGIN, all_fields, fields
from s3_server import connection

BASE = "/roster/districts/merced"
TWICE = student("777", classId="C3", className="Music", userEmail="lp@demo.example")
"""Leena again: 300's names and birth date."""
ROWS = [student(), TWICE, other(1), other(2, userId=SSN), other(3, userId="AB1"), other(4, userId="ab1"),
        other(5, classId="C9", className="Chess"), other(6, userRole="teacher", userId="T1")]  # fmt: skip
NINA = other(1, userFirstName="Nina", userLastName="New", userEmail="nina@demo.example", userBirthDate="2013-02-02")
"""Under the identifier of somebody else."""


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Merced: on the second night one row waits."""
    home = tmp_path_factory.mktemp("settling")
    with furnishing(home):
        write_district(home, "merced", source={"path": "data/landing/merced", "mode": "delta"})
        deliver(home, "merced", ROWS)
        run("merced", "first", FIRST)
        deliver(home, "merced", [*ROWS[:2], NINA, *ROWS[3:6], ROWS[7], {"action": "REMOVE-CLASS", "classId": "C9"}])
        run("merced", "second", SECOND)
    return home


@pytest.fixture
def visitor(
    template: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plain_checks: None
) -> Iterator[TestClient]:
    copy_of(template, monkeypatch, tmp_path)
    with browsing(host) as client:
        yield client


def told(visitor: TestClient, address: str) -> dict[str, Any]:
    answer = visitor.get(f"{BASE}{address}", headers=JSON)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def key_of(visitor: TestClient, identifier: str) -> int:
    (key,) = [one["key"] for one in told(visitor, f"/users?q={identifier}")["found"] if one["identifier"] == identifier]
    return int(key)


# ---- rows that wait --------------------------------------------------------------------------------------------------


def test_a_row_that_waits_is_shown_beside_the_record_that_it_may_be_with_what_differs(visitor: TestClient) -> None:
    (row,) = told(visitor, "/waiting")["rows"]
    assert (row["code"], row["file"], row["line"]) == ("PLAN-RECYCLED", "users.csv", 4)
    assert [one["name"] for one in row["candidates"]] == ["Given1 Family1"]
    differing = {one["name"] for one in row["values"] if one["has"][0]["differs"]}
    assert differing == {"given_name", "family_name", "email", "birth_date"}
    page = visitor.get(f"{BASE}/waiting").text
    assert "Nina New" in page and "differs" in page


@pytest.mark.parametrize("same", [True, False])
def test_an_answer_is_looked_at_and_then_done_and_the_row_waits_no_more(visitor: TestClient, same: bool) -> None:
    before = key_of(visitor, "u1")
    asked = fields(visitor.get(f"{BASE}/waiting").text) | {
        "answer": str(before) if same else "new", "reason": "asked the school",
    }  # fmt: skip
    looked = visitor.post(f"{BASE}/waiting", data=asked, headers=ORIGIN)
    assert looked.status_code == 200 and "This would change" in looked.text
    assert "released:" not in looked.text, "who gives an identifier up goes by it"
    assert key_of(visitor, "u1") == before, "nothing is done before it was looked at"
    done = visitor.post(f"{BASE}/waiting", data=fields(looked.text), headers=ORIGIN)
    assert (done.status_code, done.headers["location"]) == (303, f"{BASE}/waiting")
    assert (key_of(visitor, "u1") == before) is same
    assert told(visitor, f"/users/{key_of(visitor, 'u1')}")["card"]["name"] == "Nina New"
    assert told(visitor, "/waiting")["rows"] == []
    assert visitor.post(f"{BASE}/waiting", data=fields(looked.text), headers=ORIGIN).status_code == 409


@pytest.mark.parametrize("wrong, status", [
    ({"reason": " "}, 422), ({"answer": "1000000"}, 422), ({"answer": "x"}, 422), ({"line": "5"}, 409),
    ({"run_id": "../second"}, 409), ({"plan": "another"}, 409),
])  # fmt: skip
def test_an_answer_that_cannot_be_is_refused(visitor: TestClient, wrong: dict[str, str], status: int) -> None:
    asked = fields(visitor.get(f"{BASE}/waiting").text) | {"answer": "new", "reason": "so"} | wrong
    assert visitor.post(f"{BASE}/waiting", data=asked, headers=ORIGIN).status_code == status


def test_who_may_only_look_has_no_answers(visitor: TestClient, host: FakeHost) -> None:
    asked = fields(visitor.get(f"{BASE}/waiting").text) | {"answer": "new", "reason": "so"}
    host.changes = set()
    assert all_fields(visitor.get(f"{BASE}/waiting").text) == []
    assert visitor.post(f"{BASE}/waiting", data=asked, headers=ORIGIN).status_code == 403


# ---- merging ---------------------------------------------------------------------------------------------------------


def test_two_records_are_compared_and_merged_and_each_page_says_so(visitor: TestClient) -> None:
    kept, gone = key_of(visitor, "300"), key_of(visitor, "777")
    compared = visitor.get(f"{BASE}/users/{kept}/merge?other=777")
    asked = fields(compared.text) | {"reason": "one child"}
    looked = visitor.post(f"{BASE}/users/{kept}/merge", data=asked, headers=ORIGIN)
    assert looked.status_code == 200 and "What would change" in looked.text
    done = visitor.post(f"{BASE}/users/{kept}/merge", data=fields(looked.text), headers=ORIGIN)
    assert (done.status_code, done.headers["location"]) == (303, f"{BASE}/users/{kept}")
    (latest, *_) = told(visitor, "/runs")["runs"]
    assert latest["message"] == "Two records of one person were merged."
    facts = told(visitor, f"/users/{kept}")
    assert [one["name"] for one in facts["around"]["classes"] if one["status"] == "active"] == ["Math", "Music"]
    left = told(visitor, f"/users/{gone}")
    assert left["merged_into"] == kept and left["life"][0]["reason"] == "two records of one person were merged"
    assert f'href="{BASE}/users/{kept}"' in visitor.get(f"{BASE}/users/{gone}").text


def test_the_second_of_two_who_merge_at_once_is_told(visitor: TestClient) -> None:
    kept = key_of(visitor, "300")
    asked = fields(visitor.get(f"{BASE}/users/{kept}/merge?other=777").text) | {"reason": "one child"}
    looked = fields(visitor.post(f"{BASE}/users/{kept}/merge", data=asked, headers=ORIGIN).text)
    assert visitor.post(f"{BASE}/users/{kept}/merge", data=looked, headers=ORIGIN).status_code == 303
    again = visitor.post(f"{BASE}/users/{kept}/merge", data=looked, headers=ORIGIN)
    assert again.status_code == 409 and "merged before" in again.text


@pytest.mark.parametrize("page", ["waiting", "merging"])
def test_what_names_a_plan_is_no_social_security_number_and_a_reason_has_none(
    visitor: TestClient, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    plan = "ab123456789cdef0"
    looked = Looked("settle__2026-11-24T07:00:00__12345678", plan, possible=True, operations=0, changes=[], findings=[])
    monkeypatch.setattr(f"enrollsync.portal.{page}.look", lambda *asked: looked)
    address = f"{BASE}/waiting" if page == "waiting" else f"{BASE}/users/{key_of(visitor, '300')}/merge"
    asked = fields(visitor.get(f"{address}?other=777").text) | {"answer": "new", "reason": f"not {SSN}"}
    sent = fields(visitor.post(address, data=asked, headers=ORIGIN).text)
    assert (sent["plan"], sent["looked"], sent["reason"]) == (plan, looked.run_id, "not *****6789")


def test_whom_nobody_can_merge_the_page_says_why(visitor: TestClient) -> None:
    kept, teacher = key_of(visitor, "300"), key_of(visitor, "T1")
    page = visitor.get(f"{BASE}/users/{kept}/merge?other_key={teacher}").text
    assert "one is a student, the other an employee" in page and all_fields(page) == []
    for nobody in ("nobody", "%00"):
        assert visitor.get(f"{BASE}/users/{kept}/merge?other={nobody}").status_code == 404


# ---- the doctor ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check, found", [
    ("same_person", [["300", "777"]]), ("ssn", [["*****6789"]]), ("case", [["AB1", "ab1"]]), ("missing", []),
    ("student_no_class", [["u5"]]), ("class_no_student", []), ("class_no_teacher", [["C3"]]), ("no_school", []),
    ("opaque", []),
])  # fmt: skip
def test_each_check_finds_what_it_is_for(visitor: TestClient, check: str, found: list[list[str]]) -> None:
    cases = told(visitor, f"/doctor/{check}")["cases"]
    assert sorted(sorted(one["identifier"] for one in case["records"]) for case in cases) == found


def test_a_probable_pair_leads_to_its_comparison_and_is_gone_once_merged(visitor: TestClient) -> None:
    kept, gone = key_of(visitor, "300"), key_of(visitor, "777")
    assert f"/users/{kept}/merge?other_key={gone}" in visitor.get(f"{BASE}/doctor/same_person").text
    asked = fields(visitor.get(f"{BASE}/users/{kept}/merge?other=777").text) | {"reason": "one child"}
    looked = fields(visitor.post(f"{BASE}/users/{kept}/merge", data=asked, headers=ORIGIN).text)
    visitor.post(f"{BASE}/users/{kept}/merge", data=looked, headers=ORIGIN)
    assert told(visitor, "/doctor/same_person")["cases"] == []


def test_the_doctor_lists_all_checks_and_knows_no_others(visitor: TestClient) -> None:
    page = visitor.get(f"{BASE}/doctor").text
    assert page.count("hx-get") == len(told(visitor, "/doctor")["checks"]) == 9
    assert visitor.get(f"{BASE}/doctor/nothing").status_code == 404
    part = visitor.get(f"{BASE}/doctor/ssn", headers={"HX-Request": "true"}).text
    assert "<html" not in part and "6789" in part and SSN not in part


# ---- with an object store --------------------------------------------------------------------------------------------


def test_pages_say_of_runs_in_an_object_store_what_they_said_of_those_on_the_disk(
    visitor: TestClient, request: pytest.FixtureRequest
) -> None:
    district = load_district("merced")
    school = visitor.get("/roster/districts/merced/organizations", headers=JSON).json()["found"][0]["key"]
    pages = ["/runs", "/runs/second", "/runs/first", "/waiting", "/quality", f"/quality/schools/{school}",
             f"/users/{key_of(visitor, 'u1')}"]  # fmt: skip
    answers = {page: visitor.get(f"{BASE}{page}", headers=JSON) for page in pages}
    assert {answer.status_code for answer in answers.values()} <= {200, 404}
    assert "report.html" in answers["/runs/second"].text
    request.getfixturevalue("bucket")
    runs = runs_folder(district)
    for name in ("first", "second"):
        keep(runs / name)
        shutil.rmtree(runs / name)
    for page, before in answers.items():
        after = visitor.get(f"{BASE}{page}", headers=JSON)
        assert (after.status_code, after.json()) == (before.status_code, before.json()), page

    asked = fields(visitor.get(f"{BASE}/waiting").text) | {"answer": "new", "reason": "asked the school"}
    looked = visitor.post(f"{BASE}/waiting", data=asked, headers=ORIGIN)
    assert visitor.post(f"{BASE}/waiting", data=fields(looked.text), headers=ORIGIN).status_code == 303
    assert told(visitor, "/waiting")["rows"] == []
    assert not list(runs.iterdir()), "what a person has done is kept there, and not here"
    assert len(folders_of(runs)) == 3


def test_with_the_store_away_runs_are_listed_without_reports_and_a_run_says_what_to_do(
    visitor: TestClient, bucket: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrollsync.settings.bucket.TRIES", 1)
    monkeypatch.setenv("AIRFLOW_CONN_ENROLLSYNC_RUNS", connection("http://127.0.0.1:1"))
    assert [(one["run_id"], one["report"]) for one in told(visitor, "/runs")["runs"]] == [
        ("second", None),
        ("first", None),
    ]
    page = visitor.get(f"{BASE}/runs/second")
    assert page.status_code == 503
    said = (
        "the object store (ENROLLSYNC_RUNS) does not give or take the files of second (NETWORK_CONNECTION); try again"
    )
    assert said in page.text
