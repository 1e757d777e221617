"""Whether a plan may go ahead by itself: completeness and thresholds of section 6; and whether it is an unusual one.

Looks at the plan's tables and shares, never at single rows; approving is the caller's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import duckdb

from enrollsync.database.schema import RunShares, primary_key, record_keys
from enrollsync.formats import ID_CHANGES_FILE, FileSpec
from enrollsync.plan import hints
from enrollsync.plan.shares import Share
from enrollsync.plan.usual import LEAST_RUNS, MOST_RUNS, counts_before, is_unusual, learn
from enrollsync.run.engine import one_row
from enrollsync.run.run import Run
from enrollsync.run.workspace import OPERATIONS, Notice, RunManifest
from enrollsync.settings import Limits, SomeLimits, Thresholds, Window
from enrollsync.words import times
from enrollsync.words.canonical import ENTITIES, USERS
from enrollsync.words.errors import Refused

if TYPE_CHECKING:
    from enrollsync.database import Store

_MOST_ORGANIZATIONS = 20
"""Shares within organizations that are told one by one; a change of the whole district shows in each of them."""
_MOST_FIELDS = 6
"""Fields that a hold names, those of most records first."""
_MOST_SCHOOLS = 3
"""Schools that are named where a field changes for many, those with most of them first."""


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
    def of(cls, run: Run) -> Rules:
        """The rules of a run."""
        day = run.manifest.as_of.astimezone(run.settings.zone).date()
        return cls(run.settings.thresholds, day, SomeLimits.model_validate(run.manifest.overrides))

    def limit(self, share: Share, name: str) -> Limit:
        """The limit `name` (`deactivate_percent`, `update_percent`, `floor`) for a share; each is looked up alone."""
        named = ((getattr(limits, name), said) for limits, said in self._layers(share))
        return next(Limit(value, said) for value, said in named if value is not None)

    def field_limit(self, field: str) -> Limit | None:
        """The percent of the users for whom a field may change; None where any number may.

        What a person set for this run is about how many records change, and not about what a shifted column does.
        """
        for window in self._windows():
            if field in window.fields:
                return Limit(window.fields[field], _until(window))
        return Limit(self.thresholds.fields[field], "") if field in self.thresholds.fields else None

    def _windows(self) -> Iterator[Window]:
        return (window for window in self.thresholds.windows if window.first <= self.day <= window.last)

    def _layers(self, share: Share) -> Iterator[tuple[Limits | SomeLimits, str]]:
        """Limits that may speak of a share; the first that does wins.

        What somebody set for this very delivery comes first. An organization's limits follow: whoever wrote them knew
        of that school what no calendar knows. A window is the exception of a few days to what holds all year, for an
        entity or for everything.
        """
        yield self.overrides, " for this run"
        if share.organization in self.thresholds.organizations:
            yield self.thresholds.organizations[share.organization], " for this organization"
        for window in self._windows():
            yield window, _until(window)
        for entity, limits in self.thresholds.entities.items():
            if entity == share.entity:
                yield limits, f" for {entity}"
        yield self.thresholds, ""


def _until(window: Window) -> str:
    return f" until {window.last}" + (f", {window.name}" if window.name else "")


@dataclass(frozen=True)
class Past:
    """What the roster remembers of earlier runs, as far as a plan is held against it."""

    last_applied: tuple[str, datetime | None] | None = None
    """Batch hash and delivery time of the source's newest applied run; None without one."""
    left_out_by: str | None = None
    """The run that was approved without its removals, if nothing was settled since."""
    shares: Sequence[RunShares] = ()
    """What the last runs changed, newest first."""
    forgotten_answered: int = 0
    """The state in which a person last answered a plan that had people who were forgotten; 0 where nobody did."""

    @classmethod
    def of(cls, store: Store, district_id: str, source: str) -> Past:
        """The past of a district's source."""
        return cls(
            store.last_applied(district_id, source),
            store.left_out_removals(district_id, source),
            store.shares_before(district_id, MOST_RUNS),
            store.forgotten_answered(district_id),
        )


def judge(
    connection: duckdb.DuckDBPyConnection, run: Run, shares: list[Share], counts: dict[str, dict[str, int]], past: Past
) -> tuple[list[Notice], list[Notice]]:
    """Why the whole plan must wait, and what is to be told of it besides; `shares` and `counts` are what it changes.

    A plan that changes nothing takes nothing back in time, however old its delivery is, and is not unlike any other.
    Raises Refused as `find_holds` does.
    """
    holds = find_holds(connection, run, shares)
    if not any(numbers[name] for numbers in counts.values() for name in OPERATIONS):
        return holds, []
    stale = find_stale(run.manifest, past.last_applied, run.settings.zone)
    unusual = find_unusual(shares, past.shares, Rules.of(run))
    return [*holds, *stale, *find_left_out(counts, past.left_out_by)], list(unusual)


def find_holds(connection: duckdb.DuckDBPyConnection, run: Run, shares: Iterable[Share]) -> list[Notice]:
    """Every reason for which the whole plan must wait; `shares` are what the plan changes.

    Raises Refused (FILE-EMPTY) when a required file has no rows and the database has nothing of its kind either.
    """
    holds = [*_empty_files(connection, run), *_vanished(connection, run)]
    excesses = find_excesses(list(shares), Rules.of(run))
    signs = hints.cut_short(connection, run) if excesses else {}
    return [*holds, *told_with_hints(excesses, signs)]


def find_stale(manifest: RunManifest, last: tuple[str, datetime | None] | None, zone: ZoneInfo) -> list[Notice]:
    """A hold for a delivery older than the one of its source applied last (`last`: its batch hash and delivery time).

    One that a person named with `--source` may be of any age.
    """
    named = manifest.source and not manifest.picked
    if named or not last or not last[1] or not manifest.delivered_at or last[0] == manifest.batch_hash:
        return []
    if manifest.delivered_at >= last[1]:
        return []
    delivered, applied = times.told(manifest.delivered_at, zone), times.told(last[1], zone)
    message = f"delivered {delivered}, but one of {applied} was applied"
    return [Notice.of("GUARD-STALE", message)]


def find_left_out(counts: dict[str, dict[str, int]], left_out_by: str | None) -> list[Notice]:
    """A hold for removals, however few, while those of the run `left_out_by` wait for an answer."""
    removals = sum(numbers["deactivate"] for numbers in counts.values())
    if left_out_by is None or not removals:
        return []
    message = f"{removals:,} deactivations; run {left_out_by} was approved without its own, so these need an answer"
    return [Notice.of("GUARD-LEFT-OUT", message)]


Excess = tuple[Share, Notice]
"""A share, and what is said of a limit that it exceeds."""


def find_excesses(shares: Sequence[Share], rules: Rules) -> list[Excess]:
    """Every limit that is exceeded: of the entities, of single fields, then of the organizations, the largest first."""
    entities = [share for share in shares if share.organization_key is None]
    within = [share for share in shares if share.organization_key is not None]
    within.sort(key=lambda share: max(share.deactivated, share.changed), reverse=True)
    found = [(share, hold) for share in entities for hold in over_limits(share, rules)]
    for share in entities:
        if share.entity == USERS.name:
            schools = [one for one in within if one.entity == USERS.name]
            found += [(share, hold) for hold in over_field_limits(share, schools, rules)]
    return [*found, *((share, hold) for share in within for hold in over_limits(share, rules))]


def told_with_hints(excesses: Sequence[Excess], signs: Mapping[str, str]) -> list[Notice]:
    """The holds, each pattern told once, and of very many organizations no more than a person reads.

    `signs`: as `hints.cut_short` has them.
    """
    told, within, more = {""}, 0, Counter[str]()
    holds = []
    for share, hold in excesses:
        within += share.organization_key is not None
        if within > _MOST_ORGANIZATIONS:
            more[hold.code] += 1
            continue
        hint = signs.get(share.entity, "") if hold.code == "GUARD-DEACTIVATE" else hints.pattern(share)
        holds.append(hold if hint in told else hold.model_copy(update={"message": f"{hold.message}; {hint}"}))
        told.add(hint)
    rest = [Notice.of(code, f"{count:,} more organizations are over this limit") for code, count in more.items()]
    return [*holds, *rest]


def over_limits(share: Share, rules: Rules) -> list[Notice]:
    """The limits that a share exceeds; at the limit is not over it, and fewer than `floor` records never are."""
    judged = (
        ("GUARD-DEACTIVATE", share.deactivated, "deactivate_percent", "deactivated", ""),
        ("GUARD-UPDATE", share.changed, "update_percent", "changed", _by_field(share)),
    )
    holds = []
    for code, count, name, verb, more in judged:
        limit = rules.limit(share, name)
        if _exceeds(count, share, limit, rules):
            told = f"{count:,} of {share.active:,} active {share.where} would be {verb}"
            holds.append(Notice.of(code, f"{told} ({_against(count, share, limit)}){more}"))
    return holds


def over_field_limits(users: Share, schools: Iterable[Share], rules: Rules) -> list[Notice]:
    """Fields that change for more of the district's users than may be; filling in what was empty is no such change."""
    holds = []
    for name in users.fields:
        limit, count = rules.field_limit(name), users.replaced(name)
        if limit and _exceeds(count, users, limit, rules):
            told = f"{name} would change for {count:,} of {users.active:,} active users"
            message = f"{told} ({_against(count, users, limit)}){_by_school(name, schools)}"
            holds.append(Notice.of("GUARD-FIELD", message))
    return holds


def _exceeds(count: int, share: Share, limit: Limit, rules: Rules) -> bool:
    floor = rules.limit(share, "floor").value
    return bool(share.active) and count >= floor and 100 * count > limit.value * share.active


def _against(count: int, share: Share, limit: Limit) -> str:
    return f"{100 * count / share.active:.1f} %; the limit is {limit.value:g} %{limit.said}"


def _by_field(share: Share) -> str:
    """`: family_name 148, grade 3`, the fields of most records first."""
    fields = sorted(share.fields.items(), key=lambda item: -item[1])
    more = f" and {len(fields) - _MOST_FIELDS} more fields" if len(fields) > _MOST_FIELDS else ""
    listed = ", ".join(f"{name} {number:,}" for name, number in fields[:_MOST_FIELDS])
    return f": {listed}{more}" if listed else ""


def _by_school(name: str, schools: Iterable[Share]) -> str:
    """`: 120 users of North High (0012), 28 users of South (S2)`, where the field changes for most."""
    counted = sorted(((school.replaced(name), school.where) for school in schools), reverse=True)
    told = [f"{count:,} {where}" for count, where in counted[:_MOST_SCHOOLS] if count]
    return f": {', '.join(told)}" if told else ""


# ---- unlike the runs before ------------------------------------------------------------------------------------------

UNUSUAL = "GUARD-UNUSUAL"


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


def _empty_files(connection: duckdb.DuckDBPyConnection, run: Run) -> list[Notice]:
    manifest, declared = run.manifest, run.format
    holds: list[Notice] = []
    for file in manifest.files:
        if file.rows or file.name == ID_CHANGES_FILE.name:
            continue
        spec = declared.file(file.name)
        active, known = _records_of(connection, spec)
        if active and manifest.mode_of(spec.entity) == "snapshot" and declared.principal(spec):
            message = f"{file.name} has no readable rows, but the roster has {active:,} active {_kind(spec)}"
            holds.append(Notice.of("GUARD-EMPTY", message, file=file.name))
        elif not known and not spec.optional_file:
            raise Refused("FILE-EMPTY", "it has a header and no readable rows; export it again", file=file.name)
    return holds


def _kind(spec: FileSpec) -> str:
    """What a file brings: `students`, `classes`, `enrollments of students`."""
    people = {"student": "students", "teacher": "teachers", "staff": "staff"}.get(spec.role or "", spec.entity)
    return people if spec.entity == USERS.name or people == spec.entity else f"{spec.entity} of {people}"


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


def _vanished(connection: duckdb.DuckDBPyConnection, run: Run) -> list[Notice]:
    """Entities of which nothing stays; who gets another role in a school stays there."""
    holds = []
    for entity in (entity for entity in ENTITIES if run.manifest.mode_of(entity.name) == "snapshot"):
        keys, ends = (", ".join(names) for names in (primary_key(entity), record_keys(entity)))
        stays = f"ANTI JOIN {entity.name}_resolved USING ({ends})" if entity.told_apart_by else ""
        active, gone = one_row(
            connection,
            f"""
            WITH ours AS (
                FROM db_{entity.name}
                WHERE status = 'active' AND source = getvariable('source')
            )
            SELECT (SELECT count(*) FROM ours),
                (SELECT count(*) FROM ours SEMI JOIN {entity.name}_departures USING ({keys}) {stays})""",
        )
        if active and active == gone:
            files = " and ".join(hints.files_of(entity.name, run))
            message = f"all {active:,} active {entity.name} of this source would go; {files} should have brought them"
            holds.append(Notice.of("GUARD-EMPTY", message))
    return holds
