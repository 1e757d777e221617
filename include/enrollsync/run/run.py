"""One run as its steps see it: what was asked, under which settings, where its files are, and what came of it so far.

What a run knows of itself (`run.json`) is read when a step begins and written when it ends. Its settings are those of
its start (`settings.json`): whoever edits the district's file while a plan waits changes the next run.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrollsync.formats import FORMATS, Format
from enrollsync.formats.edit import editable
from enrollsync.formats.single import alone
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District
from enrollsync.settings.connections import database_url

if TYPE_CHECKING:
    from enrollsync.database import Store


class Run:
    """What a step works on.

    `database` is the URL of the roster where it is not the district's own; it may hold a password and is kept nowhere.
    """

    def __init__(self, place: Workspace, manifest: RunManifest, settings: District, database: str | None) -> None:
        self.place = place
        self.manifest = manifest
        self.settings = settings
        self._database = database
        self._fitted: tuple[object, Format] | None = None

    @classmethod
    def open(cls, workspace: str, database: str | None = None) -> Run:
        """The run as its last step left it. Raises ConfigurationError when its files are gone, DamagedRun."""
        place = Workspace(Path(workspace))
        return cls(place, place.read(), place.read_settings(), database)

    @property
    def format(self) -> Format:
        """The format that the delivery was recognised as, fitted to the district's files; of an edit, the source's."""
        asked = self.manifest.format, self.manifest.edit, self.manifest.settle
        if self._fitted is None or self._fitted[0] != asked:
            self._fitted = asked, self._fit()
        return self._fitted[1]

    def _fit(self) -> Format:
        if self.manifest.edit:
            ours = (one for one in FORMATS.values() if one.source.name == self.settings.primary_source)
            return editable(self.settings.fitted(next(ours)))
        if self.manifest.settle:
            return alone(self.settings.fitted(FORMATS[self.manifest.settle.format]))
        return self.settings.fitted(FORMATS[self.manifest.format or ""])

    @property
    def source(self) -> str | None:
        """The source that speaks in the delivery; None before its format is recognised."""
        return FORMATS[self.manifest.format].source.name if self.manifest.format else None

    @cached_property
    def store(self) -> Store:
        """The roster. Raises ConfigurationError where nothing says which database it is in."""
        from enrollsync.database import open_store

        return open_store(database_url_of(self.settings, self._database))

    def note(self, **changes: Any) -> RunManifest:
        """Change what the run knows of itself; `save` writes it down."""
        self.manifest = self.manifest.model_copy(update=changes)
        return self.manifest

    def save(self) -> None:
        """Write `run.json`. Raises EnrollSyncError when there is no room for it; the old one is kept."""
        self.place.write(self.manifest)

    def note_findings(self) -> RunManifest:
        """Count the findings of files and rows by their codes."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        counted = pc.value_counts(pq.read_table(self.place.findings, columns=["code"])["code"])
        totals = {entry["values"].as_py(): entry["counts"].as_py() for entry in counted}
        for notice in self.manifest.notices:
            totals[notice.code] = totals.get(notice.code, 0) + 1
        return self.note(findings=dict(sorted(totals.items())))


def database_url_of(district: District, given: str | None) -> str:
    """The URL that was given, else the district's own, which may be behind a connection in the environment.

    Raises ConfigurationError where there is none.
    """
    if given is not None:
        return given
    return district.database.url or database_url(str(district.database.connection))
