"""What the night of many small districts costs, through Airflow and by the command: processor time of every process.

    DISTRICTS=50 STUDENTS=3000 WORKERS=0 PYTHONPATH=include:tests python -m benchmarks.small_nights

Airflow runs as in the live tests: the compose file's services on this machine, tasks in the scheduler's forks or, with
WORKERS, in as many Celery workers. What Airflow takes when it has nothing to do is measured for half a minute first and
does not count, nor does PostgreSQL. The figures go to `benchmarks/results/small_nights.json`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import measure
from live import compose, services

_IDLE_SECONDS = 30
_NIGHTS = (("first load", "base"), ("nightly, 1 % changed", "changed"), ("unchanged", "changed"))
_RESULTS = Path(__file__).parent / "results" / "small_nights.json"


@dataclass
class Night:
    """One night of all districts, started at once; seconds are those of one district unless said otherwise."""

    way: str
    """`Airflow` or `command`."""
    night: str
    districts: int
    cpu_seconds: float
    """Of everything that ran, without what Airflow takes when it has nothing to do."""
    by_service: dict[str, float]
    """The same, of each service with its tasks; of the command nothing."""
    run_seconds: float
    """From a run's start to its end, the median; of the last one, when no other waits, with `Airflow`."""
    task_seconds: dict[str, float]
    """Task -> its median; of the command nothing."""
    all_seconds: float
    """Until the last district was done."""


def main() -> None:
    """Print and keep the figures."""
    districts, students = int(os.environ.get("DISTRICTS", "50")), int(os.environ.get("STUDENTS", "3000"))
    with tempfile.TemporaryDirectory(prefix="enrollsync-small-") as folder:
        deliveries = make_deliveries(Path(folder), students)
        nights = [*_by_airflow(deliveries, districts), *_by_command(Path(folder), deliveries, districts)]
    _RESULTS.write_text(json.dumps([asdict(night) for night in nights], indent=1) + "\n")


def make_deliveries(folder: Path, students: int) -> Path:
    """Make each night's files of a district of so many students in folders of their own within `folder`."""
    sampled = students + students // 400
    command = ("-m", "enrollsync", "sample", str(folder / "sample"), "--format", "clever", "--students", str(sampled))
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    workloads = ("-m", "benchmarks.workloads", str(folder), str(students))
    subprocess.run([sys.executable, *workloads], check=True, capture_output=True)
    return folder


def _by_airflow(deliveries: Path, districts: int) -> list[Night]:
    names = [f"small{number:03}" for number in range(districts)]
    nights = []
    workers = int(os.environ.get("WORKERS", "0"))
    wanted = (*services.LOCAL, "redis", *(f"worker-{number + 1}" for number in range(workers)))
    with services.started(wanted=wanted if workers else services.LOCAL) as airflow:
        for name in names:
            deliver(airflow.home / "data" / "landing" / name, deliveries / "base")
            (airflow.home / "districts" / f"{name}.yaml").write_text(district_file(name, "{connection: district_db}"))
        dags = [f"enrollment_sync__{name}" for name in names]
        for dag in dags:
            airflow.wait_for_dag(dag, 600)
        for title, folder in _NIGHTS:
            for name in names:
                deliver(airflow.home / "data" / "landing" / name, deliveries / folder)
            before, began = processor(airflow), time.monotonic()
            time.sleep(_IDLE_SECONDS)
            idle = less(processor(airflow), before)
            resting = time.monotonic() - began
            before, began = processor(airflow), time.monotonic()
            runs = [(dag, airflow.trigger(dag)) for dag in dags]
            for dag, run in runs:
                airflow.wait(dag, run, seconds=3600)
            spent, took = less(processor(airflow), before), time.monotonic() - began
            by_service = {name: (spent[name] - idle[name] / resting * took) / districts for name in sorted(spent)}
            tasks = [
                task
                for dag, run in runs
                for task in airflow.call("GET", f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
                if task["duration"]
            ]
            one = airflow.trigger(dags[0], {"force": True} if folder == "base" else None)  # alone, for its wall time
            airflow.wait(dags[0], one)
            alone = airflow.call("GET", f"dags/{dags[0]}/dagRuns/{one}")
            kinds = {task["task_id"] for task in tasks}
            nights.append(
                Night(
                    "Airflow", title, districts, round(sum(by_service.values()), 2),
                    {name: round(value, 2) for name, value in by_service.items()},
                    round(_seconds(alone["end_date"]) - _seconds(alone["start_date"]), 1),
                    {
                        kind: round(statistics.median(t["duration"] for t in tasks if t["task_id"] == kind), 2)
                        for kind in sorted(kinds)
                    },
                    round(took, 1),
                )
            )  # fmt: skip
            print(json.dumps(asdict(nights[-1])), flush=True)
    return nights


def _by_command(folder: Path, deliveries: Path, districts: int) -> list[Night]:
    names = [f"small{number:03}" for number in range(districts)]
    home = folder / "home"
    home.mkdir()
    for name in names:
        (home / f"{name}.yaml").write_text(district_file(name, f'{{url: "sqlite:///{name}.db"}}'))
    nights = []
    for title, night in _NIGHTS:
        began, done = time.monotonic(), []
        for name in names:
            command = [sys.executable, "-m", "enrollsync", "sync", "--district", str(home / f"{name}.yaml")]
            asked = [*command, "--source", str(deliveries / night), "--json"]
            done.append(measure(asked, timeout=600, env={**os.environ, "ENROLLSYNC_HOME": str(home)}, cwd=home))
        assert not [one.error for one in done if one.error], [one.error for one in done if one.error][0]
        nights.append(
            Night(
                "command", title, districts, round(statistics.mean(one.cpu_seconds for one in done), 2), {},
                round(statistics.median(one.seconds for one in done), 1), {}, round(time.monotonic() - began, 1),
            )
        )  # fmt: skip
        print(json.dumps(asdict(nights[-1])), flush=True)
    return nights


def deliver(landing: Path, delivery: Path) -> None:
    """Copy a night's files to where a district's are looked for."""
    landing.mkdir(parents=True, exist_ok=True)
    for file in delivery.glob("*.csv"):
        shutil.copy(file, landing / file.name)


def district_file(name: str, database: str) -> str:
    """Of a district whose plans never wait; `database` is YAML."""
    return (
        f"district_id: {name}\nname: {name}\nprimary_source: clever\nsource: {{path: data/landing/{name}}}\n"
        f"database: {database}\nthresholds: {{deactivate_percent: 100, update_percent: 100}}\n"
    )


def _of_our_image(service: str) -> bool:
    return compose.is_airflow(service)


def processor(airflow: services.Airflow, *, is_counted: Callable[[str], bool] = _of_our_image) -> Counter[str]:
    """Processor seconds of each service with its tasks so far: of processes, and of their children that have ended."""
    seconds: Counter[str] = Counter()
    for service, process in _processes(airflow, is_counted):
        with suppress(psutil.Error):
            seconds[service] += sum(process.cpu_times()[:4])  # user, system, and both of the children
    return seconds


def memory(airflow: services.Airflow, *, is_counted: Callable[[str], bool] = _of_our_image) -> Counter[str]:
    """MiB that each service's processes have now; what several share is divided among them."""
    mib: Counter[str] = Counter()
    for service, process in _processes(airflow, is_counted):
        with suppress(psutil.Error):
            mib[service] += process.memory_full_info().pss / 2**20
    return mib


def _processes(airflow: services.Airflow, is_counted: Callable[[str], bool]) -> Iterator[tuple[str, psutil.Process]]:
    """Service and process: its session's, and what came of these, because PostgreSQL's have sessions of their own."""
    for name, leader in airflow.services.processes.items():
        if is_counted(service := compose.service_of(name)):
            with suppress(psutil.Error):
                below = {child.pid for child in psutil.Process(leader.pid).children(recursive=True)}
                for pid in {*below, *compose.members(leader.pid)}:
                    with suppress(psutil.Error):
                        yield service, psutil.Process(pid)


def less(after: Counter[str], before: Counter[str]) -> Counter[str]:
    """What came between two looks, of each service."""
    return Counter({name: after[name] - before[name] for name in after})


def _seconds(moment: Any) -> float:
    return datetime.fromisoformat(moment).timestamp()


if __name__ == "__main__":
    main()
