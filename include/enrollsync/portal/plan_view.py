"""What a plan changes, for the person who decides about it: by field, by school, one by one, and what it comes to.

Reads the plan's tables and the roster as it was when the plan was made, both in the run's workspace; set-wise, in
DuckDB. What is shown holds children's names: only pages behind a district's permission may ask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from enrollsync.database.schema import NAMES, USUAL_LINKS, link_keys, primary_key
from enrollsync.portal.texts import count_of, say
from enrollsync.run.workspace import OPERATIONS, Workspace
from enrollsync.words.canonical import BY_NAME, ENTITIES, Entity
from enrollsync.words.masking import all_masked

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pyarrow as pa

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
    found, changes = view_changes(place, wanted)
    return replace(_told_whole(_plan_of(place)), changes=changes, found=found)


def view_changes(place: Workspace, wanted: Wanted) -> tuple[int, list[Change]]:
    """How many changes of a plan fit what is wanted, and one page of them."""
    plan = _plan_of(place)
    with _opened(plan) as connection:
        return _changes(connection, plan, wanted)


@dataclass(frozen=True)
class _Plan:
    """What tells a plan's files from every other's, so that what was worked out of them can be kept."""

    root: Path
    written: Path
    made: int


def _plan_of(place: Workspace) -> _Plan:
    written = place.written(place.plan_table("users"))
    return _Plan(place.root, written, written.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _told_whole(plan: _Plan) -> PlanView:
    """What is said of all changes together, which may take seconds."""
    with _opened(plan) as connection:
        return PlanView(_fields(connection), _schools(connection), losing=_losing(connection))


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
def _opened(plan: _Plan) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with `planned_<entity>`, `stored_<entity>` and what `_looked_up` has."""
    with _tables(plan) as connection:
        for name, table in _looked_up(plan).items():
            connection.register(name, table)
        yield connection


@contextmanager
def _tables(plan: _Plan) -> Iterator[duckdb.DuckDBPyConnection]:
    from enrollsync.run import engine

    place = Workspace(plan.root)
    with engine.for_page() as connection:
        for entity in ENTITIES:
            planned = engine.parquet(place.written(place.plan_table(entity.name)))
            connection.execute(
                f"CREATE TEMP VIEW planned_{entity.name} AS SELECT *, file_row_number AS lies FROM {planned}"
            )
            stored = engine.parquet(place.state / f"{entity.name}.parquet")
            connection.execute(f"CREATE TEMP VIEW stored_{entity.name} AS FROM {stored}")
        yield connection


@lru_cache(maxsize=4)
def _looked_up(plan: _Plan) -> dict[str, pa.Table]:
    """What each page would have to look for in the whole roster; about 100 bytes for each record that it concerns."""
    with _tables(plan) as connection:
        return {name: connection.sql(query).to_arrow_table() for name, query in _LOOKED_UP.items()}


def _overlaid(entity: str, columns: str, whose: str = "true") -> str:
    """The rows of an entity as they will be; `whose`: of some alone, so that not all are held against each other."""
    key = BY_NAME[entity].key
    return f"""
        SELECT {key}, {columns} FROM planned_{entity} WHERE {whose}
        UNION ALL
        SELECT {key}, {columns}
        FROM (FROM stored_{entity} WHERE {whose})
        ANTI JOIN (FROM planned_{entity} WHERE {whose}) USING ({key})"""


_FOLDED = "strip_accents(lower({}))"
_LOOKED_UP = {
    "schools": _overlaid("organizations", f"name, organization_id, {_FOLDED.format('name')} AS folded"),
    # Who and what stands at the ends of links that change.
    "people": _overlaid(
        "users",
        "concat_ws(', ', family_name, given_name) AS name, "
        f"concat_ws(' ', {_FOLDED.format('family_name')}, {_FOLDED.format('given_name')}) AS folded",
        "user_key IN (SELECT user_key FROM planned_memberships UNION ALL SELECT user_key FROM planned_enrollments)",
    ),
    "rooms": _overlaid(
        "classes",
        f"name, organization_key, {_FOLDED.format('name')} AS folded",
        "class_key IN (SELECT class_key FROM planned_enrollments)",
    ),
    # Where the people count who change: the primary school as it will be, else as it was.
    "places": """
        SELECT user_key, arg_min(organization_key, rank) AS organization_key
        FROM (
            SELECT user_key, organization_key, CASE WHEN is_primary AND status = 'active' THEN 0 ELSE 2 END AS rank
            FROM planned_memberships
            UNION ALL
            SELECT user_key, organization_key, CASE WHEN is_primary THEN 1 ELSE 3 END FROM stored_memberships
        )
        WHERE user_key IN (SELECT user_key FROM planned_users)
        GROUP BY user_key""",
}


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


@dataclass(frozen=True)
class _Told:
    """How operations on an entity are put in order, found and told, in SQL on its planned rows."""

    order: str
    """Before their keys, of these rows alone: what is at the ends of a link is looked up for one page only."""
    of_school: str
    with_word: str
    """That a word, `$word`, stands in its name, or in those at its ends."""
    name: str
    school: str
    """Key of the organization."""
    joins: str = ""
    """What `name` and `school` need besides `shown`, the rows of the page."""


def _has_word(*columns: str) -> str:
    """Column by column, because a name that many have is looked at once."""
    return " OR ".join(f"contains({_FOLDED.format(column)}, {_FOLDED.format('$word')})" for column in columns)


def _identifier_has_word(plan: _Plan, entity: str, word: str) -> str:
    """The same of a record's identifier, where any has the word's letters: most have digits alone, or few letters."""
    called = f"coalesce({BY_NAME[entity].identifier}, source_key)"
    if set(word.lower()) & set(ascii_lowercase) - _letters(plan, entity, called):
        return "false"
    return f"contains(lower({called}), lower($word))"


@lru_cache(maxsize=64)
def _letters(plan: _Plan, entity: str, called: str) -> frozenset[str]:
    """The characters beyond signs and digits that any identifier in the plan has, in lower case."""
    with _tables(plan) as connection:
        beyond = f"regexp_replace(lower({called}), '[ -@]+', '', 'g')"
        ((found,),) = connection.execute(f"SELECT string_agg(DISTINCT {beyond}, '') FROM planned_{entity}").fetchall()
        return frozenset(found or "")


def _end_with_word(ends: str, key: str) -> str:
    return f"{key} IN (SELECT {key} FROM {ends} WHERE contains(folded, {_FOLDED.format('$word')}))"


_LINKED = "concat(people.name, ' · ', {}.name)"
_PERSON_WITH_WORD = _end_with_word("people", "user_key")
_TOLD = {
    "organizations": _Told(
        "name", "organization_key = $school", _has_word("name"), "shown.name", "shown.organization_key"
    ),
    "users": _Told(
        "family_name, given_name", "user_key IN (SELECT user_key FROM places WHERE organization_key = $school)",
        _has_word("family_name", "given_name"),
        "concat_ws(', ', shown.family_name, shown.given_name)", "places.organization_key",
        "LEFT JOIN places USING (user_key)",
    ),
    "memberships": _Told(
        "", "organization_key = $school",
        f"{_PERSON_WITH_WORD} OR {_end_with_word('schools', 'organization_key')}",
        _LINKED.format("schools"), "shown.organization_key", "LEFT JOIN people USING (user_key)",
    ),
    "classes": _Told(
        "name", "organization_key = $school", _has_word("name"), "shown.name", "shown.organization_key"
    ),
    "enrollments": _Told(
        "", "class_key IN (SELECT class_key FROM rooms WHERE organization_key = $school)",
        f"{_PERSON_WITH_WORD} OR {_end_with_word('rooms', 'class_key')}",
        _LINKED.format("rooms"), "rooms.organization_key",
        "LEFT JOIN people USING (user_key) LEFT JOIN rooms USING (class_key)",
    ),
}  # fmt: skip


def _changes(connection: duckdb.DuckDBPyConnection, plan: _Plan, wanted: Wanted) -> tuple[int, list[Change]]:
    """How many fit, and one page of them: kind by kind, in the order in which they matter to somebody who decides.

    Only the kinds that the page falls into are put in order, and of those no more than the first pages as long as
    nobody turns further.
    """
    asked = _Asked(plan, replace(wanted, page=1), connection)
    found, changes = 0, []
    first, last = PAGE * (wanted.page - 1), PAGE * wanted.page
    for entity, operation, count in _counted(asked):
        begin, end = max(first - found, 0), min(last - found, count)
        if begin < end:
            rows = in_order(asked, entity, operation, _FIRST if end <= _FIRST else None)[begin:end]
            changes += _shown(connection, entity, [int(row) for row in rows])
        found += count
    return found, changes


@dataclass(frozen=True)
class _Asked:
    """What is wanted of a plan, apart from the page; the connection is that of whoever asks first."""

    plan: _Plan
    wanted: Wanted
    connection: duckdb.DuckDBPyConnection = field(compare=False)


@lru_cache(maxsize=256)
def _counted(asked: _Asked) -> list[tuple[str, str, int]]:
    """Entity, operation, and how many changes fit; those first that a page shows first."""
    wanted, connection = asked.wanted, asked.connection
    entities = [wanted.entity] if wanted.entity in BY_NAME else [entity.name for entity in ENTITIES]
    counts: list[tuple[str, str, int]] = []
    for entity in entities:
        if not connection.execute(f"SELECT count(*) FROM planned_{entity}").fetchall()[0][0]:
            continue  # names of its ends would be looked through for nothing
        where, values = _conditions(asked.plan, entity, wanted)
        query = f"SELECT operation, count(*) FROM planned_{entity} WHERE {where} GROUP BY operation"
        counts += [(entity, *row) for row in connection.execute(query, values).fetchall()]
    return sorted(counts, key=lambda row: (_ORDER.index(row[1]), entities.index(row[0])))


_ORDER = ("deactivate", "reidentify", "update", "reactivate", "create")
_FIRST = 5 * PAGE


def _words_of(wanted: Wanted) -> list[str]:
    return wanted.q.replace(",", " ").split()


@lru_cache(maxsize=64)
def in_order(asked: _Asked, entity: str, operation: str, most: int | None) -> np.ndarray:
    """Where the changes stand in the plan's table, in the order of their pages: four bytes a change."""
    where, values = _conditions(asked.plan, entity, replace(asked.wanted, operation=operation))
    order = ", ".join(name for name in (_TOLD[entity].order, "lies") if name)
    limit = f"LIMIT {most}" if most else ""
    found = asked.connection.sql(
        f"SELECT lies::INTEGER AS lies FROM planned_{entity} WHERE {where} ORDER BY {order} {limit}", params=values
    )
    lies: np.ndarray = found.to_arrow_table()["lies"].to_numpy()
    return lies


def _shown(connection: duckdb.DuckDBPyConnection, entity: str, rows: list[int]) -> list[Change]:
    """The changes that stand there."""
    told, declared = _TOLD[entity], BY_NAME[entity]
    identifier = "shown.entity_id" if declared.identifier else "NULL"  # who gave the identifier up goes by it here
    key = f"shown.{declared.key}" if declared.key else "NULL"
    # Of a table of a million rows each column that is read costs as much as all else.
    own = ("entity_id", *NAMES.get(entity, ()), *link_keys(declared)) if declared.key else ()
    told_of_all = ("operation", "before_json", "after_json", "reason", "file", "line")
    needed = ", ".join(dict.fromkeys(str(name) for name in (*primary_key(declared), *own, *told_of_all)))
    found = connection.execute(
        f"""
        WITH shown AS (
            SELECT {needed}, list_position({rows}, lies) AS place
            FROM planned_{entity}
            WHERE lies IN ({", ".join(map(str, rows))})
        )
        SELECT '{entity}', operation, {key}, {told.name}, {identifier}, schools.name,
            before_json, {_after(declared)}, reason, file, line
        FROM shown {told.joins}
        LEFT JOIN schools ON schools.organization_key = {told.school}
        ORDER BY place""",
    ).fetchall()
    return [_change(row) for row in found]


def _after(entity: Entity) -> str:
    """What the plan says; of a membership that is created as most are, it says the role alone."""
    if not entity.told_apart_by:
        return "after_json"
    others = json.dumps(USUAL_LINKS[entity.name]).removeprefix("{")
    told = f"""'{{"role":"' || shown.role || '",{others}'"""
    return f"CASE WHEN operation = 'create' THEN coalesce(after_json, {told}) ELSE after_json END"


def _conditions(plan: _Plan, entity: str, wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """What a planned row of the entity has to fit, and the values in it."""
    told = _TOLD[entity]
    conditions: dict[str, tuple[str, Any]] = {}
    if wanted.operation in OPERATIONS:
        conditions["operation"] = "operation = $operation", wanted.operation
    if wanted.field:
        # Within a value a quotation mark has a backslash before it.
        conditions["named"] = (
            f"operation IN {_CHANGED} AND contains(after_json, $named)",
            json.dumps(wanted.field, ensure_ascii=False) + ":",
        )
    if wanted.school is not None:
        conditions["school"] = told.of_school, wanted.school
    for number, word in enumerate(_words_of(wanted)):
        fits = [told.with_word, *([_identifier_has_word(plan, entity, word)] if BY_NAME[entity].identifier else [])]
        conditions[f"word_{number}"] = " OR ".join(fits).replace("$word", f"$word_{number}"), word
    where = " AND ".join(f"({condition})" for condition, _ in conditions.values()) or "true"
    return where, {name: value for name, (condition, value) in conditions.items() if f"${name}" in condition}


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
