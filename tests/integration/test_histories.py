"""Whole histories of a district, by a model beside the real thing: edits, new identifiers, swaps, damage, absences.

The model knows each person by a name that never changes; the roster has to find out who is who.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nightly import Nightly, Query, assert_counted_whole, clever, pupil, section

pytestmark = pytest.mark.slow

PEOPLE = 5
FEW = settings(
    max_examples=3, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
"""Every example is several whole nights."""


@dataclass(frozen=True)
class Person:
    """A student as the roster should have them."""

    number: int
    identifier: str
    grade: str = "5"
    section: str = "X1"
    status: str = "active"


@dataclass
class Model:
    """The district as the roster should be, and the delivery that says so."""

    people: list[Person] = field(default_factory=lambda: [Person(n, f"p-{n}") for n in range(PEOPLE)])
    left: set[tuple[str, str]] = field(default_factory=set)
    """Former enrollments: number and section."""
    fresh: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    def night(self, edits: list[tuple[str, int]]) -> dict[str, Any]:
        """Apply one edit a person; returns the files of the delivery."""
        damaged: set[int] = set()
        moved: dict[str, str] = {}
        for kind, place in edits:
            person = self.people[place]
            if kind == "damage":
                if person.status == "active":
                    damaged.add(place)
            elif kind in SWAPS:
                self._swap(place, (place + 1) % PEOPLE, moved, {p for _, p in edits if _ not in SWAPS})
            else:
                self.people[place] = self._edited(person, kind)
        return self._files(damaged, moved if "swap told" in {kind for kind, _ in edits} else {})

    def _edited(self, person: Person, kind: str) -> Person:
        if kind == "absent":
            # A file without any rows waits for a person.
            some_stay = sum(one.status == "active" for one in self.people) > 2
            return replace(person, status="inactive") if some_stay else person
        if person.status == "inactive":
            return replace(person, status="active") if kind == "return" else person
        if kind == "grade":
            return replace(person, grade=str(int(person.grade) % 12 + 1))
        if kind == "section":
            self.left.add((str(person.number), person.section))
            return replace(person, section="X2" if person.section == "X1" else "X1")
        return replace(person, identifier=f"p-{next(self.fresh)}") if kind == "identifier" else person

    def _swap(self, one: int, two: int, moved: dict[str, str], taken: set[int]) -> None:
        first, second = self.people[one], self.people[two]
        busy = {first.identifier, second.identifier} & set(moved)
        if busy or {one, two} & taken or "inactive" in {first.status, second.status}:
            return
        moved |= {first.identifier: second.identifier, second.identifier: first.identifier}
        self.people[one] = replace(first, identifier=second.identifier)
        self.people[two] = replace(second, identifier=first.identifier)

    def _files(self, damaged: set[int], told: dict[str, str]) -> dict[str, Any]:
        here = [person for person in self.people if person.status == "active"]
        rows = [
            pupil(person.number, Student_id=person.identifier + "#" * (person.number in damaged), Grade=person.grade)
            for person in here
        ]
        pairs = [(person.section, row["Student_id"]) for person, row in zip(here, rows, strict=True)]
        files = clever(rows, sections=[section("X1"), section("X2")], enrollments=pairs)
        if told:
            lines = "".join(f"user,{old},{new}\n" for old, new in told.items())
            files["id_changes.csv"] = f"entity,old_id,new_id\n{lines}"
        return files

    def users(self) -> list[tuple[str, str, str, str]]:
        """Identifier, given name, grade and status of each student."""
        return sorted((p.identifier, f"Given{p.number}", p.grade, p.status) for p in self.people)

    def attending(self) -> list[tuple[str, str]]:
        """Identifier and section of each enrollment that is active."""
        return sorted((p.identifier, p.section) for p in self.people if p.status == "active")


SWAPS = ("swap", "swap told")
"""By the rows alone, or in an id_changes.csv as well."""
KINDS = ["grade", "identifier", "section", "absent", "return", *SWAPS, "damage"]
nights = st.lists(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, PEOPLE - 1)), max_size=3, unique_by=lambda edit: edit[1]),
    min_size=2,
    max_size=4,
)


_databases = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """`new_database(folder)`: the URL of an empty database for one example."""
    if request.param == "sqlite":
        return lambda folder: f"sqlite:///{folder}/roster.db"
    server = request.getfixturevalue("postgres_server")

    def create(folder: str) -> str:
        name = f"history_{next(_databases)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return str(server.replace("/postgres?", f"/{name}?"))

    return create


@contextmanager
def district(query: Query, new_database: Callable[[str], str]) -> Iterator[Nightly]:
    """A district of its own for one example; no change in it is so great that it waits for a person."""
    with tempfile.TemporaryDirectory() as folder:
        nightly = Nightly(Path(folder), new_database(folder), query)
        nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
        yield nightly


def keys(nightly: Nightly) -> dict[str, int]:
    """Whose internal key is whose."""
    return dict(nightly.view("users", "given_name, user_key", "role = 'student'"))


def assert_as_modelled(nightly: Nightly, model: Model) -> None:
    assert nightly.view("users", "user_id, given_name, grade, status", "role = 'student'") == model.users()
    attending = nightly.view("enrollments", "user_id, class_id", "role = 'student' AND status = 'active'")
    assert attending == model.attending()


def rows_of(files: dict[str, Any]) -> dict[str, int]:
    """Entity -> rows of the delivered files; a section's teacher is an enrollment, id_changes.csv has no records."""
    lines = {name: len(text.splitlines()) - 1 for name, text in files.items()}
    people = lines["students.csv"] + lines["teachers.csv"]
    return {
        "organizations": lines["schools.csv"], "users": people, "memberships": people,
        "classes": lines["sections.csv"], "enrollments": lines["enrollments.csv"] + lines["sections.csv"],
    }  # fmt: skip


def shuffled(files: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """The same files with their lines in another order."""
    mixed = {}
    for name, text in files.items():
        header, *lines = text.splitlines()
        mixed[name] = "\n".join([header, *data.draw(st.permutations(lines)), ""])
    return mixed


@FEW
@given(history=nights, data=st.data())
def test_a_history_ends_as_the_model_says_in_any_row_order_and_every_night_can_be_undone(
    query: Query, new_database: Callable[[str], str], history: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    model = Model()
    with district(query, new_database) as nightly:
        nightly.run(model.night([]))
        known = keys(nightly)
        for edits in history:
            before = nightly.everything()
            files = model.night(edits)
            result = nightly.run(shuffled(files, data))
            assert result["outcome"] in {"applied", "in_sync"}
            assert_counted_whole(nightly, result, rows_of(files))
            assert_as_modelled(nightly, model)
            assert keys(nightly) == known
            if result["outcome"] == "applied":
                after = nightly.everything()
                assert nightly.undo(result["run_id"])["outcome"] == "undone"
                assert nightly.everything() == before
                assert nightly.run(files)["outcome"] == "applied"
                assert nightly.everything() == after
            again = nightly.run(files)
            assert again["outcome"] == "in_sync"
            assert_counted_whole(nightly, again, rows_of(files))
