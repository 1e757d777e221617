"""Whether a plan may go ahead by itself: completeness and thresholds of section 6.

Looks at the plan's tables (`operations`, `db_<entity>`), never at single rows; approving is the caller's business.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from enrollsync.canonical import ENTITIES
from enrollsync.codes import CODES
from enrollsync.database.schema import primary_key
from enrollsync.engine import masked, one_row
from enrollsync.errors import Refused
from enrollsync.formats import FORMATS, ID_CHANGES_FILE, FileSpec
from enrollsync.settings import District, Limits
from enrollsync.workspace import Notice, RunManifest


@dataclass(frozen=True)
class Share:
    """How much of something a plan would change."""

    where: str
    """`users`, or `users of 0012` for one organization."""
    active: int
    """Active records before the plan."""
    deactivated: int
    changed: int
    """Updated or re-identified."""


def find_holds(connection: duckdb.DuckDBPyConnection, manifest: RunManifest, district: District) -> list[Notice]:
    """Every reason for which the whole plan must wait.

    Raises Refused (FILE-EMPTY) when a required file has no rows and the database has nothing of its kind either.
    """
    holds = _empty_files(connection, manifest)
    shares = [*_by_entity(connection), *_by_organization(connection, "users"), *_by_organization(connection, "classes")]
    if manifest.mode == "snapshot":
        holds += _vanished(connection)
    for share in shares:
        holds += over_limits(share, district.thresholds)
    return holds


def over_limits(share: Share, limits: Limits) -> list[Notice]:
    """The limits that a share exceeds; at the limit is not over it, and fewer than `floor` records never are."""
    judged = (
        ("GUARD-DEACTIVATE", share.deactivated, limits.deactivate_percent, "deactivated"),
        ("GUARD-UPDATE", share.changed, limits.update_percent, "changed"),
    )
    return [
        _hold(code, f"{count:,} of {share.active:,} active {share.where} would be {verb} "
                    f"({100 * count / share.active:.1f} %; the limit is {limit:g} %)")
        for code, count, limit, verb in judged
        if share.active and count >= limits.floor and 100 * count > limit * share.active
    ]  # fmt: skip


def _hold(code: str, message: str, file: str | None = None) -> Notice:
    return Notice(code=code, severity=CODES[code].severity, message=message, file=file)


def _empty_files(connection: duckdb.DuckDBPyConnection, manifest: RunManifest) -> list[Notice]:
    declared = FORMATS[manifest.format or ""]
    holds: list[Notice] = []
    for file in manifest.files:
        if file.rows or file.name == ID_CHANGES_FILE.name:
            continue
        spec = declared.file(file.name)
        active, known = _records_of(connection, spec)
        if active and manifest.mode == "snapshot":
            message = f"it has no readable rows, but the roster has {active:,} active records of its kind"
            holds.append(_hold("GUARD-EMPTY", message, file.name))
        elif not known and not spec.optional_file:
            raise Refused("FILE-EMPTY", "it has a header and no readable rows; export it again", file=file.name)
    return holds


def _records_of(connection: duckdb.DuckDBPyConnection, spec: FileSpec) -> tuple[int, int]:
    """How many records of the file's kind are active, and how many there are at all."""
    role = f"AND role = '{spec.role}'" if spec.role else ""
    active, known = one_row(
        connection,
        f"""
        SELECT count(*) FILTER (status = 'active'), count(*)
        FROM db_{spec.entity}
        WHERE source = getvariable('source') {role}""",
    )
    return active, known


def _vanished(connection: duckdb.DuckDBPyConnection) -> list[Notice]:
    holds = []
    for entity in ENTITIES:
        active, gone = one_row(
            connection,
            f"""
            SELECT count(*), count(*) FILTER (gone)
            FROM (
                SELECT {entity.name}_gone.reason IS NOT NULL AS gone
                FROM db_{entity.name}
                LEFT JOIN {entity.name}_gone USING ({", ".join(primary_key(entity))})
                WHERE status = 'active' AND source = getvariable('source')
            )""",
        )
        if active and active == gone:
            holds.append(_hold("GUARD-EMPTY", f"all {active:,} active {entity.name} of this source would go"))
    return holds


def _by_entity(connection: duckdb.DuckDBPyConnection) -> list[Share]:
    actives = " UNION ALL ".join(
        f"SELECT '{entity.name}' AS entity, count(*) AS active FROM db_{entity.name} WHERE status = 'active'"
        for entity in ENTITIES
    )
    rows = connection.execute(f"""
        SELECT entity, any_value(active),
            count(*) FILTER (operation = 'deactivate'),
            count(*) FILTER (operation IN ('update', 'reidentify'))
        FROM operations
        JOIN ({actives}) USING (entity)
        GROUP BY entity
        ORDER BY entity
    """).fetchall()
    return [Share(*row) for row in rows]


def _by_organization(connection: duckdb.DuckDBPyConnection, entity: str) -> list[Share]:
    """Shares within each organization; explicit removals count district-wide only."""
    placed = {
        "users": "SELECT user_key AS key, organization_key FROM db_memberships WHERE is_primary AND status = 'active'",
        "classes": "SELECT class_key AS key, organization_key FROM db_classes",
    }[entity]
    key = {"users": "user_key", "classes": "class_key"}[entity]
    rows = connection.execute(f"""
        SELECT '{entity} of ' || {masked("coalesce(organization_id, organization.source_key)")}, count(*),
            count(*) FILTER (operation = 'deactivate' AND NOT explicit),
            count(*) FILTER (operation IN ('update', 'reidentify'))
        FROM (FROM db_{entity} WHERE status = 'active') AS record
        JOIN ({placed}) AS place ON place.key = record.{key}
        JOIN db_organizations AS organization ON organization.organization_key = place.organization_key
        LEFT JOIN {entity}_after ON {entity}_after.{key} = place.key
        GROUP BY 1
        HAVING count(operation) > 0
        ORDER BY 1
    """).fetchall()
    return [Share(*row) for row in rows]
