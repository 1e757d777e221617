"""What of the canonical rows may load: rejected lines out, dependants held with them, rows of one record made one.

The findings decide (their code's scope and severity); no rule about values stands here. Most rows load as they are,
so that only the others are written: which canonical rows are set aside, and which records were made out of them. An
entity that loads as it is has neither.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from enrollsync.formats import Format
from enrollsync.ingest.normalise import BETWEEN_BLANKS
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.validate import consequences
from enrollsync.words.canonical import BY_NAME, ENTITIES, MEMBERSHIPS, REMOVE, Entity
from enrollsync.words.codes import CODES, Scope, Severity

REMOVAL_COLUMNS = tuple(dict.fromkeys(name for entity in ENTITIES for name in entity.identity))
"""The columns by which what is to be removed is named."""


def accept(run: Run) -> dict[str, dict[str, int]]:
    """Write `accepted/`: for each entity what `records` reads, the `removals`, the text of what was `rejected`.

    Returns, for each entity, how many `records` may load, and how many of the rows read were `rejected`, `held` or
    `collapsed` into others.
    """
    workspace, manifest = run.place, run.manifest
    how = engine.table_or_view(workspace.canonical)
    with engine.connect(workspace.root) as connection:
        loses = _load_findings(connection, workspace)
        for entity in ENTITIES:
            connection.execute(_rows(entity, workspace, how))
            connection.execute(_lost_lines(entity) if loses else _nothing_lost(entity))
        removing = _removing(connection, manifest)
        connection.execute(_removals(removing, run.format))
        whole = _whole_entities(connection, loses=loses) if not removing else set()
        for entity in ENTITIES:
            connection.execute(_nothing_unusable(entity) if entity.name in whole else _unusable(entity, removing))
            connection.execute(_several(entity))
            unfound = _unfound(entity, run)
            if entity.name in whole and not unfound and _is_as_it_should_be(connection, entity):
                _load_as_it_is(entity, workspace)
            else:
                connection.execute(_touched(entity, unfound))
                engine.write_parquet(connection, _aside(entity), workspace.aside_table(entity.name))
                engine.write_parquet(connection, _remade(entity), workspace.accepted_table(entity.name))
            connection.execute(f"CREATE VIEW {entity.name}_records AS {records(entity, workspace)}")
            connection.execute(_set_aside(entity, removing, entity.name in whole))
        engine.write_parquet(connection, "SELECT * FROM removals", workspace.accepted_table("removals"))
        connection.register("brought", _entities_of_files(run.format))
        engine.write_parquet(connection, _rejected_text(workspace), workspace.accepted_table("rejected"))
        consequences.tell(connection, workspace)
        return {entity.name: _count(connection, entity, removing, manifest) for entity in ENTITIES}


def records(entity: Entity, workspace: Workspace) -> str:
    """The statement that reads what may load, one row a record: every column of the entity, and where it was said.

    `file, line` (the first that says it), `lines` (how many do), `files` (all that do), `kept` (columns whose value
    was taken away: they keep the database's). Lists are NULL where there is nothing to tell.
    """
    columns = engine.listed(entity.columns, 12)
    as_they_are = f"""
        SELECT file, line, len(lines) AS lines, NULL::VARCHAR[] AS files, NULL::VARCHAR[] AS kept,
            {columns}
        FROM {engine.parquet(workspace.canonical_table(entity.name))} AS given"""
    if not workspace.aside_table(entity.name).is_file():
        return as_they_are
    return f"""{as_they_are}
        ANTI JOIN {engine.parquet(workspace.aside_table(entity.name))} AS aside USING (row_id)
        UNION ALL
        SELECT file, line, lines, files, kept,
            {columns}
        FROM {engine.parquet(workspace.accepted_table(entity.name))}"""


def _load_findings(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> bool:
    """Create `findings` and the `lost_lines` of whole files' lines; whether any line is lost."""
    codes = pa.table({"code": list(CODES), "scope": [code.scope.value for code in CODES.values()]})
    connection.register("scopes", codes)
    connection.execute(f"""
        CREATE TABLE findings AS
        SELECT found.*, scope
        FROM {engine.parquet(workspace.findings)} AS found
        JOIN scopes USING (code)""")
    connection.execute(f"""
        CREATE TABLE lost_lines AS
        SELECT DISTINCT file, line
        FROM findings
        WHERE severity = '{Severity.CRITICAL}' AND scope NOT IN ('{Scope.RECORD}', '{Scope.PLAN}')""")
    critical = f"SELECT EXISTS (FROM findings WHERE severity = '{Severity.CRITICAL}')"
    return bool(engine.one_row(connection, critical)[0])


def _rows(entity: Entity, workspace: Workspace, how: str) -> str:
    return f"""
        CREATE {how} {entity.name}_rows AS
        FROM {engine.parquet(workspace.canonical_table(entity.name))}"""


def _lost_lines(entity: Entity) -> str:
    """Lines that do not load for this entity, and whether a finding of its own is the reason."""
    return f"""
        CREATE TABLE {entity.name}_lost AS
        WITH exploded AS (
            SELECT row_id, file, unnest(lines) AS line
            FROM {entity.name}_rows
        ),
        own AS (
            SELECT DISTINCT row_id, file, line
            FROM findings
            WHERE entity = '{entity.name}' AND severity = '{Severity.CRITICAL}' AND row_id IS NOT NULL
        )
        SELECT row_id, file, line, own.row_id IS NOT NULL AS own
        FROM exploded
        LEFT JOIN lost_lines USING (file, line)
        LEFT JOIN own USING (row_id, file, line)
        WHERE lost_lines.line IS NOT NULL OR own.row_id IS NOT NULL"""


def _nothing_lost(entity: Entity) -> str:
    return f"CREATE TABLE {entity.name}_lost (row_id BIGINT, file VARCHAR, line BIGINT, own BOOLEAN)"


def _removing(connection: duckdb.DuckDBPyConnection, manifest: RunManifest) -> set[str]:
    """The entities of which some row asks for a removal."""
    asking = (entity.name for entity in ENTITIES if manifest.may_say(entity.name, "action"))
    asked = "SELECT count(*) FROM {0}_rows WHERE action = '{1}'"
    return {name for name in asking if engine.one_row(connection, asked.format(name, REMOVE)) != (0,)}


def _removals(removing: set[str], declared: Format) -> str:
    """What rows ask to be removed: `entity`, the columns of its identity (those of others are NULL), `file, line`.

    A record goes whatever other rows say; a link stays that another row brings, as one does that was made anew. A
    membership without a role stands for every role that the person has in that school.
    """
    columns = ", ".join(f"{name} VARCHAR" for name in REMOVAL_COLUMNS)
    asked = [_removed_by(entity, declared) for entity in ENTITIES if entity.name in removing]
    return f"""
        CREATE TABLE removals (entity VARCHAR, {columns}, file VARCHAR, line BIGINT);
        {"".join(f"INSERT INTO removals BY NAME {query};" for query in asked)}"""


def _removed_by(entity: Entity, declared: Format) -> str:
    identity = ", ".join(entity.identity)
    asked = f"FROM {entity.name}_rows ANTI JOIN {entity.name}_lost USING (row_id) WHERE action = '{REMOVE}'"
    if entity is MEMBERSHIPS and declared.files_of_all_roles:
        files = ", ".join(map(engine.literal, declared.files_of_all_roles))
        asked = f"SELECT * REPLACE (CASE WHEN file NOT IN ({files}) THEN role END AS role) {asked}"
    brought = f"""
        ANTI JOIN (FROM {entity.name}_rows WHERE action IS DISTINCT FROM '{REMOVE}') AS brought
            ON {same_link(entity, "asked", "brought")}"""
    return f"""
        SELECT '{entity.name}' AS entity, {identity}, file, min(line) AS line
        FROM ({asked}) AS asked{"" if entity.key else brought}
        GROUP BY {identity}, file"""


def same_link(entity: Entity, removal: str, other: str) -> str:
    """SQL for whether a removal means that link: one that names no role means every role."""
    ends = [f"{removal}.{name} = {other}.{name}" for name in entity.links]
    return " AND ".join(
        [*ends, *(f"coalesce({removal}.{name} = {other}.{name}, true)" for name in entity.told_apart_by)]
    )


def _is_removed(entity: Entity, removing: set[str]) -> str:
    """SQL for whether a row speaks of something that goes: its own record or link, or for a link one of its ends."""
    ends = {} if entity.key else entity.links
    named = [(entity.name, entity.identity), *((target, (link,)) for link, target in ends.items())]
    parts = [
        f"""coalesce(({", ".join(columns)}) IN (
            SELECT ({", ".join(BY_NAME[name].identity)}) FROM removals WHERE entity = '{name}'
        ), false)"""
        for name, columns in named
        if name in removing
    ]
    return " OR ".join(parts) or "false"


def _whole_entities(connection: duckdb.DuckDBPyConnection, *, loses: bool) -> set[str]:
    """The entities of which every row may load: nothing is lost, and all that they hang on is whole too.

    Most nights that is all of them, and millions of rows need not be looked at one by one.
    """
    if not loses:
        return {entity.name for entity in ENTITIES}
    whole: set[str] = set()
    for entity in ENTITIES:
        losses = f"SELECT count(*) FROM {entity.name}_lost"
        if whole.issuperset(entity.links.values()) and engine.one_row(connection, losses) == (0,):
            whole.add(entity.name)
    return whole


def _nothing_unusable(entity: Entity) -> str:
    return f"""
        CREATE TABLE {entity.name}_unusable (row_id BIGINT, gone BIGINT, holds BOOLEAN);
        CREATE VIEW {entity.name}_usable AS
        SELECT *, len(lines) AS weight
        FROM {entity.name}_rows"""


def _unusable(entity: Entity, removing: set[str]) -> str:
    """Rows with lost lines, and rows that may not load: no line of theirs is left, or what they hang on may not."""
    conditions = ["len(lines) > coalesce(gone, 0)"]
    conditions += [f"({link} IS NULL OR {_not_held(link, target)})" for link, target in entity.links.items()]
    conditions += [f"action IS DISTINCT FROM '{REMOVE}'", f"NOT ({_is_removed(entity, removing)})"] if removing else []
    return f"""
        CREATE TABLE {entity.name}_unusable AS
        WITH lost AS (
            SELECT row_id, count(*) AS gone
            FROM {entity.name}_lost
            GROUP BY row_id
        ),
        judged AS (
            SELECT row_id, coalesce(gone, 0) AS gone, NOT ({" AND ".join(conditions)}) AS holds
            FROM {entity.name}_rows
            LEFT JOIN lost USING (row_id)
        )
        FROM judged
        WHERE gone > 0 OR holds IS NOT false;
        CREATE VIEW {entity.name}_usable AS
        SELECT given.*, len(lines) - coalesce(gone, 0) AS weight
        FROM {entity.name}_rows AS given
        LEFT JOIN {entity.name}_unusable USING (row_id)
        WHERE {entity.name}_unusable.row_id IS NULL OR holds = false"""


def _not_held(link: str, target: str) -> str:
    """What is in the batch but may not load holds what hangs on it; what is only in the database does not."""
    return f"""{link} NOT IN (
            SELECT source_key
            FROM {target}_rows
            SEMI JOIN (FROM {target}_unusable WHERE holds IS NOT false) USING (row_id)
            ANTI JOIN {target}_records USING (source_key)
            WHERE source_key IS NOT NULL
        )"""


def _unfound(entity: Entity, run: Run) -> str:
    """Values of a delta that are looked up where only changes stand: what is not there keeps what the roster has."""
    if run.manifest.mode_of(entity.name) == "snapshot":
        return ""
    between = engine.literal(BETWEEN_BLANKS)
    cells = (mapping.cells for mapping in run.format.mappings if mapping.entity == entity.name)
    lacking = {
        name: f"{name} IS NULL"
        if cell.lookup.may_lack
        else f"list_contains(string_split(unfound, {between}), {engine.literal(str(cell.column))})"
        for own in cells
        for name, cell in own.items()
        if cell.lookup
    }
    return "".join(
        f"""
                UNION ALL
                SELECT row_id, '{name}', '{Scope.VALUE}'
                FROM {entity.name}_usable
                WHERE {condition}"""
        for name, condition in lacking.items()
    )


def _several(entity: Entity) -> str:
    """Records that several usable rows say.

    Repeats are looked for by hash first, which takes a third of the time that millions of pairs of texts do.
    """
    identity = ", ".join(entity.identity)
    return f"""
        CREATE TABLE {entity.name}_several AS
        WITH repeated AS (
            SELECT hash({identity}) AS mark
            FROM {entity.name}_usable
            GROUP BY mark
            HAVING count(*) > 1
        )
        SELECT {identity}
        FROM {entity.name}_usable
        WHERE hash({identity}) IN (FROM repeated)
        GROUP BY ALL
        HAVING count(*) > 1"""


def _is_as_it_should_be(connection: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    """Whether nothing was found that takes a value away, and no record is said twice."""
    query = f"""
        SELECT NOT EXISTS (FROM {entity.name}_several) AND NOT EXISTS (
            FROM findings
            WHERE entity = '{entity.name}' AND scope IN ('{Scope.VALUE}', '{Scope.CLEARED}')
        )"""
    return bool(engine.one_row(connection, query)[0])


def _load_as_it_is(entity: Entity, workspace: Workspace) -> None:
    """Every row of the entity may load as it stands: nothing is set aside, not even by an earlier try."""
    workspace.aside_table(entity.name).unlink(missing_ok=True)
    workspace.accepted_table(entity.name).unlink(missing_ok=True)


def _touched(entity: Entity, unfound: str) -> str:
    """Usable rows that do not load as they are: several say one record, lines are lost, or a value is taken away.

    `dropped` columns keep the database's value, `emptied` ones are cleared.
    """
    identity = ", ".join(entity.identity)
    return f"""
        CREATE TABLE {entity.name}_touched AS
        WITH taken AS (
            SELECT row_id,
                list(DISTINCT canonical) FILTER (scope = '{Scope.VALUE}') AS dropped,
                list(DISTINCT canonical) AS emptied
            FROM (
                SELECT row_id, canonical, scope
                FROM findings
                WHERE entity = '{entity.name}' AND scope IN ('{Scope.VALUE}', '{Scope.CLEARED}'){unfound}
            )
            GROUP BY row_id
        ),
        reasons AS (
            SELECT row_id FROM taken
            UNION
            SELECT row_id FROM {entity.name}_unusable WHERE gone > 0
            UNION
            SELECT row_id FROM {entity.name}_usable SEMI JOIN {entity.name}_several USING ({identity})
        )
        SELECT given.* EXCLUDE (dropped, emptied) REPLACE ({_emptied(entity)}),
            coalesce(dropped, []) AS kept
        FROM (
            SELECT *
            FROM {entity.name}_usable
            SEMI JOIN reasons USING (row_id)
            LEFT JOIN taken USING (row_id)
        ) AS given"""


def _emptied(entity: Entity) -> str:
    names = [name for name in (entity.identifier, *entity.values, "status") if name]
    return ", ".join(
        f"CASE WHEN coalesce(list_contains(emptied, '{name}'), false) THEN NULL ELSE {name} END AS {name}"
        for name in names
    )


def _aside(entity: Entity) -> str:
    """The canonical rows that do not load as they are."""
    return f"""
        SELECT row_id FROM {entity.name}_unusable
        UNION
        SELECT row_id FROM {entity.name}_touched"""


def _remade(entity: Entity) -> str:
    """The records of touched rows. Where rows disagree, the most frequent value, ties by code-point order (rule 6)."""
    identity = ", ".join(entity.identity)
    others = [name for name in entity.columns if name not in entity.identity]
    chosen = ", ".join(f"max(value) FILTER (name = '{name}') AS {name}" for name in others)
    return f"""
        WITH merging AS (
            FROM {entity.name}_touched
            SEMI JOIN {entity.name}_several USING ({identity})
        ),
        votes AS (
            SELECT {identity}, name, value, sum(weight) AS votes
            FROM (UNPIVOT merging ON {", ".join(others)} INTO NAME name VALUE value)
            GROUP BY ALL
        ),
        elected AS (
            SELECT {identity}, name, value
            FROM votes
            QUALIFY row_number() OVER (
                PARTITION BY {identity}, name
                ORDER BY name = 'is_primary' AND value = 'true' DESC, votes DESC, value
            ) = 1
        ),
        merged AS (
            SELECT {identity}, {chosen}
            FROM {entity.name}_several
            LEFT JOIN elected USING ({identity})
            GROUP BY ALL
        ),
        origins AS (
            SELECT {identity}, arg_min(file, (file, line)) AS file, arg_min(line, (file, line)) AS line,
                sum(weight)::BIGINT AS lines, list_sort(list(DISTINCT file)) AS files,
                list_distinct(flatten(list(kept))) AS kept
            FROM merging
            GROUP BY ALL
        )
        SELECT file, line, weight::BIGINT AS lines, [file] AS files, kept, {", ".join(entity.columns)}
        FROM {entity.name}_touched
        ANTI JOIN {entity.name}_several USING ({identity})
        UNION ALL
        SELECT file, line, lines, files, kept, {", ".join(entity.columns)}
        FROM merged
        JOIN origins USING ({identity})"""


def _rejected_text(workspace: Workspace) -> str:
    """`entity, file, line, raw`: what rejected lines say, for telling whose they may be."""
    parts = [
        f"""
        SELECT '{entity.name}' AS entity, file, line,
            concat_ws(',', {", ".join(_without_kind(name) for name in entity.columns)}) AS raw
        FROM {entity.name}_rows
        SEMI JOIN {entity.name}_lost USING (row_id)"""
        for entity in ENTITIES
    ]
    return f"""
        SELECT DISTINCT brought.entity, file, line, raw
        FROM {engine.parquet(workspace.malformed)}
        JOIN brought USING (file)
        UNION ALL
        {" UNION ALL ".join(parts)}"""


def _entities_of_files(declared: Format) -> pa.Table:
    """`file, entity`: what each file's lines speak of."""
    pairs = sorted({(mapping.file, mapping.entity) for mapping in declared.mappings})
    return pa.table({"file": [file for file, _ in pairs], "entity": [entity for _, entity in pairs]})


def _without_kind(name: str) -> str:
    return engine.without_kind(name) if name.endswith("source_key") else name


def _count(
    connection: duckdb.DuckDBPyConnection, entity: Entity, removing: set[str], manifest: RunManifest
) -> dict[str, int]:
    """Rows read = records + rejected + held + collapsed."""
    name = entity.name
    read, records, rejected, held = engine.one_row(
        connection,
        f"""
        SELECT
            (SELECT coalesce(sum(len(lines)), 0) FROM {name}_rows {_upserts(entity, removing)}),
            (SELECT count(*) FROM {name}_records),
            (SELECT count(*) FROM {name}_lost WHERE own),
            (SELECT count(*) FROM {name}_set_aside)""",
    )
    malformed = sum(file.malformed for file in manifest.files if file.entity == name)
    collapsed = int(read) - records - rejected - held
    return {"records": records, "rejected": rejected + malformed, "held": held, "collapsed": collapsed}


def _set_aside(entity: Entity, removing: set[str], whole: bool) -> str:
    """Records that nothing is wrong with, but of which no row loads: each with the first row that says it."""
    identity = ", ".join(entity.identity)
    columns = ", ".join(dict.fromkeys((*entity.identity, *entity.links)))
    kept_back = f"""
        ANTI JOIN (FROM {entity.name}_lost WHERE own) USING (row_id)
        ANTI JOIN {entity.name}_usable USING ({identity})
        {_upserts(entity, removing)}
        QUALIFY row_number() OVER (PARTITION BY {identity} ORDER BY file, line) = 1"""
    return f"""
        CREATE TABLE {entity.name}_set_aside AS
        SELECT row_id, file, line, {columns}
        FROM {entity.name}_rows{" WHERE false" if whole else kept_back}"""


def _upserts(entity: Entity, removing: set[str]) -> str:
    """Rows that bring something: not those that ask for a removal, nor what speaks of what goes with one."""
    if not removing:
        return ""
    brings = f"action IS DISTINCT FROM '{REMOVE}' AND NOT ({_is_removed(entity, removing)})"
    return f"WHERE {brings} OR row_id IN (SELECT row_id FROM {entity.name}_lost WHERE own)"
