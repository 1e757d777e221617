"""Finds people, classes and organizations by name, identifier (past ones too), source key, secondary ID or email.

A name is found by the beginnings of its words, whatever their case and accents; everything else as a whole. No more
than `MOST` are looked for: who has that many needs to say more, not to read on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    func,
    intersect,
    literal,
    literal_column,
    or_,
    select,
    union,
    union_all,
)

from enrollsync.as_of.records import Read, Row
from enrollsync.database.dialects import passed_over
from enrollsync.database.schema import (
    BASE,
    CODES,
    FINDINGS,
    IDENTIFIER_HISTORY,
    NAMES,
    SEARCH_NAMES,
    columns_of,
    folded_email,
    looked_in,
    said_columns,
)
from enrollsync.formats import sources
from enrollsync.records.open_findings import open_runs
from enrollsync.report.explain import spellings
from enrollsync.words.canonical import CLASSES, ORGANIZATIONS, USERS, Entity
from enrollsync.words.folding import words_of

MOST = 1000
"""More are not counted."""
PAGE = 50
"""Records a page."""
_COMMON = 300
"""Names."""
_LAST = "\U0010ffff"
"""Sorts behind every letter."""


@dataclass(frozen=True)
class Wanted:
    """What a search asks for; what is empty is not asked."""

    text: str = ""
    school: int | None = None
    """Key of an organization."""
    role: str = ""
    status: str = ""
    code: str = ""
    """Of an open finding."""


@dataclass(frozen=True)
class Found:
    """One page of what was found, by name."""

    records: list[Row]
    """The columns of the base table; of people and classes also `organization_id` and `organization`, its name."""
    total: int
    """All that were found, at most `MOST`."""
    more: bool
    """Whether there are more than that."""
    page: int
    pages: int


@dataclass(frozen=True)
class _Word:
    """Names with a word that begins as one of the text's does."""

    query: Select[Any]
    """Finds all of them."""
    names: list[str] | None
    """None: they are so many that one had better look through something else."""

    @property
    def found(self) -> Select[Any] | list[str]:
        """Of names that are told one by one, a database knows how many people have them."""
        return self.query if self.names is None else self.names


def search(
    read: Read, district_id: str, entity: Entity, wanted: Wanted, page: int = 1, size: int | None = None
) -> Found:
    """The records that fit all of what is wanted, `size` a page.

    `page` counts from 1, and one that is not there is the last one.
    """
    size = size or PAGE
    found = read(_found(read, district_id, entity, wanted))
    _sort(entity, found)
    total, more = min(len(found), MOST), len(found) > MOST
    pages = max(1, -(-total // size))
    page = min(max(page, 1), pages)
    keys = [row[str(entity.key)] for row in found[:MOST][(page - 1) * size : page * size]]
    return Found(_described(read, district_id, entity, keys), total, more, page, pages)


def organizations_to_choose(read: Read, district_id: str) -> list[tuple[int, str]]:
    """Key and name, or identifier, of the district's organizations, by name; at most `MOST`."""
    base = BASE[ORGANIZATIONS.name]
    query = select(base.c.organization_key, base.c.name, base.c.organization_id)
    rows = read(query.where(base.c.district_id == district_id, base.c.status != "removed").limit(MOST))
    _sort(ORGANIZATIONS, rows)
    return [(row["organization_key"], row["name"] or row["organization_id"]) for row in rows]


def _sort(entity: Entity, found: list[Row]) -> None:
    """By the last name first, then in the order in which they came."""
    columns, key = tuple(reversed(NAMES[entity.name])), str(entity.key)
    names = {row[name] or "" for row in found for name in columns}
    folded = {name: words_of(name) for name in names}
    found.sort(key=lambda row: (*(folded[row[name] or ""] for name in columns), row[key]))


def _described(read: Read, district_id: str, entity: Entity, keys: list[int]) -> list[Row]:
    """The records in the order of their keys."""
    base, key = BASE[entity.name], str(entity.key)
    query = select(*(base.c[name] for name in columns_of(entity)))
    rows = {row[key]: row for row in read(query.where(base.c.district_id == district_id, base.c[key].in_(keys)))}
    if entity is not ORGANIZATIONS:
        schools = {row[key]: row for row in read(_schools(district_id, entity, keys))}
        for record, row in rows.items():
            row |= schools.get(record, {"organization_key": None, "organization_id": None, "organization": None})
    return [rows[record] for record in keys]


def _schools(district_id: str, entity: Entity, keys: list[int]) -> Select[Any]:
    """A class's organization; of a person the primary one."""
    table = BASE["memberships" if entity is USERS else entity.name]
    schools, key = BASE[ORGANIZATIONS.name], str(entity.key)
    query = (
        select(
            table.c[key], schools.c.organization_key, schools.c.organization_id, schools.c.name.label("organization")
        )
        .join_from(
            table,
            schools,
            (schools.c.district_id == table.c.district_id) & (schools.c.organization_key == table.c.organization_key),
        )
        .where(table.c.district_id == district_id, table.c[key].in_(keys))
    )
    return query.where(table.c.is_primary, table.c.status == "active") if entity is USERS else query


# ---- statements ------------------------------------------------------------------------------------------------------


def _found(read: Read, district_id: str, entity: Entity, wanted: Wanted) -> Select[Any]:
    """Key and names of what fits: all, or more than `MOST` of them."""
    base, key = BASE[entity.name], BASE[entity.name].c[str(entity.key)]
    words = _words(read, district_id, entity, wanted.text)
    ways = [*_ways(district_id, entity, wanted.text, words)] if wanted.text.strip() else []
    through_links = wanted.school is not None or bool(wanted.code)
    rare = entity is USERS and _is_rare(wanted)
    few = through_links or rare and (not ways or bool(words) and words[0].names is None)
    fitting = [*_filters(read, district_id, entity, wanted, told_by_index=few)]
    # A district tells nobody apart, but where all of it is wanted.
    whole = through_links or not (ways or rare)
    fitting.append((base.c.district_id if whole else passed_over(base.c.district_id)) == district_id)
    if whole and not ways:
        parts = [select(key).where(*fitting).order_by(key.desc())]
    elif few:
        # These are looked through.
        parts = [select(key).where(*fitting, *([or_(*ways)] if ways else []))]
    else:
        parts = [select(key).where(*fitting, way) for way in ways]
    limited = [part.limit(MOST + 1).subquery() for part in parts]
    keys = union_all(*(select(part.c[str(entity.key)]) for part in limited))
    return (
        select(key, *(base.c[name] for name in NAMES[entity.name]))
        .where(base.c.district_id == district_id, key.in_(keys))
        .limit(MOST + 1)
    )


def _is_rare(wanted: Wanted) -> bool:
    """Whether a filter has an index, because few records fit it."""
    return wanted.status not in {"", "active"} or wanted.role not in {"", "student"}


def _filters(
    read: Read, district_id: str, entity: Entity, wanted: Wanted, *, told_by_index: bool
) -> Iterator[ColumnElement[bool]]:
    """What every record has to fit, whatever it is found by; `told_by_index`: role and status may be what finds it."""
    base = BASE[entity.name]
    yield base.c.status != "removed"
    for name, usual in (("status", "active"), ("role", "student")):
        value = getattr(wanted, name) if name in base.c else ""
        if value and told_by_index:
            yield base.c[name] == value
            # What few have is said in the words of its index too.
            yield base.c[name] != literal_column(f"'{usual}'") if value != usual else literal(True)
        elif value:
            yield func.coalesce(base.c[name], "") == value
    if wanted.school is not None and entity is not ORGANIZATIONS:
        yield _of_school(district_id, entity, wanted.school)
    if wanted.code:
        yield base.c[str(entity.key)].in_(_with_finding(read, district_id, entity, wanted.code))


def _of_school(district_id: str, entity: Entity, school: int) -> ColumnElement[bool]:
    """A person who has left belongs to the schools they left."""
    if entity is CLASSES:
        return BASE[entity.name].c.organization_key == school
    users, links = BASE[USERS.name], BASE["memberships"]
    who = users.alias("member")
    same = (who.c.district_id == links.c.district_id) & (who.c.user_key == links.c.user_key)
    members = (
        select(links.c.user_key)
        .join_from(links, who, same)
        .where(links.c.organization_key == school, links.c.district_id == district_id)
        .where(or_(links.c.status == "active", and_(links.c.status == "inactive", who.c.status == "inactive")))
    )
    return users.c.user_key.in_(members)


def _with_finding(read: Read, district_id: str, entity: Entity, code: str) -> ColumnElement[Any]:
    """Keys of the records of which an open finding speaks."""
    base, key = BASE[entity.name], BASE[entity.name].c[str(entity.key)]
    identifier, source_key = (FINDINGS.c[name] for name in said_columns(entity))
    found = (FINDINGS.c.district_id == district_id, FINDINGS.c.run_id.in_(open_runs(read, district_id)))
    by_identifier = select(identifier).where(*found, FINDINGS.c.code == code)
    by_source_key = select(source_key).where(*found, FINDINGS.c.code == code)
    return union(
        select(key).where(base.c.district_id == district_id, base.c[str(entity.identifier)].in_(by_identifier)),
        select(key).where(
            base.c.district_id == district_id, base.c.source.in_(sources()), base.c.source_key.in_(by_source_key)
        ),
    )  # type: ignore[return-value]


def _ways(district_id: str, entity: Entity, text: str, words: list[_Word]) -> Iterator[ColumnElement[bool]]:
    """Conditions, each answered by an index of its own, one of which a record has to fit to be found by the text."""
    base, text = BASE[entity.name], text.strip()
    own = base.c.district_id == district_id
    yield and_(own, base.c[str(entity.identifier)] == text)
    yield and_(own, base.c.source.in_(sources()), base.c.source_key.in_(spellings(entity, {text})))
    history = IDENTIFIER_HISTORY
    once = select(history.c.entity_key).where(
        history.c.district_id == district_id, history.c.entity == entity.name, history.c.old_id == text
    )
    yield and_(own, base.c[str(entity.key)].in_(once))
    for name in CODES.get(entity.name, ()):
        yield and_(base.c[name].is_not(None), looked_in(base.c[name]) == text)
    if entity is USERS:
        yield and_(base.c.email.is_not(None), folded_email() == func.lower(text))
    if words:
        yield from _named(entity, words)


def _named(entity: Entity, words: list[_Word]) -> Iterator[ColumnElement[bool]]:
    """Every word begins a word of one of the names; for each name, that the rarest word is in that one."""
    columns = [BASE[entity.name].c[name] for name in NAMES[entity.name]]
    first, *others = words
    if others and len(columns) == 1:
        # Tens of thousands of class names may have a word: whose names have all of them is found out first.
        yield and_(columns[0].is_not(None), looked_in(columns[0]).in_(intersect(*(word.query for word in words))))
        return
    for column in columns:
        yield and_(
            column.is_not(None),
            looked_in(column).in_(first.found),
            *(or_(*(looked_in(each).in_(word.found) for each in columns)) for word in others),
        )


def _words(read: Read, district_id: str, entity: Entity, text: str) -> list[_Word]:
    """The words of the text, the one first that is in the fewest names, as far as that is known."""
    words = []
    for word in dict.fromkeys(sorted(words_of(text), key=len, reverse=True)):
        query = _names_with(district_id, entity, word)
        names = [row["name"] for row in read(query.distinct().limit(_COMMON))]
        words.append(_Word(query, names if len(names) < _COMMON else None))
    return sorted(words, key=lambda word: _COMMON if word.names is None else len(word.names))


def _names_with(district_id: str, entity: Entity, word: str) -> Select[Any]:
    """Names with a word that begins so; a single letter is a word of its own, such as an initial."""
    told = SEARCH_NAMES.c.word
    begins = told == word if len(word) == 1 else and_(told >= word, told < word + _LAST)
    # SQLite compares an indexed expression with another expression only.
    return select(looked_in(SEARCH_NAMES.c.name).label("name")).where(
        SEARCH_NAMES.c.district_id == district_id, SEARCH_NAMES.c.entity == entity.name, begins
    )
