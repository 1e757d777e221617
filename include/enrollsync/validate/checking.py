"""Running a suite over a frame with Great Expectations, and its static site of what was asked and how it went.

Nothing here knows what a check means; no value of a row leaves this module, in a result, a message or a page.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult, ExpectationValidationResult
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
from great_expectations.validator.validation_statistics import calc_validation_statistics
from great_expectations.validator.validator import Validator

from enrollsync.errors import EnrollSyncError
from enrollsync.workspace import RunManifest, Workspace

_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "include_unexpected_rows": False,
    "return_unexpected_index_query": False,
    "exclude_unexpected_values": True,
}
_SITE = "data_docs"
_COUNTS = frozenset({"element_count", "unexpected_count", "unexpected_percent", "missing_count", "missing_percent"})
"""What of a result the site may show."""


@dataclass(frozen=True)
class Answer:
    """What became of one check."""

    number: int
    """The check's place in its suite, from 0."""
    row_ids: list[int]
    """The rows that fail it."""


def quiet_context(workspace: Workspace) -> EphemeralDataContext:
    """A context that lives in memory but for its site, draws no progress bars, logs nothing and tells nobody."""
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
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


def run_suite(
    context: EphemeralDataContext, suite: ExpectationSuite, frame: pd.DataFrame, parameters: dict[str, Any]
) -> list[ExpectationValidationResult]:
    """The results of a suite, in its order; their `unexpected_index_list` holds labels of the frame's index.

    The validator is given its engine directly: a batch that is read through a data source is hashed twice, which takes
    longer than all checks together. Raises EnrollSyncError when a check could not be made.
    """
    engine = PandasExecutionEngine(batch_data_dict={suite.name: frame})
    validator = Validator(execution_engine=engine, data_context=context)
    configurations = suite.expectation_configurations
    for number, configuration in enumerate(configurations):
        configuration.meta = {**(configuration.meta or {}), "number": number}
    asked = validator.process_expectations_for_validation(configurations, parameters)
    results = validator.graph_validate(asked, runtime_configuration={"result_format": dict(_RESULT_FORMAT)})
    for result in results:
        _must_have_run(suite.name, result)
    if len(results) != len(configurations):
        raise EnrollSyncError(f"{suite.name}: {len(results)} of {len(configurations)} checks gave a result")
    return sorted(results, key=_number)


def answers(results: list[ExpectationValidationResult]) -> list[Answer]:
    """The failed checks of a suite and their rows."""
    return [Answer(_number(result), result.result["unexpected_index_list"]) for result in results if not result.success]


def _number(result: ExpectationValidationResult) -> int:
    meta = result.expectation_config.meta if result.expectation_config else None
    return int((meta or {})["number"])


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
    context: EphemeralDataContext,
    manifest: RunManifest,
    suites: list[ExpectationSuite],
    results: list[list[ExpectationValidationResult]],
) -> None:
    """Great Expectations' own static site in `data_docs/`: a page a suite and one for its results, with no values."""
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
