"""What was found in a run, line by line: why did line 17 not load, and what waits for what."""

from __future__ import annotations

from dataclasses import dataclass

from enrollsync.run.run import Run
from enrollsync.words.codes import CODES
from enrollsync.words.masking import masked

PAGE = 20
"""Findings on one page."""


@dataclass(frozen=True)
class Found:
    """One finding on a row or a file."""

    severity: str
    code: str
    title: str
    file: str | None
    line: int | None
    column: str | None
    message: str
    remedy: str


@dataclass(frozen=True)
class Sought:
    """Which findings a person wants to see."""

    code: str = ""
    severity: str = ""
    file: str = ""
    line: int | None = None
    page: int = 1


def view_findings(run: Run, sought: Sought) -> tuple[int, list[Found]]:
    """How many fit, and one page of them: worst first, then by file and line."""
    from enrollsync.run import engine
    from enrollsync.validate import quarantine

    conditions, values = ["true"], {}
    for name in ("code", "severity", "file", "line"):
        if (value := getattr(sought, name)) not in ("", None):
            conditions.append(f"{name} = ${name}")
            values[name] = value
    with engine.for_page() as connection:
        quarantine.make_findings_tables(connection, run)
        everything = f"""
            FROM (
                SELECT severity, code, file, line, "column", message FROM findings
                UNION ALL
                SELECT severity, code, file, line, NULL, message FROM notices
            )
            WHERE {" AND ".join(conditions)}"""
        ((count,),) = connection.execute(f"SELECT count(*) {everything}", values).fetchall()
        rows = connection.execute(
            f"""
            SELECT severity, code, file, line, "column", message {everything}
            ORDER BY list_position(['critical', 'warning', 'info'], severity), file, line, code, "column"
            LIMIT {PAGE} OFFSET $offset""",
            values | {"offset": PAGE * (sought.page - 1)},
        ).fetchall()
    return count, [_found(*row) for row in rows]


def _found(severity: str, code: str, file: str | None, line: int | None, column: str | None, message: str) -> Found:
    known = CODES.get(code)
    title, remedy = (known.title, known.remedy) if known else (code, "")
    return Found(severity, code, title, file, line, column, masked(message or ""), remedy)
