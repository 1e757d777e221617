"""What a person answers to a held plan: approve, without removals, use the proposal, reject; and what is kept of it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from enrollsync import steps
from enrollsync.cli import app
from enrollsync.plan.plan import load_plan
from enrollsync.plan.removals import without_removals
from enrollsync.run.workspace import Workspace
from enrollsync.words.errors import EnrollSyncError
from nightly import Nightly, clever, other, pupil, section, tutor

EASILY_HELD = {"thresholds": {"deactivate_percent": 0, "update_percent": 0, "floor": 1}}
NEVER_OVER = {"thresholds": {"deactivate_percent": 100, "update_percent": 100}}

Command = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def sync(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`sync(*options)`: the command on what lies there; its exit status and its JSON object."""
    monkeypatch.setattr(getpass, "getuser", lambda: "pat")

    def run(*options: str) -> tuple[int, dict[str, Any]]:
        ran = CliRunner().invoke(app, ["sync", "--district", nightly.district, "--json", *options])
        return ran.exit_code, json.loads(ran.stdout)

    return run


def answered(nightly: Nightly) -> list[tuple[Any, ...]]:
    return nightly.view("runs", "outcome, answer, approved_by")


# ---- the plan that was shown is the plan that is applied -------------------------------------------------------------


def _edit_table(place: Workspace, column: str = "given_name", value: str = "Mallory") -> None:
    table = pq.read_table(place.plan_table("users"))
    edited = table.set_column(table.schema.get_field_index(column), column, pa.array([value] * table.num_rows))
    pq.write_table(edited, place.plan_table("users"))


def _edit_audit(place: Workspace) -> None:
    _edit_table(place, "after_json", "{}")


def _edit_plan(place: Workspace, **facts: str) -> None:
    path = place.plan / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def _edit_id(place: Workspace) -> None:
    _edit_plan(place, plan_id="0123456789abcdef")


def _edit_district(place: Workspace) -> None:
    _edit_plan(place, district_id="another")


@pytest.mark.parametrize("edit", [_edit_table, _edit_audit, _edit_id, _edit_district])
def test_plan_whose_files_changed_since_it_was_shown_is_refused_in_one_line(
    nightly: Nightly, edit: Callable[[Workspace], None]
) -> None:
    nightly.settings |= EASILY_HELD
    nightly.begin([other(1), other(2)])
    assert nightly.run([other(1, userGrade="6"), other(2)])["outcome"] == "held"
    before = nightly.everything()
    edit(Workspace(Path(nightly.workspace)))
    with pytest.raises(EnrollSyncError, match="not what they were when it was made") as refused:
        steps.load(nightly.workspace, approved_by="pat")
    assert refused.value.exit_status == 1
    assert "\n" not in str(refused.value)
    assert steps.result(nightly.workspace)["outcome"] == "failed"
    assert nightly.everything() == before


@pytest.mark.parametrize("kind", ["creations", "changes", "an undo"])
def test_plan_id_is_that_of_the_plans_files_whatever_the_plan_does(nightly: Nightly, kind: str) -> None:
    result: dict[str, Any] = nightly.run([other(1), other(2, classId="C2")])
    if kind != "creations":
        result = nightly.run([other(1, userGrade="6", schoolId="S2"), other(2, userId="u9", classId="C2")])
    if kind == "an undo":
        result = nightly.undo(result["run_id"])
        nightly.workspace = result["artifacts"]
    assert load_plan(Workspace(Path(nightly.workspace))).plan_id == result["plan_id"]


# ---- without removals ------------------------------------------------------------------------------------------------

SIX = [pupil(number) for number in range(1, 7)]
SCHOOLS = [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": "South"}]
MOVED = [pupil(1, School_id="S2"), pupil(2, Grade="6"), *SIX[2:5]]
"""One moves to another school, one gets another grade, one is gone."""


@pytest.fixture
def district(nightly: Nightly) -> Nightly:
    """A Clever district of two schools with six students, in which every change is held."""
    nightly.settings |= {"primary_source": "clever", **EASILY_HELD}
    nightly.deliver(clever(SIX, schools=SCHOOLS))
    nightly.begin(clever(SIX, schools=SCHOOLS))
    return nightly


def test_approved_without_removals_the_plan_is_applied_less_its_deactivations_and_held_again_the_next_night(
    district: Nightly, sync: Command
) -> None:
    district.deliver(clever(MOVED, schools=SCHOOLS))
    status, held = sync()
    assert (status, held["answers"]) == (3, ["approve", "without_removals", "reject"])
    status, applied = sync("--approve", "--adds-only", "--plan", held["plan_id"])
    assert (status, applied["outcome"], applied["plan_id"]) == (0, "applied", held["plan_id"])
    assert sum(numbers["deactivate"] for numbers in applied["counts"].values()) == 0
    assert "without its" in applied["message"] and "holds them again" in applied["message"]
    assert set(district.view("users", "status")) == {("active",)}
    assert district.view("users", "grade", "user_id = 'p-2'") == [("6",)]
    schools = district.view("memberships", "organization_id, is_primary", "user_id = 'p-1' AND status = 'active'")
    assert [(school, bool(primary)) for school, primary in schools] == [("S1", False), ("S2", True)]
    assert ("applied", "without_removals", "pat") in answered(district)
    told = CliRunner().invoke(app, ["explain", "user", "p-2", "--district", district.district]).stdout
    assert "approved without removals by pat" in told
    status, again = sync()
    assert (status, again["outcome"]) == (3, "held"), "no short cut settles what was left open"
    assert again["counts"]["users"]["deactivate"] == 1
    district.settings |= NEVER_OVER
    status, again = sync()
    assert (status, [hold["code"] for hold in again["holds"]]) == (3, ["GUARD-LEFT-OUT"]), "within all limits too"
    assert sync("--approve", "--plan", again["plan_id"])[0] == 0
    district.deliver(clever(MOVED[:-1], schools=SCHOOLS))
    assert sync()[0] == 0, "answered: the limits alone decide again"


@pytest.mark.parametrize("files", [
    pytest.param(clever(MOVED, schools=SCHOOLS), id="a move, an update, a leaver"),
    pytest.param(clever(SIX[1:], teachers=[tutor("T2")], sections=[section("X2", Teacher_id="T2")],
                        enrollments=[("X2", "p-2")], schools=SCHOOLS), id="another class and teacher"),
    pytest.param({"users.csv": [other(1, action="REMOVE-CLASS", classId="X1"), other(2, classId="X9")],
                  "id_changes.csv": "entity,old_id,new_id\nclass,X1,X100\n"}, id="a class renamed and removed"),
    pytest.param([other(1, action="REMOVE-CLASS", classId="X1"), other(2, classId="X9")], id="a removed class"),
])  # fmt: skip
def test_plan_less_its_removals_is_the_plan_of_a_run_that_only_adds(nightly: Nightly, files: Any) -> None:
    uploaded = "students.csv" not in files
    nightly.settings |= EASILY_HELD | {"primary_source": "batch_upload" if uploaded else "clever"}
    nightly.begin([other(1, classId="X1")] if uploaded else clever(SIX, schools=SCHOOLS))
    nightly.run(files, until="plan")
    place = Workspace(Path(nightly.workspace))
    shown = load_plan(place)
    assert sum(numbers["deactivate"] for numbers in shown.counts.values())
    less = without_removals(place, shown)
    only_adds = nightly.run(until="plan", adds_only=True)
    assert less.plan_id == only_adds["plan_id"]
    assert less.counts == only_adds["counts"]


def test_plan_that_is_nothing_but_removals_leaves_nothing_to_write_and_says_so(
    district: Nightly, sync: Command
) -> None:
    before = district.everything()
    district.deliver(clever(SIX[:4], schools=SCHOOLS))
    status, result = sync("--approve", "--adds-only")
    assert (status, result["outcome"]) == (0, "in_sync")
    assert "leaves nothing to write" in result["message"]
    assert district.everything() == before
    assert ("in_sync", "without_removals", "pat") in answered(district)
    assert sync()[0] == 3


def test_adds_only_by_itself_deactivates_nothing_and_is_no_answer(district: Nightly, sync: Command) -> None:
    district.settings |= NEVER_OVER
    district.deliver(clever([*SIX[1:], pupil(8)], schools=SCHOOLS))
    status, result = sync("--adds-only")
    assert (status, result["outcome"]) == (0, "applied")
    assert (result["counts"]["users"]["create"], result["counts"]["users"]["deactivate"]) == (1, 0)
    assert ("applied", None, None) in answered(district)
    assert sync()[1]["counts"]["users"]["deactivate"] == 1, "the next ordinary run does"


def test_options_that_exclude_each_other_are_wrong_usage(sync: Command) -> None:
    assert sync("--adds-only", "--release")[0] == 2


# ---- the proposal ----------------------------------------------------------------------------------------------------

FORTY = [pupil(number) for number in range(1, 41)]


def rekeyed(people: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same people under other identifiers, each with another grade."""
    return [one | {"Student_id": f"new-{one['Student_id']}", "Grade": "6"} for one in people]


@pytest.fixture
def renumbered(nightly: Nightly) -> Nightly:
    """A Clever district whose forty students have come with other identifiers, which nothing else holds."""
    nightly.settings |= {"primary_source": "clever", **NEVER_OVER}
    nightly.begin(clever(FORTY))
    nightly.deliver(clever(rekeyed(FORTY)))
    return nightly


def test_approving_a_plan_that_only_new_identifiers_hold_says_that_there_is_nothing_to_approve(
    renumbered: Nightly, sync: Command
) -> None:
    status, result = sync("--approve")
    assert (status, result["outcome"], result["answers"]) == (3, "held", ["use_proposal", "reject"])
    assert "changes nothing, so there is nothing to approve; `--use-proposal`" in result["message"]
    assert "\n" not in result["message"]
    assert ("held", None, None) in answered(renumbered)


def test_proposal_is_taken_as_delivered_in_the_same_run_and_the_next_night_is_in_sync(
    renumbered: Nightly, sync: Command
) -> None:
    status, result = sync("--use-proposal")
    assert (status, result["outcome"]) == (0, "applied")
    assert result["counts"]["users"] | {"reidentify": 40, "held": 0, "create": 0} == result["counts"]["users"]
    assert ("applied", "use_proposal", "pat") in answered(renumbered)
    assert len(renumbered.view("identifier_history", "*", "changed_by = 'pat'")) == 40
    told = CliRunner().invoke(app, ["explain", "user", "new-p-1", "--district", renumbered.district]).stdout
    assert "proposed identifier changes used by pat" in told
    assert sync()[1]["outcome"] == "in_sync"
    assert sync("--force")[1]["outcome"] == "in_sync"


def test_what_else_holds_still_needs_an_approval_once_the_proposal_is_taken(renumbered: Nightly, sync: Command) -> None:
    renumbered.settings |= {"thresholds": {"update_percent": 10}}
    status, held = sync("--use-proposal")
    assert (status, held["outcome"]) == (3, "held")
    assert {hold["code"] for hold in held["holds"]} == {"GUARD-UPDATE"}
    status, applied = sync("--use-proposal", "--approve", "--plan", held["plan_id"])
    assert (status, applied["outcome"]) == (0, "applied")
    assert {row for row in answered(renumbered) if row[1]} == {
        ("held", "use_proposal", "pat"), ("applied", "use_proposal", "pat"),
    }  # fmt: skip


def test_approval_applies_what_else_there_is_and_says_that_renumbered_records_wait(
    renumbered: Nightly, sync: Command
) -> None:
    renumbered.deliver(clever([*rekeyed(FORTY), pupil(50)]))
    status, result = sync("--approve")
    assert (status, result["outcome"], result["counts"]["users"]["create"]) == (0, "applied", 1)
    assert "still wait" in result["message"]
    assert sync()[1]["outcome"] == "held", "the next night asks again"


def test_proposal_keeps_the_lines_that_were_delivered(renumbered: Nightly, sync: Command) -> None:
    renumbered.deliver(clever(rekeyed(FORTY)) | {"id_changes.csv": "entity,old_id,new_id\nuser,p-7,new-p-7\n"})
    result = sync("--use-proposal")[1]
    assert result["outcome"] == "applied"
    assert result["counts"]["users"]["reidentify"] == 40


def test_rejection_is_kept_as_the_answer(district: Nightly) -> None:
    district.run(clever(MOVED, schools=SCHOOLS))
    steps.reject(district.workspace, rejected_by="ada", reason="rejected by ada")
    steps.report(district.workspace)
    assert ("rejected", "reject", "ada") in answered(district)
