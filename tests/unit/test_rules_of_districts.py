"""What one district's file says of its export: words, case, lines that are left out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrollsync.formats import FORMATS
from enrollsync.formats.rules import with_rules
from enrollsync.ingest.normalise import normalise
from enrollsync.run.run import Run
from enrollsync.run.workspace import Notice, RunManifest, SourceFile, Workspace
from enrollsync.settings import District
from nightly import student

Rows = list[dict[str, str]]


class Read:
    """A delivery of one file as a district reads it."""

    def __init__(
        self, folder: Path, rows: Rows, *, source: str = "batch_upload", file: str = "users.csv", **rules: Any
    ):
        place = Workspace(folder).create()
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {"line": list(range(2, len(rows) + 2))} | {name: [row.get(name) for row in rows] for name in names}
        pq.write_table(pa.table(columns), place.source_table(file))
        manifest = RunManifest(
            run_id="r", district="d", as_of=datetime(2026, 11, 29, 7, tzinfo=UTC), format=source, mode="snapshot",
            files=[SourceFile(name=file, entity="users", header=names, rows=len(rows), malformed=0)],
        )  # fmt: skip
        district = District.model_validate({
            "district_id": "d", "name": "D", "primary_source": source, "database": {"url": "sqlite:///none.db"},
            "source": {"path": "x", **rules},
        })  # fmt: skip
        run = Run(place, manifest, district, None)
        normalise(run)
        self.place = place
        self.notices: list[Notice] = run.manifest.notices

    def __call__(self, entity: str, column: str) -> list[Any]:
        found = pq.read_table(self.place.canonical_table(entity)).to_pylist()
        return [row[column] for row in sorted(found, key=lambda row: row["line"])]

    @property
    def told(self) -> list[tuple[str, str | None, int | None]]:
        return [(notice.code, notice.file, notice.line) for notice in self.notices]


def test_a_districts_word_is_read_as_ours_in_any_case_and_beside_blanks(tmp_path: Path) -> None:
    rows = [student("1", userGrade="TK"), student("2", userGrade=" tk "), student("3", userGrade="K")]
    read = Read(tmp_path, rows, values={"grade": {"TK": "PreKindergarten"}})
    assert read("users", "grade") == ["PreKindergarten", "PreKindergarten", "Kindergarten"]
    assert read.told == []


def test_a_header_means_that_column_alone_and_a_canonical_name_all_that_bring_it(tmp_path: Path) -> None:
    rows = [student("1", userGrade="Alpha", classGrade="Alpha")]
    one = Read(tmp_path / "one", rows, values={"USERGRADE": {"alpha": "3"}})
    both = Read(tmp_path / "both", rows, values={"grade": {"alpha": "3"}})
    assert (one("users", "grade"), one("classes", "grade")) == (["3"], ["Alpha"])
    assert (both("users", "grade"), both("classes", "grade")) == (["3"], ["3"])


def test_a_word_for_a_role_counts_where_the_role_decides_what_a_line_is(tmp_path: Path) -> None:
    """A line of a `Pupil` brings an enrollment, as a student's does."""
    read = Read(tmp_path, [student("1", userRole="Pupil")], values={"userRole": {"Pupil": "student"}})
    assert (read("users", "role"), read("enrollments", "role")) == (["student"], ["student"])


def test_a_word_that_means_another_thing_here_is_not_what_it_is_elsewhere(tmp_path: Path) -> None:
    read = Read(tmp_path, [student("1", userRole="student")], values={"role": {"student": "staff"}})
    assert (read("users", "role"), read("users", "kind"), read("enrollments", "role")) == (["staff"], ["staff"], [])


def test_emails_are_brought_to_lower_case_where_the_district_wants_it(tmp_path: Path) -> None:
    rows = [student("1", userEmail="Leena@Demo.Example"), student("2", userEmail="")]
    assert Read(tmp_path, rows, case={"email": "lower"})("users", "email") == ["leena@demo.example", None]


@pytest.mark.parametrize("named", ["Status", "userGrade"])
def test_lines_are_left_out_by_a_column_that_the_format_knows_or_does_not(tmp_path: Path, named: str) -> None:
    rows = [student(str(n), **{named: value}) for n, value in enumerate(("Withdrawn", "9", " withdrawn"), start=1)]
    read = Read(tmp_path, rows, skip=[{"file": "users.csv", "column": named, "one_of": ["WITHDRAWN"]}])
    assert read("users", "source_key") == ["2"]
    assert read.told == [("ROW-SKIPPED", "users.csv", 2)]
    assert read.notices[0].message == (
        f"`source.skip` of users.csv, {named} leaves out the lines whose {named} is WITHDRAWN, 2 in all: 2, 4; what "
        "they say counts as absent"
    )


def test_an_empty_cell_can_be_left_out(tmp_path: Path) -> None:
    rows = [student("1", userEmail=""), student("2")]
    read = Read(tmp_path, rows, skip=[{"file": "users.csv", "column": "userEmail", "one_of": [""]}])
    assert read("users", "source_key") == ["2"]


def test_many_lines_that_are_left_out_are_counted_and_ten_are_named(tmp_path: Path) -> None:
    rows = [student(str(n), userGrade="X") for n in range(12)] + [student("99")]
    read = Read(tmp_path, rows, skip=[{"file": "users.csv", "column": "userGrade", "one_of": ["X"]}])
    assert "12 in all: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more;" in read.notices[0].message


@pytest.mark.parametrize(("values", "expected"), [
    (["gone", "gone"], ("ROW-ALL-SKIPPED", "users.csv", 2)), (["here", "here"], ("ROW-RULE-UNUSED", "users.csv", None)),
])  # fmt: skip
def test_a_rule_that_leaves_out_everything_or_nothing_is_told(
    tmp_path: Path, values: list[str], expected: tuple[str, str, int | None]
) -> None:
    rows = [student(str(number), Status=value) for number, value in enumerate(values)]
    read = Read(tmp_path, rows, skip=[{"file": "users.csv", "column": "Status", "one_of": ["Gone"]}])
    assert read.told == [expected]


def test_a_rule_for_a_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    read = Read(tmp_path, [student()], skip=[{"file": "users.csv", "column": "Status", "one_of": ["Gone"]}])
    assert read.told == [("ROW-RULE-UNUSED", "users.csv", None)]


def test_words_of_which_none_is_there_are_told(tmp_path: Path) -> None:
    read = Read(tmp_path, [student(userGrade="5")], values={"grade": {"TK": "K"}, "userRole": {"student": "student"}})
    assert [(notice.code, notice.message) for notice in read.notices] == [
        ("ROW-RULE-UNUSED", "`source.values` of grade changes nothing: none of its words is there")
    ]


def test_a_word_counts_in_the_other_file_in_which_a_value_is_looked_up() -> None:
    """OneRoster 1.2 says a person's role in `roles.csv`, which also tells whose lines are passed over."""
    declared = with_rules(FORMATS["oneroster_1_2"], values={"role": {"Pupil": "student"}}, case={}, skip=())
    role = next(mapping.cells["role"] for mapping in declared.mappings if mapping.entity == "users")
    assert role.lookup is not None and role.words == (("Pupil", "student"),)
    families = with_rules(FORMATS["oneroster_1_2"], values={"role": {"Pate": "parent"}}, case={}, skip=())
    passed = families.file("users.csv").passed + families.file("roles.csv").passed
    taken = {word for one in passed for when in one.when for word in when.one_of}
    assert "pate" in taken, "the district's own word for a parent is passed over too"


def test_rules_are_of_the_primary_source_alone(tmp_path: Path) -> None:
    district = District.model_validate({
        "district_id": "d", "name": "D", "primary_source": "clever", "database": {"url": "sqlite:///none.db"},
        "source": {"path": "x", "values": {"grade": {"TK": "K"}}, "case": {"email": "lower"}},
    })  # fmt: skip
    ours = district.fitted(FORMATS["clever"])
    assert any(cell.words for mapping in ours.mappings for cell in mapping.cells.values())
    guests = district.fitted(FORMATS["batch_upload"])
    assert not any(cell.words or cell.case for mapping in guests.mappings for cell in mapping.cells.values())
