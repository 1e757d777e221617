"""Who is to be forgotten: the records of one person, and every value by which a text is known to be about them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import and_, or_, select

from enrollsync.as_of.records import Read, Row
from enrollsync.database.forgotten import MARKED
from enrollsync.database.merges import merges_now
from enrollsync.database.schema import BASE, CHANGES, IDENTIFIER_HISTORY, NAMES
from enrollsync.formats import sources
from enrollsync.report.explain import spellings
from enrollsync.words.canonical import KIND_PREFIXES, USERS
from enrollsync.words.errors import ConfigurationError
from enrollsync.words.masking import masked

_BASE = BASE[USERS.name]
_CALLED = ("user_id", "source_key", "user_district_id", "user_state_id", "email", "username")


@dataclass(frozen=True)
class Person:
    """One person: several records where some were merged into others."""

    keys: tuple[int, ...]
    ids: frozenset[str] = frozenset()
    """Identifiers, source keys with and without the kind, secondary IDs, emails and usernames, now and earlier."""
    names: frozenset[tuple[str, str]] = frozenset()
    """Given and family name, of whichever time."""
    words: frozenset[str] = frozenset()
    """Every name alone, middle names too."""
    marked: dict[str, frozenset[str]] = field(default_factory=dict)
    """Column of `MARKED` -> values, now and earlier."""

    def is_named_in(self, text: str) -> bool:
        """Whether a text that somebody wrote has one of the values as a word, or one of the names."""
        words = self.ids | self.words
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in words)


def find_person(read: Read, district_id: str, user_id: str, key: int | None) -> Person | None:
    """Who goes by `user_id` now, or else who went by it; with whoever is the same person by a merge.

    None where nobody does. Raises ConfigurationError where several people do, and `key` names none of them.
    """
    now, once = _bearers(read, district_id, user_id)
    once |= _taken_out(read, district_id, {user_id})
    found = {key} & (now | once) if key is not None else now or once
    if key is not None and not found:
        raise ConfigurationError(f"user {masked(user_id)}: no record with the key {key} goes or went by it")
    merges = merges_now(read, district_id)
    people = {_same(merges, one) for one in found}
    if len(people) > 1:
        keys = ", ".join(str(one) for one in sorted(found))
        raise ConfigurationError(
            f"user {masked(user_id)}: several people go or went by it, whose records have the keys {keys}; say which "
            "one with --key (`enrollsync explain user` tells their lives)"
        )
    return Person(tuple(sorted(people.pop()))) if people else None


def _bearers(read: Read, district_id: str, user_id: str) -> tuple[set[int], set[int]]:
    """Keys of who has the identifier or source key now, and of who had it as identifier."""
    source_keys = and_(_BASE.c.source.in_(sources()), _BASE.c.source_key.in_(spellings(USERS, {user_id})))
    now = read(
        select(_BASE.c.user_key)
        .where(_BASE.c.district_id == district_id)
        .where(or_(_BASE.c.user_id == user_id, source_keys))
    )
    table = IDENTIFIER_HISTORY
    once = read(
        select(table.c.entity_key.label("user_key"))
        .where(table.c.district_id == district_id, table.c.entity == USERS.name)
        .where(or_(table.c.old_id == user_id, table.c.new_id == user_id))
    )
    return {row["user_key"] for row in now}, {row["user_key"] for row in once}


def _taken_out(read: Read, district_id: str, names: Iterable[str]) -> set[int]:
    """Keys of records under one of these identifiers whose creation was undone: only the audit has them still."""
    query = (
        select(_BASE.c.user_key)
        .join(CHANGES, (CHANGES.c.district_id == _BASE.c.district_id) & (CHANGES.c.user_key == _BASE.c.user_key))
        .where(_BASE.c.district_id == district_id, _BASE.c.status == "removed")
        .where(CHANGES.c.entity == USERS.name, CHANGES.c.entity_id.in_(sorted(names)))
    )
    return {row["user_key"] for row in read(query)}


def _same(merges: dict[int, int], key: int) -> frozenset[int]:
    """The records of the person whose record this is."""
    left = merges.get(key, key)
    return frozenset({left, *(gone for gone, kept in merges.items() if kept == left)})


def without_a_record(user_id: str) -> Person:
    """Somebody whom only rejected lines name."""
    return Person(
        (), frozenset({user_id}), marked={"user_id": frozenset({user_id}), "source_key": frozenset({user_id})}
    )


def values_of(read: Read, district_id: str, person: Person) -> Person:
    """The person with all that is known of them, now and in every audit row.

    A record under the same identifier whose creation was undone is taken for theirs too: nobody goes by it any more.
    """
    known = _known(read, district_id, person.keys)
    more = _taken_out(read, district_id, _texts(known, "user_id")) - {*person.keys}
    keys = tuple(sorted({*person.keys, *more}))
    if more:
        known = _known(read, district_id, keys)
    called = {name: frozenset(_texts(known, name)) for name in _CALLED}
    ids = {value for values in called.values() for value in values} | {*map(_plain, called["source_key"])}
    names = {(given, family) for given in _texts(known, "given_name") for family in _texts(known, "family_name")}
    words = {word for column in NAMES[USERS.name] for word in _texts(known, column)}
    return Person(
        keys, frozenset(ids - {""}), frozenset(names), frozenset(words), {name: called[name] for name in MARKED}
    )


def _known(read: Read, district_id: str, keys: tuple[int, ...]) -> list[Row]:
    """Column -> value, of the records as they are, of their audit rows and of the identifiers that they lost."""
    own = select(*(_BASE.c[name] for name in (*_CALLED, *NAMES[USERS.name])))
    images = select(CHANGES.c.before_json, CHANGES.c.after_json, CHANGES.c.entity_id)
    lost = select(IDENTIFIER_HISTORY.c.old_id, IDENTIFIER_HISTORY.c.new_id)
    history = IDENTIFIER_HISTORY
    audited = read(
        images.where(CHANGES.c.district_id == district_id, CHANGES.c.entity == USERS.name)
        .where(CHANGES.c.user_key.in_(keys))
    )  # fmt: skip
    former = read(
        lost.where(history.c.district_id == district_id, history.c.entity == USERS.name)
        .where(history.c.entity_key.in_(keys))
    )  # fmt: skip
    return [
        *read(own.where(_BASE.c.district_id == district_id, _BASE.c.user_key.in_(keys))),
        *(image for row in audited for image in _images(row)),
        *({"user_id": value} for row in former for value in row.values()),
    ]


def _images(row: Row) -> list[Row]:
    images = [json.loads(row[name]) for name in ("before_json", "after_json") if row[name]]
    return [*images, {"user_id": row["entity_id"]}]


def _texts(rows: Iterable[Row], name: str) -> set[str]:
    """The values of a column, as the source gave them: the key of a creation that was undone is ` 300 removed 17`."""
    given = (re.sub(r"^ (.*) removed [0-9]+$", r"\1", row[name]) for row in rows if isinstance(row.get(name), str))
    return {value for value in given if value.strip()}


def _plain(source_key: str) -> str:
    return re.sub(f"^({'|'.join(KIND_PREFIXES)})", "", source_key)
