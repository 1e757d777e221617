"""A command that is a process of its own lives for seconds: what it imported stays, and ends with it."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Callable

from enrollsync.terminal.left_out import leave_out_data_sources

_SELDOM = 500_000
"""So many new objects until the collector looks for garbage. Imports make a million that are none: to look at them
again with every 700 that are new took a sixth of a small night."""
_TURN_SECONDS = 0.000_1
"""How long one of the process's threads runs until another one has its turn: while one imports, the other is woken by
DuckDB or PostgreSQL time and again, for a moment, and would wait for Python's usual 5 ms each time."""


def begin() -> Callable[[int], object]:
    """Get the process ready; returns what is to be told its exit status, just before it ends.

    It ends then when all else has been done that is to be done at its end, without taking a million objects apart,
    which took as long again.
    """
    gc.set_threshold(_SELDOM)
    # NumPy's algebra is not used; its idle threads would keep this process from forking (`forked.py`).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.setswitchinterval(_TURN_SECONDS)
    leave_out_data_sources()
    ended: list[int] = []
    atexit.register(_leave, ended)  # the first that is registered is the last that is called
    return ended.append


def _leave(ended: list[int]) -> None:
    """Leave at once, if an exit status is known and everything was written; otherwise Python ends as ever, and says."""
    if ended:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return
        os._exit(ended[0])
