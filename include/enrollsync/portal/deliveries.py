"""The deliveries that lie in a district's landing folder, for a person who wants an earlier one read again."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from enrollsync.settings import District
from enrollsync.words.printable import printable

_OFFERED = 20
"""Deliveries to choose from; older ones can still be named."""


def list_deliveries(district: District) -> list[dict[str, str]]:
    """The folders and zips in the district's landing folder, newest first: `path` (as a form takes it), `arrived`."""
    landing = district.source.folder
    if landing is None:
        return []
    try:
        entries = [entry for entry in os.scandir(landing) if not entry.is_symlink() and _may_be_picked(entry)]
        newest = sorted(((entry.stat().st_mtime, entry.name) for entry in entries), reverse=True)
    except OSError:
        return []
    return [
        {
            "path": printable(str(Path(str(district.source.path), name))),
            "arrived": f"{datetime.fromtimestamp(arrived, district.zone):%Y-%m-%d %H:%M %Z}",
        }
        for arrived, name in newest[:_OFFERED]
    ]


def _may_be_picked(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() or entry.name.lower().endswith(".zip")
