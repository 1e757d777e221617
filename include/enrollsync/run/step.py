"""How a step begins and ends, and which of a run's files it reads and writes.

Whoever carries a run's files to another machine between two steps, as `object_store.py` does, carries `run.json`,
`settings.json` and just these.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrollsync.run.breakage import one_line
from enrollsync.run.run import Run
from enrollsync.run.workspace import Notice
from enrollsync.words.errors import EnrollSyncError, Refused, UndoConflict

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """A step's name, and the folders and files of the workspace that it works on."""

    name: str
    reads: tuple[str, ...] = ()
    """Made by earlier steps; without some of them, such as a quarantine of nothing, it does."""
    writes: tuple[str, ...] = ()


INGEST = Step("ingest", writes=("source", "canonical"))
VALIDATE = Step(
    "validate",
    reads=("source", "canonical"),
    writes=("findings.parquet", "findings.csv", "checks.json", "data_docs", "accepted", "quarantine"),
)
PLAN = Step(
    "plan",
    reads=("source", "canonical", "findings.parquet", "accepted", "quarantine"),
    writes=("findings.parquet", "findings.csv", "quarantine", "state", "plan", "id_changes.csv", "switch.csv"),
)
LOAD = Step("load", reads=("canonical", "findings.parquet", "state", "plan"), writes=("plan", "kept_findings.parquet"))
REPORT = Step(
    "report",
    reads=(
        "source",
        "canonical",
        "findings.parquet",
        "checks.json",
        "data_docs",
        "quarantine",
        "plan",
        "id_changes.csv",
        "switch.csv",
    ),
    writes=("report.html", "report.json", "findings.csv", "kept_findings.parquet"),
)
NIGHT = (INGEST, VALIDATE, PLAN, LOAD, REPORT)
"""The steps of a run, in order."""
OVER = frozenset({"refused", "failed", "applied", "undone", "rejected"})
"""Outcomes of a run that has ended."""


@contextmanager
def step(which: Step, workspace: str, database: str | None = None, **anew: Any) -> Iterator[Run]:
    """What a step works on. Its time, and the error that ends it, go into the manifest when it ends.

    Raises ConfigurationError where another program began the run. `anew`: fields of the manifest that say no longer
    what an earlier attempt found.
    """
    with one_line(which.name, Path(workspace)):
        run = Run.open(workspace, database)
    _refuse_of_another_program(run)
    run.note(error=None, **anew)
    started = time.monotonic()
    try:
        with one_line(which.name, run.place.root):
            yield run
    except EnrollSyncError as error:
        _note_error(run, error)
        _end(which, run, started)
        _save_if_possible(run)
        raise
    _end(which, run, started)
    run.save()


def _refuse_of_another_program(run: Run) -> None:
    """A run that is over stays what it was."""
    try:
        run.place.require_program(run.manifest.program)
    except EnrollSyncError as error:
        if run.manifest.outcome not in OVER:
            _note_error(run, error)
            _save_if_possible(run)
        raise


def _end(which: Step, run: Run, started: float) -> None:
    took = time.monotonic() - started
    run.note(seconds=run.manifest.seconds | {which.name: took})
    district = run.settings.district_id
    log.info("%s ended after %.2f s: district %s, run %s", which.name, took, district, run.manifest.run_id)


def _save_if_possible(run: Run) -> None:
    """Where there is no room for what is wrong, it is told elsewhere."""
    try:
        run.save()
    except EnrollSyncError as error:
        log.warning("run %s could not be noted: %s", run.place.root.name, error)


def _note_error(run: Run, error: EnrollSyncError) -> None:
    if isinstance(error, Refused):
        added = [Notice.of(one.code, one.message, file=one.file, line=one.line) for one in error.parts]
        notices = [one for one in run.manifest.notices if one not in added]
        run.note(notices=[*notices, *added], findings=run.manifest.findings | Counter(one.code for one in added))
    conflicts = error.conflicts if isinstance(error, UndoConflict) else []
    run.note(outcome=error.outcome, error=str(error), conflicts=conflicts)
