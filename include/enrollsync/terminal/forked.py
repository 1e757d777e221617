"""A command's checks in a process of their own, which imports Great Expectations while this one reads the files.

In one process the import and the reading wait for each other: only one thread of Python runs at a time.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from threading import Thread

from enrollsync.run.breakage import one_line
from enrollsync.run.step import VALIDATE, step
from enrollsync.steps import Checks
from enrollsync.words.errors import EnrollSyncError

_THREADS = Path("/proc/self/task")
"""Where Linux tells the threads of this process."""
_HARMLESS = "jemalloc_bg_thd"
"""Of an allocator that Arrow brings: it makes a child its own."""
_LOOKS, _BETWEEN_LOOKS = 10, 0.001
"""How often a thread that was joined may still be there, and seconds between."""


class ForkedChecks(Checks):
    """In a child, where forking is safe and there is a processor for it; otherwise as `Checks`."""

    _child: ForkProcess | None = None
    _end: Connection
    """What the child is told, and tells, by."""

    def prepare(self) -> None:
        """Fork, if that is possible; the child ends with this process, however that ends."""
        if not _may_fork():
            return super().prepare()
        context = get_context("fork")
        # The parent says what became of the command: a child never hears the keyboard.
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._end, others = context.Pipe()
            child = context.Process(target=self._answer, args=(others,), daemon=True)
            with others:
                child.start()
        except OSError:  # too many files or processes, or too little memory for another one
            return super().prepare()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        self._child = child

    def make(self, workspace: str) -> None:
        """As `validate`, and raises what that raises; EnrollSyncError, which the run notes, where the child is gone."""
        if self._child is None:
            return super().make(workspace)
        from enrollsync.run import engine

        engine.close()  # its memory is the child's now; a plan makes another one
        try:
            self._end.send(workspace)
            error = self._end.recv()
        except (EOFError, OSError):
            error = None
        except BaseException:  # the keyboard
            self._child.terminate()
            raise
        else:
            if error is None:
                return
        finally:
            self._end.close()
            self._child.join()
        if error:
            raise error
        with step(VALIDATE, workspace):
            ended = f"validate: the process that checks was ended ({_ending(self._child.exitcode)})"
            raise EnrollSyncError(f"{ended}, as where memory runs out; make room and run again")

    def _answer(self, end: Connection) -> None:
        """What the child does: waits for a workspace, and says the error that its checks ended with, or None."""
        self._end.close()  # the parent's; as long as it is open somewhere, nobody hears that the parent is gone
        Thread(target=_end_with_the_parent, daemon=True).start()
        with suppress(Exception):  # what is wrong is wrong again in `make`, and told there
            self.load()
        with suppress(EOFError, OSError):  # the parent is gone
            workspace = end.recv()
            end.send(self._error_of(workspace))

    def _error_of(self, workspace: str) -> EnrollSyncError | None:
        """What the checks raise; of what nobody foresaw no more than its kind and place, as `one_line` has it."""
        from enrollsync.run import engine

        try:
            with one_line(VALIDATE.name, Path(workspace)):
                super().make(workspace)
                engine.close()
        except EnrollSyncError as error:
            return error
        return None


def _may_fork() -> bool:
    """Whether there is a second processor, and no thread that a child would lack, and might wait for."""
    if not _THREADS.exists() or len(os.sched_getaffinity(0)) < 2:
        return False
    for _ in range(_LOOKS):
        with suppress(OSError):  # one of them has just ended
            names = [(thread / "comm").read_text().strip() for thread in _THREADS.iterdir()]
            if len(names) - names.count(_HARMLESS) == 1:
                return True
        time.sleep(_BETWEEN_LOOKS)
    return False


def _end_with_the_parent() -> None:
    """Wait for that, and leave at once: nobody reads what is checked then, and the next run may have begun."""
    if parent := parent_process():
        parent.join()
    os._exit(1)


def _ending(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    known = {one.value: one.name for one in signal.Signals}
    return known.get(-status, f"signal {-status}")
