"""Another primary source: rows take over the former one's records, and nobody is made anew or goes by it."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightly import Nightly, clever, other, pupil, student
from reconciling import Planned, Roster

BIRTH = ("userBirthDate", "userEmail", "userStateId", "userDistrictId")
NONE = dict.fromkeys(BIRTH, "")


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    """Six students by Batch Upload, each of another birth date, email and state ID."""
    roster = Roster(tmp_path, mode="snapshot")
    roster.night([person(number) for number in range(6)])
    return roster


def person(number: int, **values: str) -> dict[str, str]:
    return other(number, **{"userStateId": f"9{number}", "classId": f"C{number % 2}", **values})


def switched(roster: Roster, rows: list[dict[str, str]]) -> Planned:
    roster.source = "clever"
    return roster.plan(rows)


def pairs(roster: Roster, entity: str = "user") -> dict[str, tuple[str, str]]:
    """Old identifier -> new one and by what both were matched."""
    with roster.workspace.switch_list.open(newline="") as stream:
        return {
            row["old_id"]: (row["new_id"], row["matched_by"])
            for row in csv.DictReader(stream)
            if row["entity"] == entity
        }


def test_rows_take_over_records_by_what_both_say_the_strongest_first(roster: Roster) -> None:
    rows = [
        person(0),
        person(1, **NONE | {"userStateId": "91", "userId": "K1"}),
        person(2, **NONE | {"userEmail": "PERSON2@demo.example", "userId": "K2"}),
        person(3, **NONE | {"userBirthDate": other(3)["userBirthDate"], "userId": "K3"}),
        person(4, **NONE | {"userId": "94"}),
        person(7, userId="K7", userStateId="97"),
    ]
    planned = switched(roster, rows)
    assert pairs(roster) == {
        "u0": ("u0", "identifier"), "u1": ("K1", "secondary ID"), "u2": ("K2", "email"),
        "u3": ("K3", "names and birth date"), "u4": ("94", "secondary ID"), "u5": ("", ""), "": ("K7", ""),
    }  # fmt: skip
    assert planned.done() == {
        "u0": "update", "K1": "reidentify", "K2": "reidentify", "K3": "reidentify", "94": "reidentify", "K7": "create",
    }  # fmt: skip
    (hold,) = planned.plan.holds
    assert hold.code == "GUARD-SWITCH"
    assert (
        "users: 5 matched (by secondary ID 2, email 1, identifier 1, names and birth date 1), 1 new, 1 left without a "
        "row" in hold.message
    )


def test_an_adopted_record_keeps_its_key_and_its_classes_and_nobody_goes(roster: Roster) -> None:
    before, attending = roster.people(), roster.attending()
    roster.source = "clever"
    roster.night([person(number, userId=f"K{number}") for number in range(5)])
    after = roster.people()
    assert {after[f"K{number}"] for number in range(5)} == {before[f"u{number}"] for number in range(5)}
    assert after["u5"] == before["u5"], "who is left without a row stays"
    assert roster.attending() == attending
    assert {row["source"] for row in roster.tables["users"] if row["user_id"] != "u5"} == {"clever"}


def test_the_night_after_is_an_ordinary_one(roster: Roster) -> None:
    rows = [person(number, userId=f"K{number}") for number in range(6)]
    roster.source = "clever"
    roster.night(rows)
    planned = roster.night(rows)
    assert (planned.plan.operations, planned.plan.holds) == (0, [])
    planned = roster.plan(rows[:-1])
    assert planned.done() == {"K5": "deactivate"}


def test_who_is_left_stays_until_a_person_lets_go_and_guests_stay_all_the_same(roster: Roster) -> None:
    roster.mode = "delta"
    roster.night([person(9, userRole="teacher")])
    roster.mode = "snapshot"
    rows = [person(number, userId=f"K{number}") for number in range(5)]
    roster.source = "clever"
    roster.night(rows)
    assert roster.plan(rows).plan.operations == 0
    roster.lets_go = True
    planned = roster.night(rows)
    assert planned.done() == {"u5": "deactivate"}
    gone = {entity: len(planned.operations[entity]) for entity in ("users", "memberships", "classes", "enrollments")}
    assert gone == {"users": 1, "memberships": 1, "classes": 0, "enrollments": 2}
    assert "u9" in roster.people(), "staff of another source may be delivered beside the primary one"
    assert roster.plan(rows).plan.operations == 0


def test_what_two_share_matches_neither(roster: Roster) -> None:
    same = NONE | {"userEmail": "person0@demo.example", "userFirstName": "Given0"}
    planned = switched(roster, [person(n, **same | {"userId": f"K{n}"}) for n in (0, 1)])
    assert planned.done() == {"K0": "create", "K1": "create"}


def test_an_identifier_that_is_somebody_elses_over_there_takes_nobody_over(roster: Roster) -> None:
    """Both systems count from one: `u1` is another child in the new one, who is matched by the state ID."""
    rows = [person(2, userId="u1"), person(1, userId="u2")]
    switched(roster, rows)
    assert {old: pair for old, pair in pairs(roster).items() if old in ("u1", "u2")} == {
        "u1": ("u2", "secondary ID"), "u2": ("u1", "secondary ID"),
    }  # fmt: skip


def test_schools_and_classes_are_matched_by_name_schedule_or_people(roster: Roster) -> None:
    rows = [
        person(n, userId=f"K{n}", schoolId="77", classId=f"X{n % 2}", className="Biology" if n % 2 else "Reading")
        for n in range(6)
    ]
    switched(roster, rows)
    assert pairs(roster, "organization") == {"S1": ("77", "name")}
    assert {old: by for old, (_, by) in pairs(roster, "class").items()} == {"C0": "people", "C1": "people"}


def test_staff_of_another_source_makes_no_switch(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.night([student("T1", userRole="teacher")])
    planned = switched(roster, [person(1)])
    assert "GUARD-SWITCH" not in planned.holds()


def test_another_way_of_keying_people_is_a_switch_of_one_source(tmp_path: Path) -> None:
    """As Clever's API does after its files."""
    roster = Roster(tmp_path, source="clever", mode="snapshot")
    roster.night([person(number) for number in range(4)])
    before = roster.people()
    planned = roster.night([person(number, key=f"{number:024x}") for number in range(3)])
    (hold,) = planned.plan.holds
    assert hold.message.startswith("clever keys people otherwise than before, and takes nobody away: organizations: ")
    assert "users: 3 matched (by identifier 3), 1 left without a row" in hold.message
    assert roster.people() == before
    assert roster.plan([person(number, key=f"{number:024x}") for number in range(4)]).holds() == set()


def test_new_identifiers_for_all_are_no_switch_where_these_are_the_keys(tmp_path: Path) -> None:
    roster = Roster(tmp_path, source="clever")
    roster.night([person(number) for number in range(4)])
    assert "GUARD-SWITCH" not in roster.plan([person(number, userId=f"K{number}") for number in range(4)]).holds()


@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_no_key_changes_hands_and_no_enrollment_is_lost_whatever_both_say(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each child has a name of its own, so that who is behind a key is known beforehand and afterwards."""
    roster = Roster(tmp_path_factory.mktemp("switch"), mode="snapshot")
    roster.night([person(number) for number in range(5)])
    before = {key: name for name, key in roster.people().values()}
    attending = roster.attending()
    numbers = data.draw(st.permutations(range(6)))
    keys = data.draw(st.permutations([f"u{number}" for number in range(6)]))
    rows = [
        person(number, userId=key, **dict.fromkeys(data.draw(st.sets(st.sampled_from(BIRTH))), ""))
        for number, key in zip(numbers[: data.draw(st.integers(1, 6))], keys, strict=False)
    ]
    roster.source = "clever"
    planned = roster.night(rows)
    assert "GUARD-SWITCH" in planned.holds()
    assert "deactivate" not in planned.done().values()
    after = {row["user_key"]: row["given_name"] for row in roster.tables["users"]}
    assert {key: after[key] for key in before} == before
    assert roster.attending() >= attending


def test_a_switch_waits_is_applied_and_undone(nightly: Nightly) -> None:
    district = nightly
    district.run([student(str(n), userFirstName=f"Ann{n}", userStateId=f"9{n}", userEmail="") for n in range(1, 4)])
    before, keys = district.everything(), district.view("users", "user_id, user_key")
    district.settings["primary_source"] = "clever"
    pupils = [
        pupil(n, Student_id=str(n), First_name=f"Ann{n}", Last_name="Parath", State_id=f"9{n}") for n in (1, 2, 3)
    ]
    held = district.run(clever(pupils))
    assert (held["outcome"], [hold["code"] for hold in held["holds"]]) == ("held", ["GUARD-SWITCH"])
    assert list(switch_files(district))
    applied = district.run(approve=True)
    assert applied["outcome"] == "applied"
    assert {row for row in district.view("users", "user_id, user_key") if row in keys} == set(keys)
    assert district.again()["outcome"] == "in_sync"
    assert district.undo(applied["run_id"])["outcome"] == "undone"
    assert (district.everything(), district.view("users", "user_id, user_key")) == (before, keys)


def switch_files(district: Nightly) -> Iterator[Any]:
    """The run's list of pairs, which nobody else may read."""
    path = Path(district.workspace) / "switch.csv"
    assert path.stat().st_mode & 0o077 == 0
    yield from itertools.islice(csv.DictReader(path.open()), 3)
