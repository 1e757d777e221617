"""Checking the canonical tables with Great Expectations: rows that break a rule become findings.

`asked` and `suites` say what is asked, `expectations` and `frames` help to ask it, `checking` asks, `collect` writes
the answers down, `memorable` adds what a class could be called; `few` answers the same of a few rows and `alone` of one
record, without Great Expectations. What a finding
means for loading is decided elsewhere (`codes.py`, `accept.py`). Importing this package is cheap; Great Expectations,
which takes seconds, is imported by the first call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from enrollsync.run.engine import connect
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.validate.postponed import postpone_unused
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES, Entity

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    from great_expectations.core import ExpectationSuite

    from enrollsync.validate.asked import Asked
    from enrollsync.validate.collect import Checked

# Read when Great Expectations is imported: without it, that would tell its makers about every run.
os.environ["GX_ANALYTICS_ENABLED"] = "false"
postpone_unused()


def validate(run: Run) -> None:
    """Check `canonical/` and write `findings.parquet`, `checks.json` and, if the district wants it, `data_docs/`.

    One finding for each line and fault, malformed lines included; columns: `findings.COLUMNS`. Raises
    ConfigurationError when a suite is broken and EnrollSyncError when a check cannot be made: silence is no success.
    """
    from enrollsync.validate import asked, collect, differences, memorable

    workspace, manifest = run.place, run.manifest
    words = asked.parameters(run)
    delivered = {file.entity for file in manifest.files}
    entities = [*ENTITIES, *([ID_CHANGES] if ID_CHANGES.name in delivered else [])]
    suites = {entity.name: asked.asked_of(entity.name, run) for entity in entities}
    answered = []
    with connect(workspace.root) as connection:
        collect.create_table(connection)
        # What one person changes is a handful of rows, and the person waits.
        answering = _few(run, connection, suites, words) if manifest.by_hand else _all(run, entities, words)
        for entity, checked in zip(entities, answering, strict=True):
            suite = suites[entity.name]
            if manifest.may_say(entity.name, "action"):
                checked = collect.without_removals(connection, workspace, entity, suite, checked)
            checks = collect.check_table(suite, words)
            names = collect.name_table(run, entity.name, checks["column"].to_pylist())
            collect.add(connection, workspace, entity.name, checks, names, checked.failed)
            answered.append(checked)
        collect.add_malformed(connection, run)
        memorable.add_suggestions(connection, workspace, words)
        differences.add_differences(connection, run, words)
        collect.write(connection, workspace)
    collect.write_checks(workspace, suites, answered)


def _few(
    run: Run, connection: duckdb.DuckDBPyConnection, suites: dict[str, list[Asked]], words: dict[str, Any]
) -> Iterator[Checked]:
    """What the suites say of a few rows."""
    from enrollsync.validate import few, frames

    for name, suite in suites.items():
        columns = tuple(dict.fromkeys(column for check in suite for column in check.looked_at))
        read = connection.execute(frames.query(run.place, BY_NAME[name], columns, words)).fetchall()
        row_ids, *values = zip(*read, strict=True) if read else [()] * (len(columns) + 1)
        yield few.check_rows(suite, dict(zip(columns, map(list, values), strict=True)), list(row_ids), words)


def _all(run: Run, entities: list[Entity], words: dict[str, Any]) -> Iterator[Checked]:
    """What Great Expectations says of all rows; at the end it writes its site, if the district wants it."""
    from enrollsync.validate import checking, suites

    checking.quiet()
    fitted = [suites.fitted_suite(entity.name, run) for entity in entities]
    answered = []
    with connect(run.place.root) as connection, ThreadPoolExecutor(1) as reader:
        # Tables are read while others are checked; Great Expectations itself cannot work in two threads.
        frames = reader.map(partial(_frame, connection, run.place, words), fitted)
        for suite in fitted:
            answered.append(checking.run_suite(suite, next(frames), words))
            yield answered[-1]
    if run.settings.data_docs:
        checking.write_site(run.place, run.manifest, fitted, [checked.results for checked in answered])


def _frame(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, words: dict[str, Any], suite: ExpectationSuite
) -> pd.DataFrame:
    """What a suite looks at."""
    from enrollsync.validate import frames, suites

    return frames.frame(connection, workspace, suite.name, suites.columns(suite), words)
