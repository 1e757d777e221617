"""Whether a plan may go ahead by itself: completeness and thresholds of section 6; and whether it is an unusual one.

Looks at the plan's tables and shares, never at single rows; approving is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from enrollsync.canonical import ENTITIES
from enrollsync.database.schema import primary_key
from enrollsync.engine import one_row
from enrollsync.errors import Refused
from enrollsync.formats import FORMATS, ID_CHANGES_FILE, FileSpec
from enrollsync.settings import District, Limits, SomeLimits, Thresholds
from enrollsync.shares import RunShares, Share
from enrollsync.usual import LEAST_RUNS, counts_before, is_unusual, learn
from enrollsync.workspace import Notice, RunManifest


@dataclass(frozen=True)
class Limit:
    """One number of the thresholds, as it holds for one share on one day."""

    value: float
    said: str
    """Where it comes from, for the end of a sentence: ` until 2026-08-20`; empty for the general limits."""


@dataclass(frozen=True)
class Rules:
    """The district's thresholds, as they hold for one run."""

    thresholds: Thresholds
    day: date
    """The run's day in the district's time zone."""
    overrides: SomeLimits
    """What a person set for this run."""

    @classmethod
    def of(cls, manifest: RunManifest, district: District) -> Rules:
        """The rules of a run."""
        day = manifest.as_of.astimezone(district.zone).date()
        return cls(district.thresholds, day, SomeLimits.model_validate(manifest.overrides))

    def limit(self, share: Share, name: str) -> Limit:
        """The limit `name` (`deactivate_percent`, `update_percent`, `floor`) for a share; each is looked up alone."""
        named = ((getattr(limits, name), said) for limits, said in self._layers(share))
        return next(Limit(value, said) for value, said in named if value is not None)

    def _layers(self, share: Share) -> Iterator[tuple[Limits | SomeLimits, str]]:
        """Limits that may speak of a share; the first that does wins.

        What somebody set for this very delivery comes first. An organization's limits follow: whoever wrote them knew
        of that school what no calendar knows. A window is the exception of a few days to what holds all year, for an
        entity or for everything.
        """
        yield self.overrides, " for this run"
        if share.organization in self.thresholds.organizations:
            yield self.thresholds.organizations[share.organization], " for this organization"
        for window in self.thresholds.windows:
            if window.first <= self.day <= window.last:
                yield window, f" until {window.last}" + (f", {window.name}" if window.name else "")
        for entity, limits in self.thresholds.entities.items():
            if entity == share.entity:
                yield limits, f" for {entity}"
        yield self.thresholds, ""


def find_holds(
    connection: duckdb.DuckDBPyConnection, manifest: RunManifest, district: District, shares: Iterable[Share]
) -> list[Notice]:
    """Every reason for which the whole plan must wait; `shares` are what the plan changes.

    Raises Refused (FILE-EMPTY) when a required file has no rows and the database has nothing of its kind either.
    """
    holds = _empty_files(connection, manifest)
    if manifest.mode == "snapshot":
        holds += _vanished(connection)
    rules = Rules.of(manifest, district)
    for share in shares:
        holds += over_limits(share, rules)
    return holds


def find_stale(manifest: RunManifest, last: tuple[str, datetime | None] | None) -> list[Notice]:
    """A hold for a delivery older than the one of its source applied last (`last`: its batch hash and delivery time).

    One that a person named with `--source` may be of any age.
    """
    named = manifest.source and not manifest.picked
    if named or not last or not last[1] or not manifest.delivered_at or last[0] == manifest.batch_hash:
        return []
    if manifest.delivered_at >= last[1]:
        return []
    message = f"delivered {manifest.delivered_at:%Y-%m-%d %H:%M}, but one of {last[1]:%Y-%m-%d %H:%M} was applied"
    return [Notice.of("GUARD-STALE", message)]


def over_limits(share: Share, rules: Rules) -> list[Notice]:
    """The limits that a share exceeds; at the limit is not over it, and fewer than `floor` records never are."""
    judged = (
        ("GUARD-DEACTIVATE", share.deactivated, "deactivate_percent", "deactivated"),
        ("GUARD-UPDATE", share.changed, "update_percent", "changed"),
    )
    holds = []
    for code, count, name, verb in judged:
        limit, floor = rules.limit(share, name), rules.limit(share, "floor")
        if share.active and count >= floor.value and 100 * count > limit.value * share.active:
            told = f"{100 * count / share.active:.1f} %; the limit is {limit.value:g} %{limit.said}"
            message = f"{count:,} of {share.active:,} active {share.where} would be {verb} ({told})"
            holds.append(Notice.of(code, message))
    return holds


# ---- unlike the runs before ------------------------------------------------------------------------------------------

UNUSUAL = "GUARD-UNUSUAL"
_MOST_ORGANIZATIONS = 20
"""Shares within organizations that are told one by one; a change of the whole district shows in each of them."""


def find_unusual(shares: Iterable[Share], runs: Sequence[RunShares], rules: Rules) -> list[Notice]:
    """Shares unlike those of the `runs` applied before, newest first: something to look at, and no reason to wait.

    Entities come first, then the organizations furthest from what is usual there.
    """
    if len(runs) < LEAST_RUNS:
        return []
    found = [(share, *told) for share in shares for told in _unlike(share, runs, rules)]
    entities = [message for share, _, message in found if share.organization_key is None]
    within = sorted((-distance, message) for share, distance, message in found if share.organization_key is not None)
    messages = [*entities, *(message for _, message in within[:_MOST_ORGANIZATIONS])]
    if len(within) > _MOST_ORGANIZATIONS:
        messages.append(f"{len(within) - _MOST_ORGANIZATIONS:,} more shares of single organizations are unusual too")
    return [Notice.of(UNUSUAL, message) for message in messages]


def _unlike(share: Share, runs: Sequence[RunShares], rules: Rules) -> Iterator[tuple[float, str]]:
    """How far from the usual, and what to say; nothing of an entity or organization that is empty before the run."""
    if not share.active:
        return
    before = counts_before(runs, share.entity, share.key)
    for kind, verb in enumerate(("created", "updated", "deactivated"), start=1):
        usual = learn([counts[kind] / counts[0] for counts in before])
        count = share.counts[kind]
        if usual and is_unusual(count, share.active, usual, rules.limit(share, "floor").value):
            told = f"{_percent(usual.low)} to {_percent(usual.high)}, the last {usual.runs} runs"
            yield (
                usual.distance(count, share.active),
                f"{_percent(count / share.active)} of {share.where} would be {verb}; usual: {told}",
            )


def _percent(share: float) -> str:
    """A share for a sentence, in three digits at most: `41 %`, `0.2 %`."""
    percent = round(100 * share, 4)
    return f"{percent:,.0f} %" if percent >= 100 else f"{percent:.3g} %"


# ---- holds -----------------------------------------------------------------------------------------------------------


def _empty_files(connection: duckdb.DuckDBPyConnection, manifest: RunManifest) -> list[Notice]:
    declared = FORMATS[manifest.format or ""]
    holds: list[Notice] = []
    for file in manifest.files:
        if file.rows or file.name == ID_CHANGES_FILE.name:
            continue
        spec = declared.file(file.name)
        active, known = _records_of(connection, spec)
        if active and manifest.mode == "snapshot":
            message = f"it has no readable rows, but the roster has {active:,} active records of its kind"
            holds.append(Notice.of("GUARD-EMPTY", message, file=file.name))
        elif not known and not spec.optional_file:
            raise Refused("FILE-EMPTY", "it has a header and no readable rows; export it again", file=file.name)
    return holds


def _records_of(connection: duckdb.DuckDBPyConnection, spec: FileSpec) -> tuple[int, int]:
    """How many records of the file's kind are active, and how many there are at all."""
    role = f"AND role = '{spec.role}'" if spec.role else ""
    active, known = one_row(
        connection,
        f"""
        SELECT count(*) FILTER (status = 'active'), count(*)
        FROM db_{spec.entity}
        WHERE source = getvariable('source') {role}""",
    )
    return active, known


def _vanished(connection: duckdb.DuckDBPyConnection) -> list[Notice]:
    holds = []
    for entity in ENTITIES:
        active, gone = one_row(
            connection,
            f"""
            SELECT count(*), count(*) FILTER (gone)
            FROM (
                SELECT {entity.name}_gone.reason IS NOT NULL AS gone
                FROM db_{entity.name}
                LEFT JOIN {entity.name}_gone USING ({", ".join(primary_key(entity))})
                WHERE status = 'active' AND source = getvariable('source')
            )""",
        )
        if active and active == gone:
            holds.append(Notice.of("GUARD-EMPTY", f"all {active:,} active {entity.name} of this source would go"))
    return holds
