"""The task at which a held plan waits, without Airflow around it: what it shows, and what an answer leads to."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from enrollsync.airflow import approval, runs
from enrollsync.airflow.approval import ApprovePlan, time_to_answer
from enrollsync.run.workspace import COUNTED, Notice, RunManifest, Workspace
from enrollsync.settings import District, load_district
from enrollsync.words.codes import Severity

PROJECT = Path(__file__).resolve().parents[2]
HOLD = Notice(code="GUARD-DEACTIVATE", severity=Severity.CRITICAL, message="412 of 500 users (the limit is 10 %)")
NOW = datetime(2026, 11, 23, tzinfo=UTC)
ADA = {"id": "7", "name": "ada"}
BY_ADA = {"chosen_options": ["Approve"], "params_input": {}, "responded_at": NOW, "responded_by_user": ADA}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """That of a run whose plan is held."""
    place = Workspace(tmp_path / "run").create()
    counts = {"users": dict.fromkeys(COUNTED, 0) | {"deactivate": 412, "unchanged": 88}}
    place.write_settings(load_district(str(PROJECT / "include/districts/demo.yaml")))
    place.write(
        RunManifest(
            run_id="r1", district=str(PROJECT / "include/districts/demo.yaml"), as_of=NOW,
            outcome="held", plan_id="p1", holds=[HOLD], counts=counts, state_version=4,
        )
    )  # fmt: skip
    return place


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> SimpleNamespace:
    """`moved.yes = True`: the roster moves; what it is planned anew as is `moved.again`."""
    state = SimpleNamespace(yes=False, again="held", planned=0)

    def plan_again(place: str, database_url: str | None = None) -> dict[str, Any]:
        state.planned += 1
        manifest = workspace.update(outcome=state.again, plan_id=f"p{1 + state.planned}")
        return {"artifacts": place, "outcome": manifest.outcome, "plan_id": manifest.plan_id}

    from enrollsync import steps

    monkeypatch.setattr(steps, "is_stale", lambda place, database_url=None: state.yes)
    monkeypatch.setattr(steps, "plan_again", plan_again)
    monkeypatch.setattr(runs, "draft_report", lambda place: None)
    return state


@pytest.fixture
def task(workspace: Workspace) -> ApprovePlan:
    from enrollsync.settings import load_district

    district: District = load_district("demo")
    return ApprovePlan(task_id="approve", planned={"artifacts": str(workspace.root)}, district=district)


def context(**params: Any) -> dict[str, Any]:
    ti = SimpleNamespace(
        id="1", dag_id="enrollment_sync__demo", run_id="manual__2026-11-23T02:00:00+00:00", map_index=-1
    )
    return {"ti": ti, "task_instance": ti, "params": {"dry_run": False, **params}} | {
        "dag_run": SimpleNamespace(dag_id=ti.dag_id, run_id=ti.run_id, conf={"reason": "roll-over"})
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Airflow was asked to show."""
    from airflow.providers.standard.operators import hitl

    asked: list[dict[str, Any]] = []

    def keep(self: ApprovePlan, task_instance: str) -> str | None:
        asked.append({"body": self.body, "options": self.options, "defaults": self.defaults})
        return asked[0]["body"]

    monkeypatch.setattr(ApprovePlan, "shown", keep)
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **given: None)
    return asked


def test_held_plan_parks_and_shows_reasons_counts_and_links(
    task: ApprovePlan, moved: SimpleNamespace, asked: list[dict[str, Any]]
) -> None:
    from airflow.sdk.exceptions import TaskAwaitingInput

    with pytest.raises(TaskAwaitingInput) as parked:
        task.execute(context())
    assert parked.value.kwargs == {"plan_id": "p1"}, "what the answer will be about"
    (shown,) = asked
    assert shown["options"] == ["Approve", "Approve without removals", "Reject"]
    assert shown["defaults"] == ["Reject"]
    assert "**GUARD-DEACTIVATE** 412 of 500 users (the limit is 10 %)" in shown["body"]
    assert "**users** 412 deactivated." in shown["body"]
    assert "/roster/enrollment_sync__demo/manual__2026-11-23T02%3A00%3A00%2B00%3A00/report.html" in shown["body"]
    assert "/roster/districts/demo/runs/manual__2026-11-23T02%3A00%3A00%2B00%3A00)" in shown["body"]
    assert "`p1`" in shown["body"]


def test_plan_that_may_go_ahead_asks_nobody(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, asked: list[dict[str, Any]]
) -> None:
    workspace.update(outcome="planned")
    approved = task.execute(context())
    assert approved == {"workspace": str(workspace.root), "plan_id": "p1", "answer": None, "approved_by": None}
    assert asked == []


@pytest.mark.parametrize(("outcome", "params"), [("in_sync", {}), ("held", {"dry_run": True})])
def test_nothing_to_apply_skips(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, outcome: str, params: dict[str, Any]
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    workspace.update(outcome=outcome)
    with pytest.raises(AirflowSkipException):
        task.execute(context(**params))


@pytest.mark.parametrize(
    ("choice", "answer"), [("Approve", "approve"), ("Approve without removals", "without_removals")]
)
def test_approval_lets_exactly_the_shown_plan_through_and_names_the_person_and_the_answer(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, choice: str, answer: str
) -> None:
    approved = task.execute_complete(context(), {**BY_ADA, "chosen_options": [choice]}, plan_id="p1")
    assert approved == {"workspace": str(workspace.root), "plan_id": "p1", "answer": answer, "approved_by": "ada"}


@pytest.mark.parametrize("choice", ["Approve", "Reject"])
@pytest.mark.parametrize(("given", "kept"), [({"comment": " on a trip\n"}, "on a trip"), ({}, None), (None, None)])
def test_comment_of_whoever_answers_is_kept(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, choice: str, given: Any, kept: str | None
) -> None:
    with suppress(Exception):  # a rejection skips what follows
        task.execute_complete(context(), {**BY_ADA, "chosen_options": [choice], "params_input": given}, plan_id="p1")
    assert workspace.read().comment == kept


USE = {**BY_ADA, "chosen_options": ["Use the proposed identifier changes"]}


def takes_proposal(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, outcome: str) -> None:
    """What is planned once the proposal is taken."""
    from enrollsync import steps

    def use_proposal(place: str, person: str | None, database_url: str | None = None) -> dict[str, Any]:
        workspace.update(outcome=outcome, plan_id="p2", answer="use_proposal", approved_by=person)
        return {"artifacts": place, "outcome": outcome}

    monkeypatch.setattr(steps, "use_proposal", use_proposal)


def test_proposal_that_is_taken_goes_on_in_the_same_run_when_nothing_else_holds(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_proposal(monkeypatch, workspace, "planned")
    approved = task.execute_complete(context(), USE, plan_id="p1")
    assert approved == {
        "workspace": str(workspace.root), "plan_id": "p2", "answer": "use_proposal", "approved_by": "ada",
    }  # fmt: skip


def test_what_else_holds_is_asked_in_a_new_run_that_takes_the_same_proposal_first(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import DagRunTriggerException

    takes_proposal(monkeypatch, workspace, "held")
    asking = context()
    with pytest.raises(DagRunTriggerException) as triggered:
        task.execute_complete(asking, USE, plan_id="p1")
    assert triggered.value.conf == {"reason": "roll-over", "proposal_of": asking["dag_run"].run_id}
    manifest = workspace.read()
    assert (manifest.outcome, manifest.answer, manifest.approved_by) == ("held", "use_proposal", "ada")
    assert f"run {triggered.value.dag_run_id} asks again" in (manifest.error or "")


@pytest.mark.parametrize(("proposed", "person"), [("user,1,2\n", "ada"), ("user,1,3\n", None)])
def test_proposal_counts_as_taken_in_the_following_run_only_where_it_is_the_same(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, proposed: str, person: str | None
) -> None:
    from enrollsync import steps

    earlier = Workspace(workspace.root.with_name("earlier")).create()
    monkeypatch.setattr(steps, "run_folder", lambda district, run_id: earlier.root)
    earlier.write(workspace.read().model_copy(update={"answer": "use_proposal", "approved_by": "ada"}))
    earlier.taken_id_changes.write_text("user,1,2\n")
    workspace.proposed_id_changes.write_text(proposed)
    workspace.update(holds=[HOLD.model_copy(update={"code": "GUARD-REKEYED"})], proposal_of="earlier")
    assert steps.taken_before(str(workspace.root)) == person


def test_text_of_a_district_with_many_schools_stays_short(workspace: Workspace) -> None:
    holds = [HOLD.model_copy(update={"message": f"school {number}"}) for number in range(100)]
    text = approval.body(workspace.update(holds=holds), {}, ZoneInfo("UTC"))
    assert "school 5 · 94 more in the report" in text and "school 6" not in text


def test_text_says_until_when_and_why_the_limits_are_others(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, asked: list[dict[str, Any]]
) -> None:
    from airflow.sdk.exceptions import TaskAwaitingInput

    workspace.update(overrides={"deactivate_percent": 40}, override_reason="roll-over week")
    with pytest.raises(TaskAwaitingInput):
        task.execute(context())
    (shown,) = asked
    until = workspace.read().answer_by
    assert until is not None
    assert f"{until.astimezone(ZoneInfo(task.timezone)):%Y-%m-%d %H:%M} ({task.timezone})" in shown["body"]
    assert "Why: roll-over week" in shown["body"]
    assert "**Approve without removals** applies it and deactivates nothing" in shown["body"]


@pytest.mark.parametrize(
    ("moves", "shown"), [(True, "p1"), (False, "p0")], ids=["the roster moved", "another plan was made meanwhile"]
)
def test_approval_of_a_plan_that_is_not_the_plan_any_more_is_asked_again_in_a_new_run(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, moves: bool, shown: str
) -> None:
    from airflow.sdk.exceptions import DagRunTriggerException

    moved.yes = moves
    with pytest.raises(DagRunTriggerException) as triggered:
        task.execute_complete(context(), BY_ADA, plan_id=shown)
    assert triggered.value.trigger_dag_id == "enrollment_sync__demo"
    assert triggered.value.conf == {"reason": "roll-over"}
    manifest = workspace.read()
    assert (manifest.outcome, manifest.approved_by) == ("held", None)
    assert f"run {triggered.value.dag_run_id} asks again" in (manifest.error or "")


def test_cleared_task_with_another_plan_asks_in_a_new_run_because_airflow_keeps_the_first_text(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, asked: list[dict[str, Any]]
) -> None:
    from airflow.sdk.exceptions import DagRunTriggerException, TaskAwaitingInput

    with pytest.raises(TaskAwaitingInput):
        task.execute(context())
    with pytest.raises(TaskAwaitingInput):
        task.execute(context())
    moved.yes = True
    with pytest.raises(DagRunTriggerException):
        task.execute(context())


def test_lost_database_is_tried_again_with_growing_pauses_and_a_wrong_setting_never() -> None:
    from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision

    from enrollsync.airflow.districts import RETRIES, RosterRetries
    from enrollsync.words.errors import ConfigurationError, DatabaseError, Refused, StalePlan

    def decided(error: Exception, tried: int = 1) -> RetryDecision:
        return RosterRetries().evaluate(error, try_number=tried, max_tries=RETRIES)

    lost = [decided(DatabaseError("gone"), tried) for tried in range(1, RETRIES + 1)]
    assert {decision.action for decision in lost} == {RetryAction.RETRY}
    assert [decision.retry_delay for decision in lost] == [timedelta(minutes=minutes) for minutes in (1, 4, 15)]
    for error in (ConfigurationError("wrong"), Refused("FILE-HEADER", "wrong"), StalePlan("moved")):
        assert decided(error).action == RetryAction.FAIL
    assert decided(RuntimeError("killed")).action == RetryAction.DEFAULT


@pytest.mark.parametrize(("tried", "at_most"), [(1, 20), (2, 40), (3, 80)])
def test_killed_task_is_tried_again_after_seconds(tried: int, at_most: int) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.taskinstance import TaskInstance

    for task in DagBag(PROJECT / "dags").dags["enrollment_sync__demo"].tasks:
        killed: Any = SimpleNamespace(
            task=task, try_number=tried, end_date=NOW, retry_delay_override=None,
            dag_id="enrollment_sync__demo", task_id=task.task_id, logical_date=None,
        )  # fmt: skip
        assert TaskInstance.next_retry_datetime(killed) - NOW <= timedelta(seconds=at_most)


@pytest.mark.parametrize(
    ("person", "outcome", "said"),
    [(ADA, "rejected", "rejected by ada"), (None, "held", "nobody answered in time")],
    ids=["rejected", "no answer"],
)
def test_no_writes_nothing_skips_the_load_and_is_noted(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, person: Any, outcome: str, said: str
) -> None:
    context_ = context()
    skipped: list[Any] = []
    task.skip = lambda ti, tasks: skipped.extend(tasks)  # type: ignore[method-assign]
    task.downstream_task_ids = {"load"}
    context_["task"] = SimpleNamespace(get_direct_relatives=lambda upstream: [SimpleNamespace(is_teardown=False)])
    task.execute_complete(context_, {**BY_ADA, "chosen_options": ["Reject"], "responded_by_user": person})
    manifest = workspace.read()
    assert len(skipped) == 1
    assert (manifest.outcome, manifest.approved_by) == (outcome, person and person["name"])
    assert said in (manifest.error or "")


def test_plan_that_was_answered_before_is_made_again(
    task: ApprovePlan, workspace: Workspace, moved: SimpleNamespace, asked: list[dict[str, Any]]
) -> None:
    from airflow.sdk.exceptions import TaskAwaitingInput

    workspace.update(outcome="rejected")
    with pytest.raises(TaskAwaitingInput):
        task.execute(context())
    assert moved.planned == 1


@pytest.mark.parametrize(
    ("schedule", "now", "left"),
    [
        ("0 2 * * *", datetime(2026, 11, 23, 12, tzinfo=UTC), timedelta(hours=18, minutes=45)),  # 2 o'clock is 7 UTC
        ("0 2 * * *", datetime(2026, 11, 23, 6, 50, tzinfo=UTC), timedelta(minutes=1)),
        (None, datetime(2026, 11, 23, tzinfo=UTC), approval.BY_HAND),
    ],
    ids=["until a quarter before the next run", "too near to it", "by hand only"],
)
def test_time_to_answer(schedule: str | None, now: datetime, left: timedelta) -> None:
    assert time_to_answer(schedule, "America/New_York", now) == left
