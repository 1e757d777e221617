"""The table of findings on rows, `findings.parquet`: its columns and their order.

Which findings there are is decided in `validate`; what the codes mean stands in `codes.py`.
"""

from __future__ import annotations

COLUMNS: dict[str, str] = {
    "code": "VARCHAR",
    "severity": "VARCHAR",
    "entity": "VARCHAR",
    "row_id": "BIGINT",
    "file": "VARCHAR",
    "line": "BIGINT",
    "column": "VARCHAR",
    "canonical": "VARCHAR",
    "message": "VARCHAR",
}
"""Column -> DuckDB type. One row for each line concerned; no `message` holds a value of a student.

`canonical` is the column of the canonical table that the finding is about, `column` what the file calls it; both are
NULL for a finding on the line as a whole. `row_id` is NULL for a malformed line, and for what only the database could
tell (`reconcile`), whose findings are known by that and replaced when a plan is made anew."""

ORDER: tuple[str, ...] = ("file", "line", "code", "entity", "column")
"""How the table is sorted."""


def schema() -> str:
    """The columns as a `CREATE TABLE` wants them."""
    return ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
