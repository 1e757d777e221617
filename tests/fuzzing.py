"""Damages deliveries at random, and checks that each of their lines is accounted for exactly once.

    python tests/fuzzing.py files --format clever --cases 200000
    python tests/fuzzing.py deliveries --cases 10000 --seed 7

`files` takes one file of a format at a time through the splitting of records, and every `--whole`th one through
reading it whole. `deliveries` takes whole small ones through ingest, the checks and the plan; pandas makes the checks,
and Great Expectations makes every `--whole`th one's besides. What is right is told by
other means than the program's: by counting lines, and by Python's `csv` where a record leaves no doubt. A case that is
not accounted for is printed with the seed that makes it again.
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
import pandas as pd
import pytest

import quicker
from enrollsync import steps
from enrollsync.formats import FORMATS, FileSpec, Format
from enrollsync.ingest.lines import LONGEST, load_text, record_width, split_records
from enrollsync.ingest.read import check_header, numbered, read_file
from enrollsync.run import engine
from enrollsync.run.workspace import RunManifest, SourceFile, Workspace
from enrollsync.validate import checking, collect, quarantine
from enrollsync.validate.expectations import alike_but_for_case, disagreeing, is_date, standing_for_several
from enrollsync.validate.suites import looked_at
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
    broken = {line for first, last in told.malformed if last > first for line in range(first, last + 1)}
    for number, line in enumerate(lines[1:], start=2):
        fields = fields_of(line)
        if fields is None or line == "":
            continue
        blank = not "".join(fields).strip(" \t")
        sound = len(fields) == told.width and not blank
        if sound and owner[number - 1] != "row":
            yield f"line {number} is sound, but told as {owner[number - 1] or 'nothing'}"
        if not sound and owner[number - 1] == "row":
            continue_ = number < len(lines) and told.rows.get(number)
            yield f"line {number} has {len(fields)} fields, or no value, but is a row {continue_!r}"
        if blank and owner[number - 1] not in ("valueless", "") and number not in broken:
            yield f"line {number} has no values, but is told as {owner[number - 1]}"


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
        check_header(text, spec, self.declared, {})
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
            result = read_file(own, path, target, spec, self.declared, (), {}, "utf-8")
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
    if fields_of(lines[0]) is None or lines[0].startswith("errors"):
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
        return {"users.csv": as_csv(rows, ",".join([*student(), "primaryTeacher"])).encode()}
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


def run_suite_plainly(_: object, suite: Any, frame: pd.DataFrame, words: dict[str, Any]) -> checking.Checked:
    """What `checking.run_suite` answers, by pandas alone: a tenth of the time that Great Expectations needs."""
    answers = []
    for number, check in enumerate(suite.expectation_configurations):
        failing = _failing(check.type, frame[looked_at(check)], check.kwargs, words)
        if failing.any():
            answers.append(checking.Answer(number, frame.index[failing.to_numpy(dtype=bool)].to_numpy()))
    return checking.Checked([], answers)


def _failing(kind: str, frame: pd.DataFrame, kwargs: dict[str, Any], words: dict[str, Any]) -> pd.Series:
    asked = {name: words[value["$PARAMETER"]] if isinstance(value, dict) else value for name, value in kwargs.items()}
    column, ignore_case = frame.iloc[:, 0], asked.get("ignore_case")
    given = column.notna()
    met: dict[str, Callable[[], pd.Series]] = {
        "expect_column_values_to_not_be_null": lambda: given,
        "expect_column_values_to_be_null": lambda: ~given,
        "expect_column_values_to_be_in_set": lambda: ~given | column.isin(asked["value_set"]),
        "expect_column_values_to_not_be_in_set": lambda: ~given | ~column.isin(asked["value_set"]),
        "expect_column_values_to_match_regex": lambda: ~given | column.astype("str").str.contains(asked["regex"]),
        "expect_column_values_to_not_match_regex": lambda: ~given | ~column.astype("str").str.contains(asked["regex"]),
        "expect_column_values_to_be_between": lambda: ~given | (column <= asked["max_value"]),
        "expect_column_values_to_be_dates": lambda: (
            ~given | is_date(column, asked.get("earliest"), asked.get("latest"))
        ),
        "expect_column_values_to_differ_beyond_case": lambda: ~given | ~alike_but_for_case(column.dropna()),
        "expect_key_to_agree_on_columns": lambda: ~disagreeing(frame, ignore_case),
        "expect_column_values_to_belong_to_one_key": lambda: ~standing_for_several(frame, ignore_case),
    }
    return ~met[kind]().fillna(True).astype(bool)


class Nights:
    """Takes whole deliveries of one format to a plan, against a roster that a sound one has filled."""

    def __init__(self, folder: Path, declared: Format, *, by_great_expectations: int) -> None:
        self.declared = declared
        self.sound = sound_files(declared)
        self.by_great_expectations = by_great_expectations
        self.nightly = Nightly(folder, f"sqlite:///{folder}/roster.db", lambda *_: [])
        self.nightly.settings = {"primary_source": declared.name}
        assert self.nightly.run(dict(self.sound))["outcome"] == "applied"

    def complaints(self, case: int) -> tuple[str, list[str]]:
        """The outcome of a case, and what is wrong with it."""
        chance = random.Random(f"{self.declared.name} {case}")
        files = dict(self.sound)
        for name in chance.sample(sorted(files), chance.choice((1, 1, min(2, len(files))))):
            files[name] = mixed_up(chance, files[name])
            if chance.random() < 0.7:
                files[name] = damaged_behind_header(chance, files[name])
        self.nightly.deliver(dict(files))
        run = run_suite_plainly if case % self.by_great_expectations else by_both
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(checking, "run_suite", run)
                workspace, refused = self._planned(f"case-{case}")
        except Exception as error:
            return "broken", [f"{type(error).__name__}: {error}"]
        manifest = workspace.read()
        found = list(self._told(files, manifest, workspace, refused))
        shutil.rmtree(workspace.root)
        return str(manifest.outcome), found

    def _planned(self, run_id: str) -> tuple[Workspace, Refused | None]:
        source = str(self.nightly.folder / "delivery")
        root = steps.start(self.nightly.district, run_id=run_id, as_of=_NIGHT, source=source, dry_run=True)
        try:
            steps.ingest(root, force=True)
            steps.validate(root)
            steps.plan(root)
        except Refused as refused:
            return Workspace(Path(root)), refused
        return Workspace(Path(root)), None

    def _told(
        self, files: dict[str, bytes], manifest: RunManifest, workspace: Workspace, refused: Refused | None
    ) -> Iterator[str]:
        if refused:
            excuses = [excuse(one, files[one.file or ""], self.sound[one.file or ""]) for one in refused.parts]
            yield from (f"{one.file}: {said}" for one, said in zip(refused.parts, excuses, strict=True) if said)
            return
        read: Counter[str] = Counter()
        for file in manifest.files:
            told = _told_of(file, manifest, workspace, self.nightly.folder / "delivery" / file.name)
            lines = lines_of(text_of(files[file.name]) or "")
            if fields_of(lines[0]) is not None and not lines[0].startswith("errors"):
                yield from (f"{file.name}: {said}" for said in complaints_on(lines, told))
            yield from _complaints_on_quarantine(file, told, workspace)
            read[file.entity] += file.malformed
            read += _rows_of(self.declared, file.name, workspace)
        yield from _complaints_on_counts(read, manifest, workspace)


def mixed_up(chance: random.Random, data: bytes) -> bytes:
    """The bytes with a few fields that stand elsewhere in the file: identifiers doubled, lost, swapped, unknown."""
    lines = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        one, other = chance.choice(lines[1:]), chance.choice(lines[1:])
        at = chance.randrange(min(len(one), len(other)))
        one[at] = chance.choice((other[at], other[at], other[at].lower(), other[at] + b"9", b"", b"123456789"))
    return b"\n".join(b",".join(line) for line in lines)


def by_both(*asked: Any) -> checking.Checked:
    """What Great Expectations answers, which must be what pandas answers."""
    checked, plainly = quicker.run_suite(*asked), run_suite_plainly(*asked)
    found, expected = (
        {(answer.number, row) for answer in one.failed for row in answer.row_ids.tolist()} for one in (checked, plainly)
    )
    assert found == expected, f"{asked[1].name}: Great Expectations and pandas differ"
    return checked


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
    counted: Counter[str] = Counter()
    for row in rows:
        given = {name: (value or "").strip(" \t\n\r\xa0") for name, value in row.items() if name != "line"}
        if declared.name == "batch_upload":
            in_class = given["userRole"].lower() in ("student", "teacher")
            counted.update(["users", "memberships", "organizations"])
            counted["classes"] += in_class or bool(given["classId"])
            counted["enrollments"] += in_class
        elif file == "sections.csv":
            counted["classes"] += 1
            counted["enrollments"] += sum(bool(given.get(name)) for name in ("Teacher_id", "Teacher_2_id"))
        else:
            counted.update({"schools.csv": ["organizations"], "enrollments.csv": ["enrollments"]}.get(
                file, ["users", "memberships"]
            ))  # fmt: skip
    return counted


def _complaints_on_quarantine(file: SourceFile, told: Told, workspace: Workspace) -> Iterator[str]:
    """Every rejected line, and no other, must stand there once."""
    critical = duckdb.sql(f"""
        SELECT DISTINCT line
        FROM {engine.parquet(workspace.findings)}
        WHERE file = '{file.name}' AND severity = 'critical'""").fetchall()
    expected = sorted({line for (line,) in critical} | {line for line, _ in told.malformed})
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

    Every `whole`th case is checked by Great Expectations too, which must say the same as pandas.
    """
    counts, wrong = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(dir=_quick_folder()) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", folder)
        patch.setattr(collect, "write_checks", lambda *_: None)
        patch.setattr(engine, "connect", _one_thread(engine.connect))
        nights = Nights(Path(folder), FORMATS[name], by_great_expectations=whole)
        for case in cases:
            outcome, found = nights.complaints(case)
            counts[outcome] += 1
            wrong += [f"deliveries --format {name} --seed {case} --cases 1: {one[:300]}" for one in found]
    return counts, wrong


def _one_thread(connect: Callable[..., duckdb.DuckDBPyConnection]) -> Callable[..., duckdb.DuckDBPyConnection]:
    def connected(*asked: Any, **more: Any) -> duckdb.DuckDBPyConnection:
        connection = connect(*asked, **more)
        connection.execute("SET threads = 1")
        return connection

    return connected


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
