"""A sample with five per cent dirt: every planted fault is found, nothing else is, and everything else is loaded.

What must be in the views is read off the delivered lines themselves, past the package.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from enrollsync.sample import write_sample
from enrollsync.sample.layouts import LAYOUTS
from nightly import Nightly, Query

Row = dict[str, str]


@dataclass
class Dirty:
    """A night on a dirty sample."""

    nightly: Nightly
    folder: Path
    answers: dict[str, Any]
    """What was planted where."""
    result: dict[str, Any]
    found: list[tuple[str, str, int]]
    """The findings."""
    workspace: Path


@pytest.fixture(
    scope="module", params=[("batch_upload", 1), ("clever", 2), ("oneroster", 1), ("oneroster_1_1", 2)], ids=str
)
def dirty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, query: Query) -> Iterator[Dirty]:
    """A night on a dirty sample, checked by Great Expectations; it is run once, and then looked at."""
    format_name, seed = request.param
    home = tmp_path_factory.mktemp("dirty")
    source = LAYOUTS[format_name].declared.source.name
    nightly = Nightly(home, f"sqlite:///{home}/roster.db", query, {"primary_source": source})
    folder = home / "sample"
    write_sample(folder, format_name, 400, seed, 0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", str(home))
        patch.setattr("enrollsync.validate.checking.run_suite", import_module("quicker").by_both)
        result = nightly.run(source=str(folder))
        answers = json.loads((folder / "answers.json").read_text())
        yield Dirty(nightly, folder, answers, result, nightly.findings(), Path(nightly.workspace))


def lines_that_load(folder: Path, name: str, faults: list[dict[str, Any]]) -> list[Row]:
    """The records of a file without the lines that must not load; values without blanks around them."""
    lost = {fault["line"] for fault in faults if fault["file"] == name and fault["effect"] == "line"}
    text = (folder / name).read_text().split("\n")
    header = next(csv.reader([text[0]]))
    return [
        {column: value.strip() for column, value in zip(header, next(csv.reader([line])), strict=True)}
        for number, line in enumerate(text[1:], start=2)
        if line and number not in lost
    ]


def test_every_fault_is_found_on_its_line_and_nothing_else_is(dirty: Dirty) -> None:
    planted = {(fault["code"], fault["file"], fault["line"]) for fault in dirty.answers["faults"]}
    assert set(dirty.found) == planted
    assert len({fault["code"] for fault in dirty.answers["faults"]}) > 10
    assert dirty.result["outcome"] == "applied"


def test_exactly_the_lines_that_must_not_load_are_in_quarantine(dirty: Dirty) -> None:
    lost: dict[str, set[int]] = {}
    for fault in dirty.answers["faults"]:
        if fault["effect"] in {"line", "record"}:
            lost.setdefault(fault["file"], set()).add(fault["line"])
    copies = (dirty.workspace / "quarantine").glob("*-errors.csv")
    assert {path.name for path in copies} == {name.replace(".csv", "-errors.csv") for name in lost}
    for name, numbers in lost.items():
        copy = dirty.workspace / "quarantine" / name.replace(".csv", "-errors.csv")
        with copy.open(newline="") as stream:
            copied = {int(row[0].split(":")[0].removeprefix("line ")) for row in list(csv.reader(stream))[1:]}
        assert copied == numbers


def test_everything_else_is_in_the_views(dirty: Dirty) -> None:
    nightly, folder, answers = dirty.nightly, dirty.folder, dirty.answers
    loaded = lambda name: lines_that_load(folder, name, answers["faults"])  # noqa: E731
    if answers["format"] == "batch_upload":
        expected = of_batch_upload(loaded("users.csv"))
    else:
        read = of_clever if answers["format"] == "clever" else of_oneroster
        expected = read({path.name: loaded(path.name) for path in folder.glob("*.csv")})
    assert set(nightly.view("users", "user_id, given_name, family_name")) == expected["users"]
    assert set(nightly.view("enrollments", "class_id, user_id")) == expected["enrollments"]
    assert set(nightly.view("memberships", "user_id, organization_id")) == expected["memberships"]
    assert set(nightly.view("classes", "class_id")) == expected["classes"]
    assert set(nightly.view("organizations", "organization_id")) == expected["organizations"]


def of_batch_upload(rows: list[Row]) -> dict[str, set[tuple[str, ...]]]:
    return {
        "users": {(row["userId"], row["userFirstName"], row["userLastName"]) for row in rows},
        "enrollments": {(row["classId"], row["userId"]) for row in rows if row["userRole"] != "staff"},
        "memberships": {(row["userId"], row["schoolId"]) for row in rows},
        "classes": {(row["classId"],) for row in rows if row["classId"]},
        "organizations": {(row["schoolId"],) for row in rows},
    }


def of_clever(files: dict[str, list[Row]]) -> dict[str, set[tuple[str, ...]]]:
    people = [
        (row[key], row["First_name"], row["Last_name"], row["School_id"])
        for name, key in (("students.csv", "Student_id"), ("teachers.csv", "Teacher_id"), ("staff.csv", "Staff_id"))
        for row in files[name]
    ]
    schools = {row["School_id"] for row in files["schools.csv"]}
    students = {row["Student_id"] for row in files["students.csv"]}
    sections = {row["Section_id"] for row in files["sections.csv"]}
    taught = {
        (row["Section_id"], value)
        for row in files["sections.csv"]
        for name, value in row.items()
        if name.startswith("Teacher") and value
    }
    attended = {(row["Section_id"], row["Student_id"]) for row in files["enrollments.csv"]}
    return {
        "users": {(key, given, family) for key, given, family, _ in people},
        "enrollments": taught | {(one, two) for one, two in attended if one in sections and two in students},
        "memberships": {(key, school) for key, _, _, school in people if school in schools},
        "classes": {(name,) for name in sections},
        "organizations": {(name,) for name in schools},
    }


def of_oneroster(files: dict[str, list[Row]]) -> dict[str, set[tuple[str, ...]]]:
    """Before 1.2 the only role and the only school of somebody stand on their own line."""
    people = {row["sourcedId"]: (row["givenName"], row["familyName"]) for row in files["users.csv"]}
    roles = files.get("roles.csv") or [
        {"userSourcedId": row["sourcedId"], "orgSourcedId": row["orgSourcedIds"]} for row in files["users.csv"]
    ]
    schools, classes = ({row["sourcedId"] for row in files[name]} for name in ("orgs.csv", "classes.csv"))
    members = {(row["userSourcedId"], row["orgSourcedId"]) for row in roles if row["userSourcedId"] in people}
    placed = {(row["classSourcedId"], row["userSourcedId"]) for row in files["enrollments.csv"]}
    return {
        "users": {(key, *names) for key, names in people.items()},
        "enrollments": {(room, who) for room, who in placed if room in classes and who in people},
        "memberships": {(who, school) for who, school in members if school in schools},
        "classes": {(name,) for name in classes},
        "organizations": {(name,) for name in schools},
    }


def test_the_same_delivery_again_is_in_sync(dirty: Dirty) -> None:
    again = dirty.nightly.run(source=str(dirty.folder))
    assert (again["outcome"], again["findings"]) == ("in_sync", dirty.result["findings"])
