"""A server that speaks Clever's API as documented, fed from a Clever CSV set, with faults on request.

Only what `v3.1.yml` describes: `/districts`, `/schools`, `/terms`, `/courses`, `/sections`, `/users?role=`, pages by
`limit` and `starting_after`, `links`, `count`, a bearer token. It runs on loopback until its block ends.
"""

from __future__ import annotations

import csv
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

Record = dict[str, Any]
TOKEN = "a-token-that-nobody-may-see"


def key(kind: str, given: str) -> str:
    """A record's `id`, in the form of Clever's."""
    return hashlib.sha256(f"{kind} {given}".encode()).hexdigest()[:24]


@dataclass
class Asked:
    """One request, for a fault to look at."""

    path: str
    role: str | None
    after: str | None
    number: int
    """How often this collection was asked for by then, counting the pages and the counts apart."""
    is_count: bool

    @property
    def title(self) -> str:
        """`students` of `/users?role=student`, else the path."""
        return {"student": "students", "teacher": "teachers"}.get(self.role or "", self.role or self.path)


Fault = Callable[["CleverServer", Asked], Response | None]
"""Looks at a request, may change the data, and answers in the server's place where it returns something."""


@dataclass
class CleverServer:
    """A district's data, and what it answers."""

    schools: list[Record] = field(default_factory=list)
    terms: list[Record] = field(default_factory=list)
    courses: list[Record] = field(default_factory=list)
    sections: list[Record] = field(default_factory=list)
    users: list[Record] = field(default_factory=list)
    districts: list[Record] = field(
        default_factory=lambda: [{"id": key("district", "1"), "last_sync": "2026-11-22T23:10:00.000Z"}]
    )
    most: int = 10_000
    """Records that one page has at most, whatever is asked for."""
    counts: bool = True
    """Whether it says how many there are."""
    token: str = TOKEN
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def of(self, title: str) -> list[Record]:
        """A collection's records, in the order of their ids."""
        role = {"students": "student", "teachers": "teacher", "staff": "staff"}.get(title)
        found = [one for one in self.users if role in one["roles"]] if role else getattr(self, title)
        return sorted(found, key=lambda one: str(one["id"]))

    def line(self, title: str, record: Record) -> int:
        """The line of a record in the run's file of its collection."""
        return 2 + self.of(title).index(record)

    def answer(self, path: str, query: dict[str, str], token: str) -> Response:
        """What it says to one request."""
        is_count = query.get("limit") == "1"
        role, after = query.get("role"), query.get("starting_after")
        like = [one for one in self.asked if (one.path, one.role, one.is_count) == (path, role, is_count)]
        asked = Asked(path, role, after, len(like) + 1, is_count)
        self.asked.append(asked)
        for fault in self.faults:
            if answer := fault(self, asked):
                return answer
        if token != f"Bearer {self.token}":
            return JSONResponse({"message": "unauthorized"}, 401)
        if path not in ("districts", "schools", "terms", "courses", "sections", "users"):
            return JSONResponse({"message": "not found"}, 404)
        if int(query.get("limit", "100")) > 10_000:
            return JSONResponse({"message": "too large"}, 413)
        return JSONResponse(self.page(path, role, after, int(query.get("limit", "100")), "count" in query))

    def page(self, path: str, role: str | None, after: str | None, limit: int, counted: bool) -> Record:
        """One page as the documentation shows it."""
        records = sorted(getattr(self, path), key=lambda one: str(one["id"]))
        records = [one for one in records if role is None or role in one["roles"]]
        rest = [one for one in records if after is None or str(one["id"]) > after]
        shown = rest[: min(limit, self.most)]
        role_asked = f"role={role}&" if role else ""
        links = [{"rel": "self", "uri": f"/v3.1/{path}"}]
        if len(shown) < len(rest):
            links.append({"rel": "next", "uri": f"/v3.1/{path}?{role_asked}starting_after={shown[-1]['id']}"})
        found = {"data": [{"data": one, "uri": f"/v3.1/{path}/{one['id']}"} for one in shown], "links": links}
        return found | ({"count": len(records)} if counted and self.counts else {})

    @property
    def app(self) -> FastAPI:
        """The server as an application."""
        app = FastAPI()

        @app.get("/v3.1/{path}")
        def get(path: str, request: Request) -> Response:
            return self.answer(path, dict(request.query_params), request.headers.get("authorization", ""))

        return app

    @contextmanager
    def running(self) -> Iterator[CleverServer]:
        """Let it listen on loopback, at `url`."""
        server = uvicorn.Server(uvicorn.Config(self.app, "127.0.0.1", 0, log_level="critical"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join(10)


# ---- data ------------------------------------------------------------------------------------------------------------


def from_csv(folder: Path) -> CleverServer:
    """The same district as a folder of Clever's CSV files, with a contact for each student and one district admin."""
    files = {path.name: list(csv.DictReader(path.open(newline=""))) for path in folder.glob("*.csv")}
    server = CleverServer()
    for row in files["schools.csv"]:
        server.schools.append({"id": key("school", row["School_id"]), "sis_id": row["School_id"],
                               "name": row["School_name"], "school_number": row.get("School_number")})  # fmt: skip
    people: dict[str, Record] = {}
    for row in files["students.csv"]:
        _add_student(people, row)
    for row in files["teachers.csv"]:
        _add_employee(people, row, "teacher", row["Teacher_id"], sis_id=row["Teacher_id"],
                      teacher_number=row.get("Teacher_number"), state_id=row.get("State_teacher_id"))  # fmt: skip
    for row in files.get("staff.csv", []):
        _add_employee(people, row, "staff", row["Staff_id"], staff_id=row["Staff_id"])
    server.users = [*people.values(), *_family([*people.values()])]
    for row in files["sections.csv"]:
        _add_section(server, row)
    sections = {one["sis_id"]: one for one in server.sections}
    for row in files["enrollments.csv"]:
        sections[row["Section_id"]]["students"].append(key("student", row["Student_id"]))
    return server


def _name(row: dict[str, str]) -> Record:
    return {"first": row["First_name"], "middle": row.get("Middle_name") or None, "last": row["Last_name"]}


def _add_student(people: dict[str, Record], row: dict[str, str]) -> None:
    name, school = key("student", row["Student_id"]), key("school", row["School_id"])
    if name not in people:
        people[name] = {
            "id": name, "email": row.get("Student_email") or None, "name": _name(row),
            "roles": {"student": {
                "sis_id": row["Student_id"], "student_number": row.get("Student_number"), "dob": row.get("DOB"),
                "state_id": row.get("State_id"), "grade": row.get("Grade"), "school": school, "schools": [],
                "credentials": {"district_username": row.get("Username", "")}, "gender": row.get("Gender"),
                "location": {"address": row.get("Student_street")},
            }},
        }  # fmt: skip
    schools = people[name]["roles"]["student"]["schools"]
    schools.extend([school] if school not in schools else [])


def _add_employee(people: dict[str, Record], row: dict[str, str], role: str, given: str, **more: str | None) -> None:
    name, school = key("staff", given), key("school", row["School_id"])
    email = row.get("Teacher_email") or row.get("Staff_email") or None
    person = people.setdefault(name, {"id": name, "email": email, "name": _name(row), "roles": {}})
    own = person["roles"].setdefault(
        role, {**more, "schools": [], "credentials": {"district_username": row.get("Username", "")}}
    )
    own["schools"].append(school)
    if role == "teacher":
        own.setdefault("school", school)


def _family(people: list[Record]) -> list[Record]:
    contacts = [
        {"id": key("contact", one["id"]), "name": {"last": "Somebody"}, "roles": {"contact": {"phone": "555"}}}
        for one in people
        if "student" in one["roles"]
    ]
    return [*contacts, {"id": key("admin", "1"), "name": {}, "roles": {"district_admin": {"title": "CIO"}}}]


def _add_section(server: CleverServer, row: dict[str, str]) -> None:
    course = _one_of(server.courses, "course", {"number": row.get("Course_number"), "name": row.get("Course_name")})
    dates = {"start_date": _iso(row.get("Term_start")), "end_date": _iso(row.get("Term_end"))}
    term = _one_of(server.terms, "term", {"name": row.get("Term_name"), **dates})
    teachers = [key("staff", row[name]) for name in row if name.startswith("Teacher") and row[name]]
    server.sections.append({
        "id": key("section", row["Section_id"]), "sis_id": row["Section_id"], "name": row["Name"],
        "school": key("school", row["School_id"]), "course": course, "term_id": term, "subject": row.get("Subject"),
        "grade": row.get("Grade"), "period": row.get("Period"), "section_number": row.get("Section_number"),
        "teacher": teachers[0] if teachers else None, "teachers": teachers, "students": [],
    })  # fmt: skip


def _one_of(records: list[Record], kind: str, values: Record) -> str | None:
    """The id of the record with these values, made where there is none."""
    if not any(values.values()):
        return None
    name = key(kind, repr(values))
    if all(one["id"] != name for one in records):
        records.append({"id": name, **values})
    return name


def _iso(date: str | None) -> str | None:
    """Clever writes a term's day as a moment."""
    return f"{date}T00:00:00.000Z" if date else None


# ---- faults ----------------------------------------------------------------------------------------------------------


def on(title: str, number: int, then: Callable[[CleverServer, Asked], Response | None]) -> Fault:
    """A fault of one page: the `number`th that is asked for of that collection."""

    def fault(server: CleverServer, asked: Asked) -> Response | None:
        return then(server, asked) if (asked.title, asked.number, asked.is_count) == (title, number, False) else None

    return fault


def status(code: int, **headers: str) -> Callable[[CleverServer, Asked], Response]:
    """Answer with a status."""
    return lambda server, asked: JSONResponse(
        {"message": "said by the server"},
        code,
        headers={name.replace("_", "-"): text for name, text in headers.items()},
    )


def dropped(server: CleverServer, asked: Asked) -> Response:
    """Break the connection off in the middle of an answer."""
    return StreamingResponse(iter([b'{"data":']), media_type="application/json", headers={"content-length": "5000"})


def says(content: Any) -> Callable[[CleverServer, Asked], Response]:
    """Answer with this JSON."""
    return lambda server, asked: JSONResponse(content)


def first_page_again(server: CleverServer, asked: Asked) -> Response:
    """Repeat a page."""
    return JSONResponse(server.page(asked.path, asked.role, None, server.most, False))


def without(title: str, record: Record) -> Callable[[CleverServer, Asked], None]:
    """Take a record away from then on."""
    return lambda server, asked: getattr(server, title).remove(record)
