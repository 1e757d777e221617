"""Source tables into canonical tables, by the format's declarations alone.

Values are trimmed and brought to one spelling where the value maps below know them; what they do not know stays as
it was given, so that a suite can say so. Nothing is rejected here.
"""

from __future__ import annotations

import duckdb
import pyarrow.parquet as pq

from enrollsync.formats import FORMATS, Cell, Format, Mapping, When, source_column
from enrollsync.ingest.read import numbered
from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District
from enrollsync.words.canonical import BY_NAME, ENTITIES, GRADES, ID_CHANGES, KINDS, Entity

_GRADE_SPELLINGS: dict[str, str] = {
    **{grade.lower(): grade for grade in GRADES},
    **{f"0{number}": str(number) for number in range(1, 10)},
    "it": "InfantToddler", "infant/toddler": "InfantToddler",
    "pr": "Preschool",
    "pk": "PreKindergarten", "prek": "PreKindergarten", "pre-k": "PreKindergarten", "-1": "PreKindergarten",
    "tk": "TransitionalKindergarten",
    "k": "Kindergarten", "kg": "Kindergarten", "0": "Kindergarten", "00": "Kindergarten",
    "ps": "PostGraduate", "pg": "PostGraduate",
    "ug": "Ungraded",
    "ot": "Other",
}  # fmt: skip
_FLAGS: dict[str, str] = {
    **dict.fromkeys(("y", "yes", "true", "t", "1"), "true"),
    **dict.fromkeys(("n", "no", "false", "f", "0"), "false"),
}
_ROLES: dict[str, str] = {role: role for role in KINDS}
_ENTITY_SPELLINGS: dict[str, str] = {
    spelling: entity.name for entity in ENTITIES if entity.key for spelling in (entity.singular, entity.name)
}

_YEARS_AHEAD = 5
"""A year of two digits lies at most so far ahead: terms end sooner, and nobody born a century before is left."""
BETWEEN_BLANKS = "\n"
"""Between the columns that `blanks` names: no header has a line break."""
_MOST_LINES = 1 << 40
"""More lines than any file has: a row's id is its mapping's number times this, and its first line."""

# `edged`: whether a value may begin or end with a blank. Trimming goes through every character; this does not, and is
# true for all values that blanks surround, for empty ones, and for some that begin or end with a letter beyond ASCII.
# The `as_...` take a trimmed value: a macro repeats its argument, and planning is most of what a small file costs.
_MACROS = r"""
    CREATE MACRO edged(x) AS x NOT BETWEEN '!' AND '~' OR reverse(x) NOT BETWEEN '!' AND '~';
    CREATE MACRO trimmed(x) AS CASE
        WHEN edged(x) THEN nullif(trim(x, ' ' || chr(9) || chr(10) || chr(13) || chr(160)), '')
        ELSE x
    END;
    CREATE MACRO as_text(x) AS x;
    CREATE MACRO as_date(x) AS coalesce(
        CASE
            WHEN regexp_full_match(x, '\d{1,2}/\d{1,2}/\d{2}') THEN
                strftime(in_our_time(try_strptime(x, '%m/%d/%y')), '%Y-%m-%d')
            WHEN regexp_full_match(x, '\d{4}-\d{2}-\d{2}|\d{1,2}/\d{1,2}/\d{4}') THEN
                strftime(try_strptime(x, ['%Y-%m-%d', '%m/%d/%Y']), '%Y-%m-%d')
        END,
        x
    );
"""


def normalise(workspace: Workspace, manifest: RunManifest, district: District) -> None:
    """Write `canonical/<entity>.parquet` for all five entities and id changes; what no file brings is empty."""
    with engine.connect(workspace.root) as connection:
        _define_macros(connection, manifest)
        for entity in (*ENTITIES, ID_CHANGES):
            engine.write_parquet(
                connection, _entity_query(entity, workspace, manifest, district), workspace.canonical_table(entity.name)
            )


def identifier_column(mapping: Mapping, district: District) -> str | None:
    """The source column that gives a mapping's identifier, the district's own choice first (rule 4)."""
    configured = {str(key): column for key, column in district.identifiers.columns.items()}
    chosen = configured.get(mapping.setting or "")
    if chosen is None and mapping.entity == "users":
        chosen = configured.get("users")
    identifier = BY_NAME[mapping.entity].identifier
    return chosen or (mapping.cells[identifier].column if identifier else None)


def source_name(format_name: str, district: District, file: str, entity: str, column: str) -> str | None:
    """What a file calls a canonical column, the district's own choice included; None when it has none."""
    if column == BY_NAME[entity].identifier:
        for mapping in FORMATS[format_name].mappings:
            if (mapping.file, mapping.entity) == (file, entity):
                return identifier_column(mapping, district)
    return source_column(format_name, file, entity, column)


def _define_macros(connection: duckdb.DuckDBPyConnection, manifest: RunManifest) -> None:
    today = manifest.as_of.date().isoformat()
    connection.execute(f"""
        CREATE MACRO in_our_time(x) AS
        CASE WHEN x > DATE '{today}' + INTERVAL {_YEARS_AHEAD} YEAR THEN x - INTERVAL 100 YEAR ELSE x END""")
    connection.execute(_MACROS)
    connection.execute(f"CREATE TYPE constant AS ENUM ({_constants(FORMATS[manifest.format or ''])})")
    maps = {"grade": _GRADE_SPELLINGS, "flag": _FLAGS, "role": _ROLES, "entity": _ENTITY_SPELLINGS}
    for name, spellings in maps.items():
        cases = " ".join(f"WHEN '{given}' THEN '{meant}'" for given, meant in spellings.items())
        connection.execute(f"CREATE MACRO as_{name}(x) AS CASE lower(x) {cases} ELSE x END")


def _constants(declared: Format) -> str:
    """All texts that stand in whole columns: as an enumeration they are written without hashing each row's."""
    cells = [cell for mapping in declared.mappings for cell in mapping.cells.values()]
    texts = {mapping.file for mapping in declared.mappings} | {cell.constant for cell in cells if cell.constant}
    return ", ".join(f"'{text}'" for text in sorted(texts))


def _entity_query(entity: Entity, workspace: Workspace, manifest: RunManifest, district: District) -> str:
    read = {file.name for file in manifest.files}
    declared = FORMATS[manifest.format or ""]
    parts = [
        _mapping_query(number, mapping, declared, workspace, district)
        for number, mapping in enumerate(declared.mappings)
        if mapping.entity == entity.name and mapping.file in read
    ]
    return " UNION ALL ".join(parts) or _nothing(entity)


def _mapping_query(number: int, mapping: Mapping, declared: Format, workspace: Workspace, district: District) -> str:
    entity = BY_NAME[mapping.entity]
    cells = dict(mapping.cells)
    if entity.identifier and (column := identifier_column(mapping, district)):
        cells[entity.identifier] = Cell(column)
    present = _present_columns(workspace, mapping.file)
    raw = sorted({name for cell in cells.values() for name in (cell.column, cell.fallback) if name in present})
    own = [name for name in raw if name not in _covered(mapping, declared)]
    trims = [f"trimmed({engine.name(name)}) AS {_trimmed(name)}" for name in raw]
    values = [f"{_cell(cells.get(column), present)} AS {column}" for column in _columns(entity)]
    return f"""
        SELECT {number * _MOST_LINES} + line AS row_id, '{mapping.file}'::constant AS file, line, lines,
            {_blanks(own)} AS blanks, {", ".join(values)}{_kind(entity, cells.get("role"), present)}
        FROM (SELECT {", ".join(["*", *trims])} FROM ({_lines(mapping, raw, present, workspace)}))"""


def _lines(mapping: Mapping, raw: list[str], present: set[str], workspace: Workspace) -> str:
    """The lines that the mapping takes; those that say the same are one row."""
    conditions = " AND ".join(_condition(when, present) for when in mapping.when) or "true"
    columns = "".join(f", {engine.name(name)}" for name in raw)
    table = numbered(workspace.source_table(mapping.file))
    if not mapping.repeats:
        return f"""
            SELECT line, [line] AS lines{columns}
            FROM {table}
            WHERE {conditions}"""
    return f"""
            SELECT min(line) AS line, list_sort(list(line)) AS lines{columns}
            FROM {table}
            WHERE {conditions}
            GROUP BY ALL"""


def _columns(entity: Entity) -> tuple[str, ...]:
    return ("action", *entity.columns)


def _nothing(entity: Entity) -> str:
    columns = ", ".join(f"NULL::VARCHAR AS {name}" for name in _columns(entity))
    kind = ", NULL::VARCHAR AS kind" if entity.name == "users" else ""
    return f"""
        SELECT 0::BIGINT AS row_id, '' AS file, 0::BIGINT AS line, []::BIGINT[] AS lines, NULL::VARCHAR AS blanks,
            {columns}{kind}
        WHERE false"""


def _present_columns(workspace: Workspace, file: str) -> set[str]:
    return set(pq.read_schema(workspace.source_table(file)).names)


def _cell(cell: Cell | None, present: set[str]) -> str:
    if cell is None:
        return "NULL::VARCHAR"
    if cell.constant is not None:
        return f"'{cell.constant}'::constant"
    names = [name for name in (cell.column, cell.fallback) if name in present]
    given = [f"as_{cell.convert}({_trimmed(name)})" for name in names]
    value = f"coalesce({', '.join(given)})" if given else "NULL::VARCHAR"
    return f"'{cell.prefix}' || {value}" if cell.prefix else value


def _trimmed(name: str) -> str:
    """The trimmed value of a source column, beside the value as delivered."""
    return engine.name(f"{name} trimmed")


def _kind(entity: Entity, role: Cell | None, present: set[str]) -> str:
    if entity.name != "users":
        return ""
    cases = " ".join(f"WHEN '{name}' THEN '{kind}'" for name, kind in KINDS.items())
    return f", CASE {_cell(role, present)} {cases} END AS kind"


def _covered(mapping: Mapping, declared: Format) -> set[str]:
    """Source columns whose blanks another entity of the same line reports already."""
    earlier: set[str] = set()
    for other in declared.mappings:
        if other.file == mapping.file and other.entity == mapping.entity:
            break
        if other.file == mapping.file and set(other.when) <= set(mapping.when):
            earlier |= {name for cell in other.cells.values() for name in (cell.column, cell.fallback) if name}
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


def _condition(when: When, present: set[str]) -> str:
    if when.column not in present:
        return "true" if when.negate else "false"
    value = f"trimmed({engine.name(when.column)})"
    test = f"{value} IS NOT NULL"
    if when.one_of:
        choices = ", ".join(f"'{choice}'" for choice in when.one_of)
        test = f"coalesce(lower({value}), '') IN ({choices})"
    return f"NOT ({test})" if when.negate else test
