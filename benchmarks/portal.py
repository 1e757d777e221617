"""How long the portal's pages take: `python -m benchmarks.portal`; set by the environment.

SIZE      students of the large district (1000000)
FOLDER    where deliveries and rosters are made, and used again when they are there (data/bench/portal)
REQUESTS  of each case, one after the other, after WARM_UP that are not counted (100)
ONLY      `sqlite` or `postgresql`; the result is printed and not kept
CASES     a part of a case's route or name; the same

Making the rosters takes a quarter of an hour. Pages are asked for by one client, as HTML, of a real server on loopback.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import httpx
import psutil

from benchmarks import portal_roster, results
from benchmarks.__main__ import ENROLLSYNC, ROOT
from benchmarks.measure import measure
from benchmarks.portal_cases import CASES, Case, Known, sample
from benchmarks.portal_roster import DISTRICT, UNDOES, WAITS
from benchmarks.portal_served import serve
from benchmarks.server import postgres
from benchmarks.workloads import students_to_sample
from enrollsync.database import open_store
from enrollsync.portal.host import Waiting

LIMITS = {"postgresql": 300, "sqlite": 600}
"""Milliseconds at the 95th percentile."""
WARM_UP = 5
_WAITING = (Waiting(DISTRICT, WAITS, "sync"), Waiting(DISTRICT, UNDOES, "undo"))


@dataclass(frozen=True)
class Timed:
    """One case on one database; milliseconds."""

    database: str
    route: str
    case: str
    requests: int
    median: float
    p95: float
    most: float
    busy: float
    """Processor time of portal and database at the 95th percentile: what other programs on the machine change least."""
    first: float
    """The first of the warm-up, which may have to make what is kept for the next ones."""


def main() -> int:
    folder = Path(os.environ.get("FOLDER", str(ROOT / "data" / "bench" / "portal"))).resolve()
    only, part = os.environ.get("ONLY", ""), os.environ.get("CASES", "")
    cases = [case for case in CASES if part in f"{case.route} {case.what}"]
    make_deliveries(folder / "deliveries", int(os.environ.get("SIZE", "1000000")))
    timed, load = [], os.getloadavg()[0]
    with postgres(folder / "postgres") as server:
        for database in (name for name in LIMITS if only in ("", name)):
            url = make_home(folder, database, server)
            timed += time_pages(folder / f"home-{database}", url, database, cases)
        document = as_document(timed, load, postgresql=server.version())
    print(as_markdown(document))
    if not only and not part:
        write(document)
    return 0


# ---- what is measured on ---------------------------------------------------------------------------------------------


def make_deliveries(folder: Path, size: int) -> None:
    """Unless they are there already."""
    if (folder / WAITS).exists():
        return
    sampled = ("sample", str(folder / "sample"), "--format", "clever", "--students", str(students_to_sample(size)))
    for command in (
        (*ENROLLSYNC, *sampled, "--seed", "1"),
        (sys.executable, "-m", "benchmarks.workloads", str(folder), str(size)),
    ):
        made = measure(command, timeout=1800, env=os.environ, cwd=ROOT)
        if made.error:
            raise SystemExit(f"bench: the deliveries could not be made: {made.error}")
    portal_roster.add_deliveries(folder)


def make_home(folder: Path, database: str, server: Any) -> str | None:
    """The home of a kind of database, made unless it is there; returns the URL of the one roster of all, if any."""
    home, deliveries = folder / f"home-{database}", folder / "deliveries"
    os.environ["ENROLLSYNC_HOME"] = str(home)
    if database == "sqlite":
        if not home.exists():
            portal_roster.make_home(home, "sqlite:///data/large.db", deliveries, many=None)
        for file in (home / "data").glob("*.db"):
            open_store(f"sqlite:///{file}").migrate()
        return None
    url = str(server.url).replace("/postgres?", "/bench_1?") if home.exists() else server.new_database()
    if not home.exists():
        portal_roster.make_home(home, url, deliveries, many=url)
        server.settle(url)
    open_store(url).migrate()
    return url


# ---- measuring -------------------------------------------------------------------------------------------------------


def time_pages(home: Path, url: str | None, database: str, cases: list[Case]) -> Iterator[Timed]:
    """Every case, told as it is done."""
    known = sample(open_store(url or "sqlite:///data/large.db"), Random(1))
    others = [] if url is None else [int((home.parent / "postgres" / "postmaster.pid").read_text().split()[0])]
    with served(str(home), url) as (client, process):
        for case in cases:
            timed = time_case(client, case, known, database, [process, *others])
            over = " over" if timed.p95 > LIMITS[database] else ""
            figures = f"{timed.median:6.0f} {timed.p95:6.0f} {timed.most:6.0f} busy {timed.busy:6.0f}"
            figures = f"{figures} first {timed.first:6.0f}{over}"
            print(f"{database:10} {case.route:32} {case.what:60} {figures}", file=sys.stderr, flush=True)
            yield timed


def time_case(client: httpx.Client, case: Case, known: Known, database: str, processes: list[int]) -> Timed:
    """The same requests on every run."""
    random, taken, busy = Random(case.what), [], []
    for _ in range(WARM_UP + int(os.environ.get("REQUESTS", "100"))):
        address = case.address(random, known)
        all_of_them = _and_children(processes)
        worked, began = _processor_time(all_of_them), time.perf_counter()
        answer = client.get(address)
        taken.append(1000 * (time.perf_counter() - began))
        busy.append(1000 * (_processor_time(all_of_them) - worked))
        if answer.status_code != 200:
            raise SystemExit(f"bench: {address} answered {answer.status_code}: {answer.text[-300:]}")
    counted, worked_for = sorted(taken[WARM_UP:]), sorted(busy[WARM_UP:])
    at95 = math.ceil(0.95 * len(counted)) - 1
    figures = (median(counted), counted[at95], counted[-1], worked_for[at95], taken[0])
    return Timed(database, case.route, case.what, len(counted), *(round(figure, 1) for figure in figures))


def _and_children(processes: list[int]) -> list[int]:
    """PostgreSQL answers each connection by a process of its own."""
    return [pid for one in processes for pid in (one, *(child.pid for child in psutil.Process(one).children()))]


def _processor_time(processes: list[int]) -> float:
    """Seconds; Linux has a clock for each process, which `clock_getcpuclockid` names so."""
    total = 0.0
    for process in processes:
        with suppress(OSError):  # it has ended
            total += time.clock_gettime(~process << 3 | 2)
    return total


@contextmanager
def served(home: str, url: str | None) -> Iterator[tuple[httpx.Client, int]]:
    """A client of a server that has just begun, and that one's process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(home, url, _WAITING, port), daemon=True)
    server.start()
    try:
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=120, headers={"Accept": "text/html"}, trust_env=False) as client:
            _wait_for(client)
            yield client, int(server.pid or 0)
    finally:
        server.terminate()
        server.join()


def _wait_for(client: httpx.Client) -> None:
    for _ in range(300):
        try:
            client.get("/roster/static/roster.css")
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("bench: the server did not start")


# ---- what came out ---------------------------------------------------------------------------------------------------


def as_document(timed: list[Timed], load: float, **facts: Any) -> dict[str, Any]:
    """The JSON document."""
    known = {"machine": results.machine(), "load_before": round(load, 1), "commit": results.commit()[0], **facts}
    return {**known, "limits": LIMITS, "warm_up": WARM_UP, "rows": [asdict(row) for row in timed]}


def as_markdown(document: dict[str, Any]) -> str:
    """The table, as it goes into the documentation."""
    computer, rows = document["machine"], document["rows"]
    head = (
        f"{computer['cores']} cores of {computer['cpu']}, {computer['memory_gib']} GiB, {computer['system']}, Python "
        f"{computer['python']}, PostgreSQL {document['postgresql']}; load average before {document['load_before']}; "
        f"commit {document['commit']}. Milliseconds of {rows[0]['requests']} requests."
    )
    databases = list(dict.fromkeys(row["database"] for row in rows))
    titles = " | ".join(
        f"{database} {figure}" for database in databases for figure in ("median", "p95", "most", "processor p95")
    )
    lines = [head, "", f"| page | case | {titles} |", f"|---|---|{'---:|' * 4 * len(databases)}"]
    told = {(row["route"], row["case"], row["database"]): row for row in rows}
    for route, case in dict.fromkeys((row["route"], row["case"]) for row in rows):
        found = [told[route, case, database] for database in databases]
        figures = " | ".join(f"{row[name]:.0f}" for row in found for name in ("median", "p95", "most", "busy"))
        lines.append(f"| `{route.removeprefix('/districts/{district_id}') or '/'}` | {case} | {figures} |")
    return "\n".join(lines)


def write(document: dict[str, Any]) -> None:
    """`portal.json` and the table as `portal.md`."""
    (results.FOLDER / "portal.json").write_text(json.dumps(document, indent=2) + "\n")
    (results.FOLDER / "portal.md").write_text(as_markdown(document) + "\n")


if __name__ == "__main__":
    sys.exit(main())
