"""A first district file by looking at a delivery: what is written, what is asked, what is left to a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from enrollsync.arrive.nearest import nearest
from enrollsync.cli import app
from enrollsync.onboard import begin
from enrollsync.onboard.look import look_at
from enrollsync.settings import load_district
from enrollsync.words.errors import ConfigurationError, Refused
from nightly import BATCH_HEADER, clever, other, pupil, student, write_csv

pytestmark = pytest.mark.usefixtures("plain_checks")
TRANSLATED = {"userFirstName": "Vorname", "userLastName": "Last Name", "userId": "Student No", "userEmail": "E-Mail"}


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    (tmp_path / "landing" / "North Unified").mkdir(parents=True)
    return tmp_path / "landing" / "North Unified"


def deliver(landing: Path, files: dict[str, Any]) -> None:
    """Files as text, or as rows."""
    for name, content in files.items():
        if isinstance(content, str):
            (landing / name).write_text(content)
        else:
            write_csv(landing / name, content, BATCH_HEADER if name == "users.csv" else None)


def enrollsync(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_a_delivery_that_needs_nothing_gets_a_file_with_which_a_night_can_be_planned(
    landing: Path, tmp_path: Path
) -> None:
    deliver(landing, {"users.csv": [other(number) for number in range(3)]})
    ended = enrollsync("init", str(landing))
    assert ended.exit_code == 0
    assert "left to you: `timezone` is UTC and there is no `schedule`" in ended.output
    written = yaml.safe_load((tmp_path / "include" / "districts" / "north-unified.yaml").read_text())
    assert written == {
        "district_id": "north-unified", "name": "north-unified", "primary_source": "batch_upload", "schedule": None,
        "timezone": "UTC", "source": {"path": "landing/North Unified"},
        "database": {"url": "sqlite:///data/north-unified.db"},
    }  # fmt: skip
    assert enrollsync("plan", "--district", "north-unified").exit_code == 0


def test_a_file_that_is_there_is_never_written_over(landing: Path, tmp_path: Path) -> None:
    deliver(landing, {"users.csv": [student()]})
    there = tmp_path / "include" / "districts" / "demo.yaml"
    there.parent.mkdir(parents=True)
    there.write_text("mine")
    ended = enrollsync("init", str(landing), "--id", "demo")
    assert (ended.exit_code, there.read_text()) == (2, "mine")
    assert "is there already; change that file, or take another --id" in ended.output


@pytest.mark.parametrize(("rows", "size"), [(1_200, "large"), (1_000, "small")])
def test_a_delivery_of_more_rows_than_a_small_worker_should_take_makes_a_large_district(
    landing: Path, monkeypatch: pytest.MonkeyPatch, rows: int, size: str
) -> None:
    monkeypatch.setattr("enrollsync.onboard.look.LARGE_ROWS", 1_000)
    deliver(landing, {"users.csv": [other(number) for number in range(rows)]})
    begun = begin(landing, district_id="state", name="State", ask=None)
    assert load_district("state").size == size
    why = "size: large  # its delivery had 1,200 rows; docs/operations.md\n"
    assert (why in Path(begun.file).read_text()) == (size == "large")
    assert ("  size: large, because the delivery has 1,200 rows" in begun.lines()) == (size == "large")


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_rows_are_counted_whatever_ends_their_lines(landing: Path, ends: str) -> None:
    deliver(landing, {"users.csv": [other(number) for number in range(3)]})
    text = (landing / "users.csv").read_text()
    (landing / "users.csv").write_text(ends.join(text.splitlines()) + ends, newline="")
    assert look_at(landing).rows == 3


@pytest.mark.parametrize("named", ["a b", "../demo", "ünited"])
def test_an_identifier_that_no_file_could_have_is_refused(landing: Path, named: str) -> None:
    with pytest.raises(ConfigurationError, match="--id: write letters"):
        begin(landing, district_id=named, name=None, ask=None)


def test_misspelt_and_translated_headers_and_their_encoding_are_proposed(landing: Path) -> None:
    row = {TRANSLATED.get(name, name): value for name, value in student(userFirstName="Zoë").items()}
    header = ",".join(row).replace("userRole", "user role")
    (landing / "users.csv").write_bytes(f"{header}\n{','.join(row.values())}\n".encode("cp1252"))
    begun = begin(landing, district_id="north", name="North", ask=None)
    renames = {theirs: ours for ours, theirs in TRANSLATED.items()} | {"user role": "userRole"}
    assert (begun.columns, begun.encoding) == (renames, "cp1252")
    assert begun.left[0].startswith("the files are not UTF-8; `source.encoding: cp1252` is a guess")
    assert begun.findings == {}
    source = load_district("north").source
    assert (source.columns, source.encoding) == (renames, "cp1252")


def test_a_file_under_another_name_is_known_by_its_header(landing: Path) -> None:
    deliver(landing, {"people.csv": [student()]})
    look = look_at(landing)
    assert (look.declared.name, look.is_complete) == ("batch_upload", False)
    assert look.left == ("name 'people.csv' users.csv: no file of Batch Upload has another name",)


def test_what_the_set_lacks_is_left_to_a_person(landing: Path) -> None:
    deliver(landing, {name: rows for name, rows in clever([pupil(1)]).items() if name != "teachers.csv"})
    begun = begin(landing, district_id="north", name="North", ask=None)
    assert begun.left[0] == "deliver teachers.csv as well: Clever (SFTP CSV) is not complete without"


def test_a_required_column_that_nobody_can_guess_is_asked_for(landing: Path) -> None:
    rows = [{("code7" if name == "userId" else name): value for name, value in student().items()}]
    write_csv(landing / "users.csv", rows)
    assert look_at(landing).left == (
        "users.csv lacks userId; add to `source.columns` which of its headers that is: 'code7'",
    )


@pytest.mark.parametrize("content", ["S1,300,student,Leena,Parath\n", "a,b\n1,2\n", "", "\x00\x01"])
def test_a_folder_that_nobody_can_recognise_is_refused_without_a_childs_name(landing: Path, content: str) -> None:
    (landing / "export.csv").write_text(content)
    with pytest.raises(Refused, match="none of the files is known; found: export.csv; Batch Upload is users.csv") as no:
        look_at(landing)
    assert "Leena" not in str(no.value)


def test_check_says_what_an_unknown_file_is_nearest_to(nightly: Any, landing: Path) -> None:
    deliver(landing, {"people.csv": [student()]})
    nightly.settings["source"] = {"path": str(landing)}
    ended = enrollsync("check", "--district", nightly.district, "--json")
    assert ended.exit_code == 4
    assert "'people.csv' is nearest to users.csv of Batch Upload: shares 11 headers" in ended.output


def test_headers_of_a_likeness_say_what_is_meant_what_lacks_and_what_is_besides(landing: Path) -> None:
    rows = [{("Vorname" if name == "userFirstName" else name): value for name, value in student().items()}]
    del rows[0]["userRole"]
    write_csv(landing / "people.csv", [rows[0] | {"shoe": "42"}])
    (found,) = nearest([landing / "people.csv"])
    assert str(found) == (
        "'people.csv' is nearest to users.csv of Batch Upload: shares 10 headers ('Vorname' as userFirstName), lacks "
        "userRole, has 'shoe' besides"
    )


def test_a_better_identifier_is_proposed_where_the_formats_own_says_nothing(landing: Path) -> None:
    """Of a Clever set whose `Student_id` is the vendor's own key, where each has a number that people know."""
    pupils = [pupil(n, Student_id=f"{n:024x}", Student_number=f"A{n}") for n in range(1, 20)]
    deliver(landing, clever(pupils))
    assert look_at(landing).identifiers == {"students": "Student_number"}
    deliver(landing, clever([one | {"Student_number": "A1"} for one in pupils]))
    assert look_at(landing).identifiers == {}, "who shares a number is not told apart by it"


def test_what_will_bite_is_told_with_what_to_do(landing: Path) -> None:
    rows = [other(number, userId=f"12345678{number}", classId=f"100000{number}", userEmail="") for number in range(3)]
    deliver(landing, {"users.csv": rows})
    begun = begin(landing, district_id="north", name="North", ask=None)
    assert [sentence.partition(":")[0] for sentence in begun.left[1:]] == [
        "3 times ID-SSN", "3 times ID-OPAQUE", "3 of 3 rows of people have no email",
    ]  # fmt: skip


def test_on_a_terminal_it_asks_what_no_delivery_says(landing: Path) -> None:
    deliver(landing, {"users.csv": [student()]})
    asked: list[str] = []
    answers = iter(["north", "North Unified", "America/Chicago", "-"])

    def ask(question: str, *, default: str) -> str:
        asked.append(f"{question} [{default}]")
        return next(answers)

    begun = begin(landing, district_id=None, name=None, ask=ask)
    assert [question.partition(",")[0] for question in asked] == [
        "The district's identifier", "What people call it [north]", "Its time zone [America/New_York]",
        "When it runs",
    ]  # fmt: skip
    district = load_district("north")
    assert (district.name, district.timezone, district.schedule, begun.left) == (
        "North Unified", "America/Chicago", None, (),
    )  # fmt: skip


def test_an_answer_that_no_district_file_may_have_leaves_none(landing: Path, tmp_path: Path) -> None:
    deliver(landing, {"users.csv": [student()]})
    answers = iter(["North", "Mars/Base", "-"])
    with pytest.raises(ConfigurationError, match="`timezone`: is no time zone"):
        begin(landing, district_id="north", name=None, ask=lambda *_, default: next(answers))
    assert not (tmp_path / "include" / "districts" / "north.yaml").exists()


def test_json_says_the_same_to_programs(landing: Path) -> None:
    deliver(landing, {"users.csv": [student()]})
    ended = enrollsync("init", str(landing), "--id", "north", "--name", "North", "--json")
    told = json.loads(ended.stdout)
    assert (told["district"], told["format"], told["columns"]) == ("north", "Batch Upload", {})
    assert enrollsync("init", str(landing / "nothing"), "--id", "other", "--json").exit_code == 4
