"""Whether the source gave new identifiers to many records at once: the plan waits, with a proposal to look at.

What rule 9(b) explains by itself, an exact fit of one row and one record, has not vanished and is no part of this. Of
the rest, the vanished records and the unknown rows, whichever are fewer are judged (a delta leaves out most of the
roster, and a snapshot of a new school year brings people besides): are they at least `_LEAST` and `_LEAST_PERCENT` of
the active records, and do `_PAIRED_PERCENT` of them resemble one record each that resembles nothing else? Pairs are
those of `likeness.py`; for classes also without a person in common, because everybody may have been re-keyed too.
"""

from __future__ import annotations

import duckdb

from enrollsync.canonical import ENTITIES, ID_CHANGES, Entity
from enrollsync.engine import one_row, parquet
from enrollsync.workspace import Notice, Workspace

_LEAST = 20
_LEAST_PERCENT = 20
_PAIRED_PERCENT = 80


def propose_id_changes(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> list[Notice]:
    """One hold for each entity that was re-keyed; their pairs are written to `workspace.proposed_id_changes`."""
    workspace.proposed_id_changes.unlink(missing_ok=True)
    keyed = [entity for entity in ENTITIES if entity.key]
    counted = [(entity, *_count(connection, entity)) for entity in keyed]
    rekeyed = [(entity, pairs, judged) for entity, pairs, judged, active in counted if _many(pairs, judged, active)]
    if rekeyed:
        _write(connection, workspace, [entity for entity, _, _ in rekeyed])
    return [_hold(*found) for found in rekeyed]


def _many(pairs: int, judged: int, active: int) -> bool:
    enough = judged >= _LEAST and 100 * judged >= _LEAST_PERCENT * active
    return enough and 100 * pairs >= _PAIRED_PERCENT * judged


def _hold(entity: Entity, pairs: int, judged: int) -> Notice:
    message = (
        f"{pairs:,} of {judged:,} {entity.name} seem to be there under another identifier; look at id_changes.csv in "
        "the run's folder, and deliver it with the batch if it is right"
    )
    return Notice.of("GUARD-REKEYED", message)


def _count(connection: duckdb.DuckDBPyConnection, entity: Entity) -> tuple[int, int, int]:
    """Pairs, the fewer of vanished records and unknown rows, active records of this source."""
    name = entity.name
    pairs, vanished, unknown, active = one_row(
        connection,
        f"""
        SELECT
            (SELECT count(*) FROM ({_pairs(entity)})),
            (
                SELECT count(*)
                FROM db_{name}
                SEMI JOIN {name}_vanished USING ({entity.key})
                WHERE status = 'active' AND {entity.key} NOT IN (SELECT old_key FROM {name}_lookalikes WHERE alone)
            ),
            (
                SELECT count(*)
                FROM {name}_matched
                WHERE old_key IS NULL
                    AND source_key NOT IN (SELECT source_key FROM {name}_lookalikes WHERE alone)
                    AND source_key NOT IN ({_lost_zeros(entity)})
            ),
            (SELECT count(*) FROM db_{name} WHERE status = 'active' AND source = getvariable('source'))""",
    )
    return pairs, min(vanished, unknown), active


def _pairs(entity: Entity) -> str:
    name, identifier = entity.name, entity.identifier
    return f"""
                SELECT '{entity.singular}' AS entity, old.{identifier} AS old_id, new.{identifier} AS new_id
                FROM {name}_lookalikes AS pair
                JOIN {name}_matched AS new USING (source_key)
                JOIN db_{name} AS old ON old.{entity.key} = pair.old_key
                SEMI JOIN {name}_vanished AS vanished ON vanished.{entity.key} = pair.old_key
                WHERE single AND NOT alone AND old.status = 'active'
                    AND source_key NOT IN ({_lost_zeros(entity)})
                    AND old.{identifier} IS NOT NULL AND new.{identifier} IS NOT NULL"""


def _lost_zeros(entity: Entity) -> str:
    """Rows whose identifiers should be as they were."""
    return f"SELECT source_key FROM {entity.name}_held WHERE code = 'ID-LEADING-ZERO'"


def _write(connection: duckdb.DuckDBPyConnection, workspace: Workspace, rekeyed: list[Entity]) -> None:
    """For its owner alone: it holds the identifiers of children. What was delivered stays in it."""
    workspace.proposed_id_changes.touch(mode=0o600)
    delivered = f"SELECT entity, old_id, new_id FROM {parquet(workspace.canonical_table(ID_CHANGES.name))}"
    pairs = " UNION ALL ".join([delivered, *(_pairs(entity) for entity in rekeyed)])
    connection.sql(f"SELECT * FROM ({pairs}) ORDER BY entity, old_id").write_csv(
        str(workspace.proposed_id_changes), header=True, use_tmp_file=False
    )
