"""A run's page: what a plan would change, what was found, and decisions that reach the host."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from enrollsync.portal import plan_view
from enrollsync.portal.host import Waiting
from portal.conftest import GONE, HELD_STUDENTS, RENAMED, FakeHost

JSON = {"Accept": "application/json"}
RUN = "/roster/districts/lincoln/runs/second"
ORIGIN = {"Origin": "http://testserver"}


def facts(visitor: TestClient, path: str = RUN) -> dict[str, Any]:
    answer = visitor.get(path, headers=JSON)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def token_of(visitor: TestClient) -> str:
    found = re.search(r'name="token" value="(\w+)"', visitor.get(RUN).text)
    assert found
    return found.group(1)


def decide(visitor: TestClient, answer: str, **fields: str) -> Any:
    data = {"answer": answer, "token": token_of(visitor), "plan_id": facts(visitor)["run"]["plan_id"], **fields}
    return visitor.post(RUN, data=data, headers=ORIGIN)


# ---- a plan that waits -----------------------------------------------------------------------------------------------


def test_plan_is_told_by_field_and_by_school(visitor: TestClient) -> None:
    plan = facts(visitor)["plan"]
    changed = {(one["entity"], one["name"]): one["count"] for one in plan["fields"]}
    assert changed["users", "family_name"] == RENAMED
    schools = {one["name"]: (one["changed"], one["deactivated"], one["enrollments_gone"]) for one in plan["schools"]}
    assert schools == {"North": (RENAMED // 2, GONE // 2, GONE // 2), "South <b>": (RENAMED // 2, GONE // 2, GONE // 2)}


def test_what_is_said_of_a_whole_plan_is_worked_out_once_for_all_pages_of_it(
    visitor: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schools = facts(visitor)["plan"]["schools"]
    monkeypatch.setattr(plan_view, "_schools", lambda connection: [])
    assert facts(visitor, f"{RUN}?page=2")["plan"]["schools"] == schools
    (written,) = home.glob("data/runs/lincoln/second/plan/users.parquet")
    os.utime(written)  # as when the plan is made again
    assert facts(visitor)["plan"]["schools"] == []
    os.utime(written, ns=(1, 1))


def test_reasons_stand_a_sentence_each_and_codes_once(visitor: TestClient) -> None:
    reasons = {one["code"]: one for one in facts(visitor)["reasons"]}
    assert "GUARD-DEACTIVATE" in reasons
    assert all(one["messages"] and one["remedy"] for one in reasons.values())


def test_approval_names_its_consequence(visitor: TestClient) -> None:
    said = {one["answer"]: one["consequences"] for one in facts(visitor)["choices"]}
    assert list(said) == ["approve", "without_removals", "reject"]
    assert said["approve"][:2] == [f"{GONE} students become inactive.", f"{GONE} people lose access to 2 classes."]
    assert said["without_removals"][0].startswith("Nobody and nothing is deactivated")
    assert said["reject"] == ["Nothing is written; the roster stays as it is."]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?entity=users&operation=deactivate", GONE),
        ("?entity=users&field=family_name", RENAMED),
        ("?entity=users&operation=update&school=1", RENAMED // 2),
        ("?entity=users&q=muller3", 1),
        ("?entity=users&q=u5", 1),
        ("?entity=users&q=nobody", 0),
        ("?entity=enrollments&q=MATHS", GONE),
        ("?entity=enrollments&q=maths 1", GONE // 2),
        (f"?entity=enrollments&q=family{HELD_STUDENTS - 1}", 1),
        (f"?entity=memberships&q=north, family{HELD_STUDENTS - 2}", 1),
        ("?entity=memberships&q=north", GONE // 2),
        ("?entity=enrollments&school=1", GONE // 2),
        ("?entity=nonsense&operation=update&field=family_name", RENAMED),
    ],
)
def test_changes_are_found(visitor: TestClient, query: str, found: int) -> None:
    assert facts(visitor, RUN + query)["plan"]["found"] == found


def test_all_changes_are_reached_page_by_page(visitor: TestClient) -> None:
    first = facts(visitor)
    keys = [
        (one["entity"], one["operation"], one["name"], one["identifier"])
        for page in range(1, first["pages"] + 1)
        for one in facts(visitor, f"{RUN}?page={page}")["plan"]["changes"]
    ]
    assert len(keys) == len(set(keys)) == first["plan"]["found"] > 20


def test_change_says_before_and_after(visitor: TestClient) -> None:
    (one,) = facts(visitor, f"{RUN}?entity=users&q=muller3")["plan"]["changes"]
    assert (one["values"], one["school"], one["file"]) == (
        [["family_name", "Family3", "Müller3"]], "South <b>", "users.csv",
    )  # fmt: skip


def test_change_of_a_link_is_called_by_what_is_at_its_ends(visitor: TestClient) -> None:
    last = f"Family{HELD_STUDENTS - 1}"
    called = [(one["name"], one["school"]) for one in facts(visitor, f"{RUN}?q={last}")["plan"]["changes"]]
    assert [school for _, school in called] == ["South <b>"] * 3
    assert [name.startswith(f"{last}, ") for name, _ in called] == [True] * 3
    assert [name.partition(" · ")[2] for name, _ in called] == ["", "South <b>", "Maths 1"]


def test_page_escapes_names_and_says_how_to_answer(visitor: TestClient) -> None:
    page = visitor.get(RUN).text
    assert "South &lt;b&gt;" in page and "South <b>" not in page
    assert "Approve without removals" in page


def test_who_may_only_look_can_not_answer(visitor: TestClient, host: FakeHost) -> None:
    host.changes = set()
    assert facts(visitor)["choices"] == []
    assert "Your answer" not in visitor.get(RUN).text


@pytest.mark.parametrize("answer", ["approve", "without_removals", "reject"])
def test_answer_reaches_the_host_with_its_comment(visitor: TestClient, host: FakeHost, answer: str) -> None:
    said = decide(visitor, answer, comment=" the school closed ")
    assert (said.status_code, said.headers["location"]) == (303, RUN)
    assert host.done == [("answer", Waiting("lincoln", "second", "sync"), answer, "the school closed")]


def test_answer_that_does_not_fit_or_is_for_another_plan_is_refused(visitor: TestClient, host: FakeHost) -> None:
    assert decide(visitor, "use_proposal").status_code == 409
    assert decide(visitor, "approve", plan_id="another").status_code == 409
    assert decide(visitor, "anything").status_code == 422
    host.waits.clear()
    host.goes.append(Waiting("lincoln", "second", "sync"))
    assert visitor.get(RUN, headers=JSON).json()["run"]["going_on"]
    assert host.done == []


def test_what_airflow_says_no_to_is_told(visitor: TestClient, host: FakeHost) -> None:
    host.refuses = "somebody has answered"
    answer = decide(visitor, "approve")
    assert answer.status_code == 409 and "somebody has answered" in answer.text


# ---- a run that ended ------------------------------------------------------------------------------------------------


def test_line_that_did_not_load_is_found_by_file_and_number(visitor: TestClient) -> None:
    told = facts(visitor, "/roster/districts/oakland/runs/only?file=users.csv&line=4")
    assert [one["code"] for one in told["findings"] if one["severity"] == "critical"] == ["ID-MISSING"]
    assert (
        facts(visitor, "/roster/districts/oakland/runs/only?file=users.csv&line=2&severity=critical")["findings"] == []
    )


def test_run_that_wrote_can_be_taken_back_and_its_undo_is_a_run_of_its_own(visitor: TestClient, host: FakeHost) -> None:
    first = RUN.replace("second", "first")
    assert facts(visitor, first)["may_undo"] and not facts(visitor)["may_undo"]
    said = visitor.post(first, data={"answer": "undo", "token": token_of(visitor)}, headers=ORIGIN)
    assert said.headers["location"] == RUN.replace("second", "manual__again")
    assert host.done == [("start", "lincoln", "undo", {"run": "first", "keep_later": False})]


def test_run_whose_files_are_gone_is_told_by_the_roster(visitor: TestClient, home: Any) -> None:
    place = home / "data" / "runs" / "oakland" / "only"
    place.rename(place.with_name("elsewhere"))
    try:
        told = facts(visitor, "/roster/districts/oakland/runs/only")
        assert (told["run"]["outcome"], told["kept"], told["run"]["findings"]["ID-MISSING"]) == ("applied", False, 1)
        assert "ID-MISSING" in visitor.get("/roster/districts/oakland/runs/only").text
    finally:
        place.with_name("elsewhere").rename(place)


def test_runs_are_listed_filtered_and_given_as_csv(visitor: TestClient) -> None:
    listed = facts(visitor, "/roster/districts/lincoln/runs")
    assert [(run["run_id"], run["outcome"], run["changes"] is None) for run in listed["runs"]] == [
        ("first", "applied", False)
    ]
    assert listed["going"] == ["second"]
    for query, number in (("outcome=failed", 0), ("from=2026-11-23&to=2026-11-23", 1), ("to=2026-11-22", 0)):
        assert len(facts(visitor, f"/roster/districts/lincoln/runs?{query}")["runs"]) == number, query
    assert visitor.get("/roster/districts/lincoln/runs?from=yesterday").status_code == 422
    (row,) = csv.DictReader(io.StringIO(visitor.get("/roster/districts/lincoln/runs.csv").text))
    assert (row["run_id"], row["outcome"]) == ("first", "applied")


def test_run_by_hand_reaches_the_host(visitor: TestClient, host: FakeHost) -> None:
    data = {"token": token_of(visitor), "source": "data/landing/lincoln/monday"}
    answer = visitor.post("/roster/districts/lincoln", data=data, headers=ORIGIN)
    assert answer.headers["location"] == RUN.replace("second", "manual__again")
    assert host.done == [("start", "lincoln", "sync", {"source": "data/landing/lincoln/monday"})]


def test_no_such_run_district_or_page(visitor: TestClient) -> None:
    for path in ("/roster/districts/lincoln/runs/third", "/roster/districts/nowhere", "/roster/static/entry.py"):
        assert visitor.get(path).status_code == 404
    assert visitor.get("/roster/districts/springfield").status_code == 409


def test_a_page_of_changes_with_a_word_is_there_also_when_their_order_was_forgotten(visitor: TestClient) -> None:
    address = "/roster/districts/lincoln/runs/second?q=müller"
    before = visitor.get(address, headers=JSON).json()["plan"]
    plan_view.in_order.cache_clear()
    assert before["changes"] and visitor.get(address, headers=JSON).json()["plan"] == before


@pytest.mark.parametrize("asked", ["page=1", "q=a", "entity=users", "school=1"])
def test_pages_whose_order_alone_was_made_are_those_of_the_whole_order(
    visitor: TestClient, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    def pages(first: int) -> list[Any]:
        monkeypatch.setattr(plan_view, "_FIRST", first)
        plan_view.in_order.cache_clear()
        return [facts(visitor, f"{RUN}?{asked}&page={page}")["plan"]["changes"] for page in (1, 2, 3)]

    monkeypatch.setattr(plan_view, "PAGE", 3)
    of_whole_order = pages(0)
    shown = [str(one) for page in of_whole_order for one in page]
    assert len(shown) == len(set(shown)) > 3
    assert pages(3) == of_whole_order
