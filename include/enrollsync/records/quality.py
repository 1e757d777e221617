"""How many findings there were night after night, by code and by school, and which of them are new.

A night is a day of the district on which a run read a delivery and came to a plan. Of a source that did not deliver
that day, what its last run found still holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, select

from enrollsync.as_of.records import Read, Row
from enrollsync.database.schema import KNOWN_FINDINGS, RUNS, FoundInSchools
from enrollsync.words.codes import CODES, Scope

NIGHTS = 30
"""Of which is told."""
_RUNS = 3 * NIGHTS
"""More are not read: several sources may deliver on one day, and one may do so several times."""
LOOKED_AT_NOTHING = ("refused", "failed", "undone", "paused", "forgotten", "trimmed")
"""Outcomes of runs that found nothing of a delivery's rows."""


_OF_NO_ROW = (Scope.PLAN, Scope.WAITS)
"""What is said of a whole plan, and what only follows from another finding."""


@dataclass(frozen=True)
class Look:
    """What one run found."""

    run_id: str
    began: datetime
    source: str
    counts: dict[str, int]
    """Code -> findings."""
    schools: FoundInSchools | None


@dataclass(frozen=True)
class Night:
    """What was found on one day."""

    day: date
    counts: dict[str, int]
    """Code -> findings, without those that are `_OF_NO_ROW`."""
    schools: FoundInSchools | None
    """None: not measured, by an EnrollSync that did not do so yet."""
    runs: list[str] = field(default_factory=list)
    """Those that found it, one of each source."""

    def at(self, key: int | str) -> dict[str, int]:
        """Code -> findings on rows of one organization."""
        return {code: found[str(key)] for code, found in (self.schools or {}).items() if str(key) in found}

    def by_school(self, codes: Iterable[str]) -> dict[str, int]:
        """Key of an organization -> findings of these codes."""
        totals: dict[str, int] = {}
        for code in codes:
            for key, count in (self.schools or {}).get(code, {}).items():
                totals[key] = totals.get(key, 0) + count
        return totals


@dataclass(frozen=True)
class Known:
    """What is not new, however many there are."""

    everywhere: frozenset[str] = frozenset()
    """Codes."""
    at: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Code -> keys of organizations."""


@dataclass(frozen=True)
class Rise:
    """A code of which there are more than the night before, in all or in some organization."""

    code: str
    before: int
    now: int
    schools: dict[str, tuple[int, int]]
    """Key of an organization in which there are more -> before and now, the largest rise first."""


def last_nights(read: Read, district_id: str, zone: ZoneInfo) -> list[Night]:
    """The last nights, the oldest first."""
    query = (
        select(*_LOOKED, RUNS.c.schools_json)
        .where(RUNS.c.district_id == district_id, RUNS.c.source.is_not(None))
        .where(RUNS.c.outcome.not_in(LOOKED_AT_NOTHING))
        .order_by(RUNS.c.started_at.desc())
        .limit(_RUNS)
    )
    runs = [
        Look(
            row["run_id"],
            datetime.fromisoformat(row["started_at"]),
            row["source"],
            json.loads(row["findings_json"]),
            _schools(row["schools_json"]),
        )
        for row in read(query)
    ]
    return nights_of(reversed(runs), zone)[-NIGHTS:]


_LOOKED = (RUNS.c.run_id, RUNS.c.started_at, RUNS.c.source, RUNS.c.findings_json)


def nights_of(runs: Iterable[Look], zone: ZoneInfo) -> list[Night]:
    """The nights of some runs, oldest first."""
    newest: dict[str, Look] = {}
    nights: dict[date, Night] = {}
    for run in runs:
        newest[run.source] = run
        day = run.began.astimezone(zone).date()
        nights[day] = _night(day, list(newest.values()))
    return list(nights.values())


def _night(day: date, runs: list[Look]) -> Night:
    counts: dict[str, int] = {}
    for run in runs:
        for code, count in run.counts.items():
            if code not in CODES or CODES[code].scope not in _OF_NO_ROW:
                counts[code] = counts.get(code, 0) + count
    measured = [run.schools for run in runs if run.schools is not None]
    return Night(day, counts, _together(measured) if len(measured) == len(runs) else None, [run.run_id for run in runs])


def _together(measured: list[FoundInSchools]) -> FoundInSchools:
    if len(measured) == 1:
        return measured[0]
    total: FoundInSchools = {}
    for schools in measured:
        for code, found in schools.items():
            for key, count in found.items():
                total.setdefault(code, {})[key] = total.get(code, {}).get(key, 0) + count
    return total


@lru_cache(maxsize=256)
def _schools(text: str | None) -> FoundInSchools | None:
    """What a night found never changes again, and in a state it is a long text; nobody writes to what this gives."""
    schools: FoundInSchools | None = json.loads(text or "null")
    return schools


def rises(before: Night, now: Night, known: Known) -> list[Rise]:
    """What is more than the night before, in the order of the codes; what is known counts on neither side."""
    found = []
    for code in sorted(now.counts):
        if code in known.everywhere:
            continue
        apart = known.at.get(code, frozenset())
        counts = [night.counts.get(code, 0) - sum(_in(night, code, key) for key in apart) for night in (before, now)]
        schools = _risen(before, now, code, apart)
        if counts[1] > counts[0] or schools:
            found.append(Rise(code, counts[0], counts[1], schools))
    return found


def _in(night: Night, code: str, key: str) -> int:
    return (night.schools or {}).get(code, {}).get(key, 0)


def _risen(before: Night, now: Night, code: str, apart: frozenset[str]) -> dict[str, tuple[int, int]]:
    if before.schools is None or now.schools is None:
        return {}
    pairs = {key: (_in(before, code, key), count) for key, count in now.schools.get(code, {}).items()}
    more = {key: pair for key, pair in pairs.items() if pair[1] > pair[0] and key not in apart}
    return dict(sorted(more.items(), key=lambda one: (one[1][0] - one[1][1], one[0])))


def count_new(
    read: Read, runs: Iterable[Mapping[str, Any]], zones: Mapping[str, ZoneInfo], now: datetime
) -> dict[str, int]:
    """District -> of how many codes there are more than the night before and nobody knows; zero is left out.

    `runs` as `Memory.runs_since` has them, the newest first; `zones`: of every district.
    """
    looks: dict[str, list[Look]] = {}
    for run in runs:
        if run["source"] is not None and run["outcome"] not in LOOKED_AT_NOTHING:
            look = Look(run["run_id"], run["started_at"], run["source"], run["findings"], None)
            looks.setdefault(run["district_id"], []).insert(0, look)
    schools = {
        (row["district_id"], row["run_id"]): _schools(row["schools_json"])
        for row in read(_schools_of({one: nights_of(found, zones[one])[-2:] for one, found in looks.items()}))
    }
    known: dict[str, list[Row]] = {}
    for row in read(all_known(looks)):
        known.setdefault(row["district_id"], []).append(row)
    counted = {}
    for one, found in looks.items():
        measured = [replace(look, schools=schools.get((one, look.run_id))) for look in found]
        nights = nights_of(measured, zones[one])[-2:]
        today = now.astimezone(zones[one]).date()
        if len(nights) == 2 and (more := rises(nights[0], nights[1], known_of(in_force(known.get(one, []), today)))):
            counted[one] = len(more)
    return counted


def _schools_of(nights: Mapping[str, list[Night]]) -> Select[Any]:
    runs = {run_id for some in nights.values() for night in some for run_id in night.runs}
    return select(RUNS.c.district_id, RUNS.c.run_id, RUNS.c.schools_json).where(
        RUNS.c.district_id.in_(list(nights)), RUNS.c.run_id.in_(runs), RUNS.c.schools_json.is_not(None)
    )


# ---- what persons know ----------------------------------------------------------------------------------------------


def all_known(district_ids: Iterable[str]) -> Select[Any]:
    """What persons in these districts know and have not ended, the newest first; some of it may be over by its day."""
    return (
        select(KNOWN_FINDINGS)
        .where(KNOWN_FINDINGS.c.district_id.in_(list(district_ids)), KNOWN_FINDINGS.c.ended_at.is_(None))
        .order_by(KNOWN_FINDINGS.c.made_at.desc(), KNOWN_FINDINGS.c.known_id)
    )


def in_force(rows: Iterable[Row], today: date) -> list[Row]:
    """Those that hold on that day of the district; on the day that a person named they do not any more."""
    return [row for row in rows if row["until"] > today.isoformat()]


def known_of(rows: list[Row]) -> Known:
    """What is known by rows that are in force."""
    at: dict[str, set[str]] = {}
    for row in rows:
        if row["organization_key"] is not None:
            at.setdefault(row["code"], set()).add(str(row["organization_key"]))
    everywhere = frozenset(row["code"] for row in rows if row["organization_key"] is None)
    return Known(everywhere, {code: frozenset(keys) for code, keys in at.items()})
