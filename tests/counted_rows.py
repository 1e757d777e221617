"""How many rows the readable lines of a delivery make, told from the format's declarations, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import duckdb

from enrollsync.formats import Cell, Format, Mapping, When
from enrollsync.run import engine
from enrollsync.run.source_table import numbered
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import BY_NAME, REMOVE
from enrollsync.words.codes import CODES, Scope

Lines = dict[int, dict[str, str]]
"""Line -> its values by header, without blanks around them."""


@dataclass(frozen=True)
class Row:
    """What one line says of one record or link."""

    entity: str
    file: str
    line: int
    asks_removal: bool
    named: tuple[tuple[str, str | None], ...]
    """Entity and key of the records that it speaks of: its own, or the ends of the link."""


def rows_read(declared: Format, workspace: Workspace, files: Iterable[str]) -> Counter[str]:
    """Entity -> rows that the files bring.

    What asks for a removal is no row, nor is what else is said of what goes with it, unless it is rejected. Of several
    that one line says, a school that stays and one that goes, those that are rejected are taken to be the first.
    """
    tables = {file: _lines(workspace, file) for file in files}
    rows = [row for mapping in declared.mappings if mapping.file in tables for row in _rows(declared, mapping, tables)]
    lost, own = _rejected(workspace)
    removed = {
        row.named[0]
        for row in rows
        if row.asks_removal and BY_NAME[row.entity].key and not {(row.file, row.line), _at(row)} & (lost | own.keys())
    }
    brought = Counter(_at(row) for row in rows if not (row.asks_removal or removed.intersection(row.named)))
    counts = Counter[str]()
    for place in {_at(row) for row in rows}:
        *_, entity = place
        counts[entity] += max(brought[place], own[place])
    return +counts


def _at(row: Row) -> tuple[str, int, str]:
    return row.file, row.line, row.entity


def _lines(workspace: Workspace, file: str) -> Lines:
    rows = duckdb.sql(f"SELECT * FROM {numbered(workspace.source_table(file))}").to_arrow_table().to_pylist()
    return {row["line"]: {name: str(value or "").strip(" \t\n\r\xa0") for name, value in row.items()} for row in rows}


def _rejected(workspace: Workspace) -> tuple[set[tuple[str, int]], Counter[tuple[str, int, str]]]:
    """Lines that load nothing at all, and how many rows of an entity the checks reject of each line."""
    found = duckdb.sql(f"""
        SELECT DISTINCT file, line, entity, code, row_id
        FROM {engine.parquet(workspace.findings)}
        WHERE severity = 'critical' AND row_id IS NOT NULL""").fetchall()
    lost = {(file, line) for file, line, _, code, _ in found if CODES[code].scope not in (Scope.RECORD, Scope.PLAN)}
    rejected = {(file, line, entity, row_id) for file, line, entity, _, row_id in found}
    return lost, Counter((file, line, entity) for file, line, entity, _ in rejected)


def _rows(declared: Format, mapping: Mapping, tables: dict[str, Lines]) -> Iterator[Row]:
    entity, passed = BY_NAME[mapping.entity], declared.file(mapping.file).passed
    named = ("source_key",) if entity.key else tuple(entity.links)
    if mapping.entity == "id_changes":
        return
    for line, row in tables[mapping.file].items():
        if not _all_hold(mapping.when, row, tables) or any(_all_hold(one.when, row, tables) for one in passed):
            continue
        asked = _meant(declared, mapping.cells["action"], row) if "action" in mapping.cells else None
        for element in _elements(row, mapping.each):
            keys = ((entity.links.get(name, entity.name), _key(mapping.cells[name], element)) for name in named)
            yield Row(entity.name, mapping.file, line, asked == REMOVE, tuple(keys))


def _all_hold(whens: Iterable[When], row: dict[str, str], tables: dict[str, Lines]) -> bool:
    return all(_holds(when, row, tables) for when in whens)


def _holds(when: When, row: dict[str, str], tables: dict[str, Lines]) -> bool:
    values = [row.get(when.column, "")]
    if when.lookup:
        lookup, key = when.lookup, values[0]
        others = tables.get(lookup.file, {}).values()
        found = [other for other in others if key and other.get(lookup.key) == key]
        values = [other.get(lookup.column, "") for other in found if _all_hold(lookup.when, other, tables)]
    return when.negate != any(value.lower() in when.one_of if when.one_of else value for value in values)


def _elements(row: dict[str, str], column: str | None) -> Iterator[dict[str, str]]:
    given = [text.strip() for text in row.get(column or "", "").split(",")]
    for text in [text for text in given if text] or [""]:
        yield row | ({column: text} if column else {})


def _key(cell: Cell, row: dict[str, str]) -> str | None:
    text = row.get(cell.column or "")
    return cell.prefix + text if text else None


def _meant(declared: Format, cell: Cell, row: dict[str, str]) -> str | None:
    spellings = {word.lower(): meant for word, meant in declared.words.get(cell.convert, {}).items()}
    text = row.get(cell.column or "", "").lower()
    return spellings.get(text, text)
