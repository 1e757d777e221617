"""How much of the roster a plan changes: of each entity, and of the users and the classes of each organization.

Measured once a plan, from its tables (`operations`, `db_<entity>`, `<entity>_after`). `guard.py` holds shares against
the district's limits and, with `usual.py`, against what earlier runs changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enrollsync.canonical import ENTITIES
from enrollsync.engine import masked

if TYPE_CHECKING:
    import duckdb

WHOLE = ""
"""Stands in `RunShares` where an organization's key does, for all records of the entity."""

Counts = tuple[int, int, int, int]
"""Active before the run, then created, updated, deactivated."""
RunShares = dict[str, dict[str, Counts]]
"""Entity -> `WHOLE` or the key of an organization -> counts: what `runs.shares_json` holds of one run."""


@dataclass(frozen=True)
class Share:
    """What a plan would change of one entity, or of one entity within one organization."""

    entity: str
    where: str
    """`users`, or `users of 0012` for one organization, as it may be shown."""
    active: int
    """Active records before the plan."""
    deactivated: int
    changed: int
    """Updated or re-identified."""
    created: int = 0
    """Created or reactivated."""
    removed: int = 0
    """Deactivated because a row asks for it, where `deactivated` leaves that out: within an organization."""
    organization: str | None = None
    """The organization's identifier, or its source key where it has none; None for the whole district."""
    organization_key: int | None = None

    @property
    def key(self) -> str:
        """What it is remembered by: the organization's key, which never changes, or `WHOLE`."""
        return WHOLE if self.organization_key is None else str(self.organization_key)

    @property
    def counts(self) -> Counts:
        """What is remembered of it."""
        return self.active, self.created, self.changed, self.deactivated + self.removed


def measure(connection: duckdb.DuckDBPyConnection) -> list[Share]:
    """The shares of all entities and of all organizations, whether something changes there or not."""
    return [*_by_entity(connection), *_by_organization(connection, "users"), *_by_organization(connection, "classes")]


def to_remember(shares: Iterable[Share]) -> RunShares:
    """Every entity, and the organizations in which something changes; an organization that is missing changes nothing.

    A plan without shares (an undo) gives an empty dict.
    """
    remembered: RunShares = {}
    for share in shares:
        if share.organization_key is None or any(share.counts[1:]):
            remembered.setdefault(share.entity, {})[share.key] = share.counts
    return remembered


def _by_entity(connection: duckdb.DuckDBPyConnection) -> list[Share]:
    actives = " UNION ALL ".join(
        f"SELECT '{entity.name}' AS entity, count(*) AS active FROM db_{entity.name} WHERE status = 'active'"
        for entity in ENTITIES
    )
    rows = connection.execute(f"""
        SELECT entity, entity, any_value(active),
            count(*) FILTER (operation = 'deactivate'),
            count(*) FILTER (operation IN ('update', 'reidentify')),
            count(*) FILTER (operation IN ('create', 'reactivate'))
        FROM ({actives})
        LEFT JOIN operations USING (entity)
        GROUP BY entity
        ORDER BY entity
    """).fetchall()
    return [Share(*row) for row in rows]


def _by_organization(connection: duckdb.DuckDBPyConnection, entity: str) -> list[Share]:
    """Shares within each organization; an organization that is new has no active records yet."""
    key = {"users": "user_key", "classes": "class_key"}[entity]
    rows = connection.execute(f"""
        WITH places AS ({_PLACES[entity]}),
        new_places AS ({_NEW_PLACES[entity]}),
        present AS (
            SELECT places.organization_key, count(*) AS active,
                count(*) FILTER (operation = 'deactivate' AND NOT explicit) AS deactivated,
                count(*) FILTER (operation IN ('update', 'reidentify')) AS changed,
                count(*) FILTER (operation = 'deactivate' AND explicit) AS removed
            FROM db_{entity}
            JOIN places USING ({key})
            LEFT JOIN (SELECT {key}, operation, explicit FROM {entity}_after) USING ({key})
            WHERE status = 'active'
            GROUP BY places.organization_key
        ),
        coming AS (
            SELECT new_places.organization_key, count(*) AS created
            FROM {entity}_after
            JOIN new_places USING ({key})
            WHERE operation IN ('create', 'reactivate')
            GROUP BY new_places.organization_key
        ),
        named AS (
            SELECT organization_key, coalesce(organization_id, source_key) AS organization
            FROM db_organizations
        )
        SELECT '{entity}', '{entity} of ' || coalesce({masked("organization")}, 'a new organization'),
            coalesce(active, 0), coalesce(deactivated, 0), coalesce(changed, 0), coalesce(created, 0),
            coalesce(removed, 0), organization, organization_key
        FROM present
        FULL JOIN coming USING (organization_key)
        LEFT JOIN named USING (organization_key)
        ORDER BY organization, organization_key
    """).fetchall()
    return [Share(*row) for row in rows]


_PLACES = {
    "users": "SELECT user_key, organization_key FROM db_memberships WHERE is_primary AND status = 'active'",
    "classes": "SELECT class_key, organization_key FROM db_classes WHERE organization_key IS NOT NULL",
}
"""Entity -> the organization in which a record counts before the plan."""
_NEW_PLACES = {
    "users": "SELECT user_key, organization_key FROM memberships_after WHERE is_primary AND status = 'active'",
    "classes": "SELECT class_key, organization_key FROM classes_after WHERE organization_key IS NOT NULL",
}
"""Entity -> the organization in which a record that comes will count."""
