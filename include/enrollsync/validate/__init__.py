"""Checking the canonical tables with Great Expectations: rows that break a rule become findings.

`asked` and `suites` say what is asked, `expectations` and `frames` help to ask it, `checking` asks, `collect` writes
the answers down, `memorable` adds what a class could be called; `alone` asks the same of one record. What a finding
means for loading is decided elsewhere (`codes.py`, `accept.py`). Importing this package is cheap; Great Expectations,
which takes seconds, is imported by the first call.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from enrollsync.run.engine import connect
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.validate.postponed import postpone_unused
from enrollsync.words.canonical import ENTITIES, ID_CHANGES

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    from great_expectations.core import ExpectationSuite

# Read when Great Expectations is imported: without it, that would tell its makers about every run.
os.environ["GX_ANALYTICS_ENABLED"] = "false"
postpone_unused()


def validate(run: Run) -> None:
    """Check `canonical/` and write `findings.parquet`, `checks.json` and, if the district wants it, `data_docs/`.

    One finding for each line and fault, malformed lines included; columns: `findings.COLUMNS`. Raises
    ConfigurationError when a suite is broken and EnrollSyncError when a check cannot be made: silence is no success.
    """
    from enrollsync.validate import asked, checking, collect, differences, memorable, suites

    workspace, manifest = run.place, run.manifest
    context = checking.quiet_context(workspace)
    words = asked.parameters(run)
    delivered = {file.entity for file in manifest.files}
    entities = [*ENTITIES, *([ID_CHANGES] if ID_CHANGES.name in delivered else [])]
    fitted = [suites.fitted_suite(entity.name, run) for entity in entities]
    answered = []
    with connect(workspace.root) as connection, ThreadPoolExecutor(1) as reader:
        collect.create_table(connection)
        # Tables are read while others are checked; Great Expectations itself cannot work in two threads.
        frames = reader.map(partial(_frame, connection, workspace, words), fitted)
        for entity, suite in zip(entities, fitted, strict=True):
            checked = checking.run_suite(context, suite, next(frames), words)
            if manifest.may_say(entity.name, "action"):
                checked = collect.without_removals(connection, workspace, suite, checked)
            checks = collect.check_table(suite, words)
            names = collect.name_table(run, suite.name, checks["column"].to_pylist())
            collect.add(connection, workspace, suite.name, checks, names, checked.failed)
            answered.append(checked)
        collect.add_malformed(connection, run)
        memorable.add_suggestions(connection, workspace, words)
        differences.add_differences(connection, run, words)
        collect.write(connection, workspace)
    collect.write_checks(workspace, fitted, answered)
    if run.settings.data_docs:
        checking.write_site(context, manifest, fitted, [checked.results for checked in answered])


def _frame(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, words: dict[str, Any], suite: ExpectationSuite
) -> pd.DataFrame:
    """What a suite looks at, read on a cursor of its own beside the connection's other work."""
    from enrollsync.validate import frames, suites

    with connection.cursor() as own:
        return frames.frame(own, workspace, suite.name, suites.columns(suite), words)
