"""The `enrollsync` command: exit statuses, one clear line, the JSON object."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from enrollsync import steps
from enrollsync.cli import app
from enrollsync.words.errors import DatabaseError
from nightly import Nightly, other, student
from secret_urls import MALFORMED, SECRET


@pytest.fixture
def district(nightly: Nightly) -> Nightly:
    """A district with one delivery of two students."""
    nightly.deliver([student(), other(1)])
    return nightly


def enrollsync(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def one_line(result: Result) -> str:
    """What stands on standard error: exactly one line."""
    (line,) = [line for line in result.stderr.splitlines() if line]
    return line


def test_the_version_is_that_of_the_package() -> None:
    result = enrollsync("--version")
    assert (result.exit_code, result.stdout) == (0, f"enrollsync {version('enrollsync')}\n")


def test_check_touches_no_database(nightly_from_nothing: Nightly) -> None:
    district = nightly_from_nothing
    district.deliver([student(), other(1)])
    result = enrollsync("check", "--district", district.district, "--json")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert (printed["outcome"], printed["counts"]["users"]["create"]) == ("checked", 2)
    told = enrollsync("check", "--district", district.district).stdout.splitlines()
    assert told[1].split() == ["would", "load", "set", "aside", "rejected", "collapsed"]
    assert [line.split()[:2] for line in told[2:5]] == [["organizations", "1"], ["users", "2"], ["memberships", "2"]]
    assert not Path(district.database_url.removeprefix("sqlite:///")).exists()


def test_the_json_object_has_the_promised_keys(district: Nightly) -> None:
    result = enrollsync("sync", "--district", district.district, "--json")
    printed = json.loads(result.stdout)
    assert {"run_id", "outcome", "plan_id", "counts", "findings", "holds", "artifacts"} <= set(printed)
    assert list(printed["counts"]) == ["organizations", "users", "memberships", "classes", "enrollments"]
    assert set(printed["counts"]["users"]) == {
        "create", "update", "reidentify", "reactivate", "deactivate", "unchanged", "held", "rejected", "collapsed",
    }  # fmt: skip
    assert (printed["outcome"], printed["counts"]["users"]["create"]) == ("applied", 2)
    assert Path(printed["artifacts"], "report.html").is_file()
    assert result.stderr == ""


def test_without_json_a_person_reads_counts_and_where_the_report_is(district: Nightly) -> None:
    result = enrollsync("sync", "--district", district.district)
    assert "applied" in result.stdout and "report.html" in result.stdout and "…" not in result.stdout


def test_a_held_plan_ends_with_3_and_approving_that_plan_applies_it(district: Nightly) -> None:
    district.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    district.begin([student(), other(1)])
    district.deliver([student(userGrade="6")])
    held = enrollsync("sync", "--district", district.district, "--json")
    assert held.exit_code == 3
    plan_id = json.loads(held.stdout)["plan_id"]
    other_plan = enrollsync("sync", "--district", district.district, "--approve", "--plan", "0000")
    assert other_plan.exit_code == 5 and plan_id in one_line(other_plan)
    approved = enrollsync("sync", "--district", district.district, "--approve", "--plan", plan_id, "--json")
    assert (approved.exit_code, json.loads(approved.stdout)["outcome"]) == (0, "applied")
    assert district.view("users", "grade", "user_id = '300'") == [("6",)]


def test_a_plan_that_would_be_held_says_so(district: Nightly) -> None:
    district.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    district.begin([student(), other(1)])
    district.deliver([student(userGrade="6")])
    assert enrollsync("plan", "--district", district.district).exit_code == 3


@pytest.mark.parametrize(("content", "says"), [
    (b"", "FILE-EMPTY users.csv: the file is empty"),
    (b"\x89PNG\r\n\x1a\n\x00\xff", "FILE-ENCODING users.csv, line 1: this is a PNG picture"),
    (b"schoolId,classId,userId,userRole,userFirstName,userLastName\nS1,C1,1,student,A,B\nS1,C1,2,stu",
     "FILE-INCOMPLETE users.csv, line 3: the file ends in the middle of a line"),
])  # fmt: skip
def test_a_file_that_is_none_ends_with_4_and_one_line(district: Nightly, content: bytes, says: str) -> None:
    district.deliver({"users.csv": content})
    result = enrollsync("sync", "--district", district.district)
    assert result.exit_code == 4
    assert says in one_line(result)


def test_a_folder_that_is_not_there_ends_with_4_and_one_line(district: Nightly) -> None:
    result = enrollsync("sync", "--district", district.district, "--source", "no/such/folder")
    assert (result.exit_code, "no/such/folder" in one_line(result)) == (4, True)


def test_a_source_that_leads_in_a_circle_ends_with_4_and_one_line(district: Nightly) -> None:
    for link, target in (("a", "b"), ("b", "a")):
        (district.folder / link).symlink_to(district.folder / target)
    result = enrollsync("check", "--district", district.district, "--source", str(district.folder / "a"))
    assert (result.exit_code, "FILE-MISSING" in one_line(result)) == (4, True)


@pytest.mark.parametrize("name", ["rosters.csv"])
def test_a_format_that_cannot_be_read_ends_with_4_and_one_line(district: Nightly, name: str) -> None:
    district.deliver({name: "sourcedId\n"})
    result = enrollsync("check", "--district", district.district)
    assert (result.exit_code, "FILE-UNSUPPORTED" in one_line(result)) == (4, True)


def test_a_database_that_cannot_be_written_ends_with_5_and_one_line(district: Nightly) -> None:
    blocked = district.folder / "blocked"
    blocked.write_text("a file where a folder is needed")
    result = enrollsync("sync", "--district", district.district, "--database", f"sqlite:///{blocked}/roster.db")
    assert result.exit_code == 5
    assert "blocked" in one_line(result)


@pytest.mark.parametrize(("change", "says"), [
    ({"primary_source": "powerschool"}, "`primary_source`"),
    ({"shoe_size": 4}, "`shoe_size` is no known key"),
    ({"timezone": "Mars/Base"}, "`timezone`"),
    ({"database": {}}, "needs either `url` or `connection`"),
])  # fmt: skip
def test_a_wrong_district_file_ends_with_2_and_names_file_and_key(
    district: Nightly, change: dict[str, object], says: str
) -> None:
    district.settings |= change
    result = enrollsync("sync", "--district", district.district)
    assert result.exit_code == 2
    assert says in one_line(result) and "district.yaml" in one_line(result)


def test_an_unknown_district_ends_with_2_and_names_those_there_are(district: Nightly) -> None:
    result = enrollsync("check", "--district", "nowhere")
    assert result.exit_code == 2 and "nowhere" in one_line(result)


def test_plan_without_approve_is_wrong_usage(district: Nightly) -> None:
    assert enrollsync("sync", "--district", district.district, "--plan", "abc").exit_code == 2


@pytest.mark.parametrize("arguments", [
    ("sync", "--approve", "--plan", ""), ("sync", "--database", ""), ("plan", "--source", ""),
    ("check", "--source", " "),
])  # fmt: skip
def test_an_empty_option_is_wrong_usage_and_not_taken_for_none(district: Nightly, arguments: tuple[str, ...]) -> None:
    district.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    district.begin([student(), other(1)])
    district.deliver([student(userGrade="6")])
    before = district.everything()
    result = enrollsync(*arguments, "--district", district.district, "--json")
    assert result.exit_code == 2 and arguments[-2] in one_line(result) and "is empty" in one_line(result)
    assert json.loads(result.stdout)["message"] in one_line(result)
    assert district.everything() == before


def test_what_looks_like_markup_is_printed_as_it_is(district: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    home = district.folder / "[prod] :car:"
    home.mkdir()
    monkeypatch.setenv("ENROLLSYNC_HOME", str(home))
    window = {"name": "[/summer]", "from": "2020-01-01", "to": "2099-01-01", "update_percent": 0, "floor": 1}
    district.settings["thresholds"] = {"windows": [window]}
    enrollsync("sync", "--district", district.district)
    district.deliver([student(userGrade="6")])
    result = enrollsync("sync", "--district", district.district)
    assert result.exit_code == 3
    assert "[/summer]" in result.stdout and str(home) in result.stdout


@pytest.mark.parametrize(("arguments", "status"), [(("--database",), 5), ((), 2)])
def test_a_database_address_is_printed_nowhere(district: Nightly, arguments: tuple[str, ...], status: int) -> None:
    for url in MALFORMED:
        if url != SECRET or arguments:  # a mere word too many is nothing but that
            result = enrollsync("runs", "--json", "--district", district.district, *arguments, url)
            assert (result.exit_code, one_line(result).startswith("enrollsync: ")) == (status, True), url
            assert SECRET not in result.stdout + result.stderr, url


def test_a_database_address_is_kept_nowhere(district: Nightly, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "enrollsync")
    for number, url in enumerate(MALFORMED):
        workspace = steps.start(district.district, run_id=f"run-{number}", as_of=datetime.now(UTC))
        with pytest.raises(DatabaseError):
            steps.ingest(workspace, database_url=url)
        steps.report(workspace, database_url=url)
    kept = [path.read_bytes() for path in (district.folder / "data").rglob("*") if path.is_file()]
    assert len(kept) >= 4 * len(MALFORMED) and "could not be remembered" in caplog.text
    assert [content for content in kept if SECRET.encode() in content] == []
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("arguments", "says"), [
    (("carry",), "No such command 'carry'; see `enrollsync --help`"),
    (("sync",), "Missing option '--district'; see `enrollsync --help`"),
    (("runs", "--district"), "Option '--district' requires an argument; see"),
    (("runs", "--distict", "demo"), "No such option: --distict"),
    (("runs", "--district", "demo", "a\x1b[31m\nb"), "Got unexpected extra argument"),
    (("runs", "--district", f"postgresql://u:{SECRET}@h/d"), "district: found an address; write a name in include/"),
    (("check", "--district", "demo", "--source", f"sftp://u:{SECRET}@h/in"), "--source: found an address; write a"),
])  # fmt: skip
def test_wrong_usage_ends_with_2_and_one_line(arguments: tuple[str, ...], says: str) -> None:
    result = enrollsync(*arguments)
    assert result.exit_code == 2
    assert says in one_line(result) and one_line(result).isprintable() and SECRET not in result.stderr


def test_wrong_usage_is_one_json_object_too() -> None:
    result = enrollsync("runs", "--distict", "demo", "--json")
    assert json.loads(result.stdout)["message"] in one_line(result)


def test_without_any_argument_the_help_is_shown() -> None:
    result = enrollsync()
    assert result.exit_code == 2 and "explain" in result.stdout + result.stderr


def test_an_argument_that_is_not_utf_8_ends_with_2_and_one_line(district: Nightly) -> None:
    command = [sys.executable, "-m", "enrollsync", "explain", "user", b"\xff", "--district", district.district]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "not UTF-8" in done.stderr


def test_a_process_of_its_own_checks_as_any_other_and_writes_the_same_site(
    district: Nightly, great_expectations: None
) -> None:
    district.settings["data_docs"] = True
    district.deliver([student(), other(1, userEmail="nobody"), other(2, userGrade="99"), other(3, userFirstName="")])
    command = [sys.executable, "-m", "enrollsync", "check", "--district", district.district, "--json"]
    own = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    here = json.loads(enrollsync(*command[3:]).stdout)
    sites = [sorted(page.name for page in Path(told["artifacts"], "data_docs").rglob("*.html")) for told in (own, here)]
    assert own["findings"] == here["findings"] and len(own["findings"]) > 2
    assert len(sites[0]) > 5 and len(sites[0]) == len(sites[1])


def test_an_error_is_one_json_object_too(district: Nightly) -> None:
    district.deliver({"users.csv": b""})
    result = enrollsync("sync", "--district", district.district, "--json")
    assert json.loads(result.stdout)["outcome"] == "refused"


def test_a_command_that_ends_early_prints_the_same_keys(district: Nightly) -> None:
    whole = json.loads(enrollsync("check", "--district", district.district, "--json").stdout)
    nothing = {entity: dict.fromkeys(numbers, 0) for entity, numbers in whole["counts"].items()}
    for command in (("check",), ("plan",), ("sync", "--plan", "abc"), ("undo", "no-such-run")):
        ended = json.loads(enrollsync(*command, "--district", "nowhere", "--json").stdout)
        assert list(ended) == list(whole)
        assert (ended.pop("outcome"), ended.pop("message") is None) == ("failed", False)
        assert ended == {
            "run_id": None, "plan_id": None, "counts": nothing, "findings": {}, "holds": [], "artifacts": None,
            "answers": [],
        }  # fmt: skip


def test_sample_prints_its_summary_as_one_json_object(tmp_path: Path) -> None:
    made = enrollsync("sample", str(tmp_path / "out"), "--students", "200", "--dirt", "0.05", "--json")
    printed = json.loads(made.stdout)
    assert (printed["folder"], printed["format"]) == (str(tmp_path / "out"), "batch_upload")
    assert set(printed["files"]) == {"users.csv"} and printed["faults"]["ID-MISSING"] > 0


def test_sample_makes_what_check_can_read(district: Nightly) -> None:
    out = district.folder / "sample"
    made = enrollsync("sample", str(out), "--format", "batch_upload", "--students", "30", "--seed", "1")
    assert made.exit_code == 0 and "users.csv" in made.stdout
    assert enrollsync("check", "--district", district.district, "--source", str(out)).exit_code == 0


# What is imported before, another user need not be allowed to read.
_AS_ANOTHER_USER = """
import os, sys
from enrollsync import cli
from enrollsync import steps
from enrollsync import validate
import encodings.unicode_escape, great_expectations
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
cli.app(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="switches users as Linux does")
def test_a_read_only_database_ends_with_5_and_one_line(district: Nightly) -> None:
    district.begin([student(), other(1)])
    district.deliver([student(userGrade="6")])
    roster = Path(district.database_url.removeprefix("sqlite:///"))
    before = roster.read_bytes()
    for folder in (district.folder, *district.folder.parents):
        if folder.owner() != "root" or folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    roster.chmod(0o444)
    roster.parent.chmod(0o555)
    home = district.folder / "home"
    home.mkdir()
    home.chmod(0o777)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _AS_ANOTHER_USER, "sync", "--district", district.district],
            capture_output=True, text=True, check=False, env={**os.environ, "ENROLLSYNC_HOME": str(home)},
        )  # fmt: skip
    finally:
        roster.parent.chmod(0o755)
    assert done.returncode == 5, done.stderr
    assert str(roster) in done.stderr and len(done.stderr.splitlines()) == 1
    assert roster.read_bytes() == before
