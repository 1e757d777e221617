"""Single records against their suites: the same answers as Great Expectations gives of whole tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import quicker
from canonical_rows import Row, district_for, manifest_for, person, run_for, write_canonical
from enrollsync.run.engine import connect
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.validate import asked, collect, frames, suites
from enrollsync.validate.alone import Fault, find_faults, looks_at_one_row, suite_of
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES, KINDS, USERS, Entity


def run_of(source: str, primary: str, **settings: Any) -> Run:
    return run_for(manifest_for(source), district_for(primary, **settings))


RUNS = {
    "batch_upload": run_of("batch_upload", "batch_upload"),
    "clever": run_of("clever", "clever", identifiers={"ssn": "critical"}),
    "staff beside Clever": run_of("batch_upload", "clever"),
}
HOSTILE = (
    "", " ", "\n", "\x00", "abc\n", "\nabc", "a\r", "é", "e\u0301", "Ⅷ", "²", "٣", "ſ", "ß", "日本", "\u2028", "\ufeff",
    "\U0001f600", "A" * 64, "a.b/c-d_e@f", "remove", "Remove", "remove\n", "REMOVE-CLASS", "active", "inactive",
    "123456789", "123456789\n", "123-45-6789", "000456789", "666456789", "12345", "1234567",
    "01234567-89ab-cdef-0123-456789abcdef", "2015-03-09", "2015-02-29", "2016-02-29", "2015-03-09\n", " 2015-03-09",
    "0000-01-01", "0001-01-01", "1899-12-31", "1900-01-01", "2026-11-01", "2026-11-02", "9999-12-31", "10000-01-01",
    "２０１５-03-09", "2015-3-9", "20150309", "a@b.c", "a@b..c", "a@b.c\n", "a@b", "@", "a b@c.d", "a@b@c.d", "é@é.é",
    "5", "05", "Kindergarten", "student", "teacher", "staff", "Student", "true", "false", "True", "users", "user",
)  # fmt: skip
VALUES = st.none() | st.sampled_from(HOSTILE) | st.text(max_size=6)
FILES = st.sampled_from(["users.csv", "enrollments.csv", "sections.csv"])


def records_of(entity: Entity) -> st.SearchStrategy[list[Row]]:
    columns = {name: VALUES for name in ("action", "blanks", *entity.columns)}
    columns["action"] |= st.just("remove")
    return st.lists(st.fixed_dictionaries({"file": FILES, **columns}), min_size=1, max_size=25)


def by_great_expectations(entity: Entity, rows: list[Row], run: str) -> set[tuple[int, int]]:
    """Number of the row and of the check that it fails, of those checks that look at one row alone."""
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder)).create()
        write_canonical(workspace, {entity.name: rows})
        fitted, words = suites.fitted_suite(entity.name, RUNS[run]), asked.parameters(RUNS[run])
        with connect(workspace.root) as connection:
            frame = frames.frame(connection, workspace, entity.name, suites.columns(fitted), words)
            checked = quicker.run_suite(fitted, frame, words)
            asking = asked.asked_of(entity.name, RUNS[run])
            checked = collect.without_removals(connection, workspace, entity, asking, checked)
    alone = [number for number, check in enumerate(fitted.expectation_configurations) if looks_alone(check, entity)]
    return {
        (int(row_id) // 10 - 1, alone.index(answer.number))
        for answer in checked.failed
        if answer.number in alone
        for row_id in answer.row_ids
    }


def looks_alone(check: Any, entity: Entity) -> bool:
    return looks_at_one_row({"type": check.type, "kwargs": check.kwargs}, entity)


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("entity", BY_NAME.values(), ids=BY_NAME)
@settings(max_examples=4, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_record_alone_gets_the_answers_that_great_expectations_gives(
    run: str, entity: Entity, data: st.DataObject
) -> None:
    rows = data.draw(records_of(entity))
    if entity.name == "users":
        rows = [{**row, "kind": KINDS.get(row["role"])} for row in rows]
    suite = suite_of(entity, RUNS[run])
    places = {id(check.fault): number for number, check in enumerate(suite.checks)}
    found = {(number, places[id(fault)]) for number, row in enumerate(rows) for fault in find_faults(row, suite)}
    assert found == by_great_expectations(entity, rows, run)


def test_only_what_compares_rows_or_looks_into_the_delivery_is_not_asked_of_one_record() -> None:
    left_out = {
        (check["type"], check["kwargs"].get("column"))
        for entity in (*ENTITIES, ID_CHANGES)
        for check in asked.read_suite(entity.name)
        if not looks_at_one_row(check, entity)
    }
    assert left_out == {
        ("expect_column_values_to_differ_beyond_case", "organization_id"),
        ("expect_column_values_to_differ_beyond_case", "user_id"),
        ("expect_column_values_to_differ_beyond_case", "class_id"),
        ("expect_column_values_to_belong_to_one_key", None),
        ("expect_key_to_agree_on_columns", None),
        ("expect_column_values_to_be_between", "students"),
        ("expect_column_values_to_be_null", "unfound"),
        *(("expect_column_values_to_be_in_set", f"{link}_known") for link in ("organization", "class", "user")),
    }


def test_of_a_record_that_is_to_be_removed_only_whom_it_names_counts() -> None:
    suite = suite_of(USERS, RUNS["batch_upload"])
    faults = find_faults(person(user_id="12-3", given_name=None, role="Pupil", action="remove"), suite)
    assert [fault.code for fault in faults] == ["ID-CHARSET"]


def test_a_fault_says_code_column_severity_and_what_a_person_reads() -> None:
    suite = suite_of(USERS, RUNS["batch_upload"])
    assert find_faults(person(user_id="12-3", given_name=None), suite) == [
        Fault("ID-CHARSET", "user_id", "critical", "Only letters A to Z and digits are allowed in an identifier."),
        Fault("VAL-MISSING", "given_name", "critical", "The given name is missing."),
    ]


def test_the_severity_is_that_of_the_districts_settings() -> None:
    for ssn, found in (("critical", ["critical"]), ("warning", ["warning"]), ("off", [])):
        suite = suite_of(USERS, run_of("batch_upload", "batch_upload", identifiers={"ssn": ssn}))
        assert [fault.severity for fault in find_faults(person(user_id="123456789"), suite)] == found


def test_a_record_is_checked_without_great_expectations_and_pandas() -> None:
    script = """
import sys
from canonical_rows import manifest_for, person, run_for
from enrollsync.validate.alone import Fault, suite_of, find_faults
from enrollsync.words.canonical import USERS
suite = suite_of(USERS, run_for(manifest_for("batch_upload")))
print(len(find_faults(person(user_id="!"), suite)), *sorted({"great_expectations", "pandas"} & {*sys.modules}))
"""
    tests = str(Path(__file__).parents[1])
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r}){script}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.split() == ["1"]
