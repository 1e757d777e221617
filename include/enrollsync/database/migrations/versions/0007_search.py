"""People, classes and organizations are found by any word of their names, by email and other codes; so are findings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_NAMES = {
    "organizations": ("name",),
    "users": ("given_name", "middle_name", "family_name"),
    "classes": ("name",),
}
_CODES = {"users": ("user_district_id", "user_state_id"), "classes": ("course_code",)}
_SAID = ("organization_id", "organization_source_key", "user_id", "user_source_key", "class_id", "class_source_key")
_SIMILAR = str.maketrans("øłđħŧıς", "oldhtiσ")


def upgrade() -> None:
    """Create `search_names`, fill it from the names that are there, and index what else is looked for."""
    names = op.create_table(
        "search_names",
        sa.Column("district_id", sa.Text, nullable=False),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("word", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("district_id", "entity", "word", "name"),
        sqlite_with_rowid=False,
    )
    for entity, columns in _NAMES.items():
        for column in columns:
            _index(entity, column, f"substr({column}, 1, 100)")
        for batch in _batches(_words(entity, columns), 10_000):
            op.bulk_insert(names, batch)
    for entity, columns in _CODES.items():
        for column in columns:
            _index(entity, column, f"substr({column}, 1, 100)")
    _index("users", "email", "lower(email)")
    for column in _SAID:
        _index("findings", column, column)
    for column, usual in (("role", "student"), ("status", "active")):
        where = sa.text(f"{column} != '{usual}'")
        op.create_index(
            f"ix_users_{column}", "users", [column, "district_id", "user_key"],
            postgresql_where=where, sqlite_where=where,
        )  # fmt: skip
    if op.get_bind().dialect.name == "sqlite":
        op.execute("ANALYZE")


def _index(entity: str, column: str, told: str) -> None:
    where = sa.text(f"{column} IS NOT NULL")
    op.create_index(
        f"ix_{entity}_{column}", entity, [sa.text(told), "district_id"], postgresql_where=where, sqlite_where=where
    )


def _words(entity: str, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    each = [
        f"SELECT district_id, substr({column}, 1, 100) AS name FROM {entity} WHERE {column} IS NOT NULL"
        for column in columns
    ]
    for district_id, name in op.get_bind().execute(sa.text(" UNION ".join(each))).all():
        for word in _words_of(name):
            yield {"district_id": district_id, "entity": entity, "word": word, "name": name}


def _words_of(name: str) -> list[str]:
    decomposed = unicodedata.normalize("NFD", re.sub("['’ʼ`´]", "", name).lower())
    plain = "".join(letter for letter in decomposed if unicodedata.category(letter)[0] != "M")
    for ligature, letters in (("ß", "ss"), ("æ", "ae"), ("œ", "oe")):
        plain = plain.replace(ligature, letters)
    folded = unicodedata.normalize("NFC", plain).translate(_SIMILAR)
    spaced = "".join(letter if unicodedata.category(letter)[0] in "LN" else " " for letter in folded)
    return list(dict.fromkeys(spaced.split()))


def _batches(rows: Iterator[dict[str, str]], size: int) -> Iterator[list[dict[str, str]]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
