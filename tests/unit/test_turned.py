"""Mappings turned round: what an export writes into each column, out of what a format declares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrollsync.database.schema import arrow_schema, columns_of, typed_column
from enrollsync.export.lines import create_lines, read_roster
from enrollsync.export.turned import file_query, listing_rows, texts
from enrollsync.formats import FORMATS, Cell, FileSpec, Format, Lines, Mapping, Source, written
from enrollsync.words.canonical import ENTITIES

Row = dict[str, Any]
SCHOOL = {"organization_key": 1, "source_key": "S1", "organization_id": "S1", "name": "North", "type": "school"}
OTHER = {"organization_key": 2, "source_key": "S2", "organization_id": "S2", "name": "South", "type": "district"}
ANN = {"user_key": 1, "source_key": "student:1", "user_id": "1", "role": "student", "given_name": "Ann"}
BO = {"user_key": 2, "source_key": "staff:1", "user_id": None, "role": "teacher", "given_name": "Bo"}
CY = {"user_key": 3, "source_key": "c", "user_id": "Cy", "role": "teacher", "given_name": "Cy"}
ROOM = {"class_key": 1, "source_key": "C1", "class_id": "C1", "organization_key": 1, "name": "Math"}


def member(user: int, school: int = 1, role: str = "student", **values: Any) -> Row:
    return {"user_key": user, "organization_key": school, "role": role, "is_primary": True, **values}


def placed(user: int, role: str = "student", **values: Any) -> Row:
    return {"class_key": 1, "user_key": user, "role": role, "is_primary": False, **values}


def lines_of(folder: Path, declared: Format, file: str, **tables: list[Row]) -> list[Row]:
    """The lines of one file of an export; rows are active unless they say otherwise."""
    for entity in ENTITIES:
        rows = [{"status": "active", "source": "made_up", **row} for row in tables.get(entity.name, [])]
        schema = arrow_schema([typed_column(name) for name in columns_of(entity)])
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{entity.name}.parquet")
    lines = next(lines for lines in declared.lines if lines.file == file)
    with duckdb.connect(":memory:") as connection:
        read_roster(connection, folder)
        create_lines(connection)
        return connection.sql(file_query(declared, lines)).to_arrow_table().to_pylist()


def made_up(mapping: Mapping, lines: Lines, **more: Any) -> Format:
    known = tuple(dict.fromkeys([*mapping.columns, *lines.filled]))
    return Format(
        "made_up", "Made up", Source("made_up", "Made up"), (FileSpec(lines.file, mapping.entity, (), known),),
        (mapping,), mode="snapshot", header_case=True, unknown_headers=True, lines=(lines,), **more,
    )  # fmt: skip


def of_users(**cells: Cell) -> Mapping:
    return Mapping("users", "people.csv", {"source_key": Cell("key"), **cells})


PEOPLE = Lines("people.csv", "users")


@pytest.mark.parametrize(("cell", "user", "text"), [
    (Cell("x"), {"grade": "5"}, "5"),
    (Cell("x", "grade"), {"grade": "Kindergarten"}, "Kindergarten"),
    (Cell("x", "grade"), {"grade": "what nobody knows"}, "what nobody knows"),
    (Cell("x", pattern="a(.)b", around=("a", "b")), {"grade": "5"}, "a5b"),
    (Cell("x", pattern="a(.)b", around=("a", "b")), {"grade": None}, None),
    (Cell("x", fallback="y"), {"grade": "5"}, "5"),
])  # fmt: skip
def test_a_value_is_written_where_it_is_read_from(tmp_path: Path, cell: Cell, user: Row, text: str | None) -> None:
    declared = made_up(of_users(grade=cell), PEOPLE)
    (line,) = lines_of(tmp_path, declared, "people.csv", users=[ANN | user])
    assert line["x"] == text


@pytest.mark.parametrize(("vocabulary", "spelt", "text"), [
    ({"on": "active", "yes": "active"}, {}, "on"), ({"on": "active", "active": "active"}, {}, "active"),
    ({"on": "active", "yes": "active"}, {"state": {"active": "yes"}}, "yes"), ({"off": "inactive"}, {}, "active"),
])  # fmt: skip
def test_a_word_is_spelt_as_declared_or_as_ours_or_by_its_first_spelling(
    tmp_path: Path, vocabulary: dict[str, str | None], spelt: dict[str, dict[str, str]], text: str
) -> None:
    declared = made_up(of_users(status=Cell("x", "state")), PEOPLE, words={"state": vocabulary}, spelt=spelt)
    (line,) = lines_of(tmp_path, declared, "people.csv", users=[ANN])
    assert line["x"] == text


def test_several_values_that_stand_in_one_text_are_written_side_by_side(tmp_path: Path) -> None:
    named = {"users": "userIds:SIS", "user_state_id": "userIds:State"}
    declared = FORMATS["oneroster_1_2"].fitted(identifiers=named)
    lines = lines_of(tmp_path, declared, "users.csv", users=[ANN | {"user_state_id": "9"}, CY])
    assert [(line["sourcedId"], line["userIds"]) for line in lines] == [("1", "{SIS:1},{State:9}"), ("c", "{SIS:Cy}")]


def test_who_has_an_identifier_is_called_by_it_where_it_is_the_formats_key(tmp_path: Path) -> None:
    people = [ANN, BO, CY]
    teachers = [member(2, role="teacher"), member(3, role="teacher")]
    lines = lines_of(
        tmp_path, FORMATS["clever"], "teachers.csv", users=people, memberships=teachers, organizations=[SCHOOL]
    )
    assert [line["Teacher_id"] for line in lines] == ["1", "Cy"]


def test_where_another_column_has_the_identifier_both_are_written_as_they_are_read(tmp_path: Path) -> None:
    declared = FORMATS["clever"].fitted(identifiers={"students": "Student_number"})
    numbered = ANN | {"source_key": "student:17", "user_district_id": "never both"}
    tables = {
        "users": [numbered], "memberships": [member(1)], "organizations": [SCHOOL], "classes": [ROOM],
        "enrollments": [placed(1)],
    }  # fmt: skip
    (pupil,), (place,) = (lines_of(tmp_path, declared, file, **tables) for file in ("students.csv", "enrollments.csv"))
    assert (pupil["Student_id"], pupil["Student_number"], place["Student_id"]) == ("17", "1", "17")


def test_who_stands_in_two_files_has_one_key_in_both(tmp_path: Path) -> None:
    declared = FORMATS["clever"].fitted(identifiers={"teachers": "Teacher_number"})
    memberships = [member(2, role="teacher"), member(2, role="staff")]
    tables = {"users": [BO | {"user_id": "77"}], "memberships": memberships, "organizations": [SCHOOL]}
    (teacher,), (staff,) = (lines_of(tmp_path, declared, file, **tables) for file in ("teachers.csv", "staff.csv"))
    assert (teacher["Teacher_id"], teacher["Teacher_number"], staff["Staff_id"]) == ("1", "77", "1")


def test_the_role_that_a_file_has_chooses_its_lines_one_for_each_school(tmp_path: Path) -> None:
    memberships = [member(1), member(1, 2), member(1, 2, "staff"), member(1, 1, "staff", status="inactive")]
    tables = {"users": [ANN, CY], "memberships": memberships, "organizations": [SCHOOL, OTHER]}
    found = {
        file: lines_of(tmp_path, FORMATS["clever"], file, **tables)
        for file in ("students.csv", "teachers.csv", "staff.csv")
    }
    assert {file: [(line["School_id"], line["First_name"]) for line in lines] for file, lines in found.items()} == {
        "students.csv": [("S1", "Ann"), ("S2", "Ann")], "teachers.csv": [(None, "Cy")], "staff.csv": [("S2", "Ann")],
    }  # fmt: skip


@pytest.mark.parametrize(("primary", "columns"), [
    ([], {"Teacher_id": None, "Teacher_2_id": "1", "Teacher_3_id": "Cy"}),
    ([3], {"Teacher_id": "Cy", "Teacher_2_id": "1", "Teacher_3_id": None}),
    ([2, 3], {"Teacher_id": "1", "Teacher_2_id": "Cy", "Teacher_3_id": None}),
])  # fmt: skip
def test_the_teachers_of_a_class_take_its_columns_in_turn_the_primary_one_the_first(
    tmp_path: Path, primary: list[int], columns: Row
) -> None:
    enrollments = [placed(1), *(placed(key, "teacher", is_primary=key in primary) for key in (2, 3))]
    (line,) = lines_of(
        tmp_path, FORMATS["clever"], "sections.csv", users=[ANN, BO, CY], classes=[ROOM], enrollments=enrollments,
        organizations=[SCHOOL],
    )  # fmt: skip
    assert {name: line[name] for name in columns} == columns
    assert line["School_id"] == "S1"


def test_a_person_has_a_line_for_each_class_and_for_each_school_without_one(tmp_path: Path) -> None:
    memberships = [member(1), member(1, 2), member(3, 1, "staff"), member(3, 1, "teacher")]
    lines = lines_of(
        tmp_path, FORMATS["batch_upload"], "users.csv", users=[ANN, BO, CY], classes=[ROOM], memberships=memberships,
        enrollments=[placed(1), placed(3, "teacher", is_primary=True)], organizations=[SCHOOL, OTHER],
    )  # fmt: skip
    told = ("userId", "schoolId", "classId", "userRole", "primaryTeacher")
    assert [tuple(line[name] for name in told) for line in lines] == [
        ("1", "S1", "C1", "student", "N"), ("1", "S2", None, "student", None), ("1", None, None, "teacher", None),
        ("Cy", "S1", "C1", "teacher", "Y"), ("Cy", "S1", None, "staff", None),
    ]  # fmt: skip


def test_what_is_looked_up_becomes_lines_of_the_other_file_each_once(tmp_path: Path) -> None:
    term = {"term": "Fall; Spring", "term_start": "2026-09-01", "term_end": "2027-06-30"}
    rooms = [
        ROOM | term | {"course_code": "A1", "course_name": "Algebra"},
        ROOM | term | {"class_key": 2, "source_key": "C2", "class_id": "C2", "course_name": "Art"},
        ROOM | {"class_key": 3, "source_key": "C3", "class_id": "C3"},
    ]
    files = ("classes.csv", "courses.csv", "academicsessions.csv")
    declared = FORMATS["oneroster_1_2"]
    classes, courses, terms = (lines_of(tmp_path, declared, file, classes=rooms) for file in files)
    title = {line["sourcedId"]: (line["courseCode"], line["title"]) for line in courses}
    assert [title.get(line["courseSourcedId"]) for line in classes] == [("A1", "Algebra"), (None, "Art"), None]
    key = classes[0]["termSourcedIds"]
    assert [line["termSourcedIds"] for line in classes] == [key, key, None]
    assert terms == [
        {"sourcedId": key, "title": "Fall; Spring", "type": "term", "startDate": "2026-09-01", "endDate": "2027-06-30"}
    ]


@pytest.mark.parametrize(("roles", "kinds"), [
    (["teacher", "staff"], {"teacher": "primary", "staff": "secondary"}), (["staff"], {"staff": "primary"}),
])  # fmt: skip
def test_a_persons_own_role_is_the_primary_one_and_any_where_none_is(
    tmp_path: Path, roles: list[str], kinds: dict[str, str]
) -> None:
    memberships = [member(3, 1, role) for role in roles]
    lines = lines_of(
        tmp_path, FORMATS["oneroster_1_2"], "roles.csv", users=[CY], memberships=memberships, organizations=[SCHOOL]
    )
    assert {line["role"]: line["roleType"] for line in lines} == kinds
    assert len({line["sourcedId"] for line in lines}) == len(lines)


def test_who_or_what_is_inactive_has_no_line_nor_have_its_links(tmp_path: Path) -> None:
    gone = {"status": "inactive"}
    tables: dict[str, list[Row]] = {
        "organizations": [SCHOOL, OTHER | gone], "users": [ANN, CY | gone], "classes": [ROOM],
        "memberships": [member(1), member(1, 2), member(3)], "enrollments": [placed(3), placed(1) | gone],
    }  # fmt: skip
    files = ("orgs.csv", "users.csv", "roles.csv", "classes.csv", "enrollments.csv")
    counts = {file: len(lines_of(tmp_path, FORMATS["oneroster_1_2"], file, **tables)) for file in files}
    assert counts == {"orgs.csv": 1, "users.csv": 1, "roles.csv": 1, "classes.csv": 1, "enrollments.csv": 0}


def test_a_spreadsheet_takes_no_cell_for_a_formula(tmp_path: Path) -> None:
    lines_of(tmp_path, FORMATS["clever"], "schools.csv", organizations=[SCHOOL | {"name": "=1+1"}])
    with duckdb.connect(":memory:") as connection:
        read_roster(connection, tmp_path)
        create_lines(connection)
        query = file_query(FORMATS["clever"], FORMATS["clever"].lines[0], spreadsheet=True)
        assert connection.execute(query).fetchall() == [("S1", "'=1+1")]


@pytest.mark.parametrize("declared", [one for one in FORMATS.values() if one.lines], ids=lambda one: one.name)
def test_every_required_column_of_every_file_that_must_be_there_is_written(declared: Format) -> None:
    """But for lists of files, whatever the format demands is filled from the roster, and nothing secret is."""
    by_file = {lines.file: texts(declared, lines) for lines in declared.lines}
    listing = declared.listing.file if declared.listing else None
    for spec in (spec for spec in declared.files if spec.read and spec.name != listing):
        assert spec.name in by_file or spec.optional_file
        assert set(spec.required) <= set(by_file.get(spec.name, spec.required))
        assert not set(spec.secret) & set(by_file.get(spec.name, ()))


def test_every_source_can_be_exported_and_what_a_mapping_reads_is_written_back() -> None:
    assert set(written()) == {declared.source.name for declared in FORMATS.values()}
    for declared in written().values():
        lines = {lines.file: lines for lines in declared.lines}
        for mapping in declared.mappings:
            if mapping.file in lines:
                own = [cell for column, cell in mapping.cells.items() if column != "action" and not cell.lookup]
                columns = {cell.column for cell in own if cell.column}
                assert columns <= set(texts(declared, lines[mapping.file]))


def test_the_list_of_files_calls_each_of_them_whole() -> None:
    rows = listing_rows(FORMATS["oneroster_1_2"])
    assert rows[:3] == [("manifest.version", "1.0"), ("oneroster.version", "1.2"), ("file.orgs", "bulk")]
    assert rows[-1] == ("file.academicSessions", "bulk")
    assert listing_rows(replace(FORMATS["clever"])) == []
