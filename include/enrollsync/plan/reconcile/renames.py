"""What a batch's `id_changes.csv` says of the roster's identifiers (rule 9c), before rows are matched with records.

Each line is `open` (the record gets the new identifier), `done` (it had the old one and has the new one, or has moved
on from there, so that the same file may come again; what was undone since does not count), `unknown` (nobody has the
old one) or `taken` (somebody keeps the new one: nobody changes).
Lines form chains and cycles: an identifier that one line takes, another may give away. How a line ends is found by
following all chains at once, doubling the steps, so that long ones cost little and their order does not matter.

Rows that still say the old identifier, where that is beyond doubt, are read as if they said the new one: `respoken`.
"""

from __future__ import annotations

import duckdb

from enrollsync.formats import ID_CHANGES_FILE, Format
from enrollsync.plan.reconcile.edits import are_kept, read_edits
from enrollsync.plan.reconcile.merges import nobody_merged, read_merges
from enrollsync.plan.reconcile.tables import RECORDS, empty
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import ID_CHANGES, Entity


def read_id_changes(connection: duckdb.DuckDBPyConnection, run: Run, *, merged: bool) -> bool:
    """Judge the lines of `id_changes.csv`, if the batch has one; whether rows are to be read as `respoken`.

    `merged`: whether people were merged, whose rows mean others.
    """
    told, kept = ID_CHANGES_FILE.name in {file.name for file in run.manifest.files}, are_kept(connection, run)
    if told:
        _judge_lines(connection, run)
    else:
        for entity in RECORDS:
            connection.execute(_nothing_renamed(entity))
    if kept:
        read_edits(connection, run.place, {entity.name: _rekeyed(entity, run.format) for entity in RECORDS})
        for entity in RECORDS:
            connection.execute(_edited_aliases(entity, told=told))
    connection.execute(read_merges() if merged else nobody_merged())
    return told or kept or merged


def _judge_lines(connection: duckdb.DuckDBPyConnection, run: Run) -> None:
    workspace, declared = run.place, run.format
    connection.execute(_lines(workspace))
    connection.execute(_lasting_history())
    spoken_of = {name for (name,) in connection.execute("SELECT DISTINCT entity FROM identifiers_in_lines").fetchall()}
    for entity in RECORDS:
        if entity.name not in spoken_of:
            connection.execute(_nothing_renamed(entity))
            continue
        rekeyed = _rekeyed(entity, declared)
        connection.execute(_entity_lines(entity, workspace, rekeyed))
        _follow(connection, f"{entity.name}_lines", "this.has_it")
        connection.execute(_pending(entity))
        _follow(connection, f"{entity.name}_lines_pending", "true")
        connection.execute(_renames(entity))
        connection.execute(_aliases(entity, workspace))


def are_named(connection: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    """Whether any line is about such records."""
    return bool(engine.one_row(connection, f"SELECT EXISTS (FROM {entity.name}_renames)")[0])


def respoken(entity: Entity, query: str, columns: tuple[str, ...]) -> str:
    """The rows of `query`, which has `columns`, with old identifiers read as the new ones."""
    spoken = {"source_key": entity.name, **entity.links} if entity.key else entity.links
    spoken = {column: target for column, target in spoken.items() if column in columns}
    joins = "".join(
        f"""
        LEFT JOIN {target}_aliases AS {target}_alias ON {target}_alias.source_key = given.{column}"""
        for column, target in spoken.items()
    )
    meant = [
        f"coalesce({target}_alias.new_source_key, given.{column}) AS {column}" for column, target in spoken.items()
    ]
    if entity.identifier in columns:
        alias, given = f"{entity.name}_alias", f"given.{entity.identifier}"
        meant.append(f"CASE WHEN {given} = {alias}.old_id THEN {alias}.new_id ELSE {given} END AS {entity.identifier}")
    replaced = ",\n            ".join(meant)
    return f"""
        SELECT given.* REPLACE (
            {replaced}
        )
        FROM ({query}
        ) AS given{joins}"""


def renamed_without_a_row(entity: Entity) -> str:
    """Of records that no row speaks of, the identifier changes and nothing else."""
    name = entity.name
    return f"""
        CREATE TABLE {name}_reidentifications AS
        SELECT 'reidentify' AS operation, '{ID_CHANGES_FILE.name}' AS file, renamed.line,
            '{ID_CHANGES_FILE.name} says so' AS reason, false AS explicit,
            old.* REPLACE (renamed.new_source_key AS source_key, renamed.new_id AS {entity.identifier})
        FROM {name}_renamed_alone AS unsaid
        JOIN {name}_renames AS renamed ON renamed.key = unsaid.key AND renamed.fate = 'open'
        JOIN db_{name} AS old ON old.{entity.key} = unsaid.key
        WHERE unsaid.goes"""


def _nothing_renamed(entity: Entity) -> str:
    return f"""
        {empty("{entity}_renames", entity)};
        {empty("{entity}_in_id_changes", entity)};
        {empty("{entity}_aliases", entity)};
        CREATE VIEW {entity.name}_addressed AS FROM db_{entity.name}"""


def _edited_aliases(entity: Entity, *, told: bool) -> str:
    """What a person has changed is read like a line that is done, but where a line is about it."""
    lines = f"SELECT identifier FROM identifiers_in_lines WHERE entity = '{entity.name}'"
    apart = f"""WHERE old_id NOT IN ({lines})
            AND new_id NOT IN ({lines})"""
    return f"""
        INSERT INTO {entity.name}_aliases
        FROM {entity.name}_edited
        {apart if told else ""}"""


def _lines(workspace: Workspace) -> str:
    """Lines without a fault of their own; a line that stands there twice says it once."""
    lines = engine.parquet(workspace.canonical_table(ID_CHANGES.name))
    return f"""
        CREATE TABLE id_changes AS
        SELECT entity, old_id, new_id, min(line) AS line
        FROM {lines}
        WHERE row_id NOT IN (
                SELECT row_id
                FROM {engine.parquet(workspace.findings)}
                WHERE entity = '{ID_CHANGES.name}' AND severity = 'critical' AND row_id IS NOT NULL
            )
            AND old_id <> new_id
        GROUP BY ALL;
        CREATE TABLE identifiers_in_lines AS
        SELECT DISTINCT entity, unnest([old_id, new_id]) AS identifier
        FROM {lines}"""


def _lasting_history() -> str:
    """The identifiers that records had, but for those of runs that are undone, and the undos' own.

    Judged record by record, because an undo may have left some alone.
    """
    return """
        CREATE TABLE lasting_history AS
        WITH taken_back AS (
            SELECT entity, entity_key, first_run AS run_id
            FROM stored_history
            JOIN stored_undos USING (run_id)
            GROUP BY ALL
            HAVING arg_max(takes_back, number)
        )
        SELECT entity, entity_key, old_id, new_id
        FROM stored_history
        ANTI JOIN stored_undos USING (run_id)
        ANTI JOIN taken_back USING (entity, entity_key, run_id)"""


def _rekeyed(entity: Entity, declared: Format) -> str:
    """SQL that puts `to` into a source key made of `given`, where the source key is the identifier; else keeps it."""
    own = {
        mapping.cells["source_key"].prefix
        for mapping in declared.mappings
        if mapping.entity == entity.name and mapping.keyed_by_identifier
    }
    cases = "".join(
        f"""
                    WHEN holder.source_key = '{prefix}' || {{given}} THEN '{prefix}' || {{to}}"""
        for prefix in sorted(own)
    )
    return f"""CASE
                    WHEN holder.source <> getvariable('source') THEN holder.source_key{cases}
                    ELSE holder.source_key
                END"""


def _entity_lines(entity: Entity, workspace: Workspace, rekeyed: str) -> str:
    """What each line finds: who has the old identifier, who has the new one, and whether that one had the old one.

    Another source's records may be renamed by the primary source alone. Where the source has keys of its own, a row
    that says an identifier other than the old one says it itself.
    """
    name, key, identifier = entity.name, entity.key, entity.identifier
    return f"""
        CREATE TABLE {name}_lines AS
        WITH holders AS (
            SELECT {key} AS key, {identifier} AS identifier, source_key, source
            FROM db_{name}
            WHERE {identifier} IN (SELECT identifier FROM identifiers_in_lines)
        ),
        ours AS (
            FROM holders
            WHERE source = getvariable('source') OR getvariable('source') = getvariable('primary_source')
        ),
        givers AS (
            SELECT old_id, new_id, key, source, source_key,
                {rekeyed.format(given="old_id", to="new_id")} AS new_source_key
            FROM id_changes
            JOIN ours AS holder ON holder.identifier = old_id
            WHERE entity = '{name}'
        ),
        takers AS (
            SELECT old_id, new_id, key, source, source_key AS new_source_key,
                {rekeyed.format(given="new_id", to="old_id")} AS source_key,
                (key, old_id) IN (SELECT (entity_key, old_id) FROM lasting_history WHERE entity = '{name}') AS had_it
            FROM id_changes
            JOIN holders AS holder ON holder.identifier = new_id
            WHERE entity = '{name}'
        ),
        said AS (
            SELECT source_key, {identifier} AS identifier
            FROM {engine.parquet(workspace.canonical_table(name))}
        )
        SELECT line, old_id, new_id, givers.key, givers.source_key, givers.new_source_key, givers.source,
            takers.key AS taker, takers.source AS taker_source, takers.source_key AS taker_source_key,
            takers.new_source_key AS taker_new_source_key, coalesce(takers.had_it, false) AS has_it,
            EXISTS (
                FROM said
                WHERE takers.source_key = takers.new_source_key AND said.source_key = takers.source_key
                    AND said.identifier <> new_id
            ) AS taker_leaves
        FROM id_changes
        LEFT JOIN givers USING (old_id, new_id)
        LEFT JOIN takers USING (old_id, new_id)
        WHERE entity = '{name}'
            AND NOT EXISTS (
                FROM said
                WHERE givers.source_key = givers.new_source_key AND said.source_key = givers.source_key
                    AND said.identifier IS DISTINCT FROM old_id
            )"""


def _follow(connection: duckdb.DuckDBPyConnection, lines: str, passable: str) -> None:
    """Create `<lines>_ends` (old_id, last_id): the line at which each line's chain ends; on a cycle, some line of it.

    A chain goes on from a `passable` line to the line that gives the new identifier away.
    """
    connection.execute(f"""
        CREATE TABLE {lines}_ends AS
        SELECT this.old_id, coalesce(next.old_id, this.old_id) AS last_id
        FROM {lines} AS this
        LEFT JOIN {lines} AS next ON next.old_id = this.new_id AND {passable}""")
    (count,) = engine.one_row(connection, f"SELECT count(*) FROM {lines}")
    for _ in range(int(count).bit_length()):
        connection.execute(f"""
            CREATE OR REPLACE TABLE {lines}_ends AS
            SELECT this.old_id, further.last_id
            FROM {lines}_ends AS this
            JOIN {lines}_ends AS further ON further.old_id = this.last_id""")


def _pending(entity: Entity) -> str:
    """Lines that are done, all the chain to its end, and lines that are still to be done."""
    name = entity.name
    return f"""
        CREATE TABLE {name}_lines_done AS
        SELECT asked.*
        FROM {name}_lines AS asked
        JOIN {name}_lines_ends USING (old_id)
        JOIN {name}_lines AS end_line ON end_line.old_id = last_id
        WHERE asked.has_it AND end_line.has_it;
        CREATE TABLE {name}_lines_pending AS
        FROM {name}_lines
        ANTI JOIN {name}_lines_done USING (old_id)
        WHERE key IS NOT NULL"""


def _renames(entity: Entity) -> str:
    """What becomes of each line, and the records that the file speaks of, which no row can be by resemblance.

    A cycle that is done says no more: the lines that made it are those that would take it back, so the rows decide.
    """
    name, key, identifier = entity.name, entity.key, entity.identifier
    return f"""
        CREATE TABLE {name}_renames AS
        WITH kept AS (
            SELECT last.old_id
            FROM {name}_lines_pending AS last
            WHERE last.new_id NOT IN (SELECT old_id FROM {name}_lines_pending)
                AND (
                    taker IS NOT NULL AND NOT taker_leaves
                    OR EXISTS (
                        FROM db_{name} AS other
                        WHERE other.source_key = last.new_source_key AND other.source = last.source
                            AND other.{key} <> last.key
                    )
                )
        )
        SELECT line, pending.old_id, new_id, key, source_key, new_source_key,
            CASE WHEN last_id IN (FROM kept) THEN 'taken' ELSE 'open' END AS fate
        FROM {name}_lines_pending AS pending
        JOIN {name}_lines_pending_ends USING (old_id)
        UNION ALL
        SELECT line, old_id, new_id, taker, taker_source_key, taker_new_source_key, 'done'
        FROM {name}_lines_done
        UNION ALL
        SELECT line, old_id, new_id, NULL, NULL, NULL,
            CASE
                WHEN (old_id, new_id) IN (SELECT (old_id, new_id) FROM lasting_history WHERE entity = '{name}')
                THEN 'done'
                ELSE 'unknown'
            END
        FROM {name}_lines
        WHERE key IS NULL AND old_id NOT IN (SELECT old_id FROM {name}_lines_done);
        CREATE TABLE {name}_in_id_changes AS
        WITH turned AS (
            SELECT turn.new_id, turn.taker
            FROM {name}_lines_done AS turn
            JOIN {name}_lines_ends USING (old_id)
            JOIN {name}_lines_done AS end_line ON end_line.old_id = last_id
            WHERE end_line.new_id IN (SELECT old_id FROM {name}_lines_done)
        )
        SELECT key
        FROM {name}_renames
        WHERE key IS NOT NULL AND key NOT IN (SELECT taker FROM turned)
        UNION
        SELECT {key}
        FROM db_{name}
        JOIN identifiers_in_lines AS line ON line.entity = '{name}' AND line.identifier = {identifier}
        WHERE {identifier} NOT IN (SELECT new_id FROM turned);
        CREATE VIEW {name}_addressed AS
        SELECT old.* REPLACE (
            coalesce(renamed.new_source_key, old.source_key) AS source_key,
            coalesce(renamed.new_id, old.{identifier}) AS {identifier}
        )
        FROM db_{name} AS old
        LEFT JOIN (FROM {name}_renames WHERE fate = 'open') AS renamed ON renamed.key = old.{key}"""


def _aliases(entity: Entity, workspace: Workspace) -> str:
    """Lines whose old identifier a row still says, and means: nothing else in the batch says the new one, and no line
    is about either again. Under a key of the source's own there is no doubt at all."""
    name = entity.name
    return f"""
        CREATE TABLE {name}_aliases AS
        WITH said AS (
            SELECT DISTINCT source_key
            FROM {engine.parquet(workspace.canonical_table(name))}
        ),
        lines AS (
            SELECT old_id, new_id
            FROM id_changes
            WHERE entity = '{name}'
        )
        SELECT source_key, new_source_key, old_id, new_id
        FROM {name}_renames
        WHERE fate IN ('open', 'done')
            AND (
                source_key = new_source_key
                OR (
                    new_source_key NOT IN (SELECT source_key FROM said WHERE source_key IS NOT NULL)
                    AND new_id NOT IN (SELECT old_id FROM lines)
                    AND old_id NOT IN (SELECT new_id FROM lines)
                )
            )"""
