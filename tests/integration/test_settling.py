"""Rows that wait for a person: listed with whom they may be, and loaded as the person says."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest

from enrollsync import steps
from enrollsync.run.workspace import Settle, Workspace
from integration.test_edits import edit
from integration.test_merges import merge
from nightly import Nightly, assert_undone_and_redone, clever, other, pupil, student

LEENA = student(userStateId="ST1")
SOMEBODY_ELSE = student(userFirstName="Nina", userLastName="New", userEmail="nina@demo.example", userStateId="ST7")
"""Under Leena's identifier."""
ALMOST = student("301", userEmail="", userGrade="6", userStateId="", userBirthDate=LEENA["userBirthDate"])
"""Leena's name and birth date, and another grade: almost a new identifier of hers."""


def waiting(nightly: Nightly) -> list[dict[str, Any]]:
    return pq.read_table(Workspace(Path(nightly.workspace)).waiting).to_pylist()


def settle(nightly: Nightly, row: dict[str, Any], *, same: bool, record: int | None = None) -> dict[str, Any]:
    """Say whose a waiting row is, as the page of what waits does."""
    manifest = Workspace(Path(nightly.workspace)).read()
    settled = Settle(
        run_id=manifest.run_id, format=str(manifest.format), entity=row["entity"], source_key=row["source_key"],
        record=(record or row["record_key"]) if same else None, file=row["file"], line=row["line"],
        alone=row["code"] == "ID-DUPLICATE",
    )  # fmt: skip
    workspace = steps.start_settle(
        nightly.district, settled, run_id=f"settle-{len(steps.runs(nightly.district))}",
        as_of=datetime(2026, 11, 23, 12, tzinfo=UTC), reason="asked the school",
    )  # fmt: skip
    return steps.settle(workspace, person="pat")


def held(nightly: Nightly, rows: list[dict[str, str]], code: str) -> dict[str, Any]:
    """Run a night of whose rows one waits for that reason; returns it."""
    night = nightly.run(rows)
    assert code in night["findings"]
    (row, *_) = waiting(nightly)
    assert row["code"] == code and row["record_key"] is not None
    return row


@pytest.fixture
def begun(nightly: Nightly) -> Nightly:
    nightly.begin([LEENA, other(1)])
    return nightly


def keys(nightly: Nightly) -> dict[str, tuple[Any, ...]]:
    """Identifier -> key, given name and status of everybody."""
    rows = nightly.view("users", "user_id, user_key, given_name, status")
    return {identifier: tuple(told) for identifier, *told in rows}


def test_a_recycled_identifier_of_the_same_person_takes_the_rows_values(begun: Nightly) -> None:
    leena = keys(begun)["300"][0]
    row = held(begun, [SOMEBODY_ELSE, other(1)], "PLAN-RECYCLED")
    assert (row["source_key"], row["file"], row["line"]) == ("300", "users.csv", 2)
    assert settle(begun, row, same=True)["outcome"] == "applied"
    assert keys(begun)["300"] == (leena, "Nina", "active")
    assert begun.run([SOMEBODY_ELSE, other(1)])["outcome"] == "in_sync"


def test_a_recycled_identifier_of_another_person_passes_on_and_an_undo_gives_it_back(
    nightly_everywhere: Nightly,
) -> None:
    nightly = nightly_everywhere
    nightly.begin([LEENA, other(1)])
    leena = keys(nightly)["300"][0]
    row = held(nightly, [SOMEBODY_ELSE, other(1)], "PLAN-RECYCLED")
    done = settle(nightly, row, same=False)
    assert done["outcome"] == "applied"
    assert keys(nightly)["300"][1:] == ("Nina", "active") and keys(nightly)["300"][0] != leena
    assert keys(nightly)[None] == (leena, "Leena", "inactive")  # type: ignore[index]
    assert nightly.view("enrollments", "class_id", "user_id = '300' AND status = 'active'") == [("C1",)]
    assert nightly.run([SOMEBODY_ELSE, other(1)])["outcome"] == "in_sync"
    assert nightly.undo(done["run_id"])["outcome"] == "undone"
    assert keys(nightly)["300"] == (leena, "Leena", "active")


def test_an_almost_fitting_row_is_the_persons_new_identifier(begun: Nightly) -> None:
    leena = keys(begun)["300"][0]
    row = held(begun, [ALMOST, other(1)], "PLAN-AMBIGUOUS")
    assert settle(begun, row, same=True)["outcome"] == "applied"
    assert keys(begun)["301"] == (leena, "Leena", "active") and "300" not in keys(begun)
    assert begun.run([ALMOST, other(1)])["outcome"] == "in_sync"


def test_an_almost_fitting_row_may_be_somebody_new(begun: Nightly) -> None:
    row = held(begun, [ALMOST, other(1)], "PLAN-AMBIGUOUS")
    assert settle(begun, row, same=False)["outcome"] == "applied"
    assert keys(begun)["301"][1:] == ("Leena", "active") and keys(begun)["300"][1:] == ("Leena", "active")
    assert begun.run([ALMOST, other(1)])["outcome"] == "in_sync"


@pytest.mark.parametrize("same", [True, False])
def test_a_row_that_lost_its_zeros_is_settled_either_way(nightly: Nightly, same: bool) -> None:
    nightly.begin([LEENA | {"userId": "0300"}, other(1)])
    before = keys(nightly)["0300"][0]
    row = held(nightly, [LEENA, other(1)], "ID-LEADING-ZERO")
    assert settle(nightly, row, same=same)["outcome"] == "applied"
    assert (keys(nightly)["300"][0] == before) is same
    assert nightly.run([LEENA, other(1)])["outcome"] == "in_sync"


def test_what_cannot_be_is_rejected_and_nothing_changes(begun: Nightly) -> None:
    """Nina cannot be u1 as long as Leena keeps the identifier."""
    row = held(begun, [SOMEBODY_ELSE, other(1)], "PLAN-RECYCLED")
    before = begun.everything()
    result = settle(begun, row, same=True, record=int(keys(begun)["u1"][0]))
    assert result["outcome"] == "rejected" and "nothing was changed" in result["message"]
    assert begun.everything() == before


def test_of_two_people_under_one_identifier_the_right_row_is_loaded_alone(begun: Nightly) -> None:
    leena = keys(begun)["300"][0]
    older = LEENA | {"userGrade": "6"}
    night = begun.run([older, SOMEBODY_ELSE, other(1)])
    assert night["counts"]["users"]["rejected"] == 2
    rows = waiting(begun)
    assert [(row["code"], row["line"], row["record_key"]) for row in rows] == [
        ("ID-DUPLICATE", 2, leena), ("ID-DUPLICATE", 3, leena)
    ]  # fmt: skip
    assert settle(begun, rows[0], same=True)["outcome"] == "applied"
    assert begun.view("users", "given_name, grade", "user_id = '300'") == [("Leena", "6")]
    assert begun.run([older, SOMEBODY_ELSE, other(1)])["outcome"] == "in_sync"


def test_clevers_rows_are_settled_too(nightly: Nightly) -> None:
    nightly.settings = {"primary_source": "clever"}
    nightly.begin(clever([pupil(1), pupil(2)]))
    changed = pupil(1, First_name="Nina", Last_name="New", DOB="5/5/2012", Student_email="nina@demo.example")
    files = clever([changed, pupil(2)])
    assert "PLAN-RECYCLED" in nightly.run(files)["findings"]
    (row,) = waiting(nightly)
    assert settle(nightly, row, same=False)["outcome"] == "applied"
    assert nightly.view("users", "given_name, status", "user_id = 'p-1'") == [("Nina", "active")]
    assert nightly.run(files)["counts"]["enrollments"]["create"] == 1, "of which no row of hers told"
    assert nightly.again()["outcome"] == "in_sync"


@pytest.mark.slow
@pytest.mark.parametrize(("database_url", "seed"), [("sqlite", 6)], indirect=["database_url"])
def test_merges_edits_and_answers_between_nights_can_be_undone_and_redone_and_leave_nothing_to_plan(
    nightly_everywhere: Nightly, seed: int
) -> None:
    nightly, chance = nightly_everywhere, Random(seed)
    nightly.settings |= {"source": {"path": str(nightly.folder / "delivery"), "mode": "snapshot"},
                         "thresholds": {"floor": 1000}}  # fmt: skip
    rows = [other(number, classId=f"C{number % 2}", className=f"Class {number % 2}") for number in range(6)]
    nightly.begin(rows)
    named = [f"u{number}" for number in range(6)]
    for step, kind in enumerate(chance.sample(["edit", "merge", "answer", "merge"], 4)):
        one, two = chance.sample([number for number, name in enumerate(named) if name], 2)
        if kind == "merge":
            assert_undone_and_redone(nightly, partial(merge, nightly, named[one], named[two]))
            named[one] = ""
        elif kind == "edit":
            assert_undone_and_redone(nightly, partial(edit, nightly, named[one], user_id=f"e{step}"))
            named[one] = f"e{step}"
        else:
            rows[one] = other(10 + step, **{name: rows[one][name] for name in ("userId", "classId", "className")})
            row = held(nightly, rows, "PLAN-RECYCLED")
            assert_undone_and_redone(nightly, partial(settle, nightly, row, same=chance.random() < 0.5))
        assert nightly.run(chance.sample(rows, len(rows)))["outcome"] == "in_sync"
    assert len(nightly.view("users", "user_id", "status = 'active'")) == 4
