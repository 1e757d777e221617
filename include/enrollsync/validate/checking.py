"""Running a suite over a frame with Great Expectations, and its static site of what was asked and how it went.

Nothing here knows what a check means; no value of a row leaves this module, in a result, a message or a page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.core.id_dict import IDDict, IDDictID
from great_expectations.core.metric_function_types import MetricPartialFunctionTypeSuffixes
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, Expectation, MulticolumnMapExpectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.registry import get_metric_kwargs
from great_expectations.validator.computed_metric import MetricValue
from great_expectations.validator.metric_configuration import MetricConfiguration, MetricConfigurationID
from great_expectations.validator.validation_statistics import calc_validation_statistics
from great_expectations.validator.validator import Validator

from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.validate.collect import Answer, Checked
from enrollsync.validate.suites import looked_at
from enrollsync.words.errors import EnrollSyncError

_RESULT_FORMAT = {
    "result_format": "BASIC",
    "include_unexpected_rows": False,
    "return_unexpected_index_query": False,
    "exclude_unexpected_values": True,
}
_SITE = "data_docs"
_COUNTS = frozenset({"element_count", "unexpected_count", "unexpected_percent", "missing_count", "missing_percent"})
"""What of a result the site may show."""


class _Engine(PandasExecutionEngine):
    """Works a metric out once: which rows fail a check was known when they were counted."""

    def __init__(self, batches: dict[str, pd.DataFrame]) -> None:
        super().__init__(batch_data_dict=batches)
        self._known: dict[MetricConfigurationID, MetricValue] = {}

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[MetricConfiguration],
        metrics: dict[MetricConfigurationID, MetricValue] | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> dict[MetricConfigurationID, MetricValue]:
        """The metrics' values, by their ids."""
        asked = list(metrics_to_resolve)
        new = [metric for metric in asked if metric.id not in self._known]
        if new:
            self._known |= super().resolve_metrics(new, metrics, runtime_configuration)
        return {metric.id: self._known[metric.id] for metric in asked}


_known: ContextVar[dict[tuple[Any, ...], Any] | None] = ContextVar("_known", default=None)
_to_id = IDDict.to_id


def _once(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`work`, done once for each object that it is given, where `_each_told_once`."""

    def known_or_worked_out(given: Any) -> Any:
        known = _known.get()
        if known is None:
            return work(given)
        if (work, id(given)) not in known:
            known[work, id(given)] = given, work(given)  # kept, so that no other object has its number
        return known[work, id(given)][1]

    return known_or_worked_out


def _id_of(kwargs: IDDict, id_keys: Any = None, id_ignore_keys: Any = None) -> IDDictID:
    """`IDDict.to_id`, told once for each wording of the arguments where `_each_told_once`."""
    known = _known.get()
    if known is None or id_keys is not None or id_ignore_keys is not None:
        return _to_id(kwargs, id_keys, id_ignore_keys)
    wording = _to_id, type(kwargs), repr(kwargs)
    if wording not in known:
        known[wording] = _to_id(kwargs)
    return cast(IDDictID, known[wording])


Expectation.configuration = property(_once(cast(Any, Expectation.configuration).fget))  # type: ignore[method-assign, assignment]
ExpectationConfiguration.to_domain_obj = _once(ExpectationConfiguration.to_domain_obj)  # type: ignore[method-assign, assignment]
IDDict.to_id = _id_of  # type: ignore[method-assign, assignment]


@contextmanager
def _each_told_once() -> Iterator[None]:
    """Great Expectations makes a check out of its configuration ten times and that out of the check a hundred times,
    and thousands of ids out of the same few arguments: most of its time on a small district.

    Nothing may change a check meanwhile.
    """
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def quiet() -> None:
    """Great Expectations logs what it is asked, values among it."""
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)


def _context(workspace: Workspace) -> EphemeralDataContext:
    """A context that lives in memory but for its site, draws no progress bars and tells nobody."""
    site = {
        "class_name": "SiteBuilder",
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(workspace.data_docs.resolve()),
        },
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "show_how_to_buttons": False,
    }
    config = DataContextConfig(
        # Without this, a folder for another site is made among the system's temporary files.
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={_SITE: site},
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


class _Validator(Validator):
    """Works without a context, which only the site needs; draws no progress bars."""

    def _determine_progress_bars(self) -> bool:
        return False


def run_suite(suite: ExpectationSuite, frame: pd.DataFrame, parameters: dict[str, Any]) -> Checked:
    """What a suite says of a frame whose index holds the row ids; `parameters` are its `$PARAMETER`s.

    Raises EnrollSyncError when a check could not be made.
    """
    asked, batches = _questions(suite, frame)
    validator = _Validator(execution_engine=_Engine(batches))
    with _each_told_once():
        results = validator.graph_validate(
            validator.process_expectations_for_validation(asked, parameters),
            runtime_configuration={"result_format": dict(_RESULT_FORMAT)},
        )
        for result in results:
            _must_have_run(suite.name, result)
        if len(results) != len(asked):
            raise EnrollSyncError(f"{suite.name}: {len(results)} of {len(asked)} checks gave a result")
        results.sort(key=_number)
        failed = [Answer(_number(result), _failing_rows(validator, result)) for result in results if not result.success]
    return Checked(results, failed)


def _questions(
    suite: ExpectationSuite, frame: pd.DataFrame
) -> tuple[list[ExpectationConfiguration], dict[str, pd.DataFrame]]:
    """The checks, numbered, and the batches that they are about: for each no more than the columns it looks at.

    Great Expectations copies every column of a batch whenever it leaves out the rows without a value. The batches go to
    the engine directly: one that is read through a data source is hashed twice, longer than all checks together take.
    """
    asked, batches = suite.expectation_configurations, {}
    for number, check in enumerate(asked):
        columns = looked_at(check)
        name = " ".join(columns)
        batches[name] = frame[columns]
        check.kwargs["batch_id"] = name
        check.meta = {**(check.meta or {}), "number": number}
    return asked, batches


def _failing_rows(validator: Validator, result: ExpectationValidationResult) -> np.ndarray[Any, Any]:
    """The row ids for which the condition of a check is not met, as the check itself found them."""
    check = _asked(result)
    kind = cast(ColumnMapExpectation | MulticolumnMapExpectation, check.to_domain_obj())
    metric = f"{kind.map_metric}.{MetricPartialFunctionTypeSuffixes.CONDITION.value}"
    kwargs = get_metric_kwargs(metric, check)
    unmet, *_ = validator.get_metric(
        MetricConfiguration(metric, kwargs["metric_domain_kwargs"], kwargs["metric_value_kwargs"])
    )
    rows: np.ndarray[Any, Any] = unmet.index.to_numpy()[unmet.to_numpy(dtype=bool)]
    return rows


def _asked(result: ExpectationValidationResult) -> ExpectationConfiguration:
    if result.expectation_config is None:
        raise EnrollSyncError("Great Expectations gave a result without its check")
    return result.expectation_config


def _number(result: ExpectationValidationResult) -> int:
    return int((_asked(result).meta or {})["number"])


def _must_have_run(name: str, result: ExpectationValidationResult) -> None:
    """A check that raised is no success. The exception's own words may quote a value, so only its kind is told."""
    infos = [result.exception_info] if "raised_exception" in result.exception_info else result.exception_info.values()
    for info in infos:
        if info["raised_exception"]:
            config = result.expectation_config
            asked = f"{config.type} for {(config.meta or {}).get('code')}" if config else "a check"
            last = str(info["exception_traceback"]).strip().splitlines()[-1].partition(":")[0]
            raise EnrollSyncError(f"{name}: {asked} could not be checked ({last}); nothing was loaded")


def write_site(
    workspace: Workspace,
    manifest: RunManifest,
    suites: list[ExpectationSuite],
    results: list[list[ExpectationValidationResult]],
) -> None:
    """Great Expectations' own static site in `data_docs/`: a page a suite and one for its results, with no values."""
    context = _context(workspace)
    for suite, checked in zip(suites, results, strict=True):
        context.suites.add(suite)
        _store(context, manifest, suite.name, checked)
    context.build_data_docs(site_names=[_SITE])


def _store(
    context: EphemeralDataContext, manifest: RunManifest, name: str, checked: list[ExpectationValidationResult]
) -> None:
    run = RunIdentifier(run_name=manifest.run_id, run_time=manifest.as_of)
    statistics = calc_validation_statistics(checked)
    outcome = ExpectationSuiteValidationResult(
        success=statistics.success,
        results=[_without_values(result) for result in checked],
        suite_name=name,
        statistics=statistics._asdict(),
        meta={
            "run_id": run.to_json_dict(),
            "validation_time": manifest.as_of.isoformat(),
            "active_batch_definition": {"data_asset_name": name},
            "great_expectations_version": gx.__version__,
        },
    )
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier(name), run, batch_identifier=manifest.batch_hash)
    context.validation_results_store.store_validation_results(outcome, key)


def _without_values(result: ExpectationValidationResult) -> ExpectationValidationResult:
    return ExpectationValidationResult(
        success=result.success,
        expectation_config=result.expectation_config,
        result={name: value for name, value in result.result.items() if name in _COUNTS},
        exception_info=result.exception_info,
        meta=result.meta,
    )
