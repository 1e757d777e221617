"""What a delivery says of the district that sends it: format, headers, encoding, identifiers. Nothing is written."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import csv

from enrollsync.arrive.folder import find_delivery
from enrollsync.arrive.nearest import nearest
from enrollsync.arrive.recognise import format_of, nobody_knows
from enrollsync.formats import Format
from enrollsync.formats.near import letters, likely_renames
from enrollsync.ingest.header import read_header
from enrollsync.run import engine
from enrollsync.validate.asked import CHARSETS, OPAQUE, SSN
from enrollsync.words.printable import first_of, quoted

_IDENTIFIERS = ("studentnumber", "teachernumber", "staffnumber", "localid", "sisid", "employeeid", "stateid")
"""Headers, as `letters` has them, of columns in which schools keep a number that people know."""
_MOST_OPAQUE = 0.9
"""The share of opaque identifiers from which a better column is looked for."""
LARGE_ROWS = 500_000
"""A district whose delivery has more is large."""


@dataclass(frozen=True)
class Look:
    """What was found out about a delivery."""

    declared: Format
    renames: dict[str, str] = field(default_factory=dict)
    """For `source.columns`."""
    encoding: str = "utf-8"
    identifiers: dict[str, str] = field(default_factory=dict)
    """For `identifiers.columns`."""
    left: tuple[str, ...] = ()
    """What a person has to see to: one sentence each."""
    is_complete: bool = True
    """Whether all files that the format needs are there under their names."""
    rows: int = 0
    """Lines of all its files, without the headers."""

    @property
    def is_large(self) -> bool:
        """Whether its tasks should be kept from small workers."""
        return self.rows > LARGE_ROWS


def look_at(place: Path) -> Look:
    """Look at a folder or zip. Raises Refused as a run does that cannot tell what it is, or may not unpack it."""
    with tempfile.TemporaryDirectory(prefix="enrollsync-look-") as unpacked:
        files = find_delivery(place, Path(unpacked) / "batch").files
        declared, named, left = _told(files)
        is_complete = not left
        encoding = _encoding(named.values())
        if encoding != "utf-8":
            left.append(
                f"the files are not UTF-8; `source.encoding: {encoding}` is a guess: look at a name with accents"
            )
        renames = {
            theirs: ours
            for spec in declared.files
            if spec.name in named
            for theirs, ours in likely_renames(read_header(named[spec.name], encoding), spec, declared).items()
        }
        fitted = declared.fitted(encoding=encoding, renames=renames)
        left += _lacking(fitted, named, encoding)
        rows = sum(map(_rows, named.values()))
        identifiers = dict(_better_identifiers(fitted, named, encoding))
        return Look(declared, renames, encoding, identifiers, tuple(left), is_complete, rows)


def _told(files: dict[str, Path]) -> tuple[Format, dict[str, Path], list[str]]:
    """The format, its files that are there, and what is to be done about those that are not or are called otherwise."""
    declared = format_of(files)
    left: list[str] = []
    if declared is None:
        likely = nearest(files.values())
        if not likely:
            raise nobody_knows(files)
        declared, files = likely[0].declared, dict(files)
        for one in (one for one in likely if one.declared is declared and one.spec.name not in files):
            files[one.spec.name] = one.path
            left.append(f"name {quoted(one.path.name)} {one.spec.name}: no file of {declared.title} has another name")
    missing = [spec.name for spec in declared.files if not spec.optional_file and spec.name not in files]
    if missing:
        left.append(f"deliver {', '.join(missing)} as well: {declared.title} is not complete without")
    return declared, {spec.name: files[spec.name] for spec in declared.files if spec.name in files}, left


def _lacking(declared: Format, named: dict[str, Path], encoding: str) -> Iterator[str]:
    for spec in (spec for spec in declared.files if spec.name in named and spec.read):
        header = read_header(named[spec.name], encoding)
        expected = declared.expected(spec, header)
        if lacking := [name for name in spec.required if name not in expected]:
            said = f"{spec.name} lacks {first_of(lacking)}; add to `source.columns` which of its headers that is"
            strange = [quoted(cell) for cell, name in zip(header, expected, strict=True) if name not in spec.known]
            # Where no header is known, the line may be none, and its cells somebody's name.
            shown = set(spec.known) & set(expected) and strange
            yield f"{said}: {first_of(strange)}" if shown else said


def _encoding(paths: Collection[Path]) -> str:
    """UTF-8 where all files are; else what Windows writes, where they may be that; else the one that reads any byte."""
    return next(name for name in ("utf-8", "cp1252", "latin-1") if all(_is_encoded(path, name) for path in paths))


def _rows(path: Path) -> int:
    """Lines after the header, whichever of the two characters ends them; a line break within a field counts too."""
    feeds = returns = 0
    with path.open("rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            feeds += part.count(b"\n")
            returns += part.count(b"\r")
    return max(feeds, returns, 1) - 1


def _is_encoded(path: Path, encoding: str) -> bool:
    with path.open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return True  # read as such, whatever the district's file says
        stream.seek(0)
        try:
            for _ in codecs.iterdecode(iter(lambda: stream.read(1 << 20), b""), encoding):
                pass
        except UnicodeDecodeError:
            return False
    return True


def _better_identifiers(declared: Format, named: dict[str, Path], encoding: str) -> Iterator[tuple[str, str]]:
    """Kind of people -> column of an identifier that is there for everybody, each once, and that says more.

    Asked where the one that the format takes is mostly a long number, a hash or a UUID.
    """
    for mapping in declared.mappings:
        spec, column = declared.file(mapping.file), mapping.identifier
        if mapping.entity != "users" or not mapping.setting or spec.name not in named or column is None:
            continue
        header = read_header(named[spec.name], encoding)
        expected = declared.expected(spec, header)
        candidates = [cell for cell in header if letters(cell) in _IDENTIFIERS and cell != column]
        if column in expected and candidates:
            own = header[expected.index(column)]
            charset, _ = CHARSETS[declared.charset]
            if better := _best(named[spec.name], encoding, own, candidates, charset):
                yield mapping.setting, better


def _best(path: Path, encoding: str, own: str, candidates: list[str], charset: str) -> str | None:
    columns = [own, *candidates]
    try:
        table = csv.read_csv(
            path,
            csv.ReadOptions(encoding=encoding),
            csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip"),
            csv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.string())),
        )
    except (OSError, ValueError, KeyError):
        return None  # the check that follows says what is wrong with the file
    with duckdb.connect() as connection:
        connection.register("people", table)
        (opaque,) = engine.one_row(connection, f"SELECT avg({_is(own, OPAQUE)}::INT) FROM people")
        if (opaque or 0) < _MOST_OPAQUE:
            return None
        for column in candidates:
            sound = f"{_is(column, charset)} AND NOT {_is(column, OPAQUE)} AND NOT {_is(column, SSN)}"
            alone = f"count(*) = count(DISTINCT trim({engine.name(column)}))"
            if engine.one_row(connection, f"SELECT bool_and({sound}) AND {alone} FROM people")[0]:
                return column
    return None


def _is(column: str, pattern: str) -> str:
    # RE2 writes the end of a text otherwise than Python.
    matched = engine.literal(pattern.replace(r"\Z", r"\z"))
    return f"coalesce(regexp_matches(trim({engine.name(column)}), {matched}), false)"
