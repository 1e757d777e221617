"""Whole nights with Clever's API as the source, asked of a server of the tests' own on loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clever_server import TOKEN, CleverServer, Record, dropped, from_csv, key, on, status
from enrollsync.sample import write_sample
from nightly import Nightly, add_up

Planted = set[tuple[str, str, int]]
"""Code, file and line."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CleverServer]:
    """The district of `enrollsync sample --format clever`, in pages of fifty."""
    write_sample(tmp_path / "sample", "clever", 120, 5)
    server = from_csv(tmp_path / "sample")
    server.most = 50
    with server.running():
        yield server


@pytest.fixture
def night(nightly: Nightly, server: CleverServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run a night that asks the server."""
    monkeypatch.setenv("AIRFLOW_CONN_CLEVER_API", json.dumps({"host": server.url, "password": TOKEN}))
    nightly.settings |= {"primary_source": "clever", "source": {"api": "clever", "connection": "clever_api"}}

    def run(**asked: Any) -> dict[str, Any]:
        return nightly.run(found=True, **asked)

    return run


def test_a_set_is_read_past_faults_leaves_no_page_behind_and_is_in_sync_the_next_night(
    night: Callable[..., Any], server: CleverServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="enrollsync")  # which the command, tried in this process, sets
    by_number = [on("students", 2, dropped), on("students", 3, status(429, Retry_After="1"))]
    server.faults = by_number
    result = night()
    people = sum(len(server.of(title)) for title in ("students", "teachers", "staff"))
    links = sum(len(one["students"]) + len(one["teachers"]) for one in server.sections)
    add_up(
        result, organizations=len(server.schools), users=people, memberships=people, classes=len(server.sections),
        enrollments=links,
    )  # fmt: skip
    assert (result["outcome"], result["findings"]) == ("applied", {"FILE-IGNORED": 1})
    assert night(force=False)["outcome"] == "in_sync"
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]
    assert "clever: /users: it says 429; asked again in 2 s" in caplog.text
    assert TOKEN not in caplog.text and server.of("students")[49]["id"] not in caplog.text
    assert not list(tmp_path.rglob("api_*.csv")) and not list(tmp_path.rglob("pages"))


def test_every_fault_in_the_answers_is_found_on_its_record_and_nothing_else_is(
    night: Callable[..., Any], nightly: Nightly, server: CleverServer
) -> None:
    planted = plant(server)
    result = night()
    assert set(nightly.findings()) == planted and len({code for code, _, _ in planted}) > 10
    assert result["outcome"] == "applied"
    # Rule 4: who has no identifier, or shares one, loads under the source's key.
    for nameless in server.of("students")[:1] + server.of("students")[3:5]:
        assert nightly.view("users", "user_id", f"source_key = 'student:{nameless['id']}'") == [(None,)]
    assert night()["outcome"] == "in_sync"


def plant(server: CleverServer) -> Planted:
    """Faults in records of their own, and what has to be said of each."""
    planted: Planted = set()
    students, sections = server.of("students"), server.of("sections")
    teacher = next(one for one in server.of("teachers"))

    def of(title: str, record: Record, *codes: str) -> None:
        planted.update((code, f"api_{title}.csv", server.line(title, record)) for code in codes)

    def student(number: int, *codes: str, **values: Any) -> Record:
        students[number]["roles"]["student"].update(values)
        of("students", students[number], *codes)
        return students[number]

    def own(number: int) -> Record:
        return dict(students[number]["roles"]["student"])

    student(0, "ID-MISSING", sis_id=None)
    student(1, "ID-CHARSET", sis_id=own(1)["sis_id"] + "!")
    student(2, "ID-SSN", sis_id="123456789")
    student(3, "ID-WITHHELD", sis_id="both")
    student(4, "ID-WITHHELD", sis_id="both")
    student(5, "ID-CASE", sis_id="abcX")
    student(6, "ID-CASE", sis_id="abcx")
    student(7, "VAL-TRIMMED", sis_id=f" {own(7)['sis_id']}")
    student(8, "VAL-INVALID", grade="grade five")
    student(9, "VAL-INVALID", dob="31/31/2015")
    student(10, "VAL-EMAIL")["email"] = "at.nobody.example"
    student(11, "VAL-EMAIL-DUPLICATE")["email"] = "Same@demo.example"
    student(12, "VAL-EMAIL-DUPLICATE")["email"] = "same@demo.example"
    student(13, "SEC-DUPLICATE", student_number="D-1")
    student(14, "SEC-DUPLICATE", student_number="D-1")
    student(15, "SEC-DUPLICATE", state_id="S-1")
    student(16, "SEC-DUPLICATE", state_id="S-1")
    student(17, "REF-UNKNOWN", school="nowhere", schools=["nowhere"])
    student(18, "REF-UNKNOWN", school=None, schools=[])
    student(19, "VAL-MISSING")["name"] = {"last": "Only"}
    student(20, "ROW-MALFORMED")["name"]["first"] = "Bell\x07"
    # Nobody can say whose record the damaged one is, so that in sections it is not known.
    for section in sections:
        if students[20]["id"] in section["students"]:
            of("sections", section, "REF-UNKNOWN")
    apart = [one for one in sections if students[20]["id"] not in one["students"]]
    apart[0]["students"].append("f" * 24)
    apart[1]["teachers"].append("e" * 24)
    apart[2]["school"] = "nowhere"
    apart[3]["course"] = "nowhere"
    apart[4]["term_id"] = "nowhere"
    for section in apart[:5]:
        of("sections", section, "REF-UNKNOWN")
    apart[5]["sis_id"] = ""
    of("sections", apart[5], "ID-MISSING")
    teacher["roles"]["teacher"]["sis_id"] = None
    of("teachers", teacher, "ID-MISSING")
    return planted


def test_a_teacher_who_is_staff_too_is_one_person_with_both_roles_and_a_second_school_is_another_membership(
    night: Callable[..., Any], nightly: Nightly, server: CleverServer
) -> None:
    teacher, schools = server.of("teachers")[0], server.of("schools")[:2]
    teacher["roles"]["staff"] = {"staff_id": "another", "schools": [schools[1]["id"]]}
    teacher["roles"]["district_admin"] = {"title": "CIO"}
    teacher["roles"]["teacher"] |= {"school": schools[1]["id"], "schools": [one["id"] for one in schools]}
    identifier = teacher["roles"]["teacher"]["sis_id"]
    assert night()["findings"] == {"FILE-IGNORED": 1}
    assert nightly.view("users", "role, user_id", f"source_key = 'staff:{teacher['id']}'") == [("teacher", identifier)]
    ids = [one["sis_id"] for one in schools]
    assert sorted(nightly.roles(identifier)) == sorted([
        (ids[0], "teacher", False, "active"), (ids[1], "teacher", True, "active"), (ids[1], "staff", False, "active"),
    ])  # fmt: skip


def test_a_refused_set_changes_nothing_and_says_so_in_one_line(
    night: Callable[..., Any], nightly: Nightly, server: CleverServer
) -> None:
    def expire(server: CleverServer, asked: Any) -> None:
        server.token = "another"

    server.faults = [on("students", 2, expire)]
    result = night()
    assert (result["outcome"], result["findings"]) == ("refused", {"FILE-DENIED": 1})
    assert result["message"] == (
        "FILE-DENIED: Clever does not let the token of `source.connection` clever_api read /users (401); "
        "put the district's present token there"
    )
    assert nightly.view("users") == [] and not list(Path(nightly.workspace).rglob("api_*"))


def test_students_who_left_are_deactivated_and_a_new_identifier_is_a_change_of_the_same_record(
    night: Callable[..., Any], nightly: Nightly, server: CleverServer
) -> None:
    server.users = [one for one in server.users if "staff" not in one["roles"]]  # a district may have none
    assert night()["outcome"] == "applied"
    gone, renamed = server.of("students")[:2]
    server.users.remove(gone)
    for section in server.sections:
        section["students"] = [one for one in section["students"] if one != gone["id"]]
    renamed["roles"]["student"]["sis_id"] = "brand-new"
    result = night()
    assert (result["outcome"], result["counts"]["users"]["deactivate"]) == ("applied", 1)
    assert nightly.view("users", "user_id", f"source_key = 'student:{renamed['id']}'") == [("brand-new",)]
    assert key("student", "x") != renamed["id"]
