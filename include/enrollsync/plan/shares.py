"""How much of the roster a plan changes: of each entity, and of the users and the classes of each organization.

Measured once a plan, from its tables (`operations`, `db_<entity>`, `<entity>_after`). `guard.py` holds shares against
the district's limits and, with `usual.py`, against what earlier runs changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from enrollsync.database.schema import STUDENTS, WHOLE, Counts, RunShares, primary_key
from enrollsync.run.engine import masked, one_row
from enrollsync.words.canonical import BY_NAME, ENTITIES, MEMBERSHIPS, Entity

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Share:
    """What a plan would change of one entity, or of one entity within one organization."""

    entity: str
    where: str
    """`users`, or `users of North High (0012)` for one organization, as it may be shown."""
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
    organization_name: str | None = None
    fields: dict[str, int] = field(default_factory=dict)
    """Field -> for how many of the `changed` its value is another one; fields that stay as they are left out."""
    filled: dict[str, int] = field(default_factory=dict)
    """Field -> for how many of these it was empty before."""

    @property
    def key(self) -> str:
        """What it is remembered by: the organization's key, which never changes, or `WHOLE`."""
        return WHOLE if self.organization_key is None else str(self.organization_key)

    @property
    def counts(self) -> Counts:
        """What is remembered of it."""
        return self.active, self.created, self.changed, self.deactivated + self.removed

    def replaced(self, name: str) -> int:
        """For how many the field changes that had a value before."""
        return self.fields.get(name, 0) - self.filled.get(name, 0)


def measure(connection: duckdb.DuckDBPyConnection) -> list[Share]:
    """The shares of all entities and of all organizations, whether something changes there or not.

    Reads what `plan.write_operations` leaves.
    """
    return [*_by_entity(connection), *_by_organization(connection, "users"), *_by_organization(connection, "classes")]


def measure_students(connection: duckdb.DuckDBPyConnection) -> dict[str, Counts]:
    """How many of the users are students, of the whole district and of every organization, as `Share.key` names them.

    Who changes is not told, only who comes and goes.
    """
    rows = connection.execute(f"""
        WITH places AS ({_PLACES["users"]}),
        new_places AS ({_NEW_PLACES["users"]}),
        present AS (
            SELECT organization_key, count(*) AS active, count(*) FILTER (operation = 'deactivate') AS deactivated
            FROM db_users
            LEFT JOIN places USING (user_key)
            LEFT JOIN (SELECT user_key, operation FROM users_after) USING (user_key)
            WHERE status = 'active' AND role = 'student'
            GROUP BY organization_key
        ),
        coming AS (
            SELECT organization_key, count(*) AS created
            FROM users_after
            LEFT JOIN new_places USING (user_key)
            WHERE operation IN ('create', 'reactivate') AND role = 'student'
            GROUP BY organization_key
        )
        SELECT coalesce(present.organization_key, coming.organization_key), coalesce(active, 0), coalesce(created, 0),
            coalesce(deactivated, 0)
        FROM present
        FULL JOIN coming ON present.organization_key IS NOT DISTINCT FROM coming.organization_key
        ORDER BY ALL
    """).fetchall()
    counted: dict[str, Counts] = {WHOLE: (0, 0, 0, 0)}
    for key, active, created, deactivated in rows:
        before = counted[WHOLE]
        counted[WHOLE] = before[0] + active, before[1] + created, 0, before[3] + deactivated
        if key is not None:
            counted[str(key)] = active, created, 0, deactivated
    return counted


def to_remember(shares: Iterable[Share], students: Mapping[str, Counts]) -> RunShares:
    """Every entity and the students, and the organizations in which something changes; one that is missing stays as is.

    A plan without shares (an undo) gives an empty dict.
    """
    remembered: RunShares = {}
    for share in shares:
        if share.organization_key is None or any(share.counts[1:]):
            remembered.setdefault(share.entity, {})[share.key] = share.counts
    if students:
        changing = {key: counts for key, counts in students.items() if key == WHOLE or any(counts[1:])}
        remembered[STUDENTS] = changing
    return remembered


def _by_entity(connection: duckdb.DuckDBPyConnection) -> list[Share]:
    actives = " UNION ALL ".join(
        f"SELECT '{entity.name}' AS entity, count(*) AS active FROM db_{entity.name} WHERE status = 'active'"
        for entity in ENTITIES
    )
    order = ", ".join(f"'{entity.name}'" for entity in ENTITIES)
    rows = connection.execute(f"""
        SELECT entity, entity, any_value(active),
            count(*) FILTER (operation = 'deactivate'),
            count(*) FILTER ({_CHANGED}),
            count(*) FILTER (operation IN ('create', 'reactivate'))
        FROM ({actives})
        LEFT JOIN operations USING (entity)
        GROUP BY entity
        ORDER BY list_position([{order}], entity)
    """).fetchall()
    shares = [Share(*row) for row in rows]
    shares = [
        _with_fields(share, *_changed_fields(connection, BY_NAME[share.entity])) if share.changed else share
        for share in shares
    ]
    return [_with_roles(connection, share) if share.entity == MEMBERSHIPS.name else share for share in shares]


def _with_roles(connection: duckdb.DuckDBPyConnection, share: Share) -> Share:
    """Who gets another role in a school is one change, and neither comes nor goes."""
    (roles,) = one_row(
        connection,
        """
        SELECT count(DISTINCT (user_key, organization_key))
        FROM (FROM memberships_after WHERE operation = 'deactivate')
        SEMI JOIN (FROM memberships_after WHERE operation IN ('create', 'reactivate'))
            USING (user_key, organization_key)""",
    )
    return replace(
        share,
        deactivated=share.deactivated - roles,
        changed=share.changed + roles,
        created=share.created - roles,
        fields=share.fields | ({"role": roles} if roles else {}),
    )


def _by_organization(connection: duckdb.DuckDBPyConnection, entity: str) -> list[Share]:
    """Shares within each organization; an organization that is new has no active records yet."""
    key = BY_NAME[entity].key
    rows = connection.execute(f"""
        WITH places AS ({_PLACES[entity]}),
        new_places AS ({_NEW_PLACES[entity]}),
        present AS (
            SELECT places.organization_key, count(*) AS active,
                count(*) FILTER (operation = 'deactivate' AND NOT explicit) AS deactivated,
                count(*) FILTER ({_CHANGED}) AS changed,
                count(*) FILTER (operation = 'deactivate' AND explicit) AS removed
            FROM db_{entity}
            JOIN places USING ({key})
            LEFT JOIN (SELECT {key}, operation, explicit FROM {entity}_after) USING ({key})
            WHERE status = 'active'
            GROUP BY places.organization_key
        ),
        changing AS (
            SELECT places.organization_key, {_counted_fields(BY_NAME[entity])}
            FROM {entity}_after AS new
            JOIN places USING ({key})
            JOIN {entity}_before AS old USING ({key})
            WHERE old.status = 'active' AND {_CHANGED}
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
            SELECT organization_key, coalesce(organization_id, source_key) AS organization, name
            FROM db_organizations
            UNION ALL
            SELECT organization_key, coalesce(organization_id, source_key), name
            FROM organizations_after
            WHERE operation = 'create'
        )
        SELECT '{entity}', '{entity} of ' || coalesce({_called("organization", "name")}, 'an unknown organization'),
            coalesce(active, 0), coalesce(deactivated, 0), coalesce(changed, 0), coalesce(created, 0),
            coalesce(removed, 0), organization, organization_key, name, fields, filled
        FROM present
        FULL JOIN coming USING (organization_key)
        LEFT JOIN changing USING (organization_key)
        LEFT JOIN named USING (organization_key)
        ORDER BY organization, organization_key
    """).fetchall()
    return [_with_fields(Share(*row[:-2]), *row[-2:]) for row in rows]


_CHANGED = "operation IN ('update', 'reidentify')"
_LONGEST_NAME = 60
"""Characters of an organization's name that a message shows."""


def _called(organization: str, name: str) -> str:
    """An organization as a person knows it, `North High (0012)`; by its identifier alone where it has no name."""
    short = f"CASE WHEN length({name}) > {_LONGEST_NAME} THEN left({name}, {_LONGEST_NAME - 1}) || '…' ELSE {name} END"
    return f"coalesce(nullif({short}, '') || ' (' || {masked(organization)} || ')', {masked(organization)})"


def _names_of_fields(entity: Entity) -> tuple[str, ...]:
    """The columns that a person recognises: values, the identifier, and the organization of a class."""
    links = (str(BY_NAME[target].key) for target in entity.links.values())
    return (*entity.values, *([entity.identifier, *links] if entity.identifier else []))


def _counted_fields(entity: Entity) -> str:
    """SQL for how many of the changes change each field, and for how many of these it was empty: `fields`, `filled`."""
    names = _names_of_fields(entity)
    changed = ", ".join(f"count(*) FILTER (old.{name} IS DISTINCT FROM new.{name})" for name in names)
    filled = ", ".join(f"count(*) FILTER (old.{name} IS NULL AND new.{name} IS NOT NULL)" for name in names)
    return f"[{changed}] AS fields, [{filled}] AS filled"


def _changed_fields(connection: duckdb.DuckDBPyConnection, entity: Entity) -> tuple[list[int], list[int]]:
    old = f"{entity.name}_before" if entity.key else f"db_{entity.name}"
    fields, filled = one_row(
        connection,
        f"""
        SELECT {_counted_fields(entity)}
        FROM {entity.name}_after AS new
        JOIN {old} AS old USING ({", ".join(primary_key(entity))})
        WHERE {_CHANGED}""",
    )
    return fields, filled


def _with_fields(share: Share, fields: list[int] | None, filled: list[int] | None) -> Share:
    """A share with what `_counted_fields` counted; None where nothing was there."""
    names = _names_of_fields(BY_NAME[share.entity])

    def named(numbers: list[int] | None) -> dict[str, int]:
        return {name: number for name, number in zip(names, numbers or (), strict=False) if number}

    return replace(share, fields=named(fields), filled=named(filled))


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
