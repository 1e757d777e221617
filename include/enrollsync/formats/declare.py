"""The words in which a format is declared. No format's own facts belong here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Convert = Literal["text", "grade", "date", "flag", "role", "entity"]


@dataclass(frozen=True)
class Cell:
    """Where one canonical column comes from."""

    column: str | None = None
    """The source column; None for a constant."""
    convert: Convert = "text"
    """How its text is read; what cannot be read stays as given, so that a suite can say so."""
    constant: str | None = None
    """The value of every row."""
    prefix: str = ""
    """Put before a source key, to keep students' and employees' keys apart."""
    fallback: str | None = None
    """A second source column, for when the first is empty."""


@dataclass(frozen=True)
class When:
    """Which lines of a file a mapping takes."""

    column: str
    one_of: tuple[str, ...] = ()
    """Taken when the (converted, lower-case) value is one of these; empty: when there is a value."""
    negate: bool = False


@dataclass(frozen=True)
class Mapping:
    """How the lines of one file become rows of one canonical table."""

    entity: str
    file: str
    cells: dict[str, Cell]
    when: tuple[When, ...] = ()
    repeats: bool = False
    """Whether many lines say the same of one record, as the lines of a person with five classes do of the person."""
    setting: str | None = None
    """The key of `identifiers.columns` that may name another identifier column here."""


@dataclass(frozen=True)
class FileSpec:
    """One file of a delivery."""

    name: str
    entity: str
    """The entity under which its malformed lines count."""
    required: tuple[str, ...]
    """Headers without which nothing can be read."""
    known: tuple[str, ...]
    """All headers that the format knows."""
    optional_file: bool = False
    secret: tuple[str, ...] = ()
    """Columns that are never kept."""
    role: str | None = None
    """The role of the people it holds, where a file holds one role only."""
    read: bool = True
    """False: accepted, not read, and said so."""


@dataclass(frozen=True)
class Format:
    """A source format."""

    name: str
    title: str
    files: tuple[FileSpec, ...]
    mappings: tuple[Mapping, ...]
    mode: Literal["snapshot", "delta"]
    """What absence means unless the district says otherwise."""
    header_case: bool
    """Whether `userid` is another header than `userId`."""
    unknown_headers: bool
    """Whether headers that the format does not know are passed over; False: the file is refused."""
    charset: Literal["alphanumeric", "extended"] = "extended"

    def principal(self, spec: FileSpec) -> Mapping | None:
        """The mapping by which the file's lines become rows of its principal entity; None where nothing maps it."""
        ours = (mapping for mapping in self.mappings if (mapping.file, mapping.entity) == (spec.name, spec.entity))
        return next(ours, None)

    @property
    def headers(self) -> tuple[str, ...]:
        """All headers of all files."""
        return tuple(name for spec in self.files for name in spec.known)

    def file(self, name: str) -> FileSpec:
        """The declared file of that name (KeyError when there is none)."""
        return {spec.name: spec for spec in self.files}[name]


ID_CHANGES_FILE = FileSpec(
    "id_changes.csv",
    entity="id_changes",
    required=("entity", "old_id", "new_id"),
    known=("entity", "old_id", "new_id"),
    optional_file=True,
)
"""Identifiers that change (rule 9c); a file of every format, that tells none from another."""
ID_CHANGES = Mapping(
    ID_CHANGES_FILE.entity,
    ID_CHANGES_FILE.name,
    cells={"entity": Cell("entity", "entity"), "old_id": Cell("old_id"), "new_id": Cell("new_id")},
)
