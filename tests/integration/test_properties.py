"""What must hold for every delivery, however dirty: order, repetition, completeness and counts."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from enrollsync.run.workspace import Workspace
from enrollsync.validate.accept import records
from enrollsync.words.canonical import BY_NAME, ENTITIES
from nightly import BATCH_HEADER, Nightly, Query, assert_counted_whole, student

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_checks")]

Row = dict[str, str]

_PEOPLE = {
    "userId": ["1", "1", "2", "2", "3", "4", "ab", "AB", " 1", "5!", "123456789", ""],
    "userRole": ["student", "student", "student", "teacher", "Staff", "pupil", ""],
    "userFirstName": ["Ann", "Ann", "Bo", ""],
    "userLastName": ["Lee", "Lee", "Okafor"],
    "userEmail": ["ann@demo.example", "bo@demo.example", "ANN@demo.example", "odd", ""],
    "userBirthDate": ["2015-03-09", "3/9/15", "2014-01-01", "31/31/2015", ""],
    "userGrade": ["5", "05", "6", "K", "five", ""],
    "userStateId": ["9", "8", ""],
}
_PLACES = {
    "schoolId": ["S1", "S1", "S2", "S 3", ""],
    "schoolName": ["North", "North ", "South", ""],
    "classId": ["C1", "C1", "C2", "C3", "c1", ""],
    "className": ["Math", "Art", ""],
    "classGrade": ["5", "six", ""],
    "primaryTeacher": ["Y", "N", "maybe", ""],
    "action": ["", "", "", "", "", "", "REMOVE-CLASS", "remove-class ", "DELETE"],
}
rows = st.fixed_dictionaries({name: st.sampled_from(pool) for name, pool in (_PEOPLE | _PLACES).items()})
batches = st.lists(rows, min_size=3, max_size=12)
few = settings(
    max_examples=2, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
"""Every example is four whole nights: few of them, always the same, and none to make a failing one smaller."""


@contextmanager
def district(query: Query) -> Iterator[Nightly]:
    """A district of its own for one example; no change in it is so great that it waits for a person."""
    with tempfile.TemporaryDirectory() as folder:
        nightly = Nightly(Path(folder), f"sqlite:///{folder}/roster.db", query)
        nightly.settings["thresholds"] = {"floor": 1000}
        yield nightly


def told(result: dict[str, Any]) -> tuple[Any, ...]:
    """What a run decided, without what is its own: its id and its folder."""
    return tuple(result[name] for name in ("outcome", "plan_id", "counts", "findings"))


def rows_that_speak_of(batch: list[Row]) -> dict[str, int]:
    """Entity -> rows of the delivery. What a row says of a class that another one removes is no row of its own."""
    said = [row for row in batch if not removes(row)]
    attending = [row for row in said if row["userRole"].lower() in {"student", "teacher"}]
    placed = [row for row in said if row in attending or row["classId"]]
    removals = [row["classId"] for row in batch if removes(row)]
    rejected = [class_id for class_id in removals if not class_id.isalnum()]
    gone = set(removals) - set(rejected)
    return dict.fromkeys(("organizations", "users", "memberships"), len(said)) | {
        "classes": sum(row["classId"] not in gone or row["action"] == "DELETE" for row in placed) + len(rejected),
        "enrollments": sum(row["classId"] not in gone for row in attending),
    }


def removes(row: Row) -> bool:
    return row["action"].strip().lower() == "remove-class"


def accepted(nightly: Nightly, entity: str, column: str) -> set[str]:
    """The identifiers of the records that the last run's checks let through."""
    query = f"SELECT {column} FROM ({records(BY_NAME[entity], Workspace(Path(nightly.workspace)))})"
    with duckdb.connect(":memory:") as connection:
        return {name for (name,) in connection.execute(query).fetchall()}


@few
@given(first=batches, second=batches, data=st.data())
def test_the_order_of_rows_changes_neither_plan_nor_roster(
    query: Query, first: list[Row], second: list[Row], data: st.DataObject
) -> None:
    with district(query) as one, district(query) as other:
        for batch in (first, second):
            shuffled = data.draw(st.permutations(batch))
            assert told(one.run(batch)) == told(other.run(shuffled))
            assert one.everything() == other.everything()


@few
@given(first=batches, second=batches)
def test_a_delivery_is_counted_whole_and_finds_nothing_to_do_when_it_comes_again(
    query: Query, first: list[Row], second: list[Row]
) -> None:
    with district(query) as nightly:
        for night, batch in enumerate((first, second)):
            result = nightly.run(batch)
            assert result["outcome"] in {"applied", "in_sync"}
            assert_counted_whole(nightly, result, rows_that_speak_of(batch))
            if not night:
                assert_all_that_may_load_is_in_the_views(nightly, result)
            before = nightly.everything()
            again = nightly.run(batch[::-1])
            assert again["outcome"] == "in_sync"
            assert_counted_whole(nightly, again, rows_that_speak_of(batch))
            assert nightly.everything() == before


def test_every_mixture_of_faults_beside_removals_is_counted_whole(nightly: Nightly) -> None:
    """Rows of a removed class, of one that cannot be removed, and of others, with faults of their own."""
    nightly.settings["thresholds"] = {"floor": 1000}
    pools = {
        "userId": ["1", "5!", ""], "userRole": ["student", "pupil", "Staff"], "classId": ["C1", "C2", "C 3", ""],
        "schoolId": ["S1", ""], "action": ["", "DELETE"], "classGrade": ["six"],
    }  # fmt: skip
    mixed = [student(**dict(zip(pools, values, strict=True))) for values in itertools.product(*pools.values())]
    removals = [student("7", action="REMOVE-CLASS", classId=class_id) for class_id in ("C1", "C 3", "C9", "")]
    known = [student(str(number), classId="C1") for number in range(1, 5)]
    for batch in (known, [*mixed, *removals], [student("2", schoolId="S2")], [*removals, *known]):
        rows = [dict.fromkeys(BATCH_HEADER, "") | row for row in batch]
        assert_counted_whole(nightly, nightly.run(rows), rows_that_speak_of(rows))


def assert_all_that_may_load_is_in_the_views(nightly: Nightly, result: dict[str, Any]) -> None:
    """On a first night nothing is there to stand against a row that was accepted."""
    for entity in ENTITIES:
        assert len(nightly.view(entity.name)) == result["counts"][entity.name]["create"]
    for name, column in (("organizations", "organization_id"), ("users", "user_id"), ("classes", "class_id")):
        assert {identifier for (identifier,) in nightly.view(name, column)} == accepted(nightly, name, column)
