"""Changing identifiers on a profile page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from enrollsync import steps
from portal.conftest import SSN, FakeHost, browsing, write_district
from portal.forms import JSON, ORIGIN, fields

BASE = "/roster/districts/merced"


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def visitor(copied: Path, host: FakeHost) -> Iterator[TestClient]:
    with browsing(host) as client:
        yield client


def address_of(visitor: TestClient, asked: str, kind: str = "users") -> str:
    (one,) = visitor.get(f"{BASE}/{kind}?q={asked}", headers=JSON).json()["found"]
    return f"{BASE}/{kind}/{one['key']}"


def change(visitor: TestClient, address: str, **changes: str) -> httpx.Response:
    asked = fields(visitor.get(address).text) | {"reason": "the family asked"} | changes
    return visitor.post(address, data=asked, headers=ORIGIN)


def told_of(visitor: TestClient, address: str) -> dict[str, Any]:
    told: dict[str, Any] = visitor.get(address, headers=JSON).json()
    return told


def test_a_change_is_looked_at_then_applied_as_a_run_with_its_reason(visitor: TestClient) -> None:
    address = address_of(visitor, "u1")
    look = change(visitor, address, identifier=" n1 ", user_state_id="")
    assert look.status_code == 200 and "This would change" in look.text and ">Given1 Family1</a>" in look.text
    assert look.text.count("VAL-TRIMMED") == 1, "of the line, and of the one in id_changes.csv"
    assert told_of(visitor, address)["card"]["identifier"] == "u1"
    done = visitor.post(address, data=fields(look.text), headers=ORIGIN)
    assert (done.status_code, done.headers["location"]) == (303, address)
    told = told_of(visitor, address)
    assert (told["card"]["identifier"], [one["identifier"] for one in told["earlier"]]) == ("n1", ["u1"])
    assert (told["life"][0]["approved_by"], told["life"][0]["comment"]) == ("ada", "the family asked")
    page = visitor.get(address).text
    assert "the family asked" in page and "a person changed it on the profile page" in page
    assert told["edits"] == "stick" and "What was changed here stays against deliveries" in page
    assert visitor.get(f"{BASE}/runs/{told['life'][0]['run_id']}").status_code == 200
    assert visitor.get(f"{BASE}/runs").status_code == 200


@pytest.mark.parametrize("changes, said", [
    ({"identifier": "u2"}, "PLAN-REIDENTIFY-TAKEN"), ({"identifier": "no good"}, "ID-CHARSET"),
    ({"identifier": "U2"}, "ID-CASE"), ({"identifier": "123456780"}, "ID-SSN"),
])  # fmt: skip
def test_the_rules_answer_in_the_words_of_a_batch(visitor: TestClient, changes: dict[str, str], said: str) -> None:
    look = change(visitor, address_of(visitor, "u1"), **changes)
    assert said in look.text
    assert ("This cannot be stored" in look.text) is (said in ("PLAN-REIDENTIFY-TAKEN", "ID-CHARSET"))


def test_a_morning_is_about_the_night_and_not_about_an_edit_since(visitor: TestClient) -> None:
    address = address_of(visitor, "u1")
    look = change(visitor, address, identifier="n1")
    assert visitor.post(address, data=fields(look.text), headers=ORIGIN).status_code == 303
    (line,) = visitor.get("/roster/", headers=JSON).json()["districts"]
    assert (line["run_id"], line["created"]) == ("first", 3)


def test_of_two_who_edit_at_once_the_second_is_told(visitor: TestClient) -> None:
    address = address_of(visitor, "u1")
    mine = fields(visitor.get(address).text) | {"reason": "mine", "identifier": "m1"}
    look = change(visitor, address, identifier="n1")
    assert visitor.post(address, data=fields(look.text), headers=ORIGIN).status_code == 303
    late = visitor.post(address, data=mine, headers=ORIGIN | {"Referer": f"http://testserver{address}?life=1"})
    assert late.status_code == 409 and "Somebody changed this record" in late.text
    assert f'<a href="{address}?life=1">The page as it is now</a>' in late.text


def test_a_problem_leads_to_no_page_but_ours(visitor: TestClient) -> None:
    address = address_of(visitor, "u1")
    for referer in ("https://evil.example/", "javascript:alert(1)", "http://[", "//evil/roster", ""):
        refused = visitor.post(address, headers=ORIGIN | {"Referer": referer})
        assert refused.status_code == 403 and "The page as it is now" not in refused.text


def test_a_change_needs_a_reason_and_something_to_change(visitor: TestClient) -> None:
    address = address_of(visitor, "u1")
    assert change(visitor, address, identifier="n1", reason=" ").status_code == 422
    assert change(visitor, address).status_code == 422


@pytest.mark.parametrize("kind, old", [("classes", "C1"), ("organizations", "S1")])
def test_classes_and_schools_are_changed_too(visitor: TestClient, kind: str, old: str) -> None:
    address = address_of(visitor, old, kind)
    look = change(visitor, address, identifier="NEW1")
    assert visitor.post(address, data=fields(look.text), headers=ORIGIN).status_code == 303
    assert told_of(visitor, address)["card"]["identifier"] == "NEW1"


def test_who_may_only_look_is_offered_nothing_and_a_hidden_number_is_not_in_the_form(
    visitor: TestClient, host: FakeHost
) -> None:
    hidden = address_of(visitor, SSN)
    assert SSN not in visitor.get(hidden).text + visitor.get(hidden, headers=JSON).text
    host.changes = set()
    assert "Change identifiers" not in visitor.get(address_of(visitor, "u1")).text


def test_a_third_partys_identifiers_are_shown_and_not_edited(visitor: TestClient, tmp_path: Path) -> None:
    address = address_of(visitor, "u1")
    asked = fields(visitor.get(address).text) | {"reason": "mine", "identifier": "m1"}
    write_district(tmp_path / "home", "merced", primary_source="clever")
    assert "Not to be changed here: the district&#39;s identifiers come from Clever" in visitor.get(address).text
    assert visitor.post(address, data=asked, headers=ORIGIN).status_code == 409


def test_what_was_looked_at_is_done_without_planning_it_again_and_left_nowhere(
    visitor: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = address_of(visitor, "u1")
    looked = fields(change(visitor, address, identifier="NEW1").text)
    monkeypatch.setattr(steps, "edit", None)
    assert visitor.post(address, data=looked, headers=ORIGIN).status_code == 303
    assert told_of(visitor, address)["card"]["identifier"] == "NEW1"
    assert not list(tmp_path.glob("**/looked_at"))


@pytest.mark.parametrize("forged", [{"reason": "another one"}, {"identifier": "NEW2"}, {"looked": "../../first"}])
def test_what_was_looked_at_is_not_done_in_place_of_something_else(visitor: TestClient, forged: dict[str, str]) -> None:
    address = address_of(visitor, "u1")
    looked = fields(change(visitor, address, identifier="NEW1").text) | forged
    answer = visitor.post(address, data=looked, headers=ORIGIN)
    assert answer.status_code == (409 if "identifier" in forged else 303), "planned anew, it is the plan that was shown"
    life = told_of(visitor, address)["life"]
    assert life[0]["comment"] == forged.get("reason", "the family asked") or "identifier" in forged
    assert told_of(visitor, address)["card"]["identifier"] == ("u1" if "identifier" in forged else "NEW1")


def test_what_nobody_did_is_forgotten_after_an_hour(visitor: TestClient, tmp_path: Path) -> None:
    address = address_of(visitor, "u1")
    change(visitor, address, identifier="NEW1")
    (mark,) = tmp_path.glob("**/looked_at")
    os.utime(mark, (0, 0))
    change(visitor, address, identifier="NEW2")
    assert not mark.parent.exists() and len(list(tmp_path.glob("**/looked_at"))) == 1
