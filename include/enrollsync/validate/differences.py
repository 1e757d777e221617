"""Says in which columns the rows of one identifier for different people (ID-DUPLICATE) differ, and on which lines.

Of lines of `id_changes.csv` that contradict each other, too. That they do was checked before; here the findings are
told so. Names of columns and numbers of lines, never a value.
"""

from __future__ import annotations

from typing import Any

import duckdb

from enrollsync.run.engine import one_row
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.validate.collect import name_table
from enrollsync.validate.frames import query, rows
from enrollsync.words.canonical import ID_CHANGES, USERS, Entity

_COMPARED = {
    "given_name": "given_name",
    "family_name": "family_name",
    "sound_birth_date": "birth_date",
    "lower(email)": "email",
    "kind": "role",
}
"""What makes two people different (rule 6) -> the column that a person knows it by."""
_MOST_LINES = 5
"""Other lines that a finding names."""


def add_differences(connection: duckdb.DuckDBPyConnection, run: Run, words: dict[str, Any]) -> None:
    """Put into the messages of ID-DUPLICATE in `found` what differs, as the file calls it, and the others' lines."""
    if _any(connection, ID_CHANGES):
        for column, others in (("old_id", "new_id"), ("new_id", "old_id")):
            connection.execute(_contradicting(run.place, column, others))
    if not _any(connection, USERS):
        return
    connection.register("compared_names", name_table(run, USERS.name, _COMPARED.values()))
    connection.execute(f"""
        UPDATE found
        SET message = 'Rows with this identifier differ in ' || told.differing || ' (see ' || told.others
            || '): they are different people.'
        FROM ({_told(run.place, words)}) AS told
        WHERE found.row_id = told.row_id AND found.code = 'ID-DUPLICATE' AND found.entity = '{USERS.name}'""")


def _contradicting(workspace: Workspace, column: str, others: str) -> str:
    """Name the first line of each other thing that `id_changes.csv` says of the same identifier in `column`."""
    return f"""
        UPDATE found
        SET message = rtrim(found.message, '.') || ' (see ' || told.lines || ').'
        FROM (
            WITH concerned AS (
                SELECT row_id, entity, {column}, {others} AS said
                FROM {rows(workspace, ID_CHANGES.name)}
                SEMI JOIN ({_concerned(ID_CHANGES)} AND canonical = '{column}') USING (row_id)
            ),
            told AS (
                SELECT entity, {column}, said, min(line) AS line
                FROM concerned
                JOIN {rows(workspace, ID_CHANGES.name)} USING (row_id, entity, {column})
                GROUP BY ALL
            ),
            places AS (
                SELECT entity, {column}, count(*) AS many,
                    list({{said: said, line: line}} ORDER BY line)[:{_MOST_LINES + 1}] AS first
                FROM told
                GROUP BY ALL
            ),
            shown AS (
                SELECT row_id, many, list_filter(first, lambda one: one.said <> said)[:{_MOST_LINES}] AS lines
                FROM concerned
                JOIN places USING (entity, {column})
            )
            SELECT row_id, array_to_string(list_transform(lines, lambda one: 'line ' || one.line), ', ')
                || CASE WHEN many - 1 > len(lines) THEN ' and ' || (many - 1 - len(lines)) || ' more' ELSE '' END
                AS lines
            FROM shown
        ) AS told
        WHERE found.row_id = told.row_id AND found.code = 'ID-DUPLICATE' AND found.entity = '{ID_CHANGES.name}'
            AND found.canonical = '{column}'"""


def _any(connection: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    return one_row(connection, f"SELECT count(*) FROM ({_concerned(entity)})") != (0,)


def _concerned(entity: Entity) -> str:
    return f"SELECT row_id FROM found WHERE code = 'ID-DUPLICATE' AND entity = '{entity.name}'"


def _told(workspace: Workspace, words: dict[str, Any]) -> str:
    """`row_id, differing, others`; of a record of very many rows the first lines are named and the rest counted."""
    columns = ("source_key", "given_name", "family_name", "sound_birth_date", "email", "kind")
    differing = ", ".join(
        f"CASE WHEN count(DISTINCT {value}) > 1 THEN '{name}' END" for value, name in _COMPARED.items()
    )
    return f"""
        WITH concerned AS (
            SELECT row_id, source_key, file, line
            FROM {rows(workspace, USERS.name)}
            SEMI JOIN ({_concerned(USERS)}) USING (row_id)
        ),
        differing AS (
            SELECT source_key, [{differing}] AS names
            FROM ({query(workspace, USERS, columns, words)})
            SEMI JOIN concerned USING (source_key)
            GROUP BY source_key
        ),
        named AS (
            SELECT source_key, file, string_agg(source, ', ' ORDER BY place) AS differing
            FROM (
                SELECT source_key, unnest(names) AS "column", generate_subscripts(names, 1) AS place
                FROM differing
            )
            JOIN compared_names USING ("column")
            WHERE source IS NOT NULL
            GROUP BY source_key, file
        ),
        places AS (
            SELECT source_key, count(*) AS rows,
                list({{row_id: row_id, file: file, line: line}} ORDER BY file, line)[:{_MOST_LINES + 1}] AS first
            FROM concerned
            GROUP BY source_key
        ),
        others AS (
            SELECT row_id, source_key, file, rows,
                list_filter(first, lambda one: one.row_id <> row_id)[:{_MOST_LINES}] AS shown
            FROM concerned
            JOIN places USING (source_key)
        )
        SELECT row_id, differing,
            array_to_string(list_transform(shown, lambda one:
                'line ' || one.line || CASE WHEN one.file <> file THEN ' of ' || one.file ELSE '' END
            ), ', ')
            || CASE WHEN rows - 1 > len(shown) THEN ' and ' || (rows - 1 - len(shown)) || ' more' ELSE '' END AS others
        FROM others
        JOIN named USING (source_key, file)"""
