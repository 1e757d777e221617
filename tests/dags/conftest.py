"""An Airflow of the tests' own: home and database in a temporary folder, the project's DAG folder, no examples."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
HOME = Path(tempfile.mkdtemp(prefix="enrollsync-airflow-"))

# Airflow reads these when it is first imported, which is before any fixture runs.
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(PROJECT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(HOME / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    GX_ANALYTICS_ENABLED="false",
)


def pytest_sessionfinish() -> None:
    """Remove the home again, on every worker that made one."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's own tables, empty."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(autouse=True)
def shipped_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own district files, unless a test writes others."""
    monkeypatch.delenv("ENROLLSYNC_HOME", raising=False)
    monkeypatch.delenv("ENROLLSYNC_DISTRICTS", raising=False)


@pytest.fixture
def districts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Call it to write `<district_id>.yaml`, the demo with lines replaced, into a folder that only this test reads."""
    folder = tmp_path / "districts"
    folder.mkdir()
    monkeypatch.setenv("ENROLLSYNC_DISTRICTS", str(folder))
    demo = (PROJECT / "include" / "districts" / "demo.yaml").read_text()

    def write(district_id: str, **replaced: str) -> Path:
        text = demo.replace("district_id: demo", f"district_id: {district_id}")
        for key, line in replaced.items():
            old = next(found for found in text.splitlines() if found.strip().startswith(f"{key}:"))
            text = text.replace(old.strip(), line)
        (folder / f"{district_id}.yaml").write_text(text)
        return folder / f"{district_id}.yaml"

    return write
