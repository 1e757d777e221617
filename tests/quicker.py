"""Great Expectations with less of its own bookkeeping, for tests that run many small nights."""

from __future__ import annotations

from typing import Any

import pytest
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from enrollsync.validate import checking

_described: dict[int, tuple[Expectation, ExpectationConfiguration]] = {}
_describe = Expectation.configuration.fget
_run_suite = checking.run_suite


def run_suite(*asked: Any) -> checking.Checked:
    """`checking.run_suite`; each check's configuration is made once and not a hundred times: an eighth of a night."""
    _described.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Expectation, "configuration", property(_described_once))
        return _run_suite(*asked)


def _described_once(check: Expectation) -> ExpectationConfiguration:
    if id(check) not in _described:
        _described[id(check)] = check, _describe(check)
    return _described[id(check)][1]
