"""What must hold for every delivery, however dirty: order, repetition, completeness and counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrollsync.canonical import ENTITIES
from nightly import Nightly, Query

pytestmark = pytest.mark.slow

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
batches = st.lists(rows, min_size=1, max_size=10)
some = settings(
    max_examples=8, deadline=None, print_blob=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@contextmanager
def district(query: Query) -> Iterator[Nightly]:
    """A district of its own for one example; nothing in it waits for a person."""
    with tempfile.TemporaryDirectory() as folder:
        nightly = Nightly(Path(folder), f"sqlite:///{folder}/roster.db", query)
        nightly.settings["thresholds"] = {"floor": 1000}
        yield nightly


def is_removal(row: Row) -> bool:
    return row["action"].strip().lower() == "remove-class"


def speak_of(batch: list[Row]) -> dict[str, int]:
    """How many rows say something of each entity; a removal takes others' rows out of the last two."""
    said = [row for row in batch if not is_removal(row)]
    attending = [row for row in said if row["userRole"].lower() in {"student", "teacher"}]
    placed = [row for row in said if row in attending or row["classId"]]
    of_all = dict.fromkeys(("organizations", "users", "memberships"), len(said))
    return of_all if len(said) < len(batch) else of_all | {"classes": len(placed), "enrollments": len(attending)}


def accepted(nightly: Nightly, entity: str, column: str) -> set[str]:
    path = f"{nightly.workspace}/accepted/{entity}.parquet"
    return {value for (value,) in duckdb.execute(f"SELECT {column} FROM read_parquet(?)", [path]).fetchall()}


@some
@given(first=batches, second=batches, data=st.data())
def test_the_order_of_rows_does_not_matter(
    query: Query, first: list[Row], second: list[Row], data: st.DataObject
) -> None:
    orders = [(first, second), (data.draw(st.permutations(first)), data.draw(st.permutations(second)))]
    seen: list[Any] = []
    for one, two in orders:
        with district(query) as nightly:
            results = [nightly.run(one), nightly.run(two)]
            told = [(result["outcome"], result["plan_id"], result["counts"], result["findings"]) for result in results]
            seen.append((told, nightly.everything()))
    assert seen[0] == seen[1]


@some
@given(first=batches, second=batches)
def test_the_same_delivery_again_finds_nothing_to_do_and_every_row_is_counted(
    query: Query, first: list[Row], second: list[Row]
) -> None:
    with district(query) as nightly:
        for batch in (first, second):
            counts = nightly.run(batch)["counts"]
            read = {name: sum(counts[name].values()) - counts[name]["deactivate"] for name in counts}
            assert read == speak_of(batch)
            before = nightly.everything()
            again = nightly.run()
            assert again["outcome"] == "in_sync"
            assert nightly.everything() == before
            assert sum(again["counts"][name][done] for name in counts for done in ("create", "update", "reidentify",
                       "reactivate", "deactivate")) == 0  # fmt: skip


@some
@given(batch=batches)
def test_on_a_first_night_what_may_load_is_in_the_views_and_nothing_else(query: Query, batch: list[Row]) -> None:
    with district(query) as nightly:
        result = nightly.run(batch)
        counts = result["counts"]
        for entity in ENTITIES:
            assert len(nightly.view(entity.name)) == counts[entity.name]["create"]
        for entity, column in (("users", "user_id"), ("classes", "class_id"), ("organizations", "organization_id")):
            shown = {value for (value,) in nightly.view(entity, column)}
            assert len(shown) == counts[entity]["create"]
            assert shown <= accepted(nightly, entity, column)
            delivered = {row[{"user_id": "userId", "class_id": "classId"}.get(column, "schoolId")].strip()
                         for row in batch}  # fmt: skip
            assert shown <= delivered
            assert not any("!" in value or " " in value for value in shown)
        held = sum(counts[name]["held"] for name in counts)
        if not held:
            for entity, column in (("users", "user_id"), ("classes", "class_id"),
                                   ("organizations", "organization_id")):  # fmt: skip
                assert accepted(nightly, entity, column) == {value for (value,) in nightly.view(entity, column)}
