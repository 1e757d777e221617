"""Amplify-style Batch Upload: `users.csv`, one row a person in a class, and an unread `demographics.csv`.

The set is a delta: absence is not removal.
"""

from __future__ import annotations

from enrollsync.formats.declare import ID_CHANGES, ID_CHANGES_FILE, Cell, FileSpec, Format, Lines, Mapping, Source, When

_UPSERT = When("action", ("remove-class",), negate=True)
_IN_A_CLASS = When("userRole", ("student", "teacher"))
_USER = Cell("userId")
_ORGANIZATION = Cell("schoolId")
_CLASS = Cell("classId")
_ACTION = Cell("action", "action")

_CLASS_CELLS = {
    "source_key": _CLASS,
    "class_id": _CLASS,
    "organization_source_key": _ORGANIZATION,
    "name": Cell("className"),
    "grade": Cell("classGrade", "grade"),
    "action": _ACTION,
}

BATCH_UPLOAD = Format(
    name="batch_upload",
    title="Batch Upload",
    source=Source("batch_upload", "Batch Upload", is_guest=True),
    mode="delta",
    header_case=True,
    unknown_headers=False,
    charset="alphanumeric",
    words={"action": {"REMOVE-CLASS": "remove"}},
    files=(
        FileSpec(
            "users.csv",
            entity="users",
            # A file of staff may lack `classId`; a student's or teacher's row is then rejected as with an empty cell.
            required=("schoolId", "userId", "userRole", "userFirstName", "userLastName"),
            known=(
                "action", "schoolId", "schoolName", "classId", "className", "classGrade", "userId",
                "userDistrictId", "userStateId", "userRole", "userFirstName", "userMiddleName", "userLastName",
                "userEmail", "userGrade", "userBirthDate", "primaryTeacher",
            ),
        ),
        FileSpec("demographics.csv", entity="users", required=(), known=(), optional_file=True, read=False),
        ID_CHANGES_FILE,
    ),
    mappings=(
        Mapping(
            "organizations", "users.csv", when=(_UPSERT,), setting="organizations", repeats=True,
            cells={
                "source_key": _ORGANIZATION,
                "organization_id": _ORGANIZATION,
                "name": Cell("schoolName"),
                "type": Cell(constant="school"),
            },
        ),
        Mapping(
            "users", "users.csv", when=(_UPSERT,), setting="users", repeats=True,
            cells={
                "source_key": _USER,
                "user_id": _USER,
                "user_district_id": Cell("userDistrictId"),
                "user_state_id": Cell("userStateId"),
                "role": Cell("userRole", "role"),
                "given_name": Cell("userFirstName"),
                "middle_name": Cell("userMiddleName"),
                "family_name": Cell("userLastName"),
                "email": Cell("userEmail"),
                "grade": Cell("userGrade", "grade"),
                "birth_date": Cell("userBirthDate", "date"),
                "action": _ACTION,
            },
        ),
        Mapping(
            "memberships", "users.csv", when=(_UPSERT,), repeats=True,
            cells={
                "user_source_key": _USER,
                "organization_source_key": _ORGANIZATION,
                "role": Cell("userRole", "role"),
            },
        ),
        Mapping(
            "classes", "users.csv", cells=_CLASS_CELLS, when=(_UPSERT, _IN_A_CLASS), setting="classes", repeats=True,
        ),
        Mapping(
            "classes", "users.csv", cells=_CLASS_CELLS, setting="classes", repeats=True,
            when=(_UPSERT, When("userRole", ("student", "teacher"), negate=True), When("classId")),
        ),
        Mapping(
            "classes", "users.csv", when=(When("action", ("remove-class",)),), setting="classes",
            cells={"source_key": _CLASS, "class_id": _CLASS, "action": _ACTION},
        ),
        Mapping(
            "enrollments", "users.csv", when=(_UPSERT, _IN_A_CLASS),
            cells={
                "class_source_key": _CLASS,
                "user_source_key": _USER,
                "role": Cell("userRole", "role"),
                "is_primary": Cell("primaryTeacher", "flag"),
            },
        ),
        ID_CHANGES,
    ),
    lines=(Lines("users.csv", "places"),),
    spelt={"flag": {"true": "Y", "false": "N"}},
)  # fmt: skip
