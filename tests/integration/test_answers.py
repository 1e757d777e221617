"""What a person answers to a held plan: approve, without removals, use the proposal, reject; and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrollsync import steps
from enrollsync.errors import EnrollSyncError
from enrollsync.plan import load_plan
from enrollsync.workspace import Workspace
from nightly import Nightly, other

EASILY_HELD = {"thresholds": {"deactivate_percent": 0, "update_percent": 0, "floor": 1}}


# ---- the plan that was shown is the plan that is applied -------------------------------------------------------------


def _edit_table(place: Workspace) -> None:
    table = pq.read_table(place.plan_table("users"))
    names = pa.array(["Mallory"] * table.num_rows)
    pq.write_table(table.set_column(table.schema.get_field_index("given_name"), "given_name", names),
                   place.plan_table("users"))  # fmt: skip


def _edit_audit(place: Workspace) -> None:
    table = pq.read_table(place.plan_table("users"))
    told = pa.array(["{}"] * table.num_rows)
    pq.write_table(table.set_column(table.schema.get_field_index("after_json"), "after_json", told),
                   place.plan_table("users"))  # fmt: skip


def _edit_id(place: Workspace) -> None:
    path = place.plan / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"plan_id": "0123456789abcdef"}))


def _edit_state(place: Workspace) -> None:
    path = place.plan / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"district_id": "another"}))


@pytest.mark.parametrize("edit", [_edit_table, _edit_audit, _edit_id, _edit_state])
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
