"""Great Expectations with less of its own bookkeeping, for tests that run many small nights."""

from __future__ import annotations

import gc
from typing import Any

import pandas as pd
import pytest
from great_expectations.core import ExpectationSuite
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from enrollsync.validate import checking

_answers: dict[str, checking.Checked] = {}
"""What was asked of which rows -> what came of it: the nights of many tests share most of their tables."""
_described: dict[int, tuple[Expectation, ExpectationConfiguration]] = {}
_describe = Expectation.configuration.fget
_run_suite = checking.run_suite

# What was imported for this stays to the end, so that Python need not look for garbage in it.
gc.freeze()


def run_suite(
    context: EphemeralDataContext, suite: ExpectationSuite, frame: pd.DataFrame, parameters: dict[str, Any]
) -> checking.Checked:
    """`checking.run_suite`, which depends on nothing but the suite, the rows and the parameters; asked once for each.

    While it runs, each check's configuration is made once and not a hundred times: an eighth of a night.
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
