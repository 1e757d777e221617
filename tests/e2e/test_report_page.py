"""The report in a real browser: it opens by itself, asks for nothing, and fits a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from enrollsync import report
from enrollsync.report.wording import OPERATIONS
from enrollsync.run.run import Run
from enrollsync.run.workspace import Notice, RunManifest, SourceFile, Workspace
from enrollsync.settings import District
from enrollsync.words import findings
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.codes import CODES, Severity

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with everything that a report can show, long words included."""
    workspace = Workspace(tmp_path_factory.mktemp("reports") / "run").create()
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE found ({findings.schema()})")
        connection.executemany(
            "INSERT INTO found SELECT ?, ?, 'users', range, 'users.csv', 2 + range * 3, 'userDistrictId', NULL, 'odd' "
            "FROM range(300)",
            [
                (code.code, code.severity.value)
                for code in CODES.values()
                if not code.code.startswith(("FILE", "GUARD"))
            ],
        )
        connection.table("found").write_parquet(str(workspace.findings))
        connection.sql(
            "SELECT 'S' || range AS organization_id, 'Washington-Carver School of Engineering ' || range AS name, "
            "range AS created, 1000 * range AS updated, 7 AS deactivated, 1 AS unchanged FROM range(40)"
        ).write_parquet(str(workspace.plan / "organizations_summary.parquet"))
    kinds = ("expect_column_values_to_not_match_regex", "expect_key_to_agree_on_columns")
    checks = [
        {"entity": entity.name, "expectation": kind, "column": "organization_source_key", "code": "VAL-EMAIL-DUPLICATE",
         "rows": 1_234_567, "failed": 12_345}
        for entity in ENTITIES for kind in kinds
    ]  # fmt: skip
    workspace.checks.write_text(json.dumps(checks))
    workspace.proposed_id_changes.write_text("entity,old_id,new_id\n")
    report.write(Run(workspace, manifest(), district(), None))
    return (workspace.root / "report.html").as_uri()


def manifest() -> RunManifest:
    hold = Notice(code="GUARD-DEACTIVATE", severity=Severity.WARNING, message="users: 2,310 of 18,402 would go")
    return RunManifest(
        run_id="scheduled__2026-11-03T07:00:00+00:00_" + "0123456789abcdef" * 4,
        district="demo",
        as_of=datetime(2026, 11, 3, 7, tzinfo=UTC),
        format="batch_upload",
        outcome="held",
        holds=[hold],
        counts={entity.name: dict.fromkeys(OPERATIONS, 1_234_567) for entity in ENTITIES},
        files=[SourceFile(name="users.csv", entity="users", header=["userId"], rows=9, malformed=1)],
        seconds={"ingest": 1.0, "validate": 2.0},
    )


def district() -> District:
    return District.model_validate(
        {
            "district_id": "demo",
            "name": "Demo Unified",
            "primary_source": "batch_upload",
            "source": {"path": "data/landing/demo"},
            "database": {"url": "sqlite:///data/demo.db"},
        }
    )


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1100, "height": 900})
    yield opened
    opened.close()


def test_the_page_opens_without_an_error_or_a_request(page: Page, address: str) -> None:
    said: list[ConsoleMessage] = []
    asked: list[Request] = []
    page.on("console", lambda message: said.append(message))
    page.on("request", lambda request: asked.append(request))
    page.goto(address, wait_until="networkidle")

    assert [message.text for message in said] == []
    assert [request.url for request in asked if not request.url.startswith("data:")] == [address]


def test_the_styles_apply_under_the_pages_own_policy(page: Page, address: str) -> None:
    page.goto(address)

    radius = page.eval_on_selector(".banner", "element => getComputedStyle(element).borderTopRightRadius")
    assert radius == "12px"


def test_the_page_has_landmarks_and_its_headings(page: Page, address: str) -> None:
    page.goto(address)

    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["Demo Unified"]
    assert page.get_by_role("heading", level=2).all_inner_texts() == [
        "Held",
        "Why a person has to decide",
        "What would change",
        "By organization",
        "What was found",
        "Checks",
        "Files of this run",
        "About this run",
    ]


def test_the_proposed_changes_open_from_where_a_person_decides(page: Page, address: str) -> None:
    page.goto(address)
    link = page.get_by_role("link", name="the proposed id_changes.csv")
    with page.expect_download() as download:
        link.click()

    assert download.value.suggested_filename == "id_changes.csv"


def test_bars_are_drawn_to_scale(page: Page, address: str) -> None:
    page.goto(address)
    widths = page.eval_on_selector_all(
        ".organizations svg",
        """bars => bars.map(bar => [...bar.querySelectorAll('rect')]
            .reduce((sum, rect) => sum + rect.getBoundingClientRect().width, 0) / bar.getBoundingClientRect().width)""",
    )

    assert len(widths) == 30
    assert widths[0] == pytest.approx(1, abs=0.01)
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("width", [375, 768, 1100])
def test_nothing_overflows_to_the_side(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address)
    page.locator("summary").click()

    beyond = page.eval_on_selector_all(
        "main *:not(thead, thead *)",
        "(all, width) => all.filter(one => one.getBoundingClientRect().right > width + 1).map(one => one.outerHTML)",
        width,
    )
    assert beyond == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [375, 1100])
def test_tables_stay_tables_to_a_screen_reader_at_every_width(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address)

    table = page.get_by_role("table", name="What would change")
    assert table.get_by_role("rowheader").all_inner_texts() == [entity.name.capitalize() for entity in ENTITIES]
    assert table.get_by_role("columnheader").count() == 1 + len(OPERATIONS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(browser: Browser, address: str, scheme: str) -> None:
    page = browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(address)
    seen = page.eval_on_selector_all(
        "body, body *",
        """all => [...new Set(all
            .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))
            .map(one => {
                let under = one;
                const ground = element => getComputedStyle(element).backgroundColor;
                while (ground(under) === 'rgba(0, 0, 0, 0)' && under.parentElement) under = under.parentElement;
                return getComputedStyle(one).color + '|' + ground(under);
            }))]""",
    )
    page.close()

    assert len(seen) >= 8
    assert {pair: contrast(pair) for pair in seen if contrast(pair) < 4.5} == {}


def contrast(pair: str) -> float:
    """WCAG's contrast ratio of `rgb(…)|rgb(…)`."""
    darker, lighter = sorted(luminance(colour) for colour in pair.split("|"))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_page_prints_to_paper(page: Page, address: str) -> None:
    page.goto(address)
    page.emulate_media(media="print")

    assert page.pdf(format="Letter").startswith(b"%PDF")
    assert page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor") == "rgb(255, 255, 255)"
