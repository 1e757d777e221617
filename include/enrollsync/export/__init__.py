"""A roster as files of a source format, as it is or as it was at the end of a day: the way back.

From the declarations by which the formats are read (`turned.py`), over the records and links that are active
(`lines.py`), file by file (`files.py`). Here they are taken out of the database, and what was written is put in place:
a new folder or zip, whole or not at all, for its owner alone.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from enrollsync.as_of.day import end_of, state_before
from enrollsync.as_of.tables import export_as_of
from enrollsync.database import Store
from enrollsync.export.files import write_files
from enrollsync.export.lines import read_roster
from enrollsync.export.turned import named_by
from enrollsync.formats import Format, written
from enrollsync.run import engine
from enrollsync.settings import District
from enrollsync.words import private
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.errors import ConfigurationError
from enrollsync.words.printable import quoted


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    district: str
    out: str
    """The new folder or zip."""
    format: str
    title: str
    as_of: str | None
    """The day at whose end the roster was so; None: as it is."""
    files: dict[str, int]
    """File -> lines below its header."""
    left_out: dict[str, int]
    """Entity -> active records that no line speaks of, because the format has no place for them."""

    def lines(self) -> Iterator[str]:
        """The same for a person."""
        when = f", as it was at the end of {self.as_of}" if self.as_of else ""
        yield f"{self.out}: the roster of {self.district}{when}, as {self.title}"
        for name, rows in self.files.items():
            yield f"  {name}: {rows:,} rows"
        for entity, count in self.left_out.items():
            yield f"  left out, because no line of this format speaks of them: {count:,} of the {entity}"


def export_roster(
    district: District, store: Store, out: Path, format_name: str, *, today: date, as_of: date | None = None,
    spreadsheet: bool = False, telling: Callable[[str], None] = lambda what: None,
) -> Exported:  # fmt: skip
    """Write the roster into the new folder (or, where it ends so, zip) `out`; before the first run, headers alone.

    `format_name`: a source. `as_of`: as it was at the end of that day in the district's time zone; `today` is today
    there. `spreadsheet`: no cell is taken for a formula. `telling` hears what is done next. Raises ConfigurationError
    for a format, day or place that cannot be, DatabaseError.
    """
    declared = district.fitted(_chosen(format_name))
    if as_of and as_of > today:
        raise ConfigurationError(f"--as-of {as_of}: that day has not begun where the district is; give an earlier one")
    with _beside(out) as folder:
        roster, files = folder / "roster", folder / "files"
        private.make_folder(files)
        telling("read the roster")
        _read(district, store, roster, as_of)
        counts, left_out = _write(declared, roster, files, spreadsheet=spreadsheet, telling=telling)
        _put(files, out)
    day = as_of.isoformat() if as_of else None
    return Exported(district.district_id, str(out), declared.name, declared.title, day, counts, left_out)


def _chosen(format_name: str) -> Format:
    known = written()
    if format_name not in known:
        raise ConfigurationError(f"--format {quoted(format_name)}: not known; use {', '.join(known)}")
    return known[format_name]


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder of our own beside `out`, for its owner alone, gone at the end. It is hidden: no delivery is."""
    _refuse_present(out)
    try:
        private.make_folder(out.absolute().parent)
        folder = Path(tempfile.mkdtemp(prefix=".enrollsync-export-", dir=out.absolute().parent))
    except OSError as error:
        said = f"{out}: cannot be made there: {error.strerror}"
        raise ConfigurationError(f"{said}; name a new folder or zip where this user may write") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_present(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise ConfigurationError(f"{out}: is there already; name a new folder, or a new zip")


def _read(district: District, store: Store, roster: Path, as_of: date | None) -> None:
    """The base tables, as they are or as they were."""
    if as_of is None or not store.has_roster():
        store.export(district.district_id, roster)
        return
    state = state_before(store.rows, district.district_id, end_of(as_of, district.zone))
    private.make_folder(roster)
    export_as_of(store, district.district_id, state, roster)


def _write(
    declared: Format, roster: Path, files: Path, *, spreadsheet: bool, telling: Callable[[str], None]
) -> tuple[dict[str, int], dict[str, int]]:
    """Lines of each file, and how many records of each entity none of them speaks of."""
    with engine.connect(roster) as connection:
        read_roster(connection, roster)
        counts = write_files(connection, declared, files, spreadsheet=spreadsheet, telling=telling)
        return counts, _left_out(connection, declared)


def _left_out(connection: duckdb.DuckDBPyConnection, declared: Format) -> dict[str, int]:
    counts = {}
    for entity in (entity for entity in ENTITIES if entity.key):
        told = [query for lines in declared.lines if (query := named_by(declared, lines, entity.name))]
        count = f"SELECT count(*) FROM active_{entity.name} ANTI JOIN ({' UNION '.join(told)}) USING ({entity.key})"
        counts[entity.name] = int(engine.one_row(connection, count)[0])
    return {name: count for name, count in counts.items() if count}


def _put(files: Path, out: Path) -> None:
    """Move what was written to its place, unless something came to be there meanwhile."""
    _refuse_present(out)
    if out.suffix.lower() != ".zip":
        files.rename(out)
        return
    packed = files.parent / "packed.zip"
    private.make_file(packed)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files.iterdir()):
            archive.write(path, path.name)
    packed.rename(out)
