"""A small district for tests: deliver rows, run a night, look at the views.

Runs the steps as the command does, without its process, so that Great Expectations is imported once.
"""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml

from enrollsync import steps
from enrollsync.ingest import shortcut
from enrollsync.run.workspace import OPERATIONS, Workspace
from enrollsync.settings import load_district
from enrollsync.validate.accept import records
from enrollsync.words.canonical import BY_NAME
from enrollsync.words.codes import CODES, Scope
from enrollsync.words.errors import EnrollSyncError

_BEGINNINGS: dict[str, bytes] = {}
"""Settings and files of a first night -> the SQLite database after it."""
_SETTING_ASIDE = [code.code for code in CODES.values() if code.scope in {Scope.RECORD, Scope.WAITS}]
Query = Callable[[str, str], list[dict[str, Any]]]

BATCH_HEADER = (
    "action", "schoolId", "schoolName", "classId", "className", "classGrade", "userId", "userDistrictId",
    "userStateId", "userRole", "userFirstName", "userMiddleName", "userLastName", "userEmail", "userGrade",
    "userBirthDate", "primaryTeacher",
)  # fmt: skip


def student(user_id: str = "300", **values: str) -> dict[str, str]:
    """A row of Batch Upload: Leena Parath in class C1 of school S1, unless `values` say otherwise."""
    return {
        "schoolId": "S1", "schoolName": "North", "classId": "C1", "className": "Math", "userId": user_id,
        "userRole": "student", "userFirstName": "Leena", "userLastName": "Parath",
        "userEmail": "leena@demo.example", "userGrade": "5", "userBirthDate": "2015-03-09", **values,
    }  # fmt: skip


def other(number: int, **values: str) -> dict[str, str]:
    """A student unlike any other with another number."""
    return student(
        f"u{number}",
        **{
            "userFirstName": f"Given{number}", "userLastName": f"Family{number}",
            "userEmail": f"person{number}@demo.example", "userBirthDate": f"2014-01-{number % 28 + 1:02}", **values,
        },
    )  # fmt: skip


def write_csv(path: Path, rows: Iterable[dict[str, str]], header: Iterable[str] | None = None) -> None:
    """Rows as a CSV file; without `header`, the columns that any row has."""
    rows = list(rows)
    columns = list(header or dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@dataclass
class Nightly:
    """One district with its database; every night is a run."""

    folder: Path
    database_url: str
    query: Query
    settings: dict[str, Any] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _begun: bool = False
    workspace: str = ""

    @property
    def district(self) -> str:
        """Path of the district file, written anew with the present settings."""
        path = self.folder / "district.yaml"
        settings = {
            "district_id": "demo",
            "name": "Demo Unified",
            "primary_source": "batch_upload",
            "source": {"path": str(self.folder / "delivery")},
            "database": {"url": self.database_url},
            **self.settings,
        }
        path.write_text(yaml.safe_dump(settings))
        return str(path)

    def deliver(self, files: dict[str, Any] | list[dict[str, str]]) -> Path:
        """Put one delivery down: rows of Batch Upload, or file name -> rows, text or bytes."""
        delivery = self.folder / "delivery"
        shutil.rmtree(delivery, ignore_errors=True)
        delivery.mkdir(parents=True)
        for name, content in (files if isinstance(files, dict) else {"users.csv": files}).items():
            path = delivery / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, str):
                path.write_text(content)
            else:
                write_csv(path, content, BATCH_HEADER if name == "users.csv" else None)
        return delivery

    def run(
        self,
        files: Any = None,
        *,
        until: str = "load",
        approve: bool = False,
        source: str | None = None,
        force: bool = True,
        release: bool = False,
        found: bool = False,
        as_of: datetime = datetime(2026, 11, 23, 7, tzinfo=UTC),
        **asked: Any,
    ) -> dict[str, Any]:
        """Deliver `files` and run a night, without short cuts; returns what the command prints with --json.

        The delivery is named, as with `--source`, unless it is to be `found`. `asked`: as for `steps.start`.
        """
        if files is not None:
            self.deliver(files)
        run_id, self._begun = f"run-{next(self._numbers):03}", True
        self.workspace = steps.start(
            self.district, run_id=run_id, as_of=as_of,
            source=None if found else source or str(self.folder / "delivery"), dry_run=until != "load",
            release=release, **asked,
        )  # fmt: skip

        def load(workspace: str) -> None:
            if steps.result(workspace)["outcome"] == "planned" or approve:
                steps.load(workspace, approved_by="a person" if approve else None)

        with suppress(EnrollSyncError):
            last, then = "validate" if until == "check" else "plan", load if until == "load" else None
            steps.night(self.workspace, last=last, then=then, force=force)
        return steps.report(self.workspace)

    def again(self) -> dict[str, Any]:
        """What the last run's delivery would come to the next night, with the roster as it is now.

        Read and checked again it would say the same, so it is only planned again; nothing is applied.
        """
        return steps.plan_again(self.workspace)

    def begin(self, files: Any) -> None:
        """Run a first night that the test is not about: on SQLite, a copy where an earlier test had the same."""
        self.deliver(files)
        # What limits hold later does not matter while the roster is empty.
        settings = {name: value for name, value in self.settings.items() if name != "thresholds"}
        known = json.dumps([settings, sorted(self._delivered())], sort_keys=True, default=str)
        if not self.database_url.startswith("sqlite") or self._begun:
            assert self.run()["outcome"] == "applied"
        elif known in _BEGINNINGS:
            self._begun = next(self._numbers) > 0
            self._database.write_bytes(_BEGINNINGS[known])
            self._sign()
        else:
            assert self.run()["outcome"] == "applied"
            _BEGINNINGS[known] = self._database.read_bytes()

    @property
    def _database(self) -> Path:
        return Path(self.database_url.removeprefix("sqlite:///"))

    def _delivered(self) -> Iterable[tuple[str, str]]:
        for path in (self.folder / "delivery").iterdir():
            yield path.name, path.read_bytes().hex()

    def _sign(self) -> None:
        """The run's fingerprint is made of paths too, which are this test's own."""
        with closing(sqlite3.connect(self._database, isolation_level=None)) as database:
            ((batch_hash,),) = database.execute("SELECT batch_hash FROM runs").fetchall()
            mark = shortcut.fingerprint(batch_hash, load_district(self.district))
            database.execute("UPDATE runs SET fingerprint = ?", [mark])

    def undo(self, run_id: str, *, keep_later: bool = False) -> dict[str, Any]:
        """Undo a run; returns what the command prints with --json."""
        workspace = steps.start_undo(
            self.district, run_id, run_id=f"undo-{next(self._numbers):03}", as_of=datetime.now(UTC),
            keep_later=keep_later,
        )  # fmt: skip
        return steps.undo(workspace, approved_by="pat", agreed=lambda _: True)

    def findings(self) -> list[tuple[str, str, int]]:
        """Code, file and line of the last run's findings, sorted; without what merely waits for another row."""
        return duckdb.sql(f"""
            SELECT DISTINCT code, file, line
            FROM read_parquet('{self.workspace}/findings.parquet')
            WHERE code <> 'ROW-WAITS'
            ORDER BY ALL
        """).fetchall()

    def set_aside(self) -> list[tuple[str, int, str]]:
        """Entity, line and message of every record that waits in the last run, for a decision or for another record."""
        return duckdb.sql(f"""
            SELECT entity, line, message
            FROM read_parquet('{self.workspace}/findings.parquet')
            WHERE severity <> 'critical' AND code IN ({", ".join(f"'{code}'" for code in _SETTING_ASIDE)})
            ORDER BY ALL
        """).fetchall()

    def view(self, name: str, columns: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
        """Rows of a view, sorted, as tuples of the chosen columns."""
        rows = self.query(self.database_url, f"SELECT {columns} FROM roster_{name} WHERE {where}")
        return sorted((tuple(row.values()) for row in rows), key=str)

    def accepted(self, name: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """The same of the records that the last run's checks let through, for tests that need no more of a night."""
        found = records(BY_NAME[name], Workspace(Path(self.workspace)))
        return sorted(duckdb.sql(f"SELECT {columns} FROM ({found}) WHERE {where}").fetchall(), key=str)

    def roles(self, user_id: str) -> list[tuple[Any, ...]]:
        """School, role, whether it is the primary one, and status of each of somebody's memberships."""
        told = self.view("memberships", "organization_id, role, is_primary, status", f"user_id = '{user_id}'")
        return [(school, role, bool(primary), status) for school, role, primary, status in told]

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All of the roster as other programs see it, internal keys and unloved columns left out."""
        return {
            "organizations": self.view("organizations", "organization_id, name, status"),
            "users": self.view(
                "users",
                "user_id, user_district_id, user_state_id, role, given_name, middle_name, family_name, email, "
                "grade, birth_date, status",
            ),
            "memberships": self.view("memberships", "user_id, organization_id, role, is_primary, status"),
            "classes": self.view("classes", "class_id, organization_id, name, grade, status"),
            "enrollments": self.view("enrollments", "class_id, user_id, role, is_primary, status"),
        }


def faults(result: dict[str, Any]) -> dict[str, int]:
    """Code -> how many findings, without the records that merely wait for one with a fault."""
    return {code: number for code, number in result["findings"].items() if code != "ROW-WAITS"}


def add_up(result: dict[str, Any], **read: int) -> None:
    """Records read = created + updated + re-identified + reactivated + unchanged + held + rejected + collapsed.

    For deliveries without what comes on top of them (docs/identifiers.md).
    """
    for entity, expected in read.items():
        numbers = result["counts"][entity]
        assert sum(numbers.values()) - numbers["deactivate"] == expected, (entity, numbers)


ON_TOP = ("another school became the primary one", "another role became the primary one", "id_changes.csv says so")
"""Why an update or a re-identification is planned that no row speaks of."""


def assert_counted_whole(nightly: Nightly, result: dict[str, Any], read: dict[str, int]) -> None:
    """The counts of an applied run are its audit rows, every row of the files is counted exactly once, and each record
    that is counted as held has a finding that says for what it waits.

    `read`: entity -> rows of the delivered files. What no row speaks of comes on top, counted from the audit.
    """
    audit = nightly.view("changes", "entity, operation, reason", f"run_id = '{result['run_id']}'")
    written = Counter((entity, operation) for entity, operation, _ in audit)
    on_top = Counter(entity for entity, operation, reason in audit if operation != "deactivate" and reason in ON_TOP)
    for entity, numbers in result["counts"].items():
        assert {name: numbers[name] for name in OPERATIONS} == {name: written[entity, name] for name in OPERATIONS}
        assert min(numbers.values()) >= 0, (entity, numbers)
        assert sum(numbers.values()) - numbers["deactivate"] == read[entity] + on_top[entity], (entity, numbers, on_top)
    aside = Counter(entity for entity, _, _ in nightly.set_aside())
    assert aside == {entity: numbers["held"] for entity, numbers in result["counts"].items() if numbers["held"]}


def assert_undone_and_redone(nightly: Nightly, write: Callable[[], dict[str, Any]]) -> None:
    """Whatever a run writes, an undo takes back, and the undo of that brings again."""
    before = nightly.everything()
    result = write()
    assert result["outcome"] in ("applied", "in_sync"), result
    if result["outcome"] == "in_sync":
        return
    after = nightly.everything()
    undone = nightly.undo(result["run_id"])
    assert undone["outcome"] == "undone" and nightly.everything() == before
    nightly.undo(undone["run_id"])
    assert nightly.everything() == after


def clever(
    students: Iterable[dict[str, str]] = (), teachers: Iterable[dict[str, str]] | None = None,
    sections: Iterable[dict[str, str]] | None = None, enrollments: Iterable[tuple[str, str]] | None = None,
    schools: Iterable[dict[str, str]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A Clever set: one school, one teacher and one section unless told otherwise; `students` from `pupil`.

    `enrollments` are (section, student) pairs; by default every student attends section X1.
    """
    pupils = list(students)
    pairs = enrollments if enrollments is not None else [("X1", pupil["Student_id"]) for pupil in pupils]
    return {
        "schools.csv": as_csv(schools or [{"School_id": "S1", "School_name": "North"}], "School_id,School_name"),
        "students.csv": as_csv(
            pupils, "School_id,Student_id,Student_number,State_id,Last_name,First_name,Grade,DOB,Student_email"
        ),
        "teachers.csv": as_csv(
            [tutor("T1")] if teachers is None else teachers, "School_id,Teacher_id,Last_name,First_name,Teacher_email"
        ),
        "sections.csv": as_csv(
            [section("X1")] if sections is None else sections,
            "School_id,Section_id,Teacher_id,Teacher_2_id,Name,Term_name,Term_start,Term_end",
        ),
        "enrollments.csv": as_csv(
            [{"School_id": "S1", "Section_id": one, "Student_id": two} for one, two in pairs],
            "School_id,Section_id,Student_id",
        ),
    }


def pupil(number: int, **values: str) -> dict[str, str]:
    """A row of Clever's students.csv."""
    return {
        "School_id": "S1", "Student_id": f"p-{number}", "Last_name": f"Family{number}", "First_name": f"Given{number}",
        "Grade": "5", "DOB": f"1/{number % 28 + 1}/2014", "Student_email": f"pupil{number}@demo.example", **values,
    }  # fmt: skip


def tutor(teacher_id: str, **values: str) -> dict[str, str]:
    """A row of Clever's teachers.csv."""
    return {
        "School_id": "S1", "Teacher_id": teacher_id, "Last_name": "Lee", "First_name": f"Ann{teacher_id}",
        "Teacher_email": f"{teacher_id.lower()}@demo.example", **values,
    }  # fmt: skip


def section(section_id: str, **values: str) -> dict[str, str]:
    """A row of Clever's sections.csv."""
    return {"School_id": "S1", "Section_id": section_id, "Teacher_id": "T1", "Name": f"Class {section_id}", **values}


def as_csv(rows: Iterable[dict[str, str]], header: str) -> str:
    """Rows as the text of a CSV file with that header."""
    lines = [",".join(row.get(name, "") for name in header.split(",")) for row in rows]
    return "\n".join([header, *lines, ""])
