"""Celery's configuration: Airflow's own, and a worker imports what tasks need before it forks their processes.

`docker-compose.yaml` names it: AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS. What is imported and why: `warm`.
"""

from __future__ import annotations

import gc
import logging

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery.signals import worker_process_init  # type: ignore[import-untyped]

from enrollsync.airflow import warm

CONFIG = {**DEFAULT_CELERY_CONFIG, "imports": warm.MODULES}
logging.getLogger("great_expectations").setLevel(logging.WARNING)  # as in `warm`


@worker_process_init.connect  # type: ignore[untyped-decorator]
def keep_what_was_imported(**_: object) -> None:
    """Shared with the process that imported it for as long as the collector does not look at it."""
    gc.freeze()
