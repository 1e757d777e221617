"""A portal in front of a host of the tests' own: who visits and what waits are set here, rosters and runs are real."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

import quicker
from enrollsync import steps
from enrollsync.arrive.upload import Sent, Upload, begin_upload
from enrollsync.portal import checking, reader
from enrollsync.portal.app import build
from enrollsync.portal.host import NotDone, Right, Schedule, Visitor, Waiting
from enrollsync.settings import District, load_district
from nightly import BATCH_HEADER, other, write_csv

FIRST, SECOND = datetime(2026, 11, 23, 7, tzinfo=UTC), datetime(2026, 11, 24, 7, tzinfo=UTC)
HTML = {"Accept": "text/html"}
UPLOAD = "upload__20261124T070000__abcdefghijklmnopqrstuvwx"
"""Of a home's first district, planned."""
SSN = "123456789"
HELD_STUDENTS, GONE, RENAMED = 40, 8, 12
"""Of the district whose second night waits: its students, those who are missing then, those with another name."""


@dataclass
class FakeHost:
    """Lets in whom a test names; what it is asked to do is kept in `done`."""

    visitor: str | None = "ada"
    reads: set[str] | None = None
    """Districts; None: all."""
    changes: set[str] | None = None
    answers: set[str] | None = None
    """None: what may be changed."""
    waits: list[Waiting] = field(default_factory=list)
    goes: list[Waiting] = field(default_factory=list)
    next_run: datetime | None = None
    paused: bool = False
    session: str = "session of today"
    program: bool = False
    refuses: str | None = None
    public: str = ""
    done: list[tuple[Any, ...]] = field(default_factory=list)

    def identify(self, request: Request) -> Visitor:
        if self.visitor is None:
            raise HTTPException(401, "Not authenticated")
        return Visitor(self.visitor, None, self.session, is_program=self.program)

    def allowed(self, visitor: Visitor, district_ids: Collection[str], right: Right) -> set[str]:
        answers = self.changes if self.answers is None else self.answers
        had = {"look": self.reads, "answer": answers, "edit": self.changes}[right]
        return set(district_ids) if had is None else had & set(district_ids)

    def schedules(self, district_ids: Collection[str]) -> dict[str, Schedule]:
        return {one: Schedule(self.paused, None if self.paused else self.next_run) for one in district_ids}

    def waiting(self, district_ids: Collection[str]) -> list[Waiting]:
        return [one for one in self.waits if one.district_id in district_ids]

    def running(self, district_id: str) -> list[Waiting]:
        return [one for one in (*self.waits, *self.goes) if one.district_id == district_id]

    def database_url(self, district: District) -> str:
        return str(district.database.url)

    def address(self) -> str:
        return self.public

    def secret(self) -> bytes:
        return b"of this test"

    def run_address(self, district_id: str, run_id: str) -> str:
        return f"/dags/enrollment_sync__{district_id}/runs/{run_id}"

    async def answer(self, request: Request, waiting: Waiting, answer: str, comment: str) -> None:
        self._do("answer", waiting, answer, comment)

    async def start(self, request: Request, district_id: str, kind: str, wishes: dict[str, Any]) -> str:
        self._do("start", district_id, kind, wishes)
        return "manual__again"

    def _do(self, *what: Any) -> None:
        if self.refuses:
            raise NotDone(self.refuses)
        self.done.append(what)


def deliver(home: Path, district_id: str, rows: list[dict[str, str]]) -> None:
    folder = home / "data" / "landing" / district_id
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "users.csv", rows, BATCH_HEADER)


def write_district(home: Path, district_id: str, **settings: Any) -> None:
    folder = home / "include" / "districts"
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "district_id": district_id, "name": f"{district_id.title()} Unified", "primary_source": "batch_upload",
        "timezone": "America/New_York", "source": {"path": f"data/landing/{district_id}", "mode": "snapshot"},
        "database": {"url": f"sqlite:///data/{district_id}.db"}, **settings,
    }  # fmt: skip
    (folder / f"{district_id}.yaml").write_text(yaml.safe_dump(told))


def run(district_id: str, run_id: str, as_of: datetime) -> None:
    """A night as the DAG runs it, up to the point at which a held plan waits."""
    workspace = steps.start(district_id, run_id=run_id, as_of=as_of)
    steps.night(workspace, then=lambda at: steps.load(at) if steps.result(at)["outcome"] == "planned" else None)
    if steps.result(workspace)["outcome"] == "held":
        steps.draft_report(workspace)
    else:
        steps.report(workspace)


def held_rows(*, second: bool) -> list[dict[str, str]]:
    rows = []
    for number in range(HELD_STUDENTS):
        school = {"schoolId": f"S{number % 2}", "schoolName": ["North", "South <b>"][number % 2]}
        classes = {"classId": f"C{number % 2}", "className": f"Maths {number % 2}"}
        renamed = {"userLastName": f"Müller{number}"} if second and number < RENAMED else {}
        if not second or number < HELD_STUDENTS - GONE:
            rows.append(other(number, **school, **classes, **renamed))
    return rows


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lincoln waits with a plan, Oakland ran well and has a rejected line, Springfield's file is broken."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", str(home))
        patch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
        _furnish(home)
    return home


def _furnish(home: Path) -> None:
    write_district(home, "lincoln")
    write_district(home, "oakland")
    (home / "include" / "districts" / "springfield.yaml").write_text("district_id: springfield\nname: [")
    deliver(home, "lincoln", held_rows(second=False))
    run("lincoln", "first", FIRST)
    deliver(home, "lincoln", held_rows(second=True))
    run("lincoln", "second", SECOND)
    deliver(home, "oakland", [other(1), other(2), other(3, userId="")])
    run("oakland", "only", FIRST)
    add_upload(home, "lincoln")


def add_upload(home: Path, district_id: str) -> None:
    """One that a second night could be, checked and planned, under an id that tests know."""
    district = load_district(district_id)
    made = begin_upload(district, datetime.now(UTC))
    upload = Upload(district, made.root.rename(made.root.with_name(UPLOAD)))
    with (home / "data/landing" / district_id / "users.csv").open("rb") as delivered:
        upload.add("users.csv", delivered)
    upload.write(Sent(person="ada", sent_at=datetime.now(UTC)))
    checking.check(upload, district_id, datetime.now(UTC))
    steps.plan(str(upload.workspace.root))


@pytest.fixture
def host(home: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """Lincoln's second run waits; the next runs are tomorrow."""
    monkeypatch.setenv("ENROLLSYNC_HOME", str(home))
    monkeypatch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
    return FakeHost(waits=[Waiting("lincoln", "second", "sync")], next_run=datetime.now(UTC) + timedelta(hours=9))


@pytest.fixture
def visitor(host: FakeHost) -> Iterator[TestClient]:
    """A browser; it sends forms as one does that looks at the portal."""
    with browsing(host) as client:
        yield client


@contextmanager
def browsing(host: FakeHost) -> Iterator[TestClient]:
    around = FastAPI()
    around.mount("/roster", build(host))
    with TestClient(around, follow_redirects=False, headers=HTML) as client:
        yield client


@contextmanager
def furnishing(home: Path) -> Iterator[None]:
    """Nights that are run within belong to that home, and are checked without Great Expectations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", str(home))
        patch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
        patch.setattr("enrollsync.validate.checking.run_suite", quicker.plainly)
        yield


def copy_of(furnished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A test's own copy of a home, in which the portal works."""
    home = shutil.copytree(furnished, tmp_path / "home")
    monkeypatch.setenv("ENROLLSYNC_HOME", str(home))
    monkeypatch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
    reader.roster.cache_clear()  # the same address is another file now
    return home


@pytest.fixture(scope="session")
def merced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with Merced alone, after its first night; tests that change it work on `copied`."""
    home = tmp_path_factory.mktemp("merced")
    with furnishing(home):
        write_district(home, "merced", source={"path": "data/landing/merced", "mode": "delta"})
        deliver(home, "merced", [other(1, userStateId="ST1"), other(2), other(3, userId=SSN)])
        run("merced", "first", FIRST)
    return home


@pytest.fixture
def copied(merced: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plain_checks: None) -> Path:
    """The test's own copy of Merced's home."""
    return copy_of(merced, monkeypatch, tmp_path)
