"""Tells people that a district's file cannot be used: once when it breaks, because no run of that district can.

A listener in the DAG processor, which hears of an import error with every parse, so who has been told of is remembered
in `data/broken_districts.json`. Those are told whom the other districts name for failures, and whom the environment
variable ENROLLSYNC_NOTIFY names, which is written like a district's `notify`.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from threading import Thread

import yaml
from airflow.listeners import hookimpl
from pydantic import ValidationError

from enrollsync.airflow.districts import UnusableFiles, read_districts
from enrollsync.airflow.links import dags_url
from enrollsync.airflow.notify import send
from enrollsync.settings import NotifySettings, project_root

log = logging.getLogger(__name__)

GENERAL = "ENROLLSYNC_NOTIFY"
_SHOWN_BY = "district_files.py"
"""The DAG file whose import error lists the broken district files."""
_TITLE = "EnrollSync: a district's file cannot be used"


@hookimpl
def on_new_dag_import_error(filename: str, stacktrace: str) -> None:
    """Tell of every broken file: until now none was."""
    _tell(filename, stacktrace, known=set())


@hookimpl
def on_existing_dag_import_error(filename: str, stacktrace: str) -> None:
    """Tell of the files that have broken since."""
    _tell(filename, stacktrace, known=_read_known())


def _tell(filename: str, stacktrace: str, known: set[str]) -> None:
    if Path(filename).name != _SHOWN_BY:
        return
    lines = stacktrace.rpartition(f"{UnusableFiles.__name__}: ")[2].splitlines()
    problems = {line.partition(": ")[0]: line for line in lines}
    if problems.keys() == known:
        return
    try:
        _memory().parent.mkdir(parents=True, exist_ok=True)
        _memory().write_text(json.dumps(sorted(problems)))
    except OSError as error:  # the next parse tries again; without a memory, each would tell of the same
        log.warning("%s cannot be written, so that nobody was told: %s", _memory(), error.strerror)
        return
    if said := [line for file, line in problems.items() if file not in known]:
        Thread(target=_send, args=(said,), daemon=True).start()  # a slow server must not hold up the parsing


def _memory() -> Path:
    return project_root() / "data" / "broken_districts.json"


def _read_known() -> set[str]:
    try:
        return set(json.loads(_memory().read_text()))
    except (OSError, ValueError):
        return set()


def _send(problems: list[str]) -> None:
    named = [one.notify for one in read_districts()[0].values() if "failure" in one.notify.events]
    everybody = [*named, _general()]
    emails = {address for notify in everybody for address in notify.email}
    webhooks = {notify.webhook for notify in everybody if notify.webhook}
    lines = [*problems, "Until it is mended its runs do not start; other districts run on.", f"Airflow: {dags_url()}"]
    send(sorted(emails), sorted(webhooks), _TITLE, lines, {})


def _general() -> NotifySettings:
    try:
        return NotifySettings.model_validate(yaml.safe_load(os.environ.get(GENERAL, "")) or {})
    except (yaml.YAMLError, ValidationError) as error:
        log.warning("%s is not written like a district's `notify`: %s", GENERAL, type(error).__name__)
        return NotifySettings()
