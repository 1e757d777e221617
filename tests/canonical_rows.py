"""Canonical tables for tests: rows as short as the test, written as `normalise` does, and a run to check them in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from enrollsync.formats import FORMATS, ID_CHANGES_FILE, Format
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, SourceFile, Workspace
from enrollsync.settings import District
from enrollsync.words.canonical import ENTITIES, ID_CHANGES

Row = dict[str, Any]


def organization(**values: Any) -> Row:
    return {"file": "users.csv", "source_key": "S1", "organization_id": "S1", "name": "North", **values}


def person(**values: Any) -> Row:
    identifier = values.get("user_id", "U1")
    role = values.get("role", "student")
    named = {"source_key": identifier, "user_id": identifier, "given_name": "Ann", "family_name": "Lee", "role": role}
    return {
        "file": "users.csv",
        "kind": {"student": "student", "teacher": "staff", "staff": "staff"}.get(role),
        **named,
        **values,
    }


def school_class(**values: Any) -> Row:
    return {"file": "users.csv", "source_key": "C1", "class_id": "C1", "organization_source_key": "S1", **values}


def membership(**values: Any) -> Row:
    return {"file": "users.csv", "user_source_key": "U1", "organization_source_key": "S1", "role": "student", **values}


def enrollment(**values: Any) -> Row:
    return {"file": "users.csv", "class_source_key": "C1", "user_source_key": "U1", "role": "student", **values}


def write_canonical(workspace: Workspace, tables: dict[str, list[Row]]) -> None:
    """Write the five tables; a row's line is its place (from 2) unless it says `line` or `lines`."""
    for entity in (*ENTITIES, *([ID_CHANGES] if ID_CHANGES.name in tables else [])):
        extra = ("action", "kind") if entity.name == "users" else ("action",)
        texts = [(name, pa.string()) for name in ("blanks", "unfound", *entity.columns, *extra)]
        schema = pa.schema(
            [
                ("row_id", pa.int64()),
                ("file", pa.string()),
                ("line", pa.int64()),
                ("lines", pa.list_(pa.int64())),
                *texts,
            ]
        )
        rows = []
        for number, row in enumerate(tables.get(entity.name, []), start=1):
            lines = row.get("lines", [row.get("line", number + 1)])
            rows.append({**row, "row_id": number * 10, "line": lines[0], "lines": lines})
            assert set(row) <= {*schema.names}, set(row) - {*schema.names}
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), workspace.canonical / f"{entity.name}.parquet")


def manifest_for(source: str, **changes: Any) -> RunManifest:
    files = [
        SourceFile(name=spec.name, entity=spec.entity, header=[], rows=1, malformed=0)
        for spec in FORMATS[source].files
        if spec.read and spec != ID_CHANGES_FILE
    ]
    facts: dict[str, Any] = {
        "run_id": "run-1", "district": "demo", "as_of": datetime(2026, 11, 1, 3, tzinfo=UTC),
        "format": source, "mode": FORMATS[source].mode, "batch_hash": "b1", "files": files,
        "supplied": _supplied(FORMATS[source]),
    }  # fmt: skip
    return RunManifest(**{**facts, **changes})


def _supplied(declared: Format) -> dict[str, dict[str, list[str]]]:
    supplied: dict[str, dict[str, list[str]]] = {}
    for mapping in declared.mappings:
        for column in mapping.cells:
            supplied.setdefault(mapping.entity, {}).setdefault(column, []).append(mapping.file)
    return supplied


def run_for(manifest: RunManifest, district: District | None = None, place: Path | Workspace = Path("run")) -> Run:
    """A run of that delivery; of a district whose primary source brought it unless told otherwise."""
    workspace = place if isinstance(place, Workspace) else Workspace(place)
    return Run(workspace, manifest, district or district_for(str(manifest.format)), None)


def district_for(source: str, **changes: Any) -> District:
    facts = {
        "district_id": "demo", "name": "Demo", "primary_source": source,
        "source": {"path": "landing"}, "database": {"url": "sqlite:///demo.db"},
    }  # fmt: skip
    return District.model_validate({**facts, **changes})
