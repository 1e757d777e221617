"""One record against those checks of its suite that look at one row alone, without Great Expectations and pandas.

The same suites and the same answers, for whoever edits a single record. What compares rows (duplicates, conflicts) or
looks into the delivery (references, sizes of classes) is not asked here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from enrollsync.run.run import Run
from enrollsync.validate.asked import applies, circumstances, counts_for_removals, parameters, read_suite, severity
from enrollsync.words.canonical import KINDS, REMOVE, Entity

Record = Mapping[str, str | None]
"""Canonical column -> value, besides `file`, `action` and `blanks`; what is not there is None."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a record."""

    code: str
    column: str
    """Canonical."""
    severity: str
    message: str


@dataclass(frozen=True)
class Check:
    """A check as one run asks it."""

    kind: str
    """The type of the expectation."""
    column: str
    """The column that is looked at."""
    asked: dict[str, Any]
    """The expectation's other arguments."""
    fault: Fault
    """What is told where it fails."""


@dataclass(frozen=True)
class Suite:
    """The checks of an entity that look at one row alone, as one run asks them."""

    entity: Entity
    checks: tuple[Check, ...]
    words: Mapping[str, Any]
    """The run's `parameters`."""


def find_faults(record: Record, suite: Suite) -> list[Fault]:
    """What is wrong with a record, in the order of the suite; of one that is to be removed, what counts for that."""
    derived = {column: derive(record, suite) for column, derive in _DERIVED.items()}
    values = {**record, **derived}
    found = [check.fault for check in suite.checks if fails(check.kind, check.asked, values.get(check.column))]
    if record.get("action") != REMOVE:
        return found
    return [fault for fault in found if counts_for_removals(fault.code, fault.column, suite.entity)]


def suite_of(entity: Entity, run: Run) -> Suite:
    """What one run asks of a record of that entity. Raises ConfigurationError when the suite is broken."""
    words = parameters(run)
    holding = circumstances(entity.name, run)
    checks = [check for check in read_suite(entity.name) if looks_at_one_row(check, entity)]
    return Suite(
        entity,
        tuple(
            Check(
                check["type"],
                check["kwargs"]["column"],
                filled(check["kwargs"], words),
                Fault(
                    check["meta"]["code"],
                    check["meta"].get("column") or check["kwargs"]["column"],
                    severity(check["meta"], run),
                    check["meta"]["notes"].format_map(words),
                ),
            )
            for check in checks
            if applies(check["meta"], holding)
        ),
        words,
    )


def looks_at_one_row(check: Mapping[str, Any], entity: Entity) -> bool:
    """Whether a check of the entity's suite can be asked of one record."""
    known = {"action", "blanks", *entity.columns, *_DERIVED}
    return is_known(check["type"]) and check["kwargs"].get("column") in known


def fails(kind: str, asked: Mapping[str, Any], value: Any) -> bool:
    """Whether a value fails an expectation of that type; None fails only where something must stand."""
    if kind == _GIVEN:
        return value is None
    return value is not None and not _MET[kind](value, asked)


def is_known(kind: str) -> bool:
    """Whether that type of expectation looks at one value alone."""
    return kind in _MET


def filled(kwargs: Mapping[str, Any], words: Mapping[str, Any]) -> dict[str, Any]:
    """An expectation's arguments with the run's `parameters` in their places."""
    return {name: words[value["$PARAMETER"]] if isinstance(value, dict) else value for name, value in kwargs.items()}


def _matches(value: str, asked: Mapping[str, Any]) -> bool:
    """By RE2, as the whole table is matched; made of buffers, because Arrow imports pandas for a text."""
    text = value.encode()
    one = pa.StringArray.from_buffers(1, pa.py_buffer(struct.pack("=ii", 0, len(text))), pa.py_buffer(text))
    return bool(pc.match_substring_regex(one, asked["regex"].replace(r"\Z", r"\z"))[0].as_py())


def _is_date(value: str, asked: Mapping[str, Any]) -> bool:
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return (asked.get("earliest") or value) <= value <= (asked.get("latest") or value)


_GIVEN = "expect_column_values_to_not_be_null"
_MET: dict[str, Callable[[Any, Mapping[str, Any]], bool]] = {
    _GIVEN: lambda *_: True,
    "expect_column_values_to_be_null": lambda *_: False,
    "expect_column_values_to_be_in_set": lambda value, asked: value in asked["value_set"],
    "expect_column_values_to_not_be_in_set": lambda value, asked: value not in asked["value_set"],
    "expect_column_values_to_match_regex": _matches,
    "expect_column_values_to_not_match_regex": lambda value, asked: not _matches(value, asked),
    "expect_column_values_to_be_dates": _is_date,
}
"""Type of an expectation -> whether a value that is given meets it."""


def _named(record: Record, suite: Suite, link: str) -> bool | None:
    """Whether a link names what it hangs on, where its file has to; None where nobody knows the file."""
    if record.get(link) is not None or not suite.words["link_files"]:
        return True
    file = record.get("file")
    return None if file is None else file not in suite.words["link_files"]


_DERIVED: dict[str, Callable[[Record, Suite], Any]] = {
    "kind": lambda record, _: KINDS.get(record.get("role") or ""),
    "brought_key": lambda record, _: record.get("source_key") if record.get("action") is None else None,
    "identifier_given": lambda record, suite: (
        record.get("source_key") is None or record.get(str(suite.entity.identifier)) is not None
    ),
    "class_given": lambda record, suite: _named(record, suite, "class_source_key"),
    "user_given": lambda record, suite: _named(record, suite, "user_source_key"),
    "organization_given": lambda record, _: (
        record.get("user_source_key") is None or record.get("organization_source_key") is not None
    ),
}
"""The columns of `frames.derived` that one row tells."""
