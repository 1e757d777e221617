"""What a person changes on a profile page arrives like any delivery: as files, in the run's own folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from enrollsync.arrive.delivery import Batch, Delivery
from enrollsync.database.around import alike
from enrollsync.database.schema import BASE, columns_of
from enrollsync.formats import ID_CHANGES_FILE, Format, Mapping, why_not_editable
from enrollsync.formats.edit import profile_file
from enrollsync.run.run import Run
from enrollsync.words.blanks import trimmed
from enrollsync.words.canonical import BY_NAME, Entity
from enrollsync.words.errors import ConfigurationError

Row = dict[str, Any]


def edited_batch(run: Run) -> Batch:
    """The edit that the run was started with, written as files.

    Raises ConfigurationError when the record is not there, or is one that nobody edits here.
    """
    edit, declared = run.manifest.edit, run.format
    assert edit is not None
    entity = BY_NAME[edit.entity]
    with run.store.asking() as read:
        record = _record(read, run.settings.district_id, entity, edit.key)
        if record is None:
            raise ConfigurationError(f"{entity.singular} {edit.key}: the roster has none; it may have been undone")
        if why := why_not_editable(run.settings.primary_source, record["source"]):
            raise ConfigurationError(f"{entity.singular} {edit.key}: cannot be edited, because {why}")
        changed = record | edit.changes
        new = edit.values.get(str(entity.identifier))
        known = new is not None and new in edit.looked_for
        like_it = read(_alike(run.settings.district_id, entity, edit.key, str(new))) if known else []
        if entity.links:
            changed, *like_it = [
                row | read(_links(run.settings.district_id, entity, row))[0] for row in (changed, *like_it)
            ]
    files = _write(run.place.batch, declared, entity, record, changed, like_it)
    delivery = Delivery(run.place.batch, files, run.manifest.as_of)
    present = tuple(spec for spec in declared.files if spec.name in files)
    return Batch(delivery, declared, present, delivery.digest(list(files)), delivery.stamps())


def _record(read: Callable[[Select[Any]], list[Row]], district_id: str, entity: Entity, key: int) -> Row | None:
    base = BASE[entity.name]
    query = select(*(base.c[name] for name in columns_of(entity)))
    (found, *_) = [*read(query.where(base.c.district_id == district_id, base.c[str(entity.key)] == key)), None]
    return found if found and found["status"] != "removed" else None


def _alike(district_id: str, entity: Entity, key: int, identifier: str) -> Select[Any]:
    """Those whose identifier the new one could be mistaken for: a batch would have them all."""
    base = BASE[entity.name]
    return select(*(base.c[name] for name in columns_of(entity))).where(
        base.c.district_id == district_id,
        base.c.status != "removed",
        base.c[str(entity.key)] != key,
        alike(base.c[str(entity.identifier)], identifier),
    )


def _links(district_id: str, entity: Entity, row: Row) -> Select[Any]:
    """The source keys of what the record links to, under the names of its canonical columns."""
    keys = [
        select(BASE[target].c.source_key)
        .where(BASE[target].c.district_id == district_id, BASE[target].c[key] == row[key])
        .scalar_subquery()
        .label(column)
        for column, target in entity.links.items()
        for key in [str(BY_NAME[target].key)]
    ]
    return select(*keys)


def _write(
    folder: Path, declared: Format, entity: Entity, record: Row, changed: Row, alike: list[Row]
) -> dict[str, Path]:
    """The record's line is the first; without one where somebody else has the new identifier, which is told besides.

    What was typed stands there as it was typed: blanks around it are removed, and told, where those of a batch are.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    identifier = str(entity.identifier)
    new = trimmed(changed[identifier])
    renamed = new != record[identifier]
    taken = renamed and any(row[identifier] == new for row in alike)
    mapping = next(mapping for mapping in declared.mappings if mapping.file == profile_file(entity.name))
    files = {}
    if not taken:
        rows = [_line(mapping, row) for row in (changed, *alike)]
        files[mapping.file] = _csv(folder / mapping.file, sorted(mapping.columns), rows)
    if renamed:
        said = {"entity": entity.singular, "old_id": record[identifier], "new_id": changed[identifier]}
        files[ID_CHANGES_FILE.name] = _csv(folder / ID_CHANGES_FILE.name, list(said), [said])
    return files


def _line(mapping: Mapping, row: Row) -> Row:
    """The record in the words of the source's files; its identifier stands where its key does, if they are one."""
    told = {cell.column: row[name] for name, cell in mapping.cells.items() if cell.column and name in row}
    return {str(column): value for column, value in told.items()} | {
        str(mapping.identifier): row[str(BY_NAME[mapping.entity].identifier)]
    }


def _csv(path: Path, header: list[str], rows: Iterable[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, header, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
