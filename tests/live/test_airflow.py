"""What docker-compose.yaml starts, started: the services are well, and an administrator does a morning's work.

One file, so that one Airflow is started; its tests follow each other on the same districts.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
from playwright.sync_api import Browser, LocatorAssertions, Page, expect

from enrollsync.airflow.approval import BEFORE_NEXT_RUN
from enrollsync.sample import write_sample
from enrollsync.words.codes import CODES
from live.district import District
from live.services import Airflow, tail, until
from nightly import write_csv

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
    assert (led.status_code, led.url.path) == (200, "/auth/login/")
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
        process = airflow.process_of(lincoln.sync, run_id, "load")
        assert process is not None
        os.kill(process, signal.SIGKILL)
        airflow.wait_for_task(lincoln.sync, run_id, "load", {"up_for_retry", "queued", "failed"})
    airflow.wait(lincoln.sync, run_id)
    assert lincoln.named("Killed") == 60
    assert lincoln.run(run_id) == ("applied", None)
    assert lincoln.audited(run_id) == 60


# ---- what an administrator does in the portal, in a real browser -----------------------------------------------------

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
PATIENT = 180
"""Seconds until a page says that a run has gone on: a busy machine takes its time."""
WAITS = "Waits for you"


JEFFERSON = {
    "thresholds": {"deactivate_percent": 5, "update_percent": 5, "floor": 1, "fields": {"given_name": 100}},
    "source": {"path": "data/landing/jefferson", "mode": "snapshot"},
}


@pytest.fixture(scope="module")
def jefferson(airflow: Airflow) -> District:
    """A district whose deliveries are snapshots, and of which any change is held."""
    return District.settled(airflow, "jefferson", **JEFFERSON)


@pytest.fixture(scope="module")
def page(airflow: Airflow, browser: Browser, jefferson: District) -> Page:
    """The administrator's."""
    return logged_in(airflow, browser)


def logged_in(airflow: Airflow, browser: Browser) -> Page:
    """A browser of its own: the portal was asked for, the login came first, and led back."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{airflow.place.address}/roster/")
    username, password = airflow.administrator
    page.locator("input[type=text], input[name=username]").first.fill(username)
    page.locator("input[type=password]").fill(password)
    page.locator("[type=submit]").click()
    page.wait_for_url(f"{airflow.place.address}/roster/")
    return page


def held(district: District, change: str, gone: int = 0) -> str:
    """Deliver another first name for everybody, some missing; the run that waits."""
    kept: list[str] = []

    def changed(row: dict[str, str]) -> dict[str, str] | None:
        kept.append(row["userId"])
        return None if len(set(kept)) <= gone else row | {"userFirstName": change}

    district.change_students(changed)
    run_id = district.airflow.trigger(district.sync)
    district.airflow.wait_for_task(district.sync, run_id, "approve", {"awaiting_input"})
    district.airflow.wait_until_parked(district.sync, run_id, "approve")
    return run_id


def comes_to(page: Page, said: str, airflow: Airflow, dag_id: str) -> None:
    """Wait until the run's page, which follows the run by itself, says so."""
    run_id = unquote(page.url.partition("#")[0].rpartition("/")[2])
    outcome = page.locator("#outcome")
    until(lambda: outcome.inner_text().startswith(said), PATIENT, lambda: airflow.story(dag_id, run_id, "approve"))
    if said == WAITS:
        airflow.wait_until_parked(dag_id, run_id, "approve")


@pytest.mark.browser
def test_morning_leads_to_the_plan_that_waits_and_an_answer_with_a_comment_applies_it(
    page: Page, airflow: Airflow, jefferson: District
) -> None:
    run_id = held(jefferson, "Renamed", gone=3)
    page.goto(f"{airflow.place.address}/roster/")
    line = page.locator("#district-jefferson")
    expect(line).to_contain_text(re.compile("Waits for you until"))
    line.get_by_role("link", name=re.compile("Review")).click()
    expect(page.get_by_role("heading", name="By field")).to_be_visible()
    expect(page.locator("table[aria-labelledby=fields]")).to_contain_text("given name")
    expect(page.locator("table[aria-labelledby=schools] tbody tr")).not_to_have_count(0)
    page.get_by_role("link", name="Approve without removals").click()
    panel = page.locator("#answer-without_removals")
    expect(panel).to_contain_text("Nobody and nothing is deactivated")
    panel.get_by_role("textbox").fill("the three are on a trip")
    panel.get_by_role("button").click()
    comes_to(page, "Applied", airflow, jefferson.sync)
    expect(page.locator("main")).to_contain_text("admin")
    assert jefferson.run(run_id) == ("applied", "admin")
    assert jefferson.answer(run_id) == "without_removals"
    kept = "SELECT comment FROM roster_runs WHERE district_id = 'jefferson' AND run_id = %s"
    assert jefferson.rows(kept, run_id) == [("the three are on a trip",)]
    expect(page.locator("main")).to_contain_text("the three are on a trip")
    assert jefferson.named("Renamed") == 57


@pytest.mark.browser
def test_another_plan_is_rejected(page: Page, airflow: Airflow, jefferson: District) -> None:
    run_id = held(jefferson, "Rejected")
    page.goto(f"{airflow.place.address}/roster/districts/jefferson/runs/{quote(run_id, safe='')}")
    page.get_by_role("link", name="Reject").click()
    page.locator("#answer-reject").get_by_role("button").click()
    comes_to(page, "Rejected", airflow, jefferson.sync)
    assert jefferson.named("Rejected") == 0


@pytest.mark.browser
def test_run_is_taken_back_after_a_look_at_what_that_would_do(
    page: Page, airflow: Airflow, jefferson: District
) -> None:
    page.goto(f"{airflow.place.address}/roster/districts/jefferson/runs?outcome=applied")
    page.locator("table[aria-label=Runs] tbody a").first.click()
    page.get_by_role("button", name="Show what would be reversed").click()
    comes_to(page, WAITS, airflow, jefferson.undo)
    expect(page.locator("table[aria-labelledby=fields]")).to_contain_text("given name")
    page.get_by_role("link", name="Approve", exact=True).click()
    page.locator("#answer-approve").get_by_role("button").click()
    comes_to(page, "Undone", airflow, jefferson.undo)
    assert jefferson.named("Renamed") == 0


@pytest.fixture(scope="module")
def moved(jefferson: District) -> str:
    """A student who got another identifier, name and secondary ID today; what he was called until then."""
    write_sample(jefferson.landing, "batch_upload", students=60, seed=3)
    old: list[str] = []

    def changed(row: dict[str, str]) -> dict[str, str]:
        old.append(row["userId"])
        new = {"userId": "300", "userLastName": "Ñuflórez", "userStateId": "ST-MOVED"}
        return row | new if row["userId"] == old[0] else row

    jefferson.change_students(changed)
    (jefferson.landing / "id_changes.csv").write_text(f"entity,old_id,new_id\nuser,{old[0]},300\n")
    run_id = jefferson.airflow.trigger(jefferson.sync)
    jefferson.airflow.wait(jefferson.sync, run_id)
    assert jefferson.run(run_id)[0] == "applied"
    jefferson.date_others_back(run_id, YESTERDAY)
    return old[0]


@pytest.mark.browser
def test_student_is_found_by_whatever_he_is_known_by_explained_and_shown_as_he_was_yesterday(
    page: Page, airflow: Airflow, moved: str
) -> None:
    people = f"{airflow.place.address}/roster/districts/jefferson/users"
    for known_by in (moved, "nuflorez", "ST-MOVED"):
        page.goto(people)
        page.get_by_role("search").get_by_role("searchbox").fill(known_by)
        page.get_by_role("search").get_by_role("button").click()
        expect(page.locator("table tbody tr")).to_have_count(1)
    page.locator("table tbody a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Ñuflórez")
    expect(page.locator("section[aria-labelledby=life]")).to_contain_text("reidentify")
    page.get_by_label("At the end of the day").fill(YESTERDAY.isoformat())
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("main")).to_contain_text(f"As it was at the end of {YESTERDAY}")
    expect(page.locator("main")).to_contain_text(moved)
    expect(page.get_by_role("heading", level=1)).not_to_contain_text("Ñuflórez")


def profile_of(page: Page, district: District, identifier: str) -> None:
    """Find whoever has the identifier, and open the form for another one."""
    page.goto(f"{district.airflow.place.address}/roster/districts/{district.name}/users?q={identifier}")
    page.locator("table tbody a").first.click()
    page.get_by_text("Change identifiers").click()


def look_at(page: Page, identifier: str) -> None:
    """See what this identifier would do; the page must have the form."""
    page.get_by_label("identifier", exact=True).fill(identifier)
    page.get_by_label("Why").fill("the family asked")
    page.get_by_role("button", name="Look at the change").click()


def heading(page: Page) -> LocatorAssertions:
    """What the page says first."""
    return expect(page.get_by_role("heading", level=1))


@pytest.mark.browser
@pytest.mark.parametrize("typed, code, possible", [
    ("taken", "PLAN-REIDENTIFY-TAKEN", False), ("alike", "ID-CASE", True), ("123456789", "ID-SSN", True),
])  # fmt: skip
def test_identifier_that_is_taken_or_alike_or_could_be_a_social_security_number_gets_a_batchs_words(
    page: Page, jefferson: District, moved: str, typed: str, code: str, possible: bool
) -> None:
    somebody = "SELECT max(user_id) FROM roster_users WHERE district_id = 'jefferson' AND role = 'student'"
    ((theirs,),) = jefferson.rows(somebody)
    identifier = {"taken": theirs, "alike": theirs.swapcase()}.get(typed, typed)
    profile_of(page, jefferson, "300")
    look_at(page, identifier)
    heading(page).to_have_text("This would change" if possible else "This cannot be stored", timeout=PATIENT * 1000)
    rules = page.locator("section[aria-labelledby=findings]")
    expect(rules).to_contain_text(code)
    expect(rules).to_contain_text(CODES[code].remedy.replace("`", ""))
    expect(page.get_by_role("button", name="Change it")).to_have_count(int(possible))


@pytest.mark.browser
def test_identifier_changed_on_the_profile_page_is_kept_against_tonights_file_and_a_second_editor_is_told(
    page: Page, browser: Browser, airflow: Airflow, jefferson: District, moved: str
) -> None:
    second = logged_in(airflow, browser)
    for editor, wanted in ((page, "301"), (second, "302")):
        profile_of(editor, jefferson, "300")
        look_at(editor, wanted)
        heading(editor).to_have_text("This would change", timeout=PATIENT * 1000)
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("section[aria-labelledby=life]")).to_contain_text("the family asked", timeout=PATIENT * 1000)
    expect(page.locator("main")).to_contain_text("was 300 until")
    second.get_by_role("button", name="Change it").click()
    expect(second.locator("main")).to_contain_text("Somebody changed this record while you looked at it")
    second.context.close()
    (jefferson.landing / "id_changes.csv").unlink()
    assert outcome_of_a_run(jefferson) == "in_sync"
    assert named_300_or_301(jefferson) == ["301"]


def named_300_or_301(district: District) -> list[str]:
    """Which of both somebody has."""
    found = "SELECT user_id FROM roster_users WHERE district_id = %s AND user_id IN ('300', '301')"
    return [user_id for (user_id,) in district.rows(found, district.name)]


@pytest.mark.browser
def test_identifier_is_changed_back_by_tonights_file_where_edits_yield(
    page: Page, airflow: Airflow, jefferson: District, moved: str
) -> None:
    airflow.add_district("jefferson", edits="yield", **JEFFERSON)
    jefferson.change_students(lambda row: row)  # without the line of id_changes.csv it would be an old delivery
    assert outcome_of_a_run(jefferson) == "applied"
    assert named_300_or_301(jefferson) == ["300"]
    profile_of(page, jefferson, "300")
    expect(page.locator("main")).to_contain_text("was 301 until")
    look_at(page, "301")
    expect(page.locator("main")).to_contain_text("A delivery that still says the old value brings it back")


@pytest.mark.browser
def test_profile_of_a_clever_district_is_shown_and_not_edited_and_says_why(page: Page, airflow: Airflow) -> None:
    district = District.settled(airflow, "franklin", primary_source="clever")
    ((student,),) = district.rows("SELECT max(user_id) FROM roster_users WHERE district_id = 'franklin'")
    page.goto(f"{airflow.place.address}/roster/districts/franklin/users?q={student}")
    page.locator("table tbody a").first.click()
    expect(page.locator("main")).to_contain_text("Not to be changed here: its identifiers come from Clever")
    expect(page.get_by_text("Change identifiers")).to_have_count(0)


@pytest.mark.browser
def test_rows_that_wait_are_settled_and_two_records_are_merged_and_parted_again(
    page: Page, airflow: Airflow, jefferson: District
) -> None:
    home, users = f"{airflow.place.address}/roster/districts/jefferson", jefferson.landing / "users.csv"
    with users.open(newline="") as file:
        rows = list(csv.DictReader(file))
    students = [row["userId"] for row in rows if row["userRole"].casefold() == "student" and row["userEmail"]]
    recycled, almost, kept, gone = list(dict.fromkeys(students))[10:14]
    zoe = next(row for row in rows if row["userId"] == kept) | {
        "userId": "0077", "userFirstName": "Zoe", "userLastName": "Zero", "userEmail": "zoe@demo.example",
        "userBirthDate": "2013-03-03", "userDistrictId": "", "userStateId": "",
    }  # fmt: skip
    write_csv(users, [*rows, zoe], rows[0])
    assert outcome_of_a_run(jefferson) == "applied"
    changed = {
        recycled: {"userFirstName": "Quill", "userLastName": "Qua", "userEmail": "quill@demo.example",
                   "userBirthDate": "2012-02-02"},
        almost: {"userId": "almost1", "userGrade": "12", "userEmail": ""},
        "0077": {"userId": "77"},
    }  # fmt: skip
    write_csv(users, [row | changed.get(row["userId"], {}) for row in (*rows, zoe)], rows[0])
    assert outcome_of_a_run(jefferson) == "in_sync"

    page.goto(f"{home}/waiting")
    for code, whose in (
        ("PLAN-RECYCLED", "somebody new"), ("PLAN-AMBIGUOUS", "the same person as"),
        ("ID-LEADING-ZERO", "the same person as"),
    ):  # fmt: skip
        row = page.locator("section.waits", has_text=code)
        row.get_by_label(whose).first.check()
        row.get_by_label("Why").fill("asked the school")
        row.get_by_role("button").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("This would change", timeout=PATIENT * 1000)
        page.get_by_role("button", name="Do it").click()
        page.wait_for_url(f"{home}/waiting")
    expect(page.locator("main")).to_contain_text("Nothing waits.")

    page.goto(f"{home}/users?q={kept}")
    page.locator("table tbody a").first.click()
    page.get_by_role("link", name="Merge them").click()
    page.get_by_label("Identifier of the other record").fill(gone)
    page.get_by_role("button", name="Compare").click()
    page.get_by_label("Why").fill("one child")
    page.get_by_role("button", name="See what that does").click()
    page.get_by_role("button", name="Merge them").click()
    expect(page.locator("section[aria-labelledby=life]")).to_contain_text("one child", timeout=PATIENT * 1000)
    assert outcome_of_a_run(jefferson) == "in_sync", "the file names both of them still"
    inactive = (
        "SELECT count(*) FROM roster_users WHERE district_id = 'jefferson' AND user_id = %s AND status = 'inactive'"
    )
    assert jefferson.rows(inactive, gone) == [(1,)]

    page.goto(f"{home}/runs")
    page.locator('table[aria-label=Runs] a[href*="merge__"]').first.click()
    page.get_by_role("button", name="Show what would be reversed").click()
    comes_to(page, WAITS, airflow, jefferson.undo)
    page.get_by_role("link", name="Approve", exact=True).click()
    page.locator("#answer-approve").get_by_role("button").click()
    comes_to(page, "Undone", airflow, jefferson.undo)
    assert jefferson.rows(inactive, gone) == [(0,)]


def outcome_of_a_run(district: District) -> str:
    """Of one that is started by hand."""
    run_id = district.airflow.trigger(district.sync)
    district.airflow.wait(district.sync, run_id)
    return district.run(run_id)[0]


@pytest.mark.browser
def test_files_are_uploaded_corrected_planned_reviewed_by_field_and_run(
    page: Page, airflow: Airflow, lincoln: District, tmp_path: Path
) -> None:
    outcome, users = page.locator("#outcome"), tmp_path / "users.csv"
    with (lincoln.landing / "users.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = next(row["userId"] for row in rows if row["userRole"].casefold() == "student")
    good = [row | {"userFirstName": "Uploaded"} if row["userId"] == chosen else row for row in rows]

    def check(rows: list[dict[str, str]]) -> None:
        write_csv(users, rows)
        page.get_by_label("Choose the files").set_input_files(users)
        page.get_by_role("button", name="Check the files").click()
        expect(outcome).to_have_text("Checked", timeout=PATIENT * 1000)

    page.goto(f"{airflow.place.address}/roster/")
    page.locator("#district-held").get_by_role("link", name=re.compile("Upload")).click()
    check([*good, rows[-1] | {"userId": ""}])
    expect(page.locator("table[aria-labelledby=findings]")).to_contain_text("ID-MISSING")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Rejected lines of users.csv").click()
    assert "ID-MISSING" in downloading.value.path().read_text()
    page.get_by_role("link", name="Send other files").click()
    check(good)
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(outcome).to_have_text("Planned", timeout=PATIENT * 1000)
    expect(page.locator("table[aria-labelledby=fields]")).to_contain_text("given name")
    assert lincoln.named("Uploaded") == 0
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url("**/runs/*")
    comes_to(page, "Applied", airflow, lincoln.sync)
    airflow.wait(lincoln.sync, unquote(page.url.rpartition("/")[2]))
    assert lincoln.named("Uploaded") == 1
    assert len(list((airflow.home / "data" / "uploads" / "held").iterdir())) == 1, "what the run has read is gone"


@pytest.mark.browser
def test_airflow_shows_the_portal_within_its_own_navigation(page: Page, airflow: Airflow) -> None:
    page.goto(f"{airflow.place.address}/plugin/roster")
    inside = page.frame_locator("iframe")
    expect(inside.get_by_role("heading", name="This morning")).to_be_visible(timeout=30_000)
    expect(inside.locator("#district-jefferson")).to_be_visible()


@pytest.mark.browser
def test_portal_is_shut_without_a_session_and_answers_nobody_elses_form(page: Page, airflow: Airflow) -> None:
    address = f"{airflow.place.address}/roster"
    assert httpx.get(f"{address}/", headers={"Accept": "application/json"}).status_code == 401
    sent = page.request.post(f"{address}/districts/jefferson", headers={"Origin": "http://evil.example"})
    assert sent.status == 403


# ---- a delivery starts a run -----------------------------------------------------------------------------------------


def test_deliveries_start_runs_and_of_two_in_quick_succession_the_last_one_wins(airflow: Airflow) -> None:
    district = District(airflow, "watched")
    source = {"path": "data/landing/watched", "watch": True, "ready": ".done"}
    airflow.add_district("watched", source=source, thresholds={"update_percent": 100, "fields": {"given_name": 100}})

    def runs() -> list[dict[str, str]]:
        return list(airflow.call("GET", f"dags/{district.sync}/dagRuns")["dag_runs"])

    def story() -> str:
        return f"{runs()}; {tail(airflow.home, 'triggerer')}"

    write_sample(district.landing, "batch_upload", students=60, seed=3)
    (district.landing / ".done").touch()
    until(lambda: len(runs()) == 1, 120, story)
    district.change_names("Last")
    until(lambda: len(runs()) == 2, 300, story)
    until(lambda: all(run["state"] in ("success", "failed") for run in runs()), 300, story)
    assert {(run["run_type"], run["state"]) for run in runs()} == {("asset_triggered", "success")}
    assert (len(runs()), district.named("Last")) == (2, 60)


# ---- the next run is near --------------------------------------------------------------------------------------------


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
