"""What a district delivered to the first version of the program, and what its database, of the first schema, then held.

`first_roster.json` is not written by today's program: the program of 2026-11-23 (8975d1d^), which knew schema 0001
alone, ran these nights, and its tables were copied row by row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, column, table


def csv(header: str, *lines: str) -> str:
    return "\n".join([header, *lines, ""])


SCHOOLS = csv("School_id,School_name", "S1,North", "S2,South")
TEACHERS = csv("School_id,Teacher_id,Last_name,First_name,Teacher_email", "S1,T1,Lee,Ann,t1@demo.example")
STAFF = csv("School_id,Staff_id,Last_name,First_name,Staff_email", "S1,F1,Cole,Ida,f1@demo.example")


def students(*lines: str) -> str:
    return csv("School_id,Student_id,Student_number,State_id,Last_name,First_name,Grade,DOB,Student_email", *lines)


def sections(*lines: str) -> str:
    return csv("School_id,Section_id,Teacher_id,Name,Term_name,Term_start,Term_end", *lines)


def enrollments(*pairs: str) -> str:
    return csv("School_id,Section_id,Student_id", *pairs)


ZOE = "S1,p-1,101,9001,Núñez,Zoë,5,1/1/2014,zoe@demo.example"
BO = "S1,p-2,102,9002,O'Hara,Bo,5,1/2/2014,bo@demo.example"
CY = "S1,p-3,103,9003,Quill,Cy,6,1/3/2013,cy@demo.example"
NEW_BO = BO.replace("p-2", "q-2")
NEW_ZOE = ZOE.replace("S1,", "S2,").replace(",5,", ",6,")
ART, GYM = "S1,X1,T1,Art,,,", "S1,X2,T1,Gym,,,"

NIGHTS: tuple[dict[str, str], ...] = tuple(
    {"schools.csv": SCHOOLS, "teachers.csv": TEACHERS, "staff.csv": STAFF, "students.csv": students(*pupils),
     "sections.csv": sections(*classes), "enrollments.csv": enrollments(*pairs)}
    for pupils, classes, pairs in (
        ((ZOE, BO, CY), (ART, GYM), ("S1,X1,p-1", "S1,X1,p-2", "S1,X2,p-3")),
        ((NEW_ZOE, BO, CY), (ART.replace("Art", "Arts"), GYM), ("S1,X1,p-1", "S1,X1,p-2", "S1,X2,p-3")),
        ((NEW_ZOE, NEW_BO), (ART.replace("Art", "Arts"), GYM), ("S1,X1,p-1", "S1,X1,q-2")),
    )
)  # fmt: skip
"""One gets another school and grade, and a class another name; one gets another identifier, one is gone."""

ROWS: dict[str, list[dict[str, Any]]] = json.loads(Path(__file__).with_name("first_roster.json").read_text("utf-8"))
"""Table of the first schema -> its rows after these nights, in the order in which they can be written."""


def fill(connection: Connection) -> None:
    """Bring the rows into an empty database of the first schema."""
    for name, rows in ROWS.items():
        columns = [column(key) for key in rows[0]]
        connection.execute(table(name, *columns).insert(), rows)
