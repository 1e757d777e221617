"""Deliveries in which every value of a person has a mark, so that none can be anywhere without being seen.

The sample's own names and numbers are ordinary: `Lee` and `1047` stand in many a log. With the mark in front they stay
names and identifiers, and a search for one word finds each of them, and each half of one.
"""

from __future__ import annotations

import re
from pathlib import Path

MARK = "qzxvk"
"""Long enough not to be in a token by chance."""
SSN = "519437082"
"""An identifier that could be a social security number carries no mark: then it would be none."""

_PRIVATE = re.compile(
    r"user(Id|DistrictId|StateId|FirstName|MiddleName|LastName|Email)"
    r"|(Student|Teacher|Teacher_\d+|Staff)_(id|number|email)|State_teacher_id|(First|Middle|Last)_name|Username|Password"
    r"|Contact_(name|sis_id)|Student_street"
)
_TEACHER = re.compile(r"(?<= - )(?=\w+ P\d)")
"""Where a class is called after who teaches it."""


def mark(text: str) -> str:
    """A person's value with the mark in it; nothing of nobody stays nothing."""
    if not text.strip() or MARK in text.lower() or text == SSN:
        return text
    start = len(text) - len(text.lstrip())
    letters = MARK.upper() if text.strip()[0].isdigit() else MARK.title()
    rest = text[start:]
    return text[:start] + letters + rest


def mark_delivery(folder: Path) -> None:
    """Put the mark into every CSV file of a sample, dirt included."""
    for path in folder.glob("*.csv"):
        path.write_bytes(_marked(path.read_bytes().decode()).encode())


def _marked(text: str) -> str:
    lines = text.splitlines(keepends=True)
    header = lines[0].strip().split(",")
    places = {number for number, name in enumerate(header) if _PRIVATE.fullmatch(name)}
    state_ids = {"State_id"} & set(header) if "Student_id" in header else set()
    places |= {header.index(name) for name in state_ids}
    return lines[0] + "".join(_marked_line(line, places) for line in lines[1:])


def _marked_line(line: str, places: set[int]) -> str:
    """By position, quotation marks or not: of a line with too few or too many fields too, as far as it goes."""
    cells = line.rstrip("\r\n").split(",")
    made = [mark(cell) if number in places else _TEACHER.sub(MARK.title(), cell) for number, cell in enumerate(cells)]
    return ",".join(made) + line[len(line.rstrip("\r\n")) :]
