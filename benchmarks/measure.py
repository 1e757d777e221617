"""Runs one command as a whole process and takes its time and peak memory from outside.

The driver must stay small: Linux counts the memory of a process that starts another one as that one's first peak.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.2
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Measured:
    """One finished command."""

    seconds: float
    """Wall time from start to end, imports included."""
    cpu_seconds: float
    """Of the process with its children; a busy machine changes this least. A server's work is not in it."""
    peak_mib: float
    """Of the process with its children."""
    output: str
    """Standard output."""
    error: str | None
    """One line, when the command failed or ran out of time."""


def measure(command: Sequence[str], *, timeout: float, env: Mapping[str, str], cwd: Path) -> Measured:
    """Run a command to its end, or end it and its children after `timeout` seconds."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=env, cwd=cwd, start_new_session=True
        )
        late = threading.Event()
        timer = threading.Timer(timeout, _end_group, (process.pid, late))
        timer.start()
        try:
            with _Sampler(process.pid) as sampler:
                _, status, usage = os.wait4(process.pid, 0)
                seconds = time.perf_counter() - started
        except KeyboardInterrupt:
            # In a session of its own it does not hear the keyboard.
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        # The system's own figure is exact, but of the largest single process; the samples see the tree.
        peak = max(usage.ru_maxrss * 1024, sampler.peak) / _MIB
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
        error = f"ended after {timeout:.0f} s" if late.is_set() else _failure(process.returncode, texts[1])
        return Measured(seconds, usage.ru_utime + usage.ru_stime, peak, texts[0], error)


def _end_group(group: int, late: threading.Event) -> None:
    late.set()
    os.killpg(group, signal.SIGKILL)


def _failure(status: int, errors: str) -> str | None:
    if status == 0:
        return None
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return f"exit status {status}: {lines[-1][:200] if lines else 'said nothing'}"


class _Sampler(threading.Thread):
    """Adds up the memory of a process and its descendants a few times a second; shared pages count for each."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()

    def __enter__(self) -> _Sampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
                self.peak = max(self.peak, sum(_resident(process) for process in tree))
            except psutil.NoSuchProcess:
                return


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
