"""One delivery read whole: what is said of its files together."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from enrollsync.arrive import found_batch
from enrollsync.ingest.batch import read_batch
from enrollsync.ingest.normalise import normalise
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District
from enrollsync.words.errors import Refused
from nightly import as_csv, clever, pupil, student


def read(folder: Path, files: dict[str, str], **settings: Any) -> RunManifest:
    """The manifest after a delivery of these files was read; its format is told from their names."""
    delivery = folder / "delivery"
    delivery.mkdir()
    for name, content in files.items():
        (delivery / name).write_text(content)
    source = "batch_upload" if "users.csv" in files else "clever"
    district = District.model_validate(settings_of(delivery, source, **settings))
    workspace = Workspace(folder / "run").create()
    manifest = RunManifest(run_id="run", district="demo", as_of=datetime(2026, 11, 23, tzinfo=UTC))
    run = Run(workspace, manifest, district, None)
    with found_batch(run) as batch:
        read_batch(run, batch.take(workspace.batch))
    return run.manifest


def settings_of(delivery: Path, source: str, **settings: Any) -> dict[str, Any]:
    return {
        "district_id": "demo", "name": "Demo", "primary_source": source,
        "source": {"path": str(delivery)}, "database": {"url": "sqlite:///none.db"}, **settings,
    }  # fmt: skip


def users(*rows: dict[str, str]) -> str:
    """Rows as the text of `users.csv`."""
    return as_csv(rows, ",".join(student()))


def notices(manifest: RunManifest) -> list[tuple[str, str | None, int | None]]:
    return [(notice.code, notice.file, notice.line) for notice in manifest.notices]


def test_a_last_line_without_a_line_end_is_told_of_each_file_that_has_one(tmp_path: Path) -> None:
    files = clever([pupil(1), pupil(2)])
    files["students.csv"] = files["students.csv"].rstrip("\n")
    files["schools.csv"] = files["schools.csv"].rstrip("\n")
    assert notices(read(tmp_path, files)) == [
        ("FILE-NO-LINE-END", "schools.csv", 2), ("FILE-NO-LINE-END", "students.csv", 3),
    ]  # fmt: skip


def test_a_delivery_whose_lines_all_end_has_no_notice(tmp_path: Path) -> None:
    assert notices(read(tmp_path, {"users.csv": users(student())})) == []


PUPILS = "School_id,Student_id,First_name,Last_name,Password,{}"


@pytest.mark.parametrize(
    ("identifiers", "blind"), [({}, False), ({"students": "Local"}, True), ({"users": "Local"}, True)]
)
def test_a_damaged_line_hides_whose_it_is_where_the_identifiers_column_stands_beside_a_secret(
    tmp_path: Path, identifiers: dict[str, str], blind: bool
) -> None:
    files = clever([pupil(1)]) | {"students.csv": PUPILS.format("Local") + "\nS1,p-1,A,B,x,1\nS1,p-2,A,B,x,y,2\n"}
    if "users" in identifiers:
        files["teachers.csv"] = "School_id,Teacher_id,First_name,Last_name,Local\nS1,T1,A,B,9\n"
    manifest = read(tmp_path, files, identifiers={"columns": identifiers})
    assert {file.name: file.blind for file in manifest.files}["students.csv"] == blind


def test_a_damaged_line_hides_nothing_where_the_required_columns_stand_elsewhere(tmp_path: Path) -> None:
    students = (
        "Student_id,First_name,Last_name,Username,Grade,Password,School_id\np-1,A,B,u,5,x,S1\np-2,A,B,u,5,x,y,S1\n"
    )
    manifest = read(tmp_path, clever([pupil(1)]) | {"students.csv": students})
    assert {file.name: file.blind for file in manifest.files}["students.csv"] is False


@pytest.mark.parametrize("name", ["SIS's ID", 'the "ID"', "ID, local", "x\" y'z", "ID\u202e"])
def test_the_identifier_may_stand_in_a_column_of_any_name(tmp_path: Path, name: str) -> None:
    column = '"' + name.replace('"', '""') + '"'
    students = f"{PUPILS.format(column)}\nS1,p-1,A,B,x, 7 \n"
    files = clever([pupil(1)]) | {"students.csv": students}
    manifest = read(tmp_path, files, identifiers={"columns": {"students": name}})
    workspace = Workspace(tmp_path / "run")
    district = District.model_validate(settings_of(tmp_path, "clever", identifiers={"columns": {"students": name}}))
    normalise(Run(workspace, manifest, district, None))
    found = duckdb.sql(f"SELECT user_id, blanks FROM '{workspace.canonical_table('users')}' WHERE user_id = '7'")
    assert found.fetchall() == [("7", name)]


def test_each_file_without_the_column_of_its_identifiers_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, clever([pupil(1)]), identifiers={"columns": {"students": "L'ID\x1b", "classes": "Code"}})
    assert [(one.file, str(one).partition(": ")[2].partition(", which")[0]) for one in refused.value.parts] == [
        ("students.csv", r"the column 'L'ID\x1b'"), ("sections.csv", "the column 'Code'"),
    ]  # fmt: skip


def test_lines_of_commas_are_one_notice_a_file_and_no_rows(tmp_path: Path) -> None:
    files = clever([pupil(1), pupil(2)])
    files["students.csv"] += ",,,,\n" * 12
    files["schools.csv"] += "\n,\n"
    manifest = read(tmp_path, files)
    assert notices(manifest) == [("ROW-BLANK", "schools.csv", 4), ("ROW-BLANK", "students.csv", 4)]
    assert [notice.message for notice in manifest.notices] == [
        "the line has no values; it is passed over",
        "12 lines have no values and are passed over: 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 and 2 more",
    ]
    assert [(file.rows, file.malformed) for file in manifest.files][:2] == [(1, 0), (2, 0)]


def test_all_files_that_cannot_be_used_are_named_in_one_go(tmp_path: Path) -> None:
    files = clever([pupil(1)])
    files["students.csv"] = files["students.csv"].replace("Student_id", "Pupil")
    files["teachers.csv"] = files["teachers.csv"].replace("Teacher_id", "Tutor", 1)
    files["sections.csv"] = ""
    with pytest.raises(Refused) as refused:
        read(tmp_path, files)
    assert [(one.code, one.file, one.line) for one in refused.value.parts] == [
        ("FILE-HEADER", "students.csv", 1), ("FILE-HEADER", "teachers.csv", 1), ("FILE-EMPTY", "sections.csv", None),
    ]  # fmt: skip
    assert re.fullmatch(
        r"FILE-HEADER students\.csv, line 1: the column Student_id is missing.*; "
        r"FILE-HEADER teachers\.csv, line 1: the column Teacher_id is missing.*; FILE-EMPTY sections\.csv: .*",
        str(refused.value),
    )
