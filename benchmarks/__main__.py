"""Runs the bench; set by the environment.

SIZE      students of the district (100000)
RUNS      repeats, of which the medians are kept (1)
TIMEOUT   seconds for any one command (1800)
ONLY      names of systems, separated by commas; the result is printed and not kept
KEEP      1 leaves the files and the databases under data/bench
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.measure import Measured, measure
from benchmarks.results import OURS, Row
from benchmarks.server import Server, postgres, settings
from benchmarks.workloads import NIGHTS, students_to_sample

ROOT = Path(__file__).resolve().parents[1]
ENROLLSYNC = (str(ROOT / ".venv" / "bin" / "python"), "-m", "enrollsync")
FIRST, NIGHTLY, RECONCILE = "first load", "nightly, 1 % changed", "reconcile step of that night"
ONEROSTER = f"{OURS}, OneRoster"
"""The system that its figures stand under."""
WORKLOADS = (
    (FIRST, "base", (), "applied"),
    (NIGHTLY, "changed", (), "applied"),
    ("unchanged", "changed", (), "in_sync"),
    ("unchanged, forced", "changed", ("--force",), "in_sync"),
    ("10 % re-identified", "reidentified", (), "applied"),
)
"""Name, night that is delivered, options, outcome; one after the other on one database."""
LOADERS = {
    "dlt merge": ("dlt_merge",),
    "dlt merge + checkpoint": ("checkpoint", "dlt_merge"),
    "pandas script": ("pandas_script",),
    "pandas script + checkpoint": ("checkpoint", "pandas_script"),
    "floor": ("floor",),
}
"""System -> module of `benchmarks.peers`, and what it is told before the rest."""
COMPARERS = {"datacompy (pandas)": "pandas", "datacompy (polars)": "polars"}
REMOVES_NOTHING = {"dlt merge": "roster.", "dlt merge + checkpoint": "roster."}
"""System -> schema; it keeps those who left, and may have more rows than the files."""
SMALLEST = 1000


@dataclass(frozen=True)
class Bench:
    """One run of the bench."""

    folder: Path
    """Everything it writes."""
    size: int
    timeout: float
    only: tuple[str, ...]
    """Systems; all when empty."""
    server: Server
    records: dict[str, dict[str, int]]
    """Night -> table -> distinct records."""

    def wants(self, system: str) -> bool:
        """Whether this system is to be measured."""
        return not self.only or system in self.only

    def run(self, *command: str, **env: str) -> Measured:
        """Measure one command, whose modules were compiled by the first one, as they are where it is used."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return measure(command, timeout=self.timeout, env=kept | env, cwd=ROOT)


def main() -> int:
    size, runs = int(os.environ.get("SIZE", "100000")), int(os.environ.get("RUNS", "1"))
    only = tuple(name.strip() for name in os.environ.get("ONLY", "").split(",") if name.strip())
    unknown = set(only) - {OURS, *LOADERS, *COMPARERS}
    if size < SMALLEST or runs < 1 or unknown:
        names = ", ".join((OURS, *LOADERS, *COMPARERS))
        print(f"bench: SIZE is {SMALLEST} or more, RUNS 1 or more, ONLY among: {names}", file=sys.stderr)
        return 2
    with _folder() as folder, postgres(folder / "postgres") as server:
        timeout = float(os.environ.get("TIMEOUT", "1800"))
        bench = Bench(folder, size, timeout, only, server, {})
        bench = replace(bench, records=make_nights(bench))
        rows = [row for _ in range(runs) for row in one_round(bench)]
        document = results.as_document(
            size,
            results.medians(rows),
            runs=runs,
            postgresql=server.version(),
            postgresql_settings=settings(),
            records=bench.records,
        )
    print(results.as_markdown(document))
    if not only:
        results.write(document)
    return 0


@contextmanager
def _folder() -> Iterator[Path]:
    parent = ROOT / "data" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    try:
        yield folder
    finally:
        if os.environ.get("KEEP") != "1":
            shutil.rmtree(folder, ignore_errors=True)


def make_nights(bench: Bench) -> dict[str, dict[str, int]]:
    """Write the deliveries; a bench without them has nothing to measure."""
    students = str(students_to_sample(bench.size))
    sample = ("sample", str(bench.folder / "sample"), "--format", "clever", "--students", students, "--seed", "1")
    made = bench.run(*ENROLLSYNC, *sample)
    if not made.error:
        made = bench.run(sys.executable, "-m", "benchmarks.workloads", str(bench.folder), str(bench.size))
    if made.error:
        raise SystemExit(f"bench: the deliveries could not be made: {made.error}")
    records: dict[str, dict[str, int]] = json.loads(made.output)
    return records


def one_round(bench: Bench) -> Iterator[Row]:
    """Every system once, each on a database of its own."""
    if bench.wants(OURS):
        for database in ("sqlite", "postgresql"):
            yield from _told(enrollsync_rows(bench, database))
        yield from _told(oneroster_rows(bench))
    for system, script in LOADERS.items():
        if bench.wants(system):
            yield from _told(loader_rows(bench, system, script))
    for system, engine in COMPARERS.items():
        if bench.wants(system):
            yield from _told(comparer_rows(bench, system, engine))


def _told(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        figures = row.error or f"{row.seconds:8.1f} s {row.peak_mib:8,.0f} MiB"
        print(f"{row.system:22} {row.workload:30} {row.database:12} {figures}", file=sys.stderr, flush=True)
        yield row


def filled(row: Row, done: Measured, phases: dict[str, float]) -> Row:
    """The row with the figures of a finished command."""
    return replace(row, seconds=done.seconds, cpu_seconds=done.cpu_seconds, peak_mib=done.peak_mib, phases=phases)


def enrollsync_rows(bench: Bench, database: str) -> Iterator[Row]:
    """The workloads in order; of the changed night, the reconcile step once more by itself."""
    with _database(bench, database) as url:
        for workload, night, options, outcome in WORKLOADS:
            row = enrollsync_row(bench, Row(OURS, workload, database), url, (bench.folder / night, *options), outcome)
            yield row
            if workload == NIGHTLY and not row.error and "plan" in row.phases:
                yield replace(row, workload=RECONCILE, seconds=row.phases["plan"], cpu_seconds=0.0, phases={})
            if database == "postgresql":
                if workload in (FIRST, NIGHTLY):
                    _enrollsync(bench, "export", url, str(_as_oneroster(bench, night)), "--format", "oneroster")
                bench.server.settle(url)


def oneroster_rows(bench: Bench) -> Iterator[Row]:
    """The first two nights once more as OneRoster 1.2, every file the whole, as the rosters were exported."""
    with _database(bench, "postgresql") as url:
        for workload, night, options, outcome in WORKLOADS[:2]:
            source = (_as_oneroster(bench, night), *options)
            yield enrollsync_row(bench, Row(ONEROSTER, workload, "postgresql"), url, source, outcome, "oneroster")
            bench.server.settle(url)


def _as_oneroster(bench: Bench, night: str) -> Path:
    return bench.folder / f"{night}-oneroster"


def enrollsync_row(
    bench: Bench, row: Row, url: str, source: tuple[object, ...], outcome: str, primary: str = "clever"
) -> Row:
    """One `enrollsync sync`; its workspace is read for the phases and removed."""
    done = _enrollsync(bench, "sync", url, "--json", "--source", *map(str, source), primary=primary)
    result = _last_line(done.output)
    if done.error or result.get("outcome") != outcome:
        said = done.error or f"ended as {result.get('outcome')}, not {outcome}"
        return replace(row, error=said)
    manifest = json.loads((Path(result["artifacts"]) / "run.json").read_text())
    shutil.rmtree(result["artifacts"])
    return filled(row, done, manifest["seconds"])


def _enrollsync(bench: Bench, command: str, url: str, *arguments: str, primary: str = "clever") -> Measured:
    home = bench.folder / "home"
    home.mkdir(exist_ok=True)
    district = home / "bench.yaml"
    district.write_text(_DISTRICT % primary)
    options = ("--district", str(district), "--database", url, *arguments)
    return bench.run(*ENROLLSYNC, command, *options, ENROLLSYNC_HOME=str(home))


_DISTRICT = """\
# Nothing is held: the bench measures the whole way.
district_id: bench
name: Bench Unified
primary_source: %s
source: {path: base}
database: {url: "sqlite:///bench.db"}
thresholds: {deactivate_percent: 100, update_percent: 100}
"""


def loader_rows(bench: Bench, system: str, script: tuple[str, ...]) -> Iterator[Row]:
    """First load and the changed night."""
    with _database(bench, "postgresql") as url:
        for workload, night, argument in ((FIRST, "base", "first"), (NIGHTLY, "changed", "changed")):
            folder = str(bench.folder / night)
            row = Row(system, workload, "postgresql")
            # Nothing about the bench leaves the machine.
            done = bench.run(
                sys.executable, "-m", f"benchmarks.peers.{script[0]}", *script[1:], argument, folder, url,
                RUNTIME__DLTHUB_TELEMETRY="false",
            )  # fmt: skip
            error = done.error or _wrong_counts(bench, system, night, url)
            if error:
                yield replace(row, error=error)
                continue
            phases = _last_line(done.output)["phases"]
            yield filled(row, done, phases)
            bench.server.settle(url)


def _wrong_counts(bench: Bench, system: str, night: str, url: str) -> str | None:
    """A loader that did not load is not fast."""
    schema = REMOVES_NOTHING.get(system, "")
    for table, expected in bench.records[night].items():
        found = bench.server.count(url, schema + table)
        if found < expected or (found > expected and not schema):
            return f"{table} has {found:,} rows afterwards, not {expected:,}"
    return None


def comparer_rows(bench: Bench, system: str, engine: str) -> Iterator[Row]:
    """Its comparison alone, frames in memory, beside our whole step, which reads the database and writes the plan."""
    folders = [str(bench.folder / night) for night in NIGHTS[:2]]
    done = bench.run(sys.executable, "-m", "benchmarks.peers.datacompy_compare", engine, *folders)
    row = Row(system, RECONCILE, "none")
    if done.error:
        yield replace(row, error=done.error)
        return
    phases = _last_line(done.output)["phases"]
    yield replace(row, seconds=phases["compare"], peak_mib=done.peak_mib, phases=phases)


@contextmanager
def _database(bench: Bench, kind: str) -> Iterator[str]:
    """The URL of an empty database, removed afterwards."""
    if kind == "postgresql":
        url = bench.server.new_database()
        yield url
        if os.environ.get("KEEP") != "1":
            bench.server.drop(url)
        return
    path = bench.folder / "roster.db"
    path.unlink(missing_ok=True)
    yield f"sqlite:///{path}"
    path.unlink(missing_ok=True)


def _last_line(output: str) -> dict[str, Any]:
    """The JSON object that a command prints last."""
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except json.JSONDecodeError:
        found = {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
