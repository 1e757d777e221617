"""A district to run nights in."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import in_memory
import one_engine
from nightly import Nightly, Query

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from pyarrow import fs

# Tests write and remove many small files, and their databases wait for disks; what a test starts inherits this.
if memory := in_memory.folder():
    os.environ["TMPDIR"] = tempfile.tempdir = memory

# How long an example takes depends on what else the machine does.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: Python need not look for garbage in it again and again."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_engine() -> Iterator[None]:
    """All runs of this process share one DuckDB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("enrollsync.run.engine._engine", one_engine.Engine)
        yield
    one_engine.close()
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _quiet_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs keep their workspaces in the test's own folder."""
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Where an S3 server listens."""
    from s3_server import running

    with running() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[fs.S3FileSystem]:
    """A store of the test's own, which the environment names for runs' folders: its bucket is `kept`."""
    from enrollsync.run import object_store
    from s3_server import client, connection

    files = client(s3_server)
    files.create_dir("kept")
    monkeypatch.setenv(object_store.PLACE, "s3://kept/runs-of-tests")
    monkeypatch.setenv("AIRFLOW_CONN_ENROLLSYNC_RUNS", connection(s3_server))
    yield files
    object_store.leave()
    files.delete_dir("kept")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; as long as it is open, this thread has a running event loop."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("No Chromium on PATH: install the system's package `chromium` (apt-get install chromium).")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def plain_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks are made without Great Expectations, as every night's are here."""
    monkeypatch.setattr("enrollsync.validate.checking.run_suite", import_module("quicker").plainly)


@pytest.fixture
def great_expectations(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks are made with and without Great Expectations, which must say the same.

    Only without it where the slow tests are left out, because its import alone takes seconds.
    """
    quick = request.config.getoption("markexpr") == "not slow"
    way = import_module("quicker").plainly if quick else import_module("quicker").by_both
    monkeypatch.setattr("enrollsync.validate.checking.run_suite", way)


@pytest.fixture
def nightly(tmp_path: Path, sqlite_roster_url: str, query: Query, plain_checks: None) -> Nightly:
    """A district on SQLite."""
    return Nightly(tmp_path, sqlite_roster_url, query)


@pytest.fixture
def nightly_from_nothing(tmp_path: Path, sqlite_url: str, query: Query, plain_checks: None) -> Nightly:
    """The same before anything was loaded: there is no database yet."""
    return Nightly(tmp_path, sqlite_url, query)


@pytest.fixture
def nightly_everywhere(tmp_path: Path, database_url: str, query: Query, plain_checks: None) -> Nightly:
    """A district on SQLite and on PostgreSQL, one after the other."""
    return Nightly(tmp_path, database_url, query)
