"""The synthetic district: what it promises about its files, and that its answers name exactly what is planted."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrollsync import sample
from enrollsync.sample import names, write_sample
from enrollsync.sample.district import LEVELS
from enrollsync.sample.faults import Fault
from enrollsync.sample.layouts import LAYOUTS
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.codes import CODES, Scope, Severity
from enrollsync.words.errors import ConfigurationError

STUDENTS = 600
FORMATS = sorted(LAYOUTS)
PERSON_FILES = {"students.csv": "Student_id", "teachers.csv": "Teacher_id", "staff.csv": "Staff_id"}

Rows = list[dict[str, str]]


class Sample:
    """A sample on disk: its lines as they stand there, its rows and its answers."""

    def __init__(self, folder: Path, format: str, dirt: float, students: int = STUDENTS, seed: int = 7) -> None:
        self.summary = write_sample(folder, format, students, seed, dirt)
        self.format = format
        self.folder = folder

    def lines(self, file: str) -> list[str]:
        """Physical lines, the header first."""
        return (self.folder / file).read_bytes().decode().split("\n")[:-1]

    def rows(self, file: str) -> Rows:
        """Records of a clean file."""
        with (self.folder / file).open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream, strict=True))

    def readable(self, file: str) -> dict[int, dict[str, str]]:
        """Line -> record, for each line that is a CSV record all by itself."""
        header, *lines = self.lines(file)
        columns = header.split(",")
        found = {number: _fields(line) for number, line in enumerate(lines, start=2)}
        return {number: dict(zip(columns, fields, strict=True)) for number, fields in found.items()
                if fields and len(fields) == len(columns)}  # fmt: skip

    @property
    def answers(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "answers.json").read_text())
        return content

    def answered(self, code: str, file: str, column: str | None = None) -> set[int]:
        return {
            fault["line"]
            for fault in self.answers["faults"]
            if (fault["code"], fault["file"]) == (code, file) and column in (None, fault["column"])
        }


def _fields(line: str) -> list[str] | None:
    """The fields of one physical line; None where it is no CSV record."""
    if re.search(r"[\x00-\x08\x0b-\x1f]", line):
        return None
    try:
        (fields,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    except csv.Error:
        return None
    return fields


@pytest.fixture(scope="module", params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def clean(format: str, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp(format), format, 0)


@pytest.fixture(scope="module")
def dirty(format: str, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp(format), format, 0.05)


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The lines of a clean `users.csv`."""
    return Sample(tmp_path_factory.mktemp("clean"), "batch_upload", 0).rows("users.csv")


@pytest.fixture(scope="module")
def clever(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    """File -> rows of a clean Clever set."""
    found = Sample(tmp_path_factory.mktemp("clean"), "clever", 0)
    return {file: found.rows(file) for file in found.summary.files}


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _values(rows: Rows, *columns: str) -> list[tuple[str, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


def _people(users: Rows) -> Rows:
    return list({row["userId"]: row for row in users}.values())


# The same arguments give the same bytes


def test_same_arguments_give_the_same_bytes(format: str, tmp_path: Path, dirty: Sample) -> None:
    write_sample(tmp_path, format, STUDENTS, 7, 0.05)
    assert _content(tmp_path) == _content(dirty.folder)


def test_one_thread_gives_the_same_bytes(
    format: str, tmp_path: Path, dirty: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "_MANY", 0)
    write_sample(tmp_path, format, STUDENTS, 7, 0.05)
    assert _content(tmp_path) == _content(dirty.folder)


def test_another_seed_gives_another_district(format: str, tmp_path: Path, clean: Sample) -> None:
    write_sample(tmp_path, format, STUDENTS, 8)
    before, after = _content(clean.folder), _content(tmp_path)
    assert all(after[fault.file] != before[fault.file] for fault in LAYOUTS[format].faults)


def test_large_sample_does_not_depend_on_the_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large enough for more than one of DuckDB's row groups."""
    write_sample(tmp_path / "many", "batch_upload", 30_000, 7, 0.05)
    monkeypatch.setattr(sample, "_MANY", 0)
    write_sample(tmp_path / "one", "batch_upload", 30_000, 7, 0.05)
    assert _content(tmp_path / "many") == _content(tmp_path / "one")


# What stands in the folder


def test_summary_counts_the_lines_below_each_header(clean: Sample) -> None:
    assert clean.summary.files == {file: len(clean.lines(file)) - 1 for file in clean.summary.files}


def test_each_student_has_six_enrollments(clean: Sample) -> None:
    file, column, role = {
        "batch_upload": ("users.csv", "userId", "userRole"), "clever": ("enrollments.csv", "Student_id", ""),
    }.get(clean.format, ("enrollments.csv", "userSourcedId", "role"))  # fmt: skip
    counted = Counter(row[column] for row in clean.rows(file) if row.get(role, "student") == "student")
    assert set(counted.values()) == {6}
    assert len(counted) == STUDENTS


def test_clean_sample_has_no_answers(clean: Sample) -> None:
    assert set(_content(clean.folder)) == set(clean.summary.files)
    assert clean.summary.faults == {}


def test_answers_of_an_earlier_dirty_sample_are_removed(format: str, tmp_path: Path) -> None:
    write_sample(tmp_path, format, 200, 1, 0.05)
    write_sample(tmp_path, format, 200, 1)
    assert not (tmp_path / "answers.json").exists()


def test_batch_upload_header_is_the_one_of_the_format(users: Rows) -> None:
    assert ",".join(users[0]) == (
        "action,schoolId,schoolName,classId,className,classGrade,userId,userDistrictId,userStateId,userRole,"
        "userFirstName,userMiddleName,userLastName,userEmail,userGrade,userBirthDate,primaryTeacher"
    )


def test_clever_set_holds_all_six_files(clever: dict[str, Rows]) -> None:
    assert set(clever) == {"schools.csv", *PERSON_FILES, "sections.csv", "enrollments.csv"}


def test_clever_password_column_is_filled_with_filler(clever: dict[str, Rows]) -> None:
    assert {row["Password"] for file in PERSON_FILES for row in clever[file]} == {"not-a-real-password"}


# What the district promises


def test_identifiers_are_letters_and_digits_and_none_looks_like_a_social_security_number(users: Rows) -> None:
    found = {row[column] for row in users for column in ("schoolId", "classId", "userId")} - {""}
    assert all(re.fullmatch(r"[A-Za-z0-9]+", identifier) for identifier in found)
    assert not any(re.fullmatch(r"\d{9}", identifier) for identifier in found)


@pytest.mark.parametrize("column", ["userId", "userDistrictId", "userStateId", "userEmail"])
def test_no_two_people_share_what_tells_them_apart_ignoring_case(users: Rows, column: str) -> None:
    found = [row[column].lower() for row in _people(users)]
    assert "" not in found
    assert len(set(found)) == len(found)


def test_some_identifiers_have_leading_zeros_and_some_letters(users: Rows) -> None:
    found = [row["userId"] for row in _people(users)]
    assert any(identifier.startswith("0") for identifier in found)
    assert any(identifier.startswith("S") for identifier in found)


def test_no_two_students_share_full_name_and_birth_date(tmp_path: Path) -> None:
    """Large enough for many namesakes in one grade."""
    write_sample(tmp_path, "clever", 60_000, 3)
    students = duckdb.read_csv(str(tmp_path / "students.csv"), all_varchar=True)
    people, names_alone, born = students.aggregate(
        "count(DISTINCT Student_id), count(DISTINCT (First_name, Last_name)), "
        "count(DISTINCT (First_name, Last_name, DOB))"
    ).fetchall()[0]
    assert names_alone < people == born == 60_000


def test_all_lines_of_a_person_say_the_same_of_them(users: Rows) -> None:
    said = defaultdict(set)
    for row in users:
        said[row["userId"]].add(tuple(value for column, value in row.items() if column.startswith("user")))
    assert {len(values) for values in said.values()} == {1}


def test_repeated_student_rows_differ_in_the_contact_alone(clever: dict[str, Rows]) -> None:
    said = defaultdict(list)
    for row in clever["students.csv"]:
        said[row["Student_id"]].append(row)
    repeated = [rows for rows in said.values() if len(rows) == 2]
    assert 0 < len(repeated) < STUDENTS * 0.06
    for first, second in repeated:
        changed = {column for column in first if first[column] != second[column]}
        assert changed
        assert all(column.startswith("Contact_") for column in changed)


def test_class_names_are_unique_within_a_school(clever: dict[str, Rows]) -> None:
    found = _values(clever["sections.csv"], "School_id", "Name")
    assert len(set(found)) == len(found)
    assert any(re.fullmatch(r"Math 5 - .+ P[1-6]", name) for _, name in found)


def test_every_class_has_one_teacher_of_its_school(users: Rows) -> None:
    teachers = [row for row in users if row["userRole"] == "teacher"]
    assert sorted(row["classId"] for row in teachers) == sorted({row["classId"] for row in users} - {""})
    assert {row["primaryTeacher"] for row in teachers} == {"Y"}
    assert {row["primaryTeacher"] for row in users if row["userRole"] == "student"} == {"N"}


def test_students_have_one_class_in_each_period(clever: dict[str, Rows]) -> None:
    periods = {row["Section_id"]: row["Period"] for row in clever["sections.csv"]}
    days = defaultdict(set)
    for row in clever["enrollments.csv"]:
        days[row["Student_id"]].add(periods[row["Section_id"]])
    assert {len(day) for day in days.values()} == {6}


def test_grades_and_birth_dates_fit_the_school(users: Rows) -> None:
    grades = {level.name: range(level.low_grade, level.high_grade + 1) for level in LEVELS}
    for row in users:
        if row["userRole"] == "student":
            grade = 0 if row["userGrade"] == "Kindergarten" else int(row["userGrade"])
            assert grade in grades[row["schoolName"].split()[-2]]
            assert row["classGrade"] == row["userGrade"]
            assert f"{2020 - grade}-09-01" <= row["userBirthDate"] <= f"{2021 - grade}-08-31"


def test_names_exercise_quoting_accents_and_apostrophes(tmp_path: Path) -> None:
    found = {row["userLastName"] for row in Sample(tmp_path, "batch_upload", 0, 3000).rows("users.csv")}
    assert {"Washington, Jr.", "O'Brien", "García-López"} <= found


def test_schools_grow_with_the_district(tmp_path: Path) -> None:
    schools = Sample(tmp_path, "clever", 0, 20_000)
    sizes = Counter(row["School_id"] for row in schools.rows("students.csv"))
    assert 28 <= len(sizes) <= 40
    assert all(480 <= size <= 720 for size in sizes.values())
    found = [row["School_name"] for row in schools.rows("schools.csv")]
    assert len(set(found)) == len(found)


def test_steps_through_the_lists_reach_every_name() -> None:
    assert len(names.FAMILY) % 67
    assert (len(names.SCHOOL_FIRST) * len(names.SCHOOL_SECOND)) % 1597
    assert len(names.SCHOOL_FIRST) * len(names.SCHOOL_SECOND) > sample.MOST_STUDENTS / 600


@pytest.mark.parametrize("words", [names.GIVEN, names.FAMILY, names.SCHOOL_FIRST, names.SCHOOL_SECOND])
def test_no_list_names_anything_twice(words: tuple[str, ...]) -> None:
    assert len(set(words)) == len(words)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(students=st.integers(1, 400), seed=st.integers(-(2**40), 2**40))
def test_district_of_any_size_holds_together(tmp_path: Path, students: int, seed: int) -> None:
    found = Sample(tmp_path, "clever", 0, students, seed)
    sections = found.rows("sections.csv")
    teachers = {row["Teacher_id"] for row in found.rows("teachers.csv")}
    assert len({row["Student_id"] for row in found.rows("students.csv")}) == students
    assert {row["Teacher_id"] for row in sections} == teachers
    assert {row["Section_id"] for row in found.rows("enrollments.csv")} == {row["Section_id"] for row in sections}
    assert len(set(_values(sections, "School_id", "Name"))) == len(sections)
    assert len(found.rows("schools.csv")) >= 2


# Faults are planted in place


def test_planting_shifts_no_line(clean: Sample, dirty: Sample) -> None:
    for file in clean.summary.files:
        assert len(dirty.lines(file)) == len(clean.lines(file))
    assert dirty.summary.files == clean.summary.files


def test_only_lines_with_an_answer_differ_from_the_clean_sample(clean: Sample, dirty: Sample) -> None:
    listed = {(fault["file"], fault["line"]) for fault in dirty.answers["faults"]}
    for file in clean.summary.files:
        pairs = zip(clean.lines(file), dirty.lines(file), strict=True)
        changed = {(file, number) for number, (before, after) in enumerate(pairs, start=1) if before != after}
        assert changed <= listed


def test_changed_lines_differ_in_one_field(clean: Sample, dirty: Sample) -> None:
    for file in clean.summary.files:
        before, after = clean.readable(file), dirty.readable(file)
        differences = [sum(before[line][column] != after[line][column] for column in before[line]) for line in after]
        assert set(differences) <= {0, 1}


def test_no_finding_is_asked_for_twice_of_one_line(dirty: Sample) -> None:
    listed = [(fault["code"], fault["file"], fault["line"]) for fault in dirty.answers["faults"]]
    assert len(set(listed)) == len(listed)


def test_every_declared_fault_is_planted(dirty: Sample) -> None:
    listed = {tuple(fault[key] for key in ("code", "file", "entity", "column", "effect"))
              for fault in dirty.answers["faults"]}  # fmt: skip
    assert listed == {
        (fault.code, fault.file, fault.entity, fault.column, fault.effect) for fault in _declared(dirty.format)
    }


@pytest.mark.parametrize("students", [200, 201, 250])
def test_smallest_sample_with_dirt_has_every_kind(format: str, tmp_path: Path, students: int) -> None:
    found = Sample(tmp_path, format, 0.001, students)
    assert set(found.summary.faults) == {fault.code for fault in _declared(format)}


def test_share_of_lines_with_a_fault_is_the_rate(format: str, tmp_path: Path) -> None:
    found = Sample(tmp_path, format, 0.05, 5000)
    consequences = {(told.code, told.file, told.column) for fault in LAYOUTS[format].faults for told in fault.brings}
    for file in {fault.file for fault in LAYOUTS[format].faults}:
        listed = sum(
            fault["file"] == file and (fault["code"], file, fault["column"]) not in consequences
            for fault in found.answers["faults"]
        )
        expected = 0.05 * found.summary.files[file]
        # Planted unknown students look like consequences: their share is about a sixth.
        least = 0.75 if file == "enrollments.csv" else 0.95
        assert expected * least < listed < expected * 1.1


def _declared(format: str) -> dict[Fault, None]:
    """The faults of a format, and what they bring besides."""
    return dict.fromkeys(told for fault in LAYOUTS[format].faults for told in (fault, *fault.brings))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    format=st.sampled_from(FORMATS),
    students=st.integers(1, 300),
    seed=st.integers(0, 10**6),
    dirt=st.floats(0.001, 1),
)
def test_any_rate_keeps_the_answers_consistent(
    tmp_path: Path, format: str, students: int, seed: int, dirt: float
) -> None:
    found = Sample(tmp_path, format, dirt, students, seed)
    listed = [(fault["code"], fault["file"], fault["line"]) for fault in found.answers["faults"]]
    assert len(set(listed)) == len(listed)
    _check_malformed(found)
    if format == "batch_upload":
        _check_batch_upload(found)
    if format == "clever":
        _check_clever(found)


# The answers: their shape, and what a second look at the files finds


def test_answers_say_how_the_sample_was_made(dirty: Sample) -> None:
    head = {key: dirty.answers[key] for key in ("format", "seed", "students", "dirt")}
    assert head == {"format": dirty.format, "seed": 7, "students": STUDENTS, "dirt": 0.05}
    assert list(dirty.answers["clean"]) == [entity.name for entity in ENTITIES]


def test_answers_count_the_clean_records(users: Rows, dirty: Sample) -> None:
    enrolled = {(row["classId"], row["userId"]) for row in users if row["classId"]}
    people = len(_people(users))
    assert dirty.answers["clean"] == {
        "organizations": len({row["schoolId"] for row in users}),
        "users": people,
        "memberships": people,
        "classes": len({row["classId"] for row in users} - {""}),
        "enrollments": len(enrolled),
    }


def test_summary_counts_the_answers_by_code(dirty: Sample) -> None:
    assert dirty.summary.faults == Counter(fault["code"] for fault in dirty.answers["faults"])


def test_answers_name_columns_of_their_file(clean: Sample, dirty: Sample) -> None:
    for fault in dirty.answers["faults"]:
        assert list(fault) == ["code", "file", "line", "entity", "column", "effect"]
        assert fault["column"] in [None, *clean.lines(fault["file"])[0].split(",")]


@pytest.mark.parametrize(
    "fault",
    [fault for format in FORMATS for fault in LAYOUTS[format].faults],
    ids=lambda fault: f"{fault.code}-{fault.file}",
)
def test_declared_effect_is_the_scope_of_the_code(fault: Fault) -> None:
    code = CODES[fault.code]
    # A scope says what a critical finding keeps out; a warning with the scope of a line takes nothing away.
    harmless = code.scope is Scope.LINE and code.severity is not Severity.CRITICAL
    assert fault.effect == (Scope.NONE if harmless else code.scope)


def test_malformed_lines_are_the_answered_ones(dirty: Sample) -> None:
    _check_malformed(dirty)


def test_malformed_lines_come_in_all_kinds(dirty: Sample) -> None:
    for file in {fault.file for fault in LAYOUTS[dirty.format].faults if fault.damage}:
        columns = len(dirty.lines(file)[0].split(","))
        broken = [dirty.lines(file)[line - 1] for line in dirty.answered("ROW-MALFORMED", file)]
        counts = [len(fields) for line in broken if (fields := _fields(line))]
        assert any(count < columns for count in counts)
        assert any(count == columns + 1 for count in counts)
        assert any(line.count('"') % 2 for line in broken)
        assert any(re.search(r"[\x00-\x08]", line) for line in broken)


def test_cross_record_faults_of_batch_upload_are_the_answered_lines(tmp_path: Path) -> None:
    _check_batch_upload(Sample(tmp_path, "batch_upload", 0.08))


def test_cross_record_faults_of_clever_are_the_answered_lines(tmp_path: Path) -> None:
    _check_clever(Sample(tmp_path, "clever", 0.08))


def test_social_security_numbers_are_plausible_and_on_all_lines_of_the_person(tmp_path: Path) -> None:
    found = Sample(tmp_path, "batch_upload", 0.05)
    rows = found.readable("users.csv")
    numbers = {line: row["userId"] for line, row in rows.items() if re.fullmatch(r"\d{9}", row["userId"])}
    assert set(numbers) == found.answered("ID-SSN", "users.csv")
    assert set(Counter(numbers.values()).values()) == {6}
    assert all(re.fullmatch(r"(?!000|666|9)\d{3}(?!00)\d\d(?!0000)\d{4}", number) for number in numbers.values())


def _check_malformed(found: Sample) -> None:
    for file, lines in found.summary.files.items():
        broken = set(range(2, lines + 2)) - set(found.readable(file))
        assert broken == found.answered("ROW-MALFORMED", file)


def _shared(rows: dict[int, dict[str, str]], owner: str, key: Callable[[dict[str, str]], str]) -> set[int]:
    """Lines whose key stands for several owners."""
    groups = defaultdict(list)
    for line, row in rows.items():
        groups[key(row)].append((line, row[owner].strip()))
    return {line for group in groups.values() if len({name for _, name in group}) > 1 for line, _ in group}


def _sound(rows: dict[int, dict[str, str]], identifier: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines whose identifier could be one."""
    return ((line, row) for line, row in rows.items() if re.fullmatch(r"[A-Za-z0-9]+", row[identifier].strip()))


def _check_batch_upload(found: Sample) -> None:
    file = "users.csv"
    rows = dict(_sound(found.readable(file), "userId"))
    named = {line: row for line, row in rows.items() if row["userFirstName"]}
    assert _shared(named, "userFirstName", lambda row: row["userId"].strip()) == found.answered("ID-DUPLICATE", file)
    assert _shared(rows, "userId", lambda row: row["userId"].strip().lower()) == found.answered("ID-CASE", file)
    assert _shared(rows, "userId", lambda row: row["userEmail"].lower()) == found.answered("VAL-EMAIL-DUPLICATE", file)
    for column in ("userDistrictId", "userStateId"):
        shared = _shared(rows, "userId", lambda row, column=column: row[column])  # type: ignore[misc]
        assert shared == found.answered("SEC-DUPLICATE", file, column)
    for column, dubious in (("userGrade", "grade five"), ("userMiddleName", "")):
        said = {line: row for line, row in rows.items() if row[column] != dubious}
        assert _shared(said, column, lambda row: row["userId"].strip()) == found.answered("VAL-CONFLICT", file, column)


def _check_clever(found: Sample) -> None:
    file = "students.csv"
    students = dict(_sound(found.readable(file), "Student_id"))
    sections = {row["Section_id"] for row in found.rows("sections.csv")}
    schools = {row["School_id"] for row in found.rows("schools.csv")}
    known = {row["Student_id"].strip() for row in students.values()}
    enrollments = found.readable("enrollments.csv")
    assert _shared(students, "Student_email", lambda row: row["Student_id"].strip()) == found.answered(
        "ID-DUPLICATE", file
    )
    assert _shared(students, "Student_id", lambda row: row["Student_email"].lower()) == found.answered(
        "VAL-EMAIL-DUPLICATE", file
    )
    for column in ("Student_number", "State_id"):
        shared = _shared(students, "Student_id", lambda row, column=column: row[column])  # type: ignore[misc]
        assert shared == found.answered("SEC-DUPLICATE", file, column)
    for column, there in (("Student_id", known), ("Section_id", sections)):
        lost = {line for line, row in enrollments.items() if row[column] and row[column] not in there}
        assert lost == found.answered("REF-UNKNOWN", "enrollments.csv", column)
    homeless = {line for line, row in students.items() if row["School_id"] not in schools}
    assert homeless == found.answered("REF-UNKNOWN", file)


# OneRoster, by way of an export


def test_a_sample_of_oneroster_is_the_district_that_clevers_is(tmp_path: Path, clever: dict[str, Rows]) -> None:
    found = Sample(tmp_path, "oneroster", 0)
    people = {row["sourcedId"]: (row["givenName"], row["email"]) for row in found.rows("users.csv")}
    kinds = {"students.csv": "Student", "teachers.csv": "Teacher", "staff.csv": "Staff"}
    assert people == {
        row[f"{kind}_id"]: (row["First_name"], row[f"{kind}_email"])
        for file, kind in kinds.items()
        for row in clever[file]
    }
    attending = {
        (row["classSourcedId"], row["userSourcedId"])
        for row in found.rows("enrollments.csv")
        if row["role"] == "student"
    }
    assert attending == {(row["Section_id"], row["Student_id"]) for row in clever["enrollments.csv"]}
    taught = {row["Section_id"]: (row["Teacher_id"], row["Period"], row["Course_number"])
              for row in clever["sections.csv"]}  # fmt: skip
    courses = {row["sourcedId"]: row["courseCode"] for row in found.rows("courses.csv")}
    teachers = {row["classSourcedId"]: row["userSourcedId"] for row in found.rows("enrollments.csv")
                if row["primary"] == "true"}  # fmt: skip
    assert taught == {
        row["sourcedId"]: (teachers[row["sourcedId"]], row["periods"], courses[row["courseSourcedId"]])
        for row in found.rows("classes.csv")
    }


# What cannot be made


@pytest.mark.parametrize(
    ("format", "students", "dirt", "says"),
    [
        ("excel", 10, 0, "not known"),
        ("clever", 0, 0, "--students 0"),
        ("clever", 2_000_001, 0, "--students 2000001"),
        ("clever", 10, -0.1, "--dirt -0.1"),
        ("clever", 10, 1.5, "--dirt 1.5"),
    ],
)
def test_what_cannot_be_made_is_a_configuration_error(
    tmp_path: Path, format: str, students: int, dirt: float, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        write_sample(tmp_path / "out", format, students, 1, dirt)
    assert not (tmp_path / "out").exists()


def test_folder_that_is_a_file_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_sample(tmp_path / "out", "clever", 10, 1)
