"""docker-compose.yaml as a whole: every service's own command, with Celery and two workers, on this machine.

One stack for all tests of this file, which follow each other on the same districts.
"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import paramiko
import pytest

from enrollsync.sample import write_sample
from live.compose import SERVICES, service_of
from live.district import District
from live.services import LOCAL, Airflow, started, until
from nightly import write_csv

pytestmark = pytest.mark.slow

WANTED = (*LOCAL, "redis", "worker-1", "worker-2", "worker-large", "flower", "sftp")
SOONER = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
}
"""A worker's death is noticed in seconds; the file says two minutes, which the restarts are tried with."""
HELD = {"deactivate_percent": 10, "update_percent": 5, "floor": 1, "fields": {"given_name": 100}}
FREE = {"update_percent": 100, "fields": {"given_name": 100}}
RESTARTED = ("roster-db", "scheduler", "worker-1", "dag-processor", "redis", "triggerer", "airflow-db", "flower",
             "sftp", "api-server")  # fmt: skip
"""The first interrupts a step that is tried again after a minute; the others go on meanwhile."""
OUR_FAULT = 500
"""From this status on an answer says that the server is in trouble."""


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    """Started in the order of `depends_on`, until every service's own health check is content."""
    with started(SOONER, WANTED, {"ENROLLSYNC_QUEUES": "small,default"}) as running:
        yield running


@pytest.fixture(scope="module")
def adams(airflow: Airflow) -> District:
    """A district that was triggered over REST, and whose first delivery the workers loaded."""
    return District.settled(airflow, "adams", thresholds=FREE)


def test_every_service_of_the_file_starts_in_its_order_and_stays(airflow: Airflow) -> None:
    assert {service_of(instance) for instance in WANTED} == SERVICES.keys()
    assert airflow.services.processes.keys() == set(WANTED) - {"init"}
    assert not airflow.services.came_back


# ---- a district by SFTP ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sender:
    """A district's own machine, which knows nothing but the SFTP drop."""

    port: int
    login: str
    password: str

    def deliver(self, folder: Path) -> None:
        """Upload a folder's files under other names, rename them, and say with `.done` that all are there."""
        with paramiko.Transport(("127.0.0.1", self.port)) as session:
            session.connect(None, self.login, self.password)
            files = paramiko.SFTPClient.from_transport(session)
            assert files is not None
            if ".done" in files.listdir("/"):
                files.remove("/.done")
            for file in sorted(folder.iterdir()):
                files.put(str(file), f"/{file.name}.part")
                files.posix_rename(f"/{file.name}.part", f"/{file.name}")
            files.open("/.done", "w").close()


def test_deliveries_by_sftp_start_runs_and_a_held_plan_is_approved_over_rest_and_gets_into_the_roster(
    airflow: Airflow, tmp_path: Path
) -> None:
    services, lincoln = airflow.services, District(airflow, "lincoln")
    said = services.execute("sftp", ["python", "-m", "enrollsync.arrive.drop", "password", "lincoln"])
    sender = Sender(airflow.place.ports["sftp"], "lincoln", said.stdout.strip())

    def run_of_the_watch(number: int) -> str:
        """The id of the watch's run, when it is there."""
        path = f"dags/{lincoln.sync}/dagRuns?order_by=run_after"
        until(lambda: airflow.call("GET", path)["total_entries"] == number, 120, lambda: services.tail("triggerer"))
        run = airflow.call("GET", path)["dag_runs"][-1]
        assert run["run_type"] == "asset_triggered"
        return str(run["dag_run_id"])

    write_sample(tmp_path, "batch_upload", students=60, seed=3)
    sender.deliver(tmp_path)
    source = {"path": "data/landing/lincoln", "watch": True, "ready": ".done"}
    airflow.add_district("lincoln", source=source, thresholds=HELD)
    run_id = run_of_the_watch(1)
    airflow.wait(lincoln.sync, run_id)
    with (tmp_path / "users.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    loaded = lincoln.rows("SELECT user_id FROM roster_users WHERE district_id = 'lincoln'")
    assert {user_id for (user_id,) in loaded} == {row["userId"] for row in rows}

    students = {row["userId"] for row in rows if row["userRole"].casefold() == "student"}
    changed = [row | {"userFirstName": "Sent"} if row["userId"] in students else row for row in rows]
    write_csv(tmp_path / "users.csv", changed, rows[0])
    sender.deliver(tmp_path)
    run_id = run_of_the_watch(2)
    airflow.answer(lincoln.sync, run_id, "approve", "Approve")
    airflow.wait(lincoln.sync, run_id)
    assert (lincoln.run(run_id), lincoln.named("Sent")) == (("applied", "admin"), 60)


# ---- a worker dies ---------------------------------------------------------------------------------------------------


def test_load_whose_worker_is_killed_is_done_by_the_other_one(airflow: Airflow, adams: District) -> None:
    services = airflow.services

    def at_work() -> str | None:
        process = airflow.process_of(adams.sync, run_id, "load")
        return services.instance_of(process) if process else None

    adams.change_names("Killed")
    with adams.locked():
        run_id = airflow.trigger(adams.sync)
        until(lambda: bool(at_work()) and adams.is_waited_for(), 60, lambda: airflow.story(adams.sync, run_id))
        killed = at_work()
        assert killed is not None
        services.kill(killed)
        until(lambda: at_work() is not None, 90, lambda: airflow.story(adams.sync, run_id, "load"))
        assert {killed, at_work()} == {"worker-1", "worker-2"}
    airflow.wait(adams.sync, run_id)
    assert (adams.named("Killed"), adams.run(run_id), adams.audited(run_id)) == (60, ("applied", None), 60)
    services.start(killed)


# ---- queues ----------------------------------------------------------------------------------------------------------


def test_a_large_district_is_left_to_the_worker_of_its_own(airflow: Airflow) -> None:
    state = District.settled(airflow, "state", thresholds=FREE, size="large")
    state.change_names("Large")
    with state.locked():
        run_id = airflow.trigger(state.sync)
        until(state.is_waited_for, 120, lambda: airflow.story(state.sync, run_id))
        process = airflow.process_of(state.sync, run_id, "load")
        assert process is not None and airflow.services.instance_of(process) == "worker-large"
    airflow.wait(state.sync, run_id)
    tasks = airflow.call("GET", f"dags/{state.sync}/dagRuns/{run_id}/taskInstances")["task_instances"]
    assert {task["queue"] for task in tasks} == {"large"}
    assert state.named("Large") == 60


# ---- each service starts anew ----------------------------------------------------------------------------------------


@dataclass
class Load:
    """Runs of a district one after the other, each with a delivery of its own, whatever happens to the services."""

    district: District
    ended: threading.Event = field(default_factory=threading.Event)
    at_work: str | None = None
    """The run that is under way."""
    told: list[str] = field(default_factory=list)
    """What came of each: state, and how many people have its name."""

    def run(self) -> None:
        while not self.ended.is_set():
            name = f"{self.district.name.title()}{'abcdefghijklmnopqrstuvwxyz'[len(self.told)]}"
            self.district.change_names(name)
            self.at_work = f"load_{len(self.told)}"
            self._insist("POST", "", logical_date=None, dag_run_id=self.at_work, conf={})
            while (state := self._insist("GET", f"/{self.at_work}")["state"]) not in ("success", "failed"):
                time.sleep(0.5)
            self.told.append(f"{state}: {self._named(name)}")
            self.at_work = None

    def _insist(self, method: str, path: str, **sent: object) -> dict[str, str]:
        while True:
            with suppress(httpx.TransportError):
                try:
                    path_of_runs = f"dags/{self.district.sync}/dagRuns{path}"
                    return dict(self.district.airflow.call(method, path_of_runs, **sent))
                except httpx.HTTPStatusError as error:
                    if error.response.status_code == httpx.codes.CONFLICT:
                        return {}  # it was taken, and the answer was lost
                    if error.response.status_code < OUR_FAULT:
                        raise
            time.sleep(0.5)

    def _named(self, name: str) -> int:
        return self.district.named(name)


def test_each_service_starts_anew_under_load_and_nothing_is_lost(airflow: Airflow, adams: District) -> None:
    services = airflow.services
    for name in SOONER:
        del services.place.otherwise[name]
    load = Load(adams)
    thread = threading.Thread(target=load.run, daemon=True)
    thread.start()
    for instance in RESTARTED:
        until(lambda: load.at_work is not None, 60, lambda: str(load))
        services.stop(instance)
        services.start(instance)
        if services.is_cheap(instance):
            services.wait_until_healthy(instance)
    for instance in ("dag-processor", "triggerer", "worker-1"):
        services.wait_until_healthy(instance)
    load.ended.set()
    thread.join(300)
    assert load.at_work is None, airflow.story(adams.sync, load.at_work)
    assert len(load.told) > 1 and set(load.told) == {"success: 60"}, load.told
