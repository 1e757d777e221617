"""What a delivery's own list of its files (OneRoster's `manifest.csv`) says of them, and where it and they disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import duckdb

from enrollsync.formats import FORMATS, ID_CHANGES_FILE, FileSpec, Format, Listing
from enrollsync.run import engine
from enrollsync.run.workspace import Notice
from enrollsync.words.errors import Refused
from enrollsync.words.printable import quoted

Said = dict[str, str]
"""Name of a file in the format -> what the list says of it, as written."""


def said_of_files(connection: duckdb.DuckDBPyConnection, table: Path, listing: Listing) -> Said:
    """What the list says, out of its file as it was read."""
    query = f"SELECT trim({engine.name(listing.name)}), trim({engine.name(listing.value)}) FROM {engine.parquet(table)}"
    told = [(name or "", word or "") for name, word in connection.execute(query).fetchall()]
    before = len(listing.before)
    return {
        f"{name[before:]}.csv".lower(): word for name, word in told if name[:before].lower() == listing.before and word
    }


def format_said(
    connection: duckdb.DuckDBPyConnection, table: Path, declared: Format, listing: Listing
) -> Format | None:
    """Another format of the same source, as declared, where the list's version is that one's."""
    name, value = engine.name(listing.name), engine.name(listing.value)
    query = f"SELECT max(trim({value})) FROM {engine.parquet(table)} WHERE lower(trim({name})) = ?"
    version = engine.one_row(connection, query, [listing.version])[0] or ""
    same = (other for other in FORMATS.values() if other.source == declared.source and other.version)
    return next((one for one in same if version.startswith(one.version) and one.name != declared.name), None)


def as_said(declared: Format, listing: Listing, said: Said) -> Format:
    """The format as this delivery has it: what is absent is not read, and of the rest absence means what is said.

    A list that names some files and not another, or says an unknown word of it, does not say that it is the whole.
    """
    if not said:
        return declared
    specs = [_as_said(spec, listing, said.get(spec.name)) for spec in declared.files]
    return replace(declared, files=tuple(specs))


def _as_said(spec: FileSpec, listing: Listing, word: str | None) -> FileSpec:
    if spec.name == listing.file:
        return spec
    meant = listing.words.get((word or "").lower(), "delta")
    if meant is None:
        return replace(spec, read=False)
    return spec if meant == "snapshot" else replace(spec, mode=meant)


def refuse_missing(declared: Format, listing: Listing, said: Said, files: Iterable[str]) -> None:
    """Raise Refused (FILE-MISSING) for a file that is read and should be there: by the list, or without its word."""
    words = {name for name, word in said.items() if listing.words.get(word.lower(), "delta")}
    due = [
        spec.name
        for spec in declared.files
        if spec.read and (spec.name in words if said else not spec.optional_file) and spec.name not in set(files)
    ]
    if due:
        why = f"{listing.file} says that it is there" if said else "the set lacks it"
        raise Refused("FILE-MISSING", f"{why}; deliver the whole set", file=due[0])


def disagreements(listing: Listing, said: Said, files: Iterable[str]) -> Iterable[Notice]:
    """A notice for each of the files that are read of which the list says nothing, or nothing that is known."""
    known = ", ".join(f"`{word}`" for word in listing.words)
    for name in files:
        own = name in (listing.file, ID_CHANGES_FILE.name)
        if not said or own or said.get(name, "").lower() in listing.words:
            continue
        word = said.get(name)
        what = f"{listing.file} says {quoted(word)} of it, not one of {known}" if word else f"{listing.file} lacks it"
        message = f"{what}; it is read, and what it does not have stays"
        yield Notice.of("FILE-LISTING", message, file=name)
