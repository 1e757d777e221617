"""OneRoster 1.1 and 1.2 as CSV: orgs, users, roles (1.2), classes, courses, academicSessions, enrollments.

A `manifest.csv` says of each file whether it is the whole (`bulk`), what changed (`delta`), or not there; without one
all of them are the whole. A `sourcedId` is one space for everybody: who was a student and teaches now is the same
person, so source keys do not carry a kind, as Clever's must.
"""

from __future__ import annotations

from dataclasses import replace

from enrollsync.formats.declare import (
    ID_CHANGES,
    ID_CHANGES_FILE,
    Cell,
    FileSpec,
    Filled,
    Format,
    Lines,
    Listing,
    Lookup,
    Mapping,
    Passed,
    Source,
    When,
)

STAFF = (
    "staff", "administrator", "aide", "counselor", "districtadministrator", "principal", "proctor",
    "siteadministrator", "systemadministrator",
)  # fmt: skip
"""Roles (in lower case) of people who are staff to us."""
FAMILY = ("guardian", "parent", "relative")
"""Roles of people whom a roster does not have."""
_GONE = ("tobedeleted", "inactive")
"""What `status` says of what goes; `inactive` is the word of OneRoster 1.0."""

_STAYS = When("status", _GONE, negate=True)
_OF_FAMILY = When("role", FAMILY)
_NOT_OF_FAMILY = replace(_OF_FAMILY, negate=True)
_KEY = Cell("sourcedId")
_ASKS = Cell("status", "action")
_ONE_GRADE = Cell("grades", "grade", pattern="^([^,]*)$")
"""Of several grades none is taken, as ours have one."""
_RECORD = ("sourcedId", "status", "dateLastModified")
_UNREAD = (
    "demographics", "userprofiles", "resources", "results", "lineitems", "categories", "courseresources",
    "classresources", "userresources", "scorescales", "lineitemlearningobjectiveids", "lineitemscorescales",
    "resultlearningobjectiveids", "resultscorescales",
)  # fmt: skip


def _course(column: str) -> Cell:
    return Cell("courseSourcedId", lookup=Lookup("courses.csv", "sourcedId", column, when=(_STAYS,)))


def _terms(column: str, lookup: Lookup, convert: str = "text") -> Cell:
    return Cell("termSourcedIds", convert, lookup=replace(lookup, column=column))


_TERMS = Lookup("academicsessions.csv", "sourcedId", "title", when=(_STAYS,), is_list=True, order="startDate")

_PERSON = {
    "source_key": _KEY,
    "user_id": _KEY,
    "user_district_id": Cell("identifier"),
    "given_name": Cell("givenName"),
    "middle_name": Cell("middleName"),
    "family_name": Cell("familyName"),
    "email": Cell("email"),
    "username": Cell("username"),
    "grade": _ONE_GRADE,
    "action": _ASKS,
    "status": Cell("enabledUser", "enabled"),
}

_ORGS = FileSpec(
    "orgs.csv", "organizations",
    required=("sourcedId", "name", "type"),
    known=(*_RECORD, "name", "type", "identifier", "parentSourcedId"),
)  # fmt: skip
_USERS = FileSpec(
    "users.csv", "users",
    required=("sourcedId", "orgSourcedIds", "role", "givenName", "familyName"),
    known=(
        *_RECORD, "enabledUser", "orgSourcedIds", "role", "username", "userIds", "givenName", "familyName",
        "middleName", "identifier", "email", "sms", "phone", "agentSourcedIds", "grades", "password",
    ),
    secret=("password",), passed=(Passed((_OF_FAMILY,), "of parents, guardians or relatives"),),
)  # fmt: skip
_OTHERS = (
    FileSpec(
        "classes.csv", "classes",
        required=("sourcedId", "title", "schoolSourcedId"),
        known=(
            *_RECORD, "title", "grades", "courseSourcedId", "classCode", "classType", "location", "schoolSourcedId",
            "termSourcedIds", "subjects", "subjectCodes", "periods",
        ),
    ),
    FileSpec(
        "enrollments.csv", "enrollments",
        required=("classSourcedId", "userSourcedId", "role"),
        known=(
            *_RECORD, "classSourcedId", "schoolSourcedId", "userSourcedId", "role", "primary", "beginDate", "endDate",
        ),
        passed=(
            Passed((When("role", (*STAFF, *FAMILY)),), "of people who neither learn nor teach in the class"),
        ),
    ),
    FileSpec(
        "courses.csv", "classes", optional_file=True,
        required=("sourcedId",),
        known=(
            *_RECORD, "schoolYearSourcedId", "title", "courseCode", "grades", "orgSourcedId", "subjects",
            "subjectCodes",
        ),
    ),
    FileSpec(
        "academicsessions.csv", "classes", optional_file=True,
        required=("sourcedId", "title", "startDate", "endDate"),
        known=(*_RECORD, "title", "type", "startDate", "endDate", "parentSourcedId", "schoolYear"),
    ),
    FileSpec(
        "manifest.csv", "organizations", optional_file=True,
        required=("propertyName", "value"), known=("propertyName", "value"),
    ),
    *(FileSpec(f"{name}.csv", "users", required=(), known=(), optional_file=True, read=False) for name in _UNREAD),
    ID_CHANGES_FILE,
)  # fmt: skip
_MEMBERSHIPS = Mapping(
    "memberships", "users.csv", when=(_STAYS,), each="orgSourcedIds", names_all=True,
    cells={
        "user_source_key": _KEY,
        "organization_source_key": Cell("orgSourcedIds"),
        "role": Cell("role", "role"),
    },
)  # fmt: skip
_OTHER_MAPPINGS = (
    Mapping(
        "organizations", "orgs.csv", setting="organizations",
        cells={
            "source_key": _KEY,
            "organization_id": _KEY,
            "name": Cell("name"),
            "type": Cell("type", "organization"),
            "action": _ASKS,
        },
    ),
    Mapping(
        "classes", "classes.csv", setting="classes",
        cells={
            "source_key": _KEY,
            "class_id": _KEY,
            "organization_source_key": Cell("schoolSourcedId"),
            "name": Cell("title"),
            "course_code": _course("courseCode"),
            "course_name": _course("title"),
            "subject": Cell("subjects"),
            "grade": _ONE_GRADE,
            "period": Cell("periods"),
            "term": _terms("title", replace(_TERMS, take="all")),
            "term_start": _terms("startDate", _TERMS, "date"),
            "term_end": _terms("endDate", replace(_TERMS, order="endDate", take="last"), "date"),
            "action": _ASKS,
        },
    ),
    Mapping(
        "enrollments", "enrollments.csv",
        cells={
            "class_source_key": Cell("classSourcedId"),
            "user_source_key": Cell("userSourcedId"),
            "role": Cell("role", "role"),
            "is_primary": Cell("primary", "flag"),
            "action": _ASKS,
        },
    ),
    ID_CHANGES,
)  # fmt: skip

ONEROSTER_1_1 = Format(
    name="oneroster_1_1",
    title="OneRoster 1.1 (CSV)",
    source=Source("oneroster", "OneRoster", third_party=True),
    mode="snapshot",
    header_case=False,
    unknown_headers=True,
    telling=("orgs.csv", "academicsessions.csv", "manifest.csv"),
    listing=Listing(
        "manifest.csv", "propertyName", "file.", "value",
        words={"bulk": "snapshot", "delta": "delta", "absent": None}, version="oneroster.version",
        own_version=("manifest.version", "1.0"),
    ),
    version="1.1",
    words={
        "action": {"tobedeleted": "remove", "inactive": "remove", "active": None},
        "enabled": {
            **dict.fromkeys(("true", "1", "yes", "y"), "active"),
            **dict.fromkeys(("false", "0", "no", "n"), "inactive"),
        },
        "organization": {
            kind: kind for kind in ("department", "school", "district", "local", "state", "national")
        },
        "role": {"student": "student", "teacher": "teacher", **dict.fromkeys(STAFF, "staff")},
    },
    files=(_ORGS, _USERS, *_OTHERS),
    mappings=(
        *_OTHER_MAPPINGS[:1],
        Mapping("users", "users.csv", setting="users", cells=_PERSON | {"role": Cell("role", "role")}),
        _MEMBERSHIPS,
        *_OTHER_MAPPINGS[1:],
    ),
)  # fmt: skip

_ANY_ROLE = Lookup("roles.csv", "userSourcedId", "role")
_ROLES = FileSpec(
    "roles.csv", "memberships",
    required=("userSourcedId", "roleType", "role", "orgSourcedId"),
    known=(
        *_RECORD, "userSourcedId", "roleType", "role", "beginDate", "endDate", "orgSourcedId", "userProfileSourcedId",
    ),
    passed=(Passed((_OF_FAMILY,), "of parents, guardians or relatives"),),
)  # fmt: skip
_USERS_1_2 = FileSpec(
    "users.csv", "users",
    required=("sourcedId", "givenName", "familyName"),
    known=(
        *_RECORD, "enabledUser", "username", "userIds", "givenName", "familyName", "middleName", "identifier", "email",
        "sms", "phone", "agentSourcedIds", "grades", "password", "userMasterIdentifier", "resourceSourcedIds",
        "preferredGivenName", "preferredMiddleName", "preferredFamilyName", "primaryOrgSourcedId", "pronouns",
    ),
    secret=("password",),
    passed=(
        Passed(
            (
                When("sourcedId", lookup=_ANY_ROLE),
                When("sourcedId", lookup=replace(_ANY_ROLE, when=(_NOT_OF_FAMILY,)), negate=True),
            ),
            "of parents, guardians or relatives",
        ),
    ),
)  # fmt: skip
_OWN_ROLE = replace(
    _ANY_ROLE, when=(_STAYS, _NOT_OF_FAMILY, When("roleType", ("secondary",), negate=True)), may_lack=True
)
ONEROSTER_1_2 = replace(
    ONEROSTER_1_1,
    name="oneroster_1_2",
    title="OneRoster 1.2 (CSV)",
    version="1.2",
    files=(_ORGS, _USERS_1_2, _ROLES, *_OTHERS),
    mappings=(
        *_OTHER_MAPPINGS[:1],
        Mapping(
            "users", "users.csv", setting="users",
            cells=_PERSON | {"role": Cell("sourcedId", "role", lookup=_OWN_ROLE)},
        ),
        Mapping(
            "memberships", "roles.csv", names_one_role=True,
            cells={
                "user_source_key": Cell("userSourcedId"),
                "organization_source_key": Cell("orgSourcedId"),
                "role": Cell("role", "role"),
                "action": _ASKS,
            },
        ),
        *_OTHER_MAPPINGS[1:],
    ),
    lines=(
        Lines("orgs.csv", "organizations"),
        Lines("users.csv", "users", {"primaryOrgSourcedId": Filled(("organizations.source_key",))}),
        Lines(
            "roles.csv", "memberships",
            {
                "sourcedId": Filled(("users.source_key", "organizations.source_key", "line.role")),
                "roleType": Filled(("line.is_own_role",), words=("primary", "secondary")),
            },
        ),
        Lines("classes.csv", "classes", {"classType": Filled(constant="scheduled")}),
        Lines(
            "enrollments.csv", "enrollments",
            {
                "sourcedId": Filled(("classes.source_key", "users.source_key")),
                "schoolSourcedId": Filled(("classes.organization_source_key",)),
            },
        ),
        Lines("courses.csv"),
        Lines("academicsessions.csv", filled={"type": Filled(constant="term")}, called="academicSessions.csv"),
    ),
    spelt={
        "grade": {
            "InfantToddler": "IT", "Preschool": "PR", "PreKindergarten": "PK", "TransitionalKindergarten": "TK",
            "Kindergarten": "KG", **{str(number): f"{number:02}" for number in range(1, 10)}, "PostGraduate": "PS",
            "Ungraded": "UG",
        },
    },
)  # fmt: skip
