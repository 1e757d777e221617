"""Canonical tables as frames for Great Expectations: the columns that a suite asks for, and a few that joins answer.

A reference is looked up here, set-wise, and judged there, as a column that is true or not. No judging belongs here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from enrollsync.run.engine import literal
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import BY_NAME, Entity

if TYPE_CHECKING:
    import pandas as pd


def frame(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    entity: str,
    columns: tuple[str, ...],
    words: dict[str, Any],
) -> pd.DataFrame:
    """One row for each canonical row of `entity`, its index the row ids, its `columns` Arrow's.

    Besides the canonical columns there are those of `derived`; `words` are the suites' parameters.
    """
    import pandas as pd

    table = connection.sql(query(workspace, BY_NAME[entity], columns, words)).to_arrow_table()
    read: pd.DataFrame = table.drop_columns(["row_id"]).to_pandas(types_mapper=pd.ArrowDtype)
    read.index = pd.Index(table.column("row_id").to_numpy())
    return read


def query(workspace: Workspace, entity: Entity, columns: tuple[str, ...], words: dict[str, Any]) -> str:
    """The statement that reads `columns` of an entity, joining only what they need."""
    answers = derived(workspace, entity, words)
    selected = ",\n    ".join(f"{answers.get(column, f'this.{column}')} AS {column}" for column in columns)
    statement = f"SELECT\n    this.row_id,\n    {selected}\nFROM {rows(workspace, entity.name)} AS this"
    if "record" in columns:
        same = " AND ".join(f"repeated.{column} = this.{column}" for column in entity.identity)
        statement += f"\nLEFT JOIN ({_repeated(workspace, entity)}) AS repeated ON {same}"
    if "students" in columns:
        statement += f"\nLEFT JOIN ({_crowded(workspace, words['class_size'])}) AS crowded USING (row_id)"
    return statement


def derived(workspace: Workspace, entity: Entity, words: dict[str, Any]) -> dict[str, str]:
    """The columns that are worked out -> how. NULL is no answer, and no check looks at it.

    `record` numbers the records that several rows speak of; `<link>_known` says whether the linked record is in the
    delivery at all; `<link>_given` and `identifier_given` are false where none is named and that is this row's fault;
    `staff_role` is the role of an employee; `brought_key` is the key of a class unless the row says to remove it;
    `students` says on the first row of a class how many it has, where they are more than `class_size`. What is
    `sound_` is a key or a value that is not itself at fault: a misspelt identifier is no second person, and an
    impossible date contradicts nothing.
    """
    own_files = ", ".join(map(literal, words["link_files"]))
    elsewhere = f"this.file NOT IN ({own_files})" if own_files else "true"
    answers = {
        "record": "repeated.record",
        "staff_role": "CASE WHEN this.role IN ('teacher', 'staff') THEN this.role END",
        "brought_key": "CASE WHEN this.action IS NULL THEN this.source_key END",
        "students": "crowded.students",
        # In other files a link without a class or a person belongs to a class or a person without identifier.
        "class_given": f"{elsewhere} OR this.class_source_key IS NOT NULL",
        "user_given": f"{elsewhere} OR this.user_source_key IS NOT NULL",
        "organization_given": "this.user_source_key IS NULL OR this.organization_source_key IS NOT NULL",
        "sound_grade": f"CASE WHEN this.grade IN ({', '.join(map(literal, words['grades']))}) THEN this.grade END",
        "sound_birth_date": _sound_date("birth_date", f" BETWEEN DATE '1900-01-01' AND DATE {literal(words['today'])}"),
        "sound_term_start": _sound_date("term_start"),
        "sound_term_end": _sound_date("term_end"),
    }
    if entity.identifier:
        # Arrow's name for the end of the text is pandas' to translate, DuckDB's is RE2's own.
        regex = literal(words["identifier_regex"].replace(r"\Z", r"\z"))
        identifier = f"this.{entity.identifier}"
        answers |= {
            "identifier_given": f"this.source_key IS NULL OR {identifier} IS NOT NULL",
            "sound_key": f"CASE WHEN regexp_matches(coalesce({identifier}, 'x'), {regex}) THEN this.source_key END",
        }
    for link, target in entity.links.items():
        answers[link.replace("_source_key", "_known")] = f"this.{link} IN ({_keys(workspace, target)})"
    return answers


def _sound_date(column: str, condition: str = " IS NOT NULL") -> str:
    return f"CASE WHEN try_cast(this.{column} AS DATE){condition} THEN this.{column} END"


def rows(workspace: Workspace, entity: str) -> str:
    """The canonical rows of an entity, as a table function."""
    return f"read_parquet({literal(str(workspace.canonical / f'{entity}.parquet'))})"


def _keys(workspace: Workspace, entity: str) -> str:
    return f"SELECT source_key FROM {rows(workspace, entity)} WHERE source_key IS NOT NULL"


def _repeated(workspace: Workspace, entity: Entity) -> str:
    identity = ", ".join(entity.identity)
    return f"""
        SELECT {identity}, min(row_id) AS record
        FROM {rows(workspace, entity.name)}
        GROUP BY {identity}
        HAVING count(*) > 1
    """


def _crowded(workspace: Workspace, size: int) -> str:
    """`row_id, students` of the first row of each class of more students than `size`.

    Rows are counted first, of all classes, and people only where these are too many: that needs a quarter of the time.
    """
    enrolled = f"FROM {rows(workspace, 'enrollments')} WHERE role = 'student'"
    return f"""
        SELECT arg_min(row_id, line) AS row_id, students
        FROM {rows(workspace, "classes")}
        JOIN (
            SELECT class_source_key AS source_key, count(DISTINCT user_source_key) AS students
            {enrolled}
            AND class_source_key IN (
                SELECT class_source_key
                {enrolled}
                GROUP BY class_source_key
                HAVING count(*) > {size}
            )
            GROUP BY class_source_key
        ) USING (source_key)
        GROUP BY source_key, students
    """
