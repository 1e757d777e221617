"""`make up`: Airflow standalone until Ctrl-C, its log in a file, and on the terminal only what a person needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HOME = Path(os.environ["AIRFLOW_HOME"])
ADDRESS = os.environ["AIRFLOW__API__BASE_URL"]
LOG = HOME / "logs" / "standalone.log"
PASSWORDS = HOME / "simple_auth_manager_passwords.json.generated"
START_SECONDS = 120


def answers() -> bool:
    """Whether the API server is there."""
    try:
        with urllib.request.urlopen(f"{ADDRESS}/api/v2/monitor/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def wait_until_ready(airflow: subprocess.Popen[bytes]) -> bool:
    """Whether Airflow came up; False when it ended, or took too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and airflow.poll() is None:
        if answers():
            return True
        time.sleep(0.5)
    return False


def stop(airflow: subprocess.Popen[bytes]) -> None:
    """End Airflow's whole process group: alone, `airflow standalone` leaves its servers behind."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(airflow.pid, number)
        except ProcessLookupError:
            return
        time.sleep(5 if number == signal.SIGTERM else 0)


def main() -> int:
    """Run Airflow until it is interrupted."""
    if answers():
        print(f"Something answers on {ADDRESS} already; end it first.", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        airflow = subprocess.Popen(
            ["airflow", "standalone"], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        print("Starting Airflow ...", flush=True)
        if not wait_until_ready(airflow):
            print(f"Airflow did not start; its log is {LOG}", file=sys.stderr)
            return 1
        print(f"Airflow    {ADDRESS}/dags/enrollment_sync__demo")
        print(f"user       admin; the password is in {os.path.relpath(PASSWORDS)}")
        print(f"log        {os.path.relpath(LOG)}")
        print("Ctrl-C stops it.", flush=True)
        return airflow.wait()
    except KeyboardInterrupt:
        print("\nStopping Airflow ...")
        return 0
    finally:
        stop(airflow)


if __name__ == "__main__":
    sys.exit(main())
