"""The header line of a file as it lies there: its cells, and the file with others in their places."""

from __future__ import annotations

import codecs
import csv
import shutil
from pathlib import Path

from enrollsync.ingest.lines import LONGEST, parse_header
from enrollsync.words.kinds import UTF16


def read_header(path: Path, encoding: str) -> list[str]:
    """The cells of a file's first line, trimmed; none where it is no text."""
    try:
        with path.open(encoding=_codec(path, encoding), newline="") as stream:
            return [cell.strip() for cell in parse_header(stream.readline(LONGEST).rstrip("\r\n"))]
    except (OSError, UnicodeError):
        return []


def rename_headers(path: Path, target: Path, renames: dict[str, str], encoding: str) -> None:
    """Copy a file to `target` with other headers in its first line; the rest stays."""
    codec = _codec(path, encoding)
    with path.open(encoding=codec, newline="") as old, target.open("w", encoding=codec, newline="") as new:
        line = old.readline(LONGEST)
        text = line.rstrip("\r\n")
        cells = [renames.get(cell.strip(), cell) for cell in parse_header(text)]
        csv.writer(new, lineterminator=line[len(text) :]).writerow(cells)
        shutil.copyfileobj(old, new)


def _codec(path: Path, encoding: str) -> str:
    """As the file is read: its byte-order mark says more than the district does."""
    with path.open("rb") as stream:
        begins = stream.read(len(codecs.BOM_UTF8))
    if begins[:2] in UTF16:
        return "utf-16"
    return "utf-8-sig" if begins == codecs.BOM_UTF8 else encoding
