"""Clever's SFTP CSV set: schools, students, teachers, sections, enrollments, optional staff; a full snapshot.

Header names are Clever's; their upper and lower case varies in the wild and is passed over.
Source keys carry the kind of person, because a teacher and a student may have the same id.
"""

from __future__ import annotations

from enrollsync.formats.declare import (
    ID_CHANGES,
    ID_CHANGES_FILE,
    Cell,
    FileSpec,
    Filled,
    Format,
    Lines,
    Mapping,
    Source,
    When,
)

_SCHOOL = Cell("School_id")
_SECTION = Cell("Section_id")
_STUDENT = Cell("Student_id", prefix="student:")
_TEACHERS = ("Teacher_id", *(f"Teacher_{number}_id" for number in range(2, 11)))


def _person(id_column: str, kind: str, role: str, **more: Cell) -> dict[str, Cell]:
    return {
        "source_key": Cell(id_column, prefix=f"{kind}:"),
        "user_id": Cell(id_column),
        "role": Cell(constant=role),
        "given_name": Cell("First_name"),
        "middle_name": Cell("Middle_name"),
        "family_name": Cell("Last_name"),
        "username": Cell("Username"),
        **more,
    }


def _membership(file: str, id_column: str, kind: str, role: str) -> Mapping:
    return Mapping(
        "memberships",
        file,
        cells={
            "user_source_key": Cell(id_column, prefix=f"{kind}:"),
            "organization_source_key": _SCHOOL,
            "role": Cell(constant=role),
        },
    )


def _taught_by(column: str) -> Mapping:
    return Mapping(
        "enrollments",
        "sections.csv",
        when=(When(column),),
        cells={
            "class_source_key": _SECTION,
            "user_source_key": Cell(column, prefix="staff:"),
            "role": Cell(constant="teacher"),
            "is_primary": Cell(constant="true" if column == "Teacher_id" else "false"),
        },
    )


CLEVER = Format(
    name="clever",
    title="Clever (SFTP CSV)",
    source=Source("clever", "Clever", third_party=True),
    mode="snapshot",
    header_case=False,
    unknown_headers=True,
    files=(
        FileSpec(
            "schools.csv", "organizations",
            required=("School_id", "School_name"),
            known=(
                "School_id", "School_name", "School_number", "State_id", "Nces_id", "Low_grade", "High_grade",
                "Principal", "Principal_email", "School_address", "School_city", "School_state", "School_zip",
                "School_phone",
            ),
        ),
        FileSpec(
            "students.csv", "users",
            required=("School_id", "Student_id", "First_name", "Last_name"),
            known=(
                "School_id", "Student_id", "Student_number", "State_id", "Last_name", "Middle_name", "First_name",
                "Grade", "Gender", "Graduation_year", "DOB", "Race", "Hispanic_Latino", "Home_language",
                "Ell_status", "Frl_status", "IEP_status", "Student_street", "Student_city", "Student_state",
                "Student_zip", "Student_email", "Contact_relationship", "Contact_type", "Contact_name",
                "Contact_phone", "Contact_phone_type", "Contact_email", "Contact_sis_id", "Username", "Password",
                "Unweighted_gpa", "Weighted_gpa",
            ),
            secret=("Password",), role="student",
        ),
        FileSpec(
            "teachers.csv", "users",
            required=("School_id", "Teacher_id", "First_name", "Last_name"),
            known=(
                "School_id", "Teacher_id", "Teacher_number", "State_teacher_id", "Teacher_email", "First_name",
                "Middle_name", "Last_name", "Title", "Username", "Password",
            ),
            secret=("Password",), role="teacher",
        ),
        FileSpec(
            "sections.csv", "classes",
            required=("School_id", "Section_id", "Teacher_id"),
            known=(
                "School_id", "Section_id", *_TEACHERS, "Name", "Section_number", "Grade", "Course_name",
                "Course_number", "Course_description", "Period", "Subject", "Term_name", "Term_start", "Term_end",
            ),
        ),
        FileSpec(
            "enrollments.csv", "enrollments",
            required=("School_id", "Section_id", "Student_id"),
            known=("School_id", "Section_id", "Student_id"), role="student",
        ),
        FileSpec(
            "staff.csv", "users",
            required=("School_id", "Staff_id", "First_name", "Last_name"),
            known=(
                "School_id", "Staff_id", "Staff_email", "First_name", "Last_name", "Department", "Title",
                "Username", "Password", "Role",
            ),
            secret=("Password",), role="staff", optional_file=True,
        ),
        ID_CHANGES_FILE,
    ),
    mappings=(
        Mapping(
            "organizations", "schools.csv", setting="organizations",
            cells={
                "source_key": _SCHOOL,
                "organization_id": _SCHOOL,
                "name": Cell("School_name"),
                "type": Cell(constant="school"),
            },
        ),
        Mapping(
            "users", "students.csv", setting="students",
            cells=_person(
                "Student_id", "student", "student",
                user_district_id=Cell("Student_number"),
                user_state_id=Cell("State_id"),
                email=Cell("Student_email"),
                grade=Cell("Grade", "grade"),
                birth_date=Cell("DOB", "date"),
            ),
        ),
        Mapping(
            "users", "teachers.csv", setting="teachers",
            cells=_person(
                "Teacher_id", "staff", "teacher",
                user_district_id=Cell("Teacher_number"),
                user_state_id=Cell("State_teacher_id"),
                email=Cell("Teacher_email"),
            ),
        ),
        Mapping(
            "users", "staff.csv", setting="staff",
            cells=_person("Staff_id", "staff", "staff", email=Cell("Staff_email")),
        ),
        _membership("students.csv", "Student_id", "student", "student"),
        _membership("teachers.csv", "Teacher_id", "staff", "teacher"),
        _membership("staff.csv", "Staff_id", "staff", "staff"),
        Mapping(
            "classes", "sections.csv", setting="classes",
            cells={
                "source_key": _SECTION,
                "class_id": _SECTION,
                "organization_source_key": _SCHOOL,
                "name": Cell("Name", fallback="Course_name"),
                "course_code": Cell("Course_number"),
                "course_name": Cell("Course_name"),
                "subject": Cell("Subject"),
                "grade": Cell("Grade", "grade"),
                "period": Cell("Period"),
                "term": Cell("Term_name"),
                "term_start": Cell("Term_start", "date"),
                "term_end": Cell("Term_end", "date"),
            },
        ),
        Mapping(
            "enrollments", "enrollments.csv",
            cells={
                "class_source_key": _SECTION,
                "user_source_key": _STUDENT,
                "role": Cell(constant="student"),
                "is_primary": Cell(constant="false"),
            },
        ),
        *(_taught_by(column) for column in _TEACHERS),
        ID_CHANGES,
    ),
    lines=(
        Lines("schools.csv", "organizations"),
        Lines("students.csv", "memberships"),
        Lines("teachers.csv", "memberships"),
        Lines("sections.csv", "classes"),
        Lines("enrollments.csv", "enrollments", {"School_id": Filled(("classes.organization_source_key",))}),
        Lines("staff.csv", "memberships"),
    ),
)  # fmt: skip
