"""The night of many small districts and a few large ones, all due at the same moment, by Celery workers.

    DISTRICTS=40 LARGE=2 STUDENTS=3000 LARGE_STUDENTS=50000 WORKERS=2 \\
        PYTHONPATH=include:tests python -m benchmarks.scale_out

The compose file's services run as processes on this machine, two PostgreSQL servers and redis among them, with settings
as in the file but one task at a time in each worker. WORKERS=1 measures one worker; WORKERS=2 measures two that take
every district, and then, in new services, one that leaves large districts to the other. NIGHTS=2 has a second night, of
which 1 % is changed, after the first load. Runs are made by hand for one later moment, so that all are due at once.

What the services take when they have nothing to do is measured for a minute first, kept apart, and not counted for
the districts. The same deliveries are loaded beforehand by one process for each size that has imported what a worker
imports before it forks: its processor time is ours, what the workers took besides is Airflow's. Figures are added to
`benchmarks/results/scale_out.json`, a night in each line.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.measure import measure
from benchmarks.results import FOLDER, machine
from benchmarks.small_nights import deliver, district_file, less, make_deliveries, memory, processor
from live import compose, services

_IDLE_SECONDS = 60
"""The DAG files are parsed each half minute: twice."""
_SECONDS_TO_ASK = 0.5
"""Until one run is made by hand, on a slow machine."""
_LOOK_SECONDS = 5
_LONGEST = timedelta(hours=12)
_NIGHTS = (("first load", "base"), ("nightly, 1 % changed", "changed"))
_RESULTS = FOLDER / "scale_out.json"
_ONE_AT_A_TIME = {
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",  # Airflow's own; the tests are less patient
}
_WARM = """
import sys, time
from importlib import import_module
from enrollsync.airflow import warm
from enrollsync.cli import app
for name in warm.MODULES:
    import_module(name)
before = time.process_time()
if ended := app(sys.argv[1:], standalone_mode=False):
    sys.exit(ended)
print(time.process_time() - before)
"""
_RUNS = """
    SELECT dag_id, extract(epoch FROM run_after), extract(epoch FROM start_date), extract(epoch FROM end_date), state
      FROM dag_run
     WHERE run_id = %s
"""
_TASKS = """
    SELECT dag_id, extract(epoch FROM queued_dttm), extract(epoch FROM start_date), extract(epoch FROM end_date)
      FROM task_instance
     WHERE run_id = %s AND queued_dttm IS NOT NULL
"""


@dataclass(frozen=True)
class Size:
    """Districts of one size."""

    size: str
    """`small` or `large`, as in their files."""
    districts: int
    students: int

    @property
    def names(self) -> list[str]:
        """Their identifiers."""
        return [f"{self.size}{number:03}" for number in range(self.districts)]

    @property
    def dags(self) -> list[str]:
        """The ids of their nightly DAGs."""
        return [f"enrollment_sync__{name}" for name in self.names]


@dataclass(frozen=True)
class Arrangement:
    """Which workers there are."""

    title: str
    workers: tuple[str, ...]
    queues: str
    """What those listen to that are not for large districts alone."""


_ONE = Arrangement("one worker", ("worker-1",), "small,large,default")
_TWO = Arrangement("two workers for every district", ("worker-1", "worker-2"), "small,large,default")
_APART = Arrangement(
    "two workers, one of them for large districts alone", ("worker-1", "worker-large"), "small,default"
)


@dataclass(frozen=True)
class Waits:
    """A district's night; seconds."""

    wait: float
    """From the moment at which its run was due to the start of its first task."""
    queued: float
    """Of all its tasks, from when they were put into the queue to when a worker had started them."""
    at_work: float
    """Of all its tasks, from their start to their end."""
    run: float
    """From the start of its run to the end."""
    done: float
    """From the moment at which its run was due to the end."""


def main() -> None:
    """Measure, print and keep."""
    small = Size("small", int(os.environ.get("DISTRICTS", "40")), int(os.environ.get("STUDENTS", "3000")))
    large = Size("large", int(os.environ.get("LARGE", "2")), int(os.environ.get("LARGE_STUDENTS", "50000")))
    sizes = [one for one in (small, large) if one.districts]
    nights = _NIGHTS[: int(os.environ.get("NIGHTS", "1"))]
    arrangements = (_ONE,) if os.environ.get("WORKERS", "2") == "1" else (_TWO, _APART) if large.districts else (_TWO,)
    with tempfile.TemporaryDirectory(prefix="enrollsync-scale-") as made:
        deliveries = {one.size: _made(Path(made) / one.size, one.students) for one in sizes}
        ours: dict[str, dict[str, float]] = {}
        for arrangement in arrangements:
            with _started(arrangement) as airflow:
                ours = ours or _ours(airflow, sizes, deliveries, nights)
                for title, folder in nights:
                    figures = _night(airflow, arrangement, sizes, deliveries, title, folder)
                    _keep(figures | _split(figures["cpu_seconds_a_district"], sizes, ours[title]))


def _made(folder: Path, students: int) -> Path:
    folder.mkdir()
    return make_deliveries(folder, students)


@contextmanager
def _started(arrangement: Arrangement) -> Iterator[services.Airflow]:
    wanted = (*services.LOCAL, "redis", *arrangement.workers)
    with services.started(_ONE_AT_A_TIME, wanted, {"ENROLLSYNC_QUEUES": arrangement.queues}) as airflow:
        yield airflow


# ---- by Airflow ------------------------------------------------------------------------------------------------------


def _night(
    airflow: services.Airflow, arrangement: Arrangement, sizes: list[Size], deliveries: dict[str, Path], title: str,
    folder: str,
) -> dict[str, Any]:  # fmt: skip
    """One night of all districts, as it is kept."""
    for one in sizes:
        for name in one.names:
            deliver(airflow.home / "data" / "landing" / name, deliveries[one.size] / folder)
            text = district_file(name, "{connection: district_db}") + f"size: {one.size}\n"
            (airflow.home / "districts" / f"{name}.yaml").write_text(text)
    dags = [dag for one in sizes for dag in one.dags]
    _wait_for_dags(airflow, dags)
    idle = _idle(airflow)
    run_id = f"scale_{folder}"
    due = datetime.now(UTC) + timedelta(seconds=15 + _SECONDS_TO_ASK * len(dags))
    for dag in dags:
        airflow.call("POST", f"dags/{dag}/dagRuns", dag_run_id=run_id, logical_date=None, run_after=due.isoformat())
    early = (due - datetime.now(UTC)).total_seconds()
    assert early > 0, f"the last run was made {-early:.0f} seconds after all were due; the machine is too busy"
    time.sleep(early)
    asked_before = _transactions(airflow)
    before, began = processor(airflow, is_counted=_every_service), time.monotonic()
    peak, connections = _watched(airflow, run_id, len(dags))
    took = time.monotonic() - began
    spent = less(processor(airflow, is_counted=_every_service), before)
    asked = _transactions(airflow) - asked_before
    waits = _waits(airflow, run_id)
    return {
        "night": title,
        "workers": arrangement.title,
        "sizes": [asdict(one) for one in sizes],
        "rows": {one.size: _rows_of(deliveries[one.size] / folder) for one in sizes},
        "date": due.date().isoformat(),
        "machine": machine(),
        "total_seconds": round(max(one.done for one in waits.values()), 1),
        "cpu_seconds_a_district": {
            name: round((spent[name] - idle[name] * took) / len(dags), 3) for name in sorted(spent)
        },
        "idle_cores": {name: round(idle[name], 4) for name in sorted(idle)},
        "peak_mib": peak,
        "peak_connections": connections,
        "metadata_transactions_a_district": round(asked / len(dags)),
        "summary": {one.size: _summary([waits[name] for name in one.names]) for one in sizes},
        "columns": list(Waits.__dataclass_fields__),
        "districts": {name: [round(value, 1) for value in asdict(one).values()] for name, one in waits.items()},
    }


def _every_service(service: str) -> bool:
    return bool(service)


def _rows_of(delivery: Path) -> int:
    """Lines of its files, without the headers."""
    return sum(file.read_bytes().count(b"\n") - 1 for file in delivery.glob("*.csv"))


def _rows(airflow: services.Airflow, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Of a question to Airflow's own database: asking its API would count as the night's work."""
    with psycopg.connect(airflow.place.url_of("airflow-db")) as database:
        return database.execute(query, values).fetchall()


def _wait_for_dags(airflow: services.Airflow, dags: list[str]) -> None:
    asked = "SELECT dag_id FROM serialized_dag WHERE dag_id = ANY(%s)"

    def are_there() -> bool:
        return len({*_rows(airflow, asked, dags)}) == len(dags)

    services.until(are_there, 1800, lambda: services.tail(airflow.home, "dag-processor"))


def _idle(airflow: services.Airflow) -> dict[str, float]:
    """Service -> cores that it takes when it has nothing to do."""
    before, began = processor(airflow, is_counted=_every_service), time.monotonic()
    time.sleep(_IDLE_SECONDS)
    spent = less(processor(airflow, is_counted=_every_service), before)
    return {name: value / (time.monotonic() - began) for name, value in spent.items()}


def _watched(airflow: services.Airflow, run_id: str, runs: int) -> tuple[dict[str, int], dict[str, int]]:
    """Wait until all runs have ended. What each service's processes had at most at once: MiB, shared ones counted once,
    and, of a database, connections.

    AssertionError where a run failed, or a service ended by itself.
    """
    asked = "SELECT dag_id, state FROM dag_run WHERE run_id = %s AND state IN ('success', 'failed')"
    peak: Counter[str] = Counter()
    connections: Counter[str] = Counter()
    deadline = datetime.now(UTC) + _LONGEST
    while len(ended := _rows(airflow, asked, run_id)) < runs:
        assert datetime.now(UTC) < deadline, f"{len(ended)} of {runs} runs ended in {_LONGEST}"
        peak |= memory(airflow, is_counted=_every_service)
        connections |= Counter({name: _connections(airflow, name) for name in ("airflow-db", "roster-db")})
        time.sleep(_LOOK_SECONDS)
    assert not airflow.services.came_back, f"ended by themselves: {dict(airflow.services.came_back)}"
    failed = [dag for dag, state in ended if state == "failed"]
    assert not failed, airflow.story(failed[0], run_id)
    return {name: round(value) for name, value in sorted(peak.items())}, dict(connections)


def _connections(airflow: services.Airflow, service: str) -> int:
    """Of others to the database now."""
    asked = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
    with psycopg.connect(airflow.place.url_of(service)) as database:
        ((number,),) = database.execute(asked).fetchall()
    return int(number)


def _waits(airflow: services.Airflow, run_id: str) -> dict[str, Waits]:
    """District -> its night."""
    tasks: dict[str, list[tuple[float, float, float]]] = {}
    for dag, *times in _rows(airflow, _TASKS, run_id):
        queued, started, ended = map(float, times)
        tasks.setdefault(dag, []).append((queued, started, ended))
    return {
        dag.removeprefix("enrollment_sync__"): Waits(
            wait=min(start for _, start, _ in tasks[dag]) - float(due),
            queued=sum(start - queued for queued, start, _ in tasks[dag]),
            at_work=sum(end - start for _, start, end in tasks[dag]),
            run=float(ended) - float(started),
            done=float(ended) - float(due),
        )
        for dag, due, started, ended, _ in sorted(_rows(airflow, _RUNS, run_id))
    }


def _transactions(airflow: services.Airflow) -> int:
    """Of Airflow's own database since its server was started."""
    ((done,),) = _rows(airflow, "SELECT sum(xact_commit + xact_rollback)::bigint FROM pg_stat_database")
    return int(done)


def _summary(nights: list[Waits]) -> dict[str, dict[str, float]]:
    """Column -> its median and its worst, of districts of one size."""
    columns = {name: [getattr(one, name) for one in nights] for name in Waits.__dataclass_fields__}
    return {
        name: {"median": round(statistics.median(values), 1), "worst": round(max(values), 1)}
        for name, values in columns.items()
    }


# ---- ours ------------------------------------------------------------------------------------------------------------


def _ours(
    airflow: services.Airflow, sizes: list[Size], deliveries: dict[str, Path], nights: tuple[tuple[str, str], ...]
) -> dict[str, dict[str, float]]:
    """Night -> size -> CPU seconds of the steps of one district, into the same server."""
    spent: dict[str, dict[str, float]] = {title: {} for title, _ in nights}
    for one in sizes:
        file = airflow.home / f"alone-{one.size}.yaml"
        file.write_text(district_file(file.stem, "{connection: district_db}"))
        made = airflow.services.execute("worker-1", ["enrollsync", "database", "migrate", "--district", str(file)])
        assert made.returncode == 0, made.stderr
        for title, folder in nights:
            asked = ["sync", "--district", str(file), "--source", str(deliveries[one.size] / folder), "--json"]
            done = measure(
                [sys.executable, "-c", _WARM, *asked],
                timeout=_LONGEST.total_seconds(), env=airflow.place.environment("worker-1"), cwd=airflow.home,
            )  # fmt: skip
            assert not done.error, done.error
            spent[title][one.size] = round(float(done.output.splitlines()[-1]), 2)
    return spent


def _split(spent: dict[str, float], sizes: list[Size], ours: dict[str, float]) -> dict[str, Any]:
    """The workers' CPU seconds a district, over all sizes: those of our steps, and what Airflow takes for its tasks."""
    workers = sum(value for name, value in spent.items() if compose.is_worker(name))
    steps = sum(ours[one.size] * one.districts for one in sizes) / sum(one.districts for one in sizes)
    split = {"ours": round(steps, 3), "airflow": round(workers - steps, 3)}
    return {"ours_cpu_seconds": ours, "workers_cpu_seconds_a_district": split}


def _keep(figures: dict[str, Any]) -> None:
    """Print the figures, and write them to the file in place of those of the same night, workers and sizes."""
    print(json.dumps({name: value for name, value in figures.items() if name != "districts"}, indent=1), flush=True)
    kept = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else []
    same = [figures[name] for name in ("night", "workers", "sizes")]
    kept = [one for one in kept if [one[name] for name in ("night", "workers", "sizes")] != same]
    lines = ",\n".join(json.dumps(one) for one in [*kept, figures])
    _RESULTS.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
