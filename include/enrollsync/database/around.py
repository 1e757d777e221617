"""Which rows of a roster a change of one record can touch, so that a person's edit need not read the whole district."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from math import prod

from sqlalchemy import ColumnElement, Table, and_, false, func, or_, select

from enrollsync.database.schema import BASE, IDENTIFIER_HISTORY, LOOKED_IN, link_keys, looked_in
from enrollsync.formats import sources
from enrollsync.words.canonical import BY_NAME, ENTITIES, Entity

_MOST_SPELLINGS = 256
"""Of one identifier, by case, that are looked up one by one: those of eight letters."""


@dataclass(frozen=True)
class People:
    """Some users, and what hangs on them."""

    keys: Collection[int]

    def rows(self, table: Table) -> ColumnElement[bool]:
        """The condition on a table: themselves, their links, and what these lead to."""
        if "user_key" in table.c:
            return table.c.user_key.in_(self.keys)
        for link in (entity for entity in ENTITIES if not entity.key and table.name in entity.links.values()):
            base, key = BASE[link.name], str(BY_NAME[table.name].key)
            return table.c[key].in_(select(base.c[key]).where(base.c.user_key.in_(self.keys)))
        return false()


@dataclass(frozen=True)
class Around:
    """A record, and the values that it is to have."""

    district_id: str
    entity: Entity
    key: int
    values: Collection[str]
    """New identifier and secondary IDs."""

    def rows(self, table: Table) -> ColumnElement[bool]:
        """The condition on a table: the record, who has one of the values, and what the record hangs together with."""
        if table is IDENTIFIER_HISTORY:
            own = table.c.entity_key == self.key
            named = [column == value for column in (table.c.old_id, table.c.new_id) for value in self.values]
            return (table.c.entity == self.entity.name) & or_(own, *named)
        if table is BASE[self.entity.name]:
            return self._record(table)
        return self._hangs(table)

    def _record(self, table: Table) -> ColumnElement[bool]:
        """Each way to be meant is answered by an index of its own."""
        ways = [table.c[str(self.entity.key)] == self.key]
        for value in self.values:
            ways.append(alike(table.c[str(self.entity.identifier)], value))
            ways.append(table.c.source.in_(sources()) & (table.c.source_key == value))
            ways += [_same(table.c[name], value) for name in self.entity.of_kind("secondary")]
        return or_(*(and_(table.c.district_id == self.district_id, way) for way in ways))

    def _hangs(self, table: Table) -> ColumnElement[bool]:
        """Links of a person or a class, and the organization of a class."""
        other = next(entity for entity in ENTITIES if BASE[entity.name] is table)
        base = BASE[self.entity.name]
        for name in self.entity.links.values():
            if other is BY_NAME[name]:
                here = select(base.c[str(other.key)]).where(self._record(base))
                return table.c[str(other.key)].in_(here)
        if not other.key and self.entity.key in link_keys(other) and self.entity.name != "organizations":
            return table.c[str(self.entity.key)] == self.key
        return false()


def alike(column: ColumnElement[str], identifier: str) -> ColumnElement[bool]:
    """Whether a column says the identifier, in whatever case; of one with many letters every row is looked at."""
    spelled = [{letter.lower(), letter.upper()} for letter in identifier]
    if prod(map(len, spelled)) > _MOST_SPELLINGS:
        return func.lower(column) == identifier.lower()
    return column.in_(sorted("".join(letters) for letters in product(*spelled)))


def _same(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
    """As the index for searches has it."""
    return and_(column.is_not(None), looked_in(column) == value[:LOOKED_IN], column == value)
