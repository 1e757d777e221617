"""Where tests may write files that no disk has to keep."""

from __future__ import annotations

import os
import shutil

_FOLDER = "/dev/shm"
_ROOM = 2 * 1024**3


def folder() -> str | None:
    """A folder in memory with room for what tests write; None where there is none (a container has 64 MB of it)."""
    has_room = os.access(_FOLDER, os.W_OK) and shutil.disk_usage(_FOLDER).free > _ROOM
    return _FOLDER if has_room else None
