"""Which rows of a roster a change of one record can touch, so that a person's edit need not read the whole district."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, false, func, or_, select

from enrollsync.database.schema import BASE, IDENTIFIER_HISTORY, link_keys
from enrollsync.words.canonical import BY_NAME, ENTITIES, Entity


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
        exact = (table.c.source_key, *(table.c[name] for name in self.entity.of_kind("secondary")))
        same = [column == value for column in exact for value in self.values]
        same += [func.lower(table.c[str(self.entity.identifier)]) == value.lower() for value in self.values]
        return or_(table.c[str(self.entity.key)] == self.key, *same)

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
