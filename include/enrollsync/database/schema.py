"""The tables of the roster database, as SQLAlchemy Core sees them today.

The five base tables follow `canonical.ENTITIES`. How an existing database gets here, and the views that other
programs read, belong to `migrations/`; a test proves that both agree.

Dates are ISO text (`2015-03-09`) and instants are ISO text in UTC with microseconds on both databases: they sort as
they should, and the views, the export and the loader need no conversion that differs between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    literal_column,
)
from sqlalchemy.types import TypeEngine

from enrollsync.words.canonical import BY_NAME, ENTITIES, Entity

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from sqlalchemy.sql.elements import KeyedColumnElement

METADATA = MetaData()

STATUSES = ("active", "inactive", "removed")
"""The views show the first two; `removed` is a creation that was undone, or a person who was forgotten."""
WHOLE = ""
"""Stands in `RunShares` where an organization's key does, for all records of the entity."""
_FLAGS = frozenset(name for entity in ENTITIES for name in entity.of_kind("flag"))
Counts = tuple[int, int, int, int]
"""Active before the run, then created, updated, deactivated."""
STUDENTS = "students"
"""Stands in `RunShares` beside the entities, for those of the users who are students."""
RunShares = dict[str, dict[str, Counts]]
"""Entity or `STUDENTS` -> `WHOLE` or the key of an organization -> counts: what `runs.shares_json` holds of one run."""
FoundInSchools = dict[str, dict[str, int]]
"""Code -> key of an organization -> how many findings on its rows."""


def link_keys(entity: Entity) -> tuple[str, ...]:
    """The key columns that stand in the base table for the entity's links: `class_key`, `user_key`."""
    return tuple(str(BY_NAME[linked].key) for linked in entity.links.values())


def record_keys(entity: Entity) -> tuple[str, ...]:
    """The keys of the records that a row of the base table speaks of: its own, or both ends of a link."""
    return (entity.key,) if entity.key else link_keys(entity)


def primary_key(entity: Entity) -> tuple[str, ...]:
    """The columns that, with `district_id`, name one row of the base table."""
    return (*record_keys(entity), *entity.told_apart_by)


def columns_of(entity: Entity) -> tuple[str, ...]:
    """Every column of the base table but `district_id`, in order."""
    own = (entity.key, "source_key", entity.identifier) if entity.key and entity.identifier else ()
    return (*own, *link_keys(entity), *entity.values, "status", "source")


def said_columns(entity: Entity) -> tuple[str, str]:
    """The columns of `findings` for what a row called a record of this entity: identifier and source key."""
    return str(entity.identifier), f"{entity.singular}_source_key"


def typed_column(name: str, *, nullable: bool = True) -> Column[Any]:
    """A column whose type follows from its name: `*_key` counts, a flag is true or false, the rest is text."""
    kind: type[TypeEngine[Any]] = Text
    if name in _FLAGS:
        kind = Boolean
    elif name.endswith("_key") and name != "source_key":
        kind = BigInteger
    return Column(name, kind, nullable=nullable, autoincrement=False)


CREATED: dict[str, type[TypeEngine[Any]]] = {
    "created_state": BigInteger, "created_sequence": Integer, "created_line": Integer
}  # fmt: skip
"""The columns of a link that are the audit of its creation (`state_after`, `sequence`, `line` of `CHANGES`) until
something changes it, and NULL from then on, when `CHANGES` has it."""


def _base_table(entity: Entity) -> Table:
    keys = primary_key(entity)
    required = {*keys, "source_key", "status", "source"}
    columns = [typed_column(name, nullable=name not in required) for name in columns_of(entity)]
    statuses = ", ".join(f"'{status}'" for status in STATUSES)
    return Table(
        entity.name,
        METADATA,
        Column("district_id", Text),
        *columns,
        *(Column(name, kind) for name, kind in CREATED.items() if not entity.key),
        # The name that PostgreSQL gives by itself.
        PrimaryKeyConstraint("district_id", *keys, name=f"{entity.name}_pkey"),
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

# A person's classes and a school's people are looked up from the other end than the primary key begins with. What
# differs stands first: of an index that begins with the same district everywhere, building takes three times as long.
Index("ix_enrollments_user_key", BASE["enrollments"].c.user_key, BASE["enrollments"].c.district_id)
Index("ix_memberships_organization_key", BASE["memberships"].c.organization_key, BASE["memberships"].c.district_id)
Index("ix_classes_organization_key", BASE["classes"].c.organization_key, BASE["classes"].c.district_id)

NAMES: dict[str, tuple[str, ...]] = {
    "organizations": ("name",),
    "users": ("given_name", "middle_name", "family_name"),
    "classes": ("name",),
}
"""Entity -> the columns in which a search looks for words."""
CODES: dict[str, tuple[str, ...]] = {"users": ("user_district_id", "user_state_id"), "classes": ("course_code",)}
"""Entity -> the columns, besides identifiers and source keys, that a search compares as a whole."""


LOOKED_IN = 100
"""Characters."""


def looked_in(column: ColumnElement[str]) -> ColumnElement[str]:
    """As much of a name as is looked in: no database indexes a text of any length."""
    return func.substr(column, literal_column("1"), literal_column(str(LOOKED_IN)))


def folded_email() -> ColumnElement[str]:
    """A user's email as it is looked for, whatever its case."""
    return func.lower(BASE["users"].c.email)


def _index_for_search(entity: str, name: str, *columns: ColumnElement[Any], where: ColumnElement[bool]) -> None:
    Index(f"ix_{entity}_{name}", *columns, postgresql_where=where, sqlite_where=where)


for _entity in NAMES:
    _table = BASE[_entity]
    for _name in (*NAMES[_entity], *CODES.get(_entity, ())):
        _told = _table.c[_name]
        _index_for_search(_entity, _name, looked_in(_told), _table.c.district_id, where=_told.is_not(None))

_users = BASE["users"]
_index_for_search("users", "email", folded_email(), _users.c.district_id, where=_users.c.email.is_not(None))
# What nearly all have is found without an index.
_users_keys = (_users.c.district_id, _users.c.user_key)
_index_for_search("users", "role", _users.c.role, *_users_keys, where=_users.c.role != literal_column("'student'"))
_index_for_search("users", "status", _users.c.status, *_users_keys, where=_users.c.status != literal_column("'active'"))

SEARCH_NAMES = Table(
    "search_names",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    # By bytes, so that the words with one beginning lie together, whatever the database's language.
    Column("word", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    Column("name", Text, primary_key=True),
    sqlite_with_rowid=False,
)
"""Which names of `NAMES`, as far as they are `looked_in`, have a word, without case and accents (`words/folding.py`).
Each distinct name stands here once, however many have it. A name that nobody has any more may stay: it finds nobody."""

DISTRICT_STATE = Table(
    "district_state",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("forget_key", Text),
)
"""`version` moves by one with every write; a plan names the version it was made for. The row is the district's write
lock. `forget_key`: random, for the marks of `FORGOTTEN`; NULL before anybody was forgotten."""

FORGOTTEN = Table(
    "forgotten",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("mark", Text, primary_key=True),
    Column("user_key", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("state_after", BigInteger, nullable=False),
)
"""How people are recognised who were forgotten, should a delivery still have them: for each identifier, source key and
secondary ID a mark (`database/forgotten.py`), never the value. `run_id`, `state_after`: of the run that forgot them."""

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
    Column("shares_json", Text),
    Column("answer", Text),
    Column("comment", Text),
    Column("schools_json", Text),
    Column("memberships_file", Text),
    Column("enrollments_file", Text),
    Index("ix_runs_started_at", "district_id", "started_at"),
    Index("ix_runs_state_after", "district_id", "state_after"),
)
"""`state_before` is the state that a run found, `state_after` NULL when it wrote nothing. `fingerprint`: see
`shortcut.py`; `checked_at`: when the database was last compared row by row, by this run or one that it relies on.
`shares_json`: `shares.RunShares` of a run that applied a delivery, from which later runs learn what is usual.
`answer`: what a person said to a plan that waited, one of `workspace.Answer`; `approved_by` is that person, `comment`
why, in their words. `schools_json`: `FoundInSchools` of a run that came to a plan; NULL where nobody measured it.
`memberships_file`, `enrollments_file`: of which file the lines are by which it created links, as far as the audit
names none."""

UNDO_OF = "undo of run "
"""Begins the `message` of a run with outcome `undone`; the id of the run that it undid follows."""
EDITED = "changed on a profile page"
"""The `message` of a run that applied what a person changed of one record."""
EDIT_REASON = "a person changed it on the profile page"
"""The reason of a change in such a run: no delivery says so, and no file that anybody knows."""
SETTLED = "settled line "
"""Begins the `message` of a run that loaded a row of which a person said whose it is; `17 of users.csv of run ...`
follows."""
MERGED = "merged user "
"""Begins the `message` of a run that merged two people; the key of the one that went follows, then `into user ` and the
key of the one that was kept."""
FORGOT = "forgot user "
"""Begins the `message` of a run that forgot somebody; their internal keys follow."""
FORGOTTEN_KEY = " forgotten "
"""Begins the source key of a record that was forgotten, whose internal key follows: no source gives such a one."""
OUTCOME_FORGOTTEN = "forgotten"
"""Of a run that forgot somebody."""
TRIMMED = "removed people's values up to state "
"""Begins the `message` of a run that emptied old audit rows; the newest state whose rows it emptied follows."""
OUTCOME_TRIMMED = "trimmed"
"""Of such a run, which moves no state: the roster says what it said."""


def is_by_hand(message: str | None) -> bool:
    """Whether the `message` is that of a run by which a person changed single records, or of a cleaning: no night's."""
    return message is not None and (message == EDITED or message.startswith((SETTLED, MERGED, FORGOT, TRIMMED)))


RECORD_KEYS = ("user_key", "organization_key", "class_key")
"""The keys by which an operation names the records it touches: a keyed entity's own, or both ends of a link."""

CHANGES = Table(
    "changes",
    METADATA,
    Column("district_id", Text, nullable=False),
    Column("state_after", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("entity", Text, nullable=False),
    Column("operation", Text, nullable=False),
    *(Column(key, BigInteger) for key in RECORD_KEYS),
    Column("role", Text),
    Column("entity_id", Text),
    Column("before_json", Text),
    Column("after_json", Text),
    Column("reason", Text),
    Column("file", Text),
    Column("line", BigInteger),
    # Rows are only ever added, in the order of their runs: PostgreSQL needs no more than the range that a page spans.
    Index("ix_changes_state_after", "state_after", postgresql_using="brin"),
)
"""One row an operation, in the order `sequence` within the run that led to `state_after`. A membership is named by its
ends and its `role`, which is NULL elsewhere. What most rows say alike is NULL and said by the view: the name of a link
(its ends), the usual reason, `USUAL_LINKS`. A link that is created as usual, by a line, has no row here at all until
something changes it (`CREATED`): who asks for links asks `audit.py`. No key: the audit is millions of rows, nothing
refers to one, and they are written in one transaction with what they tell."""

USUAL_ENROLLMENT: dict[str, str | bool] = {"role": "student", "is_primary": False, "status": "active"}
"""Column -> value of most enrollments: their keys are all that is read to compare them."""
USUAL_LINKS: dict[str, dict[str, str | bool]] = {
    "memberships": {"is_primary": True, "status": "active"},
    "enrollments": USUAL_ENROLLMENT,
}
"""Entity -> what most links are created with. When `source` is the run's too, `after_json` of their creation is NULL
and the view tells it; a membership's `role` stands in the audit anyway."""
USUAL_REASON = "the batch says so"
"""What the view tells of a change without a reason of its own."""

for _key in RECORD_KEYS:
    _touched = CHANGES.c[_key].is_not(None)
    Index(
        f"ix_changes_{_key}", CHANGES.c[_key], CHANGES.c.district_id, postgresql_where=_touched, sqlite_where=_touched
    )

CHANGED_CLASS = (CHANGES.c.entity == literal_column("'classes'")) & CHANGES.c.before_json.is_not(None)
"""Which operations say that a class belonged to another organization before; few do, among millions."""
Index(
    "ix_changes_classes", CHANGES.c.district_id, CHANGES.c.state_after, postgresql_where=CHANGED_CLASS,
    sqlite_where=CHANGED_CLASS,
)  # fmt: skip

OF_RECORDS = {name: CHANGES.c.entity == literal_column(f"'{name}'") for name in ("organizations", "classes")}
"""Entity -> which operations are its own: of a school's or a class's key most others are of its people's links."""
for _entity, _own in OF_RECORDS.items():
    Index(
        f"ix_changes_of_{_entity}", CHANGES.c[BY_NAME[_entity].key or ""], CHANGES.c.district_id,
        postgresql_where=_own, sqlite_where=_own,
    )  # fmt: skip

for _name in USUAL_LINKS:
    # What was created in a run is asked for as what was changed in it. With the district SQLite knows how many rows
    # that is, and finds somebody's links by other indexes.
    _link = BASE[_name].c
    Index(f"ix_{_name}_created_state", _link.created_state, _link.district_id, postgresql_using="brin")


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
"""One row for each identifier that a record lost. `new_id` is NULL where it gave its identifier up or had it withheld
(rule 4); one that comes back has no row, because nothing was lost: `changes` tells of it, as of a creation."""

FINDINGS = Table(
    "findings",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("entity", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("file", Text),
    Column("line", BigInteger),
    Column("column_name", Text),
    Column("message", Text),
    *(Column(name, Text) for entity in ENTITIES if entity.key for name in said_columns(entity)),
)
"""Why a row did not load: the critical findings of each run, and those for which a row waits (`PLAN-*`). The last six
columns say whom the row speaks of, in its own words; NULL for a line that nobody could read."""

for _said in (name for entity in ENTITIES if entity.key for name in said_columns(entity)):
    _told = FINDINGS.c[_said]
    Index(
        f"ix_findings_{_said}", _told, FINDINGS.c.district_id, postgresql_where=_told.is_not(None),
        sqlite_where=_told.is_not(None),
    )  # fmt: skip

KNOWN_FINDINGS = Table(
    "known_findings",
    METADATA,
    Column("district_id", Text, primary_key=True),
    Column("known_id", Text, primary_key=True),
    Column("code", Text, nullable=False),
    Column("organization_key", BigInteger),
    Column("until", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("ended_by", Text),
)
"""Kinds of findings that a person knows of, in one organization or (NULL) in all: until the day `until` begins, or
somebody has ended it before, a rise of their number is nothing new. Rows are never deleted."""


def arrow_schema(columns: Sequence[KeyedColumnElement[Any]]) -> pa.Schema:
    """The same columns for Arrow and Parquet."""
    import pyarrow as pa

    types = {BigInteger: pa.int64(), Integer: pa.int32(), Boolean: pa.bool_(), Text: pa.string()}
    return pa.schema([(column.name, types[type(column.type)]) for column in columns])
