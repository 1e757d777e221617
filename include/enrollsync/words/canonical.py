"""The five canonical tables that every source is brought to, and what their columns are for.

One place for names: normalising, checking, reconciling, loading and the database schema all read them from here.
Values are text until they are loaded; `is_primary` is `true` or `false`, `status` is `active` or `inactive` (nothing
where a row does not say), dates are ISO (`2015-03-09`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entity:
    """A canonical table: what identifies a record, what it hangs on, what it says."""

    name: str
    """Plural, as in the counts and the base table: `users`."""
    links: dict[str, str]
    """Column that names another record by source key -> that record's entity, in the order a reader expects."""
    values: tuple[str, ...]
    """Columns that say something about the record and are compared with the database."""
    identifier: str | None = None
    """The district's identifier column; a membership or an enrollment has none."""
    key: str | None = None
    """The internal key column; it never changes."""
    hidden: tuple[str, ...] = ()
    """Stored value columns that the views do not show."""

    @property
    def singular(self) -> str:
        """What a person calls one record: `user`; only what has a key of its own has such a name."""
        return str(self.key).removesuffix("_key")

    @property
    def identity(self) -> tuple[str, ...]:
        """Columns that make two rows the same record within a batch."""
        return ("source_key",) if self.key else tuple(self.links)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a source fills, in order."""
        own = ("source_key", self.identifier) if self.identifier else ()
        status = ("status",) if own or self.links else ()
        return (*own, *self.links, *self.values, *status)


ORGANIZATIONS = Entity(
    "organizations",
    identifier="organization_id",
    key="organization_key",
    links={},
    values=("name", "type"),
)
USERS = Entity(
    "users",
    identifier="user_id",
    key="user_key",
    links={},
    values=(
        "user_district_id",
        "user_state_id",
        "role",
        "given_name",
        "middle_name",
        "family_name",
        "email",
        "username",
        "grade",
        "birth_date",
    ),
)
MEMBERSHIPS = Entity(
    "memberships",
    links={"user_source_key": "users", "organization_source_key": "organizations"},
    values=("role", "is_primary"),
)
CLASSES = Entity(
    "classes",
    identifier="class_id",
    key="class_key",
    links={"organization_source_key": "organizations"},
    values=(
        "name",
        "course_code",
        "course_name",
        "subject",
        "grade",
        "period",
        "term",
        "term_start",
        "term_end",
    ),
    hidden=("term_start", "term_end"),
)
ENROLLMENTS = Entity(
    "enrollments",
    links={"class_source_key": "classes", "user_source_key": "users"},
    values=("role", "is_primary"),
)

ENTITIES: tuple[Entity, ...] = (ORGANIZATIONS, USERS, MEMBERSHIPS, CLASSES, ENROLLMENTS)
"""In the order in which they can be written: each after what it links to."""
ID_CHANGES = Entity("id_changes", links={}, values=("entity", "old_id", "new_id"))
"""Not records of the roster, but what a batch says about their identifiers (rule 9c)."""
BY_NAME: dict[str, Entity] = {entity.name: entity for entity in (*ENTITIES, ID_CHANGES)}

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
