"""What only the database could tell of rows: who waits for a person, what hangs on nothing, whose values clash.

Codes that checks give too stand here for the rows of a plan; theirs are known by `row_id`.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from enrollsync.database.schema import record_keys
from enrollsync.formats import ID_CHANGES_FILE
from enrollsync.plan.reconcile.clashes import CODES_OF_CLASHES
from enrollsync.plan.reconcile.edits import are_kept
from enrollsync.plan.reconcile.merges import are_merged
from enrollsync.plan.reconcile.tables import RECORDS, empty
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.validate.consequences import SET_ASIDE_TOO, WAITS, waits_for
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES, Entity
from enrollsync.words.codes import CODES, FORGOTTEN

_KEPT = "PLAN-EDIT-KEPT"
_MERGED = "PLAN-MERGED"
_PLANNED_CODES = (
    "PLAN-AMBIGUOUS",
    "PLAN-RECYCLED",
    "PLAN-REIDENTIFY-TAKEN",
    "PLAN-NO-ROLE",
    FORGOTTEN,
    "ID-LEADING-ZERO",
)
_ASKED_CODES = ("REF-UNKNOWN", WAITS, *CODES_OF_CLASHES)
"""Codes that checks give too, to rows that they name by `row_id`."""


def write_findings(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Put the plan's own findings into `findings.parquet`, in the place of an earlier plan's."""
    connection.execute(empty("told"))
    kept = [_kept_edits(entity, run.place) for entity in RECORDS] if are_kept(connection, run) else []
    merged = [_merged_rows(run.place)] if are_merged(connection) else []
    for found in (*_found(connection, run.format.source.name), *kept, *merged):
        connection.execute(f"INSERT INTO told BY NAME {found}")
    connection.register("names", _names(run))
    ours = ", ".join(f"'{code}'" for code in (*_PLANNED_CODES, *_ASKED_CODES, _KEPT, _MERGED))
    engine.write_parquet(
        connection,
        f"""
        SELECT * FROM {engine.parquet(run.place.findings)} WHERE row_id IS NOT NULL OR code NOT IN ({ours})
        UNION ALL BY NAME
        SELECT told.* EXCLUDE (field), field AS canonical, coalesce(names.source, field) AS {engine.name("column")}
        FROM told
        LEFT JOIN names USING (file, entity, field)
        ORDER BY file, line, code""",
        run.place.findings,
    )


def _kept_edits(entity: Entity, workspace: Workspace) -> str:
    """Rows under an identifier that a person has changed since."""
    return f"""
            SELECT DISTINCT '{_KEPT}' AS code, '{CODES[_KEPT].severity}' AS severity, '{entity.name}' AS entity, file,
                unnest(lines) AS line, '{entity.identifier}' AS field,
                'a person has changed it on the profile page; the row is read as if it said the new one' AS message
            FROM {engine.parquet(workspace.canonical_table(entity.name))} AS said
            JOIN {entity.name}_edited AS edited USING (source_key)
            WHERE said.{entity.identifier} = edited.old_id"""


def _merged_rows(workspace: Workspace) -> str:
    """Rows of people who were merged into others."""
    return f"""
            SELECT DISTINCT '{_MERGED}' AS code, '{CODES[_MERGED].severity}' AS severity, 'users' AS entity, file,
                unnest(lines) AS line, 'user_id' AS field,
                'this person was merged into another; the row is read as that one''s' AS message
            FROM {engine.parquet(workspace.canonical_table("users"))}
            SEMI JOIN users_merged USING (source_key)"""


def _found(connection: duckdb.DuckDBPyConnection, source: str) -> Iterator[str]:
    """Queries of findings, those alone that can find any: most nights there is nothing to tell."""
    some = {
        name
        for (name,) in connection.execute(
            " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (FROM {name})" for name in _SOURCES)
        ).fetchall()
    }
    for entity in ENTITIES:
        if f"{entity.name}_held" in some:
            yield _held_findings(entity, source)
        if f"{entity.name}_renames" in some:
            yield _id_change_findings(entity, source)
        if f"{entity.name}_removals" in some:
            yield _unknown_removals(entity, source)
        if f"{entity.name}_dangling" in some:
            yield from (_unknown_findings(entity, link, source) for link in entity.links)
            yield _waiting_findings(entity)
    if "users_clashes" in some:
        yield _clash_findings(source)


_SOURCES = (
    *(f"{entity.name}_{relation}" for entity in RECORDS for relation in ("held", "renames")),
    *(f"{entity.name}_dangling" for entity in ENTITIES if entity.links),
    *(f"{entity.name}_removals" for entity in ENTITIES),
    "users_clashes",
)


def _names(run: Run) -> pa.Table:
    """`file, entity, field, source`: what each file calls the canonical columns."""
    declared = run.format
    rows = [
        (file.name, entity.name, column, declared.called(file.name, entity.name, column))
        for file in run.manifest.files
        for entity in ENTITIES
        for column in entity.columns
    ]
    columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
    return pa.table(columns, names=["file", "entity", "field", "source"])


def _held_findings(entity: Entity, source: str) -> str:
    severities = " ".join(f"WHEN '{code}' THEN '{_severity(code, source)}'" for code in _PLANNED_CODES)
    messages = " ".join(f"WHEN '{code}' THEN '{_sentence(code)}'" for code in _PLANNED_CODES)
    return f"""
            SELECT DISTINCT code, CASE code {severities} END AS severity, '{entity.name}' AS entity, new.file, new.line,
                '{entity.identifier}' AS field, CASE code {messages} END AS message
            FROM {entity.name}_held
            JOIN {entity.name}_accepted AS new USING (source_key)"""


def _unknown_findings(entity: Entity, link: str, source: str) -> str:
    target = entity.links[link]
    return f"""
            SELECT 'REF-UNKNOWN' AS code, '{_severity("REF-UNKNOWN", source)}' AS severity,
                '{entity.name}' AS entity, file, line, '{link}' AS field,
                'there is no such record among the {target} of the batch or the roster' AS message
            FROM {entity.name}_dangling
            WHERE NOT waits AND {link} NOT IN (SELECT source_key FROM {target}_lookup)"""


def _waiting_findings(entity: Entity) -> str:
    """What each record waits for that hangs on one which waits for a decision, or on nothing that is known."""
    identity = ", ".join(entity.identity)
    causes = " UNION ALL ".join(_waits_for_linked(entity, link, place) for place, link in enumerate(entity.links))
    return f"""
            SELECT '{WAITS}' AS code, '{CODES[WAITS].severity}' AS severity, '{entity.name}' AS entity, file, line,
                NULL AS field, coalesce(arg_min(told, place), 'waits for a record that waits') AS message
            FROM {entity.name}_dangling
            LEFT JOIN ({causes}) USING ({identity})
            WHERE waits
            GROUP BY {identity}, file, line"""


def _waits_for_linked(entity: Entity, link: str, place: int) -> str:
    target = BY_NAME[entity.links[link]]
    identity = ", ".join(f"this.{name}" for name in entity.identity)
    return f"""
                SELECT {identity}, {place} AS place,
                    {waits_for("other.line", "other.file")} || ': its {target.singular} ' || CASE
                        WHEN held.code IS NOT NULL THEN 'waits for a decision (' || held.code || ')'
                        WHEN hanging.waits THEN '{SET_ASIDE_TOO}'
                        ELSE 'was rejected'
                    END AS told
                FROM {entity.name}_dangling AS this
                JOIN {target.name}_unplanned AS waiting ON waiting.source_key = this.{link}
                JOIN {target.name}_accepted AS other ON other.source_key = waiting.source_key
                LEFT JOIN {target.name}_held AS held ON held.source_key = waiting.source_key
                LEFT JOIN {target.name}_dangling AS hanging ON hanging.source_key = waiting.source_key
                WHERE this.waits"""


def _id_change_findings(entity: Entity, source: str) -> str:
    """Lines of `id_changes.csv` that cannot be followed."""
    return f"""
            SELECT 'REF-UNKNOWN' AS code, '{_severity("REF-UNKNOWN", source)}' AS severity,
                '{ID_CHANGES.name}' AS entity, '{ID_CHANGES_FILE.name}' AS file, line, 'old_id' AS field,
                'no record of this kind has that identifier' AS message
            FROM {entity.name}_renames
            WHERE fate = 'unknown'
            UNION ALL BY NAME
            SELECT DISTINCT 'PLAN-REIDENTIFY-TAKEN' AS code,
                '{_severity("PLAN-REIDENTIFY-TAKEN", source)}' AS severity, '{ID_CHANGES.name}' AS entity,
                '{ID_CHANGES_FILE.name}' AS file, line, 'new_id' AS field,
                '{_sentence("PLAN-REIDENTIFY-TAKEN")}' AS message
            FROM {entity.name}_renames
            LEFT JOIN {entity.name}_held AS held ON held.old_key = key
            WHERE fate = 'taken' OR fate = 'open' AND held.code = 'PLAN-REIDENTIFY-TAKEN'"""


def _unknown_removals(entity: Entity, source: str) -> str:
    """Removals of what is neither in the batch nor in the roster; what was removed before is known."""
    links = {"source_key": entity.name} if entity.key else entity.links
    joins = "".join(
        f"""
            LEFT JOIN {target}_lookup AS {target}_end ON {target}_end.source_key = removal.{link}"""
        for link, target in links.items()
    )
    ends = [f"{target}_end.key" for target in links.values()]
    same = [f"old.{key} = {end}" for key, end in zip(record_keys(entity), ends, strict=True)]
    same += [f"coalesce(old.{name} = removal.{name}, true)" for name in entity.told_apart_by]
    known = f"FROM stored_{entity.name} AS old WHERE {' AND '.join(same)}"
    unknown = f"{ends[0]} IS NULL" if entity.key else f"NOT EXISTS ({known})"
    called = f"such {entity.singular}" if entity.key else "such record among the " + entity.name
    return f"""
            SELECT 'REF-UNKNOWN' AS code, '{_severity("REF-UNKNOWN", source)}' AS severity,
                '{entity.name}' AS entity, file, line, '{entity.identifier or next(iter(links))}' AS field,
                'there is no {called} to remove' AS message
            FROM {entity.name}_removals AS removal{joins}
            WHERE {unknown}"""


def _clash_findings(source: str) -> str:
    severities = " ".join(f"WHEN '{code}' THEN '{_severity(code, source)}'" for code in CODES_OF_CLASHES)
    return f"""
            SELECT code, CASE code {severities} END AS severity, 'users' AS entity, new.file, new.line, field,
                'somebody in the roster whom the batch does not mention has it' AS message
            FROM users_clashes
            JOIN users_accepted AS new USING (source_key)"""


def _severity(code: str, source: str) -> str:
    return CODES[code].severity_in(source).value


def _sentence(code: str) -> str:
    return f"{CODES[code].title[0].lower()}{CODES[code].title[1:]}; the row waits"
