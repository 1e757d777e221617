"""Files that EnrollSync keeps and that may have something of a person: runs' folders and uploads, which go whole.

A run's folder may be deleted at any time: what must be remembered of it stands in the database. Rewritten row by row,
its tables would say something else than the run that made them, and one place that was not thought of would keep the
person. So a folder that has a sign of them goes, one that has none stays. A sign is an identifier, an email, the
internal key, or given and family name together; it is looked for within longer texts too, so that one folder too many
goes rather than one too few.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb

from enrollsync.arrive.upload import Upload
from enrollsync.forget.person import Person
from enrollsync.run import engine
from enrollsync.run.object_store import brought, drop, folders_of, leave_copy, strays
from enrollsync.settings import District, project_root, runs_folder, uploads_folder
from enrollsync.words.errors import FilesMissing

_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
"""In which a delivery may have been written; a text is looked for in each."""


@dataclass(frozen=True)
class KeptFiles:
    """What of the kept files has a sign of the person."""

    runs: tuple[Path, ...] = ()
    """Folders."""
    uploads: tuple[Upload, ...] = ()
    tracebacks: tuple[Path, ...] = ()

    def counts(self) -> dict[str, int]:
        """Place -> how many."""
        return {"runs' folders": len(self.runs), "uploads": len(self.uploads), "tracebacks": len(self.tracebacks)}

    def remove(self) -> None:
        """Remove them; what cannot be removed is told by `left`."""
        for folder in self.runs:
            shutil.rmtree(folder, ignore_errors=True)
            drop(folder)
        for upload in self.uploads:
            upload.remove()
        for path in self.tracebacks:
            with suppress(OSError):
                path.unlink()

    def left(self) -> Iterator[str]:
        """What is there still, a line each for a person."""
        for path in (*self.runs, *(upload.root for upload in self.uploads), *self.tracebacks):
            if path.exists():
                yield f"{path} could not be removed; let this user write there, or remove it."


def find_files(settings: District, person: Person) -> KeptFiles:
    """The kept files of a district that have a sign of the person; only reads."""
    own = project_root() / "data" / "traceback.txt"
    with engine.connect(runs_folder(settings)) as connection:
        signs = _Signs(connection, person)
        sent = (Upload(settings, path) for path in _within(uploads_folder(settings.district_id)))
        return KeptFiles(
            tuple(folder for folder in _within(runs_folder(settings)) if signs.of(folder)),
            tuple(upload for upload in sent if signs.of(upload.root) or signs.of(upload.folder)),
            (own,) if own.is_file() and signs.in_file(own) else (),
        )


def _within(folder: Path) -> list[Path]:
    """Folders here, those too that retention has begun to remove, and in the object store."""
    here = (path for path in (folder.iterdir() if folder.is_dir() else ()) if path.is_dir() and not path.is_symlink())
    return sorted({*here, *folders_of(folder)})


class _Signs:
    """What a person is known by in files."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, person: Person) -> None:
        self.connection = connection
        self.keys = ", ".join(map(str, person.keys))
        self.together = [[value] for value in sorted(person.ids)] + [[*pair] for pair in sorted(person.names)]
        """Texts that are a sign where all of them stand in one row or line."""
        self.spelt = [[_spelt(text) for text in texts] for texts in self.together]

    def of(self, folder: Path) -> bool:
        """Here, or in the object store, what a killed task has sent there too; what is damaged there may have one."""
        try:
            places = {folder, brought(folder), strays(folder) or folder}
        except FilesMissing:
            return True
        found = any(self.in_folder(place) for place in places)
        for copy in places:
            leave_copy(copy)
        return found

    def in_folder(self, folder: Path) -> bool:
        """Small files are looked into first: most often one of them tells."""
        files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        return any(map(self.in_file, files))

    def in_file(self, path: Path) -> bool:
        """What cannot be read may have one."""
        try:
            if path.suffix == ".parquet":
                return self._in_table(path)
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    return any(self._in_member(archive, name) for name in archive.namelist())
            with path.open("rb") as stream:
                return self._in_lines(stream)
        except (OSError, duckdb.Error, zipfile.BadZipFile, RuntimeError, NotImplementedError):
            return True

    def _in_member(self, archive: zipfile.ZipFile, name: str) -> bool:
        with archive.open(name) as member:
            return self._in_lines(member)

    def _in_lines(self, stream: IO[bytes]) -> bool:
        return any(self._in_line(line.lower()) for line in stream)

    def _in_line(self, line: bytes) -> bool:
        return any(all(any(way in line for way in ways) for ways in texts) for texts in self.spelt)

    def _in_table(self, path: Path) -> bool:
        stored = engine.parquet(path)
        columns = self.connection.execute(f"DESCRIBE FROM {stored}").fetchall()
        signs = [f"{engine.name(name)} IN ({self.keys})" for name, *_ in columns if name in _KEYS and self.keys]
        texts = [f"{engine.name(name)}::VARCHAR" for name, kind, *_ in columns if "VARCHAR" in kind or "ENUM" in kind]
        values: list[str] = []
        if texts:
            said = f"lower(concat_ws(chr(31), {', '.join(texts)}))"
            signs += [" AND ".join([f"contains({said}, lower(?))"] * len(texts)) for texts in self.together]
            values = [text for texts in self.together for text in texts]
        query = f"SELECT EXISTS (FROM {stored} WHERE {' OR '.join(signs) or 'false'})"
        return bool(engine.one_row(self.connection, query, values)[0])


_KEYS = ("user_key", "record_key", "into_key")
"""Columns of kept tables that have a person's internal key."""


def _spelt(text: str) -> set[bytes]:
    """A text as a file may have it, with ASCII in small letters."""
    spelt = set[bytes]()
    for way in (text, text.lower(), text.upper(), text.title()):
        for encoding in _ENCODINGS:
            with suppress(UnicodeEncodeError):
                spelt.add(way.encode(encoding).lower())
    return spelt
