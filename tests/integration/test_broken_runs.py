"""What breaks a run from outside: a full disk, files of the run that are damaged, and what nobody foresaw."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from enrollsync import steps
from enrollsync.cli import app
from enrollsync.run.breakage import one_line
from enrollsync.words.errors import DamagedRun, EnrollSyncError
from nightly import Nightly, other, student


def enrollsync(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


# ---- a full disk -----------------------------------------------------------------------------------------------------

_AT_MANY_SIZES = """
import os, resource, sys
import duckdb, great_expectations, pyarrow.parquet
import enrollsync.steps, enrollsync.plan.reconcile, enrollsync.validate.checking, enrollsync.load.apply
import enrollsync.report.gather
from enrollsync.cli import app
enrollsync.validate.checking.write_site = lambda *_: None
for size in map(int, sys.argv[2:]):
    if os.fork() == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        sys.stderr.write(f"= {size}\\n")
        sys.stderr.flush()
        sys.stdout = open(os.devnull, "w")
        try:
            app(["sync", "--force", "--district", sys.argv[1]])
        except SystemExit as end:
            os._exit(end.code)
    _, status = os.wait()
    sys.stderr.write(f"exit {os.waitstatus_to_exitcode(status)}\\n")
    sys.stderr.flush()
"""
_SIZES = (0, 2_000, 2_600, 3_200, 8_000)
"""Bytes that a file may have; the workspace's smallest are its manifest's two thousand, its largest the report's."""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_workspace_without_room_ends_with_one_line_whatever_could_still_be_written(nightly: Nightly) -> None:
    nightly.begin([student(), other(1)])
    nightly.deliver([student(userGrade="6"), other(1), student("")])
    done = subprocess.run(
        [sys.executable, "-c", _AT_MANY_SIZES, nightly.district, *map(str, _SIZES)], capture_output=True, text=True
    )
    ends = [part.splitlines() for part in done.stderr.split("= ")[1:]]
    assert [lines[0] for lines in ends] == [str(size) for size in _SIZES]
    for size, said, status, *more in ends:
        assert more == [], (size, more)
        assert (said.startswith("enrollsync: "), status) in [(True, "exit 1"), (True, "exit 5")], (size, said, status)
        assert "File too large" in said or "the disk is full" in said, (size, said)


def test_the_folders_of_runs_are_their_owners_alone(nightly: Nightly) -> None:
    workspace = Path(steps.start(nightly.district, run_id="run-1", as_of=datetime.now(UTC)))
    made = [workspace, *list(workspace.parents)[:3]]
    assert made[-1] == nightly.folder / "data"
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}


# ---- damaged files ---------------------------------------------------------------------------------------------------


_READERS: dict[str, Callable[[str], Any]] = {
    "validate": steps.validate,
    "plan": steps.plan,
    "load": steps.load,
    "report": steps.report,
    "fail": lambda workspace: steps.fail(workspace, "x"),
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Nightly:
    """A night that has come to its plan, with a finding and a rejected line."""
    folder = tmp_path_factory.mktemp("planned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", str(folder))
        patch.setattr("enrollsync.validate.checking.run_suite", import_module("quicker").plainly)
        district = Nightly(folder, f"sqlite:///{folder}/roster.db", lambda *_: [])
        district.run([student(), other(1), student(" 7")])
        district.run([student(userGrade="6"), other(1), student("")], until="plan")
    return district


@pytest.mark.parametrize(("file", "step"), [
    ("run.json", "validate"), ("run.json", "load"), ("run.json", "report"), ("run.json", "fail"),
    ("canonical/users.parquet", "validate"), ("canonical/users.parquet", "plan"),
    ("accepted/users-aside.parquet", "plan"), ("accepted/users.parquet", "plan"), ("plan/plan.json", "load"),
    ("plan/users.parquet", "load"), ("findings.parquet", "load"), ("findings.parquet", "report"),
])  # fmt: skip
@pytest.mark.parametrize("left", [0.5, 0])
def test_a_damaged_file_of_a_run_is_named_in_one_line(
    planned: Nightly, tmp_path: Path, file: str, step: str, left: float
) -> None:
    workspace = Path(shutil.copytree(planned.workspace, tmp_path / "run"))
    content = (workspace / file).read_bytes()
    (workspace / file).write_bytes(content[: int(len(content) * left)])
    with pytest.raises(DamagedRun) as broken:
        _READERS[step](str(workspace))
    assert file in str(broken.value) and "is damaged; start" in str(broken.value)
    assert broken.value.exit_status == 1


# ---- what nobody foresaw ---------------------------------------------------------------------------------------------


def _private(path: Path) -> str:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path.read_text()


def test_what_nobody_foresaw_is_one_line_with_its_traceback_kept_apart(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrollsync.validate.accept.accept", lambda *_: {}["Leena Parath"])
    result = nightly.run([student()])
    assert result["outcome"] == "failed"
    assert result["message"].startswith("validate: broke for a reason that nobody foresaw: KeyError in steps.py, line ")
    kept = Path(nightly.workspace, "traceback.txt")
    assert str(kept) in result["message"]
    assert "KeyError: 'Leena Parath'" in _private(kept)
    for name in ("run.json", "report.html", "report.json", "findings.csv"):
        assert "Leena" not in Path(nightly.workspace, name).read_text()


def test_ctrl_c_in_the_middle_of_a_statement_is_ctrl_c(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), one_line("plan", tmp_path):
        raise RuntimeError("Query interrupted")  # as DuckDB says it where it notices the signal
    assert not [*tmp_path.iterdir()]


def test_what_nobody_foresaw_in_a_report_is_one_line_too(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enrollsync.report.render", lambda *_: {}["Leena Parath"])
    with pytest.raises(EnrollSyncError, match="report: broke for a reason that nobody foresaw: KeyError") as broken:
        nightly.run([student()])
    assert "Leena" not in str(broken.value)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_command_that_breaks_unforeseen_ends_with_1_and_one_line(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    monkeypatch.setattr("enrollsync.steps.runs", lambda *_, **__: {}["Leena Parath"])
    result = enrollsync("runs", "--district", nightly.district, *flags)
    (line,) = result.stderr.splitlines()
    assert (result.exit_code, line.startswith("enrollsync: the command: broke for a reason that")) == (1, True)
    assert "Leena" not in line + result.stdout
    assert "Leena" in _private(nightly.folder / "data" / "traceback.txt")
    assert not flags or json.loads(result.stdout)["message"] in line
