"""What the scheduler imports before it forks the processes of tasks."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from enrollsync.airflow import warm

PROJECT = Path(__file__).resolve().parents[2]
FORKED = """
import os, sys, threading
sys.argv = ["airflow", {service!r}]
from enrollsync.airflow import warm
warm.on_starting(component=None)
there = [name in sys.modules for name in warm.MODULES]
assert set(there) == {{{expected}}}, there
assert threading.active_count() == 1, threading.enumerate()
if all(there):  # then a task finds its DAG's own modules too
    from pathlib import Path
    from airflow.dag_processing.dagbag import BundleDagBag
    before, file = set(sys.modules), Path({dags!r}) / "enrollment_sync.py"
    assert BundleDagBag(str(file), safe_mode=False, bundle_path=file.parent, bundle_name="dags").dags
    own = ("enrollsync.", "airflow.sdk.", "airflow.providers.standard.")
    assert not (late := [name for name in set(sys.modules) - before if name.startswith(own)]), late
child = os.fork()
if child == 0:
    import duckdb, pyarrow
    found = duckdb.connect().sql("SELECT sum(range) FROM range(100000)").to_arrow_table()
    os._exit(0 if found.to_pylist()[0] else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.slow
@pytest.mark.parametrize(("service", "executor", "expected"), [
    ("scheduler", "LocalExecutor", True), ("scheduler", "CeleryExecutor", False), ("triggerer", "LocalExecutor", False),
])  # fmt: skip
def test_scheduler_that_forks_tasks_imports_what_they_need_and_a_fork_of_it_works(
    service: str, executor: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    # Airflow itself brings some of the modules along.
    program = FORKED.format(service=service, expected="True" if expected else "True, False", dags=str(PROJECT / "dags"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


CELERY = """
import gc, os, sys, threading
from airflow.providers.celery.executors.celery_executor import app
from celery.signals import worker_process_init
from enrollsync.airflow import warm
assert not {"great_expectations", "duckdb"} & sys.modules.keys()  # the scheduler reads this configuration too
app.loader.import_default_modules()
assert not set(warm.MODULES) - sys.modules.keys()
assert threading.active_count() == 1, threading.enumerate()
worker_process_init.send(sender=None)
assert gc.get_freeze_count() > 100_000
"""


@pytest.mark.slow
def test_celery_worker_imports_what_tasks_need_before_it_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]["worker"]
    option = "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS"
    monkeypatch.setenv(option, worker["environment"][option])
    done = subprocess.run([sys.executable, "-c", CELERY], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_listener_is_the_plugins() -> None:
    plugin = runpy.run_path(str(PROJECT / "plugins" / "roster.py"))["RosterPlugin"]
    assert warm in plugin.listeners
