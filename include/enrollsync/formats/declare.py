"""The words in which a format is declared. No format's own facts belong here."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from enrollsync.words.canonical import BY_NAME, MEMBERSHIPS

Mode = Literal["snapshot", "delta"]
Each = Literal["organizations", "users", "memberships", "classes", "enrollments", "places"]
"""Of what an export writes a line each. A place is a person in a class, or in a school without any of its classes."""


@dataclass(frozen=True)
class When:
    """Which lines of a file a mapping or a lookup takes."""

    column: str
    one_of: tuple[str, ...] = ()
    """Taken when the (trimmed, lower-case) value is one of these; empty: when there is a value."""
    negate: bool = False
    lookup: Lookup | None = None
    """The value is what another file says under it; with several, any of them counts."""


@dataclass(frozen=True)
class Lookup:
    """Where in another file of the delivery a value stands; a key that is not there is told and brings no value."""

    file: str
    key: str
    """The column there in which the cell's text is looked for."""
    column: str
    """The column there that has the value."""
    when: tuple[When, ...] = ()
    """Which lines there count."""
    is_list: bool = False
    """Whether the cell holds several keys, separated by commas."""
    order: str | None = None
    """The column there by which several values come in order, dates as dates; None: by themselves."""
    take: Literal["first", "last", "all"] = "first"
    """Which of several values; all of them are joined by `; `."""
    may_lack: bool = False
    """Whether a key is often not there in a delta, where the roster knows the value: then that is nothing to tell."""


@dataclass(frozen=True)
class Cell:
    """Where one canonical column comes from."""

    column: str | None = None
    """The source column; None for a constant."""
    convert: str = "text"
    """How its text is read: `text`, `date`, or by a vocabulary, one of `spellings.WORDS` or of the format's own; what
    cannot be read stays as given, so that a suite can say so."""
    constant: str | None = None
    """The value of every row."""
    prefix: str = ""
    """Put before a source key, to keep students' and employees' keys apart."""
    fallback: str | None = None
    """A second source column, for when the first is empty."""
    pattern: str | None = None
    """A regular expression with one group, which finds the value in the text; where it finds nothing, there is none."""
    lookup: Lookup | None = None
    """Another file, in which the text is a key and the value stands."""
    case: Literal["lower", "upper"] | None = None
    """The case that its text is brought to, where the district says so."""
    words: tuple[tuple[str, str], ...] = ()
    """The district's own words, in any case, and what each means; they are read before `convert`."""
    around: tuple[str, str] = ("", "")
    """What an export writes before and after the value, where `pattern` finds it within a text."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its own file that it needs."""
        return tuple(name for name in (self.column, self.fallback) if name)


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
    names_one_role: bool = False
    """Of memberships: whether a row names one of the roles that a person may have in a school. False: what rows say of
    somebody in a school is all, and another role there goes, in a delta too."""
    names_all: bool = False
    """Of memberships: whether the rows of somebody are all that they have, so that others go, in a delta too."""
    each: str | None = None
    """A column whose cells are lists, separated by commas: each element makes a row, in which the column holds it."""

    @property
    def identifier(self) -> str | None:
        """The source column of the record's identifier; None for a link, which has none."""
        cell = self.cells.get(BY_NAME[self.entity].identifier or "")
        return cell.column if cell else None

    @property
    def keyed_by_identifier(self) -> bool:
        """Whether the record's identifier is the source's own key too, so that both change together."""
        return self.identifier == self.cells["source_key"].column

    @property
    def columns(self) -> set[str]:
        """The source columns that the mapping needs of its own file."""
        return {name for cell in self.cells.values() for name in cell.columns} | {when.column for when in self.when}

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """What it looks up in other files."""
        asked = [*(cell.lookup for cell in self.cells.values()), *(when.lookup for when in self.when)]
        return tuple(lookup for lookup in asked if lookup)

    @property
    def lists(self) -> set[str]:
        """The source columns whose cells are lists; blanks between their elements are nothing to tell."""
        cells = self.cells.values()
        return {str(cell.column) for cell in cells if cell.lookup and cell.lookup.is_list} | {self.each or ""}

    def fitted(self, chosen: dict[str, Cell]) -> Mapping:
        """The same with the identifier that a district has chosen (rule 4), the closest choice first, and with the
        secondary IDs that it has chosen."""
        entity = BY_NAME[self.entity]
        own = {column: chosen[column] for column in entity.of_kind("secondary") if column in chosen}
        identifier = chosen.get(self.setting or "") or chosen.get(self.entity)
        if entity.identifier and identifier:
            own[entity.identifier] = identifier
        return replace(self, cells=self.cells | own)


@dataclass(frozen=True)
class Passed:
    """Lines of a file that make no rows, and are told by number."""

    when: tuple[When, ...]
    """Which ones: those for which all of these hold."""
    why: str
    """Which lines these are, for a person: `of parents`."""
    rule: str | None = None
    """The rule in the district's file that leaves them out, as a person finds it there; None: the format does."""


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
    mode: Mode | None = None
    """What absence from this file means, where that differs from the format's other files."""
    secret: tuple[str, ...] = ()
    """Columns that are never kept."""
    role: str | None = None
    """The role of the people it holds, where a file holds one role only."""
    read: bool = True
    """False: accepted, not read, and said so."""
    passed: tuple[Passed, ...] = ()
    """The lines that are passed over."""


@dataclass(frozen=True)
class Filled:
    """What an export writes into a column that no mapping reads, or of which none says what stands there."""

    of: tuple[str, ...] = ()
    """Columns of the line's records: `classes.organization_source_key`; of the line itself: `line.role`. Of several a
    key is made."""
    constant: str | None = None
    """The text of every line."""
    words: tuple[str, str] | None = None
    """What stands there where `of` is true, and where it is not."""


@dataclass(frozen=True)
class Lines:
    """How an export writes a file: what its mappings, turned round, do not say by themselves."""

    file: str
    each: Each | None = None
    """What has a line there; None: each distinct set of values that other files look up in it."""
    filled: dict[str, Filled] = field(default_factory=dict)
    """Column -> what stands there besides what the mappings say."""
    called: str | None = None
    """The file's name as it is written, where that has capital letters."""

    @property
    def name(self) -> str:
        """The file's name as it is written."""
        return self.called or self.file


@dataclass(frozen=True)
class Listing:
    """A file that says of each file of the delivery whether it is there, and what absence from it means."""

    file: str
    name: str
    """The column whose value is `before`, and the file's name without its ending."""
    before: str
    value: str
    """The column of what is said of it: one of `words`, in any case."""
    words: dict[str, Mode | None]
    """None: the file is not part of the delivery."""
    version: str
    """What stands in the place of `before` and a file's name where the value is the format's `version`."""
    own_version: tuple[str, str] | None = None
    """A line that an export writes first: the version of the list itself."""


@dataclass(frozen=True)
class Source:
    """Who speaks: several formats may be one source's."""

    name: str
    """As `primary_source` and the views call it."""
    title: str
    """As a person calls it."""
    is_guest: bool = False
    """Whether it may be delivered beside another primary source; it brings staff only then."""
    third_party: bool = False
    """Whether another system is where its identifiers are changed: nobody edits them here."""


@dataclass(frozen=True)
class Format:
    """A source format; as declared, or as it holds for one district's files (`fitted`)."""

    name: str
    title: str
    source: Source
    files: tuple[FileSpec, ...]
    mappings: tuple[Mapping, ...]
    mode: Mode
    """What absence means unless the district says otherwise."""
    header_case: bool
    """Whether `userid` is another header than `userId`."""
    unknown_headers: bool
    """Whether headers that the format does not know are passed over; False: the file is refused."""
    charset: Literal["alphanumeric", "extended"] = "extended"
    words: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """The format's own vocabularies, for `Cell.convert`: name -> spelling in the files, in any case -> what is meant,
    None for nothing. One named as the program's own stands in its place. `action` is what rows may ask for."""
    dates: tuple[str, ...] = ()
    """How dates are written besides `2015-03-09`, `3/9/2015` and `3/9/15`, in the signs of `strptime`: `%d.%m.%Y`."""
    listing: Listing | None = None
    """The file that lists the others, where a delivery may have one."""
    version: str = ""
    """What tells it, at the beginning of a version in such a file, from other formats of its source."""
    telling: tuple[str, ...] = ()
    """Files (in lower case) any one of which tells this format from all others, whatever lies beside it."""
    is_fetched: bool = False
    """Whether it is asked for through an API: then nobody delivers its files, and none is recognised as it."""
    encoding: str = "utf-8"
    renames: tuple[tuple[str, str], ...] = ()
    """Header in the district's files -> header that the format knows."""
    chosen: frozenset[str] = frozenset()
    """Columns that the district has chosen for its identifiers."""
    lines: tuple[Lines, ...] = ()
    """The files of an export; none: nothing is exported in this format."""
    spelt: dict[str, dict[str, str]] = field(default_factory=dict)
    """Vocabulary -> our word -> how an export spells it, where that is not the word itself or its first spelling."""
    own_words: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = field(default_factory=dict)
    """Column as the district's file names it -> the district's words for it, and the files and headers that have it."""

    def fitted(
        self,
        *,
        mode: Mode | None = None,
        charset: Literal["alphanumeric", "extended"] | None = None,
        encoding: str = "utf-8",
        renames: dict[str, str] | None = None,
        identifiers: dict[str, str] | None = None,
    ) -> Format:
        """The format as a district has it: what is None is the format's own.

        `identifiers`: setting, entity or secondary ID -> column that has it, its header spelt in any case; or, of a
        column whose values have types (`{SIS:17},{State:4}`), column and type: `userIds:SIS`.
        """
        chosen = {key: self._chosen(name) for key, name in (identifiers or {}).items()}
        return replace(
            self,
            mode=mode or self.mode,
            files=tuple(replace(spec, mode=None) for spec in self.files) if mode else self.files,
            charset=charset or self.charset,
            encoding=encoding,
            renames=tuple((renames or {}).items()),
            chosen=frozenset(str(cell.column) for cell in chosen.values()),
            mappings=tuple(mapping.fitted(chosen) for mapping in self.mappings),
        )

    def _chosen(self, name: str) -> Cell:
        spelt = {header.casefold(): header for header in self.headers}
        column, _, kind = name.partition(":")
        if name.casefold() not in spelt and column.casefold() in spelt and kind:
            pattern = rf"(?i)\{{\s*{re.escape(kind.strip())}\s*:([^}}]*)\}}"
            return Cell(spelt[column.casefold()], pattern=pattern, around=(f"{{{kind.strip()}:", "}"))
        return Cell(spelt.get(name.casefold(), name))

    def expected(self, spec: FileSpec, written: Sequence[str]) -> list[str]:
        """The format's name for each header of a file as it is written; the header itself where it knows none."""
        renames = dict(self.renames)
        by_spelling = {self._spelling(name): name for name in spec.known}
        renamed = [renames.get(name, name) for name in written]
        return [by_spelling.get(self._spelling(name), name) for name in renamed]

    def _spelling(self, header: str) -> str:
        return header if self.header_case else header.casefold()

    def principal(self, spec: FileSpec) -> Mapping | None:
        """The mapping by which the file's lines become rows of its principal entity; None where nothing maps it."""
        return next((mapping for mapping in self.of_file(spec.name) if mapping.entity == spec.entity), None)

    def of_file(self, name: str) -> tuple[Mapping, ...]:
        """The mappings of one file's lines."""
        return tuple(mapping for mapping in self.mappings if mapping.file == name)

    def called(self, file: str, entity: str, column: str) -> str | None:
        """The file's own name for a canonical column, None when it has none.

        Example: `BATCH_UPLOAD.called("users.csv", "users", "user_id")` is `userId`.
        """
        ours = (mapping for mapping in self.of_file(file) if mapping.entity == entity and column in mapping.cells)
        mapping = next(ours, None)
        return mapping.cells[column].column if mapping else None

    def needed(self, spec: FileSpec) -> tuple[str, ...]:
        """The columns of a file that some canonical column, condition or chosen identifier needs."""
        named = {name for mapping in self.of_file(spec.name) for name in mapping.columns}
        named |= {when.column for passed in spec.passed for when in passed.when}
        if self.listing and self.listing.file == spec.name:
            named |= {self.listing.name, self.listing.value}
        for lookup in (lookup for lookup in self._lookups if lookup.file == spec.name):
            named |= {lookup.key, lookup.column, *(when.column for when in lookup.when)}
            named |= {lookup.order} if lookup.order else set()
        return tuple(sorted(named - set(spec.secret)))

    @property
    def _lookups(self) -> tuple[Lookup, ...]:
        passed = [when.lookup for spec in self.files for one in spec.passed for when in one.when if when.lookup]
        return (*(lookup for mapping in self.mappings for lookup in mapping.lookups), *passed)

    def mode_of(self, entity: str, delivered: Collection[str]) -> Mode:
        """What absence from the `delivered` files means for an entity: only what all of its files say is the whole."""
        bringing = {mapping.file for mapping in self.mappings if mapping.entity == entity} & set(delivered)
        modes = {self.file(name).mode or self.mode for name in bringing}
        return "snapshot" if modes == {"snapshot"} else "delta"

    def may_lack(self, entity: str, column: str) -> bool:
        """Whether in a delta rows may leave a value to the roster that has it (`Lookup.may_lack`)."""
        cells = (mapping.cells.get(column) for mapping in self.mappings if mapping.entity == entity)
        return any(cell.lookup.may_lack for cell in cells if cell and cell.lookup)

    @property
    def files_of_all_roles(self) -> tuple[str, ...]:
        """The files that say all roles of a person in a school which they name."""
        some = {mapping.file for mapping in self.mappings if mapping.names_one_role}
        files = (mapping.file for mapping in self.mappings if mapping.entity == MEMBERSHIPS.name)
        return tuple(name for name in dict.fromkeys(files) if name not in some)

    @property
    def files_of_all_memberships(self) -> tuple[str, ...]:
        """The files that say all memberships of a person whom they name."""
        return tuple(mapping.file for mapping in self.mappings if mapping.names_all)

    @property
    def names_latest_school(self) -> bool:
        """Whether rows name one school of somebody, so that in a delta a new one is where that person is now."""
        return not any(mapping.names_all or mapping.names_one_role for mapping in self.mappings)

    def own_files(self, entity: str) -> tuple[str, ...]:
        """The files that are the entity's own; its records may stand on the lines of others' besides."""
        return tuple(spec.name for spec in self.files if spec.entity == entity)

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
