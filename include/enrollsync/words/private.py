"""Files and folders that hold children's records: their owner alone may read them."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make the folder, and those above it that are missing, for their owner alone; those that are there stay."""
    if not folder.parent.exists():
        make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def make_file(path: Path) -> None:
    """Make an empty file for its owner alone, where there is none."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
