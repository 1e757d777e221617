"""The suites for Great Expectations: without losing a check, and fitted to one run. What is in them: `asked`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from great_expectations.core import ExpectationSuite
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.expectations.registry import list_registered_expectation_implementations

from enrollsync.run.run import Run
from enrollsync.validate import expectations as _registering  # noqa: F401
from enrollsync.validate.asked import FOLDER, applies, circumstances, read_suite, severity
from enrollsync.words.errors import ConfigurationError


def load_suite(name: str, folder: Path = FOLDER) -> ExpectationSuite:
    """The suite of one entity, whole.

    Raises ConfigurationError when its file is none (`read_suite`), names an unknown type of expectation, or when Great
    Expectations would drop one of its expectations (it logs such and goes on).
    """
    path = folder / f"{name}.json"
    checks = read_suite(name, folder)
    known = set(list_registered_expectation_implementations())
    unknown = sorted({check.get("type", "(none)") for check in checks} - known)
    if unknown:
        raise ConfigurationError(f"{path}: no such expectation: {', '.join(unknown)}; correct the type or register it")
    try:
        suite = ExpectationSuite(name=name, expectations=checks)
    except Exception as error:
        raise ConfigurationError(f"{path}: not a suite of expectations: {' '.join(str(error).split())}") from None
    if len(suite.expectations) != len(checks):
        lost = len(checks) - len(suite.expectations)
        raise ConfigurationError(f"{path}: {lost} expectation(s) were dropped; correct their kwargs")
    return suite


def fitted_suite(name: str, run: Run) -> ExpectationSuite:
    """The suite as this run asks it: only what applies here, each with the severity that it has here."""
    suite = load_suite(name)
    holding = circumstances(name, run)
    suite.expectations = [check for check in suite.expectations if applies(meta_of(check), holding)]
    for check in suite.expectations:
        check.severity = FailureSeverity(severity(meta_of(check), run))
    return suite


def meta_of(check: Expectation) -> dict[str, Any]:
    """What the suite says of a check besides the question itself."""
    return check.meta or {}


def columns(suite: ExpectationSuite) -> tuple[str, ...]:
    """The columns that a suite looks at, each once."""
    named = [column for check in suite.expectation_configurations for column in looked_at(check)]
    return tuple(dict.fromkeys(named))


def looked_at(check: ExpectationConfiguration) -> list[str]:
    """The columns that one check looks at."""
    return list(check.kwargs.get("column_list") or [check.kwargs["column"]])
