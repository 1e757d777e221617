"""Damages deliveries at random, and checks that each of their lines is accounted for exactly once.

    python tests/fuzzing.py files --format clever --cases 200000
    python tests/fuzzing.py deliveries --cases 10000 --seed 7

`files` takes one file of a format at a time through the splitting of records, and every `--whole`th one through
reading it whole. `deliveries` takes whole small ones through ingest, the checks and the plan, some with removals,
changes of identifiers, or the lines that an earlier delivery left in quarantine; the checks are made one by one, and
Great Expectations makes every `--whole`th one's besides. What is right is told by other means than the program's: by
counting lines, and by Python's `csv` where a record leaves no doubt. A case that is not accounted for is printed with
the seed that makes it again.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

import quicker
from enrollsync import steps
from enrollsync.formats import FORMATS, FileSpec, Format
from enrollsync.ingest.corrected import ERRORS
from enrollsync.ingest.lines import LONGEST, load_text, record_width, split_records
from enrollsync.ingest.read import check_header, numbered, read_file
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, SourceFile, Workspace, error_file_name
from enrollsync.validate import checking, collect, quarantine
from enrollsync.words.errors import Refused
from nightly import ON_TOP, Nightly, as_csv, clever, pupil, section, student, tutor

_NIGHT = datetime(2026, 11, 24, 7, tzinfo=UTC)

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
        "FILE-EMPTY": text is not None and not text.strip(),
        "FILE-HEADER": text is not None and lines_of(text)[:1] != lines_of(sound.decode())[:1],
        "FILE-INCOMPLETE": text is not None and not text.endswith(("\n", "\r")),
    }
    return None if allowed.get(refused.code) else f"refused without a reason: {refused}"


# ---- files --------------------------------------------------------------------------------------


class Files:
    """Takes files through the program, with one engine for all."""

    def __init__(self, folder: Path, declared: Format) -> None:
        self.folder = folder
        self.declared = declared
        self.connection = engine.connect(folder, ordered=True)
        self.connection.execute("SET threads = 1")

    def told(self, spec: FileSpec, data: bytes, *, parsed: bool) -> Told:
        """What the program says of a file with these bytes. Raises Refused."""
        path = self.folder / spec.name
        path.write_bytes(data)
        if parsed:
            return self._parsed(path, spec)
        text = load_text(path)
        check_header(text, spec, self.declared)
        width = record_width(text)
        records = split_records(text, width)
        if not len(records.first) or records.first[0] != 0:
            raise Refused("FILE-HEADER", "damaged")
        return Told(
            dict.fromkeys((records.first[1:] + 1).tolist()),
            [(bad.line, bad.last_line) for bad in records.malformed],
            (records.valueless + 1).tolist(),
            width,
        )

    def _parsed(self, path: Path, spec: FileSpec) -> Told:
        target = self.folder / "table.parquet"
        with self.connection.cursor() as own:
            result = read_file(own, path, target, spec, self.declared, ())
            rows = own.execute(f"SELECT * FROM {numbered(target)}").fetchall()
            names = [column[0] for column in own.description]
        line, shown = names.index("line"), [place for place, name in enumerate(names) if name.startswith(" ")]
        whole = len(shown) == len(names) - 1 and [names[place] for place in shown] == [
            f" {n}" for n in range(len(shown))
        ]
        return Told(
            {row[line]: [row[place] or "" for place in shown] if whole else None for row in rows},
            [(bad.line, bad.last_line) for bad in result.malformed],
            result.valueless,
            record_width(load_text(path)),
        )


def check_file(files: Files, spec: FileSpec, data: bytes, sound: bytes, *, parsed: bool) -> list[str]:
    """What is wrong with how the program takes these bytes for that file."""
    try:
        told = files.told(spec, data, parsed=parsed)
    except Refused as refused:
        said = excuse(refused, data, sound)
        return [said] if said else []
    text = text_of(data)
    if text is None:
        return ["bytes that are no text were read"]
    lines = lines_of(text)
    if fields_of(lines[0]) is None or lines[0].startswith(ERRORS):
        return []  # what a damaged header means is not for here
    return list(complaints_on(lines, told))


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
    pupils = [pupil(number) for number in range(4)]
    pupils[1] |= {"First_name": '"Bo, Jr"', "Last_name": '"A\nB"'}
    files = clever(
        [*pupils, pupil(9, Student_email="")], [tutor("T1"), tutor("T2", Last_name='"Ngo ""Kim"""')],
        [section("X1", Teacher_2_id="T2"), section("X2", Name='"Art, Music"')],
        [("X1", "p-0"), ("X1", "p-1"), ("X2", "p-2"), ("X2", "p-3"), ("X1", "p-9")],
        [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": '"South, Old"'}],
    )  # fmt: skip
    return {name: text.encode() for name, text in files.items()}


def fuzz_files(name: str, cases: Iterable[int], *, whole: int = 1) -> tuple[Counter[str], list[str]]:
    """Counts what came of the cases, and tells what is wrong, with the case that shows it.

    Every `whole`th file is read whole; of the others only the records are split.
    """
    declared = FORMATS[name]
    sound, wrong, counts = sound_files(declared), list[str](), Counter[str]()
    with tempfile.TemporaryDirectory(dir=_quick_folder()) as folder:
        files = Files(Path(folder), declared)
        for case in cases:
            chance = random.Random(f"{name} {case}")
            file = chance.choice(sorted(sound))
            data = damaged(chance, sound[file])
            parsed = case % whole == 0
            counts["parsed" if parsed else "split"] += 1
            try:
                found = check_file(files, declared.file(file), data, sound[file], parsed=parsed)
            except Exception as error:
                found = [f"{type(error).__name__}: {error}"]
            wrong += [f"files --format {name} --seed {case} --cases 1 ({file}): {one[:300]}" for one in found]
    return counts, wrong


def _quick_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


# ---- deliveries ---------------------------------------------------------------------------------


IDENTIFIERS = {
    "batch_upload": {"user": ("300", "301", "302", "900"), "class": ("C1", "C2"), "organization": ("S1",)},
    "clever": {"user": ("p-0", "p-1", "p-9", "T1"), "class": ("X1", "X2"), "organization": ("S1", "S2")},
}
"""Format -> whom its sound delivery speaks of."""
NO_CHANGES = b"entity,old_id,new_id\nuser,N1,N2\n"


@dataclass(frozen=True)
class Delivered:
    """A file of a case's delivery."""

    name: str
    """As it is delivered: an error file comes back under its own name."""
    data: bytes
    sound: bytes
    """What it was before it was damaged."""


class Nights:
    """Takes whole deliveries of one format to a plan, against a roster that a sound one has filled."""

    def __init__(self, folder: Path, declared: Format, *, whole: int) -> None:
        self.declared = declared
        self.sound = sound_files(declared)
        self.whole = whole
        self.state, self.version = folder / "state", None
        self.nightly = Nightly(folder, f"sqlite:///{folder}/roster.db", lambda *_: [])
        self.nightly.settings = {"primary_source": declared.name}
        assert self.nightly.run(dict(self.sound))["outcome"] == "applied"

    def complaints(self, case: int) -> tuple[list[str], list[str]]:
        """The outcomes of a case, and what is wrong with it.

        Now and then the lines that were rejected come back the next night, in the place of their file.
        """
        chance = random.Random(f"{self.declared.name} {case}")
        delivered, outcomes, wrong = self._made_up(chance), list[str](), list[str]()
        for number in range(2):
            outcome, found, rejected = self._night(f"case-{case}-{number}", delivered, whole=case % self.whole == 0)
            outcomes.append(outcome)
            wrong += found
            if number or not rejected or chance.random() < 0.6:
                break
            name = chance.choice(sorted(rejected))
            back = came_back(chance, rejected[name], self.sound.get(name, NO_CHANGES))
            delivered[name] = Delivered(error_file_name(name), back, rejected[name])
        return outcomes, wrong

    def _made_up(self, chance: random.Random) -> dict[str, Delivered]:
        """The sound delivery, with other contents and then damaged; name -> file."""
        files = dict(self.sound)
        if chance.random() < 0.3:
            files = with_removals(chance, files)
        sound = dict(files)
        for name in chance.sample(sorted(files), chance.choice((1, 1, min(2, len(files))))):
            files[name] = mixed_up(chance, files[name])
            if chance.random() < 0.7:
                files[name] = damaged_behind_header(chance, files[name])
        if chance.random() < 0.3:
            sound["id_changes.csv"] = changes = id_changes(chance, self.declared.name)
            files["id_changes.csv"] = changes if chance.random() < 0.6 else damaged_behind_header(chance, changes)
        return {name: Delivered(name, data, sound[name]) for name, data in files.items()}

    def _night(
        self, run_id: str, delivered: dict[str, Delivered], *, whole: bool
    ) -> tuple[str, list[str], dict[str, bytes]]:
        """The outcome of a delivery, what is wrong with it, and the error files that it left, by their file's name."""
        self.nightly.deliver({file.name: file.data for file in delivered.values()})
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(checking, "run_suite", quicker.by_both if whole else quicker.plainly)
                workspace, refused = self._planned(run_id, whole)
        except Exception as error:
            return "broken", [f"{type(error).__name__}: {error}"], {}
        manifest = workspace.read()
        found = list(self._told(delivered, manifest, workspace, refused))
        kept = [(name, quarantine.error_file(workspace, name)) for name in delivered]
        rejected = {name: path.read_bytes() for name, path in kept if path.is_file()}
        shutil.rmtree(workspace.root)
        return str(manifest.outcome), found, rejected

    def _planned(self, run_id: str, whole: bool) -> tuple[Workspace, Refused | None]:
        """Plan a night: as it is done, or without writing the quarantine twice and reading a state that never moves."""
        source = str(self.nightly.folder / "delivery")
        root = steps.start(self.nightly.district, run_id=run_id, as_of=_NIGHT, source=source, dry_run=True)
        workspace = Workspace(Path(root))
        try:
            steps.ingest(root, force=True)
            with pytest.MonkeyPatch.context() as patch:
                if not whole:
                    patch.setattr(quarantine, "write", lambda *_: None)
                steps.validate(root)
                steps.plan(root, read_version=None if whole else lambda: self._read_state(workspace))
        except Refused as refused:
            return workspace, refused
        if not whole:
            quarantine.write(Run.open(str(workspace.root)))
        return workspace, None

    def _read_state(self, workspace: Workspace) -> int:
        if self.version is None:
            self.version = steps.read_state(str(workspace.root))
            shutil.copytree(workspace.state, self.state)
        else:
            shutil.copytree(self.state, workspace.state, dirs_exist_ok=True)
        return self.version

    def _told(
        self, delivered: dict[str, Delivered], manifest: RunManifest, workspace: Workspace, refused: Refused | None
    ) -> Iterator[str]:
        if refused:
            named = {name: file for called, file in delivered.items() for name in (called, file.name)}
            for one in refused.parts:
                file = named[one.file or ""]
                if said := excuse(one, file.data, file.sound):
                    yield f"{one.file}: {said}"
            return
        read: Counter[str] = Counter()
        for file in manifest.files:
            given = delivered[file.name]
            told = _told_of(file, manifest, workspace, self.nightly.folder / "delivery" / given.name)
            lines = lines_of(text_of(given.data) or "")
            if fields_of(lines[0]) is not None:
                yield from (f"{given.name}: {said}" for said in complaints_on(lines, told))
            yield from _complaints_on_quarantine(file, told, workspace)
            read[file.entity] += file.malformed
            read += _rows_of(self.declared, file.name, workspace)
        yield from _complaints_on_counts(read, manifest, workspace)


def with_removals(chance: random.Random, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files with lines that ask for classes to be removed, where the format has such."""
    if "users.csv" not in files:
        return files
    header, *lines = files["users.csv"].decode().splitlines(keepends=True)
    for _ in range(chance.choice((1, 1, 2))):
        asked = {"action": chance.choice(("REMOVE-CLASS", "remove-class ", "REMOVE")),
                 "classId": chance.choice(("C1", "C2", "C9", ""))}  # fmt: skip
        lines.insert(chance.choice((0, 1, 3, len(lines))), ",".join(asked.get(name, "") for name in header.split(",")))
        lines = [line if line.endswith("\n") else f"{line}\n" for line in lines]
    return files | {"users.csv": "".join([header, *lines]).encode()}


def id_changes(chance: random.Random, name: str) -> bytes:
    """An `id_changes.csv` that speaks of the sound delivery's records, and of nobody's."""
    rows = []
    for _ in range(chance.choice((1, 1, 2, 4))):
        entity = chance.choice(("user", "user", "class", "organization"))
        old_id, new_id = (chance.choice((*IDENTIFIERS[name][entity], other)) for other in ("N0", "N1"))
        rows.append({"entity": entity, "old_id": old_id, "new_id": new_id})
    return as_csv(rows, "entity,old_id,new_id").encode()


def came_back(chance: random.Random, errors: bytes, sound: bytes) -> bytes:
    """An error file as somebody returns it: as it is, damaged, or with the values of sound lines."""
    kind = chance.choice(("as it is", "damaged", "corrected"))
    if kind == "damaged":
        return damaged_behind_header(chance, mixed_up(chance, errors))
    if kind == "as it is":
        return errors
    header, *rows = csv.reader(io.StringIO(errors.decode(), newline=""))
    values = list(csv.reader(io.StringIO(sound.decode(), newline="")))[1:]
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([header, *([row[0], *chance.choice(values)] for row in rows)])
    return written.getvalue().encode()


def mixed_up(chance: random.Random, data: bytes) -> bytes:
    """The bytes with a few fields that stand elsewhere in the file: identifiers doubled, lost, swapped, unknown."""
    lines = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        one, other = chance.choice(lines[1:]), chance.choice(lines[1:])
        at = chance.randrange(min(len(one), len(other)))
        one[at] = chance.choice((other[at], other[at], other[at].lower(), other[at] + b"9", b"", b"123456789"))
    return b"\n".join(b",".join(line) for line in lines)


def _told_of(file: SourceFile, manifest: RunManifest, workspace: Workspace, delivered: Path) -> Told:
    """What a run says of one file."""
    rows = duckdb.sql(f"SELECT line FROM {numbered(workspace.source_table(file.name))}").fetchall()
    malformed = duckdb.sql(f"""
        SELECT line, last_line
        FROM {engine.parquet(workspace.malformed)}
        WHERE file = '{file.name}'""").fetchall()
    blank = [one.message for one in manifest.notices if (one.code, one.file) == ("ROW-BLANK", file.name)]
    listed = blank[0].rpartition(": ")[2].split(" and ")[0].split(", ") if blank and ": " in blank[0] else []
    one = [notice.line for notice in manifest.notices if notice.code == "ROW-BLANK" and notice.file == file.name]
    valueless = [int(line) for line in listed] or [line for line in one if line]
    width = record_width(load_text(delivered))
    return Told(dict.fromkeys(line for (line,) in rows), malformed, valueless, width)


def _rows_of(declared: Format, file: str, workspace: Workspace) -> Counter[str]:
    """Entity -> how many rows of it the readable lines of a file make, told from the format's own words."""
    rows = duckdb.sql(f"SELECT * FROM {numbered(workspace.source_table(file))}").to_arrow_table().to_pylist()
    given = {row["line"]: {name: str(value or "").strip(" \t\n\r\xa0") for name, value in row.items()} for row in rows}
    if declared.name == "batch_upload" and file == "users.csv":
        return _rows_of_batch_upload(given, _rejected(workspace, file))
    counted: Counter[str] = Counter()
    for row in given.values():
        if file == "sections.csv":
            counted["classes"] += 1
            counted["enrollments"] += sum(bool(row.get(name)) for name in ("Teacher_id", "Teacher_2_id"))
        elif file != "id_changes.csv":
            counted.update({"schools.csv": ["organizations"], "enrollments.csv": ["enrollments"]}.get(
                file, ["users", "memberships"]
            ))  # fmt: skip
    return counted


def _rows_of_batch_upload(given: dict[int, dict[str, str]], rejected: set[tuple[int, str, str]]) -> Counter[str]:
    """What asks for a class to be removed is no row, nor is what else is said of that class, unless it is rejected."""
    asking = {line for line, row in given.items() if row.get("action", "").lower() == "remove-class"}
    sound = asking - {line for line, _, code in rejected if code != "REF-UNKNOWN"}
    removed = {given[line].get("classId", "") for line in sound}
    own = {(line, entity) for line, entity, _ in rejected}
    counted: Counter[str] = Counter()
    for line, row in given.items():
        class_id, in_class = row.get("classId", ""), row["userRole"].lower() in ("student", "teacher")
        if line in asking:
            counted["classes"] += line not in sound
            continue
        counted.update(["users", "memberships", "organizations"])
        for entity, spoken_of in (("classes", in_class or class_id), ("enrollments", in_class)):
            counted[entity] += bool(spoken_of) and (class_id not in removed or (line, entity) in own)
    return counted


def _rejected(workspace: Workspace, file: str) -> set[tuple[int, str, str]]:
    """Line, entity and code of a file's critical findings."""
    return set(duckdb.sql(f"""
        SELECT DISTINCT line, entity, code
        FROM {engine.parquet(workspace.findings)}
        WHERE file = '{file}' AND severity = 'critical'""").fetchall())  # fmt: skip


def _complaints_on_quarantine(file: SourceFile, told: Told, workspace: Workspace) -> Iterator[str]:
    """Every rejected line, and no other, must stand there once."""
    critical = {line for line, _, _ in _rejected(workspace, file.name)}
    expected = sorted(critical | {line for line, _ in told.malformed})
    kept = quarantine.error_file(workspace, file.name)
    found = []
    if kept.is_file():
        with kept.open(newline="") as stream:
            found = [int(re.findall(r"line (\d+): ", row[0])[0]) for row in list(csv.reader(stream))[1:]]
    if found != expected:
        yield f"{file.name}: lines {expected} are rejected, lines {found} in quarantine"
    if missing := set(expected) - set(told.rows) - {line for line, _ in told.malformed}:
        yield f"{file.name}: lines {missing} are rejected, but no lines of the file"


def _complaints_on_counts(read: Counter[str], manifest: RunManifest, workspace: Workspace) -> Iterator[str]:
    """Created, updated, unchanged, held, rejected, collapsed: all rows that were read, each once."""
    for entity, numbers in manifest.counts.items():
        table = workspace.plan_table(entity)
        reasons = (
            duckdb.sql(f"SELECT operation, reason FROM {engine.parquet(table)}").fetchall() if table.exists() else []
        )
        on_top = sum(operation != "deactivate" and reason in ON_TOP for operation, reason in reasons)
        counted = sum(numbers.values()) - numbers["deactivate"]
        if counted != read[entity] + on_top or min(numbers.values()) < 0:
            yield f"{entity}: {read[entity]} rows were read, counted are {numbers}"


def fuzz_deliveries(name: str, cases: Iterable[int], *, whole: int = 1) -> tuple[Counter[str], list[str]]:
    """Counts outcomes, and tells what is wrong, with the case that shows it.

    Every `whole`th case is checked by Great Expectations too, which must say the same.
    """
    counts, wrong = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(dir=_quick_folder()) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", folder)
        patch.setattr(collect, "write_checks", lambda *_: None)
        engines = Engines(Path(folder))
        patch.setattr(duckdb, "connect", engines.connect)
        nights = Nights(Path(folder), FORMATS[name], whole=whole)
        for case in cases:
            outcomes, found = nights.complaints(case)
            counts.update(outcomes)
            engines.take_back()
            wrong += [f"deliveries --format {name} --seed {case} --cases 1: {one[:300]}" for one in found]
    return counts, wrong


class Engines:
    """What `duckdb.connect` gives: databases of their own in two engines, instead of engines that have to start."""

    def __init__(self, folder: Path) -> None:
        self.started = {ordered: engine.connect(folder, ordered=ordered) for ordered in (False, True)}
        self.lent: list[tuple[duckdb.DuckDBPyConnection, str, bool]] = []
        for connection in self.started.values():
            connection.execute("SET threads = 1")

    def connect(self, _: str, *, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        """A connection to a new database."""
        ordered = config["preserve_insertion_order"]
        connection, name = self.started[ordered].cursor(), f"lent{len(self.lent)}"
        connection.execute(f"ATTACH ':memory:' AS {name}; USE {name}")
        self.lent.append((connection, name, ordered))
        return connection

    def take_back(self) -> None:
        """Drop what was lent and all that is in it."""
        for connection, name, ordered in self.lent:
            connection.close()
            self.started[ordered].execute(f"DETACH {name}")
        self.lent.clear()


# ---- the command --------------------------------------------------------------------------------


def main() -> int:
    """Run the cases that were asked for; prints every one that is not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("files", "deliveries"))
    parser.add_argument("--format", choices=sorted(FORMATS), default="batch_upload")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="number of the first case")
    parser.add_argument("--whole", type=int, default=20, help="every so manieth case: a file is read whole, a delivery "
                        "checked by Great Expectations")  # fmt: skip
    asked = parser.parse_args()
    began, counts, complaints = time.monotonic(), Counter[str](), 0
    for first in range(asked.seed, asked.seed + asked.cases, _TOLD_AFTER[asked.what]):
        last = min(first + _TOLD_AFTER[asked.what], asked.seed + asked.cases) - 1
        come_of, wrong = _FUZZ[asked.what](asked.format, range(first, last + 1), whole=asked.whole)
        counts += come_of
        complaints += len(wrong)
        for one in wrong:
            print(one)
        print(f"{asked.what} {asked.format}: seeds {asked.seed} to {last}, {dict(counts)}, {complaints} complaints, "
              f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    return 1 if complaints else 0


_FUZZ = {"files": fuzz_files, "deliveries": fuzz_deliveries}
_TOLD_AFTER = {"files": 10_000, "deliveries": 100}
"""So many cases at a time."""


if __name__ == "__main__":
    sys.exit(main())
