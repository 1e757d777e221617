"""The five canonical tables that every source is brought to, and what their columns are for.

One place for names: normalising, checking, reconciling, loading and the database schema all read them from here.
Values are text until they are loaded; `is_primary` is `true` or `false`, `status` is `active` or `inactive` (nothing
where a row does not say), dates are ISO (`2015-03-09`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

Kind = Literal["key", "identifier", "reference", "status", "secondary", "email", "date", "flag", "text"]
"""What a column holds: the source's key of the record, its identifier in the district, the source key of another
record, its status; or something that is said of it: a secondary ID, an email, a date, true or false, any other text."""
Likeness = Literal["name", "proof", "schedule", "detail"]
"""What it means that a row agrees with a record in a column: they are called the same (`name`); with the name they are
one and the same (`proof`); they are held at one time, as next year's class is not (`schedule`); nothing by itself, but
a row that is another record's agrees in it too (`detail`)."""
_NO_VALUE: frozenset[Kind] = frozenset({"key", "identifier", "reference", "status"})


@dataclass(frozen=True)
class Column:
    """A column of a canonical table."""

    name: str
    label: str
    """What a person calls it within a sentence: `family name`."""
    kind: Kind = "text"
    refers_to: str | None = None
    """The entity of the record that a reference names."""
    likeness: Likeness | None = None
    """None: it is not looked at when a row is held against records other than the one behind its key."""
    private: bool = False
    """Whether its values tell who a person is: no log, message or notification has one."""


@dataclass(frozen=True)
class Entity:
    """A canonical table: what identifies a record, what it hangs on, what it says."""

    name: str
    """Plural, as in the counts and the base table: `users`."""
    described: tuple[Column, ...]
    """Every column that a source fills, in order; references in the order that a reader expects."""
    key: str | None = None
    """The internal key column; it never changes. A membership or an enrollment has none, and no identifier."""
    told_apart_by: tuple[str, ...] = ()
    """Values that tell links between the same two records apart: somebody may have two roles in one school."""

    @cached_property
    def singular(self) -> str:
        """What a person calls one record: `user`; only what has a key of its own has such a name."""
        return str(self.key).removesuffix("_key")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every column that a source fills, in order."""
        return tuple(column.name for column in self.described)

    @cached_property
    def identifier(self) -> str | None:
        """The district's identifier column."""
        return next(iter(self.of_kind("identifier")), None)

    @cached_property
    def links(self) -> dict[str, str]:
        """Column that names another record by source key -> that record's entity."""
        return {column.name: column.refers_to for column in self.described if column.refers_to}

    @cached_property
    def values(self) -> tuple[str, ...]:
        """Columns that say something about the record and are compared with the database."""
        return tuple(column.name for column in self.described if column.kind not in _NO_VALUE)

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """Columns that make two rows the same record within a batch."""
        return ("source_key",) if self.key else (*self.links, *self.told_apart_by)

    @cached_property
    def editable(self) -> tuple[str, ...]:
        """Columns that a person may correct in a record whose source is not a third party."""
        return self.of_kind("identifier", "secondary")

    def of_kind(self, *kinds: Kind) -> tuple[str, ...]:
        """The columns of these kinds."""
        return tuple(column.name for column in self.described if column.kind in kinds)

    def alike_in(self, *likeness: Likeness) -> tuple[str, ...]:
        """The columns that count so when a row is held against records."""
        return tuple(column.name for column in self.described if column.likeness in likeness)


_SOURCE_KEY = Column("source_key", "source key", "key")
_STATUS = Column("status", "status", "status")
_PERSON = Column("user_source_key", "person", "reference", refers_to="users", private=True)
_ORGANIZATION = Column("organization_source_key", "organization", "reference", refers_to="organizations")

ORGANIZATIONS = Entity(
    "organizations",
    (
        _SOURCE_KEY,
        Column("organization_id", "identifier", "identifier"),
        Column("name", "name", likeness="name"),
        Column("type", "type", likeness="detail"),
        _STATUS,
    ),
    key="organization_key",
)
USERS = Entity(
    "users",
    (
        replace(_SOURCE_KEY, private=True),
        Column("user_id", "identifier", "identifier", private=True),
        Column("user_district_id", "district ID", "secondary", likeness="proof", private=True),
        Column("user_state_id", "state ID", "secondary", likeness="proof", private=True),
        Column("role", "role"),
        Column("given_name", "given name", likeness="name", private=True),
        Column("middle_name", "middle name", likeness="detail", private=True),
        Column("family_name", "family name", likeness="name", private=True),
        Column("email", "email", "email", likeness="proof", private=True),
        Column("username", "username", private=True),
        Column("grade", "grade", likeness="detail"),
        Column("birth_date", "date of birth", "date", likeness="proof", private=True),
        _STATUS,
    ),
    key="user_key",
)
MEMBERSHIPS = Entity(
    "memberships",
    (_PERSON, _ORGANIZATION, Column("role", "role"), Column("is_primary", "primary organization", "flag"), _STATUS),
    told_apart_by=("role",),
)
CLASSES = Entity(
    "classes",
    (
        _SOURCE_KEY,
        Column("class_id", "identifier", "identifier"),
        _ORGANIZATION,
        Column("name", "name", likeness="name"),
        Column("course_code", "course code", likeness="schedule"),
        Column("course_name", "course name", likeness="detail"),
        Column("subject", "subject", likeness="detail"),
        Column("grade", "grade", likeness="detail"),
        Column("period", "period", likeness="schedule"),
        Column("term", "term", likeness="schedule"),
        Column("term_start", "first day of the term", "date", likeness="schedule"),
        Column("term_end", "last day of the term", "date", likeness="schedule"),
        _STATUS,
    ),
    key="class_key",
)
ENROLLMENTS = Entity(
    "enrollments",
    (
        Column("class_source_key", "class", "reference", refers_to="classes"),
        _PERSON,
        Column("role", "role"),
        Column("is_primary", "primary teacher", "flag"),
        _STATUS,
    ),
)

ENTITIES: tuple[Entity, ...] = (ORGANIZATIONS, USERS, MEMBERSHIPS, CLASSES, ENROLLMENTS)
"""In the order in which they can be written: each after what it links to."""
ID_CHANGES = Entity(
    "id_changes",
    (
        Column("entity", "kind of record"),
        Column("old_id", "old identifier", private=True),
        Column("new_id", "new identifier", private=True),
    ),
)
"""Not records of the roster, but what a batch says about their identifiers (rule 9c)."""
BY_NAME: dict[str, Entity] = {entity.name: entity for entity in (*ENTITIES, ID_CHANGES)}

BETWEEN_TERMS = "; "
"""Between the terms of a class that has several, in order of their start."""
REMOVE = "remove"
"""What `action` says of a row that asks for its record or link to be removed."""
STATUSES: tuple[str, ...] = ("active", "inactive")
"""What a row may say of its record or link."""
GRADES: tuple[str, ...] = (
    "InfantToddler", "Preschool", "PreKindergarten", "TransitionalKindergarten", "Kindergarten",
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13",
    "PostGraduate", "Ungraded", "Other",
)  # fmt: skip
"""Clever's grade names, which every source's spelling is mapped to."""
KINDS: dict[str, str] = {"student": "student", "teacher": "staff", "staff": "staff"}
"""Role -> kind of person; one space of identifiers holds both kinds (rule 1)."""
KIND_PREFIXES: tuple[str, ...] = tuple(f"{kind}:" for kind in dict.fromkeys(KINDS.values()))
"""What a person's source key begins with where a source's students and staff may share a number (Clever)."""
