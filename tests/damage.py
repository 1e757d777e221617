"""Sound deliveries, what can be damaged in them, and what has to be told of the lines of a damaged file.

What is right is told by other means than the program's: by counting lines, and by Python's `csv` where a record leaves
no doubt.
"""

from __future__ import annotations

import csv
import io
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from enrollsync.formats import Format
from enrollsync.ingest.corrected import ERRORS
from enrollsync.ingest.lines import LONGEST
from enrollsync.words.errors import Refused
from nightly import as_csv, clever, pupil, section, student, tutor
from oneroster_files import USERS, delivery, newer, user

# ---- damage -------------------------------------------------------------------------------------

TOKENS = (
    b",", b'"', b"\n", b"\r", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\t", b" ", b'""', b",,", b"\x07", b"\x7f",
    "\x85".encode(), "\u2028".encode(), "é".encode(), b"\xff", b"'", b"=", b";", b'",', b',"', b'\n"', b'"\n',
    b"errors",
)  # fmt: skip

Damage = Callable[[random.Random, bytes], bytes]


def _place(chance: random.Random, data: bytes) -> int:
    """Mostly behind the header: a file whose header is damaged is refused, and says little about lines."""
    first = data.find(b"\n") + 1 if chance.random() < 0.9 else 0
    return chance.randint(first, len(data)) if first < len(data) else len(data)


def _flip(chance: random.Random, data: bytes) -> bytes:
    at = _place(chance, data)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _insert(chance: random.Random, data: bytes) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.choice(TOKENS) * chance.choice((1, 1, 1, 2, 3)) + data[at:]


def _remove(chance: random.Random, data: bytes) -> bytes:
    at = _place(chance, data)
    return data[:at] + data[at + chance.choice((1, 1, 2, 8, 40)) :]


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: _place(chance, data)]


def _on_lines(chance: random.Random, data: bytes) -> bytes:
    """A line doubled, removed, emptied, stretched, blanked or put elsewhere."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    line = lines[at]
    lines[at : at + 1] = chance.choice((
        [line, line], [], [b""], [line, b""], [line, b"," * chance.randint(0, 12)], [line + b","], [b"," + line],
        [re.sub(rb"[^,]", b"", line)], [line.replace(b",", b'","')], [b'"' + line.replace(b",", b'","') + b'"'],
        [line + b" "], [line.upper()], [b" , ,", line], [b'"",""', line], [line.replace(b",", b", ", 1)],
    ))  # fmt: skip
    return b"\n".join(lines)


def _on_fields(chance: random.Random, data: bytes) -> bytes:
    """A field emptied, quoted, stretched, or filled with what is hard to read."""
    fields = re.split(rb"([,\n])", data)
    at = chance.randrange(0, len(fields), 2)
    field = fields[at]
    fields[at] = chance.choice((
        b"", b'""', b'"' + field + b'"', b'"a,b"', b'"a\nb"', b'"a\n\nb,"', b'"' + field, field + b'"', b' "x"',
        b'"x" ', b'"a""b"', b'5" pipe', field * chance.choice((2, 40, 400)), b"  " + field + b" ", b"\xa0", b'"\r\n"',
        b'",\n,"',
    ))  # fmt: skip
    return b"".join(fields)


def _on_all(chance: random.Random, data: bytes) -> bytes:
    """The same to every line, or to the file."""
    return chance.choice((
        data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"), data.replace(b"\n", b",\n"),
        data.replace(b"\n", b",,\n"), data.replace(b"\n", b",\n", 1), data.rstrip(b"\n"), data + b"\n\n",
        b"\xef\xbb\xbf" + data, data.decode("utf-8", "replace").encode("utf-16"), data.replace(b",", b";"),
        b'"' + data.replace(b",", b'","').replace(b"\n", b'"\n"'),
    ))  # fmt: skip


DAMAGES: tuple[Damage, ...] = (_flip, _insert, _insert, _remove, _cut, _on_lines, _on_lines, _on_fields, _on_fields)


def damaged(chance: random.Random, data: bytes) -> bytes:
    """The bytes with one to four damages; one in thirty has a line that is too long."""
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        data = chance.choice(DAMAGES)(chance, data)
    if chance.random() < 0.15:
        data = _on_all(chance, data)
    if chance.random() < 0.002:
        at = _place(chance, data)
        data = data[:at] + b"x" * (LONGEST + chance.randint(-200, 200)) + data[at:]
    return data


def damaged_behind_header(chance: random.Random, data: bytes) -> bytes:
    """As `damaged`, but mostly so that the file is not refused as a whole."""
    if chance.random() < 0.1:
        return damaged(chance, data)
    header, _, body = data.partition(b"\n")
    for _ in range(chance.choice((1, 1, 2, 3))):
        body = chance.choice(DAMAGES)(chance, body)
    return header + b"\n" + body + (b"" if body.endswith(b"\n") or chance.random() < 0.1 else b"\n")


def sound_files(declared: Format) -> dict[str, bytes]:
    """A small sound delivery of a format, with quoted commas, marks and line breaks."""
    if declared.name == "batch_upload":
        rows = [
            student(), student(classId="C2"), student("301", userFirstName='"Bo, Jr"', userEmail="bo@demo.example"),
            student("302", userFirstName='"A\nB"', userLastName='"Ngo ""Kim"""', userEmail="", userBirthDate="5/6/14"),
            student("900", userRole="teacher", userFirstName="Ann", userLastName="Lee", userEmail="lee@demo.example"),
            student("901", userRole="staff", classId="", className="", userFirstName="Al", userEmail="al@demo.example"),
        ]  # fmt: skip
        return {"users.csv": as_csv(rows, ",".join(["action", *student(), "primaryTeacher"])).encode()}
    if declared.source.name == "oneroster":
        people = [*USERS, user("p3", givenName="Bo, Jr", familyName="A\nB"), user("p4", familyName='Ngo "Kim"')]
        whole = delivery(users=people) if declared.version == "1.1" else newer(users=people)
        return {name.lower(): text.encode() for name, text in whole.items()}
    pupils = [pupil(number) for number in range(4)]
    pupils[1] |= {"First_name": '"Bo, Jr"', "Last_name": '"A\nB"'}
    files = clever(
        [*pupils, pupil(9, Student_email="")], [tutor("T1"), tutor("T2", Last_name='"Ngo ""Kim"""')],
        [section("X1", Teacher_2_id="T2"), section("X2", Name='"Art, Music"')],
        [("X1", "p-0"), ("X1", "p-1"), ("X2", "p-2"), ("X2", "p-3"), ("X1", "p-9")],
        [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": '"South, Old"'}],
    )  # fmt: skip
    return {name: text.encode() for name, text in files.items()}


# ---- what is right, by other means --------------------------------------------------------------

_FIELD = r'(?:"(?:[^"]|"")*"|[^",\n]*)'
_PLAIN = re.compile(rf"{_FIELD}(?:,{_FIELD})*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Told:
    """What the program says of a file; lines count from 1."""

    rows: dict[int, list[str] | None]
    """First line -> its values (None: not parsed)."""
    malformed: list[tuple[int, int]]
    valueless: list[int]
    width: int


def text_of(data: bytes) -> str | None:
    """The bytes as text; None where they are none."""
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None


def lines_of(text: str) -> list[str]:
    """The lines that an editor shows."""
    lines = re.split("\r\n|\r|\n", text)
    return lines[:-1] if lines[-1] == "" else lines


def fields_of(record: str) -> list[str] | None:
    """The fields of a record about which there is no doubt; None where there is any."""
    if not _PLAIN.fullmatch(record) or _CONTROL.search(record) or len(record.encode()) > LONGEST:
        return None
    csv.field_size_limit(sys.maxsize)
    return next(csv.reader(io.StringIO(record, newline="")), [""])


def complaints_on(lines: list[str], told: Told) -> Iterator[str]:
    """What is not right in what was told of a file."""
    owner = ["" for _ in lines]
    claims = [
        (1, 1, "header"), *((line, line, "row") for line in told.rows),
        *((first, last, "malformed") for first, last in told.malformed),
        *((line, line, "valueless") for line in told.valueless),
    ]  # fmt: skip
    for first, last, kind in claims:
        for line in range(first, last + 1):
            if not 1 <= line <= len(lines):
                yield f"line {line} is told as {kind}, but the file has {len(lines)}"
            elif owner[line - 1]:
                yield f"line {line} is told as {owner[line - 1]} and as {kind}"
            else:
                owner[line - 1] = kind
    yield from _complaints_on_the_rest(lines, owner, told)


def _complaints_on_the_rest(lines: list[str], owner: list[str], told: Told) -> Iterator[str]:
    starts = [number for number, kind in enumerate(owner, start=1) if kind] + [len(lines) + 1]
    for start, following in zip(starts, starts[1:], strict=False):
        kind, rest = owner[start - 1], lines[start : following - 1]
        while rest and rest[-1] == "" and fields_of("\n".join([lines[start - 1], *rest])) is None:
            rest.pop()
        if rest and kind in ("malformed", "valueless") and any(rest):
            yield f"of lines {start + 1} to {following - 1} nothing is told"
        if kind == "row":
            yield from _complaints_on_a_row(start, lines[start - 1], rest, told)
    corrected = lines[0].startswith(ERRORS)
    broken = {line for first, last in told.malformed if last > first for line in range(first, last + 1)}
    for number, line in enumerate(lines[1:], start=2):
        fields = fields_of(line)
        if fields is None or line == "":
            continue
        blank = not "".join(fields).strip(" \t")
        sound = len(fields) == told.width and not blank
        if sound and owner[number - 1] != "row" and not (corrected and _still_in_one_field(fields)):
            yield f"line {number} is sound, but told as {owner[number - 1] or 'nothing'}"
        if not sound and owner[number - 1] == "row":
            continue_ = number < len(lines) and told.rows.get(number)
            yield f"line {number} has {len(fields)} fields, or no value, but is a row {continue_!r}"
        if blank and owner[number - 1] not in ("valueless", "") and number not in broken:
            yield f"line {number} has no values, but is told as {owner[number - 1]}"


def _still_in_one_field(fields: list[str]) -> bool:
    """Whether a line that came back is one that was malformed and that nobody took apart."""
    return "ROW-MALFORMED: " in fields[0] and not any(fields[2:])


def _complaints_on_a_row(start: int, line: str, rest: list[str], told: Told) -> Iterator[str]:
    values = told.rows[start]
    record = "\n".join([line, *rest])
    fields = fields_of(line) if not any(rest) and fields_of(line) is not None else fields_of(record)
    if _CONTROL.search(record):
        yield f"line {start} has control characters, but is a row"
    if values is not None and fields is not None and [*values] != fields[: len(values)]:
        yield f"line {start} was read otherwise than Python's csv reads it"
    if fields is not None and len(fields) != told.width:
        yield f"line {start} has {len(fields)} fields and not {told.width}, but is a row"
    if rest and any(rest) and fields is None and _PLAIN.fullmatch(line):
        yield f"line {start} is whole, but what follows it is told by nothing"


def excuse(refused: Refused, data: bytes, sound: bytes) -> str | None:
    """Why a file may not be refused like this; None where it may."""
    text = text_of(data)
    allowed = {
        "FILE-ENCODING": text is None,
        "FILE-EMPTY": text is not None and not text.strip("\ufeff \t\r\n"),
        "FILE-HEADER": text is not None and lines_of(text)[:1] != lines_of(sound.decode())[:1],
        "FILE-INCOMPLETE": text is not None and not text.endswith(("\n", "\r")),
    }
    return None if allowed.get(refused.code) else f"refused without a reason: {refused}"
