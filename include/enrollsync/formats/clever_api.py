"""Clever's API, version 3.1: schools, terms, courses, sections, and the users in the roles that a roster has.

What is read of a record stands here as data: `COLLECTIONS` says which columns are made of which of its attributes (the
attributes are Clever's, as its `v3.1.yml` describes them), and the format how those become canonical rows. What is not
named never leaves the answer. Asking belongs to `arrive/clever/`.

A record's key is Clever's `id`; the district's own `sis_id` is its identifier, and may be missing (rule 4).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from enrollsync.formats.clever import CLEVER
from enrollsync.formats.declare import (
    ID_CHANGES,
    ID_CHANGES_FILE,
    Cell,
    FileSpec,
    Format,
    Lookup,
    Mapping,
    Passed,
    When,
)


@dataclass(frozen=True)
class Several:
    """A column that holds a list, its elements joined by commas."""

    all: str
    """The path of the list."""
    without: str | None = None
    """The column whose value is left out."""


@dataclass(frozen=True, eq=False)
class Collection:
    """What is asked for page by page, and becomes one file of the delivery."""

    file: str
    title: str
    """What a person calls its records."""
    path: str
    """Of the address, after the version."""
    values: dict[str, str]
    """Column -> path of its value within a record: `roles.student.sis_id`; of two with `|` between, the first that has
    one. `id` is always the first column."""
    lists: dict[str, Several] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    """Column -> path of an object that the record has: then it holds `true`."""
    required: tuple[str, ...] = ()
    """Columns that stand in the file whether any record has a value or not."""
    role: str | None = None
    """Of users: which ones."""
    may_lack: bool = False
    """Whether a district may not share it at all."""
    may_be_empty: bool = False
    """Whether a district may have none of these."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the file, in order."""
        return (*self.values, *self.marks, *self.lists)

    @property
    def question(self) -> dict[str, str]:
        """What is asked besides the page."""
        return {"role": self.role} if self.role else {}


def _people(role: str, identifier: str, title: str, **more: str) -> Collection:
    """The people of a role; the school that is their own apart from the others, where Clever says which that is."""
    own, schools = f"roles.{role}", f"roles.{role}.schools"
    at_home = {} if role == "staff" else {"school": f"{own}.school|{schools}[0]"}
    return Collection(
        f"api_{title}.csv",
        title,
        "users",
        values={
            "id": "id",
            identifier: f"{own}.{identifier}",
            **{column: f"{own}.{attribute}" for column, attribute in more.items()},
            "email": "email",
            "name.first": "name.first",
            "name.middle": "name.middle",
            "name.last": "name.last",
            "district_username": f"{own}.credentials.district_username",
            **at_home,
        },
        lists={"other_schools": Several(schools, "school")} if at_home else {"schools": Several(f"{own}.schools")},
        marks={f"is_{role}": own},
        required=("id", identifier, "name.first", "name.last", "school" if at_home else "schools", f"is_{role}"),
        role=role,
    )


_SCHOOLS = Collection(
    "api_schools.csv", "schools", "schools",
    values={"id": "id", "sis_id": "sis_id", "name": "name", "school_number": "school_number", "state_id": "state_id"},
    required=("id", "sis_id", "name"),
)  # fmt: skip
_TERMS = Collection(
    "api_terms.csv", "terms", "terms", may_lack=True,
    values={"id": "id", "name": "name", "start_date": "start_date", "end_date": "end_date"},
    required=("id", "name", "start_date", "end_date"),
)  # fmt: skip
_COURSES = Collection(
    "api_courses.csv", "courses", "courses", may_lack=True,
    values={"id": "id", "name": "name", "number": "number"}, required=("id", "name", "number"),
)  # fmt: skip
_STUDENTS = _people(
    "student", "sis_id", "students", student_number="student_number", state_id="state_id", grade="grade", dob="dob"
)
_TEACHERS = _people("teacher", "sis_id", "teachers", teacher_number="teacher_number", state_id="state_id")
_STAFF = _people("staff", "staff_id", "staff")
_STAFF = replace(_STAFF, marks=_STAFF.marks | {"is_teacher": "roles.teacher"}, may_be_empty=True)
_SECTIONS = Collection(
    "api_sections.csv", "sections", "sections",
    values={
        "id": "id", "sis_id": "sis_id", "name": "name", "school": "school", "course": "course", "term_id": "term_id",
        "subject": "subject", "grade": "grade", "period": "period", "section_number": "section_number",
        "teacher": "teacher",
    },
    lists={"other_teachers": Several("teachers", "teacher"), "students": Several("students")},
    required=("id", "sis_id", "name", "school", "teacher", "other_teachers", "students"),
)  # fmt: skip
COLLECTIONS = (_STUDENTS, _SECTIONS, _TEACHERS, _STAFF, _SCHOOLS, _COURSES, _TERMS)
"""In the order in which they are asked for: what takes longest begins first."""
UNREAD_ROLES = {"contact": "contacts", "district_admin": "district admins"}
"""Roles of users whom a roster does not have: they are counted, and never asked for."""


def _file(collection: Collection, entity: str, role: str | None = None) -> FileSpec:
    passed = (Passed((When(f"is_{collection.role}", negate=True),), "of people in other roles"),)
    return FileSpec(
        collection.file,
        entity,
        required=collection.required,
        known=collection.columns,
        optional_file=collection.may_lack or collection.may_be_empty,
        role=role,
        passed=passed if collection.role else (),
    )


def _person(collection: Collection, kind: str, role: str, **more: Cell) -> Mapping:
    identifier = "staff_id" if role == "staff" else "sis_id"
    return Mapping(
        "users",
        collection.file,
        setting=collection.title,
        cells={
            "source_key": Cell("id", prefix=f"{kind}:"),
            "user_id": Cell(identifier),
            "role": Cell(constant=role),
            "given_name": Cell("name.first"),
            "middle_name": Cell("name.middle"),
            "family_name": Cell("name.last"),
            "email": Cell("email"),
            "username": Cell("district_username"),
            **more,
        },
    )


def _memberships(collection: Collection, kind: str, role: str) -> tuple[Mapping, ...]:
    person = Cell("id", prefix=f"{kind}:")
    others = "other_schools" if "school" in collection.values else "schools"
    some = Mapping(
        "memberships",
        collection.file,
        when=(When(others),) if others == "other_schools" else (),
        each=others,
        cells={
            "user_source_key": person,
            "organization_source_key": Cell(others),
            "role": Cell(constant=role),
            "is_primary": Cell(constant="false"),
        },
    )
    if others == "schools":
        return (some,)
    own = {"organization_source_key": Cell("school"), "is_primary": Cell(constant="true")}
    return (replace(some, when=(), each=None, cells=some.cells | own), some)


def _enrollments(column: str, kind: str, role: str, *, is_primary: bool = False) -> Mapping:
    return Mapping(
        "enrollments",
        _SECTIONS.file,
        when=(When(column),),
        each=None if is_primary else column,
        cells={
            "class_source_key": Cell("id"),
            "user_source_key": Cell(column, prefix=f"{kind}:"),
            "role": Cell(constant=role),
            "is_primary": Cell(constant="true" if is_primary else "false"),
        },
    )


def _term(column: str, convert: str = "text") -> Cell:
    return Cell("term_id", convert, lookup=Lookup(_TERMS.file, "id", column))


CLEVER_API = Format(
    name="clever_api",
    title="Clever (API)",
    source=CLEVER.source,
    mode="snapshot",
    header_case=False,
    unknown_headers=True,
    is_fetched=True,
    dates=("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ"),
    files=(
        _file(_SCHOOLS, "organizations"),
        _file(_STUDENTS, "users", "student"),
        _file(_TEACHERS, "users", "teacher"),
        _file(_STAFF, "users", "staff"),
        _file(_SECTIONS, "classes"),
        _file(_COURSES, "classes"),
        _file(_TERMS, "classes"),
        ID_CHANGES_FILE,
    ),
    mappings=(
        Mapping(
            "organizations", _SCHOOLS.file, setting="organizations",
            cells={
                "source_key": Cell("id"),
                "organization_id": Cell("sis_id"),
                "name": Cell("name"),
                "type": Cell(constant="school"),
            },
        ),
        _person(
            _STUDENTS, "student", "student",
            user_district_id=Cell("student_number"),
            user_state_id=Cell("state_id"),
            grade=Cell("grade", "grade"),
            birth_date=Cell("dob", "date"),
        ),
        _person(
            _TEACHERS, "staff", "teacher",
            user_district_id=Cell("teacher_number"),
            user_state_id=Cell("state_id"),
        ),
        # Who teaches too is a teacher first, and has the identifier of that role.
        replace(_person(_STAFF, "staff", "staff"), when=(When("is_teacher", negate=True),)),
        *_memberships(_STUDENTS, "student", "student"),
        *_memberships(_TEACHERS, "staff", "teacher"),
        *_memberships(_STAFF, "staff", "staff"),
        Mapping(
            "classes", _SECTIONS.file, setting="classes",
            cells={
                "source_key": Cell("id"),
                "class_id": Cell("sis_id"),
                "organization_source_key": Cell("school"),
                "name": Cell("name"),
                "course_code": Cell("course", lookup=Lookup(_COURSES.file, "id", "number")),
                "course_name": Cell("course", lookup=Lookup(_COURSES.file, "id", "name")),
                "subject": Cell("subject"),
                "grade": Cell("grade", "grade"),
                "period": Cell("period"),
                "term": _term("name"),
                "term_start": _term("start_date", "date"),
                "term_end": _term("end_date", "date"),
            },
        ),
        _enrollments("students", "student", "student"),
        _enrollments("teacher", "staff", "teacher", is_primary=True),
        _enrollments("other_teachers", "staff", "teacher"),
        ID_CHANGES,
    ),
)  # fmt: skip
