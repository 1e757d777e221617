"""Limits that differ by organization, by date and by run; and what a district's runs teach about the next one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from enrollsync import steps
from enrollsync.database import open_store
from enrollsync.plan import guard, usual
from enrollsync.run.workspace import Workspace
from nightly import Nightly, clever, other, pupil

SCHOOLS = [{"School_id": "S1", "School_name": "North"}, {"School_id": "0012", "School_name": "South"}]
NORTH = [pupil(number) for number in range(80)]
SOUTH = [pupil(number, School_id="0012") for number in range(100, 106)]


def lose_south(nightly: Nightly, **thresholds: Any) -> list[str]:
    """What is said when the six students of school 0012 vanish, of 86."""
    nightly.settings |= {"primary_source": "clever", "thresholds": thresholds}
    nightly.begin(clever([*NORTH, *SOUTH], schools=SCHOOLS))
    return messages(nightly.run(clever(NORTH, schools=SCHOOLS), until="plan"))


def messages(result: dict[str, Any]) -> list[str]:
    return [hold["message"] for hold in result["holds"]]


# ---- where and when other limits hold --------------------------------------------------------------------------------


def test_an_organization_has_limits_of_its_own(nightly: Nightly) -> None:
    assert lose_south(nightly, organizations={"0012": {"deactivate_percent": 100}}) == []


def test_an_organizations_limits_hold_within_it_alone(nightly: Nightly) -> None:
    said = lose_south(nightly, deactivate_percent=100, organizations={"0012": {"deactivate_percent": 99}})
    assert said == [
        "6 of 6 active users of South (0012) would be deactivated (100.0 %; the limit is 99 % for this organization)"
    ]


def test_an_entitys_limits_hold_for_it_alone(nightly: Nightly) -> None:
    said = lose_south(nightly, deactivate_percent=100, entities={"memberships": {"deactivate_percent": 5}})
    assert said == ["6 of 87 active memberships would be deactivated (6.9 %; the limit is 5 % for memberships)"]


@pytest.mark.parametrize(("last", "held"), [("2026-11-22", False), ("2026-11-21", True)])
def test_a_window_is_counted_in_the_districts_days(nightly: Nightly, last: str, held: bool) -> None:
    # The nights of these tests are at 7:00 UTC on 23 November, which is the evening before in Honolulu.
    nightly.settings["timezone"] = "Pacific/Honolulu"
    said = lose_south(nightly, windows=[{"from": "2026-11-01", "to": last, "deactivate_percent": 100}])
    assert bool(said) is held


def test_a_hold_within_a_window_names_it(nightly: Nightly) -> None:
    window = {"from": "2026-11-01", "to": "2026-12-01", "deactivate_percent": 60, "name": "roll-over"}
    (said,) = lose_south(nightly, windows=[window])
    assert said.endswith("(100.0 %; the limit is 60 % until 2026-12-01, roll-over)")


def test_the_limits_of_one_run_replace_all_others_but_not_what_vanished_whole(nightly: Nightly) -> None:
    assert lose_south(nightly, organizations={"0012": {"deactivate_percent": 50}}) != []
    place = Workspace(Path(nightly.workspace))
    place.update(overrides={"deactivate_percent": 100})
    assert steps.plan(nightly.workspace)["holds"] == []
    place.update(overrides={"deactivate_percent": 1})
    assert len(steps.plan(nightly.workspace)["holds"]) > 1
    nightly.run(clever([], schools=SCHOOLS))
    Workspace(Path(nightly.workspace)).update(overrides={"deactivate_percent": 100, "update_percent": 100})
    assert {hold["code"] for hold in steps.plan(nightly.workspace)["holds"]} == {"GUARD-EMPTY"}


# ---- which fields change ---------------------------------------------------------------------------------------------


def married(names: int, grades: int = 0) -> list[dict[str, str]]:
    """The forty students of `people`, the first with other family names and grades, quotation marks within."""
    changed = [{"userLastName": f'Fam"email":{n}'} if n < names else {} for n in range(40)]
    return [row | changed[n] | ({"userGrade": "6"} if n < grades else {}) for n, row in enumerate(people({}))]


def test_another_name_for_many_holds_and_says_for_whom_and_where(nightly: Nightly) -> None:
    nightly.begin(people({}))
    result = nightly.run(married(names=22, grades=30))
    assert (result["outcome"], messages(result)) == ("held", [
        "family_name would change for 22 of 40 active users (55.0 %; the limit is 5 %): "
        "20 users of North (S1), 2 users of South (0012)",
        "20 of 20 active users of North (S1) would be changed (100.0 %; the limit is 75 %): "
        "family_name 20, grade 20; family_name, grade change for nearly all: the columns may be shifted or swapped",
    ])  # fmt: skip
    shares = json.loads((Workspace(Path(nightly.workspace)).plan / "plan.json").read_text())["shares"]
    told = {share["where"]: (share["organization_name"], share["fields"]) for share in shares if share["fields"]}
    assert told == {
        "users": (None, {"family_name": 22, "grade": 30}),
        "users of North (S1)": ("North", {"family_name": 20, "grade": 20}),
        "users of South (0012)": ("South", {"family_name": 2, "grade": 10}),
    }


def test_birth_dates_that_come_for_the_first_time_hold_nothing(nightly: Nightly) -> None:
    nightly.begin([row | {"userBirthDate": ""} for row in people({})])
    result = nightly.run(people({}))
    assert "GUARD-FIELD" not in {hold["code"] for hold in result["holds"]}


# ---- what runs teach -------------------------------------------------------------------------------------------------


def people(changed: dict[int, str]) -> list[dict[str, str]]:
    """Twenty students of school S1 and twenty of 0012; `changed`: number -> grade."""
    schools = ({"schoolId": "S1"}, {"schoolId": "0012", "classId": "C2", "schoolName": "South", "className": "Art"})
    return [other(n, **schools[n >= 20], userGrade=changed.get(n, "5")) for n in range(40)]


@pytest.fixture
def quick_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two applied runs are enough to learn from; that ten are needed is tested in `test_usual.py`."""
    for module in (usual, guard):
        monkeypatch.setattr(module, "LEAST_RUNS", 2)


def teach(nightly: Nightly, nights: int) -> None:
    """A first load, then nights on which one student of S1 moves to another grade."""
    nightly.begin(people({}))
    for number in range(nights):
        assert nightly.run(people({0: str(number % 2 + 6)}))["outcome"] == "applied"


BIG = people({number: "9" for number in range(20, 32)})
"""Twelve of the forty students are changed, all in 0012; the one who changed last goes back."""


def flagged(nightly: Nightly) -> int:
    """How many shares are unusual in a dry run of the big delivery."""
    return int(nightly.run(BIG, until="plan")["findings"].get("GUARD-UNUSUAL", 0))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_learner")
def test_an_unusual_run_is_told_and_applied(nightly: Nightly) -> None:
    teach(nightly, 2)
    shutil.rmtree(nightly.folder / "data" / "runs")
    result = nightly.run(BIG)
    assert (result["outcome"], result["holds"], result["findings"]) == ("applied", [], {"GUARD-UNUSUAL": 2})
    notices = Workspace(Path(nightly.workspace)).read().notices
    assert [notice.message for notice in notices] == [
        "32.5 % of users would be updated; usual: 2.45 % to 2.55 %, the last 2 runs",
        "60 % of users of South (0012) would be updated; usual: 0 % to 0.05 %, the last 2 runs",
    ]
    report = json.loads((Path(nightly.workspace) / "report.json").read_text())
    assert ("GUARD-UNUSUAL", 2) in {(group["code"], group["count"]) for group in report["findings_grouped"]}
    assert nightly.run(force=False)["findings"] == {}
    assert not Workspace(Path(nightly.workspace)).findings.is_file(), "no short cut was taken"
    assert nightly.run()["findings"] == {}


@pytest.mark.slow
@pytest.mark.usefixtures("quick_learner")
def test_what_did_not_reach_the_roster_teaches_nothing(nightly: Nightly) -> None:
    teach(nightly, 1)
    assert flagged(nightly) == 0
    last = people({0: "6"})
    assert nightly.run(last)["outcome"] == "in_sync"
    assert flagged(nightly) == 0
    second = nightly.run(people({0: "8"}))["run_id"]
    assert flagged(nightly) == 2
    undo = nightly.undo(second)["run_id"]
    assert flagged(nightly) == 0
    nightly.undo(undo)
    assert flagged(nightly) == 2


def test_a_run_remembers_every_entity_and_the_schools_in_which_something_changed(nightly_everywhere: Nightly) -> None:
    district = nightly_everywhere
    teach(district, 1)
    district.run([*people({0: "6"}), other(50, schoolId="S9", schoolName="West", classId="C9", className="Gym")])
    query = "SELECT run_id, shares_json FROM runs ORDER BY run_id"
    first, second, third = (json.loads(row["shares_json"]) for row in district.query(district.database_url, query))
    keys = {name: str(key) for name, key in district.view("organizations", "organization_id, organization_key")}
    north, south, west = keys["S1"], keys["0012"], keys["S9"]
    assert first["users"] == {"": [0, 40, 0, 0], north: [0, 20, 0, 0], south: [0, 20, 0, 0]}
    assert second["users"] == {"": [40, 0, 1, 0], north: [20, 0, 1, 0]}
    assert second["enrollments"] == {"": [40, 0, 0, 0]}
    assert third["users"] == {"": [40, 1, 0, 0], west: [0, 1, 0, 0]}
    assert third["classes"] == {"": [2, 1, 0, 0], west: [0, 1, 0, 0]}
    assert first["students"] == {"": [0, 40, 0, 0], north: [0, 20, 0, 0], south: [0, 20, 0, 0]}
    assert (second["students"], third["students"][west]) == ({"": [40, 0, 0, 0]}, [0, 1, 0, 0])
    assert open_store(district.database_url).shares_before("demo", 2) == [third, second]
    assert "shares_json" not in steps.runs(district.district)[0]


def test_classes_that_rows_remove_count_in_their_school(nightly: Nightly) -> None:
    nightly.begin(people({}))
    nightly.run([{"action": "REMOVE-CLASS", "schoolId": "S1", "classId": "C1"}], approve=True)
    query = "SELECT shares_json FROM runs WHERE run_id = 'run-002'"
    (row,) = nightly.query(nightly.database_url, query)
    assert sorted(json.loads(row["shares_json"])["classes"].values()) == [[1, 0, 0, 1], [2, 0, 0, 1]]
