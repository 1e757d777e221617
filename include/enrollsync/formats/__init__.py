"""The source formats as data: their files, headers, and how rows become canonical rows.

One module per format holds a `Format`; adding one means writing such a module and naming it in `FORMATS`: the sources
that a district may name, how a delivery is recognised, and what a report calls it follow.
Reading files belongs to `ingest`, turning declarations into SQL to `normalise`.
"""

from __future__ import annotations

from enrollsync.formats.batch_upload import BATCH_UPLOAD
from enrollsync.formats.clever import CLEVER
from enrollsync.formats.clever_api import CLEVER_API
from enrollsync.formats.declare import (
    ID_CHANGES_FILE,
    Cell,
    Each,
    FileSpec,
    Filled,
    Format,
    Lines,
    Listing,
    Lookup,
    Mapping,
    Mode,
    Passed,
    Source,
    When,
)
from enrollsync.formats.oneroster import ONEROSTER_1_1, ONEROSTER_1_2
from enrollsync.formats.unread import UNREAD, Unread
from enrollsync.words.canonical import ENTITIES

__all__ = [
    "FORMATS", "ID_CHANGES_FILE", "UNREAD", "Cell", "Each", "FileSpec", "Filled", "Format", "Lines", "Listing",
    "Lookup", "Mapping", "Mode", "Passed", "Source", "Unread", "When", "delivered", "identifier_settings", "sources",
    "why_not_editable", "written",
]  # fmt: skip

FORMATS: dict[str, Format] = {
    declared.name: declared for declared in (BATCH_UPLOAD, CLEVER, CLEVER_API, ONEROSTER_1_1, ONEROSTER_1_2)
}


def delivered() -> dict[str, Format]:
    """Name -> every format that comes as files."""
    return {name: declared for name, declared in FORMATS.items() if not declared.is_fetched}


def sources() -> dict[str, Source]:
    """Name -> every source that a district may name."""
    return {declared.source.name: declared.source for declared in FORMATS.values()}


def written() -> dict[str, Format]:
    """Source -> the format in which a roster is exported for it."""
    return {declared.source.name: declared for declared in FORMATS.values() if declared.lines}


def why_not_editable(primary_source: str, source: str) -> str | None:
    """Why nobody may edit the identifiers of a record from `source`, in one sentence; None where one may."""
    known = sources()
    if source in known and known[source].third_party:
        return f"its identifiers come from {known[source].title}: change them there, and the next night brings them"
    if known[primary_source].third_party:
        return f"the district's identifiers come from {known[primary_source].title}, and nobody edits beside it"
    return None if source == primary_source else f"it comes from {source}, which is not the district's primary source"


def identifier_settings() -> tuple[str, ...]:
    """What `identifiers.columns` may have as keys: what has an identifier, secondary IDs, the formats' own kinds."""
    kept = [entity.name for entity in ENTITIES if entity.identifier]
    kept += [column for entity in ENTITIES for column in entity.of_kind("secondary")]
    own = [mapping.setting for declared in FORMATS.values() for mapping in declared.mappings if mapping.setting]
    return tuple(dict.fromkeys([*kept, *own]))
