"""A format's mappings turned round: what an export writes into each column of a file.

What a mapping reads into a canonical column it writes from there; a role that it says of every line chooses the lines;
several columns that bring one link each take the links of a record in turn; what is looked up in another file becomes
that file's lines, under keys made of what they say. What none of this tells is declared (`Lines`). Pure: SQL comes out,
over the relations of `lines.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from enrollsync.formats import Cell, Filled, Format, Lines, Lookup, Mapping
from enrollsync.run import engine
from enrollsync.run.engine import literal
from enrollsync.words.canonical import BY_NAME, ENROLLMENTS, ENTITIES, USERS
from enrollsync.words.spellings import WORDS

_RECORDS = {entity.name: str(entity.key) for entity in ENTITIES if entity.key}
_FLAGS = frozenset(name for entity in ENTITIES for name in entity.of_kind("flag"))
_SEPARATOR = "chr(31)"
"""Between the parts of a key that is made: no text has it."""
_ORDER = "line.user_key, line.organization_key, line.class_key, line.role, line.is_primary DESC"
"""In which the lines of a file stand."""


def file_query(declared: Format, lines: Lines, *, spreadsheet: bool = False) -> str:
    """SQL for the lines of one file, under the headers that the roster can fill and those that must be there.

    `spreadsheet`: no cell is one that a spreadsheet takes for a formula.
    """
    said = texts(declared, lines)
    spec = declared.file(lines.file)
    headers = [name for name in spec.known if name in said or name in spec.required]
    values = {name: said.get(name, "NULL::VARCHAR") for name in headers}
    if spreadsheet:
        values = {name: engine.cell(f"({value})") for name, value in values.items()}
    columns = ",\n            ".join(f"{value} AS {engine.name(name)}" for name, value in values.items())
    if lines.each is None:
        mapping = _asking(declared, lines)
        return f"""
        SELECT DISTINCT {columns}
        FROM {mapping.entity}_lines AS line{_joins()}
        WHERE {_key_of_lookup(declared, mapping, lines.file)} IS NOT NULL
        ORDER BY ALL"""
    return f"""
        SELECT {columns}
        FROM {lines.each}_lines AS line{_joins()}{_joined_slots(declared, lines)}
        {_where(declared, lines)}
        ORDER BY {_ORDER}"""


def numbered_lines(declared: Format, lines: Lines) -> str:
    """SQL for `user_key, class_key, number`: of whom and what the lines of the file are, counted as an editor does."""
    return f"""
        SELECT user_key, class_key, 1 + row_number() OVER (ORDER BY {_ORDER}) AS number
        FROM {lines.each}_lines AS line
        {_where(declared, lines)}"""


def named_by(declared: Format, lines: Lines, entity: str) -> str | None:
    """SQL for the keys of the entity's records that the file's lines speak of; None where it brings none of them."""
    key = _RECORDS[entity]
    if lines.each is None or not any(mapping.entity == entity for mapping in declared.of_file(lines.file)):
        return None
    return f"SELECT {key} FROM {lines.each}_lines AS line {_where(declared, lines)}"


def listing_rows(declared: Format) -> list[tuple[str, str]]:
    """The lines of the file that lists the others; none where the format has no such file."""
    listing = declared.listing
    if listing is None:
        return []
    whole = next(word for word, mode in listing.words.items() if mode == "snapshot")
    head = [*([listing.own_version] if listing.own_version else []), (listing.version, declared.version)]
    return [*head, *((f"{listing.before}{lines.name.removesuffix('.csv')}", whole) for lines in declared.lines)]


def texts(declared: Format, lines: Lines) -> dict[str, str]:
    """Column of the file -> SQL for what stands there."""
    said = _looked_up(declared, lines) if lines.each is None else _own(declared, lines)
    return said | {column: _filled(declared, filled) for column, filled in lines.filled.items()}


def _own(declared: Format, lines: Lines) -> dict[str, str]:
    """What the file's own mappings say: a link's first, whose role is that of the line."""
    slots = _slots(declared, lines)
    own = [mapping for mapping in declared.of_file(lines.file) if mapping not in slots.values()]
    found: dict[str, list[tuple[Cell, str]]] = {}
    for mapping in sorted(own, key=lambda mapping: BY_NAME[mapping.entity].key is not None):
        for column, cell in mapping.cells.items():
            text = _cell(declared, mapping, column)
            if text:
                found.setdefault(str(cell.column), []).append((cell, text))
    said = {column: _together(given) for column, given in found.items()}
    return said | {column: f"slots.{engine.name(column)}" for column in slots}


def _cell(declared: Format, mapping: Mapping, column: str) -> str | None:
    """SQL for what a cell makes of its value; None where the value stands elsewhere, or nowhere in a roster."""
    cell = mapping.cells[column]
    if column not in BY_NAME[mapping.entity].columns or cell.column is None:
        return None
    if cell.lookup is None:
        return _text(declared, mapping, column)
    looked_up = any(other.file == cell.lookup.file and other.each is None for other in declared.lines)
    return _key_of_lookup(declared, mapping, cell.lookup.file) if looked_up else None


def _together(given: list[tuple[Cell, str]]) -> str:
    """One text of several: values that are found within a text stand side by side, of others the first there is."""
    said = list(dict.fromkeys(text for _, text in given))
    if any(any(cell.around) for cell, _ in given):
        return f"nullif(concat_ws(',', {', '.join(said)}), '')"
    return said[0] if len(said) == 1 else f"coalesce({', '.join(said)})"


# ---- values ----------------------------------------------------------------------------------------------------------


def _text(declared: Format, mapping: Mapping, column: str) -> str:
    cell = mapping.cells[column]
    value = _spelt(declared, cell.convert, _value(declared, mapping.entity, column, cell.prefix))
    before, after = cell.around
    return f"{literal(before)} || {value} || {literal(after)}" if before or after else value


def _value(declared: Format, entity: str, column: str, prefix: str | None = None) -> str:
    """SQL for a canonical column of the line's records, as text."""
    described = BY_NAME[entity]
    if column == "source_key":
        return _key(declared, entity, prefix)
    if column in described.links:
        return _key(declared, described.links[column], prefix)
    value = f"{entity}.{column}" if described.key else f"line.{column}"
    return f"{value}::VARCHAR" if column in _FLAGS else value


def _key(declared: Format, entity: str, prefix: str | None) -> str:
    """A record's key: its identifier, where that is the format's key too; else what its own source called it.

    `prefix`: of people, the kind that the format puts before keys of that column; None: any.
    """
    own = f"{entity}.source_key"
    own = engine.without_kind(own) if entity == USERS.name else own
    keys = [mapping for mapping in declared.mappings if mapping.entity == entity and "source_key" in mapping.cells]
    alike = [mapping for mapping in keys if prefix is None or mapping.cells["source_key"].prefix == prefix]
    identified = alike and all(mapping.keyed_by_identifier for mapping in alike)
    return f"coalesce({entity}.{BY_NAME[entity].identifier}, {own})" if identified else own


def _spelt(declared: Format, convert: str, value: str) -> str:
    """SQL for a word as the files spell it: as declared, else as we do, else by its first spelling."""
    spellings = (WORDS | declared.words).get(convert, {})
    first: dict[str, str] = {}
    for given, meant in spellings.items():
        if meant is not None:
            first.setdefault(meant, given)
    itself = {meant: meant for meant in first if spellings.get(meant.lower()) == meant}
    written = first | itself | declared.spelt.get(convert, {})
    cases = [f"WHEN {literal(meant)} THEN {literal(word)}" for meant, word in written.items() if word != meant]
    return f"CASE {value} {' '.join(cases)} ELSE {value} END" if cases else value


def _filled(declared: Format, filled: Filled) -> str:
    if filled.constant is not None:
        return literal(filled.constant)
    values = [_of_line(declared, name) for name in filled.of]
    if filled.words:
        yes, no = map(literal, filled.words)
        return f"CASE WHEN {values[0]} THEN {yes} ELSE {no} END"
    return values[0] if len(values) == 1 else _made_key(values)


def _of_line(declared: Format, name: str) -> str:
    """SQL for `line.role`, or for `classes.organization_source_key` of the line's class."""
    entity, _, column = name.partition(".")
    return name if entity == "line" else _value(declared, entity, column)


def _made_key(values: Iterable[str]) -> str:
    parts = ", ".join(f"coalesce({value}, '')" for value in values)
    return f"md5(concat_ws({_SEPARATOR}, {parts}))"


# ---- lines -----------------------------------------------------------------------------------------------------------


def _joins() -> str:
    return "".join(
        f"""
        LEFT JOIN active_{entity} AS {entity} ON {entity}.{key} = line.{key}"""
        for entity, key in _RECORDS.items()
    )


def _where(declared: Format, lines: Lines) -> str:
    """A role that the file's mapping says of all its lines chooses them."""
    cells = (mapping.cells.get("role") for mapping in declared.of_file(lines.file) if mapping.entity == lines.each)
    roles = sorted({cell.constant for cell in cells if cell and cell.constant})
    return f"WHERE line.role IN ({', '.join(map(literal, roles))})" if roles and lines.each != USERS.name else ""


def _slots(declared: Format, lines: Lines) -> dict[str, Mapping]:
    """Column -> mapping, of the columns that bring one enrollment each to the class of the line."""
    if lines.each != "classes":
        return {}
    own = [mapping for mapping in declared.of_file(lines.file) if mapping.entity == ENROLLMENTS.name]
    return {str(mapping.cells["user_source_key"].column): mapping for mapping in own}


def _joined_slots(declared: Format, lines: Lines) -> str:
    """The people of each class, in turn: the first column is left to whom its mapping fits."""
    slots = _slots(declared, lines)
    if not slots:
        return ""
    first = next(iter(slots.values()))
    constants = {column: cell.constant for column, cell in first.cells.items() if cell.constant}
    role = constants.pop("role")
    fits = " AND ".join(
        f"coalesce({_value(declared, ENROLLMENTS.name, column)} = {literal(constant)}, false)"
        for column, constant in constants.items()
    )
    columns = ", ".join(
        f"max(said) FILTER (place = {place}) AS {engine.name(column)}" for place, column in enumerate(slots, start=1)
    )
    said = _key(declared, USERS.name, first.cells["user_source_key"].prefix)
    return f"""
        LEFT JOIN (
            SELECT class_key, {columns}
            FROM (
                SELECT class_key, said,
                    row_number() OVER (PARTITION BY class_key ORDER BY fits DESC, user_key)
                        + CASE WHEN bool_or(fits) OVER (PARTITION BY class_key) THEN 0 ELSE 1 END AS place
                FROM (
                    SELECT line.class_key, line.user_key, {said} AS said, {fits} AS fits
                    FROM enrollments_lines AS line
                    JOIN active_users AS users ON users.user_key = line.user_key
                    WHERE line.role = {literal(str(role))}
                )
            )
            GROUP BY class_key
        ) AS slots ON slots.class_key = line.class_key"""


# ---- lookups ---------------------------------------------------------------------------------------------------------


def _asking(declared: Format, lines: Lines) -> Mapping:
    """The mapping that looks something up in that file."""
    return next(mapping for mapping in declared.mappings if _cells_of_lookup(mapping, lines.file))


def _cells_of_lookup(mapping: Mapping, file: str) -> dict[str, Lookup]:
    """Canonical column -> how it is looked up, of what the mapping looks up in that file."""
    asked = {column: cell.lookup for column, cell in mapping.cells.items() if cell.lookup}
    return {column: lookup for column, lookup in asked.items() if lookup.file == file}


def _looked_up(declared: Format, lines: Lines) -> dict[str, str]:
    """What the records say that look something up in the file, and the key under which they find it."""
    mapping = _asking(declared, lines)
    cells = _cells_of_lookup(mapping, lines.file)
    said = {lookup.column: _text(declared, mapping, column) for column, lookup in cells.items()}
    (key,) = {lookup.key for lookup in cells.values()}
    return {key: _key_of_lookup(declared, mapping, lines.file), **said}


def _key_of_lookup(declared: Format, mapping: Mapping, file: str) -> str:
    """The key of that file's line: made of all that the record says there; none where it says nothing."""
    values = [_text(declared, mapping, column) for column in _cells_of_lookup(mapping, file)]
    return f"CASE WHEN coalesce({', '.join(values)}) IS NOT NULL THEN {_made_key(values)} END"
