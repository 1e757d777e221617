"""A command's checks in a child: where, what it raises, and how both processes end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from enrollsync.sample import write_sample
from nightly import Nightly, student

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="no processor for a child"
)
BEGIN = """
import os, signal, sys, threading, time
from enrollsync import steps
from enrollsync.terminal.forked import ForkedChecks
from enrollsync.terminal.process import begin
from enrollsync.words.errors import ConfigurationError, EnrollSyncError, Refused
begin()
ForkedChecks.load = lambda self: None
def said(workspace):
    print(os.getpid() == here, workspace, flush=True)
here, steps.validate, checks = os.getpid(), said, ForkedChecks()
"""
MADE = "checks.prepare()\nchecks.make('where')\n"
THREADED = "threading.Thread(target=time.sleep, args=(2,), daemon=True).start()\n"
ALONE = "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
FULL = "def full(): raise BlockingIOError(11, 'too many processes')\nos.fork = full\n"
NUMPY = "import duckdb, numpy, pyarrow.parquet\n"
JOINED = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    list(pool.map(os.stat, "...."))
"""
ANSWERED = """
def answer(workspace):
    {does}
steps.validate = answer
checks.prepare()
try:
    checks.make(sys.argv[1])
except EnrollSyncError as error:
    print(type(error).__name__, error.exit_status, getattr(error, 'line', None), error)
"""
INTERRUPTED = """
steps.validate = lambda workspace: time.sleep(60)
checks.prepare()
from enrollsync.run import engine  # an import that is interrupted may keep that to itself
threading.Timer(1.5, os.killpg, (0, signal.SIGINT)).start()  # when nothing is left but to wait
try:
    checks.make('where')
except KeyboardInterrupt:
    print('interrupted')
"""
NO_FILES = "import multiprocessing.connection as c\ndef full(*_): raise OSError(24, 'too many files')\nc.Pipe = full\n"
PARENT_KILLED = """
steps.validate = lambda workspace: time.sleep(60)
checks.prepare()
threading.Timer(0.2, os.kill, (here, signal.SIGKILL)).start()
checks.make('where')
"""


def _python(program: str, *given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BEGIN + program, *given]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, start_new_session=True)


def _answered(does: str, workspace: str | Path) -> subprocess.CompletedProcess[str]:
    return _python(ANSWERED.format(does=does), str(workspace))


@pytest.mark.parametrize("before", ["", NUMPY, JOINED])
def test_the_checks_are_made_in_a_child(before: str) -> None:
    done = _python(before + MADE)
    assert (done.stdout, done.stderr) == ("False where\n", "")


@pytest.mark.parametrize("before", [THREADED, ALONE, FULL, NO_FILES])
def test_they_are_made_here_where_a_child_would_wait_or_have_no_processor(before: str) -> None:
    done = _python(before + MADE)
    assert (done.stdout, done.stderr) == ("True where\n", "")


@pytest.mark.parametrize(("error", "told"), [
    ("ConfigurationError('broken')", "ConfigurationError 2 None broken"),
    ("Refused('FILE-HEADER', 'unknown', file='a.csv', line=3)", "Refused 4 3 FILE-HEADER a.csv, line 3: unknown"),
])  # fmt: skip
def test_what_they_raise_is_raised_here(error: str, told: str, tmp_path: Path) -> None:
    done = _answered(f"raise {error}", tmp_path)
    assert (done.stdout, done.stderr) == (f"{told}\n", "")


def test_a_child_that_is_killed_is_one_line_and_the_run_notes_it(nightly: Nightly) -> None:
    nightly.run([student()], until="check")
    done = _answered("os.kill(os.getpid(), signal.SIGKILL)", nightly.workspace)
    said = "validate: the process that checks was ended (SIGKILL), as where memory runs out; make room and run again"
    assert (done.stdout, done.stderr) == (f"EnrollSyncError 1 None {said}\n", "")
    noted = json.loads(Path(nightly.workspace, "run.json").read_text())
    assert (noted["outcome"], noted["error"]) == ("failed", said)


def test_what_nobody_foresaw_is_one_line_that_quotes_nobody(tmp_path: Path) -> None:
    done = _answered("raise KeyError('Jane Doe 1234')", tmp_path)
    kept = tmp_path / "traceback.txt"
    broke = "EnrollSyncError 1 None validate: broke for a reason that nobody foresaw: KeyError in "
    assert done.stdout.startswith(broke)
    assert done.stdout.endswith(f"; show the developers {kept}, which may hold values of students\n")
    assert (done.stdout.count("\n"), "Jane" in done.stdout, done.stderr) == (1, False, "")
    assert "Jane Doe 1234" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_the_keyboard_ends_both_at_once() -> None:
    done = _python(INTERRUPTED)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_a_child_ends_with_its_parent() -> None:
    # It holds the pipes that are read here to their end.
    done = _python(PARENT_KILLED)
    assert (done.returncode, done.stderr) == (-9, "")


def test_a_child_finds_what_one_process_finds(tmp_path: Path) -> None:
    write_sample(tmp_path / "delivery", "batch_upload", 60, 7, dirt=0.2)
    district = tmp_path / "district.yaml"
    district.write_text(
        "district_id: demo\nname: Demo\nprimary_source: batch_upload\nsource: {path: delivery}\n"
        "database: {url: 'sqlite:///roster.db'}\n"
    )
    found = []
    for program in ("", ALONE):
        program = f"import os\n{program}from enrollsync.cli import app\napp()\n"
        command = [sys.executable, "-c", program, "check", "--district", str(district), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        result = json.loads(done.stdout)
        lines = Path(result["artifacts"], "findings.csv").read_text().splitlines()
        found.append((result["outcome"], result["counts"], result["findings"], sorted(lines)))
        assert not Path(result["artifacts"], "spill").exists()
    assert found[0] == found[1]
    assert len(found[0][3]) > 5
