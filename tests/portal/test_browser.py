"""The portal's pages in a real browser: readable by everybody, wide and narrow, light and dark, without a mouse."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from enrollsync.portal.app import build
from portal.conftest import UPLOAD, FakeHost

pytestmark = pytest.mark.browser

PAGES = {
    "this morning": "/roster/",
    "a district": "/roster/districts/lincoln",
    "runs": "/roster/districts/lincoln/runs",
    "a plan that waits": "/roster/districts/lincoln/runs/second",
    "a run that ended": "/roster/districts/oakland/runs/only",
    "people": "/roster/districts/lincoln/users?q=mul",
    "a person": "/roster/districts/lincoln/users/1",
    "a person on an earlier day": "/roster/districts/lincoln/users/1?as_of=2099-01-01",
    "a class": "/roster/districts/lincoln/classes/1",
    "an organization": "/roster/districts/lincoln/organizations/1",
    "data quality": "/roster/districts/oakland/quality",
    "data quality of a school": "/roster/districts/oakland/quality/schools/1",
    "what waits": "/roster/districts/lincoln/waiting",
    "the doctor": "/roster/districts/lincoln/doctor",
    "one check": "/roster/districts/lincoln/doctor/class_no_teacher",
    "two people beside each other": "/roster/districts/lincoln/users/1/merge?other_key=2",
    "where files are sent": "/roster/districts/lincoln/upload",
    "an upload that is planned": f"/roster/districts/lincoln/upload/{UPLOAD}",
    "a problem": "/roster/districts/nowhere",
}
WIDTHS = (1280, 390, 360)


@pytest.fixture
def address(host: FakeHost) -> Iterator[str]:
    """The portal on a port of 127.0.0.1 that the system chose, ended with the test."""
    around = FastAPI()
    around.mount("/roster", build(host))
    server = uvicorn.Server(uvicorn.Config(around, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    (listening,) = (socket for one in server.servers for socket in one.sockets)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    yield opened
    opened.close()


@pytest.fixture
def complaints(context: BrowserContext) -> list[str]:
    """What the browser said was wrong: blocked by the policy, not found."""
    said: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "404" not in message.text:
            said.append(message.text)

    context.on("console", note)
    return said


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_page_is_accessible_fits_every_width_and_breaks_no_policy(
    context: BrowserContext, address: str, complaints: list[str], path: str
) -> None:
    page = context.new_page()
    page.goto(address + path)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = Axe().run(page).response["violations"]
        told = [(one["id"], one["impact"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found]
        assert [one for one in told if one[1] in ("serious", "critical")] == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []


def test_what_looks_for_faults_finds_one(context: BrowserContext) -> None:
    page = context.new_page()
    page.set_content("<html lang=en><title>x</title><main><h1>x</h1><input></main></html>")
    assert "label" in {one["id"] for one in Axe().run(page).response["violations"]}


def test_list_follows_what_is_typed_without_a_whole_page_anew(context: BrowserContext, address: str) -> None:
    page = context.new_page()
    page.goto(f"{address}/roster/")
    page.evaluate("window.mark = 1")
    page.get_by_role("searchbox").fill("oak")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.evaluate("window.mark") == 1
    assert "q=oak" in page.url


def test_answer_is_given_with_the_keyboard_alone(context: BrowserContext, address: str, host: FakeHost) -> None:
    page = context.new_page()
    page.goto(address + PAGES["a plan that waits"])
    page.get_by_role("link", name="Reject").focus()
    page.keyboard.press("Enter")
    comment = page.locator("#answer-reject textarea")
    expect(comment).to_be_visible()
    comment.focus()
    page.keyboard.type("the file was cut")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/second")
    assert [what[2:] for what in host.done] == [("reject", "the file was cut")]


def test_who_comes_back_to_a_form_may_send_it_again(context: BrowserContext, address: str) -> None:
    page = context.new_page()
    page.goto(address + PAGES["a plan that waits"])
    button = page.locator("form[method=post] button").first
    page.evaluate("""() => {
        document.addEventListener("submit", (event) => event.preventDefault());
        document.querySelector("form[method=post]").requestSubmit();
    }""")
    expect(button).to_be_disabled()
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(button).to_be_enabled()


def test_findings_are_said_to_be_known_and_no_longer_with_the_keyboard(context: BrowserContext, address: str) -> None:
    page = context.new_page()
    page.goto(address + PAGES["data quality"])
    known = page.locator("section[aria-labelledby=known]")
    known.locator("summary").focus()
    page.keyboard.press("Enter")
    known.get_by_label("Finding").select_option("ID-MISSING")
    known.get_by_label("Known until").fill((date.today() + timedelta(days=9)).isoformat())
    known.get_by_label("Why").fill("the school is asked")
    page.keyboard.press("Enter")
    expect(known.get_by_text("the school is asked")).to_be_visible()
    known.get_by_role("button", name="End it now").focus()
    page.keyboard.press("Enter")
    expect(known.get_by_text("the school is asked")).to_have_count(0)
    expect(page.get_by_role("heading", name="Data quality")).to_be_visible()


def test_pages_work_without_scripts(browser: Browser, address: str) -> None:
    page: Page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{address}/roster/?q=linc")
    page.locator("#district-lincoln").get_by_role("link", name="Review").click()
    expect(page.get_by_role("heading", name="By school")).to_be_visible()
    page.context.close()


DROP = """(name) => {
    const dropped = new DataTransfer();
    dropped.items.add(new File(["schoolId,userId\\n"], name));
    document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
}"""


def test_files_that_are_dropped_are_sent_and_what_is_wrong_with_them_is_said_on_the_page(
    context: BrowserContext, address: str
) -> None:
    page = context.new_page()
    page.goto(f"{address}/roster/districts/lincoln/upload")
    page.evaluate(DROP, "users.xlsx")
    page.get_by_role("button", name="Check the files").click()
    expect(page.get_by_role("alert")).to_contain_text("save a spreadsheet as CSV")
    page.evaluate("document.querySelector('[data-upload]').dataset.largest = 3")
    page.get_by_role("button", name="Check the files").click()
    expect(page.get_by_role("alert")).to_contain_text("larger than 512 MiB")


@pytest.mark.parametrize("scripts", [True, False])
def test_upload_is_followed_from_the_files_to_the_run(
    browser: Browser, address: str, host: FakeHost, home: Path, plain_checks: None, scripts: bool
) -> None:
    page: Page = browser.new_context(java_script_enabled=scripts).new_page()
    page.goto(f"{address}/roster/districts/lincoln/upload")
    page.get_by_label("Choose the files").set_input_files(home / "data/landing/lincoln/users.csv")
    page.get_by_role("button", name="Check the files").click()
    outcome = page.locator("#outcome")

    def comes_to(said: str) -> None:
        deadline = time.monotonic() + 60
        while not scripts and "Being looked at" in outcome.inner_text():
            assert time.monotonic() < deadline
            page.reload()
        expect(outcome).to_have_text(said, timeout=60_000)

    comes_to("Checked")
    page.get_by_role("button", name="Plan", exact=True).click()
    comes_to("Held")
    expect(page.get_by_role("heading", name="By school")).to_be_visible()
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url("**/runs/manual__again")
    assert [what[:3] for what in host.done] == [("start", "lincoln", "sync")]
    page.context.close()
