"""A roster that plans change without a database, and deliveries that nobody checks: reconciling alone, in a blink.

Rows are those of Batch Upload (`nightly.student`), also where the district's source is called `clever`: then source
keys carry the kind of person.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from canonical_rows import Row, manifest_for, run_for, write_canonical
from enrollsync.database.forgotten import write_forgotten
from enrollsync.database.merges import write_merges
from enrollsync.database.schema import BASE, IDENTIFIER_HISTORY, arrow_schema, columns_of, primary_key, typed_column
from enrollsync.formats import ID_CHANGES_FILE
from enrollsync.plan.guard import Past
from enrollsync.plan.merging import plan_merge
from enrollsync.plan.plan import Plan
from enrollsync.plan.reconcile import reconcile
from enrollsync.run.run import Run
from enrollsync.run.workspace import Merge, SourceFile, Workspace
from enrollsync.validate.accept import accept
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES, KINDS
from enrollsync.words.findings import schema

_VALUES = {
    "user_district_id": "userDistrictId", "user_state_id": "userStateId", "role": "userRole",
    "given_name": "userFirstName", "middle_name": "userMiddleName", "family_name": "userLastName",
    "email": "userEmail", "grade": "userGrade", "birth_date": "userBirthDate",
}  # fmt: skip
_CLASS_VALUES = {"name": "className", "course_code": "course", "period": "period", "term": "term"}


@dataclass
class Planned:
    """What one delivery would change."""

    plan: Plan
    held: list[tuple[str, str]]
    """Code and identifier of each row that waits, sorted."""
    operations: dict[str, list[dict[str, Any]]]
    """Entity -> rows of the plan."""

    def holds(self) -> set[str]:
        """The codes for which the whole plan waits."""
        return {hold.code for hold in self.plan.holds}

    def done(self, entity: str = "users") -> dict[str, str]:
        """Identifier -> operation."""
        named = str(BY_NAME[entity].identifier)
        return {row[named]: row["operation"] for row in self.operations[entity]}

    def outcome(self, identifier: str) -> str | None:
        """What becomes of a person's row: an operation, the code for which it waits, or nothing."""
        return (self.done() | {held: code for code, held in self.held}).get(identifier)


@dataclass
class Roster:
    """A district's records, as its plans leave them."""

    folder: Path
    source: str = "batch_upload"
    mode: str = "delta"
    release: bool = False
    lets_go: bool = False
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {entity.name: [] for entity in ENTITIES})
    edits: list[dict[str, Any]] = field(default_factory=list)
    """What persons changed on profile pages, as `edits.parquet` has it."""
    merges: dict[int, int] = field(default_factory=dict)
    """Key of who was merged -> key of who was kept."""
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    workspace: Workspace = field(init=False)

    def plan(self, rows: Iterable[Row], rejected: Iterable[str] = (), id_changes: str = "") -> Planned:
        """Plan a delivery; rows of the people in `rejected` (identifiers) are rejected by some check.

        `id_changes` is the text of such a file.
        """
        delivered = list(rows)
        self.workspace = Workspace(self.folder / f"run-{next(self.numbers)}").create()
        file = "users.csv" if self.source == "batch_upload" else "students.csv"
        tables = {name: _merged(name, made, file) for name, made in _canonical(delivered, self.source).items()}
        manifest = manifest_for(
            self.source, mode=self.mode, release=self.release, lets_go=self.lets_go, supplied=_supplied(file)
        )
        write_canonical(self.workspace, tables)
        changes = _write_id_changes(self.workspace, id_changes)
        manifest.files.extend([changes] if id_changes else [])
        _write_findings(self.workspace, file, [2 + n for n, row in enumerate(delivered) if row["userId"] in rejected])
        self._write_state()
        run = run_for(manifest, place=self.workspace)
        manifest.checked = _accepted(run)
        plan = reconcile(run, 1, Past())
        operations = {e.name: pq.read_table(self.workspace.plan_table(e.name)).to_pylist() for e in ENTITIES}
        return Planned(plan, self._held(delivered), operations)

    def night(self, rows: Iterable[Row], rejected: Iterable[str] = (), id_changes: str = "") -> Planned:
        """Plan a delivery and apply the plan, whatever holds it."""
        planned = self.plan(rows, rejected, id_changes)
        self._apply(planned.operations)
        return planned

    def merge(self, gone: int, kept: int) -> None:
        """Merge two people, by their keys."""
        self.workspace = Workspace(self.folder / f"run-{next(self.numbers)}").create()
        self._write_state()
        plan_merge(self.workspace, "demo", Merge(gone=gone, kept=kept), 1)
        self._apply({e.name: pq.read_table(self.workspace.plan_table(e.name)).to_pylist() for e in ENTITIES})
        self.merges = {key: kept if left == gone else left for key, left in self.merges.items()} | {gone: kept}

    def edit(self, key: int, identifier: str) -> None:
        """Give somebody another identifier, by their key, as a profile page does."""
        (row,) = (row for row in self.tables["users"] if row["user_key"] == key)
        before = {name: row[name] for name in ("user_id", "source_key")}
        row["source_key"] = row["source_key"].removesuffix(row["user_id"]) + identifier
        row["user_id"] = identifier
        after = {name: row[name] for name in before}
        told = {"entity": "users", "entity_key": key, "state_after": len(self.edits) + 1}
        self.edits = [*self.edits, {**told, "before_json": json.dumps(before), "after_json": json.dumps(after)}]

    def _apply(self, operations: dict[str, list[dict[str, Any]]]) -> None:
        for entity in ENTITIES:
            known = {_key(entity.name, row): row for row in self.tables[entity.name]}
            for row in operations[entity.name]:
                known[_key(entity.name, row)] = {name: row[name] for name in columns_of(entity)}
            self.tables[entity.name] = list(known.values())
            for word in (entity.identifier, "source_key") if entity.key else ():
                words = [row[word] for row in known.values() if row[word] is not None]
                assert len(words) == len(set(words)), f"{entity.name}: two have the same {word}"

    def people(self) -> dict[str, tuple[str, int]]:
        """Identifier -> given name and internal key of everybody who is active."""
        return {
            row["user_id"]: (row["given_name"], row["user_key"])
            for row in self.tables["users"]
            if row["status"] == "active"
        }

    def attending(self) -> set[tuple[int, int]]:
        """Class and user key of every active enrollment."""
        rows = self.tables["enrollments"]
        return {(row["class_key"], row["user_key"]) for row in rows if row["status"] == "active"}

    def _held(self, delivered: list[Row]) -> list[tuple[str, str]]:
        found = duckdb.sql(f"""
            SELECT DISTINCT code, line
            FROM read_parquet('{self.workspace.findings}')
            WHERE code LIKE 'PLAN-%' AND entity = 'users'
        """).fetchall()
        return sorted((code, delivered[line - 2]["userId"]) for code, line in found)

    def _write_state(self) -> None:
        for entity in ENTITIES:
            names = arrow_schema([typed_column(name) for name in columns_of(entity)])
            table = pa.Table.from_pylist(self.tables[entity.name], names)
            pq.write_table(table, self.workspace.state / f"{BASE[entity.name].name}.parquet")
        history = arrow_schema([column for column in IDENTIFIER_HISTORY.columns if column.name != "district_id"])
        pq.write_table(history.empty_table(), self.workspace.state / "identifier_history.parquet")
        undos = pa.schema([("number", pa.int64()), ("run_id", pa.string()), ("first_run", pa.string()),
                           ("takes_back", pa.bool_())])  # fmt: skip
        pq.write_table(undos.empty_table(), self.workspace.state / "undos.parquet")
        edits = pa.schema([("entity", pa.string()), ("entity_key", pa.int64()), ("state_after", pa.int64()),
                           ("before_json", pa.string()), ("after_json", pa.string())])  # fmt: skip
        pq.write_table(pa.Table.from_pylist(self.edits, edits), self.workspace.state / "edits.parquet")
        write_merges(self.merges, self.workspace.state)
        write_forgotten([], self.workspace.state)


def _key(entity: str, row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in primary_key(BY_NAME[entity]))


def _accepted(run: Run) -> dict[str, dict[str, int]]:
    malformed = pa.schema([("file", pa.string()), ("line", pa.int64()), ("last_line", pa.int64()),
                           ("reason", pa.string()), ("raw", pa.string())])  # fmt: skip
    pq.write_table(malformed.empty_table(), run.place.malformed)
    return accept(run)


def _write_findings(workspace: Workspace, file: str, lines: list[int]) -> None:
    with duckdb.cursor() as connection:
        connection.execute(f"CREATE TEMP TABLE found ({schema()})")
        for line in lines:
            connection.execute(
                "INSERT INTO found (code, severity, entity, file, line) VALUES (?, 'critical', 'users', ?, ?)",
                ["ROW-MALFORMED", file, line],
            )
        connection.execute(f"COPY found TO '{workspace.findings}' (FORMAT parquet)")


def _write_id_changes(workspace: Workspace, text: str) -> SourceFile:
    plural = {entity.singular: entity.name for entity in ENTITIES if entity.key}
    lines = [line.split(",") for line in text.splitlines()[1:]]
    rows = [
        {"row_id": number, "file": ID_CHANGES_FILE.name, "line": number, "lines": [number], "blanks": None,
         "entity": plural[entity], "old_id": old, "new_id": new}
        for number, (entity, old, new) in enumerate(lines, start=2)
    ]  # fmt: skip
    texts = [(name, pa.string()) for name in ("blanks", "entity", "old_id", "new_id")]
    places = [("row_id", pa.int64()), ("file", pa.string()), ("line", pa.int64()), ("lines", pa.list_(pa.int64()))]
    table = pa.Table.from_pylist(rows, pa.schema([*places, *texts]))
    pq.write_table(table, workspace.canonical_table(ID_CHANGES.name))
    return SourceFile(
        name=ID_CHANGES_FILE.name, path=ID_CHANGES_FILE.name, entity=ID_CHANGES.name, header=[], rows=1, malformed=0
    )


def _supplied(file: str) -> dict[str, dict[str, list[str]]]:
    columns = {entity.name: [column for column in entity.columns if column != "status"] for entity in ENTITIES}
    return {entity: {column: [file] for column in named} for entity, named in columns.items()}


def _canonical(rows: list[Row], source: str) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {entity.name: [] for entity in ENTITIES}
    for line, row in enumerate(rows, start=2):
        kind = KINDS[row["userRole"]]
        own = row.get("key") or row["userId"]
        user = f"{kind}:{own}" if source == "clever" else own
        school, role = row["schoolId"], row["userRole"]
        made = {
            "organizations": {
                "source_key": school, "organization_id": school, "name": row["schoolName"], "type": "school",
            },
            "users": {
                "source_key": user, "user_id": row["userId"], "kind": kind,
                **{name: row.get(column) or None for name, column in _VALUES.items()},
            },
            "memberships": {"user_source_key": user, "organization_source_key": school, "role": role},
            "classes": {
                "source_key": row["classId"], "class_id": row["classId"], "organization_source_key": school,
                **{name: row.get(column) or None for name, column in _CLASS_VALUES.items()},
            },
            "enrollments": {"class_source_key": row["classId"], "user_source_key": user, "role": role,
                            "is_primary": "false"},
        }  # fmt: skip
        for name, values in made.items():
            tables[name].append({**values, "line": line})
    return tables


def _merged(entity: str, rows: list[Row], file: str) -> list[Row]:
    """Each distinct row once, with all its lines."""
    lines: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for row in rows:
        said = tuple((name, value) for name, value in row.items() if name != "line")
        lines.setdefault(said, []).append(row["line"])
    return [{**dict(said), "file": file, "lines": found} for said, found in lines.items()]
