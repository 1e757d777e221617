"""A format that nobody has, declared here alone: what the words of a declaration can say, from delivery to roster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enrollsync.formats import FORMATS, Cell, FileSpec, Format, Lookup, Mapping, Source, When
from enrollsync.report import wording
from enrollsync.run.workspace import Workspace
from nightly import Nightly, add_up, assert_counted_whole

# Three files: schools in a list of each person's, a class's course and terms in another file, `gone` for what goes.
_ASKS = Cell("state", "action")
_PERSON = {"source_key": Cell("id"), "user_id": Cell("id"), "action": _ASKS, "status": Cell("enabled", "enabled")}
_CLASS = {"source_key": Cell("id"), "class_id": Cell("id"), "organization_source_key": Cell("school")}
_TERMS = {"file": "catalog.csv", "key": "id", "is_list": True, "order": "begins"}
_MEMBERSHIP = {"user_source_key": Cell("id"), "organization_source_key": Cell("schools"), "role": Cell("role", "role")}
_PUPIL = {"class_source_key": Cell("id"), "user_source_key": Cell("pupils"), "role": Cell(constant="student")}

MADE_UP = Format(
    name="made_up_1",
    title="Made up, in three files",
    source=Source("made_up", "Made up"),
    mode="delta",
    header_case=False,
    unknown_headers=True,
    dates=("%d.%m.%Y",),
    words={
        "action": {"gone": "remove", "here": None},
        "enabled": {"no": "inactive", "yes": "active"},
        "role": {"pupil": "student", "instructor": "teacher"},
    },
    files=(
        FileSpec("people.csv", "users", required=("id", "role"), known=("id", "state", "enabled", "role", "given",
                 "family", "born", "ids", "schools")),
        FileSpec("groups.csv", "classes", required=("id",), known=("id", "state", "school", "name", "course", "terms",
                 "pupils", "left")),
        FileSpec("catalog.csv", "organizations", required=("id", "kind"), known=("id", "kind", "title", "begins")),
    ),
    mappings=(
        Mapping("organizations", "catalog.csv", when=(When("kind", ("school",)),), cells={
            "source_key": Cell("id"), "organization_id": Cell("id"), "name": Cell("title")}),
        Mapping("users", "people.csv", cells=_PERSON | {
            "role": Cell("role", "role"), "given_name": Cell("given"), "family_name": Cell("family"),
            "birth_date": Cell("born", "date"), "user_state_id": Cell("ids", pattern=r"\{State:([^}]*)\}")}),
        Mapping("memberships", "people.csv", each="schools", cells=_MEMBERSHIP),
        Mapping("classes", "groups.csv", cells=_CLASS | {
            "action": _ASKS, "name": Cell("name"),
            "course_name": Cell("course", lookup=Lookup("catalog.csv", "id", "title")),
            "term": Cell("terms", lookup=Lookup(column="title", take="all", **_TERMS)),
            "term_start": Cell("terms", "date", lookup=Lookup(column="begins", **_TERMS))}),
        Mapping("enrollments", "groups.csv", each="pupils", when=(When("pupils"),), cells=_PUPIL),
        Mapping("enrollments", "groups.csv", each="left", when=(When("left"),), cells=_PUPIL | {
            "user_source_key": Cell("left"), "action": Cell(constant="remove")}),
    ),
)  # fmt: skip

CATALOG = [
    {"id": "S1", "kind": "school", "title": "North", "begins": ""},
    {"id": "S2", "kind": "school", "title": "South", "begins": ""},
    {"id": "ALG", "kind": "course", "title": "Algebra", "begins": ""},
    {"id": "fall", "kind": "term", "title": "Fall", "begins": "01.09.2026"},
    {"id": "spring", "kind": "term", "title": "Spring", "begins": "01.02.2027"},
]


def person(name: str, **values: str) -> dict[str, str]:
    return {
        "id": name, "state": "here", "enabled": "yes", "role": "Pupil", "given": f"Given {name}",
        "family": f"Family {name}", "born": "09.03.2015", "ids": f"{{SIS:7}},{{State:{name}9}}", "schools": "S1",
        **values,
    }  # fmt: skip


def group(name: str, **values: str) -> dict[str, str]:
    return {
        "id": name, "state": "", "school": "S1", "name": f"Group {name}", "course": "ALG", "terms": "spring,fall",
        "pupils": "p1, p2,p3", "left": "", **values,
    }  # fmt: skip


PEOPLE = [person("p1", schools="S1,S2"), person("p2"), person("p3"), person("t1", role="instructor")]


@pytest.fixture
def on_sqlite(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> Nightly:
    """A district whose source is the made-up one, which is registered by its name alone."""
    monkeypatch.setitem(FORMATS, MADE_UP.name, MADE_UP)
    nightly.settings["primary_source"] = "made_up"
    return nightly


def delivery(people: list[dict[str, str]], groups: list[dict[str, str]], catalog: Any = CATALOG) -> dict[str, Any]:
    return {"people.csv": people, "groups.csv": groups, "catalog.csv": catalog}


def test_a_made_up_format_is_delivered_changed_and_removed(on_sqlite: Nightly) -> None:
    result = on_sqlite.run(delivery(PEOPLE, [group("C1"), group("C2", terms="fall,winter", pupils="p1")]))
    assert result["outcome"] == "applied"
    add_up(result, organizations=2, users=4, memberships=5, classes=2, enrollments=4)
    assert on_sqlite.findings() == [("REF-UNKNOWN", "groups.csv", 3)]
    assert on_sqlite.view("users", "user_id, user_state_id, role, birth_date", "user_id IN ('p1', 't1')") == [
        ("p1", "p19", "student", "2015-03-09"), ("t1", "t19", "teacher", "2015-03-09"),
    ]  # fmt: skip
    assert on_sqlite.view("memberships", "organization_id, is_primary", "user_id = 'p1'") == [("S1", 1), ("S2", 0)]
    assert on_sqlite.view("classes", "class_id, course_name, term") == [
        ("C1", "Algebra", "Fall; Spring"), ("C2", "Algebra", None),
    ]  # fmt: skip

    changed = [person("p1", schools="S1,S2", state="GONE", given=""), person("p2", enabled="no"), person("p3")]
    result = on_sqlite.run(delivery(changed, [group("C1", pupils="p2", left="p3"), group("C2", state="gone")]))
    assert result["outcome"] == "applied"
    assert {entity: counted["deactivate"] for entity, counted in result["counts"].items()} == {
        "organizations": 0, "users": 2, "memberships": 3, "classes": 1, "enrollments": 4,
    }  # fmt: skip
    active = {name: on_sqlite.view(name, "*", "status = 'active'") for name in ("users", "memberships", "enrollments")}
    assert {name: len(rows) for name, rows in active.items()} == {"users": 2, "memberships": 2, "enrollments": 0}
    assert on_sqlite.view("changes", "entity_id, reason", "operation = 'deactivate' AND entity = 'users'") == [
        ("p1", "the batch removes the user"), ("p2", "the batch says so"),
    ]  # fmt: skip
    assert on_sqlite.again()["outcome"] == "in_sync"


def test_a_link_that_is_removed_on_one_row_and_brought_on_another_stays(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery(PEOPLE, [group("C1")]))
    result = on_sqlite.run(delivery(PEOPLE, [group("C1", left="p1")]))
    assert result["outcome"] == "in_sync"
    add_up(result, enrollments=3)
    result = on_sqlite.run(delivery(PEOPLE, [group("C1", pupils="p1,p2", left="p1,p3,p9")]))
    assert (result["outcome"], result["counts"]["enrollments"]["deactivate"]) == ("applied", 1)
    assert on_sqlite.view("enrollments", "user_id", "status = 'active'") == [("p1",), ("p2",)]
    assert on_sqlite.findings() == [("REF-UNKNOWN", "groups.csv", 2)]


def test_a_run_that_only_adds_removes_nothing_and_calls_nobody_inactive(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery(PEOPLE, [group("C1")]))
    before = on_sqlite.everything()
    asked = [person("p1", schools="S1,S2", state="gone"), person("p2", enabled="no")]
    files = delivery(asked, [group("C1", pupils="", left="p3")])
    assert on_sqlite.run(files, adds_only=True)["outcome"] == "in_sync"
    assert on_sqlite.everything() == before


def test_who_comes_back_is_active_again_and_has_a_primary_school_as_after_an_undo(on_sqlite: Nightly) -> None:
    on_sqlite.begin(delivery(PEOPLE, [group("C1")]))
    before = on_sqlite.everything()
    gone = delivery([person("p1", schools="S1,S2", enabled="no"), person("p2", state="gone")], [group("C1")])
    on_sqlite.undo(on_sqlite.run(gone)["run_id"])
    assert on_sqlite.everything() == before
    on_sqlite.run(gone)
    assert on_sqlite.view("memberships", "user_id, is_primary, status", "user_id IN ('p1', 'p2')") == [
        ("p1", 0, "inactive"), ("p1", 0, "inactive"), ("p2", 0, "inactive"),
    ]  # fmt: skip
    assert on_sqlite.view("enrollments", "user_id", "status = 'active'") == [("p3",)]
    assert on_sqlite.run(delivery(PEOPLE, [group("C1")]))["outcome"] == "applied"
    assert on_sqlite.everything() == before


def test_a_row_that_says_inactive_counts_as_unchanged_on_the_nights_after_with_a_short_cut_and_without(
    on_sqlite: Nightly,
) -> None:
    on_sqlite.begin(delivery(PEOPLE, [group("C1"), group("C2")]))
    asked = [person("p1", schools="S1,S2"), person("p2", enabled="no"), person("p3"), person("t1", role="instructor")]
    changed = on_sqlite.run(delivery(asked, [group("C1"), group("C2", state="gone")]))
    assert {name: numbers["deactivate"] for name, numbers in changed["counts"].items()} == {
        "organizations": 0, "users": 1, "memberships": 1, "classes": 1, "enrollments": 4,
    }  # fmt: skip
    again = on_sqlite.run(force=False)
    assert again["counts"]["users"]["unchanged"] == 4
    assert again["counts"] == on_sqlite.run()["counts"]


def test_an_unknown_action_rejects_its_line_and_names_the_formats_own_word(on_sqlite: Nightly) -> None:
    on_sqlite.run(delivery([*PEOPLE, person("p4", state="left")], [group("C1")]))
    assert on_sqlite.findings() == [("VAL-ACTION", "people.csv", 6)]
    assert "write gone" in (on_sqlite.folder / on_sqlite.workspace / "findings.csv").read_text()


def test_where_a_file_is_the_whole_truth_what_it_lacks_goes_with_its_links_and_elsewhere_stays(
    on_sqlite: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`people.csv` is the whole, `groups.csv` a delta."""
    people, *others = MADE_UP.files
    monkeypatch.setitem(FORMATS, MADE_UP.name, replace(MADE_UP, files=(replace(people, mode="snapshot"), *others)))
    on_sqlite.settings["thresholds"] = {"floor": 100}
    on_sqlite.begin(delivery(PEOPLE, [group("C1"), group("C2")]))
    result = on_sqlite.run(delivery([one for one in PEOPLE if one["id"] != "p2"], [group("C1", pupils="p1,p3")]))
    assert result["outcome"] == "applied"
    assert on_sqlite.view("users", "user_id", "status = 'inactive'") == [("p2",)]
    assert on_sqlite.view("classes", "class_id", "status = 'active'") == [("C1",), ("C2",)]
    assert on_sqlite.view("enrollments", "class_id, user_id", "status = 'inactive'") == [("C1", "p2"), ("C2", "p2")]
    assert "delta for" in wording.told_mode(Workspace(Path(on_sqlite.workspace)).read())


# ---- roles named one by one ------------------------------------------------------------------------------------------


@pytest.fixture
def one_by_one(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> Nightly:
    """The made-up source with a file of single roles in place of the people's own."""
    roles_file = FileSpec("roles.csv", "memberships", required=("id",), known=("id", "state", "school", "role"))
    single = Mapping("memberships", "roles.csv", names_one_role=True, cells={
        "user_source_key": Cell("id"), "organization_source_key": Cell("school"), "role": Cell("role", "role"),
        "action": Cell("state", "action"),
    })  # fmt: skip
    others = tuple(mapping for mapping in MADE_UP.mappings if mapping.entity != "memberships")
    declared = replace(MADE_UP, files=(*MADE_UP.files, roles_file), mappings=(*others, single))
    monkeypatch.setitem(FORMATS, MADE_UP.name, declared)
    nightly.settings["primary_source"] = "made_up"
    return nightly


def named(*said: str, person_is: str = "instructor") -> dict[str, Any]:
    """A delivery in which `t1` has roles: `aide`, or `gone aide` where that goes."""
    words = {"aide": "staff", "teacher": "instructor"}
    rows = [
        {"id": "t1", "state": " ".join(rest), "school": "S1", "role": words[role]}
        for *rest, role in (name.split() for name in said)
    ]
    return {
        "people.csv": [person("t1", role=person_is), person("p1")], "groups.csv": [group("C1", pupils="p1")],
        "catalog.csv": CATALOG,
        "roles.csv": [{"id": "p1", "state": "", "school": "S1", "role": "pupil"}, *rows],
    }  # fmt: skip


def test_roles_that_rows_name_one_by_one_come_and_go_one_by_one(one_by_one: Nightly) -> None:
    nightly = one_by_one
    nightly.begin(named("aide", "teacher"))
    both = [("S1", "staff", False, "active"), ("S1", "teacher", True, "active")]
    assert nightly.roles("t1") == both
    assert nightly.run(named("aide"))["outcome"] == "in_sync", "a row for one role says nothing of another"
    result = nightly.run(named("gone teacher", person_is="staff"))
    assert nightly.roles("t1")[1] == ("S1", "teacher", False, "inactive")
    nightly.undo(result["run_id"])
    assert nightly.roles("t1") == both


def test_the_primary_membership_is_that_of_the_persons_role_even_where_no_row_speaks_of_it(
    one_by_one: Nightly,
) -> None:
    nightly = one_by_one
    nightly.begin(named("aide", "teacher"))
    result = nightly.run(named("teacher", person_is="staff"))
    assert nightly.roles("t1") == [("S1", "staff", True, "active"), ("S1", "teacher", False, "active")]
    people = {"organizations": 2, "users": 2, "memberships": 2, "classes": 1, "enrollments": 1}
    assert_counted_whole(nightly, result, people)
    assert nightly.run()["outcome"] == "in_sync"
