"""Source tables into canonical tables, by the format's declarations alone.

Values are trimmed and brought to one spelling where the value maps below know them; what they do not know stays as
it was given, so that a suite can say so. Nothing is rejected here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import cast

import duckdb
import pyarrow.parquet as pq

from enrollsync.formats import Cell, Format, Lookup, Mapping, Passed, When
from enrollsync.run import engine
from enrollsync.run.engine import literal
from enrollsync.run.run import Run
from enrollsync.run.source_table import numbered
from enrollsync.run.workspace import Notice
from enrollsync.words.blanks import BLANKS
from enrollsync.words.canonical import BETWEEN_TERMS, BY_NAME, ENTITIES, ID_CHANGES, KINDS, USERS, Entity
from enrollsync.words.spellings import WORDS

_YEARS_AHEAD = 5
"""A year of two digits lies at most so far ahead: terms end sooner, and nobody born a century before is left."""
_PASSED, _SKIPPED, _ALL_SKIPPED, _UNUSED = "ROW-PASSED", "ROW-SKIPPED", "ROW-ALL-SKIPPED", "ROW-RULE-UNUSED"
_NAMED = 10
"""Lines that a message names."""
BETWEEN_BLANKS = "\n"
"""Between the columns that `blanks` names: no header has a line break."""
_PLACE, _MAPPING = 1 << 32, 1 << 54
"""A row's id is its first line, its place in a list times the first, and its mapping's number times the second: more
lines than any file has, and more elements than any line."""

# `edged`: whether a value may begin or end with a blank. Trimming goes through every character; this does not, and is
# true for all values that blanks surround, for empty ones, and for some that begin or end with a letter beyond ASCII.
# The `as_...` take a trimmed value: a macro repeats its argument, and planning is most of what a small file costs.
_MACROS = rf"""
    CREATE MACRO edged(x) AS x NOT BETWEEN '!' AND '~' OR reverse(x) NOT BETWEEN '!' AND '~';
    CREATE MACRO trimmed(x) AS CASE
        WHEN edged(x) THEN nullif(trim(x, {literal(BLANKS)}), '')
        ELSE x
    END;
    CREATE MACRO as_text(x) AS x;
    CREATE MACRO as_date(x) AS coalesce(
        CASE
            WHEN regexp_full_match(x, '\d{{1,2}}/\d{{1,2}}/\d{{2}}') THEN
                strftime(in_our_time(try_strptime(x, '%m/%d/%y')), '%Y-%m-%d')
            WHEN regexp_full_match(x, '\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}/\d{{1,2}}/\d{{4}}') THEN
                strftime(try_strptime(x, ['%Y-%m-%d', '%m/%d/%Y']), '%Y-%m-%d')
        END,
        as_own_date(x),
        x
    );
"""


@dataclass(frozen=True)
class _Table:
    """A file of the delivery as it was read."""

    columns: frozenset[str]
    rows: str
    """SQL for its rows, with their lines."""

    @classmethod
    def of(cls, path: Path) -> _Table:
        return cls(frozenset(pq.read_schema(path).names), numbered(path))


Tables = dict[str, _Table]
"""Name -> file, of those that were delivered."""


def normalise(run: Run) -> None:
    """Write `canonical/<entity>.parquet` for all five entities and id changes; what no file brings is empty."""
    place, declared = run.place, run.format
    tables = {file.name: _Table.of(place.source_table(file.name)) for file in run.manifest.files}
    with engine.connect(place.root) as connection:
        _define_macros(connection, run.manifest.as_of.date(), declared)
        told = [*_passed_over(connection, declared, tables), *_unused_words(connection, declared, tables)]
        earlier = {_PASSED, _SKIPPED, _ALL_SKIPPED, _UNUSED}
        run.note(notices=[*(notice for notice in run.manifest.notices if notice.code not in earlier), *told])
        for entity in (*ENTITIES, ID_CHANGES):
            query = _entity_query(entity, declared, tables, delta=run.manifest.mode_of(entity.name) == "delta")
            engine.write_parquet(connection, query, place.canonical_table(entity.name))


def _passed_over(connection: duckdb.DuckDBPyConnection, declared: Format, tables: Tables) -> Iterable[Notice]:
    """What is told of the lines of each file that are passed over, by the format or by a rule of the district's."""
    for spec in (spec for spec in declared.files if spec.name in tables):
        for passed in spec.passed:
            notice = _told_of(connection, spec.name, passed, tables)
            if notice:
                yield notice


def _told_of(connection: duckdb.DuckDBPyConnection, file: str, passed: Passed, tables: Tables) -> Notice | None:
    """What is told of lines that are passed over; where a rule of the district's leaves out none, or all, of that."""
    which = _all_hold(passed.when, tables[file], tables)
    query = f"""
        SELECT count(*), (list(line ORDER BY line) FILTER ({which}))[:{_NAMED}], count(*) FILTER ({which})
        FROM {tables[file].rows}"""
    rows, lines, count = engine.one_row(connection, query)
    if not count:
        unused = f"{passed.rule} leaves nothing out: no line is one {passed.why}"
        return Notice.of(_UNUSED, unused, file=file) if passed.rule else None
    more = f" and {count - _NAMED:,} more" if count > _NAMED else ""
    numbers = f"{count:,} in all: {', '.join(map(str, lines))}{more}"
    if not passed.rule:
        return Notice.of(_PASSED, f"lines {passed.why} are passed over, {numbers}", file=file, line=lines[0])
    code, others = (_ALL_SKIPPED, "; no other line is there") if count == rows else (_SKIPPED, "")
    said = f"{passed.rule} leaves out the lines {passed.why}, {numbers}; what they say counts as absent{others}"
    return Notice.of(code, said, file=file, line=lines[0])


def _unused_words(connection: duckdb.DuckDBPyConnection, declared: Format, tables: Tables) -> Iterable[Notice]:
    """What is told of the district's words for a column where none of them stands in the files that have it."""
    for key, (words, places) in declared.own_words.items():
        there = [(file, header) for file, header in places if file in tables and header in tables[file].columns]
        listed = ", ".join(literal(word.lower()) for word in words)
        parts = (f"FROM {tables[file].rows} WHERE {_folded(header)} IN ({listed})" for file, header in there)
        used = " UNION ALL ".join(f"SELECT 1 {part}" for part in parts)
        if there and engine.one_row(connection, f"SELECT NOT EXISTS ({used})")[0]:
            said = f"`source.values` of {key} changes nothing: none of its words is there"
            yield Notice.of(_UNUSED, said, file=there[0][0])


def _folded(header: str) -> str:
    return f"lower(trimmed({engine.name(header)}))"


def _define_macros(connection: duckdb.DuckDBPyConnection, today: date, declared: Format) -> None:
    connection.execute(f"""
        CREATE MACRO in_our_time(x) AS
        CASE WHEN x > DATE '{today}' + INTERVAL {_YEARS_AHEAD} YEAR THEN x - INTERVAL 100 YEAR ELSE x END""")
    own_dates = ", ".join(map(literal, declared.dates))
    own = f"strftime(try_strptime(x, [{own_dates}]), '%Y-%m-%d')" if own_dates else "NULL"
    connection.execute(f"CREATE MACRO as_own_date(x) AS {own}")
    connection.execute(_MACROS)
    connection.execute(f"CREATE TYPE constant AS ENUM ({_constants(declared)})")
    for name, spellings in (WORDS | declared.words).items():
        cases = " ".join(f"WHEN {literal(given.lower())} THEN {_meant(meant)}" for given, meant in spellings.items())
        connection.execute(f"CREATE MACRO as_{name}(x) AS CASE lower(x) {cases} ELSE x END")


def _meant(word: str | None) -> str:
    return "NULL" if word is None else literal(word)


def _constants(declared: Format) -> str:
    """All texts that stand in whole columns: as an enumeration they are written without hashing each row's."""
    cells = [cell for mapping in declared.mappings for cell in mapping.cells.values()]
    texts = {mapping.file for mapping in declared.mappings} | {cell.constant for cell in cells if cell.constant}
    return ", ".join(f"'{text}'" for text in sorted(texts))


def _entity_query(entity: Entity, declared: Format, tables: Tables, *, delta: bool) -> str:
    parts = [
        _mapping_query(number, mapping, declared, tables, delta=delta)
        for number, mapping in enumerate(declared.mappings)
        if mapping.entity == entity.name and mapping.file in tables
    ]
    return " UNION ALL ".join(parts) or _nothing(entity)


def _mapping_query(number: int, mapping: Mapping, declared: Format, tables: Tables, *, delta: bool) -> str:
    entity, table = BY_NAME[mapping.entity], tables[mapping.file]
    cells = {column: cell for column, cell in mapping.cells.items() if _is_answered(cell, table, tables)}
    looked_up = {column: cell for column, cell in cells.items() if cell.lookup}
    due = {column: cell for column, cell in looked_up.items() if not (delta and cast(Lookup, cell.lookup).may_lack)}
    raw = sorted({name for cell in cells.values() for name in cell.columns if name in table.columns})
    told = [name for name in raw if name not in _covered(mapping, declared) | mapping.lists]
    trims = [f"trimmed({engine.name(name)}) AS {_trimmed(name)}" for name in raw]
    values = [f"{_cell(column, cells.get(column), table)} AS {column}" for column in _columns(entity)]
    lookups = "".join(_looked_up(column, mapping, tables) for column in looked_up)
    return f"""
        SELECT {number * _MAPPING} + " place" * {_PLACE} + line AS row_id,
            '{mapping.file}'::constant AS file, line, lines,
            {_blanks(told)} AS blanks, {_unfound(due)} AS unfound,
            {", ".join(values)}{_kind(entity, cells.get("role"), table)}
        FROM (SELECT {", ".join(["*", *trims])} FROM ({_lines(mapping, raw, declared, tables)})){lookups}"""


def _lines(mapping: Mapping, raw: list[str], declared: Format, tables: Tables) -> str:
    """The lines that the mapping takes, once for each element of its list; those that say the same are one row."""
    table = tables[mapping.file]
    conditions = _all_hold(mapping.when, table, tables)
    for passed in declared.file(mapping.file).passed:
        conditions += f" AND NOT ({_all_hold(passed.when, table, tables)})"
    columns = "".join(f", {engine.name(name)}" for name in raw)
    rows, place, first = f"{table.rows} WHERE {conditions}", "0", "0"
    if mapping.each in table.columns:
        others = "".join(f", {engine.name(name)}" for name in raw if name != mapping.each)
        rows, place, first = _exploded(rows, str(mapping.each), others), '" place"', 'arg_min(" place", line)'
    if not mapping.repeats:
        return f"""
            SELECT line, [line] AS lines, {place} AS " place"{columns}
            FROM {rows}"""
    return f"""
            SELECT min(line) AS line, list_sort(list(line)) AS lines, {first} AS " place"{columns}
            FROM {rows}
            GROUP BY ALL"""


def _exploded(rows: str, column: str, others: str) -> str:
    """One row for each element of a column's list, with its place; one without any where there is none."""
    return f"""(
                SELECT line{others}, unnest(" elements") AS {engine.name(column)},
                    unnest(range(len(" elements"))) AS " place"
                FROM (SELECT *, {_elements(engine.name(column))} AS " elements" FROM {rows})
            )"""


def _elements(value: str) -> str:
    filled = f"list_filter(string_split({value}, ','), lambda element: trimmed(element) IS NOT NULL)"
    return f"CASE WHEN len({filled}) > 0 THEN {filled} ELSE [NULL::VARCHAR] END"


def _is_answered(asked: Cell | When, table: _Table, tables: Tables) -> bool:
    """Whether a file in which something is looked up was delivered, with the columns that this needs."""
    if asked.lookup is None:
        return True
    other = tables[asked.lookup.file].columns if asked.lookup.file in tables else frozenset()
    return asked.column in table.columns and {asked.lookup.key, asked.lookup.column} <= other


def _looked_up(column: str, mapping: Mapping, tables: Tables) -> str:
    """Joins what a cell means by another file: each distinct text is looked up once, by all keys that it lists."""
    cell = mapping.cells[column]
    lookup, source = cast(Lookup, cell.lookup), engine.name(str(cell.column))
    texts = f"trimmed(unnest({_elements(source)}))" if mapping.each == cell.column else f"trimmed({source})"
    keys = "string_split(text, ',')" if lookup.is_list else "[text]"
    alias = _lookup_of(column)
    return f"""
        LEFT JOIN (
            SELECT text AS " text", {_several(lookup)} AS " value", bool_or(found IS NULL) AS " unfound"
            FROM (
                SELECT text, trimmed(unnest({keys})) AS key
                FROM (SELECT DISTINCT {texts} AS text FROM {tables[mapping.file].rows})
            )
            LEFT JOIN ({_answers(lookup, tables)}) ON found = key
            WHERE key IS NOT NULL
            GROUP BY text
        ) AS {alias} ON {alias}." text" = {_trimmed(str(cell.column))}"""


def _answers(lookup: Lookup, tables: Tables) -> str:
    """`found, value, place`: what the other file says under each key, and by what its answers are put in order."""
    table = tables[lookup.file]
    conditions = _all_hold(lookup.when, table, tables)
    value = f"trimmed({engine.name(lookup.column)})"
    place = f"as_date(trimmed({engine.name(lookup.order)}))" if lookup.order in table.columns else "NULL"
    return f"""
                SELECT trimmed({engine.name(lookup.key)}) AS found, {value} AS value,
                    coalesce({place}, {value}) AS place
                FROM {table.rows}
                WHERE {conditions}"""


def _several(lookup: Lookup) -> str:
    """One value of several answers."""
    if lookup.take == "all":
        return f"string_agg(value, '{BETWEEN_TERMS}' ORDER BY place, value)"
    return f"{'arg_min' if lookup.take == 'first' else 'arg_max'}(value, (place, value))"


def _lookup_of(column: str) -> str:
    return engine.name(f" {column}")


def _unfound(cells: dict[str, Cell]) -> str:
    """The source columns with keys that the other file does not have."""
    marks = [
        f'CASE WHEN {_lookup_of(column)}." unfound" THEN {literal(str(cell.column))} END'
        for column, cell in cells.items()
    ]
    return f"nullif(concat_ws({literal(BETWEEN_BLANKS)}, {', '.join(marks)}), '')" if marks else "NULL::VARCHAR"


def _columns(entity: Entity) -> tuple[str, ...]:
    return ("action", *entity.columns)


def _nothing(entity: Entity) -> str:
    columns = ", ".join(f"NULL::VARCHAR AS {name}" for name in _columns(entity))
    kind = ", NULL::VARCHAR AS kind" if entity is USERS else ""
    return f"""
        SELECT 0::BIGINT AS row_id, '' AS file, 0::BIGINT AS line, []::BIGINT[] AS lines, NULL::VARCHAR AS blanks,
            NULL::VARCHAR AS unfound, {columns}{kind}
        WHERE false"""


def _cell(column: str, cell: Cell | None, table: _Table) -> str:
    if cell is None:
        return "NULL::VARCHAR"
    if cell.constant is not None:
        return f"'{cell.constant}'::constant"
    names = [name for name in cell.columns if name in table.columns]
    given = [_converted(cell, f'{_lookup_of(column)}." value"' if cell.lookup else _trimmed(name)) for name in names]
    value = f"coalesce({', '.join(given)})" if given else "NULL::VARCHAR"
    return f"'{cell.prefix}' || {value}" if cell.prefix else value


def _converted(cell: Cell, text: str) -> str:
    if cell.pattern:
        text = f"trimmed(nullif(regexp_extract({text}, {literal(cell.pattern)}, 1), ''))"
    if cell.case:
        text = f"{cell.case}({text})"
    if cell.words:
        cases = " ".join(f"WHEN {literal(given.lower())} THEN {literal(meant)}" for given, meant in cell.words)
        text = f"CASE lower({text}) {cases} ELSE {text} END"
    return f"as_{cell.convert}({text})"


def _trimmed(name: str) -> str:
    """The trimmed value of a source column, beside the value as delivered."""
    return engine.name(f"{name} trimmed")


def _kind(entity: Entity, role: Cell | None, table: _Table) -> str:
    if entity is not USERS:
        return ""
    cases = " ".join(f"WHEN '{name}' THEN '{kind}'" for name, kind in KINDS.items())
    return f", CASE {_cell('role', role, table)} {cases} END AS kind"


def _covered(mapping: Mapping, declared: Format) -> set[str]:
    """Source columns whose blanks another entity of the same line reports already."""
    earlier: set[str] = set()
    for other in declared.mappings:
        if other.file == mapping.file and other.entity == mapping.entity:
            break
        if other.file == mapping.file and set(other.when) <= set(mapping.when):
            earlier |= {name for cell in other.cells.values() for name in cell.columns}
    return earlier


def _blanks(raw: list[str]) -> str:
    if not raw:
        return "NULL::VARCHAR"
    marks = [
        f"CASE WHEN {engine.name(name)} <> coalesce({_trimmed(name)}, '') THEN {engine.literal(name)} END"
        for name in raw
    ]
    some = " OR ".join(f"edged({engine.name(name)})" for name in raw)
    return f"CASE WHEN {some} THEN nullif(concat_ws({engine.literal(BETWEEN_BLANKS)}, {', '.join(marks)}), '') END"


def _all_hold(whens: tuple[When, ...], table: _Table, tables: Tables) -> str:
    return " AND ".join(_condition(when, table, tables) for when in whens) or "true"


def _condition(when: When, table: _Table, tables: Tables) -> str:
    if when.column not in table.columns or not _is_answered(when, table, tables):
        return "true" if when.negate else "false"
    value = f"trimmed({engine.name(when.column)})"
    test = _holds(value, when)
    if when.lookup:
        answers = _answers(when.lookup, tables)
        test = f"coalesce({value} IN (SELECT found FROM ({answers}) WHERE {_holds('value', when)}), false)"
    return f"NOT ({test})" if when.negate else test


def _holds(value: str, when: When) -> str:
    choices = ", ".join(f"'{choice}'" for choice in when.one_of)
    return f"coalesce(lower({value}), '') IN ({choices})" if when.one_of else f"{value} IS NOT NULL"
