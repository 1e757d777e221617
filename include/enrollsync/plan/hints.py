"""What the changes of a plan look like, for the person who decides about it: guesses, told as such; nothing is decided.

Reads the plan's tables (`<entity>_departures`, `<entity>_delivered`, `db_<entity>`) and shares.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from enrollsync.database.schema import primary_key
from enrollsync.plan.shares import Share
from enrollsync.run import engine
from enrollsync.run.engine import one_row
from enrollsync.run.run import Run
from enrollsync.run.workspace import Notice
from enrollsync.words.canonical import CLASSES, ENROLLMENTS, ENTITIES, MEMBERSHIPS, USERS, Entity

TERMS_ENDED = "PLAN-TERMS-ENDED"
_NEARLY_ALL = 80
"""Percent of the active records for which a field changes that changes for nearly everybody."""
_MOST_STILL_NAMED = 50
"""Percent of the records that go which others still name, when a file was probably cut short."""


def pattern(share: Share) -> str:
    """What it looks like that fields change for nearly everybody; empty where none does."""
    names = [name for name, count in share.fields.items() if 100 * count >= _NEARLY_ALL * share.active]
    if not names:
        return ""
    if names == ["grade"] and share.entity == USERS.name:
        return "nearly everybody gets another grade, as in a new school year"
    if len(names) == 1:
        return f"{names[0]} changes for nearly all: its column may be shifted, or the source fills it otherwise now"
    return f"{', '.join(names)} change for nearly all: the columns may be shifted or swapped"


def cut_short(connection: duckdb.DuckDBPyConnection, run: Run) -> dict[str, str]:
    """Entity -> why the file that should have brought its records may have been cut short; those without a sign left
    out."""
    told = {}
    unended = {notice.file for notice in run.manifest.notices if notice.code == "FILE-NO-LINE-END"}
    # A membership comes and goes with its person, and is told with it.
    for entity in (entity for entity in ENTITIES if entity is not MEMBERSHIPS):
        files = files_of(entity.name, run, _roles_gone(connection, entity))
        signs = [
            *(f"{linking.name} still name {count:,} of them" for linking, count in _still_named(connection, entity)),
            *(f"the last line of {file} has no line end" for file in files if file in unended),
        ]
        if signs and files:
            told[entity.name] = f"{' and '.join(signs)}: {' or '.join(files)} may have been cut short"
    return told


def _still_named(connection: duckdb.DuckDBPyConnection, entity: Entity) -> Iterable[tuple[Entity, int]]:
    """Memberships or enrollments of the delivery that name most of the records which it no longer has."""
    for linking in (MEMBERSHIPS, ENROLLMENTS):
        for link in (link for link, target in linking.links.items() if target == entity.name):
            gone, named = one_row(
                connection,
                f"""
                SELECT count(*), count(*) FILTER (source_key IN (SELECT {link} FROM {linking.name}_delivered))
                FROM {entity.name}_departures
                JOIN db_{entity.name} USING ({entity.key})
                WHERE NOT explicit""",
            )
            if gone and 100 * named >= _MOST_STILL_NAMED * gone:
                yield linking, named


def _roles_gone(connection: duckdb.DuckDBPyConnection, entity: Entity) -> set[str] | None:
    if "role" not in entity.values:
        return None
    keys = ", ".join(primary_key(entity))
    gone = f"FROM {entity.name}_departures JOIN db_{entity.name} USING ({keys}) WHERE NOT explicit"
    return {role for (role,) in connection.execute(f"SELECT DISTINCT role {gone}").fetchall()}


def files_of(entity: str, run: Run, roles: set[str] | None = None) -> list[str]:
    """The delivered files that bring records of an entity; with `roles`, of people in these roles."""
    declared = run.format
    bringing = {mapping.file for mapping in declared.mappings if mapping.entity == entity}
    files = [declared.file(file.name) for file in run.manifest.files if file.name in bringing]
    return [spec.name for spec in files if roles is None or spec.role is None or spec.role in roles]


def all_terms_ended(connection: duckdb.DuckDBPyConnection, run: Run) -> list[Notice]:
    """Told when a snapshot can remove no class, because all that are delivered or known belong to terms that ended."""
    manifest = run.manifest
    if manifest.mode_of(CLASSES.name) != "snapshot" or CLASSES.name not in manifest.supplied:
        return []
    today = manifest.as_of.date().isoformat()
    delivered = engine.parquet(run.place.canonical_table(CLASSES.name))
    known, over, last = one_row(
        connection,
        f"""
        WITH known AS (
            SELECT term, term_end
            FROM db_classes
            WHERE status = 'active' AND source = getvariable('source')
        )
        SELECT (SELECT count(*) FROM known), bool_and(coalesce(term IS NOT NULL AND term_end < '{today}', false)),
            max(term_end)
        FROM (FROM known UNION ALL SELECT term, term_end FROM {delivered})""",
    )
    if not known or not over:
        return []
    message = (
        f"all {known:,} active classes belong to terms that have ended, the last on {last}, and so do those of the "
        "delivery: whatever it lacks, no class and no enrollment is removed"
    )
    return [Notice.of(TERMS_ENDED, message, file=" ".join(files_of(CLASSES.name, run)[:1]) or None)]
