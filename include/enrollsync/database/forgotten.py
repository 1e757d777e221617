"""People who were forgotten: what is left to recognise them by when a delivery still has them.

A mark is a keyed hash of an identifier, a source key or a secondary ID; the key is the district's own and random. It
says whether a value that somebody has is the one, and gives none away to who has the marks alone. Who has the whole
database has the key too, and can try out short identifiers one by one: that somebody was forgotten under one of them is
all that this tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select

from enrollsync.database.dialects import Session
from enrollsync.database.schema import DISTRICT_STATE, FORGOTTEN

if TYPE_CHECKING:
    import pyarrow as pa

MARKED = ("user_id", "source_key", "user_district_id", "user_state_id")
"""The columns of a person that are marked. An email is not: families share one."""


def mark(key: str, column: str, value: str) -> str:
    """The mark of a value of that column, under the district's key."""
    return _hash(key + _hash(f"{key}{column}:{value}"))


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def mark_sql(column: str, value: str) -> str:
    """DuckDB's SQL for `mark` of the expression `value`; a column `key` must be at hand."""
    return f"sha256(key || sha256(key || '{column}:' || {value}))"


def forgotten_people(district_id: str) -> Select[Any]:
    """Asks for what `write_forgotten` takes."""
    return (
        select(DISTRICT_STATE.c.forget_key, FORGOTTEN.c.mark, FORGOTTEN.c.user_key, FORGOTTEN.c.state_after)
        .join_from(FORGOTTEN, DISTRICT_STATE, DISTRICT_STATE.c.district_id == FORGOTTEN.c.district_id)
        .where(FORGOTTEN.c.district_id == district_id)
    )


def forgotten_as(
    read: Callable[[Select[Any]], list[dict[str, Any]]], district_id: str, names: Iterable[str]
) -> list[dict[str, Any]]:
    """Who went by one of the names and was forgotten: `user_key`, `run_id`, `state_after`, each once."""
    keys = read(select(DISTRICT_STATE.c.forget_key).where(DISTRICT_STATE.c.district_id == district_id))
    key = next((row["forget_key"] for row in keys), None)
    if key is None:
        return []
    marks = [mark(key, column, name) for name in names for column in ("user_id", "source_key")]
    return read(
        select(FORGOTTEN.c.user_key, FORGOTTEN.c.run_id, FORGOTTEN.c.state_after)
        .distinct()
        .where(FORGOTTEN.c.district_id == district_id, FORGOTTEN.c.mark.in_(marks))
        .order_by(FORGOTTEN.c.user_key)
    )


def without_forgotten(session: Session, findings: pa.Table, district_id: str) -> pa.Table:
    """A run's findings, as `kept_findings.py` writes them, without the names of people who were forgotten."""
    import pyarrow as pa

    known = session.rows(forgotten_people(district_id))
    if not known:
        return findings
    key, marks = known[0][0], {row[1] for row in known}
    names = {"user_id": "user_id", "user_source_key": "source_key"}
    said = {name: findings[name].to_pylist() for name in names}
    told = [
        not any(value and mark(key, column, value) in marks for value, column in zip(row, names.values(), strict=True))
        for row in zip(*said.values(), strict=True)
    ]
    for name, values in said.items():
        kept = [value if tell else None for value, tell in zip(values, told, strict=True)]
        findings = findings.set_column(findings.column_names.index(name), name, pa.array(kept, pa.string()))
    return findings


def write_forgotten(rows: Iterable[Sequence[Any]], folder: Path) -> None:
    """`forgotten.parquet`: `key`, `mark`, `user_key` and the version of the state after they were forgotten."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("key", pa.string()), ("mark", pa.string()), ("user_key", pa.int64()),
                        ("state_after", pa.int64())])  # fmt: skip
    told = [dict(zip(schema.names, row, strict=True)) for row in rows]
    pq.write_table(pa.Table.from_pylist(told, schema), folder / "forgotten.parquet")
