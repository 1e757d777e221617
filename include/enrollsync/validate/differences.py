"""Says in which columns the rows of one identifier for different people (ID-DUPLICATE) differ, and on which lines.

That they do was checked before; here the findings are told so. Names of columns and numbers of lines, never a value.
"""

from __future__ import annotations

from typing import Any

import duckdb

from enrollsync.run.engine import one_row
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District
from enrollsync.validate.collect import name_table
from enrollsync.validate.frames import query, rows
from enrollsync.words.canonical import USERS

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


def add_differences(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, manifest: RunManifest, district: District,
    words: dict[str, Any],
) -> None:  # fmt: skip
    """Put into the messages of ID-DUPLICATE in `found` what differs, as the file calls it, and the others' lines."""
    if one_row(connection, f"SELECT count(*) FROM ({_concerned()})") == (0,):
        return
    connection.register("compared_names", name_table(manifest, district, USERS.name, _COMPARED.values()))
    connection.execute(f"""
        UPDATE found
        SET message = 'Rows with this identifier differ in ' || told.differing || ' (see ' || told.others
            || '): they are different people.'
        FROM ({_told(workspace, words)}) AS told
        WHERE found.row_id = told.row_id AND found.code = 'ID-DUPLICATE' AND found.entity = '{USERS.name}'""")


def _concerned() -> str:
    return f"SELECT row_id FROM found WHERE code = 'ID-DUPLICATE' AND entity = '{USERS.name}'"


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
            SEMI JOIN ({_concerned()}) USING (row_id)
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
