"""What is asked of each page of the portal, at random records and with random words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import func, select

from benchmarks.portal_roster import DISTRICT, FIRST, NIGHTS, UNDOES, WAITS
from enrollsync.database import Store
from enrollsync.database.schema import BASE, IDENTIFIER_HISTORY, primary_key
from enrollsync.records.doctor import BY_NAME as BY_CHECK
from enrollsync.words.canonical import BY_NAME

_SAMPLED = 2000
Row = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """Some records of the roster, taken at random."""

    students: list[Row]
    teachers: list[Row]
    classes: list[Row]
    organizations: list[Row]
    earlier: list[Row]
    """Of `identifier_history`."""


Ask = Callable[[Random, Known], Row]
"""Values of the address: its path's and, as `q` and so on, its query's."""


@dataclass(frozen=True)
class Case:
    """One way to ask for a page."""

    route: str
    what: str
    ask: Ask

    def address(self, random: Random, known: Known) -> str:
        values = {"district_id": DISTRICT, **self.ask(random, known)}
        path = self.route
        for name in [name for name in values if f"{{{name}}}" in path]:
            path = path.replace(f"{{{name}}}", str(values.pop(name)))
        values.pop("district_id", None)
        return f"/roster{path}?{urlencode(values)}" if values else f"/roster{path}"


def sample(store: Store, random: Random) -> Known:
    """Look up records by random keys."""

    def some(entity: str, **fitting: str) -> list[Row]:
        table, (key,) = BASE[entity], primary_key(BY_NAME[entity])
        ((most),) = (row["most"] for row in store.rows(select(func.max(table.c[key]).label("most"))))
        keys = random.sample(range(1, most + 1), min(_SAMPLED * 10, most))
        rows = store.rows(select(table).where(table.c.district_id == DISTRICT, table.c[key].in_(keys)))
        return [row for row in rows if all(row[name] == value for name, value in fitting.items())][:_SAMPLED]

    earlier = store.rows(select(IDENTIFIER_HISTORY).where(IDENTIFIER_HISTORY.c.entity == "users").limit(_SAMPLED))
    teachers = some("users", role="teacher")
    return Known(some("users", role="student"), teachers, some("classes"), some("organizations"), earlier)


def _words(letters: int, *columns: str) -> Ask:
    """The beginnings of a student's names."""
    return lambda random, known: {"q": _beginnings(random.choice(known.students), letters, columns)}


def _beginnings(person: Row, letters: int, columns: tuple[str, ...]) -> str:
    return " ".join(person[name].split()[0][:letters] for name in columns if person[name])


def _accented(random: Random, known: Known) -> Row:
    """As somebody writes it who does not care for case and accents, or puts some where there are none."""
    name = random.choice(known.students)["family_name"].split()[0]
    return {"q": name.upper().translate(str.maketrans("AEIOUÁÉÍÓÚ", "ÁÉÍÓÚAEIOU"))}


def _of(rows: str, column: str, name: str = "q") -> Ask:
    return lambda random, known: {name: random.choice([row for row in getattr(known, rows) if row[column]])[column]}


def _both(*asks: Ask, **values: Any) -> Ask:
    return lambda random, known: {name: value for ask in asks for name, value in ask(random, known).items()} | values


def _only(**values: Any) -> Ask:
    return lambda random, known: values


def _page(most: int) -> Ask:
    return lambda random, known: {"page": random.randint(2, most)}


def _a_day(random: Random, known: Known) -> Row:
    return {"as_of": (FIRST + timedelta(days=random.randint(0, 2))).date().isoformat()}


_SCHOOL = _of("organizations", "organization_key", "school")
_MA_GA = ("given_name", "family_name")
_DISTRICT = "/districts/{district_id}"
_USERS, _CLASSES, _ORGANIZATIONS = (f"{_DISTRICT}/{name}" for name in ("users", "classes", "organizations"))
_QUALITY = f"{_DISTRICT}/quality"
_RUNS, _RUN = f"{_DISTRICT}/runs", f"{_DISTRICT}/runs/{{run_id}}"
_PEOPLE = (
    ("everybody", _only()),
    ("everybody, a later page", _page(20)),
    ("one letter", _words(1, "family_name")),
    ("two letters", _words(2, "family_name")),
    ("two letters, a later page", _both(_words(2, "family_name"), _page(20))),
    ("four letters", _words(4, "family_name")),
    ("other accents and case", _accented),
    ("two words of two letters", _words(2, *_MA_GA)),
    ("three words of two letters", _words(2, "given_name", "middle_name", "family_name")),
    ("two whole words", _words(50, *_MA_GA)),
    ("nobody's name", _only(q="zzyzx qwert")),
    ("identifier", _of("students", "user_id")),
    ("earlier identifier", _of("earlier", "old_id")),
    ("source key", _of("students", "source_key")),
    ("secondary ID", _of("students", "user_state_id")),
    ("email", _of("students", "email")),
    ("school", _SCHOOL),
    ("school, two letters", _both(_SCHOOL, _words(2, "family_name"))),
    ("teachers", _only(role="teacher")),
    ("teachers, two letters", _both(_words(2, "family_name"), role="teacher")),
    ("students, two words of two letters", _both(_words(2, *_MA_GA), role="student")),
    ("inactive", _only(status="inactive")),
    ("inactive, two letters", _both(_words(2, "family_name"), status="inactive")),
    ("finding", _only(code="VAL-EMAIL")),
    ("finding, two letters", _both(_words(2, "family_name"), code="VAL-EMAIL")),
    ("all filters", _both(_SCHOOL, _words(2, "family_name"), role="student", status="active", code="VAL-EMAIL")),
)
_PLAN = (
    ("", _only()),
    (", a later page", _page(1000)),
    (", one field", _only(entity="users", operation="update", field="family_name")),
    (", one school", _SCHOOL),
    (", a name", _words(4, "family_name")),
)
CASES: tuple[Case, ...] = (
    Case("/static/{name}", "style", _only(name="roster.css")),
    Case("/", "400 districts", _only()),
    Case("/", "400 districts, sorted and searched", _only(sort="deactivated", q="district-1")),
    Case(_DISTRICT, "the district", _only()),
    *(Case(_USERS, what, ask) for what, ask in _PEOPLE),
    Case(_CLASSES, "all", _only()),
    Case(_CLASSES, "a word", _of("classes", "name")),
    Case(_CLASSES, "two letters", lambda random, known: {"q": random.choice(known.classes)["name"][:2]}),
    Case(_CLASSES, "identifier", _of("classes", "class_id")),
    Case(_CLASSES, "school", _SCHOOL),
    Case(_CLASSES, "school, a word", _both(_SCHOOL, _of("classes", "name"))),
    Case(_ORGANIZATIONS, "all", _only()),
    Case(_ORGANIZATIONS, "a word", _of("organizations", "name")),
    Case(_ORGANIZATIONS, "identifier", _of("organizations", "organization_id")),
    Case(f"{_USERS}/{{key}}", "student", _of("students", "user_key", "key")),
    Case(f"{_USERS}/{{key}}", "student, as of a day", _both(_of("students", "user_key", "key"), _a_day)),
    Case(f"{_USERS}/{{key}}", "student of another identifier", _of("earlier", "entity_key", "key")),
    Case(f"{_USERS}/{{key}}", "teacher", _of("teachers", "user_key", "key")),
    Case(f"{_CLASSES}/{{key}}", "class", _of("classes", "class_key", "key")),
    Case(f"{_CLASSES}/{{key}}", "class, as of a day", _both(_of("classes", "class_key", "key"), _a_day)),
    Case(f"{_ORGANIZATIONS}/{{key}}", "school", _of("organizations", "organization_key", "key")),
    Case(f"{_ORGANIZATIONS}/{{key}}", "school, a later page",
         _both(_of("organizations", "organization_key", "key"), _page(10))),
    Case(f"{_ORGANIZATIONS}/{{key}}", "school, as of a day",
         _both(_of("organizations", "organization_key", "key"), _a_day)),
    Case(_RUNS, "newest", _only()),
    Case(_RUNS, "a later page", _page(6)),
    Case(_RUNS, "filtered", _only(outcome="in_sync", **{"from": "2026-01-01", "to": "2026-11-30"})),
    Case(_QUALITY, "findings by night, code and school", _only()),
    Case(_QUALITY, "a later page of schools", _page(40)),
    Case(f"{_QUALITY}/schools/{{key}}", "a school", _of("organizations", "organization_key", "key")),
    Case(f"{_QUALITY}/schools/{{key}}/mail", "a school, to be mailed", _of("organizations", "organization_key", "key")),
    Case(f"{_DISTRICT}/waiting", "rows that wait", _only()),
    Case(f"{_DISTRICT}/doctor", "all checks", _only()),
    Case(f"{_DISTRICT}/doctor/{{check}}", "one check", lambda random, known: {"check": random.choice(list(BY_CHECK))}),
    Case(f"{_USERS}/{{key}}/merge", "two people beside each other",
         _both(_of("students", "user_key", "key"), _of("students", "user_key", "other_key"))),
    Case(f"{_RUNS}.csv", "all, as CSV", _only()),
    *(Case(_RUN, f"plan of 900,000 changes that waits{what}", _both(ask, run_id=WAITS)) for what, ask in _PLAN),
    Case(_RUN, "undo that waits", _only(run_id=UNDOES)),
    Case(_RUN, "a changed night", _only(run_id=NIGHTS[1])),
    Case(_RUN, "a night with findings, by file and code",
         _only(run_id=NIGHTS[2], file="students.csv", code="VAL-EMAIL")),
    Case(_RUN, "why did that line not load", lambda random, known: {
        "run_id": NIGHTS[2], "file": "students.csv", "line": random.randint(2, 1_000_000)}),
    Case(_RUN, "the first load", _only(run_id=NIGHTS[0])),
    Case(_RUN, "a run whose files are gone", _only(run_id="earlier-1")),
)  # fmt: skip
