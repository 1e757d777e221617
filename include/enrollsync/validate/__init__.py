"""Checking the canonical tables with Great Expectations: rows that break a rule become findings.

`suites` says what is asked, `expectations` and `frames` help to ask it, `checking` asks, `collect` writes the answers
down. What a finding means for loading is decided elsewhere (`codes.py`, `accept.py`). Importing this package is cheap;
Great Expectations, which takes seconds, is imported by the first call.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from enrollsync.canonical import ENTITIES
from enrollsync.engine import connect
from enrollsync.settings import District
from enrollsync.workspace import RunManifest, Workspace

if TYPE_CHECKING:
    import duckdb
    from great_expectations.core import ExpectationSuite, ExpectationValidationResult
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

# Read when Great Expectations is imported: without it, that would tell its makers about every run.
os.environ["GX_ANALYTICS_ENABLED"] = "false"


def validate(workspace: Workspace, manifest: RunManifest, district: District) -> None:
    """Check `canonical/` and write `findings.parquet` and the site in `data_docs/`.

    One finding for each line and fault, malformed lines included; columns: `findings.COLUMNS`. Raises
    ConfigurationError when a suite is broken and EnrollSyncError when a check cannot be made: silence is no success.
    """
    from enrollsync.validate import checking, collect, suites

    context = checking.quiet_context(workspace)
    words = suites.parameters(manifest, district)
    asked, results = [], []
    with connect(workspace.root) as connection:
        collect.create_table(connection)
        for entity in ENTITIES:
            suite = suites.fitted_suite(entity.name, manifest, district)
            answered = _run(connection, context, workspace, suite, words)
            checks = collect.check_table(suite, words)
            names = collect.name_table(manifest, district, entity.name, checks["column"].to_pylist())
            collect.add(connection, workspace, entity.name, checks, names, checking.answers(answered))
            asked.append(suite)
            results.append(answered)
        collect.add_malformed(connection, workspace, manifest)
        collect.write(connection, workspace)
    checking.write_site(context, manifest, asked, results)


def _run(
    connection: duckdb.DuckDBPyConnection,
    context: EphemeralDataContext,
    workspace: Workspace,
    suite: ExpectationSuite,
    words: dict[str, Any],
) -> list[ExpectationValidationResult]:
    """One suite over its table; a function of its own, so that the frame is let go before the next one is read."""
    from enrollsync.validate import checking, frames, suites

    frame = frames.frame(connection, workspace, suite.name, suites.columns(suite), words)
    return checking.run_suite(context, suite, frame, words)
