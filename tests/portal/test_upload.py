"""Batch Upload in the browser: what may be sent, what is found, and that nothing loads before a run is pressed."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import stat
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.concurrency import run_in_threadpool
from fastapi.testclient import TestClient
from pyarrow.fs import FileSelector

from enrollsync import steps
from enrollsync.arrive.upload import Upload, list_uploads, sweep
from enrollsync.portal.host import NotDone
from enrollsync.run.object_store import folders_of
from enrollsync.settings import load_district, uploads_folder
from nightly import BATCH_HEADER, other
from portal.conftest import FakeHost, browsing, write_district
from portal.test_access import ORIGIN
from portal.test_runs import JSON

BASE = "/roster/districts/merced"
SEND = f"{BASE}/upload"
Files = dict[str, str | bytes]


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def visitor(copied: Path, host: FakeHost) -> Iterator[TestClient]:
    with browsing(host) as client:
        yield client


def users(*rows: dict[str, str], header: tuple[str, ...] = BATCH_HEADER) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *([row.get(name, "") for name in BATCH_HEADER] for row in rows)])
    return text.getvalue()


def zipped(files: Files) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def token_of(visitor: TestClient) -> dict[str, str]:
    page = visitor.get(SEND).text
    return {"token": page.partition('name="token" value="')[2].partition('"')[0]}


def send(visitor: TestClient, files: Files) -> httpx.Response:
    parts: list[Any] = [("files", (name, content)) for name, content in files.items()]
    return visitor.post(SEND, data=token_of(visitor), files=parts or {"other": (None, "")}, headers=ORIGIN)


def press(visitor: TestClient, address: str, what: str, **fields: Any) -> httpx.Response:
    return visitor.post(f"{address}/{what}", data={**token_of(visitor), **fields}, headers=ORIGIN)


def told(visitor: TestClient, address: str) -> dict[str, Any]:
    """The upload's page once nobody works on it any more."""
    deadline = time.monotonic() + 60
    while (facts := visitor.get(address, headers=JSON).json())["upload"]["state"] == "working":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert isinstance(facts, dict)
    return facts


def sent(visitor: TestClient, files: Files) -> tuple[str, dict[str, Any]]:
    """Address of the upload, and what its check came to."""
    answer = send(visitor, files)
    assert answer.status_code == 303, answer.text
    address = answer.headers["location"]
    return address, told(visitor, address)


def planned(visitor: TestClient, files: Files) -> tuple[str, dict[str, Any]]:
    address, _ = sent(visitor, files)
    assert press(visitor, address, "plan").status_code == 303
    return address, told(visitor, address)


def only_upload() -> Upload:
    (upload,) = list_uploads(load_district("merced"))
    return upload


def roster(visitor: TestClient) -> list[str]:
    found = visitor.get(f"{BASE}/users?q=given", headers=JSON).json()["found"]
    return sorted(one["identifier"] for one in found if one["identifier"].startswith("u"))


def night(source: str, *, picked: bool = True) -> str:
    """A night as the DAG runs it; its workspace."""
    workspace = steps.start("merced", run_id="manual__again", as_of=datetime.now(UTC), source=source, picked=picked)
    steps.night(workspace, then=steps.load)
    return workspace


# ---- from files to a roster ------------------------------------------------------------------------------------------


def test_files_are_checked_planned_and_loaded_only_by_the_run_that_was_pressed(
    visitor: TestClient, host: FakeHost
) -> None:
    address, facts = sent(visitor, {"users.csv": users(other(1, userLastName="Changed"), other(4))})
    assert (facts["upload"]["state"], facts["upload"]["person"], facts["findings_found"]) == ("checked", "ada", 0)
    assert press(visitor, address, "run").status_code == 409
    assert press(visitor, address, "plan").status_code == 303
    facts = told(visitor, address)
    assert facts["upload"]["state"] == "planned"
    assert {(one["operation"], one["name"]) for one in facts["plan"]["changes"] if one["entity"] == "users"} == {
        ("update", "Changed, Given1"), ("create", "Family4, Given4"),
    }  # fmt: skip
    assert facts["plan"]["fields"][0]["name"] == "family_name"
    assert (roster(visitor), host.done) == (["u1", "u2"], [])

    ran = press(visitor, address, "run")
    assert (ran.status_code, ran.headers["location"]) == (303, f"{BASE}/runs/manual__again")
    ((what, district, kind, wishes),) = host.done
    assert (what, district, kind, list(wishes)) == ("start", "merced", "sync", ["source"])
    assert visitor.get(address, headers=JSON).json()["upload"]["run_id"] == "manual__again"
    assert {press(visitor, address, again).status_code for again in ("run", "plan", "check", "discard")} == {409}

    workspace = night(wishes["source"])
    assert (steps.result(workspace)["outcome"], roster(visitor)) == ("applied", ["u1", "u2", "u4"])


def test_of_two_who_press_run_at_once_one_has_it(
    visitor: TestClient, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = planned(visitor, {"users.csv": users(other(4))})
    begun, begin = list[int](), host.start

    async def start(*asked: Any) -> str:
        if not begun:  # somebody presses while the first run is being made
            begun.append(0)
            begun[0] = (await run_in_threadpool(press, visitor, address, "run")).status_code
        return await begin(*asked)

    monkeypatch.setattr(host, "start", start)
    assert (press(visitor, address, "run").status_code, begun, len(host.done)) == (303, [409], 1)


def test_with_an_object_store_a_run_finds_the_upload_there_and_only_once_it_is_started(
    visitor: TestClient, host: FakeHost, monkeypatch: pytest.MonkeyPatch, bucket: Any
) -> None:
    address, _ = planned(visitor, {"users.csv": users(other(4))})
    upload = only_upload()
    kept = "kept/runs-of-tests/uploads/merced"

    def names() -> set[str]:
        found = bucket.get_file_info(FileSelector(kept, recursive=True, allow_not_found=True))
        return {one.base_name.partition(".")[0] for one in found if one.is_file and one.size}

    async def refused(*asked: Any) -> str:
        raise NotDone("Airflow did not do it")

    with monkeypatch.context() as away:
        away.setattr(host, "start", refused)
        assert press(visitor, address, "run").status_code == 409
    assert names() == set()
    assert press(visitor, address, "run").status_code == 303
    assert names() == {"users", "files"}
    assert visitor.get(address, headers=JSON).json()["upload"]["run_id"] == "manual__again"
    assert folders_of(uploads_folder("merced")) == [upload.root]


def test_what_a_run_has_read_is_gone_with_all_that_was_made_of_it(visitor: TestClient) -> None:
    address, _ = planned(visitor, {"users.csv": users(other(4))})
    upload = only_upload()
    assert press(visitor, address, "run").status_code == 303
    assert upload.workspace.root.is_dir()
    steps.report(night(upload.source))
    assert not upload.root.exists() and not upload.workspace.root.exists()
    gone = visitor.get(address)
    assert gone.status_code == 404 and "a run has read it" in gone.text


def test_run_that_was_refused_may_be_begun_again_from_its_first_step(visitor: TestClient) -> None:
    address, _ = planned(visitor, {"users.csv": users(other(4))})
    upload = only_upload()
    press(visitor, address, "run")
    workspace = steps.start("merced", run_id="manual__again", as_of=datetime.now(UTC), source=upload.source)
    steps.fail(workspace, "broke")
    sweep(upload.district, datetime.now(UTC))
    assert upload.folder.is_dir()


def test_lines_that_do_not_load_are_told_at_once_and_come_back_corrected(visitor: TestClient) -> None:
    address, facts = sent(visitor, {"users.csv": users(other(4), other(5, userId="no good"), other(6, userId=""))})
    assert [(one["line"], one["code"]) for one in facts["findings"] if one["severity"] == "critical"] == [
        (3, "ID-CHARSET"), (4, "ID-MISSING"),
    ]  # fmt: skip
    one = visitor.get(f"{address}?line=4&severity=critical", headers=JSON).json()
    assert one["findings_found"] == 1
    errors = [one["name"] for one in facts["downloads"] if one["name"].startswith("quarantine/")]
    assert errors == ["quarantine/users-errors.csv"]
    rejected = (only_upload().workspace.root / errors[0]).read_text()
    assert "no good" in rejected
    corrected = rejected.replace("no good", "u5").replace(",,student", ",u6,student")
    _, facts = sent(visitor, {"users-errors.csv": corrected})
    assert [one["code"] for one in facts["findings"] if one["severity"] == "critical"] == ["ID-MISSING"]
    assert "FILE-CORRECTED" in {one["code"] for one in facts["findings"]}


def test_plan_that_would_wait_says_so_before_it_is_run(visitor: TestClient, copied: Path) -> None:
    source, limits = {"path": "data/landing/merced", "mode": "snapshot"}, {"floor": 0}
    write_district(copied, "merced", source=source, thresholds=limits)
    address, facts = planned(visitor, {"users.csv": users(other(1))})
    assert (facts["upload"]["state"], facts["upload"]["may_run"]) == ("held", True)
    assert {one["code"] for one in facts["reasons"]} >= {"GUARD-DEACTIVATE"} and facts["choices"] == []
    page = visitor.get(address).text
    assert "A run would wait for an answer" in page and "Your answer" not in page


def test_what_changes_nothing_is_not_run(visitor: TestClient, host: FakeHost) -> None:
    address, facts = planned(visitor, {"users.csv": users(other(2))})
    assert (facts["upload"]["state"], facts["upload"]["may_run"]) == ("in_sync", False)
    assert press(visitor, address, "run").status_code == 409 and host.done == []


def test_roster_that_moved_since_the_plan_is_planned_again(visitor: TestClient, host: FakeHost, copied: Path) -> None:
    address, _ = planned(visitor, {"users.csv": users(other(4))})
    landed = copied / "data/landing/merced/users.csv"
    landed.write_text(users(other(9)))
    os.utime(landed, (0, 0))
    night("data/landing/merced", picked=False)
    late = press(visitor, address, "run")
    assert late.status_code == 409 and "has moved" in late.text and host.done == []
    press(visitor, address, "plan")
    assert told(visitor, address)["upload"]["state"] == "planned"
    assert press(visitor, address, "run").status_code == 303


def test_where_a_third_party_is_primary_the_page_says_that_staff_alone_may_be_sent(
    visitor: TestClient, copied: Path
) -> None:
    write_district(copied, "merced", primary_source="clever")
    assert "Batch Upload brings staff only" in visitor.get(SEND).text
    _, facts = sent(visitor, {"users.csv": users(other(4))})
    assert "critical" in {one["severity"] for one in facts["findings"]}


# ---- headers ---------------------------------------------------------------------------------------------------------

MISSPELT = tuple({"userId": "User ID", "userGrade": "userGrad"}.get(name, name) for name in BATCH_HEADER)


@pytest.mark.parametrize("packed", [False, True])
def test_headers_that_are_nearly_right_are_renamed_by_a_press(visitor: TestClient, packed: bool) -> None:
    files: Files = {"users.csv": users(other(4), header=MISSPELT)}
    address, facts = sent(visitor, {"set.zip": zipped(files)} if packed else files)
    assert facts["upload"]["state"] == "refused" and "FILE-HEADER" in {one["code"] for one in facts["findings"]}
    assert {(one["written"], one["known"]) for one in facts["renames"]} == {
        ("User ID", "userId"), ("userGrad", "userGrade"),
    }  # fmt: skip
    assert facts["settings"] == "source:\n  columns:\n    User ID: userId\n    userGrad: userGrade\n"
    press(visitor, address, "rename", agreed=["users.csv:User ID"])
    facts = told(visitor, address)
    assert [(one["written"], one["known"]) for one in facts["renames"]] == [("userGrad", "userGrade")]
    press(visitor, address, "rename", agreed=["users.csv:userGrad"])
    facts = told(visitor, address)
    assert (facts["upload"]["state"], facts["renames"], facts["upload"]["files"].keys()) == (
        "checked", [], {"users.csv"},
    )  # fmt: skip


def test_no_header_is_renamed_that_nobody_agreed_to(visitor: TestClient) -> None:
    address, _ = sent(visitor, {"users.csv": users(other(4), header=MISSPELT)})
    assert press(visitor, address, "rename", agreed=["users.csv:userRole", "x"]).status_code == 422


# ---- what may be sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("files", "said"), [
    ({}, "Choose the files"),
    ({"users.xlsx": b"PK\x03\x04"}, "save a spreadsheet as CSV"),
    ({"users.csv": b"PK\x03\x04 and more"}, "an archive or spreadsheet, not a CSV file"),
    ({"users.csv": b"\xd0\xcf\x11\xe0"}, "an old spreadsheet"),
    ({"users.csv": "\n<!DOCTYPE html><p>log in</p>"}, "a web page"),
    ({"set.zip": b"not a zip"}, "no whole zip"),
    ({"set.zip": zipped({"users.csv": "x"}), "users.csv": "x"}, "one zip alone"),
    ({"users.csv": "x", "USERS.csv": "x"}, "two files have this name"),
    ({"../users.csv": "x"}, "characters that a delivery"),
    ({"a\\users.csv": "x"}, "characters that a delivery"),
    ({".users.csv": "x"}, "characters that a delivery"),
    ({"users\u202evsc.csv": "x"}, "characters that a delivery"),
    ({f"{'u' * 200}.csv": "x"}, "too long"),
    ({f"u{number}.csv": "x" for number in range(41)}, "at most 40 files"),
])  # fmt: skip
def test_what_no_delivery_is_is_refused_in_one_line_and_not_kept(
    visitor: TestClient, copied: Path, files: Files, said: str
) -> None:
    answer = send(visitor, files)
    assert answer.status_code == 422 and said in answer.text
    assert list_uploads(load_district("merced")) == [] and not list(copied.glob("data/uploads/*/*"))


@pytest.mark.parametrize("told_before", [True, False])
def test_more_bytes_than_may_be_sent_are_refused(
    visitor: TestClient, copied: Path, monkeypatch: pytest.MonkeyPatch, told_before: bool
) -> None:
    monkeypatch.setenv("ENROLLSYNC_UPLOAD_MIB", "1")
    form = httpx.Request(
        "POST", "http://testserver", data=token_of(visitor), files=[("files", ("users.csv", b"x" * (3 << 20)))]
    )
    body = form.read()
    headers = ORIGIN | {"Content-Type": form.headers["Content-Type"]}
    answer = visitor.post(SEND, content=body if told_before else iter([body]), headers=headers)
    assert answer.status_code == 413 and "more than may be sent" in answer.text
    assert not list(copied.glob("data/uploads/*/*"))


@pytest.mark.parametrize("entry", ["../users.csv", "/etc/users.csv"])
def test_hostile_zip_is_refused_where_every_delivery_is(visitor: TestClient, copied: Path, entry: str) -> None:
    _, facts = sent(visitor, {"set.zip": zipped({entry: "x"})})
    assert facts["upload"]["state"] == "refused" and "FILE-UNSAFE" in facts["run"]["message"]
    assert not list(copied.rglob("etc"))


def test_form_that_is_none_of_files_is_not_understood(visitor: TestClient, host: FakeHost) -> None:
    headers = ORIGIN | {"Content-Type": "multipart/form-data; boundary=x"}
    assert visitor.post(SEND, content=b"--y", headers=headers).status_code == 422
    host.program = True
    assert visitor.post(SEND, json={}).status_code == 422


def test_where_there_is_no_room_one_line_says_so(
    visitor: TestClient, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("enrollsync.arrive.upload.shutil.copyfileobj", full)
    answer = send(visitor, {"users.csv": "x"})
    assert answer.status_code == 503 and "No space left on device" in answer.text
    assert not list(copied.glob("data/uploads/*/*"))


def test_files_are_their_owners_alone(visitor: TestClient, copied: Path) -> None:
    sent(visitor, {"users.csv": users(other(4))})
    made = [path for path in (copied / "data/uploads").rglob("*") if path.name != "lock"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {0o600}


# ---- whose it is, and for how long -----------------------------------------------------------------------------------


def test_who_may_only_look_sees_uploads_and_sends_none(visitor: TestClient, host: FakeHost) -> None:
    address, _ = sent(visitor, {"users.csv": users(other(4))})
    token = token_of(visitor)
    host.changes = set()
    assert "data-upload" not in visitor.get(SEND).text and "Discard" not in visitor.get(address).text
    assert visitor.get(address).status_code == 200
    for what in ("check", "plan", "run", "rename", "discard"):
        assert visitor.post(f"{address}/{what}", data=token, headers=ORIGIN).status_code == 403
    files = [("files", ("users.csv", "x"))]
    assert visitor.post(SEND, data=token, files=files, headers=ORIGIN).status_code == 403


def test_token_of_another_session_sends_nothing(visitor: TestClient, host: FakeHost, copied: Path) -> None:
    token = token_of(visitor)
    host.session = "session of tomorrow"
    answer = visitor.post(SEND, data=token, files=[("files", ("users.csv", "x"))], headers=ORIGIN)
    assert answer.status_code == 403 and not list(copied.glob("data/uploads/*/*"))


def test_upload_belongs_to_one_district(visitor: TestClient, copied: Path) -> None:
    address, _ = sent(visitor, {"users.csv": users(other(4))})
    write_district(copied, "oakland")
    assert visitor.get(address.replace("merced", "oakland")).status_code == 404
    source = only_upload().source
    elsewhere = steps.start("oakland", run_id="r", as_of=datetime.now(UTC), source=source, picked=True)
    with pytest.raises(steps.ConfigurationError, match="not in `source.path`"):
        steps.night(elsewhere)


def test_an_upload_is_kept_for_a_day_and_goes_at_once_when_discarded(visitor: TestClient) -> None:
    sent(visitor, {"users.csv": users(other(4))})
    kept = only_upload()
    sweep(kept.district, datetime.now(UTC) + timedelta(hours=23))
    assert kept.read()
    sweep(kept.district, datetime.now(UTC) + timedelta(hours=25))
    assert not kept.root.exists() and not kept.workspace.root.exists()
    address, _ = sent(visitor, {"users.csv": users(other(4))})
    kept = only_upload()
    assert press(visitor, address, "discard").headers["location"] == SEND
    assert not kept.root.exists() and not kept.workspace.root.exists()


def test_no_more_than_the_newest_uploads_are_kept(visitor: TestClient) -> None:
    for _ in range(12):
        told(visitor, send(visitor, {"users.csv": "x"}).headers["location"])
    visitor.get(SEND)
    assert len(list_uploads(load_district("merced"))) == 10


def test_upload_that_is_worked_on_is_left_alone_and_one_that_was_interrupted_is_checked_again(
    visitor: TestClient,
) -> None:
    address, _ = sent(visitor, {"users.csv": users(other(4))})
    upload = only_upload()
    with upload.lock() or pytest.fail("somebody works on it"):
        assert visitor.get(address, headers=JSON).json()["upload"]["state"] == "working"
        assert "hx-trigger" in visitor.get(address).text
        assert {press(visitor, address, what).status_code for what in ("check", "plan", "discard")} == {409}
        sweep(upload.district, datetime.now(UTC) + timedelta(days=2))
    upload.workspace.update(outcome=None)
    assert "let it look again" in visitor.get(address).text
    press(visitor, address, "check")
    assert told(visitor, address)["upload"]["state"] == "checked"


def test_what_breaks_unforeseen_is_told_as_interrupted_and_keeps_no_lock(
    visitor: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = sent(visitor, {"users.csv": users(other(4))})

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(steps, "start", broken)
    press(visitor, address, "check")
    assert told(visitor, address)["upload"]["state"] == "interrupted"


# ---- templates -------------------------------------------------------------------------------------------------------


def test_templates_have_the_headers_of_what_the_district_may_deliver(visitor: TestClient, copied: Path) -> None:
    at = f"{SEND}/templates"
    header = visitor.get(f"{at}/batch_upload/users.csv").text.strip().split(",")
    assert sorted(header) == sorted(BATCH_HEADER) and header[0] == "schoolId"
    assert visitor.get(f"{at}/clever/students.csv").status_code == 404
    write_district(copied, "merced", primary_source="clever")
    with zipfile.ZipFile(io.BytesIO(visitor.get(f"{at}/clever/clever.zip").content)) as archive:
        assert {"schools.csv", "students.csv", "teachers.csv", "sections.csv", "enrollments.csv"} <= set(
            archive.namelist()
        )
    students = visitor.get(f"{at}/clever/students.csv")
    assert students.headers["content-disposition"] == "attachment; filename=students.csv"
    assert students.text.startswith("School_id,Student_id") and "Password" not in students.text
    assert visitor.get(f"{at}/batch_upload/users.csv").status_code == 200, "staff may be sent beside Clever"
    assert visitor.get(f"{at}/batch_upload/demographics.csv").status_code == 404


def test_oneroster_has_templates_of_both_versions(visitor: TestClient, copied: Path) -> None:
    write_district(copied, "merced", primary_source="oneroster")
    for version in ("oneroster_1_1", "oneroster_1_2"):
        packed = visitor.get(f"{SEND}/templates/{version}/{version}.zip").content
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            files = {name: archive.read(name).decode() for name in archive.namelist()}
        assert {"orgs.csv", "users.csv", "classes.csv", "enrollments.csv", "manifest.csv"} <= set(files)
        assert ("roles.csv" in files) is (version == "oneroster_1_2")
        assert files["users.csv"].startswith("sourcedId,") and "password" not in files["users.csv"]


def test_a_template_filled_in_is_a_delivery(visitor: TestClient) -> None:
    header = visitor.get(f"{SEND}/templates/batch_upload/users.csv").text.strip().split(",")
    row = other(4)
    _, facts = sent(visitor, {"users.csv": f"{','.join(header)}\n{','.join(row.get(name, '') for name in header)}\n"})
    assert (facts["upload"]["state"], facts["findings_found"]) == ("checked", 0)


def test_action_upload_stands_where_a_district_is_told(visitor: TestClient, host: FakeHost) -> None:
    for page in ("/roster/", BASE):
        assert f'href="{SEND}"' in visitor.get(page).text
    host.changes = set()
    for page in ("/roster/", BASE):
        assert f'href="{SEND}"' not in visitor.get(page).text


def test_no_name_of_a_student_is_noted_with_an_upload(visitor: TestClient) -> None:
    sent(visitor, {"users.csv": users(other(4))})
    assert json.loads((only_upload().root / "upload.json").read_text()).keys() == {
        "person", "sent_at", "renames", "run_id",
    }  # fmt: skip
