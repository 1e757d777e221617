"""The source formats as data: their files, headers, and how rows become canonical rows.

One module per format holds a `Format`; adding one means writing such a module and naming it in `FORMATS`.
Reading files belongs to `ingest`, turning declarations into SQL to `normalise`.
"""

from __future__ import annotations

from enrollsync.formats.batch_upload import BATCH_UPLOAD
from enrollsync.formats.clever import CLEVER
from enrollsync.formats.declare import ID_CHANGES_FILE, Cell, FileSpec, Format, Mapping, When

__all__ = ["FORMATS", "ID_CHANGES_FILE", "Cell", "FileSpec", "Format", "Mapping", "When", "source_column"]

FORMATS: dict[str, Format] = {declared.name: declared for declared in (BATCH_UPLOAD, CLEVER)}


def source_column(format_name: str, file: str, entity: str, column: str) -> str | None:
    """The source file's own name for a canonical column, None when it has none.

    Example: `source_column("batch_upload", "users.csv", "users", "user_id")` is `userId`.
    """
    for mapping in FORMATS[format_name].mappings:
        if (mapping.file, mapping.entity) == (file, entity) and column in mapping.cells:
            return mapping.cells[column].column
    return None
