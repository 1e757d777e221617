"""What it leads to that rows are rejected or disagree, told as findings once `accept` knows which of them load.

From which line a value was taken where rows of one record disagree (VAL-CONFLICT), and for what each record waits that
is set aside because another row does not load (ROW-WAITS). Nothing is decided here; works on the tables of `accept.py`.
"""

from __future__ import annotations

import duckdb

from enrollsync.run import engine
from enrollsync.run.workspace import Workspace
from enrollsync.words import findings
from enrollsync.words.canonical import BY_NAME, ENTITIES, Entity
from enrollsync.words.codes import CODES

WAITS = "ROW-WAITS"


def tell(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Bring `findings.parquet` up to what was accepted."""
    disagreed = connection.execute("SELECT DISTINCT entity, canonical FROM findings WHERE code = 'VAL-CONFLICT'")
    taken = [_taken(BY_NAME[entity], column) for entity, column in disagreed.fetchall()]
    waiting = [_waiting(connection, entity) for entity in ENTITIES if _any_set_aside(connection, entity)]
    if not (taken or waiting):
        return
    said = " UNION ALL BY NAME ".join([_with_choice(taken) if taken else "FROM findings", *waiting])
    columns, order = (", ".join(f'"{name}"' for name in names) for names in (findings.COLUMNS, findings.ORDER))
    engine.write_parquet(connection, f"SELECT {columns} FROM ({said}) ORDER BY {order}", workspace.findings)


# ---- rows that disagree ----------------------------------------------------------------------------------------------


def _with_choice(taken: list[str]) -> str:
    return f"""
        SELECT found.* REPLACE (concat_ws(' ', message, told) AS message)
        FROM findings AS found
        LEFT JOIN ({" UNION ALL ".join(taken)}) AS taken USING (code, entity, canonical, row_id)"""


def _taken(entity: Entity, column: str) -> str:
    """The first line that says what the record was given; nothing where no row of it loads."""
    identity = ", ".join(entity.identity)
    concerned = f"code = 'VAL-CONFLICT' AND entity = '{entity.name}' AND canonical = '{column}'"
    return f"""
            (
                WITH disagreeing AS (
                    SELECT row_id, {identity}
                    FROM {entity.name}_rows
                    SEMI JOIN (FROM findings WHERE {concerned}) USING (row_id)
                ),
                chosen AS (
                    SELECT {identity}, min((said.file, said.line)) AS place
                    FROM {entity.name}_usable AS said
                    SEMI JOIN disagreeing USING ({identity})
                    JOIN {entity.name}_records AS record USING ({identity})
                    WHERE said.{column} = record.{column}
                    GROUP BY {identity}
                )
                SELECT 'VAL-CONFLICT' AS code, '{entity.name}' AS entity, '{column}' AS canonical, row_id,
                    'The value of line ' || place[2] || ' of ' || place[1] || ' is taken.' AS told
                FROM disagreeing
                JOIN chosen USING ({identity})
            )"""


# ---- records that are set aside --------------------------------------------------------------------------------------


def _any_set_aside(connection: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    return bool(engine.one_row(connection, f"SELECT count(*) FROM {entity.name}_set_aside")[0])


def _waiting(connection: duckdb.DuckDBPyConnection, entity: Entity) -> str:
    """One finding for each record that is set aside, on the first line that says it: the first cause there is."""
    for target in entity.links.values():
        connection.execute(_blocking(BY_NAME[target]))
    causes = [_own_line(entity), *(_of_link(entity, link, place) for place, link in enumerate(entity.links, start=1))]
    return f"""
        SELECT '{WAITS}' AS code, '{CODES[WAITS].severity}' AS severity, '{entity.name}' AS entity, row_id, file, line,
            coalesce(arg_min(told, place), 'waits for another line, which does not load') AS message
        FROM {entity.name}_set_aside
        LEFT JOIN ({" UNION ALL ".join(causes)}) USING (row_id)
        GROUP BY row_id, file, line"""


def _own_line(entity: Entity) -> str:
    return f"""
            SELECT row_id, 0 AS place, {waits_for("lost.line", "lost.file")} || ', which was rejected' AS told
            FROM {entity.name}_set_aside AS aside
            JOIN {entity.name}_lost AS lost USING (row_id, file, line)"""


def _of_link(entity: Entity, link: str, place: int) -> str:
    target = BY_NAME[entity.links[link]]
    why = f"CASE WHEN rejected THEN 'was rejected' ELSE '{SET_ASIDE_TOO}' END"
    return f"""
            SELECT row_id, {place}, {waits_for("target.line", "target.file")} || ': its {target.singular} ' || {why}
            FROM {entity.name}_set_aside AS aside
            JOIN {target.name}_blocking AS target ON target.source_key = aside.{link}"""


def _blocking(entity: Entity) -> str:
    """Records of which no row loads, each with its first rejected line; with its first line where it is set aside."""
    return f"""
        CREATE TABLE IF NOT EXISTS {entity.name}_blocking AS
        WITH lost AS (
            SELECT row_id, min((file, line)) AS place
            FROM {entity.name}_lost
            GROUP BY row_id
        ),
        places AS (
            SELECT source_key, coalesce(min(lost.place), min((file, line))) AS place, count(lost.place) > 0 AS rejected
            FROM {entity.name}_rows
            SEMI JOIN (FROM {entity.name}_unusable WHERE holds IS NOT false) USING (row_id)
            ANTI JOIN {entity.name}_records USING (source_key)
            LEFT JOIN lost USING (row_id)
            WHERE source_key IS NOT NULL
            GROUP BY source_key
        )
        SELECT source_key, place[1] AS file, place[2] AS line, rejected
        FROM places"""


SET_ASIDE_TOO = "is set aside too"


def waits_for(line: str, file: str) -> str:
    """SQL for how the message of a ROW-WAITS begins."""
    return f"'waits for line ' || {line} || ' of ' || {file}"
