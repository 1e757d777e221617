"""The suites with less of Great Expectations, or without it, for tests that run many small nights."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
from great_expectations.core import ExpectationSuite
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from enrollsync.validate import alone, checking
from enrollsync.validate.suites import looked_at

_answers: dict[str, checking.Checked] = {}
"""What was asked of which rows -> what came of it: the checks of many tests share most of their tables."""
_described: dict[int, tuple[Expectation, ExpectationConfiguration]] = {}
_describe = Expectation.configuration.fget
_run_suite = checking.run_suite

# What was imported for this stays to the end, so that Python need not look for garbage in it.
gc.freeze()


def run_suite(
    context: EphemeralDataContext, suite: ExpectationSuite, frame: pd.DataFrame, parameters: dict[str, Any]
) -> checking.Checked:
    """`checking.run_suite`, which depends on nothing but the suite, the rows and the parameters; asked once for each.

    While it runs, each check's configuration is made once and not a hundred times.
    """
    question = _question(suite, frame, parameters)
    if question not in _answers:
        _described.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Expectation, "configuration", property(_described_once))
            _answers[question] = _run_suite(context, suite, frame, parameters)
    return _answers[question]


def _question(suite: ExpectationSuite, frame: pd.DataFrame, parameters: dict[str, Any]) -> str:
    # What `_questions` notes in them does not matter.
    checks = [
        (check.type, check.kwargs | {"batch_id": None}, (check.meta or {}) | {"number": None})
        for check in suite.expectation_configurations
    ]
    columns = [(name, str(column.dtype), column.to_list()) for name, column in frame.items()]
    return repr((suite.name, checks, parameters, frame.index.to_list(), columns))


def _described_once(check: Expectation) -> ExpectationConfiguration:
    if id(check) not in _described:
        _described[id(check)] = check, _describe(check)
    return _described[id(check)][1]


@dataclass(frozen=True)
class Counted:
    """What `checks.json` takes of a check's result."""

    result: dict[str, int]


def plainly(_: object, suite: ExpectationSuite, frame: pd.DataFrame, words: dict[str, Any]) -> checking.Checked:
    """What `checking.run_suite` answers, without Great Expectations and pandas: a twentieth of the time they need."""
    counted, answers = [], []
    columns = {name: [None if value is pd.NA else value for value in column] for name, column in frame.items()}
    for number, check in enumerate(suite.expectation_configurations):
        looked = [columns[name] for name in looked_at(check)]
        failing = _failing(check.type, looked, looked_at(check), alone.filled(check.kwargs, words))
        missing = looked[0].count(None) if check.type in _OF_VALUES else 0
        counted.append(
            Counted({"element_count": len(frame), "missing_count": missing, "unexpected_count": len(failing)})
        )
        if failing:
            answers.append(checking.Answer(number, frame.index[failing].to_numpy()))
    return checking.Checked(counted, answers)  # type: ignore[arg-type]


def _failing(kind: str, looked: list[list[Any]], names: list[str], asked: dict[str, Any]) -> list[int]:
    """The places of the rows that fail a check."""
    if kind in _COMPARED:
        folded = asked.get("ignore_case") or ()
        return _COMPARED[kind](
            *([value.lower() if value and name in folded else value for value in column]
              for name, column in zip(names, looked, strict=True))
        )  # fmt: skip
    fails = {value: _fails(kind, asked, value) for value in set(looked[0])}
    return [place for place, value in enumerate(looked[0]) if fails[value]]


def _fails(kind: str, asked: dict[str, Any], value: Any) -> bool:
    if kind == "expect_column_values_to_be_between":
        return value is not None and bool(value > asked["max_value"])
    return alone.fails(kind, asked, value)


def _disagreeing(keys: list[Any], *columns: list[Any]) -> list[int]:
    """As `expectations.disagreeing`."""
    torn = {key for column in columns for key in _with_several(keys, column)}
    return [place for place, key in enumerate(keys) if key in torn]


def _standing_for_several(keys: list[Any], *columns: list[Any]) -> list[int]:
    """As `expectations.standing_for_several`."""
    values = [None if None in value else value for value in zip(*columns, strict=True)]
    several = _with_several(values, keys)
    return [
        place
        for place, (key, value) in enumerate(zip(keys, values, strict=True))
        if key is not None and value in several
    ]


def _alike_but_for_case(column: list[Any]) -> list[int]:
    """As `expectations.alike_but_for_case`."""
    folded = [value and value.lower() for value in column]
    several = _with_several(folded, column)
    return [place for place, value in enumerate(folded) if value in several]


def _with_several(keys: list[Any], values: list[Any]) -> set[Any]:
    """The keys that stand with two values."""
    found: dict[Any, set[Any]] = {}
    for key, value in zip(keys, values, strict=True):
        if key is not None and value is not None:
            found.setdefault(key, set()).add(value)
    return {key for key, values in found.items() if len(values) > 1}


_COMPARED: dict[str, Callable[..., list[int]]] = {
    "expect_column_values_to_differ_beyond_case": _alike_but_for_case,
    "expect_key_to_agree_on_columns": _disagreeing,
    "expect_column_values_to_belong_to_one_key": _standing_for_several,
}
_OF_VALUES = {
    "expect_column_values_to_be_between", "expect_column_values_to_differ_beyond_case",
    "expect_column_values_to_be_in_set", "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_match_regex", "expect_column_values_to_not_match_regex",
    "expect_column_values_to_be_dates",
}  # fmt: skip
"""Checks that leave out the rows without a value."""


def by_both(*asked: Any) -> checking.Checked:
    """What Great Expectations answers, which must be what the checks answer without it."""
    checked, plain = run_suite(*asked), plainly(*asked)
    found, expected = (
        {(answer.number, row) for answer in one.failed for row in answer.row_ids.tolist()} for one in (checked, plain)
    )
    assert found == expected, f"{asked[1].name}: Great Expectations differs"
    assert _counts(checked) == _counts(plain), f"{asked[1].name}: Great Expectations counts otherwise"
    return checked


def _counts(checked: checking.Checked) -> list[tuple[int, int]]:
    """Of each check, how many rows it looked at, and how many failed."""
    results = (one.result for one in checked.results)
    return [
        (result["element_count"] - (result.get("missing_count") or 0), result["unexpected_count"]) for result in results
    ]
