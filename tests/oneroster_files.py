"""A small district as OneRoster's files, 1.1 and 1.2, with a manifest or without."""

from __future__ import annotations

import csv
import io
from typing import Any

Row = dict[str, str]
NAMES = ("orgs", "users", "classes", "enrollments", "academicSessions", "courses")


def text(header: str, rows: list[Row]) -> str:
    """Rows as the text of a CSV file, lists in quotation marks."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header.split(","), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def org(name: str, **values: str) -> Row:
    return {"sourcedId": name, "name": f"School {name}", "type": "school", **values}


def user(name: str, **values: str) -> Row:
    return {
        "sourcedId": name, "enabledUser": "true", "orgSourcedIds": "S1", "role": "student", "givenName": f"Given{name}",
        "familyName": f"Family{name}", "email": f"{name}@demo.example", **values,
    }  # fmt: skip


def group(name: str, **values: str) -> Row:
    return {
        "sourcedId": name, "title": f"Class {name}", "courseSourcedId": "ALG", "schoolSourcedId": "S1",
        "termSourcedIds": "spring,fall", "periods": "3", "subjects": "Math", "grades": "05", **values,
    }  # fmt: skip


def enrolled(group: str, name: str, role: str = "student", **values: str) -> Row:
    return {
        "sourcedId": f"{group}:{name}", "classSourcedId": group, "schoolSourcedId": "S1", "userSourcedId": name,
        "role": role, "primary": "true" if role == "teacher" else "false", **values,
    }  # fmt: skip


SESSIONS = [
    {"sourcedId": "fall", "title": "Fall", "type": "term", "startDate": "2026-09-01", "endDate": "2027-01-20"},
    {"sourcedId": "spring", "title": "Spring", "type": "term", "startDate": "2027-02-01", "endDate": "2027-06-30"},
    {"sourcedId": "past", "title": "Summer", "type": "term", "startDate": "2026-06-01", "endDate": "2026-08-01"},
]
ORGS = [org("S1"), org("S2"), org("D", type="District")]
USERS = [user("p1"), user("p2", orgSourcedIds="S2,S1"), user("t1", role="teacher")]
CLASSES = [group("C1"), group("C2", termSourcedIds="past"), group("C3", termSourcedIds="")]
ENROLLMENTS = [enrolled("C1", "p1"), enrolled("C1", "p2"), enrolled("C1", "t1", "teacher"), enrolled("C2", "p1")]
_RECORD = "sourcedId,status,dateLastModified"
HEADERS = {
    "orgs.csv": f"{_RECORD},name,type,identifier,parentSourcedId",
    "users.csv": f"{_RECORD},enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,"
                 "identifier,email,grades,password",
    "classes.csv": f"{_RECORD},title,grades,courseSourcedId,schoolSourcedId,termSourcedIds,subjects,periods",
    "enrollments.csv": f"{_RECORD},classSourcedId,schoolSourcedId,userSourcedId,role,primary",
    "academicSessions.csv": f"{_RECORD},title,type,startDate,endDate",
    "courses.csv": f"{_RECORD},title,courseCode",
}  # fmt: skip
WHOLE = {
    "orgs.csv": ORGS, "users.csv": USERS, "classes.csv": CLASSES, "enrollments.csv": ENROLLMENTS,
    "academicSessions.csv": SESSIONS, "courses.csv": [{"sourcedId": "ALG", "title": "Algebra", "courseCode": "A1"}],
}  # fmt: skip


def delivery(said: dict[str, str] | None = None, **rows: list[Row]) -> dict[str, Any]:
    """The whole set, or with a manifest only what it says is there; `rows` by the file's name without ending."""
    given = WHOLE | {f"{name}.csv": own for name, own in rows.items()}
    absent = {f"{name}.csv" for name, word in (said or {}).items() if word == "absent"}
    files = {name: text(HEADERS[name], own) for name, own in given.items() if name not in absent}
    if said is None:
        return files
    lines = [{"propertyName": f"file.{name}", "value": word} for name, word in said.items()]
    version = {"propertyName": "oneroster.version", "value": "1.1"}
    return files | {"manifest.csv": "\ufeff" + text("propertyName,value", [version, *lines])}


def has(name: str, role: str, school: str = "S1", kind: str = "primary", **values: str) -> Row:
    return {
        "sourcedId": f"{name}:{school}:{role}", "userSourcedId": name, "role": role, "orgSourcedId": school,
        "roleType": kind, **values,
    }  # fmt: skip


ROLES = [has("p1", "student"), has("p2", "student"), has("p2", "student", "S2"), has("t1", "teacher")]


def newer(said: dict[str, str] | None = None, roles: list[Row] | None = None, **rows: list[Row]) -> dict[str, Any]:
    """A delivery of 1.2: people without roles and schools, and `roles.csv`."""
    files = delivery(said, **rows)
    people = [{key: value for key, value in one.items() if key not in ("role", "orgSourcedIds")}
              for one in rows.get("users", USERS)]  # fmt: skip
    header = HEADERS["users.csv"].replace("orgSourcedIds,role,", "") + ",primaryOrgSourcedId,pronouns"
    own = f"{_RECORD},userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,userProfileSourcedId"
    if "manifest.csv" in files:
        files["manifest.csv"] = files["manifest.csv"].replace("oneroster.version,1.1", "oneroster.version,1.2")
    files |= {"users.csv": text(header, people), "roles.csv": text(own, ROLES if roles is None else roles)}
    return {name: content for name, content in files.items() if (said or {}).get(name[:-4]) != "absent"}
