"""What a run did, as values that a page can show: small whatever the size of the run.

How they are read from a run's workspace belongs to `gather.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from enrollsync.report.wording import headings
from enrollsync.run.workspace import Notice, RunManifest
from enrollsync.settings import District
from enrollsync.words.canonical import ENTITIES

MOST_LINES = 200
"""Line numbers shown for one code, file and column; the rest is counted."""
MOST_ORGANIZATIONS = 30
"""Bars shown; the rest is summed in one."""
MOST_CONFLICTS = 50
"""What keeps an undo from being done, shown; an undo has a thousand at most."""
MOST_MESSAGES = 20
"""Messages on files shown for one code."""
MOST_CAUSES = 20
"""What records wait for, shown with how many do."""


_MAY_NOT_COUNT = {"failed", "refused", "paused"}
"""Outcomes of runs that may have ended before there was anything to count."""


@dataclass(frozen=True)
class Place:
    """Where in one file, and in which column, a code was found."""

    file: str
    column: str | None
    count: int
    """Findings."""
    lines: str
    """The first MOST_LINES lines as ranges: `17, 23-25, 40`."""
    more: int
    """Lines that are not in `lines`."""


@dataclass(frozen=True)
class Cause:
    """What records wait for that are set aside."""

    message: str
    count: int
    """Records that wait for it."""


@dataclass(frozen=True)
class Group:
    """All that was found under one code and severity, with what to do about it."""

    severity: str
    code: str
    title: str
    why: str
    remedy: str
    rule: str
    count: int
    messages: tuple[str, ...]
    """What the notices among them say; findings on rows show lines instead."""
    places: tuple[Place, ...]
    causes: tuple[Cause, ...] = ()
    """What most of the records wait for, where that is what the code says."""
    more_causes: int = 0


@dataclass(frozen=True)
class Organization:
    """What changed among the records of one organization."""

    name: str
    created: int
    updated: int
    deactivated: int
    unchanged: int

    @property
    def changed(self) -> int:
        """Records that changed."""
        return self.created + self.updated + self.deactivated


@dataclass(frozen=True)
class Check:
    """One of Great Expectations' checks that ran."""

    entity: str
    expectation: str
    """Its type: `expect_column_values_to_be_in_set`."""
    column: str
    code: str
    """The finding that a row gets which fails it."""
    rows: int
    """Distinct rows that it looked at; those without a value are passed over."""
    failed: int


@dataclass(frozen=True)
class Link:
    """A file beside the report, relative to it."""

    href: str
    label: str
    note: str


ALL_FINDINGS = Link("findings.csv", "All findings", "one row each, for a spreadsheet")
SWITCH_LIST = Link("switch.csv", "Who takes over whose record", "by what rows and records of both sources were matched")
PROPOSED_CHANGES = Link(
    "id_changes.csv", "Proposed id_changes.csv", "old and new identifiers of what seems to be the same record"
)
LINKS = (ALL_FINDINGS, PROPOSED_CHANGES, SWITCH_LIST)
"""Files that may lie beside a report."""


@dataclass(frozen=True)
class Facts:
    """A run as the report shows it."""

    manifest: RunManifest
    district: District
    refusals: tuple[Notice, ...] = ()
    groups: tuple[Group, ...] = ()
    organizations: tuple[Organization, ...] = ()
    checks: tuple[Check, ...] = ()
    links: tuple[Link, ...] = ()
    children: bool = False
    """Whether a linked file holds children's records."""

    @property
    def proposes_changes(self) -> bool:
        """Whether many records seem to have new identifiers, and a file says which."""
        return PROPOSED_CHANGES in self.links

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Entity -> heading of the counts -> number; empty when the run did not come to count."""
        counts = self.manifest.told_counts
        titles = headings(self.manifest.outcome, undoes=bool(self.manifest.undoes))
        if self.manifest.outcome in _MAY_NOT_COUNT and not any(any(row.values()) for row in counts.values()):
            return {}
        return {
            entity.name: {title: counts[entity.name].get(key, 0) for key, title in titles.items()}
            for entity in ENTITIES
            if entity.name in counts
        }

    def total(self, *keys: str) -> int:
        """Records of all entities under these keys of the counts (`create`, ...)."""
        return sum(row.get(key, 0) for row in self.manifest.told_counts.values() for key in keys)
