"""What a plan changes, for the person who decides about it: by field, by school, one by one, and what it comes to.

Reads the plan's tables and the roster as it was when the plan was made, both in the run's workspace; set-wise, in
DuckDB. What is shown holds children's names: only pages behind a district's permission may ask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enrollsync.portal.texts import count_of, say
from enrollsync.run.workspace import OPERATIONS, Workspace
from enrollsync.words.canonical import BY_NAME, ENTITIES
from enrollsync.words.masking import all_masked

if TYPE_CHECKING:
    import duckdb

PAGE = 20
"""Changes on one page."""
_MOST_SCHOOLS = 50
_CREATED, _CHANGED = "('create', 'reactivate')", "('update', 'reidentify')"


@dataclass(frozen=True)
class Field:
    """A column that changes."""

    entity: str
    name: str
    count: int
    """Records for which its value is another one."""
    active: int
    """Active records of the entity before the plan."""


@dataclass(frozen=True)
class School:
    """What changes in one school."""

    organization_key: int | None
    name: str
    created: int
    """People whose primary school it is, like the next two."""
    changed: int
    deactivated: int
    active: int
    """People before the plan."""
    enrollments_gone: int
    """Of its classes."""


@dataclass(frozen=True)
class Change:
    """One operation, with names as a person reads them."""

    entity: str
    operation: str
    key: int | None
    """Of the person, class or organization; None for a link."""
    name: str
    identifier: str | None
    school: str | None
    values: list[tuple[str, Any, Any]]
    """Column, before, after; of a creation, before is None."""
    reason: str | None
    file: str | None
    line: int | None


@dataclass(frozen=True)
class Wanted:
    """Which changes a person wants to see."""

    entity: str = ""
    operation: str = ""
    field: str = ""
    school: int | None = None
    q: str = ""
    page: int = 1


@dataclass(frozen=True)
class PlanView:
    """A plan as a page shows it."""

    fields: list[Field] = field(default_factory=list)
    schools: list[School] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    found: int = 0
    """Changes that fit what is wanted, of which `changes` is one page."""
    losing: dict[str, int] = field(default_factory=dict)
    """`students` and other `people` who are deactivated, `enrolled` who lose a class, `classes` that they lose."""


def has_plan(place: Workspace) -> bool:
    """Whether the run came to a plan whose files are still there."""
    return (place.plan / "plan.json").is_file() and (place.state / "users.parquet").is_file()


def view_plan(place: Workspace, wanted: Wanted) -> PlanView:
    """Read a plan; one that was applied in part is shown as it was applied."""
    with _opened(place) as connection:
        found, changes = _changes(connection, wanted)
        return PlanView(_fields(connection), _schools(connection), changes, found, _losing(connection))


def consequences(view: PlanView, answer: str) -> list[str]:
    """What an answer does to people, a sentence each; nothing of who stays as they are."""
    if answer == "reject":
        return [say("Nothing is written; the roster stays as it is.")]
    losing = view.losing if answer == "approve" else {}
    told = []
    if losing.get("students") or losing.get("people"):
        gone = [count_of(losing[kind], one, many) for kind, one, many in (
            ("students", say("student"), say("students")), ("people", say("other person"), say("other people"))
        ) if losing.get(kind)]  # fmt: skip
        told.append(say("{who} become inactive.", who=say(" and ").join(gone)))
    if losing.get("enrolled"):
        who = count_of(losing["enrolled"], say("person loses"), say("people lose"))
        classes = count_of(losing["classes"], say("class"), say("classes"))
        told.append(say("{who} access to {classes}.", who=who, classes=classes))
    told += [
        say("{count}: {field} is written anew.", field=one.name.replace("_", " "), count=_records(one))
        for one in view.fields[:3]
    ]
    if answer == "without_removals":
        told.insert(0, say("Nobody and nothing is deactivated; the next night holds those removals again."))
    if answer == "use_proposal":
        told = [say("The proposed identifier changes are taken as delivered, and the plan is made again.")]
    return told or [say("What is listed below is written in one transaction.")]


def _records(one: Field) -> str:
    return f"{one.count:,} {one.entity}"


# ---- the tables ------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(place: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    from enrollsync.run import engine

    with engine.connect(place.root) as connection:
        for entity in ENTITIES:
            planned = engine.parquet(place.written(place.plan_table(entity.name)))
            connection.execute(f"CREATE VIEW planned_{entity.name} AS FROM {planned}")
            stored = engine.parquet(place.state / f"{entity.name}.parquet")
            connection.execute(f"CREATE VIEW stored_{entity.name} AS FROM {stored}")
        for statement in _VIEWS:
            connection.execute(statement)
        yield connection


def _overlaid(entity: str, columns: str) -> str:
    """The rows of an entity as they will be."""
    key = BY_NAME[entity].key
    return f"""
        SELECT {key}, {columns} FROM planned_{entity}
        UNION ALL
        SELECT {key}, {columns} FROM stored_{entity} ANTI JOIN planned_{entity} USING ({key})"""


def _operations(entity: str, key: str, organization: str, name: str, joins: str) -> str:
    identifier = BY_NAME[entity].identifier
    said = f"coalesce(planned.{identifier}, planned.source_key)" if identifier else "NULL"
    return f"""
        SELECT '{entity}' AS entity, planned.operation, {key} AS key, {said} AS identifier, {name} AS name,
            {organization} AS organization_key, before_json, after_json, reason, file, line
        FROM planned_{entity} AS planned{joins}"""


_PERSON = "concat_ws(', ', people.family_name, people.given_name)"
_WITH_PERSON = " LEFT JOIN people USING (user_key)"
_WITH_ROOM = " LEFT JOIN rooms USING (class_key)"
_WITH_PLACE = " LEFT JOIN places USING (user_key)"
_VIEWS = (
    f"CREATE VIEW people AS {_overlaid('users', 'family_name, given_name')}",
    f"CREATE VIEW schools AS {_overlaid('organizations', 'name, organization_id')}",
    f"CREATE VIEW rooms AS {_overlaid('classes', 'name, class_id, organization_key')}",
    # Where a person counts: the primary school as it will be, else as it was.
    """
    CREATE VIEW places AS
        SELECT user_key, arg_min(organization_key, rank) AS organization_key
        FROM (
            SELECT user_key, organization_key, CASE WHEN is_primary AND status = 'active' THEN 0 ELSE 2 END AS rank
            FROM planned_memberships
            UNION ALL
            SELECT user_key, organization_key, CASE WHEN is_primary THEN 1 ELSE 3 END FROM stored_memberships
        )
        GROUP BY user_key""",
    "CREATE VIEW operations AS " + " UNION ALL ".join(
        (
            _operations("organizations", "organization_key", "organization_key", "planned.name", ""),
            _operations("users", "user_key", "places.organization_key",
                        "concat_ws(', ', planned.family_name, planned.given_name)", _WITH_PLACE),
            _operations("memberships", "NULL", "planned.organization_key",
                        f"{_PERSON} || ' · ' || coalesce(schools.name, '')",
                        f"{_WITH_PERSON} LEFT JOIN schools ON schools.organization_key = planned.organization_key"),
            _operations("classes", "class_key", "planned.organization_key", "planned.name", ""),
            _operations("enrollments", "NULL", "rooms.organization_key",
                        f"{_PERSON} || ' · ' || coalesce(rooms.name, '')", _WITH_PERSON + _WITH_ROOM),
        )
    ),
)  # fmt: skip


def _fields(connection: duckdb.DuckDBPyConnection) -> list[Field]:
    """The columns that change, those of most records first."""
    parts = " UNION ALL ".join(
        f"""
        SELECT '{entity.name}' AS entity, unnest(json_keys(after_json)) AS field
        FROM planned_{entity.name}
        WHERE operation IN {_CHANGED}"""
        for entity in ENTITIES
    )
    active = " UNION ALL ".join(
        f"SELECT '{entity.name}' AS entity, count(*) AS active FROM stored_{entity.name} WHERE status = 'active'"
        for entity in ENTITIES
    )
    rows = connection.execute(f"""
        SELECT entity, field, count(*) AS records, any_value(active)
        FROM ({parts})
        JOIN ({active}) USING (entity)
        WHERE field NOT IN ('source', 'source_key')
        GROUP BY entity, field
        ORDER BY records DESC, entity, field""").fetchall()
    return [Field(*row) for row in rows]


def _schools(connection: duckdb.DuckDBPyConnection) -> list[School]:
    """The schools in which people or enrollments change, those that lose most first."""
    rows = connection.execute(f"""
        WITH changing AS (
            SELECT places.organization_key,
                count(*) FILTER (operation IN {_CREATED}) AS created,
                count(*) FILTER (operation IN {_CHANGED}) AS changed,
                count(*) FILTER (operation = 'deactivate') AS deactivated
            FROM planned_users
            LEFT JOIN places USING (user_key)
            GROUP BY places.organization_key
        ),
        going AS (
            SELECT rooms.organization_key, count(*) AS gone
            FROM planned_enrollments
            LEFT JOIN rooms USING (class_key)
            WHERE operation = 'deactivate'
            GROUP BY rooms.organization_key
        ),
        present AS (
            SELECT organization_key, count(*) AS active
            FROM stored_memberships
            WHERE is_primary AND status = 'active'
            GROUP BY organization_key
        )
        SELECT organization_key, coalesce(nullif(schools.name, ''), schools.organization_id), coalesce(created, 0),
            coalesce(changed, 0), coalesce(deactivated, 0), coalesce(active, 0), coalesce(gone, 0)
        FROM changing
        FULL JOIN going USING (organization_key)
        LEFT JOIN present USING (organization_key)
        LEFT JOIN schools USING (organization_key)
        ORDER BY coalesce(deactivated, 0) DESC, coalesce(changed, 0) + coalesce(created, 0) DESC, 2
        LIMIT {_MOST_SCHOOLS}""").fetchall()
    return [School(row[0], row[1] or say("No school"), *row[2:]) for row in rows]


def _losing(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    from enrollsync.run.engine import one_row

    students, people = one_row(
        connection,
        """
        SELECT count(*) FILTER (role = 'student'), count(*) FILTER (role IS DISTINCT FROM 'student')
        FROM planned_users WHERE operation = 'deactivate'""",
    )
    enrolled, classes = one_row(
        connection,
        """
        SELECT count(DISTINCT user_key), count(DISTINCT class_key)
        FROM planned_enrollments WHERE operation = 'deactivate'""",
    )
    return {"students": students, "people": people, "enrolled": enrolled, "classes": classes}


# ---- one by one ------------------------------------------------------------------------------------------------------


def _changes(connection: duckdb.DuckDBPyConnection, wanted: Wanted) -> tuple[int, list[Change]]:
    conditions, values = _conditions(wanted)
    where = " AND ".join(conditions) or "true"
    ((found,),) = connection.execute(f"SELECT count(*) FROM operations WHERE {where}", values).fetchall()
    order = ", ".join(f"'{entity.name}'" for entity in ENTITIES)
    rows = connection.execute(
        f"""
        SELECT entity, operation, key, name, identifier, school, before_json, after_json, reason, file, line
        FROM (
            SELECT operations.*, schools.name AS school
            FROM operations
            LEFT JOIN schools USING (organization_key)
            WHERE {where}
        )
        ORDER BY list_position(['deactivate', 'reidentify', 'update', 'reactivate', 'create'], operation),
            list_position([{order}], entity), name, identifier, key
        LIMIT {PAGE} OFFSET $offset""",
        values | {"offset": PAGE * (wanted.page - 1)},
    ).fetchall()
    return found, [_change(row) for row in rows]


def _conditions(wanted: Wanted) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    values: dict[str, Any] = {}
    if wanted.entity in BY_NAME:
        conditions.append("entity = $entity")
        values["entity"] = wanted.entity
    if wanted.operation in OPERATIONS:
        conditions.append("operation = $operation")
        values["operation"] = wanted.operation
    if wanted.field:
        conditions.append(f"list_contains(json_keys(after_json), $field) AND operation IN {_CHANGED}")
        values["field"] = wanted.field
    if wanted.school is not None:
        conditions.append("organization_key = $school")
        values["school"] = wanted.school
    if wanted.q.strip():
        folded = "strip_accents(lower({}))"
        text = "concat_ws(' ', operations.name, operations.identifier)"
        conditions.append(f"contains({folded.format(text)}, {folded.format('$q')})")
        values["q"] = wanted.q.strip()
    return conditions, values


def _change(row: tuple[Any, ...]) -> Change:
    entity, operation, key, name, identifier, school, before, after, *rest = row
    return Change(
        entity, operation, key, name, all_masked(identifier), school, _values(operation, before, after), *rest
    )


def _values(operation: str, before: str | None, after: str | None) -> list[tuple[str, Any, Any]]:
    olds, news = (all_masked(json.loads(text)) if text else {} for text in (before, after))
    names = [name for name in (news or olds) if name not in _NOT_SHOWN]
    if operation in ("create", "deactivate"):
        names = [name for name in names if news.get(name) not in (None, "") or olds.get(name) not in (None, "")]
    return [(name, olds.get(name), news.get(name)) for name in names]


_NOT_SHOWN = {"source", "organization_key", "source_key"}
