"""A delivery into the workspace: every file of its format as Parquet, malformed lines beside them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from enrollsync.arrive.delivery import MANIFEST_FILE, Batch
from enrollsync.formats import ID_CHANGES_FILE, FileSpec, Format, Mode
from enrollsync.ingest import counts
from enrollsync.ingest.corrected import ERRORS
from enrollsync.ingest.lines import Malformed
from enrollsync.ingest.listing import as_said, disagreements, format_said, refuse_missing, said_of_files
from enrollsync.ingest.read import FileRead, read_file
from enrollsync.ingest.secrets import hides, without_secrets
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import Notice, SourceFile, Workspace, error_file_name
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.errors import Refused
from enrollsync.words.printable import first_of, quoted, shown

_MALFORMED = pa.schema([
    ("file", pa.string()), ("line", pa.int64()), ("last_line", pa.int64()), ("reason", pa.string()),
    ("raw", pa.string()),
])  # fmt: skip
Files = dict[str, Path]
"""The delivery's files by their names in the format."""


def read_batch(run: Run, batch: Batch) -> None:
    """Read the batch's files into the run's folder, and note what was found.

    Raises Refused when nothing of it can be used, for all files of which none can.
    """
    files = batch.delivery.files
    declared, told = _as_listed(run, batch)
    wanted = [spec for spec in declared.files if spec.read and spec.name in files]
    with ThreadPoolExecutor(2) as readers:
        results = list(readers.map(partial(_read, run.place, files, declared), wanted))
    read = {spec: result for spec, result in zip(wanted, results, strict=True) if isinstance(result, FileRead)}
    refused = [result for result in results if isinstance(result, Refused)]
    if MANIFEST_FILE in files and not refused:
        refused = counts.refusals(files[MANIFEST_FILE], {spec.name: result for spec, result in read.items()}, files)
    if refused:
        raise Refused.for_all(refused)
    _write_malformed(run.place, read)
    delivered = [spec.name for spec in read]
    modes = {entity.name: declared.mode_of(entity.name, delivered) for entity in ENTITIES}
    mode: Mode = "snapshot" if "snapshot" in modes.values() else "delta"
    run.note(
        format=declared.name,
        mode=mode,
        modes={entity: own for entity, own in modes.items() if own != mode},
        files=[_described(spec, result, declared) for spec, result in read.items()],
        supplied=_supplied(declared, read),
        notices=[*run.manifest.notices, *told, *_notices(files, declared, read)],
    )


def _as_listed(run: Run, batch: Batch) -> tuple[Format, list[Notice]]:
    """The format as the delivery's own list of its files has it, where there is one, and what is told of that.

    Raises Refused where the list cannot be read, or a file is missing.
    """
    declared, files = batch.declared, batch.delivery.files
    listing = declared.listing
    if listing is None or listing.file not in files:
        return declared, []
    result = _read(run.place, files, declared, declared.file(listing.file))
    if isinstance(result, Refused):
        raise result
    table = run.place.source_table(listing.file)
    with engine.connect(run.place.source, ordered=True) as connection:
        if other := format_said(connection, table, declared, listing):
            declared = run.settings.fitted(other)
        said = said_of_files(connection, table, listing)
    declared = as_said(declared, listing, said)
    refuse_missing(declared, listing, said, files)
    read = [spec.name for spec in declared.files if spec.read and spec.name in files]
    return declared, list(disagreements(listing, said, read))


def replace_id_changes(run: Run, path: Path) -> None:
    """Read `path` as the batch's `id_changes.csv`, and note it as if it had been delivered so."""
    spec, declared = ID_CHANGES_FILE, run.format
    ours = replace(declared, renames=(), encoding="utf-8")
    result = _read(run.place, {spec.name: path}, ours, spec)
    if isinstance(result, Refused):
        raise result
    others = [file for file in run.manifest.files if file.name != spec.name]
    run.note(
        files=[*others, _described(spec, result, declared)],
        supplied=run.manifest.supplied | _supplied(declared, {spec: result}),
    )


def _read(place: Workspace, files: Files, declared: Format, spec: FileSpec) -> FileRead | Refused:
    target = place.source_table(spec.name)
    with engine.connect(place.source, ordered=True) as connection:
        try:
            result = read_file(connection, files[spec.name], target, spec, declared, declared.needed(spec))
            _require_identifiers(declared, spec, result)
        except Refused as refused:
            return refused
    return result


def _require_identifiers(declared: Format, spec: FileSpec, result: FileRead) -> None:
    """Without the column that the district's identifiers stand in, nobody in the file has any."""
    chosen = {mapping.identifier for mapping in declared.of_file(spec.name)} & declared.chosen
    for column in sorted(name for name in chosen if name and name not in result.header.positions()):
        said = f"the column {quoted(column)}, which `identifiers.columns` names, is missing; correct file or setting"
        raise Refused("FILE-HEADER", said, file=spec.name, line=1)


def _described(spec: FileSpec, result: FileRead, declared: Format) -> SourceFile:
    mapping = declared.principal(spec)
    identifier = mapping.identifier if spec.secret and mapping else None
    return SourceFile(
        name=spec.name,
        entity=spec.entity,
        header=result.header.as_written,
        rows=result.rows,
        malformed=len(result.malformed),
        secret_columns=_secret_columns(spec, result),
        blind=identifier is not None and any(_hides(bad, spec, result, identifier) for bad in result.malformed),
    )


def _hides(bad: Malformed, spec: FileSpec, result: FileRead, identifier: str) -> bool:
    """Whether nobody may look where the line's identifier could be."""
    header = result.header
    written = header.as_written[header.positions()[identifier]]
    return hides(bad.raw, header.as_written, _secret_columns(spec, result), written)


def _secret_columns(spec: FileSpec, result: FileRead) -> list[str]:
    header = zip(result.header.as_written, result.header.expected, strict=True)
    return [written for written, expected in header if expected in spec.secret]


def _supplied(declared: Format, read: dict[FileSpec, FileRead]) -> dict[str, dict[str, list[str]]]:
    headers = {spec.name: set(result.header.expected) for spec, result in read.items()}
    supplied: dict[str, dict[str, list[str]]] = {}
    for mapping in declared.mappings:
        header = headers.get(mapping.file, set())
        for column, cell in mapping.cells.items():
            looked_up = cell.lookup is None or cell.lookup.column in headers.get(cell.lookup.file, set())
            if mapping.file in headers and (cell.constant or looked_up and header.intersection(cell.columns)):
                files = supplied.setdefault(mapping.entity, {}).setdefault(column, [])
                files.extend([mapping.file] if mapping.file not in files else [])
    return supplied


def _write_malformed(place: Workspace, read: dict[FileSpec, FileRead]) -> None:
    rows = [
        {
            "file": spec.name,
            "line": bad.line,
            "last_line": bad.last_line,
            "reason": bad.reason,
            "raw": without_secrets(bad.raw, result.header.as_written, _secret_columns(spec, result)),
        }
        for spec, result in read.items()
        for bad in result.malformed
    ]
    with pq.ParquetWriter(place.malformed, _MALFORMED) as writer:
        if rows:  # Arrow imports pandas for a list, be it empty, and that takes longer than reading a small district
            writer.write_table(pa.Table.from_pylist(rows, schema=_MALFORMED))


def _notices(files: Files, declared: Format, read: dict[FileSpec, FileRead]) -> Iterable[Notice]:
    known = {spec.name for spec in declared.files if spec.read}
    if MANIFEST_FILE in files and counts.announced_rows(files[MANIFEST_FILE]):
        known.add(MANIFEST_FILE)
    originals = {error_file_name(name): name for name in known}
    for name in sorted(set(files) - known):
        why = f"{originals[name]} is there too and is read" if name in originals else "the file is not read"
        yield Notice.of("FILE-IGNORED", f"{why}; nothing in this one reaches the roster", file=shown(name))
    for spec, result in read.items():
        if result.header.corrected:
            said = f"it is read as {spec.name}, by its own line numbers; its column `{ERRORS}` is passed over"
            yield Notice.of("FILE-CORRECTED", said, file=shown(files[spec.name].name))
        if result.unended:
            said = "the last line has no line end; the file may have been cut"
            yield Notice.of("FILE-NO-LINE-END", said, file=spec.name, line=result.unended)
        if result.valueless:
            said = _said_of_valueless(result.valueless)
            yield Notice.of("ROW-BLANK", said, file=spec.name, line=result.valueless[0])


def _said_of_valueless(lines: list[int]) -> str:
    if len(lines) == 1:
        return "the line has no values; it is passed over"
    return f"{len(lines):,} lines have no values and are passed over: {first_of([str(line) for line in lines])}"
