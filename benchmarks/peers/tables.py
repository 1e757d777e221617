"""What every peer loads: the six files, the columns that EnrollSync keeps of them too, and what identifies a record.

    python -m benchmarks.peers.NAME (first|changed) FOLDER DATABASE_URL

is how each peer is called; `phase` takes the time of its parts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class RosterTable:
    """One file and the table it goes to."""

    file: str
    key: tuple[str, ...]
    """Columns that identify a record; a student with two contacts has two lines that agree in all of `columns`."""
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The table's name."""
        return self.file.removesuffix(".csv")


TABLES = (
    RosterTable("schools.csv", ("School_id",), ("School_id", "School_name")),
    RosterTable(
        "students.csv",
        ("Student_id",),
        ("School_id", "Student_id", "Student_number", "State_id", "Last_name", "Middle_name", "First_name", "Grade",
         "DOB", "Student_email", "Username"),
    ),
    RosterTable(
        "teachers.csv",
        ("Teacher_id",),
        ("School_id", "Teacher_id", "Teacher_number", "State_teacher_id", "Teacher_email", "First_name",
         "Middle_name", "Last_name", "Username"),
    ),
    RosterTable(
        "staff.csv",
        ("Staff_id",),
        ("School_id", "Staff_id", "Staff_email", "First_name", "Last_name", "Username"),
    ),
    RosterTable(
        "sections.csv",
        ("Section_id",),
        ("School_id", "Section_id", "Teacher_id", "Name", "Grade", "Course_name", "Course_number", "Period",
         "Subject", "Term_name", "Term_start", "Term_end"),
    ),
    RosterTable("enrollments.csv", ("Section_id", "Student_id"), ("School_id", "Section_id", "Student_id")),
)  # fmt: skip

_seconds: dict[str, float] = {}


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Add the time of the block to the phase."""
    started = time.perf_counter()
    yield
    _seconds[name] = _seconds.get(name, 0.0) + time.perf_counter() - started


def print_phases() -> None:
    """The last thing a peer does."""
    print(json.dumps({"phases": _seconds}))
