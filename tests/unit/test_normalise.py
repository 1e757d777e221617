"""Source tables into canonical ones: spellings, dates, blanks, and which line says what."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrollsync.formats import FORMATS
from enrollsync.ingest.normalise import normalise
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, SourceFile, Workspace
from enrollsync.settings import District
from enrollsync.words.blanks import trimmed
from enrollsync.words.canonical import BY_NAME, ENTITIES, GRADES

PERSON = {"schoolId": "S1", "userId": "300", "userRole": "student", "userFirstName": "Leena", "classId": "C1"}
SECTION = {"School_id": "S1", "Section_id": "X1", "Teacher_id": "T1"}


@dataclass
class Canonical:
    """Runs `normalise` on small source tables; lines are counted from 2, as in a file without blank lines."""

    folder: Path
    source: str = "batch_upload"
    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self, rows: Sequence[dict[str, str | None]], file: str = "users.csv", *, lines: bool = True
    ) -> dict[str, list[Any]]:
        workspace = Workspace(self.folder).create()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = {name: [row.get(name) for row in rows] for name in columns}
        source = pa.table(table, pa.schema([(name, pa.string()) for name in columns]))
        if lines:
            source = source.add_column(0, "line", pa.array(range(2, len(rows) + 2), pa.int64()))
        pq.write_table(source, workspace.source_table(file))
        spec = FORMATS[self.source].file(file)
        described = SourceFile(
            name=file, entity=spec.entity, header=columns, rows=len(rows), malformed=0, secret_columns=[]
        )
        manifest = RunManifest(
            run_id="r1", district="demo", as_of=datetime(2026, 11, 23, 7, tzinfo=UTC), format=self.source,
            files=[described],
        )  # fmt: skip
        district = District.model_validate({
            "district_id": "demo", "name": "Demo", "primary_source": self.source,
            "source": {"path": "x"}, "database": {"url": "sqlite:///none.db"}, **self.settings,
        })  # fmt: skip
        normalise(Run(workspace, manifest, district, None))
        return {name: pq.read_table(workspace.canonical_table(name)).to_pylist() for name in BY_NAME}

    def read(self, column: str, values: Sequence[str | None], entity: str, canonical: str) -> dict[str | None, Any]:
        """How each of a source column's `values` reads in a canonical column."""
        file, row = ("users.csv", PERSON) if self.source == "batch_upload" else ("sections.csv", SECTION)
        found = {line: record for record in self([row | {column: value} for value in values], file)[entity]
                 for line in record["lines"]}  # fmt: skip
        return {value: found[line][canonical] for line, value in enumerate(values, start=2)}


@pytest.fixture
def canonical(tmp_path: Path) -> Canonical:
    return Canonical(tmp_path / "run")


@pytest.fixture
def clever(tmp_path: Path) -> Canonical:
    return Canonical(tmp_path / "run", "clever")


# ---- spellings ----------------------------------------------------------------------------------


def test_grades_are_brought_to_one_spelling_and_unknown_ones_left(canonical: Canonical) -> None:
    expected = {
        "K": "Kindergarten", "k": "Kindergarten", "KG": "Kindergarten", "0": "Kindergarten", "00": "Kindergarten",
        "kindergarten": "Kindergarten", "PK": "PreKindergarten", "Pre-K": "PreKindergarten", "-1": "PreKindergarten",
        "TK": "TransitionalKindergarten", "01": "1", "1": "1", "09": "9", "10": "10", "13": "13",
        "PostGraduate": "PostGraduate", "PG": "PostGraduate", "UNGRADED": "Ungraded", "other": "Other", " 5 ": "5",
        "IT": "InfantToddler", "PR": "Preschool",
        "14": "14", "grade five": "grade five", "5th": "5th", "010": "010", "": None, None: None, "  ": None,
    }  # fmt: skip
    assert canonical.read("userGrade", list(expected), "users", "grade") == expected
    assert canonical.read("classGrade", list(expected), "classes", "grade") == expected


def test_every_grade_reads_as_itself_in_any_case(canonical: Canonical) -> None:
    spellings = {spelling: grade for grade in GRADES for spelling in (grade, grade.lower(), grade.upper())}
    assert canonical.read("userGrade", list(spellings), "users", "grade") == spellings


@pytest.mark.parametrize("source", ["batch_upload", "clever"])
def test_id_changes_name_their_entity_in_any_spelling_and_keep_zeros(tmp_path: Path, source: str) -> None:
    expected = {
        "user": "users", "Users": "users", " class ": "classes", "classes": "classes",
        "ORGANIZATION": "organizations", "organizations": "organizations", "pupil": "pupil", "": None,
    }  # fmt: skip
    rows = [{"entity": spelling, "old_id": " 007", "new_id": "0"} for spelling in expected]
    lines = Canonical(tmp_path / "run", source)(rows, "id_changes.csv")["id_changes"]
    assert [line["entity"] for line in lines] == list(expected.values())
    assert {(line["old_id"], line["new_id"]) for line in lines} == {("007", "0")}
    assert [line["line"] for line in lines] == list(range(2, len(expected) + 2))


def test_flags_are_true_or_false_and_unknown_ones_left(canonical: Canonical) -> None:
    expected = {
        "Y": "true", "y": "true", "Yes": "true", "TRUE": "true", "t": "true", "1": "true",
        "N": "false", "no": "false", "False": "false", "F": "false", "0": "false", " n ": "false",
        "maybe": "maybe", "2": "2", "": None, None: None,
    }  # fmt: skip
    assert canonical.read("primaryTeacher", list(expected), "enrollments", "is_primary") == expected


def test_roles_are_lower_case_and_unknown_ones_left_without_a_kind(canonical: Canonical) -> None:
    expected = {
        "student": ("student", "student"), "STUDENT": ("student", "student"), " Teacher ": ("teacher", "staff"),
        "Staff": ("staff", "staff"), "Pupil": ("Pupil", None), "": (None, None), None: (None, None),
    }  # fmt: skip
    roles = canonical.read("userRole", list(expected), "users", "role")
    kinds = canonical.read("userRole", list(expected), "users", "kind")
    assert {given: (roles[given], kinds[given]) for given in expected} == expected


# ---- dates --------------------------------------------------------------------------------------


def test_dates_are_iso_and_what_is_none_is_left_as_given(canonical: Canonical) -> None:
    expected = {
        "2015-03-09": "2015-03-09", "3/9/2015": "2015-03-09", "03/09/2015": "2015-03-09", " 3/9/2015 ": "2015-03-09",
        "12/31/1999": "1999-12-31", "2/29/2016": "2016-02-29",
        "2/29/2015": "2/29/2015", "2015-02-30": "2015-02-30", "31/12/2015": "31/12/2015", "13/1/15": "13/1/15",
        "2015-3-9": "2015-3-9", "20150309": "20150309", "3-9-2015": "3-9-2015", "3/9/015": "3/9/015",
        "2015-03-09 00:00": "2015-03-09 00:00", "٣/٩/٢٠١٥": "٣/٩/٢٠١٥", "March 9": "March 9", "": None, None: None,
    }  # fmt: skip
    assert canonical.read("userBirthDate", list(expected), "users", "birth_date") == expected


def test_a_year_of_two_digits_ends_at_most_five_years_after_the_day_of_the_run(canonical: Canonical) -> None:
    """The run is on 2026-11-23: a person is younger than 95, and a term ends in less than five years."""
    expected = {
        "3/9/15": "2015-03-09", "03/09/15": "2015-03-09", "11/23/26": "2026-11-23", "1/1/00": "2000-01-01",
        "2/29/00": "2000-02-29", "2/29/16": "2016-02-29", "2/29/15": "2/29/15",
        "3/9/99": "1999-03-09", "3/9/69": "1969-03-09", "3/9/68": "1968-03-09", "3/9/45": "1945-03-09",
        "3/9/35": "1935-03-09", "2/29/40": "1940-02-29", "11/23/31": "2031-11-23", "11/24/31": "1931-11-24",
    }  # fmt: skip
    assert canonical.read("userBirthDate", list(expected), "users", "birth_date") == expected


def test_a_term_may_end_in_a_year_of_two_digits_to_come(clever: Canonical) -> None:
    expected = {"8/17/26": "2026-08-17", "12/18/26": "2026-12-18", "6/11/27": "2027-06-11", "6/11/2028": "2028-06-11"}
    assert clever.read("Term_end", list(expected), "classes", "term_end") == expected


# ---- blanks -------------------------------------------------------------------------------------


def test_blanks_around_a_value_are_removed_whatever_they_are(canonical: Canonical) -> None:
    expected = {" a ": "a", "\ta": "a", "a\n": "a", "\r\n a": "a", "\u00a0a\u00a0 ": "a", "a b": "a b",
                "a\u00a0b": "a\u00a0b", " \u00a0\t": None, "0012": "0012", "": None, " é": "é", "é\t": "é",
                "a\u0600 ": "a\u0600", "\u00a0~": "~", "~~": "~~"}  # fmt: skip
    assert canonical.read("userFirstName", list(expected), "users", "given_name") == expected


def test_all_blanks_at_the_ends_of_a_value_are_removed_and_nothing_else(canonical: Canonical) -> None:
    chance = random.Random(3)
    characters = "a~! \t\n\r\u00a0é\u0301\u0600\u200d\u2003😀"
    given = {"".join(chance.choices(characters, k=chance.randrange(6))) for _ in range(2000)}
    found = canonical.read("userFirstName", sorted(given), "users", "given_name")
    assert found == {value: trimmed(value) for value in given}


def test_the_columns_that_had_blanks_are_named(canonical: Canonical) -> None:
    rows: list[dict[str, str | None]] = [
        PERSON | {"userId": " 300", "userFirstName": "Leena\u00a0", "schoolId": "S1 "}, {**PERSON},
    ]  # fmt: skip
    tables = canonical(rows)
    assert {row["line"]: row["blanks"] for row in tables["users"]} == {2: "userFirstName\nuserId", 3: None}
    assert {row["line"]: row["blanks"] for row in tables["organizations"]} == {2: "schoolId", 3: None}


def test_blanks_of_a_removal_are_named_too(canonical: Canonical) -> None:
    tables = canonical([{**PERSON, "classId": " C1", "action": "REMOVE-CLASS "}])
    assert [row["blanks"] for row in tables["classes"]] == ["action\nclassId"]


cells = st.sampled_from(["a", " a", "a ", "", " ", None])
actions = st.sampled_from([None, "", "REMOVE-CLASS", " remove-class", "x "])
roles = st.sampled_from(["student", " teacher", "Staff ", "pupil ", ""])


def columns_read(row: dict[str, str | None]) -> set[str]:
    """The columns of a line that some canonical row is made of."""
    action, role, class_id = ((row[name] or "").strip().lower() for name in ("action", "userRole", "classId"))
    if action == "remove-class":
        return {"action", "classId"}
    if role in {"student", "teacher"}:
        return set(row)
    return set(row) - {"primaryTeacher"} - (set() if class_id else {"classId", "className"})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(
    st.fixed_dictionaries({
        "schoolId": cells, "classId": cells, "className": cells, "userId": cells, "userRole": roles, "action": actions,
        "userEmail": cells, "primaryTeacher": cells,
    }),
    min_size=1, max_size=4,
))  # fmt: skip
def test_each_column_with_blanks_is_named_once_a_line(canonical: Canonical, rows: list[dict[str, str | None]]) -> None:
    named = Counter(
        (line, column)
        for table in canonical(rows).values()
        for row in table
        for line in row["lines"]
        for column in (row["blanks"] or "").split("\n")
        if column
    )
    assert set(named) == {
        (line, column)
        for line, row in enumerate(rows, start=2)
        for column in columns_read(row)
        if row[column] and row[column] != (row[column] or "").strip()
    }
    assert set(named.values()) <= {1}


# ---- which line says what -----------------------------------------------------------------------


def test_lines_that_say_the_same_are_one_row_that_knows_them_all(canonical: Canonical) -> None:
    tables = canonical([{**PERSON, "classId": name} for name in ("C1", "C2", "C1", "C3")])
    assert [(row["line"], row["lines"]) for row in tables["users"]] == [(2, [2, 3, 4, 5])]
    assert sorted((row["source_key"], row["line"], row["lines"]) for row in tables["classes"])[:2] == [
        ("C1", 2, [2, 4]), ("C2", 3, [3]),
    ]  # fmt: skip


def test_row_ids_are_unique_within_a_table(canonical: Canonical) -> None:
    rows: list[dict[str, str | None]] = [
        {**PERSON, "userId": f"{number % 4}", "classId": f"C{number % 3}", "userRole": ("student", "staff")[number % 2],
         "action": "REMOVE-CLASS" if number % 5 == 0 else None}
        for number in range(30)
    ]  # fmt: skip
    for table in (canonical(rows)[entity.name] for entity in ENTITIES):
        assert len({row["row_id"] for row in table}) == len(table) > 0


def test_a_removal_speaks_of_its_class_alone(canonical: Canonical) -> None:
    tables = canonical([{**PERSON, "action": "remove-class"}])
    assert {name for name, table in tables.items() if table} == {"classes"}
    assert tables["classes"][0] | {"source_key": "C1", "action": "remove"} == tables["classes"][0]


def test_an_employee_without_a_class_is_in_none(canonical: Canonical) -> None:
    tables = canonical([{**PERSON, "userRole": "staff", "classId": ""}])
    assert {name for name, table in tables.items() if table} == {"organizations", "users", "memberships"}


def test_rows_of_a_source_table_that_keeps_no_lines_are_counted(canonical: Canonical) -> None:
    rows: list[dict[str, str | None]] = [PERSON | {"userId": str(number)} for number in range(5)]
    users = canonical(rows, lines=False)["users"]
    assert {row["line"]: (row["user_id"], row["lines"]) for row in users} == {
        line: (str(line - 2), [line]) for line in range(2, 7)
    }


def test_an_absent_column_reads_as_no_value(canonical: Canonical) -> None:
    (person,) = canonical([{**PERSON}])["users"]
    assert person["email"] is person["birth_date"] is person["action"] is None


# ---- source keys and identifiers ----------------------------------------------------------------


def test_source_keys_of_clever_carry_the_kind_of_person(clever: Canonical) -> None:
    row: dict[str, str | None] = {"School_id": "S1", "Student_id": "7", "First_name": "A", "Last_name": "B"}
    assert clever([row], "students.csv")["users"][0]["source_key"] == "student:7"
    row = {"School_id": "S1", "Teacher_id": "7", "First_name": "A", "Last_name": "B"}
    assert clever([row], "teachers.csv")["users"][0]["source_key"] == "staff:7"


def test_an_empty_source_key_is_none_and_not_its_prefix(clever: Canonical) -> None:
    row: dict[str, str | None] = {"School_id": "S1", "Student_id": " ", "First_name": "A", "Last_name": "B"}
    assert clever([row], "students.csv")["users"][0]["source_key"] is None


def test_the_district_may_name_another_identifier_column(clever: Canonical) -> None:
    clever.settings = {"identifiers": {"columns": {"students": "Student_number"}}}
    row: dict[str, str | None] = {"School_id": "S1", "Student_id": "7", "Student_number": "0042"}
    (person,) = clever([row], "students.csv")["users"]
    assert (person["source_key"], person["user_id"]) == ("student:7", "0042")


def test_a_class_without_a_name_takes_its_courses(clever: Canonical) -> None:
    rows: list[dict[str, str | None]] = [
        {**SECTION, "Name": " ", "Course_name": "Algebra"}, {**SECTION, "Name": "Period 3", "Course_name": "Algebra"},
    ]  # fmt: skip
    assert [row["name"] for row in clever(rows, "sections.csv")["classes"]] == ["Algebra", "Period 3"]


def test_each_teacher_of_a_section_is_a_row_and_the_first_is_primary(clever: Canonical) -> None:
    row = {**SECTION, "Teacher_2_id": "T2", "Teacher_3_id": "", "Teacher_10_id": "T10"}
    found = clever([row], "sections.csv")["enrollments"]
    assert {(one["user_source_key"], one["is_primary"]) for one in found} == {
        ("staff:T1", "true"), ("staff:T2", "false"), ("staff:T10", "false"),
    }  # fmt: skip
