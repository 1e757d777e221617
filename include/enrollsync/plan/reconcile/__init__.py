"""Accepted rows against the database as it is: the operations between both, joined set-wise in DuckDB.

Reads Parquet, writes Parquet; never touches the database itself. `matching` says which row is which record,
`changes` what a row changes, `absence` what goes.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from enrollsync.database.schema import primary_key
from enrollsync.formats import ID_CHANGES_FILE, Format
from enrollsync.plan.guard import find_holds
from enrollsync.plan.hints import all_terms_ended
from enrollsync.plan.plan import Plan, count_operations, gather_operations, plan_id, write_operations
from enrollsync.plan.reconcile.absence import plan_absences
from enrollsync.plan.reconcile.changes import plan_changes
from enrollsync.plan.reconcile.clashes import CODES_OF_CLASHES
from enrollsync.plan.reconcile.matching import match_entities
from enrollsync.plan.reconcile.rekeying import propose_id_changes
from enrollsync.plan.shares import measure
from enrollsync.run import engine
from enrollsync.run.workspace import OPERATIONS, RunManifest, Workspace
from enrollsync.settings import District
from enrollsync.validate.consequences import SET_ASIDE_TOO, WAITS, waits_for
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES, Entity
from enrollsync.words.codes import CODES

_PLANNED_CODES = ("PLAN-AMBIGUOUS", "PLAN-RECYCLED", "PLAN-REIDENTIFY-TAKEN", "ID-LEADING-ZERO")
_ASKED_CODES = ("REF-UNKNOWN", WAITS, *CODES_OF_CLASHES)
"""Codes that checks give too, to rows that they name by `row_id`."""


def reconcile(
    workspace: Workspace, manifest: RunManifest, district: District, declared: Format, state: Path, state_version: int,
    accepted_counts: dict[str, dict[str, int]],
) -> Plan:  # fmt: skip
    """Make the plan that takes the state exported to `state` to the accepted rows, and write it to `plan/`.

    Findings of its own (held rows, references that nothing answers) replace those of an earlier try.
    """
    with engine.connect(workspace.root) as connection:
        for entity in ENTITIES:
            connection.execute(_stored(entity, state))
        for name, file in (("history", "identifier_history"), ("undos", "undos")):
            connection.execute(f"CREATE VIEW stored_{name} AS FROM {engine.parquet(state / f'{file}.parquet')}")
        match_entities(connection, workspace, manifest, district, declared)
        changed = plan_changes(connection, manifest)
        plan_absences(connection, workspace, manifest, declared)
        write_operations(connection, workspace)
        gather_operations(connection, workspace.plan)
        _write_findings(connection, workspace, manifest, declared)
        planned = count_operations(connection)
        counts = {
            entity.name: planned[entity.name]
            | _count(connection, entity, accepted_counts[entity.name], changed[entity.name])
            for entity in ENTITIES
        }
        shares = measure(connection)
        holds = find_holds(connection, manifest, district, declared, shares)
        plan = Plan(
            plan_id=plan_id(connection, district.district_id, declared.source.name, state_version),
            district_id=district.district_id,
            source=declared.source.name,
            state_version=state_version,
            operations=sum(counts[entity][name] for entity in counts for name in OPERATIONS),
            counts=counts,
            shares=shares,
            notices=all_terms_ended(connection, workspace, manifest, declared),
            holds=[*holds, *propose_id_changes(connection, workspace, waits=bool(holds))],
        )
        engine.write_parquet(connection, _organizations_summary(), workspace.organizations_summary)
        plan.save(workspace.plan)
        return plan


def _stored(entity: Entity, state: Path) -> str:
    return f"""
        CREATE VIEW stored_{entity.name} AS
        FROM {engine.parquet(state / f"{entity.name}.parquet")};
        CREATE VIEW db_{entity.name} AS
        FROM stored_{entity.name}
        WHERE status <> 'removed'"""


def _write_findings(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, manifest: RunManifest, declared: Format
) -> None:
    """Add what only the database could tell; a reference is asked of it in a delta alone."""
    parts = [_held_findings(entity, declared) for entity in ENTITIES if entity.key]
    parts += [_unknown_findings(entity, link, declared) for entity in ENTITIES for link in entity.links]
    parts += [_id_change_findings(entity, declared) for entity in ENTITIES if entity.key]
    parts += [_unknown_removals(entity, declared) for entity in ENTITIES if manifest.may_say(entity.name, "action")]
    parts.append(_clash_findings(declared))
    parts += [_waiting_findings(entity) for entity in ENTITIES if _any_waits(connection, entity)]
    connection.register("names", _names(manifest, declared))
    ours = ", ".join(f"'{code}'" for code in (*_PLANNED_CODES, *_ASKED_CODES))
    engine.write_parquet(
        connection,
        f"""
        SELECT *
        FROM (
            SELECT * FROM {engine.parquet(workspace.findings)} WHERE row_id IS NOT NULL OR code NOT IN ({ours})
            UNION ALL BY NAME
            SELECT found.* EXCLUDE ("column"), found."column" AS canonical,
                coalesce(names.source, found."column") AS "column"
            FROM ({" UNION ALL BY NAME ".join(parts)}) AS found
            LEFT JOIN names USING (file, entity, "column")
        )
        ORDER BY file, line, code""",
        workspace.findings,
    )


def _names(manifest: RunManifest, declared: Format) -> pa.Table:
    """`file, entity, column, source`: what each file calls the canonical columns."""
    rows = [
        (file.name, entity.name, column, declared.called(file.name, entity.name, column))
        for file in manifest.files
        for entity in ENTITIES
        for column in entity.columns
    ]
    columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
    return pa.table(columns, names=["file", "entity", "column", "source"])


def _held_findings(entity: Entity, declared: Format) -> str:
    severities = " ".join(f"WHEN '{code}' THEN '{_severity(code, declared)}'" for code in _PLANNED_CODES)
    messages = " ".join(f"WHEN '{code}' THEN '{_sentence(code)}'" for code in _PLANNED_CODES)
    return f"""
            SELECT DISTINCT code, CASE code {severities} END AS severity, '{entity.name}' AS entity, new.file, new.line,
                '{entity.identifier}' AS "column", CASE code {messages} END AS message
            FROM {entity.name}_held
            JOIN {entity.name}_accepted AS new USING (source_key)"""


def _unknown_findings(entity: Entity, link: str, declared: Format) -> str:
    target = entity.links[link]
    return f"""
            SELECT 'REF-UNKNOWN' AS code, '{_severity("REF-UNKNOWN", declared)}' AS severity,
                '{entity.name}' AS entity, file, line, '{link}' AS "column",
                'there is no such record among the {target} of the batch or the roster' AS message
            FROM {entity.name}_unlinked
            WHERE NOT waits AND {link} NOT IN (SELECT source_key FROM {target}_keys)"""


def _any_waits(connection: duckdb.DuckDBPyConnection, entity: Entity) -> bool:
    return bool(engine.one_row(connection, f"SELECT count(*) FROM {entity.name}_unlinked WHERE waits")[0])


def _waiting_findings(entity: Entity) -> str:
    """What each record waits for that hangs on one which waits for a decision, or on nothing that is known."""
    identity = ", ".join(entity.identity)
    causes = " UNION ALL ".join(_waits_for_linked(entity, link, place) for place, link in enumerate(entity.links))
    return f"""
            SELECT '{WAITS}' AS code, '{CODES[WAITS].severity}' AS severity, '{entity.name}' AS entity, file, line,
                NULL AS "column", coalesce(arg_min(told, place), 'waits for a record that waits') AS message
            FROM {entity.name}_unlinked
            LEFT JOIN ({causes}) USING ({identity})
            WHERE waits
            GROUP BY {identity}, file, line"""


def _waits_for_linked(entity: Entity, link: str, place: int) -> str:
    target = BY_NAME[entity.links[link]]
    identity = ", ".join(f"this.{name}" for name in entity.identity)
    return f"""
                SELECT {identity}, {place} AS place,
                    {waits_for("other.line", "other.file")} || ': its {target.singular} ' || CASE
                        WHEN held.code IS NOT NULL THEN 'waits for a decision (' || held.code || ')'
                        WHEN hanging.waits THEN '{SET_ASIDE_TOO}'
                        ELSE 'was rejected'
                    END AS told
                FROM {entity.name}_unlinked AS this
                JOIN {target.name}_waiting AS waiting ON waiting.source_key = this.{link}
                JOIN {target.name}_accepted AS other ON other.source_key = waiting.source_key
                LEFT JOIN {target.name}_held AS held ON held.source_key = waiting.source_key
                LEFT JOIN {target.name}_unlinked AS hanging ON hanging.source_key = waiting.source_key
                WHERE this.waits"""


def _id_change_findings(entity: Entity, declared: Format) -> str:
    """Lines of `id_changes.csv` that cannot be followed."""
    return f"""
            SELECT 'REF-UNKNOWN' AS code, '{_severity("REF-UNKNOWN", declared)}' AS severity,
                '{ID_CHANGES.name}' AS entity, '{ID_CHANGES_FILE.name}' AS file, line, 'old_id' AS "column",
                'no record of this kind has that identifier' AS message
            FROM {entity.name}_renames
            WHERE fate = 'unknown'
            UNION ALL BY NAME
            SELECT DISTINCT 'PLAN-REIDENTIFY-TAKEN' AS code,
                '{_severity("PLAN-REIDENTIFY-TAKEN", declared)}' AS severity, '{ID_CHANGES.name}' AS entity,
                '{ID_CHANGES_FILE.name}' AS file, line, 'new_id' AS "column",
                '{_sentence("PLAN-REIDENTIFY-TAKEN")}' AS message
            FROM {entity.name}_renames
            LEFT JOIN {entity.name}_held AS held ON held.old_key = key
            WHERE fate = 'taken' OR fate = 'open' AND held.code = 'PLAN-REIDENTIFY-TAKEN'"""


def _unknown_removals(entity: Entity, declared: Format) -> str:
    """Removals of what is neither in the batch nor in the roster; what was removed before is known."""
    links = {"source_key": entity.name} if entity.key else entity.links
    joins = "".join(
        f"""
            LEFT JOIN {target}_keys AS {target}_end ON {target}_end.source_key = removal.{link}"""
        for link, target in links.items()
    )
    ends = [f"{target}_end.key" for target in links.values()]
    known = f"SELECT ({', '.join(primary_key(entity))}) FROM stored_{entity.name}"
    unknown = f"{ends[0]} IS NULL" if entity.key else f"coalesce(({', '.join(ends)}) NOT IN ({known}), true)"
    called = f"such {entity.singular}" if entity.key else "such record among the " + entity.name
    return f"""
            SELECT 'REF-UNKNOWN' AS code, '{_severity("REF-UNKNOWN", declared)}' AS severity,
                '{entity.name}' AS entity, file, line, '{entity.identifier or next(iter(links))}' AS "column",
                'there is no {called} to remove' AS message
            FROM {entity.name}_removals AS removal{joins}
            WHERE {unknown}"""


def _clash_findings(declared: Format) -> str:
    severities = " ".join(f"WHEN '{code}' THEN '{_severity(code, declared)}'" for code in CODES_OF_CLASHES)
    return f"""
            SELECT code, CASE code {severities} END AS severity, 'users' AS entity, new.file, new.line, "column",
                'somebody in the roster whom the batch does not mention has it' AS message
            FROM users_clashes
            JOIN users_accepted AS new USING (source_key)"""


def _severity(code: str, declared: Format) -> str:
    return CODES[code].severity_in(declared.source.name).value


def _sentence(code: str) -> str:
    return f"{CODES[code].title[0].lower()}{CODES[code].title[1:]}; the row waits"


def _count(
    connection: duckdb.DuckDBPyConnection, entity: Entity, accepted: dict[str, int], changed: int
) -> dict[str, int]:
    """What led to no operation. Read = created + updated + re-identified + reactivated + these."""
    name = entity.name
    known, unknown, read = engine.one_row(
        connection,
        f"""
        SELECT
            (SELECT count(*) FROM {name}_{"known" if entity.key else "linked"}),
            (SELECT count(*) FROM {name}_unlinked WHERE NOT waits),
            (SELECT count(*) FROM {name}_accepted)""",
    )
    return {
        "unchanged": known - changed,
        "held": accepted["held"] + read - known - unknown,
        "rejected": accepted["rejected"] + unknown,
        "collapsed": accepted["collapsed"],
    }


def _organizations_summary() -> str:
    """For each organization, how many of its people and classes change."""
    return f"""
        WITH people AS (
            SELECT coalesce(after.organization_key, old.organization_key) AS organization_key, user_key AS key,
                'users' AS entity
            FROM (FROM db_memberships WHERE is_primary AND status = 'active') AS old
            FULL JOIN (FROM memberships_after WHERE is_primary) AS after USING (user_key)
            UNION ALL
            SELECT coalesce(after.organization_key, old.organization_key), class_key, 'classes'
            FROM (FROM db_classes WHERE status = 'active') AS old
            FULL JOIN classes_after AS after USING (class_key)
        ),
        placed AS (
            SELECT people.organization_key, operation, count(*) AS n
            FROM people
            LEFT JOIN (
                SELECT 'users' AS entity, user_key AS key, operation FROM users_after
                UNION ALL
                SELECT 'classes', class_key, operation FROM classes_after
            ) AS done ON done.entity = people.entity AND done.key = people.key
            GROUP BY ALL
        )
        SELECT {engine.masked("coalesce(after.organization_id, old.organization_id, placed.organization_key::VARCHAR)")}
                AS organization_id,
            coalesce(any_value(after.name), any_value(old.name)) AS name,
            coalesce(sum(n) FILTER (placed.operation IN ('create', 'reactivate')), 0)::BIGINT AS created,
            coalesce(sum(n) FILTER (placed.operation IN ('update', 'reidentify')), 0)::BIGINT AS updated,
            coalesce(sum(n) FILTER (placed.operation = 'deactivate'), 0)::BIGINT AS deactivated,
            coalesce(sum(n) FILTER (placed.operation IS NULL), 0)::BIGINT AS unchanged
        FROM placed
        LEFT JOIN db_organizations AS old USING (organization_key)
        LEFT JOIN organizations_after AS after USING (organization_key)
        WHERE placed.organization_key IS NOT NULL
        GROUP BY 1
        ORDER BY 1"""
