"""Checks of rosters that Great Expectations lacks, as expectations of its own kind; importing this registers them.

Each looks at whole columns, never at one row after the other, and does nothing more where nothing is doubled.
Which columns they are asked about stands in the suites.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from great_expectations.core import ExpectationValidationResult
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, MulticolumnMapExpectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)
from great_expectations.render.components import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer

_MULTICOLUMN_DOMAIN = ("batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if")


def _nothing(index: pd.Index) -> pd.Series:
    return pd.Series(False, index=index, dtype="bool")


def _folded(frame: pd.DataFrame, ignore_case: Sequence[str] | None) -> pd.DataFrame:
    folded = [column for column in ignore_case or () if column in frame.columns]
    return frame.assign(**{column: frame[column].str.lower() for column in folded})


def disagreeing(frame: pd.DataFrame, ignore_case: Sequence[str] | None = None) -> pd.Series:
    """True for every row whose key (the first column) stands with two values in one of the other columns.

    Empty values disagree with nothing, and rows without a key are compared with nothing.
    """
    key = frame.columns[0]
    keyed = frame[frame[key].notna()]
    shared = _folded(keyed[keyed[key].duplicated(keep=False)], ignore_case)
    found = _nothing(frame.index)
    if not shared.empty:
        values = shared.groupby(key).nunique().gt(1).any(axis=1)
        found.loc[shared.index[shared[key].isin(values.index[values])]] = True
    return found


def standing_for_several(frame: pd.DataFrame, ignore_case: Sequence[str] | None = None) -> pd.Series:
    """True for every row whose value (all columns but the first, together) stands with two keys (the first column)."""
    key, *values = frame.columns
    shared = frame
    for column in values:
        shared = shared[_repeated(_folded(shared[[column]], ignore_case)[column])]
    shared = _folded(shared.dropna(), ignore_case)
    found = _nothing(frame.index)
    if not shared.empty:
        found.loc[shared.index[shared.groupby(values)[key].transform("nunique").gt(1)]] = True
    return found


def alike_but_for_case(column: pd.Series) -> pd.Series:
    """True for every value that has another spelling in the column, differing in upper and lower case only."""
    folded = column.str.lower()
    shared = folded[_repeated(folded)]
    found = _nothing(column.index)
    if not shared.empty:
        spellings = column.loc[shared.index].groupby(shared).transform("nunique")
        found.loc[shared.index[spellings.gt(1)]] = True
    return found


def _repeated(column: pd.Series) -> pd.Series:
    """True for every value that stands in the column twice.

    Hashes of all values are compared first, and the values themselves only where two hashes are equal: putting a
    million texts side by side takes several times as long, and most stand there once.
    """
    hashes = _hashes(column)
    ordered = np.sort(hashes)
    shared = column[pd.Series(hashes, column.index).isin(ordered[1:][ordered[1:] == ordered[:-1]]) & column.notna()]
    found = _nothing(column.index)
    found.loc[shared.index[shared.duplicated(keep=False)]] = True
    return found


def _hashes(column: pd.Series) -> np.ndarray[Any, Any]:
    """A hash of each value, in order; DuckDB's, because neither Arrow nor pandas hashes texts without a dictionary."""
    values = pa.Table.from_pandas(column.to_frame("value"), preserve_index=False)
    with duckdb.cursor() as connection:
        hashes: np.ndarray[Any, Any] = connection.from_arrow(values).project("hash(value) AS hash").fetchnumpy()["hash"]
    return hashes


def is_date(column: pd.Series, earliest: str | None = None, latest: str | None = None) -> pd.Series:
    """True for every ISO date (`2015-03-09`) that exists and lies between the bounds, both inclusive.

    A column holds few different dates, so each is read once.
    """
    dates = pd.Series(column.unique(), dtype="str")
    shaped = dates.where(dates.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))
    good = pd.to_datetime(shaped, format="%Y-%m-%d", errors="coerce").notna()
    good &= dates >= (earliest or "0001-01-01")  # pandas knows a year 0, the calendar does not
    if latest is not None:
        good &= dates <= latest
    return column.isin(dates[good])


class _RowsOfAKeyAgree(MulticolumnMapMetricProvider):
    condition_metric_name = "enrollsync.rows_of_a_key_agree"
    condition_domain_keys = _MULTICOLUMN_DOMAIN
    condition_value_keys = ("ignore_case",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, ignore_case: Sequence[str], **_: Any) -> pd.Series:
        return ~disagreeing(column_list, ignore_case)


class _ValuesBelongToOneKey(MulticolumnMapMetricProvider):
    condition_metric_name = "enrollsync.values_belong_to_one_key"
    condition_domain_keys = _MULTICOLUMN_DOMAIN
    condition_value_keys = ("ignore_case",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, ignore_case: Sequence[str], **_: Any) -> pd.Series:
        return ~standing_for_several(column_list, ignore_case)


class _ValuesDifferBeyondCase(ColumnMapMetricProvider):
    condition_metric_name = "enrollsync.values_differ_beyond_case"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **_: Any) -> pd.Series:
        return ~alike_but_for_case(column)


class _ValuesAreDates(ColumnMapMetricProvider):
    condition_metric_name = "enrollsync.values_are_dates"
    condition_value_keys = ("earliest", "latest")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, earliest: str | None, latest: str | None, **_: Any) -> pd.Series:
        return is_date(column, earliest, latest)


class _ExpectColumns(MulticolumnMapExpectation):
    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "never"
    ignore_case: list[str] = []
    success_keys = ("mostly", "ignore_case")
    args_keys = ("column_list",)
    wording: ClassVar[str]

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(
        cls,
        configuration: ExpectationConfiguration | None = None,
        result: ExpectationValidationResult | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> list[RenderedStringTemplateContent]:
        key, *columns = configuration.kwargs["column_list"] if configuration else ("key", "columns")
        return _sentence(cls.wording, key=key, columns=" + ".join(columns))


class ExpectKeyToAgreeOnColumns(_ExpectColumns):
    """Expect rows of one key (the first column) to agree on each other column, as far as they say anything."""

    map_metric = "enrollsync.rows_of_a_key_agree"
    wording = "rows of one $key must agree on $columns, where they give a value."


class ExpectColumnValuesToBelongToOneKey(_ExpectColumns):
    """Expect a value (the columns after the first, together) to stand with one key (the first column) only."""

    map_metric = "enrollsync.values_belong_to_one_key"
    wording = "a value of $columns must belong to one $key only."


class ExpectColumnValuesToDifferBeyondCase(ColumnMapExpectation):
    """Expect different values to differ in more than upper and lower case."""

    map_metric = "enrollsync.values_differ_beyond_case"

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(
        cls,
        configuration: ExpectationConfiguration | None = None,
        result: ExpectationValidationResult | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> list[RenderedStringTemplateContent]:
        return _sentence("values must differ in more than upper and lower case.")


class ExpectColumnValuesToBeDates(ColumnMapExpectation):
    """Expect ISO dates that exist, between two bounds (both inclusive) where given."""

    earliest: str | dict[str, Any] | None = None
    latest: str | dict[str, Any] | None = None
    success_keys = ("mostly", "earliest", "latest")
    map_metric = "enrollsync.values_are_dates"

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(
        cls,
        configuration: ExpectationConfiguration | None = None,
        result: ExpectationValidationResult | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> list[RenderedStringTemplateContent]:
        bounds = configuration.kwargs if configuration else {}
        first, last = (str(bounds.get(name) or "any day") for name in ("earliest", "latest"))
        return _sentence("values must be dates like 2015-03-09, from $first to $last.", first=first, last=last)


def _sentence(template: str, **params: str) -> list[RenderedStringTemplateContent]:
    return [
        RenderedStringTemplateContent(
            content_block_type="string_template",
            string_template={"template": template, "params": params},
        )
    ]
