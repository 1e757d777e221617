"""*This morning*: a line a district, worst first, for somebody who has one minute and a phone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from enrollsync.database.schema import is_by_hand
from enrollsync.portal.districts import DistrictFile, list_districts
from enrollsync.portal.entry import Here, Visit
from enrollsync.portal.host import Schedule, Waiting
from enrollsync.portal.pages import Page, show, when
from enrollsync.portal.reader import roster
from enrollsync.portal.texts import say
from enrollsync.records.quality import count_new
from enrollsync.report.wording import OUTCOMES
from enrollsync.run.object_store import brought
from enrollsync.run.workspace import Workspace
from enrollsync.settings import District, run_folder
from enrollsync.words.errors import EnrollSyncError

LINES = 50
"""Districts on one page."""
NIGHTS = 14
"""Nights of the strip."""
_LATE = timedelta(minutes=30)
"""How long after its time a run may begin before it counts as missing."""
_AT_ONCE = 8
"""Rosters that are asked at the same time."""
_NO_DELIVERY = {"FILE-MISSING", "FILE-OVERDUE", "FILE-UNREACHABLE"}
_ORDERS = ("worst", "name", "age", "deactivated", "rejected")
"""What the list can be sorted by."""
Run = Mapping[str, Any]
"""A row of `Memory.runs_since`."""

routes = APIRouter()


@dataclass(frozen=True)
class Verdict:
    """A district's state in a word."""

    rank: int
    """The smaller, the more it needs somebody."""
    word: str
    tone: str
    """`bad`, `wait`, `calm` or `good`, as in `report.wording`."""
    said: str = ""
    """Why, in a line."""
    until: str = ""
    """The end of the word, where it names a time."""

    @property
    def kind(self) -> str:
        """The word without a time."""
        return self.word.removesuffix(self.until).strip()


@dataclass(frozen=True)
class Night:
    """What came of one day's last run; `outcome` is None where none ran."""

    day: date
    outcome: str | None
    word: str
    tone: str


@dataclass(frozen=True)
class Line:
    """One district of the list."""

    district_id: str
    name: str
    verdict: Verdict
    timezone: str = "UTC"
    run_id: str | None = None
    """The run that the verdict speaks of."""
    ran_at: datetime | None = None
    delivered_at: datetime | None = None
    """When the newest delivery arrived that a run read."""
    created: int = 0
    """People, like the next two: created or reactivated."""
    changed: int = 0
    deactivated: int = 0
    links_gone: int = 0
    """Enrollments that were, or would be, deactivated."""
    written: bool = False
    """Whether these were written."""
    rejected: int = 0
    """Rows of all kinds."""
    rejected_more: int | None = None
    """How many more than in the run before; None where there is none to compare with."""
    new_findings: int = 0
    """Of how many codes there are more than the night before, those left out that somebody knows of."""
    nights: tuple[Night, ...] = ()
    next_run: datetime | None = None
    may_change: bool = False


@routes.get("/")
def this_morning(here: Here, q: str = "", verdict: str = "", sort: str = "worst", page: Page = 1) -> Response:
    """Every district that the visitor may read, worst first."""
    now = datetime.now(UTC)
    lines = list_lines(here, now)
    kinds = [line.verdict.kind for line in sorted(lines, key=lambda line: line.verdict.rank)]
    counted = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    order = sort if sort in _ORDERS else "worst"
    fitting = sorted((line for line in lines if _fits(line, q, verdict)), key=lambda line: _order(line, order, now))
    facts = {
        "districts": fitting[LINES * (page - 1) : LINES * page],
        "found": len(fitting),
        "all": len(lines),
        "verdicts": counted,
        "page": page,
        "pages": max(1, -(-len(fitting) // LINES)),
        "sort": order,
        "now": now,
    }
    return show(here, "morning.html.j2", facts)


def list_lines(here: Visit, now: datetime, only: str | None = None) -> list[Line]:
    """A line for each district that the visitor may read, or for one alone, in no order."""
    files = [file for file in list_districts() if only in (None, file.district_id)]
    readable = here.host.allowed(here.visitor, [file.district_id for file in files], "look")
    files = [file for file in files if file.district_id in readable]
    changeable = here.host.allowed(here.visitor, readable, "edit")
    ids = [file.district_id for file in files if file.settings]
    schedules = here.host.schedules(ids)
    waiting = {one.district_id: one for one in reversed(here.host.waiting(ids))}
    runs, new, problems = _runs_of(here, [file.settings for file in files if file.settings], now)
    lines = [
        _line(file, runs.get(file.district_id, []), waiting.get(file.district_id), schedules.get(file.district_id), now)
        for file in files
    ]
    return [
        replace(
            _with_problem(line, problems),
            may_change=line.district_id in changeable,
            new_findings=new.get(line.district_id, 0),
        )
        for line in lines
    ]


def _with_problem(line: Line, problems: Mapping[str, str]) -> Line:
    problem = problems.get(line.district_id)
    return line if problem is None else replace(line, verdict=Verdict(1, say("Roster unreachable"), "bad", problem))


def _runs_of(
    here: Visit, districts: list[District], now: datetime
) -> tuple[dict[str, list[Run]], dict[str, int], dict[str, str]]:
    """District -> its runs, newest first; -> how many findings are new; -> why they are not known.

    Each roster is asked once.
    """
    # The same for an hour, so that what a roster said before can be told again.
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=NIGHTS + 1)
    homes: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    for district in districts:
        try:
            homes.setdefault(here.host.database_url(district), []).append(district.district_id)
        except EnrollSyncError as error:
            problems[district.district_id] = str(error)
    zones = {district.district_id: district.zone for district in districts}

    def ask(url: str, ids: list[str]) -> tuple[list[dict[str, Any]], dict[str, int], dict[str, str]]:
        store = roster(url)

        def tell() -> tuple[list[dict[str, Any]], dict[str, int]]:
            found = store.runs_since(ids, since)
            with store.asking() as read:
                return found, count_new(read, found, zones, now)

        try:
            return *store.told((tuple(ids), since), tell), {}
        except EnrollSyncError as error:
            return [], {}, dict.fromkeys(ids, str(error))

    shares = [[*homes.items()][first::_AT_ONCE] for first in range(_AT_ONCE)]
    runs: dict[str, list[Run]] = {}
    new: dict[str, int] = {}
    with ThreadPoolExecutor(_AT_ONCE) as several:
        told = several.map(lambda share: [ask(*home) for home in share], shares)
    for found, counted, failed in chain.from_iterable(told):
        problems |= failed
        new |= counted
        for run in found:
            if is_by_hand(run["message"]):  # a morning is about what came of a night
                continue
            runs.setdefault(run["district_id"], []).append(run)
    return runs, new, problems


def _line(
    file: DistrictFile, runs: list[Run], waiting: Waiting | None, schedule: Schedule | None, now: datetime
) -> Line:
    if file.settings is None:
        return Line(file.district_id, file.district_id, Verdict(0, say("Settings broken"), "bad", file.problem or ""))
    settings = file.settings
    manifest = _manifest(settings, waiting)
    last = runs[0] if runs else None
    told = manifest or last
    line = Line(
        settings.district_id,
        settings.name,
        judge(settings, last, (waiting, manifest) if waiting else None, schedule, now),
        timezone=settings.timezone,
        run_id=waiting.run_id if waiting else last["run_id"] if last else None,
        ran_at=last["started_at"] if last else None,
        delivered_at=next((run["delivered_at"] for run in (told, *runs) if run and run["delivered_at"]), None),
        nights=tuple(_nights(runs, settings, now)),
        next_run=schedule.next_run if schedule else None,
    )
    return _with_counts(line, told, runs if manifest is None else [manifest, *runs])


def _manifest(settings: District, waiting: Waiting | None) -> Run | None:
    """What is known of a run that waits, as a row of `Memory.runs_since`; None where its files are gone."""
    if waiting is None:
        return None
    try:
        known = Workspace(brought(run_folder(settings, waiting.run_id), ())).read()
    except EnrollSyncError:
        return None
    names = ("run_id", "outcome", "delivered_at", "counts", "findings", "answer_by")
    return {name: getattr(known, name) for name in names} | {"started_at": known.as_of, "message": known.error}


def judge(
    settings: District,
    last: Run | None,
    waiting: tuple[Waiting, Run | None] | None,
    schedule: Schedule | None,
    now: datetime,
) -> Verdict:
    """The district's state in a word, out of its last run, what waits, and when it should have run."""
    if waiting:
        return _waits(settings, waiting[1], now)
    due = schedule.next_run if schedule and not schedule.paused else None
    if due and now - due > _LATE:
        return Verdict(4, say("Did not run"), "bad", say("A run was due {when}.", when=when(due, settings.zone)))
    if last is None:
        word = say("Paused") if schedule and schedule.paused else say("No run yet")
        return Verdict(7, word, "calm", say("Nothing is known of this district until its first run."))
    return _ended(last, schedule)


def _waits(settings: District, manifest: Run | None, now: datetime) -> Verdict:
    word, said = say("Waits for you"), say("Without an answer nothing is written.")
    by = manifest and manifest["answer_by"]
    if not by:
        return Verdict(2, word, "wait", said)
    local = by.astimezone(settings.zone)
    today = now.astimezone(settings.zone).date() == local.date()
    until = say("until {time}", time=f"{local:%H:%M}" if today else f"{local:%a %H:%M}")
    return Verdict(2, f"{word} {until}", "wait", said, until)


_RANKS = {"failed": 1, "refused": 3, "rejected": 5, "held": 5, "paused": 7, "planned": 7, "checked": 7, "undone": 8,
          "forgotten": 8, "trimmed": 8, "applied": 9, "in_sync": 10}  # fmt: skip


def _ended(last: Run, schedule: Schedule | None) -> Verdict:
    outcome = OUTCOMES[last["outcome"]]
    if _NO_DELIVERY & last["findings"].keys():
        return Verdict(
            3, say("No delivery"), "bad", last["message"] or say("The newest delivery is older than it should be.")
        )
    if last["outcome"] == "held":
        return Verdict(5, say("Not answered"), "wait", last["message"] or outcome.meaning)
    if schedule and schedule.paused and outcome.tone in ("good", "calm"):
        return Verdict(7, say("Paused"), "calm", say("Its runs are switched off in Airflow."))
    return Verdict(_RANKS[last["outcome"]], say(outcome.title), outcome.tone, last["message"] or say(outcome.meaning))


def _with_counts(line: Line, told: Run | None, runs: list[Run]) -> Line:
    if told is None:
        return line
    people, links = told["counts"].get("users", {}), told["counts"].get("enrollments", {})
    passed = ("undone", "paused", "failed", "forgotten", "trimmed")
    before = next((run for run in runs[1:] if run["outcome"] not in passed), None)
    rejected = _rejected(told)
    return replace(
        line,
        created=people.get("create", 0) + people.get("reactivate", 0),
        changed=people.get("update", 0) + people.get("reidentify", 0),
        deactivated=people.get("deactivate", 0),
        links_gone=links.get("deactivate", 0),
        written=told["outcome"] in ("applied", "undone", "forgotten"),
        rejected=rejected,
        rejected_more=None if before is None else rejected - _rejected(before),
    )


def _rejected(run: Run) -> int:
    return sum(row.get("rejected", 0) for row in run["counts"].values())


def _nights(runs: list[Run], settings: District, now: datetime) -> Iterable[Night]:
    """The last nights, the oldest first: what the last run of each day came to."""
    came = {run["started_at"].astimezone(settings.zone).date(): run["outcome"] for run in reversed(runs)}
    today = now.astimezone(settings.zone).date()
    for back in range(NIGHTS - 1, -1, -1):
        that_day = today - timedelta(days=back)
        yield _night(that_day, came.get(that_day))


@lru_cache(maxsize=1024)
def _night(day: date, came: str | None) -> Night:
    """Hundreds of districts have the same few."""
    outcome = OUTCOMES[came] if came else None
    return Night(day, came, say(outcome.title) if outcome else say("no run"), outcome.tone if outcome else "none")


def _fits(line: Line, q: str, verdict: str) -> bool:
    named = q.strip().lower() in f"{line.name} {line.district_id}".lower()
    return named and verdict in ("", line.verdict.kind)


def _order(line: Line, order: str, now: datetime) -> tuple[Any, ...]:
    name = line.name.lower()
    age = (now - line.delivered_at).total_seconds() if line.delivered_at else float("inf")
    first: dict[str, Any] = {
        "worst": line.verdict.rank,
        "name": 0,
        "age": -age,
        "deactivated": -line.deactivated,
        "rejected": -line.rejected,
    }
    return first[order], name
