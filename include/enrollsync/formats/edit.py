"""What a person changes on a profile page, as a delivery of the source that the record is from.

The record and those that it could be mistaken for stand in a file of their entity, `profile_users.csv`, under the
headers of the source's own files; a new identifier stands in `id_changes.csv` as well. So an edit is read, checked and
planned as any batch is. Nobody delivers such files: `arrive/edit.py` writes them.
"""

from __future__ import annotations

from dataclasses import replace

from enrollsync.formats.declare import FileSpec, Format, Mapping
from enrollsync.words.canonical import ENTITIES


def profile_file(entity: str) -> str:
    """The file that holds an edited record: `profile_users.csv`."""
    return f"profile_{entity}.csv"


def editable(declared: Format) -> Format:
    """A fitted format with files of single records beside its own; what is absent from them stays as it is."""
    mappings = [_profile(declared, entity.name) for entity in ENTITIES if entity.key]
    specs = [
        FileSpec(mapping.file, mapping.entity, required=(), known=tuple(sorted(mapping.columns)), optional_file=True)
        for mapping in mappings
    ]
    return replace(
        declared,
        mode="delta",
        files=(*(replace(spec, mode=None) for spec in declared.files), *specs),
        mappings=(*declared.mappings, *mappings),
        encoding="utf-8",
        renames=(),
    )


def _profile(declared: Format, entity: str) -> Mapping:
    """How the format says the values of the entity's records, and nothing about removing or picking them."""
    mapping = next(mapping for mapping in declared.mappings if mapping.entity == entity)
    cells = {column: cell for column, cell in mapping.cells.items() if column not in ("action", "status")}
    return replace(mapping, file=profile_file(entity), cells=cells, when=(), repeats=False)
