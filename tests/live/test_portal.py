"""The portal inside a running Airflow, in a real browser: a morning's decisions, from the login to the roster."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from enrollsync.sample import write_sample
from live.district import District
from live.services import Airflow, until

pytestmark = [pytest.mark.slow, pytest.mark.browser]

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
PATIENT = 180
"""Seconds until a page says that a run has gone on: a busy machine takes its time."""


@pytest.fixture(scope="module")
def jefferson(airflow: Airflow) -> District:
    """A district whose deliveries are snapshots, and of which any change is held."""
    limits = {"deactivate_percent": 5, "update_percent": 5, "floor": 1, "fields": {"given_name": 100}}
    source = {"path": "data/landing/jefferson", "mode": "snapshot"}
    return District.settled(airflow, "jefferson", thresholds=limits, source=source)


@pytest.fixture(scope="module")
def page(airflow: Airflow, browser: Browser, jefferson: District) -> Page:
    """The administrator's: the portal was asked for, the login came first, and led back."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{airflow.place.address}/roster/")
    username, password = airflow.administrator
    page.locator("input[type=text], input[name=username]").first.fill(username)
    page.locator("input[type=password]").fill(password)
    page.locator("button[type=submit]").click()
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
    return run_id


def comes_to(page: Page, said: str, airflow: Airflow, dag_id: str) -> None:
    """Wait until the run's page, which follows the run by itself, says so."""
    run_id = unquote(page.url.partition("#")[0].rpartition("/")[2])
    outcome = page.locator("#outcome")
    until(lambda: outcome.inner_text().startswith(said), PATIENT, lambda: airflow.story(dag_id, run_id, "approve"))


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


def test_another_plan_is_rejected(page: Page, airflow: Airflow, jefferson: District) -> None:
    run_id = held(jefferson, "Rejected")
    page.goto(f"{airflow.place.address}/roster/districts/jefferson/runs/{quote(run_id, safe='')}")
    page.get_by_role("link", name="Reject").click()
    page.locator("#answer-reject").get_by_role("button").click()
    comes_to(page, "Rejected", airflow, jefferson.sync)
    assert jefferson.named("Rejected") == 0


def test_run_is_taken_back_after_a_look_at_what_that_would_do(
    page: Page, airflow: Airflow, jefferson: District
) -> None:
    page.goto(f"{airflow.place.address}/roster/districts/jefferson/runs?outcome=applied")
    page.locator("table[aria-label=Runs] tbody a").first.click()
    page.get_by_role("button", name="Show what would be reversed").click()
    comes_to(page, "Waits for you", airflow, jefferson.undo)
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
        new = {"userId": "moved1", "userLastName": "Ñuflórez", "userStateId": "ST-MOVED"}
        return row | new if row["userId"] == old[0] else row

    jefferson.change_students(changed)
    (jefferson.landing / "id_changes.csv").write_text(f"entity,old_id,new_id\nuser,{old[0]},moved1\n")
    run_id = jefferson.airflow.trigger(jefferson.sync)
    jefferson.airflow.wait(jefferson.sync, run_id)
    assert jefferson.run(run_id)[0] == "applied"
    jefferson.date_others_back(run_id, YESTERDAY)
    return old[0]


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


def test_identifier_changed_on_the_profile_page_is_kept_against_tonights_file(
    page: Page, airflow: Airflow, jefferson: District, moved: str
) -> None:
    page.goto(f"{airflow.place.address}/roster/districts/jefferson/users?q=moved1")
    page.locator("table tbody a").first.click()
    page.get_by_text("Change identifiers").click()
    page.get_by_label("identifier", exact=True).fill("edited1")
    page.get_by_label("Why").fill("the family asked")
    page.get_by_role("button", name="Look at the change").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This would change", timeout=PATIENT * 1000)
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("section[aria-labelledby=life]")).to_contain_text("the family asked", timeout=PATIENT * 1000)
    expect(page.locator("main")).to_contain_text("was moved1 until")
    (jefferson.landing / "id_changes.csv").unlink()
    run_id = jefferson.airflow.trigger(jefferson.sync)
    jefferson.airflow.wait(jefferson.sync, run_id)
    assert jefferson.run(run_id)[0] == "in_sync"
    kept = "SELECT count(*) FROM roster_users WHERE district_id = 'jefferson' AND user_id = 'edited1'"
    assert jefferson.rows(kept) == [(1,)]


def test_airflow_shows_the_portal_within_its_own_navigation(page: Page, airflow: Airflow) -> None:
    page.goto(f"{airflow.place.address}/plugin/roster")
    inside = page.frame_locator("iframe")
    expect(inside.get_by_role("heading", name="This morning")).to_be_visible(timeout=30_000)
    expect(inside.locator("#district-jefferson")).to_be_visible()


def test_portal_is_shut_without_a_session_and_answers_nobody_elses_form(page: Page, airflow: Airflow) -> None:
    address = f"{airflow.place.address}/roster"
    assert httpx.get(f"{address}/", headers={"Accept": "application/json"}).status_code == 401
    sent = page.request.post(f"{address}/districts/jefferson", headers={"Origin": "http://evil.example"})
    assert sent.status == 403
