"""What is kept of a district goes when it is old enough: folders of runs, quarantines, uploads, old audit values.

How old is the district's own word (`retention` in its file); what it does not name stays. What is wanted still never
goes, however old: a run that waits for a person, the newest run, and the runs whose findings are open. The roster
itself is not touched: nothing here changes what the views of today say.

`folders` is what lies on disk, `audit` what stands in the database. Each first looks, and then takes away what it saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from enrollsync.arrive.upload import sweep, swept
from enrollsync.database import Store
from enrollsync.records.open_findings import open_runs
from enrollsync.retain.audit import OldValues, find_values, remove_values
from enrollsync.retain.folders import OldFolders, find_folders
from enrollsync.settings import District
from enrollsync.words.errors import DatabaseError


@dataclass(frozen=True)
class Old:
    """What there is that is old enough to go."""

    folders: OldFolders
    uploads: int
    values: OldValues | None
    """None: nothing of the audit."""

    @property
    def counts(self) -> dict[str, int]:
        """What -> how many; without a value of anybody."""
        return {
            "workspaces": len(self.folders.runs),
            "quarantines": len(self.folders.quarantines),
            "bytes": self.folders.size,
            "uploads": self.uploads,
            "audit_rows": self.values.rows if self.values else 0,
            "runs_no_longer_undone": self.values.runs if self.values else 0,
        }

    @property
    def lines(self) -> list[str]:
        """The same for a person."""
        counts = self.counts
        told = [
            f"{counts['workspaces']:,} runs' folders and {counts['quarantines']:,} quarantines "
            f"({counts['bytes'] / 2**20:,.1f} MiB), {counts['uploads']:,} uploads"
        ]
        if self.values:
            told.append(
                f"people's values in {counts['audit_rows']:,} audit rows, of runs that ended before "
                f"{self.values.before:%Y-%m-%d}; {counts['runs_no_longer_undone']:,} runs can be undone until then "
                "and not afterwards, and no earlier day can be shown as it was"
            )
        return told


def look(settings: District, store: Store, now: datetime) -> Old:
    """Find what is old enough at `now`; only reads."""
    ages, district_id = settings.retention, settings.district_id
    values = None
    with store.asking() as read:
        wanted = frozenset(open_runs(read, district_id))
        if ages.audit is not None:
            values = find_values(read, district_id, now - timedelta(days=ages.audit))
    return Old(find_folders(settings, wanted, now), len(swept(settings, now)), values)


def clean(settings: District, store: Store, old: Old, *, run_id: str, now: datetime) -> list[str]:
    """Take away what `look` has found; returns what is left to do by hand, a line each.

    The audit goes in one transaction with the run that says so; folders go one by one, and whoever is interrupted finds
    the rest again. Raises DatabaseError.
    """
    left = []
    if old.values:
        remove_values(store, settings.district_id, old.values, run_id=run_id, now=now)
        try:
            if not store.wipe():
                left.append("the tables belong to another login: let it run VACUUM (ANALYZE), which frees old rows")
        except DatabaseError as error:
            left.append(f"{error}; where the values stood is free now, and overwritten once the database is vacuumed")
    old.folders.remove()
    sweep(settings, now)
    return [*left, *old.folders.left()]


def told(settings: District, old: Old, left: list[str] | None) -> dict[str, Any]:
    """What the command and the task return; `left` is None where it was only looked."""
    named = settings.retention != type(settings.retention)()
    unnamed = "the district's file names no age, so all but uploads stays; write `retention` into it"
    return {
        "district": settings.district_id,
        "dry_run": left is None,
        "old": old.counts,
        "message": "; ".join([*(left or []), *([] if named else [unnamed])]) or None,
    }
