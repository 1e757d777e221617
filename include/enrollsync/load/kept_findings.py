"""What the database remembers of a run's findings: why a row did not load, and whom it speaks of.

The workspace may be deleted at any time, and "why is this student not there" is asked weeks later. Findings with which
a row loads all the same are not remembered. Reading them again belongs to `explain.py`.
"""

from __future__ import annotations

from pathlib import Path

from enrollsync.database.schema import FINDINGS, said_columns
from enrollsync.run import engine
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES, Entity
from enrollsync.words.codes import CODES, Scope, Severity

_NAMES = tuple(name for entity in ENTITIES if entity.key for name in said_columns(entity))
_PERSON = said_columns(BY_NAME["users"])
_PLACES = tuple(name for name in _NAMES if name not in _PERSON)


def write_findings_to_keep(workspace: Workspace) -> Path | None:
    """Write `kept_findings.parquet`: the columns of `schema.FINDINGS` but for district and run.

    Returns its path; None when the run has no such findings, or did not come to look for any.
    """
    if not workspace.findings.is_file():
        return None
    with engine.connect(workspace.root) as connection:
        connection.execute(_kept_back(workspace))
        if engine.one_row(connection, "SELECT count(*) FROM kept_back") == (0,):
            return None
        connection.execute(_spoken_of(workspace))
        path = workspace.root / "kept_findings.parquet"
        engine.write_parquet(connection, _told(), path)
        return path


def _kept_back(workspace: Workspace) -> str:
    """Findings for which a row is rejected, or for which its record waits."""
    holding = ", ".join(
        f"'{code.code}'"
        for code in CODES.values()
        if code.scope is Scope.RECORD and code.severity is not Severity.CRITICAL
    )
    return f"""
        CREATE TABLE kept_back AS
        SELECT code, severity, entity, row_id, file, line, "column" AS column_name, message
        FROM {engine.parquet(workspace.findings)}
        WHERE severity = '{Severity.CRITICAL}' OR severity = '{Severity.WARNING}' AND code IN ({holding})"""


def _spoken_of(workspace: Workspace) -> str:
    """Whom the rows of these lines name: one line may speak of a school, a class and one or two people."""
    parts = [_rows(entity, workspace) for entity in ENTITIES]
    if workspace.canonical_table(ID_CHANGES.name).is_file():
        parts.append(_changed_identifiers(workspace))
    rows = " UNION ALL BY NAME ".join(parts)
    places = ", ".join(f"max({name}) AS {name}" for name in _PLACES)
    identifier, source_key = _PERSON
    return f"""
        CREATE TABLE named AS
        FROM ({rows})
        SEMI JOIN kept_back USING (file, line);
        CREATE TABLE people AS
        SELECT file, line, max({identifier}) AS {identifier}, {source_key}
        FROM named
        WHERE coalesce({identifier}, {source_key}) IS NOT NULL
        GROUP BY file, line, {source_key};
        CREATE TABLE places AS
        SELECT file, line, {places}
        FROM named
        GROUP BY file, line"""


def _rows(entity: Entity, workspace: Workspace) -> str:
    """The rows of the files concerned, once for each of their lines."""
    own = [entity.identifier, f"source_key AS {said_columns(entity)[1]}"] if entity.identifier else []
    said = [*own, *entity.links]
    return f"""
            SELECT '{entity.name}' AS entity, row_id, file, unnest(lines) AS line, {", ".join(said)}
            FROM {engine.parquet(workspace.canonical_table(entity.name))}
            WHERE file IN (SELECT file FROM kept_back)"""


def _changed_identifiers(workspace: Workspace) -> str:
    """A line of `id_changes.csv` calls a record by its old identifier and by its new one."""
    names = [(entity, *said_columns(entity)) for entity in ENTITIES if entity.key]
    said = ", ".join(
        f"CASE WHEN entity = '{entity.name}' THEN old_id END AS {identifier}, "
        f"CASE WHEN entity = '{entity.name}' THEN new_id END AS {source_key}"
        for entity, identifier, source_key in names
    )
    return f"""
            SELECT '{ID_CHANGES.name}' AS entity, row_id, file, unnest(lines) AS line, {said}
            FROM {engine.parquet(workspace.canonical_table(ID_CHANGES.name))}"""


def _told() -> str:
    """Each finding with the places of its line; a finding about one person is not told of another on that line."""
    own = f"""
            SELECT entity, row_id, file, line, max({_PERSON[1]}) AS own_person
            FROM named
            GROUP BY ALL"""
    columns = [column.name for column in FINDINGS.columns if column.name not in {"district_id", "run_id", "sequence"}]
    return f"""
        WITH told AS (
            SELECT DISTINCT {", ".join(columns)}
            FROM kept_back
            LEFT JOIN places USING (file, line)
            LEFT JOIN ({own}) AS own USING (entity, row_id, file, line)
            LEFT JOIN people ON people.file = kept_back.file AND people.line = kept_back.line
                AND (own_person IS NULL OR own_person = {_PERSON[1]})
        )
        SELECT row_number() OVER (ORDER BY {", ".join(columns)}) AS sequence, {", ".join(columns)}
        FROM told"""
