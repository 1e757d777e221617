"""What a person asks of one run alone, in Airflow's form: adds only, other limits, a delivery that was picked."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from nightly import Nightly, as_csv, clever, pupil

BEFORE = [pupil(number) for number in range(1, 41)]
AFTER = [*BEFORE[:-1], pupil(41)]
NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)


@pytest.fixture
def district(nightly: Nightly) -> Nightly:
    """A Clever district of forty students."""
    nightly.settings["primary_source"] = "clever"
    nightly.begin(clever(BEFORE))
    return nightly


def active(district: Nightly) -> int:
    return len(district.view("users", "user_key", "status = 'active' AND role = 'student'"))


def test_run_that_only_adds_deactivates_nothing_and_the_next_ordinary_one_does(district: Nightly) -> None:
    result = district.run(clever(AFTER), adds_only=True)
    assert (result["outcome"], active(district)) == ("applied", 41)
    assert {numbers["deactivate"] for numbers in result["counts"].values()} == {0}
    result = district.run(force=False)
    assert (result["outcome"], active(district)) == ("applied", 40)
    assert result["counts"]["users"]["deactivate"] == 1


def test_run_that_only_adds_removes_no_class_either(nightly: Nightly) -> None:
    row = {"schoolId": "1", "classId": "A1", "className": "Art", "userId": "7", "userRole": "student"}
    row |= {"userFirstName": "Ada", "userLastName": "Byron", "schoolName": "North", "classGrade": "5"}
    nightly.begin([row])
    result = nightly.run([{"action": "REMOVE-CLASS", "classId": "A1"}], adds_only=True)
    assert result["outcome"] == "in_sync"
    assert nightly.view("classes", "class_id, status") == [("A1", "active")]


def test_run_that_only_adds_takes_no_short_cut_and_leaves_none(district: Nightly) -> None:
    district.run(clever(AFTER))
    assert district.run(force=False)["outcome"] == "in_sync"
    assert district.run(force=False, adds_only=True)["outcome"] == "in_sync"
    assert os.listdir(district.workspace + "/canonical"), "the files were read"
    assert district.run(force=False)["outcome"] == "in_sync"


def test_limits_of_one_run_let_through_what_the_districts_would_hold(district: Nightly) -> None:
    fewer = clever(BEFORE[:20])
    assert district.run(fewer)["outcome"] == "held"
    assert (
        district.run(overrides={"deactivate_percent": 60}, override_reason="two grades moved")["outcome"] == "applied"
    )
    assert active(district) == 20


def test_limits_of_one_run_are_no_limits_of_the_next(district: Nightly) -> None:
    assert district.run(clever(BEFORE[:30]), overrides={"deactivate_percent": 60})["outcome"] == "applied"
    assert district.run(clever(BEFORE[:20]))["outcome"] == "held"


def test_delivery_picked_from_another_districts_folder_is_not_read(district: Nightly) -> None:
    elsewhere = district.folder / "elsewhere"
    (district.folder / "delivery").rename(elsewhere)
    (district.folder / "delivery").mkdir()
    result = district.run(source=str(elsewhere), picked=True)
    assert (result["outcome"], result["counts"]["users"]["unchanged"]) == ("failed", 0)
    assert "is not in `source.path`" in result["message"]
    assert str(elsewhere) not in result["message"]


def test_limits_of_one_run_do_not_lift_an_empty_file(district: Nightly) -> None:
    empty = clever(BEFORE) | {"students.csv": as_csv([], "School_id,Student_id,Last_name,First_name")}
    result = district.run(empty, overrides={"deactivate_percent": 100, "update_percent": 100})
    assert result["outcome"] == "held"
    assert [hold["code"] for hold in result["holds"]] == ["GUARD-EMPTY"] * len(result["holds"])


def test_older_delivery_picked_in_the_form_says_so_and_waits_but_a_named_one_does_not(district: Nightly) -> None:
    delivery = district.deliver(clever(AFTER))
    for path in delivery.iterdir():
        os.utime(path, (0, 0))
    result = district.run(picked=True)
    assert (result["outcome"], [hold["code"] for hold in result["holds"]]) == ("held", ["GUARD-STALE"])
    assert "delivered 1970-01-01" in result["holds"][0]["message"]
    assert district.run(picked=False)["outcome"] == "applied"


@pytest.mark.parametrize(
    ("hours", "found", "said"), [(23, True, False), (25, True, True), (25, False, False)],
    ids=["in time", "overdue", "named by hand"],
)  # fmt: skip
def test_newest_delivery_older_than_it_should_be_is_said_even_when_nothing_is_read(
    district: Nightly, hours: int, found: bool, said: bool
) -> None:
    district.settings["source"] = {"path": str(district.folder / "delivery"), "due_hours": 24}
    district.settings["recheck_days"] = 100
    for path in (district.folder / "delivery").iterdir():
        os.utime(path, (NOW.timestamp(),) * 2)
    for force, later in ((True, 1), (False, hours), (False, hours), (True, hours)):
        result = district.run(force=force, found=found, as_of=NOW + timedelta(hours=later))
        assert result["outcome"] == "in_sync"
        assert result["findings"].get("FILE-OVERDUE", 0) == int(said and later > 1)
