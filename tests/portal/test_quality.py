"""Findings over time in the portal: what is new, what is known, and a school's page to be mailed."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi.testclient import TestClient

from nightly import other
from portal.conftest import FIRST, SECOND, SSN, FakeHost, browsing, copy_of, deliver, furnishing, run, write_district

JSON = {"Accept": "application/json"}
ORIGIN = {"Origin": "http://testserver"}
BASE = "/roster/districts/tulare/quality"
HOSTILE = "<script>alert('x')</script>"
NORTH = {"schoolId": "S1", "schoolName": "North"}
SOUTH = {"schoolId": "S2", "schoolName": "South", "classId": "C2"}
TODAY = datetime.now(ZoneInfo("America/New_York")).date()
"""Where the district is."""
LATER = (TODAY + timedelta(days=2)).isoformat()


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tulare after two nights: in the second one two people of South have no address that can be used."""
    home = tmp_path_factory.mktemp("quality")
    with furnishing(home):
        write_district(home, "tulare", thresholds={"floor": 1000})
        rows = [other(1, **NORTH, userEmail="none"), other(2, **SOUTH, userId=SSN, userFirstName=HOSTILE),
                other(3, **SOUTH)]  # fmt: skip
        deliver(home, "tulare", rows)
        run("tulare", "first", FIRST)
        deliver(home, "tulare", [rows[0], *(row | {"userEmail": f"none{row['userId']}"} for row in rows[1:]),
                                 other(4, **NORTH, userId="")])  # fmt: skip
        run("tulare", "second", SECOND)
    return home


@pytest.fixture
def visitor(template: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TestClient]:
    copy_of(template, monkeypatch, tmp_path)
    with browsing(host) as client:
        yield client


def token_of(visitor: TestClient) -> str:
    found = re.search(r'name="token" value="(\w+)"', visitor.get(BASE).text)
    assert found
    return found.group(1)


def facts(visitor: TestClient, path: str = "") -> dict[str, Any]:
    answer = visitor.get(BASE + path, headers=JSON)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def new(visitor: TestClient) -> dict[str, list[str]]:
    """Code -> schools in which there is more of it than the night before."""
    return {one["code"]: [school["name"] for school in one["schools"]] for one in facts(visitor)["new"]}


def key_of(visitor: TestClient, name: str) -> int:
    return next(int(one["key"]) for one in facts(visitor)["schools"] if one["name"] == name)


def know(visitor: TestClient, **changes: str) -> httpx.Response:
    said = {"code": "VAL-EMAIL", "until": LATER, "reason": "a new mail server"} | changes
    return visitor.post(BASE, data={"token": said.get("token") or token_of(visitor)} | said, headers=ORIGIN)


def test_what_rose_since_the_night_before_is_told_first_with_its_schools(visitor: TestClient) -> None:
    told = facts(visitor)
    assert new(visitor) == {"ID-MISSING": ["North"], "VAL-EMAIL": ["South"]}
    (email,) = (one for one in told["new"] if one["code"] == "VAL-EMAIL")
    assert (email["before"], email["now"], email["schools"][0]["before"], email["schools"][0]["now"]) == (1, 3, 0, 2)
    assert (told["night"], told["before"]) == ("2026-11-24", "2026-11-23")
    page = visitor.get(BASE).text
    assert page.index("New since the night before") < page.index("By night") and "South" in page


def test_findings_by_night_are_drawn_from_tables_that_anybody_can_read(visitor: TestClient) -> None:
    plots = {plot["label"]: plot for plot in facts(visitor)["plots"]}
    email = plots["Rows that load with a warning, by night"]
    place = email["names"].index("VAL-EMAIL")
    assert [numbers[place] for _, numbers in email["nights"]] == [1, 3]
    schools = plots["Findings to be mended, by school and night"]
    assert dict(zip(schools["names"], schools["nights"][-1][1], strict=True))["North"] >= 2
    page = visitor.get(BASE).text
    assert 'data-number="3"' in page and "uPlot.iife.min.js" in page


def test_what_somebody_knows_is_nothing_new_and_says_who_why_and_until_when(visitor: TestClient) -> None:
    assert know(visitor).status_code == 303
    told = facts(visitor)
    assert set(new(visitor)) == {"ID-MISSING"}
    (known,) = told["known"]
    assert (known["person"], known["reason"], known["until"]) == ("ada", "a new mail server", LATER)
    assert [one["now"] for one in told["codes"] if one["code"] == "VAL-EMAIL"] == [3]
    ended = visitor.post(f"{BASE}/known/{known['known_id']}", data={"token": token_of(visitor)}, headers=ORIGIN)
    assert ended.status_code == 303
    assert "VAL-EMAIL" in new(visitor) and facts(visitor)["known"] == []


def test_what_is_known_in_one_school_is_new_in_another(visitor: TestClient) -> None:
    assert know(visitor, school=str(key_of(visitor, "North"))).status_code == 303
    assert new(visitor)["VAL-EMAIL"] == ["South"]
    assert know(visitor, school=str(key_of(visitor, "South"))).status_code == 303
    assert "VAL-EMAIL" not in new(visitor)


def test_this_morning_counts_what_is_new_and_not_known(visitor: TestClient) -> None:
    def rises() -> int:
        (line,) = visitor.get("/roster/", headers=JSON).json()["districts"]
        return int(line["new_findings"])

    assert rises() == 2
    assert "2 new findings" in visitor.get("/roster/").text
    know(visitor, school=str(key_of(visitor, "South")))
    assert rises() == 1
    know(visitor, code="ID-MISSING")
    assert rises() == 0


@pytest.mark.parametrize("wrong", [
    {"until": "2020-01-01"}, {"until": TODAY.isoformat()}, {"until": "2999-01-01"}, {"until": "soon"},
    {"until": ""}, {"reason": "  "}, {"code": "NO-SUCH"}, {"school": "x"},
])  # fmt: skip
def test_what_cannot_be_known_is_refused_in_one_line(visitor: TestClient, wrong: dict[str, str]) -> None:
    answer = know(visitor, **wrong)
    assert answer.status_code == 422
    assert facts(visitor)["known"] == []


def test_a_school_that_is_not_there_is_not_known(visitor: TestClient) -> None:
    assert know(visitor, school="999999").status_code == 404
    for path in ("/schools/999999", "/schools/999999/mail"):
        assert visitor.get(BASE + path).status_code == 404


def test_who_may_only_look_is_offered_nothing_and_changes_nothing(visitor: TestClient, host: FakeHost) -> None:
    token = token_of(visitor)
    host.changes = set()
    assert "<form" not in visitor.get(BASE).text
    assert know(visitor, token=token).status_code == 403


def test_who_knew_and_who_ended_it_is_logged_and_kept(visitor: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="enrollsync")
    know(visitor, reason="Ann Lee asked")
    (known,) = facts(visitor)["known"]
    visitor.post(f"{BASE}/known/{known['known_id']}", data={"token": token_of(visitor)}, headers=ORIGIN)
    assert f"known findings {known['known_id']}: VAL-EMAIL in all schools of district tulare until" in caplog.text
    assert f"known findings {known['known_id']} of district tulare ended by ada" in caplog.text
    assert "Ann" not in caplog.text


def test_a_school_is_told_what_to_mend_with_its_people(visitor: TestClient) -> None:
    told = facts(visitor, f"/schools/{key_of(visitor, 'South')}")
    groups = {group["code"]: group for group in told["groups"]}
    assert {one["name"] for one in groups["VAL-EMAIL"]["found"]} == {f"{HOSTILE} Family2", "Given3 Family3"}
    assert {(one["file"], one["line"]) for one in groups["VAL-EMAIL"]["found"]} == {("users.csv", 3), ("users.csv", 4)}
    assert "ID-MISSING" not in groups and groups["VAL-EMAIL"]["remedy"]


def test_the_file_to_mail_needs_nothing_else_and_hides_numbers(
    visitor: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="enrollsync")
    key = key_of(visitor, "South")
    answer = visitor.get(f"{BASE}/schools/{key}/mail")
    assert answer.headers["content-disposition"] == "attachment; filename=South-2026-11-24.html"
    assert not re.search(r"<(script|link|img|a|form)\b|https?://|/roster", answer.text)
    assert "Confidential" in answer.text and "Given3 Family3" in answer.text
    assert SSN not in answer.text and "*****6789" in answer.text and HOSTILE not in answer.text
    assert f"downloaded: findings of organization {key} of district tulare by ada" in caplog.text
    assert "Given3" not in caplog.text
    assert "not a social security number" in answer.text and "identifiers.ssn" not in answer.text


def test_without_the_runs_files_a_school_is_told_what_did_not_load(visitor: TestClient, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "home" / "data" / "runs")
    told = facts(visitor, f"/schools/{key_of(visitor, 'North')}")
    groups = {group["code"]: [one["line"] for one in group["found"]] for group in told["groups"]}
    assert groups["ID-MISSING"] == [5] and groups["VAL-EMAIL"] == [] and not told["whole"]
    assert "The files of a run are gone" in visitor.get(f"{BASE}/schools/{key_of(visitor, 'North')}").text


def test_a_district_without_a_night_says_so(visitor: TestClient, tmp_path: Path) -> None:
    write_district(tmp_path / "home", "empty")
    assert "No night has looked" in visitor.get("/roster/districts/empty/quality").text
