"""The report says what a run did, stays small whatever the run's size, and lets nothing of a delivery become markup."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest

from enrollsync import report
from enrollsync.report import facts, wording
from enrollsync.run.run import Run
from enrollsync.run.workspace import COUNTED, Notice, RunManifest, SourceFile, Workspace
from enrollsync.settings import District
from enrollsync.validate import quarantine
from enrollsync.words import findings
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.codes import CODES, Severity

DISTRICT = District.model_validate(
    {
        "district_id": "demo",
        "name": "Demo Unified",
        "primary_source": "batch_upload",
        "timezone": "America/New_York",
        "source": {"path": "data/landing/demo"},
        "database": {"url": "sqlite:///data/demo.db"},
        "thresholds": {"deactivate_percent": 12.5, "update_percent": 60, "floor": 7},
    }
)
HOLD = Notice(code="GUARD-DEACTIVATE", severity=Severity.WARNING, message="users: 60 of 300 would be deactivated")

Finding = tuple[str, str, int, str | None]
"""code, severity, line, column."""


class Page(HTMLParser):
    """The text, the tags and the links of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.pieces: list[str] = []
        self.html = html
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links.extend(value or "" for name, value in attrs if name == "href" and tag == "a")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] != "style":
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "run").create()


def counts(**users: int) -> dict[str, dict[str, int]]:
    zero = dict.fromkeys(COUNTED, 0)
    return {entity.name: {**zero, **(users if entity.name == "users" else {})} for entity in ENTITIES}


def manifest(**more: Any) -> RunManifest:
    values = {
        "run_id": "run-7",
        "district": "demo",
        "as_of": datetime(2026, 11, 3, 7, tzinfo=UTC),
        "format": "batch_upload",
        "outcome": "applied",
    }
    return RunManifest(**{**values, **more})


def save_findings(workspace: Workspace, rows: Iterable[Finding]) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE findings ({findings.schema()})")
        for code, severity, line, column in rows:
            connection.execute(
                "INSERT INTO findings VALUES (?, ?, 'users', 1, 'users.csv', ?, ?, NULL, 'odd')",
                [code, severity, line, column],
            )
        connection.table("findings").write_parquet(str(workspace.findings))


def save_organizations(workspace: Workspace, rows: list[tuple[str | None, str | None, int, int, int, int]]) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """
            CREATE TABLE summary (
                organization_id VARCHAR, name VARCHAR, created BIGINT, updated BIGINT, deactivated BIGINT,
                unchanged BIGINT
            )
            """
        )
        connection.executemany("INSERT INTO summary VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.table("summary").write_parquet(str(workspace.plan / "organizations_summary.parquet"))


def written(workspace: Workspace, **more: Any) -> Page:
    report.write(Run(workspace, manifest(**more), DISTRICT, None))
    return Page((workspace.root / "report.html").read_text(encoding="utf-8"))


def as_json(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.root / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("outcome", sorted(wording.OUTCOMES))
def test_every_outcome_has_a_banner_that_says_what_it_means(workspace: Workspace, outcome: str) -> None:
    said = wording.OUTCOMES[outcome]
    page = written(workspace, outcome=outcome)

    assert f"{said.title} {said.meaning} Next: {said.next_step}" in page.text


def test_a_run_without_an_outcome_yet_is_not_finished(workspace: Workspace) -> None:
    assert "Not finished" in written(workspace, outcome=None).text


@pytest.mark.parametrize(
    ("outcome", "users", "next_step"),
    [
        ("applied", {"rejected": 2, "held": 1}, wording.CORRECT_LINES),
        ("in_sync", {"rejected": 2}, wording.CORRECT_LINES),
        ("planned", {"rejected": 2}, wording.CORRECT_LINES),
        ("applied", {"held": 1}, wording.LOOK_ASIDE),
        ("applied", {"create": 9}, "There is nothing left to do."),
        ("held", {"rejected": 2}, wording.OUTCOMES["held"].next_step),
    ],
)
def test_the_next_step_follows_from_what_did_not_load(
    workspace: Workspace, outcome: str, users: dict[str, int], next_step: str
) -> None:
    assert f"Next: {next_step}" in written(workspace, outcome=outcome, counts=counts(**users)).text


def test_district_run_time_source_format_and_mode_stand_on_the_page(workspace: Workspace) -> None:
    files = [SourceFile(name="users.csv", entity="users", header=[], rows=1200, malformed=3)]
    text = written(workspace, files=files, seconds={"ingest": 1.25, "load": 3.0}).text

    for part in (
        "Demo Unified",
        "run-7",
        "Tuesday 3 November 2026, 02:00 (America/New_York)",
        "data/landing/demo",
        "Batch Upload",
        "Delta: records missing from the delivery stay as they are",
        "users.csv1,200 records, 3 malformed",
        "Ingest1.2",
        "All4.2",
    ):
        assert part in text


def test_a_refused_run_with_nothing_but_its_manifest_says_what_to_correct(tmp_path: Path) -> None:
    notice = Notice(
        code="FILE-HEADER",
        severity=Severity.CRITICAL,
        message="the column `userID` is unknown",
        file="users.csv",
        line=1,
    )
    page = written(Workspace(tmp_path), outcome="refused", format=None, notices=[notice])

    assert "A header cannot be used users.csv, line 1 the column userID is unknown" in page.text
    assert CODES["FILE-HEADER"].remedy.replace("`", "") in page.text
    assert page.text.count("the column userID is unknown") == 1


def test_a_failed_run_shows_its_error(workspace: Workspace) -> None:
    assert (
        "What went wrong the database is locked"
        in written(workspace, outcome="failed", error="the database is locked").text
    )


def test_a_held_run_shows_each_reason_and_where_the_limits_stand(workspace: Workspace) -> None:
    text = written(workspace, outcome="held", holds=[HOLD], counts=counts(deactivate=60)).text

    assert "Unusually many records would be deactivated users: 60 of 300 would be deactivated" in text
    assert "The limits stand under thresholds in the district's file" in text
    assert "fewer than 7 records never waits" in text
    assert text.count(HOLD.message) == 1
    assert "What would change" in text


def test_holds_of_one_kind_are_explained_once(workspace: Workspace) -> None:
    other = Notice(code="GUARD-DEACTIVATE", severity=Severity.WARNING, message="classes: 6 of 30 would be deactivated")
    text = written(workspace, outcome="held", holds=[HOLD, other]).text

    assert text.index(HOLD.message) < text.index(other.message)
    assert text.count(CODES["GUARD-DEACTIVATE"].title) == text.count(CODES["GUARD-DEACTIVATE"].why) == 1


def test_an_approved_hold_names_who_decided(workspace: Workspace) -> None:
    text = written(workspace, outcome="applied", holds=[HOLD], approved_by="registrar").text

    assert "Why a person had to decide" in text
    assert "Decided: approved by registrar." in text


def test_counts_are_shown_for_every_entity_and_zero_is_faint(workspace: Workspace) -> None:
    page = written(workspace, counts=counts(create=1204, deactivate=3, unchanged=88))
    row = re.search(r'rowheader">Users</th>(.*?)</tr>', page.html, re.DOTALL)

    assert row is not None
    cells = re.findall(r'data-label="(.*?)"( class="zero")?>(.*?)</td>', row.group(1))
    assert cells == [
        (title, "" if number != "0" else ' class="zero"', number)
        for title, number in zip(
            wording.OPERATIONS.values(), ["1,204", "0", "0", "0", "3", "88", "0", "0", "0"], strict=True
        )
    ]
    assert page.html.count('role="rowheader"') == len(ENTITIES)


def test_a_run_that_did_not_come_to_count_shows_no_table_of_counts(workspace: Workspace) -> None:
    assert "What changed" not in written(workspace).text


def test_every_operation_of_the_counts_has_a_heading() -> None:
    assert tuple(wording.OPERATIONS) == COUNTED


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([17], "17"),
        ([40, 17, 24, 23, 25], "17, 23-25, 40"),
        ([5, 5, 6], "5-6"),
        ([9, 10, 99, 100], "9-10, 99-100"),
    ],
)
def test_lines_are_shown_once_in_order_and_as_ranges(workspace: Workspace, lines: list[int], shown: str) -> None:
    save_findings(workspace, [("ID-MISSING", "critical", line, "userId") for line in lines])

    assert f"users.csv, column userId: {shown} ID-MISSING" in written(workspace).text


def test_findings_are_grouped_by_severity_worst_first_then_by_code(workspace: Workspace) -> None:
    rows: list[Finding] = [
        ("VAL-TRIMMED", "info", 2, "userId"),
        ("VAL-EMAIL", "warning", 3, "userEmail"),
        ("ID-MISSING", "critical", 4, "userId"),
        ("ID-CHARSET", "critical", 5, "userId"),
        ("ID-CHARSET", "critical", 6, "userId"),
    ]
    save_findings(workspace, rows)
    text = written(workspace).text

    headings = ["Critical", "ID-CHARSET", "ID-MISSING", "Warnings", "VAL-EMAIL", "Advice", "VAL-TRIMMED"]
    places = [text.index(heading, text.index("What was found")) for heading in headings]
    assert places == sorted(places)
    for code in ("ID-CHARSET", "VAL-EMAIL", "VAL-TRIMMED"):
        known = CODES[code]
        assert known.title in text
        assert known.why in text
        assert known.remedy.replace("`", "") in text
        assert f"{code} · {known.rule}" in text


def test_each_column_and_file_has_its_own_lines(workspace: Workspace) -> None:
    save_findings(workspace, [("VAL-INVALID", "warning", 3, "userGrade"), ("VAL-INVALID", "warning", 4, None)])
    text = written(workspace).text

    assert "users.csv, column userGrade: 3" in text
    assert "users.csv: 4" in text
    assert "2 times" in text


def test_a_notice_shows_its_message(workspace: Workspace) -> None:
    notice = Notice(code="FILE-IGNORED", severity=Severity.INFO, message="nothing is read", file="demographics.csv")
    text = written(workspace, notices=[notice]).text

    assert "A file, or people of some role, are not read 1 time nothing is read" in text
    assert "demographics.csv" in text


def test_a_run_without_findings_says_so(workspace: Workspace) -> None:
    assert "What was found Nothing." in written(workspace).text


def test_a_run_with_very_many_findings_makes_a_small_page_and_counts_the_rest(workspace: Workspace) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """
            CREATE TABLE findings AS
            SELECT
                ['ID-MISSING', 'ID-CHARSET', 'REF-UNKNOWN'][1 + range % 3] AS code, 'critical' AS severity,
                'users' AS entity, range AS row_id, 'users.csv' AS file, 2 + range * 2 AS line,
                'userId' AS "column", 'odd' AS message
            FROM range(300000)
            """
        )
        connection.table("findings").write_parquet(str(workspace.findings))
    page = written(workspace)

    assert len(page.html) < 60_000
    assert page.text.count("and 99,800 more lines, all of them in findings.csv") == 3
    assert (workspace.root / "findings.csv").read_text().count("\n") == 300_001


def test_what_is_set_aside_stands_by_itself_with_what_most_records_wait_for(workspace: Workspace) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"""
            CREATE TABLE found ({findings.schema()});
            INSERT INTO found
            SELECT 'ROW-WAITS', 'info', 'enrollments', NULL, 'enrollments.csv', 2 + range, NULL, NULL,
                'waits for line ' || (CASE WHEN range % 2 = 0 THEN 2 ELSE range + 2 END) || ' of s.csv: its class'
            FROM range(100000);
            INSERT INTO found
            SELECT 'PLAN-AMBIGUOUS', 'warning', 'users', NULL, 'students.csv', 4, NULL, NULL, 'odd'""")
        connection.table("found").write_parquet(str(workspace.findings))
    page = written(workspace, counts=counts(held=100_001))
    text = page.text

    assert len(page.html) < 30_000
    assert text.index("Set aside These records wait") < text.index("It might be a changed identifier")
    assert text.index("It might be a changed identifier") < text.index(
        "The record is set aside until another one loads"
    )
    assert "Advice" not in text and "Warnings" not in text
    assert "50,000 records: waits for line 2 of s.csv: its class" in text
    assert "and 49,981 more that others wait for, all of them in findings.csv" in text
    (group,) = [group for group in as_json(workspace)["findings_grouped"] if group["code"] == "ROW-WAITS"]
    assert (group["count"], len(group["causes"])) == (100_000, facts.MOST_CAUSES)


def test_organizations_stand_by_number_of_changes_and_unchanged_ones_are_left_out(workspace: Workspace) -> None:
    save_organizations(
        workspace,
        [("1", "Small", 1, 0, 0, 9), ("2", "Quiet", 0, 0, 0, 500), ("3", "Large", 10, 2000, 3, 0)],
    )
    text = written(workspace).text

    assert "Large 10 2,000 3" in text
    assert text.index("Large") < text.index("Small")
    assert "Quiet" not in text


def test_organizations_after_the_thirtieth_are_summed(workspace: Workspace) -> None:
    save_organizations(workspace, [(str(n), f"School {n:03}", 100 - n, 1, 0, 0) for n in range(35)])
    page = written(workspace)

    assert "School 029" in page.text
    assert "School 030" not in page.text
    assert "5 more organizations 340 5 0" in page.text
    assert page.tags.count("svg") == facts.MOST_ORGANIZATIONS


@pytest.mark.parametrize(
    ("identifier", "shown"),
    [
        ("S1", "S1"),
        ("*****6789", "*****6789"),
        (None, "No organization"),
    ],
)
def test_an_organization_without_a_name_goes_by_its_identifier_as_the_plan_masked_it(
    workspace: Workspace, identifier: str | None, shown: str
) -> None:
    save_organizations(workspace, [(identifier, None, 4, 0, 0, 0)])
    text = written(workspace).text

    assert f"{shown} 4 0 0" in text


def test_without_a_summary_of_organizations_the_section_is_left_out(workspace: Workspace) -> None:
    assert "By organization" not in written(workspace).text


def test_nothing_of_a_delivery_becomes_markup(workspace: Workspace) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>`<b>x</b>`"
    save_organizations(workspace, [("1", evil, 1, 0, 0, 0)])
    save_findings(workspace, [("ID-MISSING", "critical", 2, evil), (evil, "warning", 3, None)])
    notice = Notice(code="FILE-IGNORED", severity=Severity.INFO, message=evil, file=evil)
    hold = Notice(code="GUARD-EMPTY", severity=Severity.WARNING, message=evil)
    files = [SourceFile(name=evil, entity="users", header=[], rows=1, malformed=0)]
    page = written(
        workspace, notices=[notice], holds=[hold], files=files, source=evil, run_id=evil, error=evil, approved_by=evil
    )

    assert not {"script", "img", "b"} & set(page.tags)
    assert page.text.count("<script>alert(1)</script>") >= 8


def test_the_page_asks_for_nothing_and_allows_nothing(workspace: Workspace) -> None:
    page = written(workspace)

    policy = re.search(r'Content-Security-Policy" content="(.*?)">', page.html)
    assert policy is not None
    assert policy.group(1).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy.group(1)
    assert not {"script", "img", "iframe", "form"} & set(page.tags)
    assert "http:" not in page.html and "https:" not in page.html and "style=" not in page.html


def test_links_are_relative_and_lead_to_files_that_exist(workspace: Workspace) -> None:
    duckdb.sql("SELECT 3 AS line, '1' AS userId").write_parquet(str(workspace.source_table("users.csv")))
    workspace.data_docs.mkdir()
    (workspace.data_docs / "index.html").touch()
    save_findings(workspace, [("ID-MISSING", "critical", 3, "userId")])
    files = [SourceFile(name="users.csv", entity="users", header=["userId"], rows=1, malformed=0)]
    quarantine.write(Run(workspace, manifest(files=files), DISTRICT, None))
    page = written(workspace, files=files)

    links = [link for link in page.links if not link.startswith("#")]
    assert links == ["findings.csv", "quarantine/users-errors.csv", "data_docs/index.html"]
    assert all((workspace.root / link).is_file() for link in links)
    assert "Rejected lines of users.csv 1 rejected line, whole" in page.text


def test_files_that_a_run_did_not_write_are_not_linked(workspace: Workspace) -> None:
    save_findings(workspace, [("ID-MISSING", "critical", 2, "userId")])

    assert written(workspace).links == ["#findings", "findings.csv"]


def test_the_checks_that_ran_stand_in_a_table_with_their_counts(workspace: Workspace) -> None:
    check = {"entity": "users", "expectation": "expect_column_values_to_be_in_set", "column": "grade",
             "code": "VAL-INVALID", "rows": 1200, "failed": 3}  # fmt: skip
    workspace.checks.write_text(json.dumps([check, {**check, "column": "role", "failed": 0}]))
    save_findings(workspace, [])
    page = written(workspace)

    assert "2 checks ran; 1 found rows that fail." in page.text
    assert "users.grade to be in set1,2003VAL-INVALID" in page.text
    assert as_json(workspace)["checks"][0] == check
    assert "Checks" not in written(Workspace(workspace.root.parent / "other").create()).text


ADVICE = "else correct it and put it into the next delivery."


def test_proposed_identifier_changes_are_linked_with_what_to_do(workspace: Workspace) -> None:
    workspace.proposed_id_changes.write_text("entity,old_id,new_id\nuser,u-1,u-2\n")
    hold = Notice(code="GUARD-REKEYED", severity=Severity.WARNING, message="40 of 40 users; look at id_changes.csv")
    page = written(workspace, outcome="held", holds=[hold])

    assert page.links == ["id_changes.csv", "findings.csv", "id_changes.csv"]
    assert ADVICE in page.text
    assert "proposed changes hold children's records" in page.text
    assert "u-1" not in page.html


def test_once_the_plan_is_applied_the_proposed_changes_are_linked_without_advice(workspace: Workspace) -> None:
    workspace.proposed_id_changes.write_text("entity,old_id,new_id\n")
    hold = Notice(code="GUARD-REKEYED", severity=Severity.WARNING, message="40 of 40 users; look at id_changes.csv")
    page = written(workspace, outcome="applied", holds=[hold], approved_by="pat")

    assert page.links == ["findings.csv", "id_changes.csv"]
    assert ADVICE not in page.text


def test_without_proposed_changes_no_page_speaks_of_them(workspace: Workspace) -> None:
    page = written(workspace, outcome="held", holds=[HOLD])

    assert "id_changes.csv" not in page.html


def test_values_of_rows_never_reach_page_or_json(workspace: Workspace) -> None:
    """Only counts are taken from a finding's row; even a message that breaks the rule stays out."""
    save_findings(workspace, [("ID-MISSING", "critical", 2, "userId")])
    with duckdb.connect() as connection:
        table = connection.read_parquet(str(workspace.findings)).project("* REPLACE ('Leena Parath' AS message)")
        table.to_arrow_table()
        table.write_parquet(str(workspace.root / "swap.parquet"))
    (workspace.root / "swap.parquet").replace(workspace.findings)
    page = written(workspace)

    assert "Parath" not in page.html
    assert "Parath" not in (workspace.root / "report.json").read_text()


def test_the_json_has_the_keys_of_the_command_and_the_findings_grouped(workspace: Workspace) -> None:
    save_findings(workspace, [("ID-MISSING", "critical", line, "userId") for line in (2, 3, 9)])
    written(workspace, plan_id="p1", counts=counts(create=3), findings={"ID-MISSING": 3}, holds=[HOLD])
    found = as_json(workspace)

    assert {key: found[key] for key in ("run_id", "outcome", "plan_id", "findings", "holds", "artifacts")} == {
        "run_id": "run-7",
        "outcome": "applied",
        "plan_id": "p1",
        "findings": {"ID-MISSING": 3},
        "holds": [{"code": HOLD.code, "message": HOLD.message}],
        "artifacts": str(workspace.root),
    }
    assert found["counts"]["users"]["create"] == 3
    (group,) = [group for group in found["findings_grouped"] if group["code"] == "ID-MISSING"]
    assert group["count"] == 3
    assert group["places"] == [{"file": "users.csv", "column": "userId", "count": 3, "lines": "2-3, 9", "more": 0}]


def test_findings_of_later_steps_reach_findings_csv(workspace: Workspace) -> None:
    quarantine.write(Run(workspace, manifest(), DISTRICT, None))
    save_findings(workspace, [("PLAN-AMBIGUOUS", "warning", 4, "userId")])
    written(workspace)

    assert "PLAN-AMBIGUOUS" in (workspace.root / "findings.csv").read_text()


def test_the_report_is_readable_by_its_owner_alone_and_replaces_an_older_one(workspace: Workspace) -> None:
    written(workspace)
    page = written(workspace, outcome="held")

    assert "Held" in page.text
    assert sorted(path.name for path in workspace.root.glob("report*")) == ["report.html", "report.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in workspace.root.glob("report*")} == {0o600}


def test_an_undo_says_that_records_leave_the_views_and_are_kept(workspace: Workspace) -> None:
    text = written(workspace, outcome="undone", undoes="run-1", counts=counts(deactivate=536)).text
    assert "Taken out: what that run had created leaves the views and is kept in the database" in text
    assert "made inactive" not in text and "Deactivated" not in text


def test_an_undo_that_conflicts_names_people_by_their_internal_keys(workspace: Workspace) -> None:
    conflict = {"entity": "enrollments", "record": "u-300 C1", "column": "status", "why": "it was changed later",
                "run_id": "run-9", "shown": "17 C1"}  # fmt: skip
    conflicts = [conflict, {**conflict, "record": "u-301 C1", "shown": "18 C1"}]
    nothing = {"counts": counts(), "conflicts": conflicts}
    page = written(workspace, outcome="failed", error="run-7: one value cannot be taken back", **nothing)

    assert "Enrollments, status: it was changed later (run run-9): 17 C1, 18 C1" in page.text
    assert "What would change" not in page.text
    assert "People stand here under their internal key" in page.text
    assert "u-300" not in page.html and "u-300" not in (workspace.root / "report.json").read_text()


@pytest.mark.parametrize(
    ("outcome", "users", "said"),
    [
        ("applied", {"create": 5, "held": 2, "unchanged": 9}, "5 create, 2 set aside"),
        ("in_sync", {"unchanged": 9, "held": 1}, "1 set aside"),
        ("in_sync", {"unchanged": 9}, "none"),
        ("held", {"update": 1}, "would: 1 update"),
        ("rejected", {"update": 1}, "would: 1 update"),
        ("planned", {"unchanged": 9}, "would: none"),
        ("refused", {}, "-"),
        ("failed", {"rejected": 3}, "-"),
    ],
)
def test_only_a_run_that_wrote_shows_its_changes_as_done(outcome: str, users: dict[str, int], said: str) -> None:
    assert wording.changes(outcome, counts(**users)) == said


def test_a_check_shows_what_would_load(workspace: Workspace) -> None:
    checked = {"outcome": "checked", "counts": counts(rejected=2), "loadable": {"users": 1200}}
    page = written(workspace, **checked)

    assert "Would load1,200 Set aside0 Rejected2" in page.text
    assert "Updated" not in page.text and "Unchanged" not in page.text
    assert as_json(workspace)["counts"]["users"]["create"] == 1200
    assert as_json(workspace)["counts"]["users"]["rejected"] == 2


def test_a_run_that_read_nothing_is_reported_like_one_that_found_nothing(workspace: Workspace) -> None:
    names = ("report.html", "report.json", "findings.csv")
    written(workspace, outcome="in_sync", counts=counts(unchanged=3))
    unread = [(workspace.root / name).read_bytes() for name in names]
    modes = {stat.S_IMODE((workspace.root / name).stat().st_mode) for name in names}
    save_findings(workspace, [])
    written(workspace, outcome="in_sync", counts=counts(unchanged=3))

    assert unread == [(workspace.root / name).read_bytes() for name in names]
    assert modes == {0o600}


def test_a_run_that_read_nothing_says_what_the_run_before_it_found(workspace: Workspace) -> None:
    page = written(workspace, outcome="in_sync", findings={"ID-MISSING": 1200, "VAL-EMAIL": 1})

    assert "The identifier is missing (ID-MISSING): 1,200 times" in page.text
    assert "The email address has an odd shape (VAL-EMAIL): 1 time" in page.text
    assert "Nothing." not in page.text
