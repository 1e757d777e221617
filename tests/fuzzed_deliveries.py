"""Damaged whole deliveries through ingest, the checks and the plan, against a roster that a sound one has filled."""

from __future__ import annotations

import csv
import io
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

import in_memory
import one_engine
import quicker
from counted_rows import rows_read
from damage import (
    Told,
    complaints_on,
    damaged_behind_header,
    excuse,
    fields_of,
    lines_of,
    sound_files,
    text_of,
)
from enrollsync import steps
from enrollsync.formats import FORMATS, Format
from enrollsync.ingest.lines import load_text, record_width
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.source_table import numbered
from enrollsync.run.workspace import RunManifest, SourceFile, Workspace, error_file_name
from enrollsync.validate import checking, collect, quarantine
from enrollsync.words.errors import Refused
from nightly import ON_TOP, Nightly, as_csv

_NIGHT = datetime(2026, 11, 24, 7, tzinfo=UTC)
_OF_ONEROSTER = {"user": ("p1", "p2", "p3", "t1"), "class": ("C1", "C2"), "organization": ("S1", "D")}
IDENTIFIERS = {
    "batch_upload": {"user": ("300", "301", "302", "900"), "class": ("C1", "C2"), "organization": ("S1",)},
    "oneroster_1_1": _OF_ONEROSTER,
    "oneroster_1_2": _OF_ONEROSTER,
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
        self.nightly.settings = {"primary_source": declared.source.name}
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
        if self.declared.listing and chance.random() < 0.4:
            name = self.declared.listing.file
            files[name] = sound[name] = manifest(chance, self.declared, files)
        return {name: Delivered(name, data, sound[name]) for name, data in files.items()}

    def _night(
        self, run_id: str, delivered: dict[str, Delivered], *, whole: bool
    ) -> tuple[str, list[str], dict[str, bytes]]:
        """The outcome of a delivery, what is wrong with it, and the error files that it left, by their file's name."""
        self.nightly.deliver({file.name: file.data for file in delivered.values()})
        try:
            with pytest.MonkeyPatch.context() as patch:
                if whole:
                    patch.setattr(checking, "run_suite", quicker.by_both)
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
        read += rows_read(self.declared, workspace, [file.name for file in manifest.files])
        yield from _complaints_on_counts(read, manifest, workspace)


def manifest(chance: random.Random, declared: Format, names: Iterable[str]) -> bytes:
    """A `manifest.csv` that calls each file the whole or what changed."""
    rows = [("propertyName", "value"), ("oneroster.version", declared.version)]
    rows += [(f"file.{name.removesuffix('.csv')}", chance.choice(("bulk", "Bulk", "delta"))) for name in sorted(names)]
    return "".join(f"{name},{value}\n" for name, value in rows).encode()


def with_removals(chance: random.Random, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files with lines that ask for records to be removed, where the format has such."""
    if "orgs.csv" in files:
        return {name: with_endings(chance, data) for name, data in files.items()}
    if not files.get("users.csv", b"").startswith(b"action,"):
        return files
    header, *lines = files["users.csv"].decode().splitlines(keepends=True)
    for _ in range(chance.choice((1, 1, 2))):
        asked = {"action": chance.choice(("REMOVE-CLASS", "remove-class ", "REMOVE")),
                 "classId": chance.choice(("C1", "C2", "C9", ""))}  # fmt: skip
        lines.insert(chance.choice((0, 1, 3, len(lines))), ",".join(asked.get(name, "") for name in header.split(",")))
        lines = [line if line.endswith("\n") else f"{line}\n" for line in lines]
    return files | {"users.csv": "".join([header, *lines]).encode()}


def with_endings(chance: random.Random, data: bytes) -> bytes:
    """A file of OneRoster in which a line or two are to be deleted, or say so of what another line brings."""
    header, *rows = csv.reader(io.StringIO(data.decode(), newline=""))
    for _ in range(chance.choice((0, 0, 1, 2)) if rows else 0):
        ending = list(chance.choice(rows))
        ending[header.index("status")] = chance.choice(("tobedeleted", "ToBeDeleted ", "inactive", "delete"))
        at = chance.randrange(len(rows))
        rows[at : at + chance.choice((0, 1))] = [ending]
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([header, *rows])
    return written.getvalue().encode()


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
    with tempfile.TemporaryDirectory(dir=in_memory.folder()) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", folder)
        patch.setattr(collect, "write_checks", lambda *_: None)
        patch.setattr(checking, "run_suite", quicker.plainly)
        patch.setattr(engine, "_engine", one_engine.Engine)
        nights = Nights(Path(folder), FORMATS[name], whole=whole)
        for case in cases:
            outcomes, found = nights.complaints(case)
            counts.update(outcomes)
            wrong += [f"deliveries --format {name} --seed {case} --cases 1: {one[:300]}" for one in found]
    return counts, wrong
