"""Two records that are one person: merged, read as one by later nights, and two again when that is undone."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from enrollsync import steps
from enrollsync.run.workspace import Merge
from enrollsync.words.errors import ConfigurationError
from nightly import Nightly, add_up, clever, other, pupil, section, student
from oneroster_files import ENROLLMENTS, NAMES, USERS, delivery, enrolled, user
from reconciling import Roster

ROWS = [student(), student(classId="C2", className="Art"), student("777", classId="C3", className="Music",
        schoolId="S2", schoolName="South", userEmail="lp@demo.example"), other(1)]  # fmt: skip
"""Leena is 300 in North, in two classes, and 777 in South, in a third one."""


def key_of(nightly: Nightly, identifier: str) -> int:
    ((key,),) = nightly.view("users", "user_key", f"user_id = '{identifier}'")
    return int(key)


def merge(nightly: Nightly, gone: str, kept: str, **asked: Any) -> dict[str, Any]:
    """Merge two people as a profile page does."""
    number = len(steps.runs(nightly.district)) + 1
    nightly.workspace = steps.start_merge(
        nightly.district, Merge(gone=key_of(nightly, gone), kept=key_of(nightly, kept)), run_id=f"merge-{number}",
        as_of=datetime(2026, 11, 23, 12, tzinfo=UTC), reason="one child", **asked,
    )  # fmt: skip
    return steps.merge(nightly.workspace, person="pat")


def classes_of(nightly: Nightly, identifier: str) -> list[str]:
    rows = nightly.view("enrollments", "class_id", f"user_id = '{identifier}' AND status = 'active'")
    return [name for (name,) in rows]


@pytest.fixture
def begun(nightly: Nightly) -> Nightly:
    nightly.begin(ROWS)
    return nightly


@pytest.fixture
def begun_everywhere(nightly_everywhere: Nightly) -> Nightly:
    nightly_everywhere.begin(ROWS)
    return nightly_everywhere


def test_what_hangs_on_one_passes_to_the_other_and_an_undo_takes_it_apart_again(begun_everywhere: Nightly) -> None:
    nightly = begun_everywhere
    before = nightly.everything()
    result = merge(nightly, "777", "300")
    assert result["outcome"] == "applied"
    assert classes_of(nightly, "300") == ["C1", "C2", "C3"] and classes_of(nightly, "777") == []
    assert nightly.roles("300") == [("S1", "student", True, "active"), ("S2", "student", False, "active")]
    assert nightly.roles("777") == [("S2", "student", False, "inactive")]
    assert nightly.view("users", "status", "user_id = '777'") == [("inactive",)]
    assert nightly.undo(result["run_id"])["outcome"] == "undone"
    assert classes_of(nightly, "777") == ["C3"] and classes_of(nightly, "300") == ["C1", "C2"]
    assert nightly.everything()["users"] == before["users"]
    assert nightly.run(ROWS)["outcome"] == "in_sync"


@pytest.mark.parametrize("mode", ["delta", "snapshot"])
def test_tomorrows_file_that_still_names_both_changes_nothing(nightly: Nightly, mode: str) -> None:
    nightly.settings = {"source": {"path": str(nightly.folder / "delivery"), "mode": mode}}
    nightly.begin(ROWS)
    merge(nightly, "777", "300")
    night = nightly.run(ROWS)
    assert night["outcome"] == "in_sync" and night["findings"]["PLAN-MERGED"] == 1
    add_up(night, users=4, enrollments=4, memberships=4)
    assert night["counts"]["users"]["collapsed"] == 2  # Leena's second class, and 777


@pytest.mark.parametrize("mode", ["delta", "snapshot"])
def test_a_file_that_names_only_the_one_that_went_speaks_of_the_one_who_was_kept(nightly: Nightly, mode: str) -> None:
    nightly.settings = {"source": {"path": str(nightly.folder / "delivery"), "mode": mode},
                        "thresholds": {"deactivate_percent": 100}}  # fmt: skip
    nightly.begin(ROWS)
    merge(nightly, "777", "300")
    night = nightly.run([ROWS[2] | {"userGrade": "6"}, ROWS[3]])
    assert night["outcome"] == "applied"
    assert nightly.view("users", "grade, status", "user_id = '300'") == [("6", "active")]
    assert classes_of(nightly, "300") == (["C3"] if mode == "snapshot" else ["C1", "C2", "C3"])
    assert nightly.view("users", "status", "user_id = '777'") == [("inactive",)]
    assert nightly.again()["outcome"] == "in_sync"


def test_a_link_that_both_have_stays_one(nightly: Nightly) -> None:
    rows = [*ROWS, ROWS[2] | {"classId": "C1", "className": "Math", "schoolId": "S1", "schoolName": "North"}]
    nightly.begin(rows)
    merge(nightly, "777", "300")
    assert classes_of(nightly, "300") == ["C1", "C2", "C3"]
    assert nightly.run(rows)["outcome"] == "in_sync"


def test_who_was_kept_may_be_merged_again_and_all_rows_mean_the_last_one(begun: Nightly) -> None:
    rows = [*ROWS, student("888", classId="C4", className="Drama", userEmail="l8@demo.example")]
    begun.run(rows)
    merge(begun, "777", "300")
    merge(begun, "300", "888")
    assert classes_of(begun, "888") == ["C1", "C2", "C3", "C4"]
    assert begun.run(rows)["outcome"] == "in_sync"
    assert begun.view("users", "user_id", "status = 'active'") == [("888",), ("u1",)]


def test_another_row_that_resembles_them_is_never_the_one_that_went(begun: Nightly) -> None:
    merge(begun, "777", "300")
    night = begun.run([*ROWS[:2], ROWS[3], ROWS[2] | {"userId": "999"}])
    assert begun.view("users", "status", "user_id = '777'") == [("inactive",)]
    assert night["counts"]["users"]["reidentify"] == 0


def test_a_rejected_row_of_the_one_that_went_keeps_the_others_class(nightly: Nightly) -> None:
    nightly.settings = {"source": {"path": str(nightly.folder / "delivery"), "mode": "snapshot"},
                        "thresholds": {"deactivate_percent": 100}}  # fmt: skip
    nightly.begin(ROWS)
    merge(nightly, "777", "300")
    nightly.run([*ROWS[:2], ROWS[2] | {"userRole": "wizard"}, ROWS[3]])
    assert classes_of(nightly, "300") == ["C1", "C2", "C3"]


def test_clevers_students_are_merged_too(nightly: Nightly) -> None:
    nightly.settings = {"primary_source": "clever"}
    twice = pupil(1, Student_id="p-9", Student_email="again@demo.example")
    files = clever([pupil(1), pupil(2), twice], sections=[section("X1"), section("X2")],
                   enrollments=[("X1", "p-1"), ("X1", "p-2"), ("X2", "p-9")])  # fmt: skip
    nightly.begin(files)
    merge(nightly, "p-9", "p-1")
    assert classes_of(nightly, "p-1") == ["X1", "X2"]
    assert nightly.run(files)["outcome"] == "in_sync"


def test_whom_the_roster_cannot_make_one_it_says_why(begun: Nightly) -> None:
    begun.run([*ROWS, other(5, userRole="teacher")])
    for gone, kept, said in (("300", "300", "one record"), ("300", "u5", "an employee")):
        with pytest.raises(ConfigurationError, match=said):
            merge(begun, gone, kept)
    merge(begun, "777", "300")
    with pytest.raises(ConfigurationError, match="merged before"):
        merge(begun, "u1", "777")


def test_a_look_at_a_merge_changes_nothing(begun: Nightly) -> None:
    before = begun.everything()
    result = merge(begun, "777", "300", dry_run=True)
    assert (result["outcome"], result["counts"]["enrollments"]["create"]) == ("planned", 1)
    assert begun.everything() == before


def test_explain_tells_of_both_that_they_are_one_person(begun: Nightly) -> None:
    merge(begun, "777", "300")
    (gone,) = steps.explain(begun.district, "user", "777")["records"]
    assert (gone["merged_into"], gone["life"][0]["comment"]) == ("300", "one child")
    (kept,) = steps.explain(begun.district, "user", "300")["records"]
    assert kept["merged"] == ["777"]


PLACES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=8, unique=True)
"""Who is in which class; a class is in a school of its own number."""


BY_HAND = st.tuples(st.booleans(), st.permutations(range(4)))
"""Whether two people are merged or one gets another identifier, and who."""


@settings(max_examples=5, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(
    places=PLACES, by_hand=st.lists(BY_HAND, min_size=1, max_size=4), chance=st.randoms(),
    source=st.sampled_from(["batch_upload", "clever"]), mode=st.sampled_from(["delta", "snapshot"]),
)  # fmt: skip
@example([(0, 0), (1, 1)], [(False, [0]), (True, [0, 1])], Random(1), "batch_upload", "snapshot")
def test_whoever_is_edited_and_merged_the_same_delivery_changes_nothing_in_any_row_order(
    places: list[tuple[int, int]], by_hand: list[tuple[bool, list[int]]], chance: Random, source: str, mode: str
) -> None:
    rows = [
        other(person, classId=f"C{number}", className=f"Class {number}", schoolId=f"S{number}",
              schoolName=f"School {number}")
        for person, number in places
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        roster = Roster(Path(folder), source, mode)
        roster.night(rows)
        keys = [key for _, key in roster.people().values()]
        attending = roster.attending()
        for number, (merges, (one, *others)) in enumerate(by_hand):
            gone, kept = (keys[place % len(keys)] for place in (one, *others, one)[:2])
            if not merges and gone not in roster.merges:
                roster.edit(gone, f"e{number}")
            elif merges and gone != kept and not {gone, kept} & set(roster.merges):
                roster.merge(gone, kept)
        meant = {(number, roster.merges.get(person, person)) for number, person in attending}
        assert roster.attending() == meant
        primary = [row["user_key"] for row in roster.tables["memberships"] if row["is_primary"]]
        assert len(primary) == len(set(primary)) == len(keys) - len(roster.merges)
        planned = roster.plan(chance.sample(rows, len(rows)))
        assert not any(planned.operations.values())


TWIN = {"givenName": "Givenp1", "familyName": "Familyp1", "email": "p1@demo.example"}
"""Who is p1 under the identifier p9."""
ALL_DELTA = dict.fromkeys(NAMES, "absent") | {"users": "delta", "enrollments": "delta"}


@pytest.mark.parametrize("gone_says", [{"status": "tobedeleted"}, {"enabledUser": "false"}])
def test_a_source_that_clears_the_second_record_away_takes_nothing_from_the_one_that_was_kept(
    nightly: Nightly, gone_says: dict[str, str]
) -> None:
    nightly.settings = {"primary_source": "oneroster"}
    nightly.begin(delivery(users=[*USERS, user("p9", **TWIN)], enrollments=[*ENROLLMENTS, enrolled("C1", "p9")]))
    merge(nightly, "p9", "p1")
    links = [enrolled("C1", "p9", status="tobedeleted")] if "status" in gone_says else []
    night = nightly.run(delivery(ALL_DELTA, users=[user("p9", **TWIN, **gone_says)], enrollments=links))
    assert (night["outcome"], nightly.set_aside()) == ("in_sync", [])
    assert nightly.view("users", "status", "user_id = 'p1'") == [("active",)]
    assert classes_of(nightly, "p1") == ["C1", "C2"]


def test_a_source_that_keeps_the_other_identifier_keeps_the_person(nightly: Nightly) -> None:
    nightly.settings = {"primary_source": "oneroster"}
    nightly.begin(delivery(users=[*USERS, user("p9", **TWIN)], enrollments=[*ENROLLMENTS, enrolled("C1", "p9")]))
    merge(nightly, "p9", "p1")
    said = [user("p1", status="tobedeleted"), user("p9", **TWIN, grades="06")]
    links = [enrolled("C1", "p1", status="tobedeleted"), enrolled("C1", "p9")]
    night = nightly.run(delivery(ALL_DELTA, users=said, enrollments=links))
    assert (night["outcome"], nightly.set_aside()) == ("applied", [])
    assert nightly.view("users", "grade, status", "user_id = 'p1'") == [("6", "active")]
    assert classes_of(nightly, "p1") == ["C1", "C2"]
    assert nightly.again()["outcome"] == "in_sync"
