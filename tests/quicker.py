"""The suites with less of Great Expectations, or without it, for tests that run many small nights."""

from __future__ import annotations

import gc
from typing import Any

import pandas as pd
from great_expectations.core import ExpectationSuite

from enrollsync.validate import checking, few
from enrollsync.validate.collect import Checked

_answers: dict[str, Checked] = {}
"""What was asked of which rows -> what came of it: the checks of many tests share most of their tables."""
_run_suite = checking.run_suite

# What was imported for this stays to the end, so that Python need not look for garbage in it.
gc.freeze()


def run_suite(suite: ExpectationSuite, frame: pd.DataFrame, parameters: dict[str, Any]) -> Checked:
    """`checking.run_suite`, which depends on nothing but what it is given; asked once for each."""
    question = _question(suite, frame, parameters)
    if question not in _answers:
        _answers[question] = _run_suite(suite, frame, parameters)
    return _answers[question]


def _question(suite: ExpectationSuite, frame: pd.DataFrame, parameters: dict[str, Any]) -> str:
    # What `_questions` notes in them does not matter.
    checks = [
        (check.type, check.kwargs | {"batch_id": None}, (check.meta or {}) | {"number": None})
        for check in suite.expectation_configurations
    ]
    columns = [(name, str(column.dtype), column.to_list()) for name, column in frame.items()]
    return repr((suite.name, checks, parameters, frame.index.to_list(), columns))


def plainly(suite: ExpectationSuite, frame: pd.DataFrame, words: dict[str, Any]) -> Checked:
    """What `checking.run_suite` answers, without Great Expectations and pandas: a twentieth of the time they need."""
    columns = {name: [None if value is pd.NA else value for value in column] for name, column in frame.items()}
    return few.check_rows(suite.expectation_configurations, columns, frame.index.to_list(), words)


def by_both(*asked: Any) -> Checked:
    """What Great Expectations answers, which must be what the checks answer without it."""
    checked, plain = run_suite(*asked), plainly(*asked)
    found, expected = (
        {(answer.number, row) for answer in one.failed for row in answer.row_ids.tolist()} for one in (checked, plain)
    )
    assert found == expected, f"{asked[0].name}: Great Expectations differs"
    assert _counts(checked) == _counts(plain), f"{asked[0].name}: Great Expectations counts otherwise"
    return checked


def _counts(checked: Checked) -> list[tuple[int, int]]:
    """Of each check, how many rows it looked at, and how many failed."""
    results = (one.result for one in checked.results)
    return [
        (result["element_count"] - (result.get("missing_count") or 0), result["unexpected_count"]) for result in results
    ]
