"""Whole histories of a district, by a model beside the real thing: edits, new identifiers, swaps, damage, absences.

The model knows each person by a name that never changes; the roster has to find out who is who.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from nightly import Nightly, assert_counted_whole, clever, pupil, section

pytestmark = pytest.mark.slow

PEOPLE = 5


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


def history(chance: Random) -> list[list[tuple[str, int]]]:
    """Edits of three people in each of three nights; the seeds below make edits of every kind."""
    return [[(chance.choice(KINDS), place) for place in chance.sample(range(PEOPLE), 3)] for _ in range(3)]


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


def shuffled(files: dict[str, Any], chance: Random) -> dict[str, Any]:
    """The same files with their lines in another order."""
    mixed = {}
    for name, text in files.items():
        header, *lines = text.splitlines()
        mixed[name] = "\n".join([header, *chance.sample(lines, len(lines)), ""])
    return mixed


@pytest.mark.parametrize(
    ("database_url", "seed"), [("sqlite", 2048), ("sqlite", 2529), ("postgresql", 2422)], indirect=["database_url"]
)
def test_a_history_ends_as_the_model_says_in_any_row_order_and_every_night_can_be_undone_and_redone(
    nightly_everywhere: Nightly, seed: int
) -> None:
    nightly, model, chance = nightly_everywhere, Model(), Random(seed)
    # No change is so great that it waits for a person.
    nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
    nightly.begin(model.night([]))
    known = keys(nightly)
    for edits in history(chance):
        before = nightly.everything()
        files = model.night(edits)
        result = nightly.run(shuffled(files, chance))
        assert result["outcome"] == "applied"
        assert_counted_whole(nightly, result, rows_of(files))
        assert_as_modelled(nightly, model)
        assert keys(nightly) == known
        after = nightly.everything()
        undone = nightly.undo(result["run_id"])
        assert undone["outcome"] == "undone" and nightly.everything() == before
        nightly.undo(undone["run_id"])
        assert nightly.everything() == after
    again = nightly.run(files)
    assert again["outcome"] == "in_sync"
    assert_counted_whole(nightly, again, rows_of(files))
