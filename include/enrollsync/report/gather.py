"""Reads from a run's workspace what its report shows.

Everything is counted and cut by DuckDB; names, emails and identifiers of people are not read at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby

import duckdb

from enrollsync.report.facts import (
    ALL_FINDINGS,
    MOST_CAUSES,
    MOST_LINES,
    MOST_MESSAGES,
    MOST_ORGANIZATIONS,
    PROPOSED_CHANGES,
    SWITCH_LIST,
    Cause,
    Check,
    Facts,
    Group,
    Link,
    Organization,
    Place,
)
from enrollsync.run.run import Run
from enrollsync.run.workspace import Notice, RunManifest, Workspace
from enrollsync.validate import quarantine
from enrollsync.validate.consequences import WAITS
from enrollsync.words.codes import CODES


def gather(run: Run) -> Facts:
    """Read what the run left; a file that it did not come to write counts as empty."""
    workspace = run.place
    with quarantine.findings_tables(run) as connection:
        rejected = quarantine.rejected_lines(connection)
        copies = [name for name in rejected if quarantine.error_file(workspace, name).is_file()]
        return Facts(
            run.manifest,
            run.settings,
            refusals=_refusals(run.manifest),
            groups=tuple(_groups(connection)),
            organizations=_organizations(connection, workspace),
            checks=_checks(workspace),
            links=tuple(_links(workspace, {name: rejected[name] for name in copies})),
            children=bool(copies) or workspace.proposed_id_changes.is_file() or workspace.switch_list.is_file(),
        )


def _refusals(manifest: RunManifest) -> tuple[Notice, ...]:
    if manifest.outcome != "refused":
        return ()
    return tuple(one for one in quarantine.file_level(manifest) if one.severity == "critical")


def _groups(connection: duckdb.DuckDBPyConnection) -> Iterable[Group]:
    places, (causes, more) = _places(connection), _causes(connection)
    found = connection.execute(
        """
        WITH everything AS (
            SELECT severity, code, NULL AS message FROM findings
            UNION ALL
            SELECT severity, code, message FROM notices
        )
        SELECT
            severity,
            code,
            count(*),
            list_sort(list(DISTINCT message) FILTER (message IS NOT NULL))[:$most]
        FROM everything
        GROUP BY severity, code
        ORDER BY list_position(['critical', 'warning', 'info'], severity), count(*) DESC, code
        """,
        {"most": MOST_MESSAGES},
    )
    for severity, code, count, messages in found.fetchall():
        known = CODES.get(code)
        yield Group(
            severity,
            code,
            title=known.title if known else code,
            why=known.why if known else "",
            remedy=known.remedy if known else "",
            rule=known.rule if known else "",
            count=count,
            messages=tuple(messages or ()),
            places=places.get((severity, code), ()),
            causes=causes if code == WAITS else (),
            more_causes=more if code == WAITS else 0,
        )


def _causes(connection: duckdb.DuckDBPyConnection) -> tuple[tuple[Cause, ...], int]:
    """What most of the records wait for that are set aside, and for how much more others do.

    These messages hold numbers of lines and words of ours only.
    """
    found = connection.execute(
        f"""
        SELECT message, count(*) AS records, count(*) OVER () AS causes
        FROM findings
        WHERE code = '{WAITS}'
        GROUP BY message
        ORDER BY records DESC, message
        LIMIT {MOST_CAUSES}
        """
    ).fetchall()
    causes = found[0][2] if found else 0
    return tuple(Cause(message, records) for message, records, _ in found), causes - len(found)


def _places(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], tuple[Place, ...]]:
    """(severity, code) -> where it was found; neighbouring lines are joined to ranges."""
    found = connection.execute(
        """
        WITH everything AS (
            SELECT severity, code, file, "column", line FROM findings
            UNION ALL
            SELECT severity, code, file, NULL, line FROM notices
        ),
        per_line AS (
            SELECT severity, code, file, coalesce("column", '') AS place, line, count(*) AS findings
            FROM everything
            WHERE file IS NOT NULL
            GROUP BY ALL
        ),
        numbered AS (
            SELECT *, row_number() OVER (PARTITION BY severity, code, file, place ORDER BY line) AS position
            FROM per_line
        ),
        ranges AS (
            SELECT severity, code, file, place, min(line) AS first_line, max(line) AS last_line
            FROM numbered
            WHERE position <= $most
              AND line IS NOT NULL
            GROUP BY severity, code, file, place, line - position
        ),
        shown AS (
            SELECT
                severity, code, file, place,
                string_agg(
                    CASE WHEN first_line = last_line THEN first_line::VARCHAR ELSE first_line || '-' || last_line END,
                    ', ' ORDER BY first_line
                ) AS lines
            FROM ranges
            GROUP BY severity, code, file, place
        ),
        totals AS (
            SELECT severity, code, file, place, sum(findings)::BIGINT AS findings, count(*) AS lines
            FROM numbered
            GROUP BY severity, code, file, place
        )
        SELECT
            totals.severity,
            totals.code,
            totals.file,
            nullif(totals.place, ''),
            totals.findings,
            coalesce(shown.lines, ''),
            greatest(totals.lines - $most, 0)
        FROM totals
        LEFT JOIN shown USING (severity, code, file, place)
        ORDER BY totals.severity, totals.code, totals.file, totals.place
        """,
        {"most": MOST_LINES},
    )
    grouped = groupby(found.fetchall(), key=lambda row: (row[0], row[1]))
    return {key: tuple(Place(*row[2:]) for row in rows) for key, rows in grouped}


def _organizations(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> tuple[Organization, ...]:
    """The organizations with most changes first; those after MOST_ORGANIZATIONS summed in the last one.

    One without a name goes by its identifier, which the summary has masked where it could be a social security number.
    """
    path = workspace.written(workspace.organizations_summary)
    if not path.is_file():
        return ()
    found = connection.execute(
        r"""
        WITH changed AS (
            SELECT
                CASE
                    WHEN name <> '' THEN name
                    ELSE coalesce(organization_id, 'No organization')
                END AS name,
                created, updated, deactivated, unchanged,
                row_number() OVER (
                    ORDER BY created + updated + deactivated DESC, name, organization_id
                ) AS position
            FROM read_parquet($path)
            WHERE created + updated + deactivated > 0
        ),
        totals AS (
            SELECT
                least(position, $most + 1) AS rank,
                CASE WHEN rank > $most THEN count(*) || ' more organizations' ELSE any_value(name) END AS name,
                sum(created)::BIGINT AS created,
                sum(updated)::BIGINT AS updated,
                sum(deactivated)::BIGINT AS deactivated,
                sum(unchanged)::BIGINT AS unchanged
            FROM changed
            GROUP BY rank
        )
        SELECT name, created, updated, deactivated, unchanged
        FROM totals
        ORDER BY rank
        """,
        {"path": str(path), "most": MOST_ORGANIZATIONS},
    )
    return tuple(Organization(*row) for row in found.fetchall())


def _checks(workspace: Workspace) -> tuple[Check, ...]:
    """In the suites' order."""
    if not workspace.checks.is_file():
        return ()
    return tuple(Check(**told) for told in json.loads(workspace.checks.read_text()))


def _links(workspace: Workspace, rejected: dict[str, int]) -> Iterable[Link]:
    if (workspace.root / quarantine.FINDINGS_FILE).is_file():
        yield ALL_FINDINGS
    for name, count in rejected.items():
        copy = quarantine.error_file(workspace, name)
        lines = "1 rejected line" if count == 1 else f"{count:,} rejected lines"
        yield Link(copy.relative_to(workspace.root).as_posix(), f"Rejected lines of {name}", f"{lines}, whole")
    if workspace.proposed_id_changes.is_file():
        yield PROPOSED_CHANGES
    if workspace.switch_list.is_file():
        yield SWITCH_LIST
    if (workspace.data_docs / "index.html").is_file():
        yield Link("data_docs/index.html", "Data Docs", "Great Expectations' own pages of the checks")
