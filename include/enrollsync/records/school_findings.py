"""What is to be mended in one school, finding by finding: out of a run's files, or what the roster keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, or_, select

from enrollsync.as_of.records import Read, Row
from enrollsync.database.schema import BASE, FINDINGS
from enrollsync.validate.consequences import WAITS
from enrollsync.words.canonical import ORGANIZATIONS, USERS

MOST = 5_000
"""Findings of one run that the roster is asked for."""


@dataclass(frozen=True)
class SchoolFinding:
    """A finding on a row, and whom the row speaks of."""

    severity: str
    code: str
    file: str | None
    line: int | None
    column: str | None
    message: str
    name: str | None
    """The person's, else the class's."""
    identifier: str | None
    class_id: str | None
    """Beside a person."""


def of_files(told: Path, key: int) -> list[SchoolFinding]:
    """The school's findings of a run whose files are there (`Workspace.school_findings`), worst first."""
    import pyarrow.parquet as pq

    names = list(SchoolFinding.__dataclass_fields__)
    rows = pq.read_table(told, columns=names, filters=[("organization_key", "=", key)]).to_pylist()
    return [SchoolFinding(**row) for row in rows]


def of_roster(read: Read, district_id: str, run_ids: Iterable[str], school: Row) -> list[SchoolFinding]:
    """What the roster keeps of it: for what rows did not load, where they named the school.

    `school`: its row of the base table.
    """
    rows = read(_kept(district_id, list(run_ids), school))
    names = _names(read, district_id, {row["user_id"] for row in rows if row["user_id"]})
    return [
        SchoolFinding(
            row["severity"],
            row["code"],
            row["file"],
            row["line"],
            row["column_name"],
            row["message"] or "",
            names.get(row["user_id"]),
            row["user_id"] or row["user_source_key"] or row["class_id"],
            row["class_id"] if row["user_id"] else None,
        )
        for row in rows
    ]


def _kept(district_id: str, run_ids: list[str], school: Row) -> Select[Any]:
    said = or_(
        FINDINGS.c.organization_id == school[str(ORGANIZATIONS.identifier)],
        FINDINGS.c.organization_source_key == school["source_key"],
    )
    return (
        select(FINDINGS)
        .where(FINDINGS.c.district_id == district_id, FINDINGS.c.run_id.in_(run_ids), said, FINDINGS.c.code != WAITS)
        .order_by(FINDINGS.c.severity, FINDINGS.c.code, FINDINGS.c.file, FINDINGS.c.line, FINDINGS.c.sequence)
        .limit(MOST)
    )


def _names(read: Read, district_id: str, identifiers: set[str]) -> dict[str, str]:
    """Identifier -> name of whoever the roster knows by it."""
    base = BASE[USERS.name]
    query = select(base.c.user_id, base.c.given_name, base.c.family_name)
    rows = read(query.where(base.c.district_id == district_id, base.c.user_id.in_(identifiers))) if identifiers else []
    return {row["user_id"]: " ".join(filter(None, (row["given_name"], row["family_name"]))) for row in rows}
