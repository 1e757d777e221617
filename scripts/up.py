"""`make up`: Airflow standalone until Ctrl-C, its log in a file, and on the terminal only what a person needs."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOME = Path(os.environ["AIRFLOW_HOME"])
HOST = os.environ["AIRFLOW__API__HOST"]
PORT = os.environ["AIRFLOW__API__PORT"]
ADDRESS = os.environ["AIRFLOW__API__BASE_URL"]
DAG = "enrollment_sync__demo"
LOG = HOME / "logs" / "standalone.log"
LOCK = HOME / "up.lock"
PASSWORDS = HOME / "simple_auth_manager_passwords.json.generated"
START_SECONDS = 600
PATIENCE_SECONDS = 30
"""After so long a person wants to hear that Airflow is still starting."""
ANSWER_SECONDS = 60


class CannotStart(Exception):
    """One line that says why, and what to do."""


@contextmanager
def only_one() -> Iterator[None]:
    """Nobody else's `make up` in this folder: two schedulers on one SQLite file would be in each other's way.

    Raises CannotStart when there is one already.
    """
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CannotStart(f"Airflow runs here already, on {file.read()}; end that `make up` first") from None
        file.truncate(0)
        file.write(ADDRESS)
        file.flush()
        yield


def require_port() -> None:
    """Raises CannotStart when the API server could not listen on PORT."""
    if not PORT.isdecimal() or not 0 < int(PORT) < 65536:
        raise CannotStart(f"PORT={PORT} is no port; for instance: make up PORT=8090")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # or a server that has just ended is in the way
        try:
            probe.bind((HOST, int(PORT)))
            probe.listen()
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise CannotStart(f"port {PORT} {reason}; take another: make up PORT={int(PORT) + 10}") from None


def ask(path: str, sent: dict[str, str] | None = None, token: str = "") -> Any:
    """What the API server answers, as JSON; OSError when it does not, or not well."""
    body = json.dumps(sent).encode() if sent else None
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{ADDRESS}/{path}", body, headers)
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        return json.load(answer)


def is_ready() -> bool:
    """Whether a run that is triggered now would start at once.

    Airflow builds the API that tasks talk to when it is first asked, which on a busy machine takes longer than a task
    has patience; so it is asked here.
    """
    try:
        ask("execution/health")
        parts = ask("api/v2/monitor/health").values()
        password = json.loads(PASSWORDS.read_text())["admin"]
        token = ask("auth/token", {"username": "admin", "password": password})["access_token"]
        ask(f"api/v2/dags/{DAG}", token=token)
    except (OSError, ValueError):
        return False
    return all(part and part["status"] == "healthy" for part in parts)


def wait_until_ready(airflow: subprocess.Popen[bytes]) -> None:
    """Raises CannotStart when Airflow ended, or took too long."""
    begun = time.monotonic()
    patient = True
    while airflow.poll() is None and time.monotonic() - begun < START_SECONDS:
        if is_ready():
            return
        if patient and time.monotonic() - begun > PATIENCE_SECONDS:
            print(f"Still starting; its log is {LOG}", flush=True)
            patient = False
        time.sleep(0.5)
    raise CannotStart(f"Airflow did not start; its log is {LOG}")


def stop(airflow: subprocess.Popen[bytes]) -> None:
    """End Airflow's whole process group: alone, `airflow standalone` leaves its servers behind."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(airflow.pid, number)
        except ProcessLookupError:
            return
        time.sleep(5 if number == signal.SIGTERM else 0)


def run() -> int:
    """Run Airflow until it is interrupted or ends; its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with LOG.open("wb") as log:
        airflow = subprocess.Popen(
            ["airflow", "standalone"], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        print("Starting Airflow ...", flush=True)
        wait_until_ready(airflow)
        print(f"Airflow    {ADDRESS}/dags/{DAG}")
        print(f"user       admin; the password is in {os.path.relpath(PASSWORDS)}")
        print(f"log        {os.path.relpath(LOG)}")
        print("Ctrl-C stops it.", flush=True)
        return airflow.wait()
    except KeyboardInterrupt:
        print("\nStopping Airflow ...")
        return 0
    finally:
        stop(airflow)


def main() -> int:
    """Exit status of Airflow, or 1 with one line when it cannot start."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    try:
        with only_one():
            require_port()
            return run()
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
