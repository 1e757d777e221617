"""A synthetic district of any size, as its files would look, with planted faults and an answer key where asked for.

This module puts the parts together: the district (`district.py`) as a roster (`roster.py`), the files that an export
writes of it (`layouts.py`), which faults there are (`faults.py`), where they go (`dirt.py`) and how they get there
(`edited.py`). Nothing here is read by a sync.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb

from enrollsync.export.files import write_files
from enrollsync.sample import dirt as planting
from enrollsync.sample.district import build_district, clean_counts
from enrollsync.sample.edited import edit_file
from enrollsync.sample.layouts import LAYOUTS
from enrollsync.sample.roster import create_roster
from enrollsync.words.errors import ConfigurationError

ANSWERS = "answers.json"
MOST_STUDENTS = 2_000_000
"""More would need school names and numbers that the lists do not have."""
_MEMORY = "2GB"
_MANY = 400_000
"""Students of whom several threads, sorting their enrollments, now and then ask for more memory than they get."""
"""What DuckDB may hold before it spills to disk."""


@dataclass(frozen=True)
class SampleSummary:
    """What was written."""

    folder: Path
    format: str
    files: dict[str, int]
    """File -> lines below its header."""
    faults: dict[str, int]
    """Code -> lines on which it must be reported."""


def write_sample(out: Path, format: str, students: int, seed: int, dirt: float = 0.0) -> SampleSummary:
    """Write a synthetic district into the folder `out`; the same arguments always give the same bytes.

    With `dirt` (0 to 1, the share of lines with a fault) the same lines are written with faults in place, and
    `answers.json` lists each line on which a code must be reported. Files of an earlier sample are replaced.

    Raises ConfigurationError for a format, size or rate that cannot be made, or a folder that cannot be written.
    """
    _check(format, students, dirt)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ANSWERS).unlink(missing_ok=True)
        with tempfile.TemporaryDirectory() as spill, _connect(Path(spill), students) as connection:
            return _write(connection, out, format, students, seed, dirt)
    except (OSError, duckdb.IOException) as error:
        raise ConfigurationError(f"{out}: the sample cannot be written there: {' '.join(str(error).split())}") from None


def _check(format: str, students: int, dirt: float) -> None:
    if format not in LAYOUTS:
        raise ConfigurationError(f"--format {format}: not known; use {', '.join(LAYOUTS)}")
    if not 1 <= students <= MOST_STUDENTS:
        raise ConfigurationError(f"--students {students}: write a number from 1 to {MOST_STUDENTS}")
    if not 0 <= dirt <= 1:
        raise ConfigurationError(f"--dirt {dirt}: write a rate from 0 to 1, like 0.05")


def _connect(spill: Path, students: int) -> duckdb.DuckDBPyConnection:
    own = {"memory_limit": _MEMORY, "temp_directory": str(spill)}
    # Each file is put in order; to keep the tables' as well, a million students' enrollments would not fit.
    connection = duckdb.connect(config={**own, "preserve_insertion_order": False})
    if students > _MANY:
        connection.execute("SET threads = 1")
    return connection


def _write(
    connection: duckdb.DuckDBPyConnection, out: Path, format: str, students: int, seed: int, dirt: float
) -> SampleSummary:
    layout = LAYOUTS[format]
    build_district(connection, students, seed)
    create_roster(connection, layout.more, layout.second_contacts)
    files = write_files(connection, layout.written, out)
    if not dirt:
        return SampleSummary(out, format, files, {})
    planting.plant(connection, layout, dirt)
    for file in sorted({fault.file for fault in layout.faults}):
        edit_file(connection, out / file)
    head = {"format": format, "seed": seed, "students": students, "dirt": dirt, "clean": clean_counts(connection)}
    planting.write_answers(connection, out / ANSWERS, head)
    return SampleSummary(out, format, files, planting.answers_by_code(connection))
