"""What a night remembers of its findings, school by school, and what counts as new the next morning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from enrollsync.run.workspace import Workspace
from nightly import Nightly, clever, faults, other, pupil, section, student, tutor

NORTH = {"schoolId": "S1", "schoolName": "North"}
SOUTH = {"schoolId": "S2", "schoolName": "South", "classId": "C2"}


def by_school(nightly: Nightly, result: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Code -> identifier of a school -> how many, as the run is remembered."""
    query = f"SELECT schools_json FROM runs WHERE run_id = '{result['run_id']}'"
    ((told,),) = (row.values() for row in nightly.query(nightly.database_url, query))
    names = {str(key): name for key, name in nightly.view("organizations", "organization_key, organization_id")}
    return {code: {names[key]: n for key, n in found.items()} for code, found in json.loads(told).items()}


def told(nightly: Nightly) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(Workspace(Path(nightly.workspace)).school_findings).to_pylist()
    return found


def test_a_finding_counts_in_the_school_of_its_row(nightly_everywhere: Nightly) -> None:
    night = nightly_everywhere.run([
        other(1, **NORTH, userEmail="no address"), other(2, **SOUTH, userEmail="none"),
        other(3, **SOUTH, userEmail="none too"), other(4, **SOUTH, userId=""),
    ])  # fmt: skip
    found = by_school(nightly_everywhere, night)
    assert found["VAL-EMAIL"] == {"S1": 1, "S2": 2}
    assert found["ID-MISSING"] == {"S2": 1}


def test_a_finding_on_a_person_of_two_schools_counts_where_its_line_stands(nightly: Nightly) -> None:
    rows = [other(1, **NORTH), other(1, **SOUTH, userEmail="none"), other(2, **SOUTH)]
    night = nightly.run(rows)
    assert by_school(nightly, night)["VAL-EMAIL"] == {"S2": 1}


def test_whom_a_finding_concerns_is_told_as_far_as_it_helps_to_mend_it(nightly: Nightly) -> None:
    nightly.run([other(1, **NORTH, userEmail="none"), other(2, **NORTH, userId="")])
    keys = ("severity", "code", "file", "line", "name", "identifier", "class_id")
    critical, warning = [tuple(one[key] for key in keys) for one in told(nightly)]
    assert critical[:5] == ("critical", "ID-MISSING", "users.csv", 3, "Given2 Family2")
    assert warning == ("warning", "VAL-EMAIL", "users.csv", 2, "Given1 Family1", "u1", None)


def test_what_a_third_party_says_of_people_and_enrollments_is_placed_by_school_and_class(nightly: Nightly) -> None:
    nightly.settings = {"primary_source": "clever"}
    schools = [{"School_id": name, "School_name": name} for name in ("S1", "S2")]
    night = nightly.run(clever(
        [pupil(1), pupil(2, School_id="S2", Student_email="none")], [tutor("T1")],
        [section("X1"), section("X2", School_id="S2")], [("X1", "p-1"), ("X2", "p-9")], schools,
    ))  # fmt: skip
    found = by_school(nightly, night)
    assert found["VAL-EMAIL"] == {"S2": 1}
    assert found["REF-UNKNOWN"] == {"S2": 1}


def test_what_only_the_plan_finds_is_placed_too(nightly: Nightly) -> None:
    nightly.begin([student("300", **NORTH), student("301", **SOUTH, userFirstName="Bo", userLastName="Cy")])
    night = nightly.run([student("301", **NORTH)])
    assert any(code.startswith("PLAN-") for code in night["findings"])
    assert by_school(nightly, night) == {code: {"S1": count} for code, count in faults(night).items()}


def test_advice_is_counted_and_not_told_one_by_one(nightly: Nightly) -> None:
    night = nightly.run([other(1, userId=" u1")])
    found = by_school(nightly, night)
    assert found and found == {code: {"S1": count} for code, count in faults(night).items()}
    assert told(nightly) == []


def test_a_night_without_findings_leaves_no_file(nightly: Nightly) -> None:
    night = nightly.run([other(1), other(2)])
    assert (night["findings"], by_school(nightly, night)) == ({}, {})
    assert not Workspace(Path(nightly.workspace)).school_findings.exists()


def test_a_short_cut_remembers_what_the_last_look_found(nightly: Nightly) -> None:
    rows = [other(1, userEmail="none"), other(2)]
    first = nightly.run(rows, found=True)
    again = nightly.run(found=True, force=False)
    assert again["outcome"] == "in_sync"
    assert by_school(nightly, again) == by_school(nightly, first) != {}


@pytest.mark.parametrize("what", ["undo", "refused"])
def test_a_run_that_came_to_no_plan_of_a_delivery_measures_nothing(nightly: Nightly, what: str) -> None:
    first = nightly.run([other(1)])
    result = nightly.undo(first["run_id"]) if what == "undo" else nightly.run({"users.csv": "nonsense\n"})
    query = f"SELECT schools_json FROM runs WHERE run_id = '{result['run_id']}'"
    assert nightly.query(nightly.database_url, query) == [{"schools_json": None}]
