"""One delivery read whole: what is said of its files together."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from enrollsync.errors import Refused
from enrollsync.ingest.batch import read_batch
from enrollsync.ingest.landing import found_batch
from enrollsync.settings import District
from enrollsync.workspace import RunManifest, Workspace
from nightly import as_csv, clever, pupil, student


def read(folder: Path, files: dict[str, str], **settings: Any) -> RunManifest:
    """The manifest after a delivery of these files was read; its format is told from their names."""
    delivery = folder / "delivery"
    delivery.mkdir()
    for name, content in files.items():
        (delivery / name).write_text(content)
    source = "batch_upload" if "users.csv" in files else "clever"
    district = District.model_validate(
        {
            "district_id": "demo", "name": "Demo", "primary_source": source,
            "source": {"path": str(delivery)}, "database": {"url": "sqlite:///none.db"}, **settings,
        }
    )  # fmt: skip
    workspace = Workspace(folder / "run").create()
    manifest = RunManifest(run_id="run", district="demo", as_of=datetime(2026, 11, 23, tzinfo=UTC))
    with found_batch(workspace, manifest, district) as batch:
        return read_batch(workspace, manifest, district, batch)


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
