"""Rejected lines are copied whole, secrets are not, and `findings.csv` is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from canonical_rows import district_for
from enrollsync.formats import FileSpec
from enrollsync.formats.clever import CLEVER
from enrollsync.ingest.lines import Malformed
from enrollsync.ingest.read import FileRead, read_file
from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.run.source_table import numbered
from enrollsync.run.workspace import Notice, RunManifest, SourceFile, Workspace
from enrollsync.validate import quarantine
from enrollsync.words import findings
from enrollsync.words.codes import CODES, Severity
from enrollsync.words.printable import printable

HEADER = ["School_id", "Student_id", "Last_name", "Password"]


@dataclass
class Delivered:
    """A tiny run: one delivered file, and what was found in it."""

    folder: Path
    text: str = ""
    found: Sequence[tuple[str, str, int | None, str | None, str]] = field(default_factory=list)
    """code, severity, line, column, message."""
    malformed: Sequence[tuple[int, str]] = field(default_factory=list)
    """line, raw."""
    header: list[str] = field(default_factory=lambda: HEADER)
    secret: list[str] = field(default_factory=list)
    damaged: int = 0
    """Lines that reading the file found to be malformed."""

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "run")

    def manifest(self, **more: Any) -> RunManifest:
        file = SourceFile(
            name="students.csv",
            entity="users",
            header=self.header,
            rows=1,
            malformed=len(self.malformed),
            secret_columns=self.secret,
        )
        values = {"run_id": "r1", "district": "demo", "as_of": datetime(2026, 11, 3, 7, tzinfo=UTC), "files": [file]}
        return RunManifest(**{**values, **more})

    def run(self, **more: Any) -> Run:
        return Run(self.workspace, self.manifest(**more), district_for("clever"), None)

    def save(self) -> Delivered:
        self.workspace.create()
        self._read()
        rows = [
            (code, severity, "users", 1, "students.csv", line, column, None, message)
            for code, severity, line, column, message in self.found
        ]
        save(self.workspace.findings, findings.schema(), rows)
        bad = [("students.csv", line, line, "it is odd", raw) for line, raw in self.malformed]
        columns = "file VARCHAR, line BIGINT, last_line BIGINT, reason VARCHAR, raw VARCHAR"
        save(self.workspace.malformed, columns, bad)
        return self

    def _read(self) -> None:
        """Read the file as ingest does, needing one of its columns, and remove it."""
        path = self.folder / "students.csv"
        path.write_bytes((self.text or ",".join(self.header)).encode())
        self.damaged = len(self._read_file(path, self.workspace.source_table(path.name)).malformed)
        path.unlink()

    def _read_file(self, path: Path, target: Path) -> FileRead:
        spec = FileSpec(path.name, "users", required=(), known=tuple(self.header), secret=tuple(self.secret))
        with engine.connect(self.folder, ordered=True) as connection:
            return read_file(connection, path, target, spec, CLEVER, tuple(self.header[2:3]))

    def read_back(self) -> list[tuple[Any, ...]]:
        """The rows of the error file when it is delivered."""
        target = self.folder / "back.parquet"
        assert self._read_file(self.errors_path, target).malformed == []
        return duckdb.sql(f"SELECT * EXCLUDE (line) FROM {numbered(target)}").fetchall()

    def damage_when_read_back(self) -> list[Malformed]:
        """Of the error file, when it is delivered."""
        return self._read_file(self.errors_path, self.folder / "back.parquet").malformed

    def write(self) -> dict[str, int]:
        return quarantine.write(self.run())

    def errors(self) -> list[list[str]]:
        return list(csv.reader(io.StringIO(self.errors_text(), newline="")))

    def errors_text(self) -> str:
        return self.errors_path.read_bytes().decode()

    @property
    def errors_path(self) -> Path:
        return self.workspace.quarantine / "students-errors.csv"


def save(path: Path, columns: str, rows: list[tuple[Any, ...]]) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE rows ({columns})")
        if rows:
            connection.executemany(f"INSERT INTO rows VALUES ({', '.join('?' for _ in rows[0])})", rows)
        connection.table("rows").write_parquet(str(path))


def missing(line: int) -> tuple[str, str, int, str, str]:
    return ("ID-MISSING", "critical", line, "Student_id", "the identifier is empty")


def table(*lines: str) -> str:
    return "\n".join([",".join(HEADER), *lines]) + "\n"


def read_findings(workspace: Workspace) -> list[dict[str, str]]:
    with (workspace.root / "findings.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_line_with_a_critical_finding_is_copied_under_the_files_own_header(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table("S1,,Parath,", "S1,300,Okafor,"), [missing(2)]).save()

    assert run.write() == {"students.csv": 1}
    assert run.errors() == [
        ["errors", *HEADER],
        ["line 2: ID-MISSING Student_id: the identifier is empty", "S1", "", "Parath", ""],
    ]


def test_all_findings_of_a_rejected_line_stand_in_its_errors_worst_first(tmp_path: Path) -> None:
    found = [
        ("VAL-TRIMMED", "info", 2, "Last_name", "blanks were removed"),
        missing(2),
        missing(2),
        ("VAL-EMAIL", "warning", 2, None, "odd shape"),
    ]
    run = Delivered(tmp_path, table("S1,, Parath,"), found).save()
    run.write()

    assert run.errors()[1][0] == (
        "line 2: ID-MISSING Student_id: the identifier is empty"
        " | VAL-EMAIL: odd shape | VAL-TRIMMED Last_name: blanks were removed"
    )


def test_lines_with_warnings_alone_are_not_rejected_and_make_no_file(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table("S1,300,Parath,"), [("VAL-EMAIL", "warning", 2, None, "odd")]).save()

    assert run.write() == {}
    assert list(run.workspace.quarantine.iterdir()) == []


def test_rejected_lines_keep_the_order_of_the_file(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table(*["S1,,Parath,"] * 12), [missing(line) for line in (11, 2, 10, 9)]).save()
    run.write()

    assert [row[0].split(":")[0] for row in run.errors()[1:]] == ["line 2", "line 9", "line 10", "line 11"]


def test_a_record_over_several_lines_is_copied_whole_and_later_lines_keep_their_numbers(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table('S1,,"Para\nth, ""Leena""",', "S1,,Okafor,"), [missing(2), missing(4)]).save()
    run.write()

    assert [row[1:4] for row in run.errors()[1:]] == [["S1", "", 'Para\nth, "Leena"'], ["S1", "", "Okafor"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_every_kind_of_line_end_gives_the_same_copy(tmp_path: Path, end: str) -> None:
    run = Delivered(tmp_path, table("S1,1,Okafor,", "S1,,Parath,").replace("\n", end), [missing(3)]).save()
    run.write()

    assert run.errors()[1][1:] == ["S1", "", "Parath", ""]


def test_a_malformed_line_stands_whole_in_one_field_after_errors(tmp_path: Path) -> None:
    raw = 'S1,"Para\x00th,3,4,5,6'
    finding = ("ROW-MALFORMED", "critical", 3, None, "it has 6 fields where 4 belong")
    run = Delivered(tmp_path, table("S1,,Parath,", raw), [missing(2), finding], [(3, raw)]).save()

    assert run.write() == {"students.csv": 2}
    assert run.errors()[2] == ["line 3: ROW-MALFORMED: it has 6 fields where 4 belong", raw, "", "", ""]


def test_a_malformed_line_without_a_finding_is_rejected_with_its_reason(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table("S1"), malformed=[(2, "S1")]).save()

    assert run.write() == {"students.csv": 1}
    assert run.errors()[1] == ["line 2: ROW-MALFORMED: it is odd", "S1", "", "", ""]


def test_secret_columns_are_left_out_of_well_formed_lines(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table("S1,,Parath,hunter2"), [missing(2)], secret=["Password"]).save()
    run.write()

    assert run.errors()[1][1:] == ["S1", "", "Parath", ""]
    assert "hunter2" not in run.errors_text()


@settings(max_examples=10, deadline=None)
@given(values=st.lists(st.text(st.sampled_from('aé,"\n =;\t'), max_size=8), min_size=3, max_size=3))
def test_every_field_survives_the_copy_as_delivered(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    assume("".join(values).strip())  # a line without a value is passed over
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(values)
    folder = tmp_path_factory.mktemp("batch")
    run = Delivered(folder, f"a,b,c\n{line.getvalue()}", [missing(2)], header=["a", "b", "c"]).save()
    assume(not run.damaged)  # with some line breaks, nobody can tell records apart
    run.write()

    assert run.errors()[1][1:] == values or any(re.match("[\\s]*[=+-]", value) for value in values)
    inner = run.errors_text().split("\n")[2:-2]
    assume(not any(_is_a_row(line, of=4) for line in inner))  # beside `errors` others can be told apart than before
    assert run.read_back() == [tuple(value or None for value in values)]


def test_a_row_whose_lines_could_be_rows_themselves_comes_back_as_a_finding_and_is_not_lost(tmp_path: Path) -> None:
    delivered = 'a,b,c\n"","\n,",",,\n"\n'
    run = Delivered(tmp_path, delivered, [missing(2)], header=["a", "b", "c"]).save()
    run.write()

    assert not run.damaged and run.errors()[1][1:] == ["", "\n,", ",,\n"]
    assert run.damage_when_read_back() != []


def _is_a_row(line: str, *, of: int) -> bool:
    """Whether a line within a record has as many fields as a record; blanks beside quotation marks are passed over."""
    tight = re.sub(r'" +(?=,|$)', '"', re.sub(r'(^|,) (?=")', r"\1", line))
    try:
        (fields,) = csv.reader(io.StringIO(tight, newline=""), strict=True)
    except (csv.Error, ValueError):
        return False
    return len(fields) == of


def test_a_field_larger_than_most_readers_take_is_copied(tmp_path: Path) -> None:
    large = "x" * 200_000
    run = Delivered(tmp_path, table(f"S1,,{large},"), [missing(2)]).save()
    run.write()

    assert f",{large}," in run.errors_text()


def test_what_is_written_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table("S1,,Parath,"), [missing(2)]).save()
    run.write()
    run.write()

    for path in (run.errors_path, run.workspace.root / "findings.csv"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_error_files_of_an_earlier_attempt_are_replaced(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table("S1,300,Parath,")).save()
    old = run.workspace.quarantine / "teachers-errors.csv"
    old.write_text("errors\n")
    run.write()

    assert not old.exists()


FORMULAS = (
    "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\u00a0@x", "\u200b=1", "\uff1d1", "\u22121",
)  # fmt: skip
formula_like = st.text(st.sampled_from("'=+-@\uff1d \t\r\u00a0a"), max_size=5) | st.text(max_size=5)


@pytest.mark.parametrize("value", FORMULAS)
def test_no_cell_of_an_error_file_starts_like_a_formula(tmp_path: Path, value: str) -> None:
    field = f'"{value}"'
    run = Delivered(tmp_path, table(f"S1,,{field},"), [missing(2)]).save()
    run.write()
    assert run.errors()[1][3] == "'" + value.replace("\r", "\n")


def test_neither_header_nor_malformed_line_starts_like_a_formula(tmp_path: Path) -> None:
    header = ["=School_id", "Student_id", "Last_name", "@Password"]
    run = Delivered(tmp_path, ",".join(header) + "\n=1,2\n", malformed=[(2, "=1,2")], header=header).save()
    run.write()
    assert run.errors()[0] == ["errors", "'=School_id", "Student_id", "Last_name", "'@Password"]
    assert run.errors()[1][1] == "'=1,2"


@pytest.mark.parametrize("value", ["O'Brien", "'Aisha", "", "5-6", "a=b", "''", "' a"])
def test_what_starts_like_no_formula_stays_as_delivered(tmp_path: Path, value: str) -> None:
    run = Delivered(tmp_path, table(f"S1,,{value},"), [missing(2)]).save()
    run.write()
    assert run.errors()[1][3] == value


@settings(max_examples=50, deadline=None)
@given(values=st.lists(formula_like, max_size=20))
def test_an_escape_can_be_undone_and_leaves_nothing_that_starts_like_a_formula(values: list[str]) -> None:
    given = pa.table({"value": pa.array(values, pa.string())})
    with duckdb.connect() as connection:
        connection.register("given", given)
        written = connection.sql(f"SELECT {engine.cell('value')} AS cell FROM given")
        back = written.project(f"cell, {engine.uncelled('cell')}").fetchall()

    assert [value for _, value in back] == values
    assert not [cell for cell, _ in back if re.match(r"[\s\u200b]*[=+\-@\uff1d]", cell)]


def test_findings_csv_names_remedy_and_rule_and_puts_notices_on_files_first(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table("S1,,Parath,"), [missing(2)]).save()
    notice = Notice(code="FILE-IGNORED", severity=Severity.INFO, message="not read", file="demographics.csv")
    quarantine.write(run.run(notices=[notice]))

    first, second = read_findings(run.workspace)
    assert list(first) == ["severity", "code", "file", "line", "column", "message", "remedy", "rule"]
    assert (first["code"], first["file"], first["line"]) == ("FILE-IGNORED", "demographics.csv", "")
    assert second == {
        "severity": "critical",
        "code": "ID-MISSING",
        "file": "students.csv",
        "line": "2",
        "column": "Student_id",
        "message": "the identifier is empty",
        "remedy": CODES["ID-MISSING"].remedy,
        "rule": CODES["ID-MISSING"].rule,
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t@", "\r=", "\n+", "＝"])
def test_no_cell_of_findings_csv_starts_like_a_formula(tmp_path: Path, start: str) -> None:
    cell = f'{start}HYPERLINK("http://example.org")'
    run = Delivered(tmp_path, table(), [("VAL-INVALID", "warning", 2, cell, cell)]).save()
    notice = Notice(code="FILE-IGNORED", severity=Severity.INFO, message=cell, file=cell)
    quarantine.write(run.run(notices=[notice]))

    first, second = read_findings(run.workspace)
    told = "'" + cell if cell.isprintable() else printable(cell)
    assert (first["file"], first["message"]) == (told, told)
    assert (second["column"], second["message"]) == ("'" + cell, "'" + cell)


def test_a_code_that_the_table_does_not_know_stays_in_findings_csv(tmp_path: Path) -> None:
    run = Delivered(tmp_path, table(), [("NEW-CODE", "warning", 2, None, "something")]).save()
    run.write()

    assert [(row["code"], row["remedy"]) for row in read_findings(run.workspace)] == [("NEW-CODE", "")]


def test_holds_stand_among_the_findings_once(tmp_path: Path) -> None:
    hold = Notice(code="GUARD-EMPTY", severity=Severity.WARNING, message="all classes are gone")

    assert quarantine.file_level(Delivered(tmp_path).manifest(holds=[hold])) == [hold]
