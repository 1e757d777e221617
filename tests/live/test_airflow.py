"""What docker-compose.yaml starts, started: the services are well, and an administrator does a morning's work.

One file, so that one Airflow is started; its tests follow each other on the same districts.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from enrollsync.airflow.approval import BEFORE_NEXT_RUN
from live.district import District
from live.services import Airflow, until

pytestmark = pytest.mark.slow


def test_every_service_is_healthy(airflow: Airflow) -> None:
    assert airflow.health() == dict.fromkeys(("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy")


@pytest.mark.parametrize("service", ["api-server", "scheduler"])
def test_health_check_that_asks_a_page_is_answered(airflow: Airflow, service: str) -> None:
    assert airflow.place.health_check(service)[0] == "curl"
    pages = airflow.place.health_pages(service)
    assert {httpx.get(page).status_code for page in pages} == {200}


@pytest.mark.parametrize("service", ["dag-processor", "triggerer"])
def test_health_check_that_asks_airflow_finds_the_service(airflow: Airflow, service: str) -> None:
    words = airflow.place.health_check(service)
    ran = subprocess.run(words, env=airflow.place.environment(service), capture_output=True, text=True, check=False)
    assert (ran.returncode, words[0]) == (0, "airflow"), ran.stderr[-2000:]


def test_nobody_gets_in_without_the_password(airflow: Airflow) -> None:
    wrong = httpx.post(f"{airflow.place.address}/auth/token", json={"username": "admin", "password": "admin"})
    assert wrong.status_code == 401
    assert httpx.get(f"{airflow.place.address}/api/v2/dags").status_code == 401
    passwords = airflow.home / "auth" / "passwords.json"
    assert passwords.stat().st_mode & 0o777 == 0o600


EASILY_HELD = {"deactivate_percent": 10, "update_percent": 5, "floor": 1, "fields": {"given_name": 100}}


@pytest.fixture(scope="module")
def lincoln(airflow: Airflow) -> District:
    """A district whose first delivery is applied, and of which any change is held."""
    return District.settled(airflow, "held", thresholds=EASILY_HELD)


def test_delivery_gets_into_the_roster_by_a_triggered_run(airflow: Airflow, lincoln: District) -> None:
    # One writer at a time: the start of the run has made the pool that its tasks wait for.
    assert airflow.call("GET", "pools/roster_held")["slots"] == 1
    with (lincoln.landing / "users.csv").open(newline="") as file:
        delivered = {row["userId"] for row in csv.DictReader(file)}
    loaded = lincoln.rows("SELECT user_id FROM roster_users WHERE district_id = 'held'")
    assert {user_id for (user_id,) in loaded} == delivered


# ---- what an administrator does -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unanswered(airflow: Airflow) -> tuple[District, str]:
    """A district whose next run is a quarter of an hour away, and the id of a run whose plan is held since now."""
    soon = datetime.now(UTC) + BEFORE_NEXT_RUN + timedelta(minutes=1)
    district = District.settled(airflow, "unanswered", thresholds=EASILY_HELD, schedule=f"{soon:%M %H} * * *")
    district.change_names("Late")
    run_id = airflow.trigger(district.sync)
    airflow.wait_for_task(district.sync, run_id, "approve", {"awaiting_input"})
    return district, run_id


def test_approval_applies_the_plan_that_was_shown_whatever_is_delivered_meanwhile_and_names_who_approved(
    airflow: Airflow, unanswered: object, lincoln: District
) -> None:
    lincoln.change_names("Approved")
    run_id = airflow.trigger(lincoln.sync)
    airflow.wait_for_task(lincoln.sync, run_id, "approve", {"awaiting_input"})
    asked = airflow.hitl(lincoln.sync, run_id)
    assert "GUARD-UPDATE" in asked["body"]
    assert "Approved" not in asked["body"], "no value of a student"
    assert "held" in lincoln.file(run_id, "report.html").text.lower(), "the report is there before the answer"
    assert lincoln.named("Approved") == 0
    lincoln.change_names("Replaced")  # what is delivered meanwhile is for the next run
    airflow.answer(lincoln.sync, run_id, "approve", "Approve")
    airflow.wait(lincoln.sync, run_id)
    assert (lincoln.named("Approved"), lincoln.named("Replaced")) == (60, 0)
    assert lincoln.run(run_id) == ("applied", "admin")


def test_run_and_tasks_have_notes_the_asset_has_moved_and_links_lead_to_the_files(
    airflow: Airflow, lincoln: District
) -> None:
    (run,) = airflow.call("GET", f"dags/{lincoln.sync}/dagRuns?limit=1&order_by=-run_after")["dag_runs"]
    assert run["note"].startswith("**applied**")
    assert "60 update" in run["note"]
    task = f"dags/{lincoln.sync}/dagRuns/{run['dag_run_id']}/taskInstances/report"
    assert airflow.call("GET", task)["note"] == run["note"]
    links = airflow.call("GET", f"{task}/links")["extra_links"]
    assert set(links) == {"Review", "Report", "Quarantine", "Plan"}
    assert links["Plan"].endswith("/plan.csv")
    plan = lincoln.file(run["dag_run_id"], "plan.csv")
    assert plan.text.splitlines()[0] == "entity,operation,record,reason,file,line,before,after"
    assert len(plan.text.splitlines()) == 61
    events = airflow.call("GET", "assets/events?order_by=-timestamp")["asset_events"]
    mine = [event for event in events if event["source_dag_id"] == lincoln.sync]
    assert [event["extra"]["counts"]["users"]["update"] for event in mine] == [60, 0], "the two runs that wrote"


def test_files_of_a_run_are_shown_to_nobody_who_has_not_logged_in(airflow: Airflow, lincoln: District) -> None:
    (run,) = airflow.call("GET", f"dags/{lincoln.sync}/dagRuns?limit=1&order_by=-run_after")["dag_runs"]
    address = lincoln.address(run["dag_run_id"], "report.html")
    assert httpx.get(address).status_code == 401
    led = httpx.get(address, headers={"Accept": "text/html"}, follow_redirects=True)
    assert (led.status_code, led.url.path) == (200, "/auth/login")
    assert led.url.params["next"] == httpx.URL(address).raw_path.decode()
    assert airflow.client.get(address).status_code == 200
    for other in (
        "run.json",
        "plan/users.parquet",
        "..%2F..%2Frun.json",
        "quarantine/..%2Frun.json",
        "data_docs/..%2Frun.json",
    ):
        assert airflow.client.get(lincoln.address(run["dag_run_id"], other)).status_code == 404


def test_rejection_writes_nothing_and_the_run_is_reported(airflow: Airflow, lincoln: District) -> None:
    lincoln.change_names("Rejected")
    run_id = airflow.trigger(lincoln.sync)
    airflow.wait_for_task(lincoln.sync, run_id, "approve", {"awaiting_input"})
    airflow.answer(lincoln.sync, run_id, "approve", "Reject")
    airflow.wait(lincoln.sync, run_id)
    tasks = airflow.tasks(lincoln.sync, run_id)
    assert (tasks["load"], tasks["report"]) == ("skipped", "success")
    assert lincoln.named("Rejected") == 0
    assert lincoln.run(run_id) == ("rejected", "admin")
    assert "A person said no" in lincoln.file(run_id, "report.html").text


def test_roster_that_moved_while_a_person_looked_is_planned_again_and_asked_in_a_new_run(
    airflow: Airflow, lincoln: District
) -> None:
    lincoln.change_names("Again")
    run_id = airflow.trigger(lincoln.sync)
    airflow.wait_for_task(lincoln.sync, run_id, "approve", {"awaiting_input"})
    first = airflow.hitl(lincoln.sync, run_id)
    lincoln.move()
    airflow.answer(lincoln.sync, run_id, "approve", "Approve")
    airflow.wait(lincoln.sync, run_id)
    assert (airflow.tasks(lincoln.sync, run_id)["load"], lincoln.named("Again")) == ("skipped", 0)
    (run,) = airflow.call("GET", f"dags/{lincoln.sync}/dagRuns?limit=1&order_by=-run_after")["dag_runs"]
    assert run["dag_run_id"] != run_id
    airflow.wait_for_task(lincoln.sync, run["dag_run_id"], "approve", {"awaiting_input"})
    assert airflow.hitl(lincoln.sync, run["dag_run_id"])["body"] != first["body"]
    airflow.answer(lincoln.sync, run["dag_run_id"], "approve", "Approve")
    airflow.wait(lincoln.sync, run["dag_run_id"])
    assert lincoln.named("Again") == 60


def test_file_that_was_refused_is_corrected_and_the_same_run_cleared(airflow: Airflow, lincoln: District) -> None:
    users = lincoln.landing / "users.csv"
    good = users.read_text()
    users.write_text(good.replace("userId", "usrId", 1))
    run_id = airflow.trigger(lincoln.sync, {"deactivate_percent": 100, "update_percent": 100, "reason": "new names"})
    airflow.wait(lincoln.sync, run_id, {"failed"})
    assert lincoln.run(run_id)[0] == "refused"
    users.write_text(good)
    lincoln.change_names("Corrected")
    airflow.clear(lincoln.sync, run_id, ["ingest", "validate", "plan", "approve", "load", "report"])
    airflow.wait(lincoln.sync, run_id)
    assert lincoln.named("Corrected") == 60
    assert lincoln.run(run_id) == ("applied", None), "the limits of this run were raised, with a reason"


@pytest.mark.parametrize("first", ["validate", "approve"])
def test_run_cleared_from_any_task_changes_nothing_more(airflow: Airflow, lincoln: District, first: str) -> None:
    (run,) = airflow.call("GET", f"dags/{lincoln.sync}/dagRuns?limit=1&order_by=-run_after")["dag_runs"]
    order = ["ingest", "validate", "plan", "approve", "load", "report"]
    before = lincoln.everything()
    airflow.clear(lincoln.sync, run["dag_run_id"], order[order.index(first) :])
    airflow.wait(lincoln.sync, run["dag_run_id"])
    assert lincoln.everything() == before


def test_undo_is_planned_approved_and_takes_the_run_back(airflow: Airflow, lincoln: District) -> None:
    (run,) = airflow.call("GET", f"dags/{lincoln.sync}/dagRuns?limit=1&order_by=-run_after")["dag_runs"]
    undo_id = airflow.trigger(lincoln.undo, {"run": run["dag_run_id"]})
    airflow.wait_for_task(lincoln.undo, undo_id, "approve", {"awaiting_input"})
    assert lincoln.named("Corrected") == 60
    airflow.answer(lincoln.undo, undo_id, "approve", "Approve")
    airflow.wait(lincoln.undo, undo_id)
    assert (lincoln.named("Corrected"), lincoln.named("Again")) == (0, 60)
    assert lincoln.run(undo_id) == ("undone", "admin")


@pytest.fixture(scope="module")
def whole(airflow: Airflow) -> District:
    """A district whose deliveries are snapshots: who is missing goes, which is held like any change."""
    source = {"path": "data/landing/whole", "mode": "snapshot"}
    return District.settled(airflow, "whole", thresholds=EASILY_HELD, source=source)


def test_plan_approved_without_removals_deactivates_nobody_and_is_held_again(airflow: Airflow, whole: District) -> None:
    gone = {f"{user_id}" for (user_id,) in whole.rows(
        "SELECT user_id FROM roster_users WHERE district_id = 'whole' AND role = 'student' ORDER BY user_id LIMIT 5"
    )}  # fmt: skip
    whole.change_students(lambda row: None if row["userId"] in gone else row | {"userFirstName": "Stays"})
    run_id = airflow.trigger(whole.sync)
    airflow.wait_for_task(whole.sync, run_id, "approve", {"awaiting_input"})
    asked = airflow.hitl(whole.sync, run_id)
    assert asked["options"] == ["Approve", "Approve without removals", "Reject"]
    assert "Answer until **" in asked["body"]
    airflow.answer(whole.sync, run_id, "approve", "Approve without removals")
    airflow.wait(whole.sync, run_id)
    assert (whole.run(run_id), whole.answer(run_id)) == (("applied", "admin"), "without_removals")
    assert whole.named("Stays") == 55
    inactive = "SELECT count(*) FROM roster_users WHERE district_id = 'whole' AND status = 'inactive'"
    assert whole.rows(inactive) == [(0,)]
    again = airflow.trigger(whole.sync)
    airflow.wait_for_task(whole.sync, again, "approve", {"awaiting_input"})
    airflow.answer(whole.sync, again, "approve", "Approve")
    airflow.wait(whole.sync, again)
    assert (whole.answer(again), whole.rows(inactive)) == ("approve", [(5,)])


def test_proposed_identifier_changes_are_used_and_what_else_holds_is_asked_in_a_new_run(
    airflow: Airflow, whole: District
) -> None:
    whole.change_students(lambda row: row | {"userId": f"N{row['userId']}", "userGrade": "7"})
    run_id = airflow.trigger(whole.sync)
    airflow.wait_for_task(whole.sync, run_id, "approve", {"awaiting_input"})
    assert "Use the proposed identifier changes" in airflow.hitl(whole.sync, run_id)["options"]
    airflow.answer(whole.sync, run_id, "approve", "Use the proposed identifier changes")
    airflow.wait(whole.sync, run_id)
    assert (whole.run(run_id), whole.answer(run_id)) == (("held", "admin"), "use_proposal")
    (run,) = airflow.call("GET", f"dags/{whole.sync}/dagRuns?limit=1&order_by=-run_after")["dag_runs"]
    airflow.wait_for_task(whole.sync, run["dag_run_id"], "approve", {"awaiting_input"})
    asked = airflow.hitl(whole.sync, run["dag_run_id"])
    assert "The proposed identifier changes are taken, as admin answered before." in asked["body"]
    assert "Use the proposed identifier changes" not in asked["options"]
    airflow.answer(whole.sync, run["dag_run_id"], "approve", "Approve")
    airflow.wait(whole.sync, run["dag_run_id"])
    renamed = "SELECT count(*) FROM roster_identifier_history WHERE district_id = 'whole' AND entity = 'users'"
    assert whole.rows(renamed) == [(55,)]
    assert whole.run(run["dag_run_id"]) == ("applied", "admin")


def test_dags_carry_the_districts_name_offer_no_backfill_and_have_one_version_after_all_these_runs(
    airflow: Airflow, lincoln: District
) -> None:
    for dag_id, name in ((lincoln.sync, "Held"), (lincoln.undo, "Held: take a run back")):
        dag = airflow.call("GET", f"dags/{dag_id}")
        assert (dag["dag_display_name"], dag["is_backfillable"]) == (name, False)
        assert airflow.call("GET", f"dags/{dag_id}/dagVersions")["total_entries"] == 1
    listed = airflow.client.get(f"{airflow.place.address}/roster/districts/{lincoln.name}/runs")
    assert "Undone" in listed.text and "60 update" in listed.text


def test_killed_load_is_tried_again_and_ends_in_the_same_state(airflow: Airflow, lincoln: District) -> None:
    lincoln.change_names("Killed")
    with lincoln.locked():
        run_id = airflow.trigger(lincoln.sync, {"update_percent": 100, "reason": "new names"})
        airflow.wait_for_task(lincoln.sync, run_id, "load", {"running"})
        until(lincoln.is_waited_for, 60, lambda: airflow.log(lincoln.sync, run_id, "load"))
        os.kill(airflow.process_of(lincoln.sync, run_id, "load"), signal.SIGKILL)
        airflow.wait_for_task(lincoln.sync, run_id, "load", {"up_for_retry", "queued", "failed"})
    airflow.wait(lincoln.sync, run_id)
    assert lincoln.named("Killed") == 60
    assert lincoln.run(run_id) == ("applied", None)
    assert lincoln.audited(run_id) == 60


def test_plan_that_nobody_answered_is_given_up_before_the_next_run(
    airflow: Airflow, unanswered: tuple[District, str]
) -> None:
    district, run_id = unanswered
    airflow.wait(district.sync, run_id)
    tasks = airflow.tasks(district.sync, run_id)
    assert (tasks["approve"], tasks["load"], tasks["report"]) == ("success", "skipped", "success")
    assert district.named("Late") == 0
    assert district.run(run_id) == ("held", None)
    assert "nobody answered in time" in district.file(run_id, "report.html").text
