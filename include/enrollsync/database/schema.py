"""The tables of the roster database, as SQLAlchemy Core sees them today.

The five base tables follow `canonical.ENTITIES`. How an existing database gets here, and the views that other
programs read, belong to `migrations/`; a test proves that both agree.

Dates are ISO text (`2015-03-09`) and instants are ISO text in UTC with microseconds on both databases: they sort as
they should, and the views, the export and the loader need no conversion that differs between the two.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

from enrollsync.canonical import BY_NAME, ENTITIES, Entity

METADATA = MetaData()

STATUSES = ("active", "inactive", "removed")
"""The views show the first two; `removed` is a creation that was undone."""


def link_keys(entity: Entity) -> tuple[str, ...]:
    """The key columns that stand in the base table for the entity's links: `class_key`, `user_key`."""
    return tuple(str(BY_NAME[linked].key) for linked in entity.links.values())


def primary_key(entity: Entity) -> tuple[str, ...]:
    """The columns that, with `district_id`, name one row of the base table."""
    return (entity.key,) if entity.key else link_keys(entity)


def columns_of(entity: Entity) -> tuple[str, ...]:
    """Every column of the base table but `district_id`, in order."""
    own = (entity.key, "source_key", entity.identifier) if entity.key and entity.identifier else ()
    return (*own, *link_keys(entity), *entity.values, "status", "source")


def typed_column(name: str, *, primary_key: bool = False, nullable: bool = True) -> Column[Any]:
    """A column whose type follows from its name: `*_key` counts, `is_*` is true or false, the rest is text."""
    kind: type[TypeEngine[Any]] = Text
    if name == "is_primary":
        kind = Boolean
    elif name.endswith("_key") and name != "source_key":
        kind = BigInteger
    return Column(name, kind, primary_key=primary_key, nullable=nullable, autoincrement=False)


def _base_table(entity: Entity) -> Table:
    keys = primary_key(entity)
    required = {*keys, "source_key", "status", "source"}
    columns = [
        typed_column(name, primary_key=name in keys, nullable=name not in required) for name in columns_of(entity)
    ]
    statuses = ", ".join(f"'{status}'" for status in STATUSES)
    return Table(
        entity.name,
        METADATA,
        Column("district_id", Text, primary_key=True),
        *columns,
        CheckConstraint(f"status IN ({statuses})", name=f"ck_{entity.name}_status"),
        *_unique(entity),
        *_references(entity),
        # Rows lie in the order of their keys, which is how they are written, read back and looked up.
        sqlite_with_rowid=False,
    )


def _unique(entity: Entity) -> list[UniqueConstraint]:
    """One space of identifiers a district, one of source keys a source. NULL is nobody's identifier."""
    if entity.identifier is None:
        return []
    return [
        UniqueConstraint("district_id", entity.identifier, name=f"uq_{entity.name}_{entity.identifier}"),
        UniqueConstraint("district_id", "source", "source_key", name=f"uq_{entity.name}_source_key"),
    ]


def _references(entity: Entity) -> list[ForeignKeyConstraint]:
    return [
        ForeignKeyConstraint(
            ["district_id", str(BY_NAME[linked].key)],
            [f"{linked}.district_id", f"{linked}.{BY_NAME[linked].key}"],
            name=f"fk_{entity.name}_{linked}",
        )
        for linked in entity.links.values()
    ]


BASE: dict[str, Table] = {entity.name: _base_table(entity) for entity in ENTITIES}
"""Entity -> its base table, in the order in which they can be written."""

# A person's classes and a school's people are looked up from the other end than the primary key begins with.
Index("ix_enrollments_user_key", BASE["enrollments"].c.district_id, BASE["enrollments"].c.user_key)
Index("ix_memberships_organization_key", BASE["memberships"].c.district_id, BASE["memberships"].c.organization_key)
Index("ix_classes_organization_key", BASE["classes"].c.district_id, BASE["classes"].c.organization_key)

DISTRICT_STATE = Table(
    "district_state",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)
"""Moves by one with every write; a plan names the version it was made for. Its row is the district's write lock."""

RUNS = Table(
    "runs",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("batch_hash", Text),
    Column("outcome", Text, nullable=False),
    Column("plan_id", Text),
    Column("started_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("approved_by", Text),
    Column("delivered_at", Text),
    Column("source", Text),
    Column("mode", Text),
    Column("counts_json", Text, nullable=False),
    Column("findings_json", Text, nullable=False),
    Column("message", Text),
    Column("state_before", BigInteger),
    Column("state_after", BigInteger),
    Column("fingerprint", Text),
    Column("checked_at", Text),
    Index("ix_runs_started_at", "district_id", "started_at"),
)
"""`state_before` is the state that a run found, `state_after` NULL when it wrote nothing. `fingerprint`: see
`shortcut.py`; `checked_at`: when the database was last compared row by row, by this run or one that it relies on."""

CHANGES = Table(
    "changes",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("entity", Text, nullable=False),
    Column("entity_key", BigInteger),
    Column("user_key", BigInteger),
    Column("organization_key", BigInteger),
    Column("class_key", BigInteger),
    Column("entity_id", Text),
    Column("operation", Text, nullable=False),
    Column("before_json", Text),
    Column("after_json", Text),
    Column("reason", Text),
    Column("file", Text),
    Column("line", BigInteger),
    Index("ix_changes_entity_key", "district_id", "entity", "entity_key"),
)
"""One row an operation. `entity_key` belongs to a keyed entity; the other keys are both ends of a link."""

IDENTIFIER_HISTORY = Table(
    "identifier_history",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("entity_key", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Text, primary_key=True),
    Column("old_id", Text, nullable=False),
    Column("new_id", Text),
    Column("changed_at", Text, nullable=False),
    Column("changed_by", Text),
    Index("ix_identifier_history_old_id", "district_id", "entity", "old_id"),
)
"""`new_id` is NULL where a record gave its identifier up."""

_ARROW = {BigInteger: pa.int64(), Boolean: pa.bool_(), Text: pa.string()}


def arrow_schema(columns: list[Column[Any]]) -> pa.Schema:
    """The same columns for Arrow and Parquet."""
    return pa.schema([(column.name, _ARROW[type(column.type)]) for column in columns])
