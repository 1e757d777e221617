"""The suites over a few rows, without Great Expectations and pandas: a person who edits one record waits for them.

The same questions and the same answers; tests hold both against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from enrollsync.validate import alone
from enrollsync.validate.collect import Answer, Checked


class Question(Protocol):
    """A check: `asked.Asked`, or Great Expectations' own."""

    @property
    def type(self) -> str:
        """Of the expectation."""

    @property
    def kwargs(self) -> dict[str, Any]:
        """Its arguments."""


@dataclass(frozen=True)
class Counted:
    """How many rows a check looked at, and how many failed, in Great Expectations' words."""

    result: dict[str, int]


def check_rows(
    suite: Sequence[Question], columns: Mapping[str, list[Any]], row_ids: list[int], words: Mapping[str, Any]
) -> Checked:
    """What a suite says of rows: `columns` hold their values, None where there is none, in the order of `row_ids`."""
    counted, answers = [], []
    for number, check in enumerate(suite):
        names = list(check.kwargs.get("column_list") or [check.kwargs["column"]])
        looked = [columns[name] for name in names]
        failing = _failing(check.type, looked, names, alone.filled(check.kwargs, words))
        missing = looked[0].count(None) if check.type in _OF_VALUES else 0
        counted.append(
            Counted({"element_count": len(row_ids), "missing_count": missing, "unexpected_count": len(failing)})
        )
        if failing:
            answers.append(Answer(number, np.array([row_ids[place] for place in failing], dtype=np.int64)))
    return Checked(counted, answers)


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
