"""The rosters that the portal's pages are measured on: a large one with a life, and the runs of many others around it.

One home of EnrollSync for each kind of database. Everything in the large roster was written by real nights: a first
load, a changed night, one that gives a tenth of the students another identifier and has faulty lines. Two plans wait:
a night that changes every student's family name, and the undo of the night before.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

DISTRICT = "large"
NIGHTS = ("base", "changed", "reidentified", "renamed")
"""Deliveries, one a night; the last one waits."""
WAITS, UNDOES = "renamed", "undo"
"""Runs whose plans wait."""
OTHERS = 399
"""Districts of which nothing is kept but their runs."""
REMEMBERED = 30
"""Nights before the first of which the large roster remembers what they changed, as if it were that old."""
IN_SYNC = 300
"""Its runs before those, which found nothing to do."""
FAULTY_SHARE = 500
"""One in so many students has no usable email in the third night, and as many enrollments name no class."""
FIRST = datetime(2026, 11, 20, 7, tzinfo=UTC)


def add_deliveries(folder: Path) -> None:
    """Spoil some lines of the third night that `workloads` made, and make the one that waits."""
    import duckdb

    third, waits = folder / "reidentified", folder / WAITS
    shutil.copytree(third, waits, ignore=shutil.ignore_patterns("students.csv"))
    with duckdb.connect() as connection:
        for name in ("students", "enrollments"):
            source = f"read_csv('{third / name}.csv', all_varchar = true, header = true)"
            connection.execute(f"CREATE TABLE {name} AS FROM {source}")
        faulty = f"hash(Student_id) % {FAULTY_SHARE} = 0"
        for path, query in (
            (waits / "students.csv", "SELECT * REPLACE (Last_name || ' Rivera' AS Last_name) FROM students"),
            (third / "students.csv",
             f"SELECT * REPLACE (if({faulty}, 'none', Student_email) AS Student_email) FROM students"),
            (third / "enrollments.csv",
             f"FROM enrollments UNION ALL BY NAME SELECT DISTINCT ON (Student_id) * REPLACE ('X' AS Section_id) "
             f"FROM enrollments WHERE {faulty}"),
        ):  # fmt: skip
            connection.execute(f"COPY ({query}) TO '{path}' (FORMAT csv, HEADER true)")


def make_home(home: Path, url: str, deliveries: Path, *, many: str | None) -> None:
    """Districts' files, the large roster and the others' runs; `many`: URL of the one roster of all others, if any."""
    os.environ["ENROLLSYNC_HOME"] = str(home)
    (home / "include" / "districts").mkdir(parents=True)
    others = [f"district-{number:03}" for number in range(OTHERS)]
    _write_district(home, DISTRICT, url)
    for other in others:
        _write_district(home, other, many or f"sqlite:///data/{other}.db")
    for night, delivery in enumerate(NIGHTS):
        _alone(_run_night, delivery, str(deliveries / delivery), FIRST + timedelta(days=night))
    _alone(_plan_undo, NIGHTS[-2], FIRST + timedelta(days=len(NIGHTS)))
    _alone(_grow_old, url)
    _alone(_remember_others, others, many)


def _alone(work: Any, *arguments: Any) -> None:
    """In a process of its own, whose memory the measuring does not keep."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as one:
        one.submit(work, *arguments).result()


def _write_district(home: Path, district_id: str, url: str) -> None:
    told = {
        "district_id": district_id,
        "name": f"{district_id.title()} Unified",
        "primary_source": "clever",
        "timezone": "America/New_York",
        "source": {"path": f"data/landing/{district_id}"},
        "database": {"url": url},
        "thresholds": {"deactivate_percent": 100, "update_percent": 50},
    }
    (home / "include" / "districts" / f"{district_id}.yaml").write_text(yaml.safe_dump(told))


def _run_night(run_id: str, delivery: str, as_of: datetime) -> None:
    from enrollsync import steps

    workspace = steps.start(DISTRICT, run_id=run_id, as_of=as_of, source=delivery)
    steps.night(workspace, then=lambda at: steps.load(at) if steps.result(at)["outcome"] == "planned" else None)
    outcome = steps.result(workspace)["outcome"]
    if outcome != ("held" if run_id == WAITS else "applied"):
        raise SystemExit(f"bench: night {run_id} ended as {outcome}")
    (steps.draft_report if run_id == WAITS else steps.report)(workspace)


def _plan_undo(undone: str, as_of: datetime) -> None:
    from enrollsync import steps

    workspace = steps.start_undo(DISTRICT, undone, run_id=UNDOES, as_of=as_of)
    steps.plan_undo(workspace)
    steps.draft_report(workspace)


def _grow_old(url: str) -> None:
    """Each night ended on its own day, and others were before them."""
    from sqlalchemy import insert, select, update

    from enrollsync.database import open_store
    from enrollsync.database.memory import instant
    from enrollsync.database.schema import RUNS

    store = open_store(url)
    (pattern,) = store.rows(select(RUNS).where(RUNS.c.district_id == DISTRICT, RUNS.c.run_id == NIGHTS[-2]))
    with store.backend.connect().begin() as connection:
        connection.execute(update(RUNS).where(RUNS.c.district_id == DISTRICT).values(ended_at=RUNS.c.started_at))
        for ago in range(1, REMEMBERED + IN_SYNC + 1):
            began = instant(FIRST - timedelta(days=ago))
            earlier = {"run_id": f"earlier-{ago}", "started_at": began, "ended_at": began, "checked_at": began}
            if ago <= REMEMBERED:
                states: dict[str, Any] = {"state_before": -ago - 1, "state_after": -ago}
            else:
                states = {"outcome": "in_sync", "shares_json": None, "state_before": None, "state_after": None}
            connection.execute(insert(RUNS).values(**pattern | earlier | states))


def _remember_others(others: list[str], many: str | None) -> None:
    """Each other district has run on fourteen nights; nothing of its roster is asked for."""
    from sqlalchemy import insert

    from enrollsync.database import open_store
    from enrollsync.database.memory import instant
    from enrollsync.database.schema import RUNS
    from enrollsync.settings import load_district

    for other in others:
        store = open_store(many or str(load_district(other).database.url))
        store.migrate()
        rows = [
            {"district_id": other, "run_id": f"night-{ago}", "outcome": "applied" if ago % 3 else "in_sync",
             "started_at": instant(FIRST - timedelta(days=ago)), "findings_json": '{"VAL-EMAIL": 2}',
             "source": "clever", "schools_json": '{"VAL-EMAIL": {"1": 2}}',
             "counts_json": '{"users": {"create": 3, "update": 40, "deactivate": 2, "rejected": 2}}'}
            for ago in range(14)
        ]  # fmt: skip
        with store.backend.connect().begin() as connection:
            connection.execute(insert(RUNS), rows)
