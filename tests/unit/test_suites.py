"""The suites as files, and the expectations of our own: nothing dropped, nothing unknown, nothing misjudged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollsync.run.workspace import Workspace
from enrollsync.validate import expectations, frames, suites
from enrollsync.validate.asked import FOLDER, Asked, read_suite
from enrollsync.validate.expectations import alike_but_for_case, disagreeing, is_date, standing_for_several
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES
from enrollsync.words.codes import CODES
from enrollsync.words.errors import ConfigurationError

NAMES = [entity.name for entity in (*ENTITIES, ID_CHANGES)]
ELSEWHERE = {
    "ROW-MALFORMED": "ingest reports the lines, `collect.add_malformed` makes them findings",
    "ROW-BLANK": "ingest counts the lines that hold nothing but commas",
    "ROW-PASSED": "ingest counts the lines of people whom a roster does not have",
    "ROW-SKIPPED": "ingest counts the lines that the district's rule leaves out",
    "ROW-ALL-SKIPPED": "ingest counts the lines that the district's rule leaves out",
    "ROW-RULE-UNUSED": "ingest compares the district's rules with the files",
    "ROW-WAITS": "`consequences.py` and `reconcile` tell what a record is set aside for",
    "ID-LEADING-ZERO": "`reconcile.likeness` compares with the roster",
}
"""Codes of rows and values that no suite finds, and who does."""


def declared(name: str) -> list[dict[str, Any]]:
    return list(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["expectations"])


def write_suite(folder: Path, *expectations: dict[str, Any]) -> Path:
    (folder / "users.json").write_text(json.dumps({"name": "users", "expectations": expectations}))
    return folder


GOOD = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "role"}, "meta": {"code": "VAL-MISSING"}}

WORDS_OF_A_RUN = {
    "class_size": 80, "grades": ["5"], "today": "2026-11-01", "identifier_regex": "x", "link_files": (),
}  # fmt: skip


# Suites


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_loads_whole(name: str) -> None:
    assert len(suites.load_suite(name).expectations) == len(declared(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_check_says_its_code_and_what_a_person_reads(name: str) -> None:
    for check in declared(name):
        meta = check["meta"]
        assert meta["code"] in CODES and meta["notes"].endswith(".")
        assert set(meta) <= {"code", "column", "when", "severity", "once", "notes"}


@pytest.mark.parametrize("name", NAMES)
def test_every_check_looks_at_columns_that_exist(name: str) -> None:
    entity = BY_NAME[name]
    known = {
        "kind",
        "action",
        "blanks",
        "unfound",
        *entity.columns,
        *frames.derived(Workspace(Path()), entity, WORDS_OF_A_RUN),
    }
    suite = suites.load_suite(name)
    assert set(suites.columns(suite)) <= known
    asked = [Asked(check["type"], check["kwargs"], check["meta"], "") for check in read_suite(name)]
    assert {check.column for check in asked} <= {
        "kind",
        "action",
        "blanks",
        "unfound",
        *entity.columns,
    }


def test_every_code_of_rows_and_values_is_found_by_a_suite_or_known_to_come_from_elsewhere() -> None:
    by_suites = {check["meta"]["code"] for name in NAMES for check in declared(name)}
    of_rows = {code for code in CODES if code.startswith(("ROW-", "ID-", "SEC-", "REF-", "VAL-"))}
    assert by_suites | set(ELSEWHERE) == of_rows
    assert not by_suites & set(ELSEWHERE)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": "expect_column_values_to_be_nice"}, "no such expectation: expect_column_values_to_be_nice"),
        ({"meta": {"code": "VAL-NICE"}}, "meta.code 'VAL-NICE' is no known finding"),
        ({"meta": {}}, "meta.code None is no known finding"),
        ({"meta": {"code": "VAL-MISSING", "when": ["full moon"]}}, "meta.when: full moon is not known"),
        ({"kwargs": {"colum": "role"}}, "users.json"),
    ],
)
def test_a_suite_with_a_check_that_would_be_lost_stops(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    folder = write_suite(tmp_path, GOOD, {**GOOD, **change})
    with pytest.raises(ConfigurationError, match=told):
        suites.load_suite("users", folder)


def test_a_suite_that_great_expectations_shortens_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations logs and drops what it does not know; here the list of known types is made to lie."""
    known = [*suites.list_registered_expectation_implementations(), "expect_column_values_to_be_nice"]
    monkeypatch.setattr(suites, "list_registered_expectation_implementations", lambda: known)
    folder = write_suite(tmp_path, GOOD, {**GOOD, "type": "expect_column_values_to_be_nice"})
    with pytest.raises(ConfigurationError, match="users.json"):
        suites.load_suite("users", folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "users"}', ""])
def test_a_suite_that_is_no_suite_stops(tmp_path: Path, text: str) -> None:
    (tmp_path / "users.json").write_text(text)
    with pytest.raises(ConfigurationError, match="users.json"):
        suites.load_suite("users", tmp_path)


def test_a_suite_that_is_not_there_stops(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        suites.load_suite("users", tmp_path)


def test_importing_the_package_does_not_import_great_expectations() -> None:
    script = "import sys, enrollsync.validate; print('great_expectations' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


# Expectations of our own

WORDS = st.none() | st.sampled_from(["a", "A", "b", "B"])
ROWS = st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=12)


def frame_of(rows: list[tuple[str | None, ...]]) -> pd.DataFrame:
    """The rows as the suites see them; the index is not 0, 1, 2, as ids of rows are not."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    index = pd.Index([10 * number for number in range(len(rows))])
    types = pd.ArrowDtype(pa.string())
    return pd.DataFrame(
        {name: pd.array(list(column), dtype=types) for name, column in zip("kxy", columns, strict=True)}, index=index
    )


@given(ROWS)
def test_rows_disagree_when_their_key_stands_with_two_values_in_one_column(rows: list[tuple[str | None, ...]]) -> None:
    seen: dict[tuple[str, int], set[str]] = defaultdict(set)
    for key, *values in rows:
        for place, value in enumerate(values):
            if key is not None and value is not None:
                seen[key, place].add(value)
    expected = [key is not None and any(len(seen[key, place]) > 1 for place in (0, 1)) for key, *_ in rows]
    assert disagreeing(frame_of(rows)).tolist() == expected


@given(ROWS)
def test_a_value_stands_for_several_when_it_has_two_keys_ignoring_case_where_told(
    rows: list[tuple[str | None, ...]],
) -> None:
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    full = [(k, x.lower(), y) if k and x and y else None for k, x, y in rows]
    for row in full:
        if row:
            keys[row[1:]].add(row[0])
    expected = [row is not None and len(keys[row[1:]]) > 1 for row in full]
    assert standing_for_several(frame_of(rows), ["x"]).tolist() == expected


@given(st.lists(st.sampled_from(["a", "A", "b", "ab", "aB", "AB"]), max_size=10))
def test_values_are_alike_but_for_case_when_another_spelling_is_there(values: list[str]) -> None:
    column = frame_of([(value, None, None) for value in values])["k"]
    expected = [any(other != value and other.lower() == value.lower() for other in values) for value in values]
    assert alike_but_for_case(column).tolist() == expected


def test_values_with_one_hash_are_still_different_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectations, "_hashes", lambda column: np.zeros(len(column), "uint64"))
    frame = frame_of([("1", "a", None), ("2", "a", None), ("3", "b", None), ("4", None, None)])
    assert standing_for_several(frame[["k", "x"]]).tolist() == [True, True, False, False]
    assert alike_but_for_case(frame["k"]).tolist() == [False] * 4


@given(
    st.lists(
        st.dates().map(str)
        | st.text(alphabet="0123456789-", max_size=10)
        | st.sampled_from(["2015-02-30", "0000-01-01"]),
        max_size=10,
    )
)
def test_a_date_is_what_the_calendar_knows_in_iso_form(values: list[str]) -> None:
    def known(value: str) -> bool:
        try:
            return date.fromisoformat(value).isoformat() == value
        except ValueError:
            return False

    column = frame_of([(value, None, None) for value in values])["k"]
    assert is_date(column).tolist() == [known(value) for value in values]
