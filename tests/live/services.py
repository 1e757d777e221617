"""Airflow in one process tree a service, with tasks in the scheduler, for what an administrator does.

The services are those of `docker-compose.yaml`, started by `live.compose`; see there what is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from live.compose import Place, Services, furnished

LOCAL = ("airflow-db", "roster-db", "init", "api-server", "scheduler", "dag-processor", "triggerer")
"""What is started where tasks run in the scheduler; redis and worker are for the tests of the whole stack."""
QUICKER = {"AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5"}
"""Waits that suit a server that stays, not a test."""
IN_THE_SCHEDULER = {**QUICKER, "AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "AIRFLOW__CORE__PARALLELISM": "2"}


@dataclass
class Airflow:
    """The running services, over REST."""

    place: Place
    client: httpx.Client
    services: Services

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

    def process_of(self, dag_id: str, run_id: str, task_id: str) -> int | None:
        """The id of the process that runs a task now: it carries the task instance's id in its title."""
        task = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        processes = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and f"airflow worker -- {task['id']}" in _title(entry)
        ]
        return processes[0] if processes else None

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


@contextmanager
def started(
    more: Mapping[str, str] | None = None, wanted: Collection[str] = LOCAL, chosen: Mapping[str, str] | None = None
) -> Iterator[Airflow]:
    """These of the compose file's services, healthy and logged in; ended and removed at the end.

    `more`: variables for Airflow's services besides, or in place of the file's. `chosen`: what stands in .env besides.
    """
    with ExitStack() as stack:
        own = QUICKER if "redis" in wanted else IN_THE_SCHEDULER
        place = stack.enter_context(furnished({**own, **(more or {})}, chosen or {}))
        services = Services(place)
        stack.enter_context(services.kept())
        services.up(wanted)
        airflow = Airflow(place, stack.enter_context(httpx.Client(timeout=30)), services)
        until(lambda: set(airflow.health().values()) == {"healthy"}, 120, lambda: str(airflow.health()))
        airflow.log_in()
        yield airflow
