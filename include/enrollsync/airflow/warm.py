"""Imports what tasks need before the scheduler forks the processes that run them.

Each task runs in a fork of its own, and would import Airflow's task runner, pandas, Great Expectations and DuckDB
again: most of the processor time of a small night. Modules are only imported here, nothing is opened or started, so
that a fork finds no thread and no connection; Airflow freezes what is there before it forks, which keeps it shared.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from importlib import import_module
from typing import Any

from airflow.executors.executor_loader import ExecutorLoader
from airflow.listeners import hookimpl

log = logging.getLogger(__name__)

MODULES = (
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.sdk.definitions.decorators",
    "airflow.providers.standard.decorators.python",
    "enrollsync.airflow.approval",
    "enrollsync.airflow.form",
    "enrollsync.airflow.links",
    "enrollsync.airflow.runs",
    "enrollsync.airflow.signals",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "duckdb",
    "adbc_driver_postgresql.dbapi",
    "enrollsync.steps",
    "enrollsync.arrive",
    "enrollsync.arrive.upload",
    "enrollsync.ingest.batch",
    "enrollsync.ingest.normalise",
    "enrollsync.validate.checking",
    "enrollsync.plan.reconcile",
    "enrollsync.load.apply",
    "enrollsync.database",
    "enrollsync.report.gather",
)


@hookimpl
def on_starting(component: Any) -> None:
    """Before a scheduler starts its executor, if that is to fork here."""
    if sys.argv[1:2] == ["scheduler"] and _forks():  # the job does not say yet which one it is
        # Great Expectations tells hundreds of lines of how it is put together.
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        for name in MODULES:
            import_module(name)
        log.info("imported what tasks need: %s", ", ".join(MODULES))


def _forks() -> bool:
    names = [str(name.module_path) for name in ExecutorLoader.get_executor_names(validate_teams=False)]
    return multiprocessing.get_start_method() == "fork" and any(name.endswith("LocalExecutor") for name in names)
