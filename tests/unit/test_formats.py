"""The words of a declaration, one by one, and what follows from the list of formats."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from canonical_rows import district_for, run_for
from enrollsync.arrive.recognise import recognise
from enrollsync.formats import FORMATS, Cell, FileSpec, Format, Lookup, Mapping, Source, When, sources
from enrollsync.formats.clever import CLEVER
from enrollsync.ingest.normalise import normalise
from enrollsync.plan.guard import find_holds
from enrollsync.run.workspace import RunManifest, SourceFile, Workspace
from enrollsync.words.canonical import CLASSES, ENTITIES
from enrollsync.words.errors import Refused

Rows = list[dict[str, str | None]]
TERMS = FileSpec("terms.csv", "classes", required=(), known=("id", "title", "begins", "kind"))
LISTED = Lookup("terms.csv", "id", "title", is_list=True, order="begins", take="all")
TERM_ROWS: Rows = [
    {"id": "t2", "title": "Spring", "begins": "1/9/2027", "kind": "term"},
    {"id": "t1", "title": "Fall", "begins": "9/1/2026", "kind": "term"},
    {"id": "y", "title": "Year", "begins": "9/1/2026", "kind": "year"},
]


def declared(*mappings: Mapping, **more: Any) -> Format:
    files = (FileSpec("groups.csv", "classes", required=("id",), known=("id",)), TERMS)
    return Format(
        "made_up", "Made up", Source("made_up", "Made up"), files, mappings, mode="snapshot", header_case=True,
        unknown_headers=True, **more,
    )  # fmt: skip


def classes(**cells: Cell) -> Mapping:
    return Mapping("classes", "groups.csv", {"source_key": Cell("id"), **cells})


def read(folder: Path, fitted: Format, entity: str, **files: Rows) -> Rows:
    """The canonical rows of `entity` that these files become; `groups` is `groups.csv`."""
    workspace = Workspace(folder / "run").create()
    manifest = RunManifest(run_id="r1", district="demo", as_of=datetime(2026, 11, 23, tzinfo=UTC), format=fitted.name)
    for stem, rows in files.items():
        names = {name: pa.array([row.get(name) for row in rows], pa.string()) for row in rows for name in row}
        pq.write_table(pa.table(names), workspace.source_table(f"{stem}.csv"))
        spec = fitted.file(f"{stem}.csv")
        manifest.files.append(SourceFile(name=spec.name, entity=spec.entity, header=[], rows=len(rows), malformed=0))
    with patch.dict(FORMATS, {fitted.name: fitted}):
        normalise(run_for(manifest, place=workspace))
    return sorted(pq.read_table(workspace.canonical_table(entity)).to_pylist(), key=lambda row: row["row_id"])


# ---- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [False, True])
def test_each_element_of_a_list_makes_a_row_of_its_own_and_an_empty_list_one_without(
    tmp_path: Path, repeats: bool
) -> None:
    pupils = {"class_source_key": Cell("id"), "user_source_key": Cell("pupils")}
    mapping = Mapping("enrollments", "groups.csv", pupils, each="pupils", repeats=repeats)
    lists = ["b, a,,", None, " ", "c"]
    rows = read(tmp_path, declared(mapping), "enrollments", groups=[{"id": "C1", "pupils": text} for text in lists])
    assert {(row["line"], row["user_source_key"]) for row in rows} == {
        (2, "b"), (2, "a"), (3, None), *([] if repeats else [(4, None)]), (5, "c"),
    }  # fmt: skip
    assert len({row["row_id"] for row in rows}) == len(rows) and {row["blanks"] for row in rows} == {None}


# ---- other files -----------------------------------------------------------------------------------------------------


def test_a_list_of_keys_is_looked_up_in_another_file_and_joined_in_its_order(tmp_path: Path) -> None:
    first = replace(LISTED, column="begins", take="first")
    mapping = classes(term=Cell("terms", lookup=LISTED), term_start=Cell("terms", "date", lookup=first))
    told = {"t2, t1": ("Fall; Spring", "2026-09-01"), " t2": ("Spring", "2027-01-09"), "": (None, None)}
    groups: Rows = [{"id": str(number), "terms": keys} for number, keys in enumerate(told)]
    rows = read(tmp_path, declared(mapping), "classes", groups=groups, terms=TERM_ROWS)
    assert [(row["term"], row["term_start"]) for row in rows] == list(told.values())
    assert {row["unfound"] for row in rows} == {None}


def test_a_key_that_is_in_no_other_file_is_told_and_brings_no_value(tmp_path: Path) -> None:
    groups: Rows = [{"id": "1", "terms": "t1,t9"}, {"id": "2", "terms": "T1"}]
    rows = read(
        tmp_path, declared(classes(term=Cell("terms", lookup=LISTED))), "classes", groups=groups, terms=TERM_ROWS
    )
    assert [(row["term"], row["unfound"]) for row in rows] == [("Fall", "terms"), (None, "terms")]


def test_a_lookup_takes_the_lines_that_count_alone(tmp_path: Path) -> None:
    lookup = Lookup("terms.csv", "begins", "title", when=(When("kind", ("year",)),))
    rows = read(
        tmp_path, declared(classes(term=Cell("on", lookup=lookup))), "classes",
        groups=[{"id": "1", "on": "9/1/2026"}], terms=TERM_ROWS,
    )  # fmt: skip
    assert rows[0]["term"] == "Year"


@pytest.mark.parametrize(("negate", "taken"), [(False, ["1"]), (True, ["2", "3"])])
def test_a_condition_may_ask_what_another_file_says(tmp_path: Path, negate: bool, taken: list[str]) -> None:
    spring = When("term", ("spring",), negate=negate, lookup=replace(LISTED, take="first"))
    mapping = replace(classes(), when=(spring,))
    groups: Rows = [{"id": "1", "term": "t2 "}, {"id": "2", "term": "t1"}, {"id": "3", "term": None}]
    rows = read(tmp_path, declared(mapping), "classes", groups=groups, terms=TERM_ROWS)
    assert [row["source_key"] for row in rows] == taken
    assert declared(mapping).needed(TERMS) == ("begins", "id", "title")


def test_without_the_other_file_a_lookup_finds_nothing_and_misses_nothing(tmp_path: Path) -> None:
    fitted = declared(classes(term=Cell("terms", lookup=LISTED)))
    rows = read(tmp_path, fitted, "classes", groups=[{"id": "1", "terms": "t1"}])
    assert (rows[0]["term"], rows[0]["unfound"]) == (None, None)


def test_columns_of_another_file_that_a_lookup_needs_are_kept() -> None:
    fitted = declared(classes(term=Cell("terms", lookup=replace(LISTED, when=(When("kind"),)))))
    assert fitted.needed(TERMS) == ("begins", "id", "kind", "title")


# ---- words of its own ------------------------------------------------------------------------------------------------


def test_patterns_dates_and_vocabularies_are_the_formats_own(tmp_path: Path) -> None:
    mapping = classes(
        action=Cell("state", "action"), status=Cell("open", "open"), term_start=Cell("begins", "date"),
        course_code=Cell("codes", pattern=r"\{State:([^}]*)\}"), grade=Cell("grades", "grade", pattern="^([^,]*)"),
    )  # fmt: skip
    words: dict[str, dict[str, str | None]] = {"action": {"Gone": "remove", "here": None}, "open": {"no": "inactive"}}
    groups: Rows = [
        {"state": "GONE", "open": "No", "begins": "9.3.2026", "codes": "{A:1},{State:x7}", "grades": "K,01"},
        {"state": "here", "open": "?", "begins": "31.31.2026", "codes": "{A:1}", "grades": ""},
        {"state": "lost", "open": None, "begins": "2026-03-09", "codes": None, "grades": "05"},
    ]
    fitted = declared(mapping, words=words, dates=("%d.%m.%Y",))
    rows = read(tmp_path, fitted, "classes", groups=[{"id": "1", **row} for row in groups])
    names = ("action", "status", "term_start", "course_code", "grade")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("remove", "inactive", "2026-03-09", "x7", "Kindergarten"),
        (None, "?", "31.31.2026", None, None),
        ("lost", None, "2026-03-09", None, "5"),
    ]


# ---- fitted to a district --------------------------------------------------------------------------------------------


def test_absence_means_for_an_entity_what_all_of_its_files_say_unless_the_district_says_else() -> None:
    mappings = (classes(), Mapping("classes", "terms.csv", {}), Mapping("users", "groups.csv", {}))
    files = (declared().files[0], replace(TERMS, mode="delta"))
    fitted = replace(declared(*mappings), files=files)
    both = [spec.name for spec in files]
    assert [fitted.mode_of(name, both) for name in ("users", "classes", "enrollments")] == [
        "snapshot",
        "delta",
        "delta",
    ]
    assert fitted.mode_of("classes", ["groups.csv"]) == "snapshot"
    assert fitted.fitted(mode="snapshot").mode_of("classes", both) == "snapshot"


def test_the_closest_choice_of_an_identifier_column_wins_in_any_case() -> None:
    fitted = CLEVER.fitted(identifiers={"users": "state_id", "teachers": "Teacher_number"})
    files = ("students.csv", "teachers.csv", "staff.csv")
    assert [fitted.called(file, "users", "user_id") for file in files] == ["State_id", "Teacher_number", "State_id"]
    assert not any(mapping.keyed_by_identifier for mapping in fitted.mappings if mapping.entity == "users")


def test_a_telling_file_decides_whatever_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a format that can be read, before one that cannot (`rosters.csv` tells Apple School Manager)."""
    files = {name: Path(name) for name in ("rosters.csv", "groups.csv", "terms.csv", "users.csv", "schools.csv")}
    monkeypatch.setitem(FORMATS, "made_up", declared(classes(), telling=("rosters.csv",)))
    assert recognise(files, district_for("made_up")).name == "made_up"
    with pytest.raises(Refused, match="these are Made up files, but"):
        recognise(files, district_for("clever"))


def test_a_source_may_be_named_as_soon_as_a_format_of_it_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(sources()) == ["batch_upload", "clever", "oneroster"]
    monkeypatch.setitem(FORMATS, "made_up", declared())
    assert "made_up" in sources()


# ---- files of words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("empty", "codes"), [("groups.csv", ["GUARD-EMPTY"]), ("terms.csv", [])])
def test_an_empty_file_holds_the_plan_unless_it_is_one_in_which_others_look_words_up(
    empty: str, codes: list[str]
) -> None:
    fitted = declared(classes(term=Cell("terms", lookup=LISTED)))
    manifest = RunManifest(
        run_id="r1", district="demo", as_of=datetime(2026, 11, 23, tzinfo=UTC), format="made_up", mode="snapshot",
        modes={entity.name: "delta" for entity in ENTITIES if entity is not CLASSES},
        files=[SourceFile(name=empty, entity="classes", header=[], rows=0, malformed=0)],
    )  # fmt: skip
    with duckdb.connect(":memory:") as connection, patch.dict(FORMATS, made_up=fitted):
        connection.execute("""
            SET VARIABLE source = 'made_up';
            CREATE TABLE db_classes AS SELECT 1 AS class_key, 'active' AS status, 'made_up' AS source;
            CREATE TABLE classes_departures (class_key INTEGER, reason VARCHAR)""")
        holds = find_holds(connection, run_for(manifest), [])
    assert [hold.code for hold in holds] == codes
