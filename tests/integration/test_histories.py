"""Whole histories of a district, by a model beside the real thing: edits, new identifiers, swaps, damage, absences.

The model knows each person by a name that never changes; the roster has to find out who is who.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from enrollsync import steps
from enrollsync.run.workspace import Edit
from nightly import Nightly, assert_counted_whole, assert_undone_and_redone, clever, other, pupil, section
from reconciling import Roster

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
    said: str = ""
    """The identifier that deliveries still say of who was edited since."""


Edits = list[tuple[str, int]]
"""What happens in a night to whom."""


@dataclass(frozen=True)
class Delivered:
    """What a night's delivery says."""

    here: list[Person]
    damaged: set[int]
    """Whose identifiers are damaged in the files, so that their rows are rejected."""
    moved: dict[str, str]
    """What `id_changes.csv` says."""

    def named(self, person: Person) -> str:
        """The identifier on a person's row."""
        return (person.said or person.identifier) + "#" * (person.number in self.damaged)

    @property
    def id_changes(self) -> str:
        """The text of that file; empty where there is none."""
        lines = "".join(f"user,{old},{new}\n" for old, new in self.moved.items())
        return f"entity,old_id,new_id\n{lines}" if lines else ""

    def files(self) -> dict[str, Any]:
        """As Clever's files."""
        rows = [pupil(one.number, Student_id=self.named(one), Grade=one.grade) for one in self.here]
        pairs = [(one.section, self.named(one)) for one in self.here]
        files = clever(rows, sections=[section("X1"), section("X2")], enrollments=pairs)
        return files | ({"id_changes.csv": self.id_changes} if self.moved else {})

    def rows(self) -> list[dict[str, str]]:
        """As rows of Batch Upload, with a teacher of both sections."""
        people = [
            other(one.number, userId=self.named(one), userGrade=one.grade, classId=one.section, className=one.section)
            for one in self.here
        ]
        teacher = {"userId": "T1", "userRole": "teacher"}
        return people + [other(9, classId=name, className=name) | teacher for name in ("X1", "X2")]


@dataclass
class Model:
    """The district as the roster should be."""

    people: list[Person] = field(default_factory=lambda: [Person(n, f"p-{n}") for n in range(PEOPLE)])
    fresh: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    def night(self, edits: Edits) -> Delivered:
        """Apply one edit a person; returns what is delivered then."""
        damaged: set[int] = set()
        moved: dict[str, str] = {}
        for kind, place in edits:
            person = self.people[place]
            if kind == "damage":
                if person.status == "active":
                    damaged.add(person.number)
            elif kind in SWAPS:
                self._swap(place, (place + 1) % PEOPLE, moved, {p for _, p in edits if _ not in SWAPS})
            else:
                self.people[place] = self._edited(person, kind)
        here = [person for person in self.people if person.status == "active"]
        return Delivered(here, damaged, moved if "swap told" in {kind for kind, _ in edits} else {})

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
            return replace(person, section="X2" if person.section == "X1" else "X1")
        if kind in ("identifier", "edit"):
            said = person.said or person.identifier if kind == "edit" else ""
            return replace(person, identifier=f"p-{next(self.fresh)}", said=said)
        return replace(person, said="") if kind == "heard" else person

    def _swap(self, one: int, two: int, moved: dict[str, str], taken: set[int]) -> None:
        first, second = self.people[one], self.people[two]
        busy = {first.identifier, second.identifier} & set(moved)
        if busy or {one, two} & taken or "inactive" in {first.status, second.status}:
            return
        moved |= {first.identifier: second.identifier, second.identifier: first.identifier}
        self.people[one] = replace(first, identifier=second.identifier)
        self.people[two] = replace(second, identifier=first.identifier)

    def users(self) -> list[tuple[str, str, str, str]]:
        """Identifier, given name, grade and status of each student."""
        return sorted((p.identifier, f"Given{p.number}", p.grade, p.status) for p in self.people)

    def attending(self) -> list[tuple[str, str]]:
        """Identifier and section of each enrollment that is active."""
        return sorted((p.identifier, p.section) for p in self.people if p.status == "active")


SWAPS = ("swap", "swap told")
"""By the rows alone, or in an id_changes.csv as well."""
KINDS = ["grade", "identifier", "section", "absent", "return", *SWAPS, "damage"]


BY_HAND = ["edit", "edit", "heard", "grade", "identifier", "section", "absent", "return"]
"""A person edits an identifier on its profile page, and later the deliveries say so too."""


def history(chance: Random, kinds: list[str] = KINDS, nights: int = 2) -> list[Edits]:
    """Edits of three people in each of some nights; the seeds below make edits of every kind."""
    return [[(chance.choice(kinds), place) for place in chance.sample(range(PEOPLE), 3)] for _ in range(nights)]


# Damage is for whole nights: a row of Batch Upload speaks of a class as well, which a line of a person does not.
NIGHTS = st.lists(
    st.lists(
        st.tuples(st.sampled_from([kind for kind in KINDS if kind != "damage"]), st.integers(0, PEOPLE - 1)),
        min_size=1, max_size=4, unique_by=lambda edit: edit[1],
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=6, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(nights=NIGHTS, chance=st.randoms(use_true_random=False))
def test_plans_night_after_night_end_as_the_model_says_in_any_row_order(nights: list[Edits], chance: Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        roster, model = Roster(Path(folder), "clever", "snapshot"), Model()
        roster.night(model.night([]).rows())
        known = known_in(roster)
        for edits in nights:
            delivered = model.night(edits)
            rows, told = delivered.rows(), delivered.id_changes
            roster.night(chance.sample(rows, len(rows)), id_changes=told)
            assert students_in(roster) == model.users()
            assert attending_in(roster) == model.attending()
            assert known_in(roster) == known
        planned = roster.plan(rows, id_changes=told)
        assert not any(planned.operations.values())


def known_in(roster: Roster) -> dict[str, int]:
    """Whose internal key is whose."""
    return {row["given_name"]: row["user_key"] for row in roster.tables["users"]}


def students_in(roster: Roster) -> list[tuple[str, str, str, str]]:
    """Identifier, given name, grade and status of each student."""
    rows = (row for row in roster.tables["users"] if row["role"] == "student")
    return sorted((row["user_id"], row["given_name"], row["grade"], row["status"]) for row in rows)


def attending_in(roster: Roster) -> list[tuple[str, str]]:
    """Identifier and section of each student's active enrollment."""
    users = {row["user_key"]: row["user_id"] for row in roster.tables["users"] if row["role"] == "student"}
    classes = {row["class_key"]: row["class_id"] for row in roster.tables["classes"]}
    return sorted((users[user], classes[name]) for name, user in roster.attending() if user in users)


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


@pytest.mark.parametrize(("database_url", "seed"), [("postgresql", 2422)], indirect=["database_url"])
def test_a_history_ends_as_the_model_says_in_any_row_order_and_every_night_can_be_undone_and_redone(
    nightly_everywhere: Nightly, seed: int
) -> None:
    nightly, model, chance = nightly_everywhere, Model(), Random(seed)
    # No change is so great that it waits for a person.
    nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
    nightly.begin(model.night([]).files())
    known = keys(nightly)
    for edits in history(chance):
        before = nightly.everything()
        files = model.night(edits).files()
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


# Who was edited is absent and comes back, gets another identifier in the file or by hand, or is heard there too.
@pytest.mark.parametrize(("database_url", "seed", "nights"), [("postgresql", 10621, 3)], indirect=["database_url"])
def test_what_persons_edit_between_nights_stays_can_be_undone_and_redone_and_leaves_nothing_to_plan(
    nightly_everywhere: Nightly, seed: int, nights: int
) -> None:
    nightly, model, chance = nightly_everywhere, Model(), Random(seed)
    source = {"path": str(nightly.folder / "delivery"), "mode": "snapshot"}
    # Identifiers of the model have a hyphen.
    nightly.settings |= {"source": source, "identifiers": {"charset": "extended"}, "thresholds": {"floor": 1000}}
    nightly.begin(model.night([]).rows())
    known = keys(nightly)
    for edits in history(chance, BY_HAND, nights):
        before = {person.number: person.identifier for person in model.people}
        delivered = model.night(edits)
        for kind, place in edits:
            person = model.people[place]
            if kind == "edit" and person.identifier != before[person.number]:
                assert_undone_and_redone(nightly, partial(edit, nightly, before[person.number], person.identifier))
        rows = chance.sample(delivered.rows(), len(delivered.rows()))
        assert_undone_and_redone(nightly, partial(nightly.run, rows))
        assert_as_modelled(nightly, model)
        assert keys(nightly) == known
    assert nightly.run(rows)["outcome"] == "in_sync"


def edit(nightly: Nightly, old: str, new: str) -> dict[str, Any]:
    """Change somebody's identifier as the profile page does."""
    ((key,),) = nightly.view("users", "user_key", f"user_id = '{old}'")
    asked = Edit(entity="users", key=key, changes={"user_id": new})
    workspace = steps.start_edit(nightly.district, asked, run_id=f"edit-{new}", as_of=datetime.now(UTC), reason="asked")
    return steps.edit(workspace, person="pat")
