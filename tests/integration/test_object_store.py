"""Runs' folders in an object store: moto's S3 server on loopback, and machines that share no disk."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from enrollsync import steps
from enrollsync.arrive.upload import Sent, begin_upload, bring_picked, find_upload
from enrollsync.forget.files import find_files
from enrollsync.forget.person import Person
from enrollsync.retain.folders import find_folders
from enrollsync.run import object_store
from enrollsync.run.object_store import Listing, at_hand, brought, drop, has, keep
from enrollsync.run.step import INGEST, LOAD, NIGHT, PLAN, REPORT, VALIDATE
from enrollsync.run.workspace import Workspace
from enrollsync.settings import load_district, run_folder, runs_folder, uploads_folder
from enrollsync.words.errors import ConfigurationError, EnrollSyncError, FilesUnreachable
from nightly import Nightly, student
from s3_server import SECRET, connection

NOW = datetime(2026, 12, 1, 7, tzinfo=UTC)


@pytest.fixture
def elsewhere(tmp_path: Path, bucket: fs.S3FileSystem) -> Callable[[], Path]:
    """Call it to go on at another machine: the same paths, an empty disk, a process of its own; returns `data`."""

    def change() -> Path:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        object_store._brought.clear()
        object_store._looked_for_old.clear()
        return tmp_path / "data"

    return change


def files_within(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def make(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def a_run(data: Path, name: str = "one") -> Path:
    return data / "runs" / "demo" / name


def objects(bucket: fs.S3FileSystem, beneath: str = "kept") -> list[str]:
    found = bucket.get_file_info(fs.FileSelector(beneath, recursive=True, allow_not_found=True))
    return [one.path for one in found if one.type == fs.FileType.File and not one.path.endswith("/")]


# ---- whole nights ----------------------------------------------------------------------------------------------------


def test_a_night_of_which_each_step_runs_on_another_machine_ends_as_on_one(
    nightly: Nightly, elsewhere: Callable[[], Path]
) -> None:
    nightly.deliver([student(), student("301", userFirstName="Bo"), student("302", userFirstName="")])
    folder = a_run(elsewhere())
    with at_hand(folder, INGEST.reads, INGEST.writes):
        workspace = steps.start(nightly.district, run_id="one", as_of=NOW)
        steps.ingest(workspace)
    assert workspace == str(folder)
    actions = {VALIDATE: steps.validate, PLAN: steps.plan, LOAD: steps.load, REPORT: steps.report}
    for which in NIGHT[1:]:
        assert not folder.exists(), "nothing stays on a machine"
        elsewhere()
        with at_hand(folder, which.reads, which.writes):
            actions[which](workspace)
    assert not folder.exists()
    assert nightly.view("users", "user_id") == [("300",), ("301",)]
    known = Workspace(brought(folder))
    assert known.read().outcome == "applied"
    assert {"report.html", "quarantine/users-errors.csv", "plan/plan.json"} <= files_within(folder).keys()


def test_a_run_by_the_command_is_kept_when_it_is_reported_and_stays_where_it_was_given(
    nightly: Nightly, elsewhere: Callable[[], Path]
) -> None:
    nightly.run([student()])
    here = files_within(Path(nightly.workspace))
    object_store.leave()
    assert files_within(Path(nightly.workspace)) == here
    elsewhere()
    assert has(Path(nightly.workspace), "report.html")
    assert files_within(brought(Path(nightly.workspace))) == here


def test_a_task_that_is_tried_again_on_another_machine_begins_with_what_the_step_before_left(
    nightly: Nightly, elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly.deliver([student(), student("301")])
    folder = a_run(elsewhere())
    with at_hand(folder, (), INGEST.writes):
        steps.ingest(steps.start(nightly.district, run_id="one", as_of=NOW))
    left = files_within(brought(folder))
    elsewhere()
    sent: list[str] = []
    send = object_store._Store._send

    def breaks(self: object_store._Store, place: Path, path: str, known: Listing) -> object_store.Content:
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(path)
        return send(self, place, path, known)

    with monkeypatch.context() as killed:
        killed.setattr(object_store._Store, "_send", breaks)
        with pytest.raises(KeyboardInterrupt), at_hand(folder, VALIDATE.reads, VALIDATE.writes):
            steps.validate(str(folder))
    assert not folder.exists()
    elsewhere()
    assert files_within(brought(folder)) == left
    with at_hand(folder, VALIDATE.reads, VALIDATE.writes):
        steps.validate(str(folder))
    assert Workspace(brought(folder)).read().outcome == "checked"


# ---- folders ---------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b/a", "b/c", "c/d/e", "run.json", "c/é.csv"])
TREES = st.dictionaries(NAMES, st.text(max_size=3), max_size=5)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees=st.lists(TREES, min_size=1, max_size=3))
def test_what_one_machine_has_kept_another_one_has_and_nothing_else_is_kept(
    bucket: fs.S3FileSystem, elsewhere: Callable[[], Path], trees: list[dict[str, str]]
) -> None:
    folder = a_run(elsewhere())
    drop(folder)
    for tree in trees:
        elsewhere()
        with at_hand(folder):
            for path in files_within(folder):
                (folder / path).unlink()
            make(folder, tree)
        elsewhere()
        assert files_within(brought(folder)) == {name: text.encode() for name, text in tree.items()}
    named = {f"kept/runs-of-tests/runs/demo/one/{name}" for name in trees[-1]}
    kept = {path.rpartition(".")[0] for path in objects(bucket)}
    assert kept - {"kept/runs-of-tests/runs/demo/one/files"} == named


def test_only_what_is_asked_for_is_brought_and_what_is_not_written_is_let_be(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}", "source/a": "1", "plan/b": "2", "plan/c": "3"})
    keep(folder)
    elsewhere()
    with at_hand(folder, ["plan"], ["plan"]):
        assert set(files_within(folder)) == {"run.json", "plan/b", "plan/c"}
        (folder / "plan" / "b").unlink()
        make(folder, {"plan/d": "4"})
    elsewhere()
    assert set(files_within(brought(folder))) == {"run.json", "source/a", "plan/c", "plan/d"}


def test_empty_folders_and_times_are_kept_too(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}"})
    (folder / "quarantine").mkdir()
    changed = (folder / "run.json").stat().st_mtime_ns
    keep(folder)
    elsewhere()
    brought(folder)
    assert (folder / "quarantine").is_dir()
    assert (folder / "run.json").stat().st_mtime_ns == changed


def test_what_is_brought_is_its_owners_alone(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}", "plan/b": "2"})
    keep(folder)
    elsewhere()
    brought(folder)
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (folder, *folder.rglob("*"))}
    assert modes == {0}


def test_a_page_shows_what_was_kept_last_and_nothing_that_was_taken_away(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1", "plan/b": "2"})
    keep(folder)
    page = shutil.copytree(folder, folder.parent / "page")
    make(folder, {"run.json": "2"})
    (folder / "plan" / "b").unlink()
    keep(folder)
    shutil.rmtree(folder)
    page.rename(folder)  # what the page's machine has had since
    assert files_within(brought(folder)) == {"run.json": b"2"}
    drop(folder)
    brought(folder)
    assert not folder.exists()


def test_a_run_that_goes_on_here_is_not_written_over_by_what_was_kept_before(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "old"})
    keep(folder)
    with at_hand(folder):
        make(folder, {"run.json": "new"})
        assert files_within(brought(folder)) == {"run.json": b"new"}
    assert files_within(brought(folder)) == {"run.json": b"new"}


def test_a_copy_that_nobody_has_looked_at_for_an_hour_goes_and_what_began_here_stays(
    elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = elsewhere()
    folder, own = make(a_run(data), {"run.json": "{}"}), make(a_run(data, "own"), {"run.json": "{}"})
    other = make(a_run(data, "other"), {"run.json": "{}"})
    keep(folder)
    keep(other)
    monkeypatch.setattr(object_store, "_COPIES_STAY", -1)
    object_store._looked_for_old.clear()
    with at_hand(other):
        assert (folder.exists(), own.exists(), other.exists()) == (False, True, True)
        object_store._looked_for_old.clear()
        object_store._held.clear()  # as another process of this machine sees it
        brought(own)
        assert other.exists(), "somebody works on it"
    assert own.exists()


# ---- what goes -------------------------------------------------------------------------------------------------------


def test_whom_the_roster_forgets_leaves_the_store_too(elsewhere: Callable[[], Path], nightly: Nightly) -> None:
    data = elsewhere()
    for name, text in (("one", "300,Ann"), ("two", "301,Bo")):
        keep(make(a_run(data, name), {"source/users.csv": text}))
    elsewhere()
    district = load_district(nightly.district)
    found = find_files(district, Person((1,), frozenset({"300"})))
    assert [path.name for path in found.runs] == ["one"]
    found.remove()
    elsewhere()
    assert not brought(a_run(data)).exists()
    assert brought(a_run(data, "two")).exists()


def test_old_runs_and_quarantines_leave_the_store_and_the_rest_of_a_run_stays(
    elsewhere: Callable[[], Path], nightly: Nightly, bucket: fs.S3FileSystem
) -> None:
    nightly.settings = {"retention": {"workspaces": 30, "quarantine": 10}}
    for days in (40, 20, 0):
        _kept(nightly, NOW - timedelta(days=days))
    elsewhere()
    old = find_folders(load_district(nightly.district), frozenset(), NOW)
    assert (len(old.runs), len(old.quarantines)) == (1, 1)
    assert old.size > sum(len(content) for content in files_within(old.quarantines[0]).values())
    old.remove()
    elsewhere()
    left = [brought(runs_folder(load_district(nightly.district)) / f"run-{days}") for days in (40, 20, 0)]
    assert [folder.exists() for folder in left] == [False, True, True]
    assert [(folder / "quarantine" / "users-errors.csv").exists() for folder in left] == [False, False, True]
    assert (left[1] / "report.html").exists()
    assert not objects(bucket, "kept/runs-of-tests/runs/demo/run-40")


def _kept(nightly: Nightly, as_of: datetime) -> None:
    """A run with a rejected line that is as old as it says."""
    nightly.deliver([student(userFirstName="")])
    workspace = steps.start(nightly.district, run_id=f"run-{(NOW - as_of).days}", as_of=as_of)
    steps.ingest(workspace, force=True)
    steps.validate(workspace)
    steps.report(workspace)
    os.utime(Path(workspace) / "run.json", (as_of.timestamp(), as_of.timestamp()))
    keep(Path(workspace))


# ---- uploads ---------------------------------------------------------------------------------------------------------


def test_a_run_on_another_machine_reads_an_upload_and_takes_it_away_once_it_is_read(
    elsewhere: Callable[[], Path], nightly: Nightly, bucket: fs.S3FileSystem
) -> None:
    elsewhere()
    nightly.deliver([student()])
    district = load_district(nightly.district)
    upload = begin_upload(district, NOW)
    with (nightly.folder / "delivery" / "users.csv").open("rb") as content:
        upload.add("users.csv", content)
    upload.write(Sent(person="Ann", sent_at=NOW))
    with upload.lock() or pytest.fail():
        upload.hand_over()
        upload.write(Sent(person="Ann", sent_at=NOW, run_id="one"))
        upload.hand_over()
    folder = run_folder(district, "one")
    for names, action in (
        (INGEST, steps.ingest),
        (VALIDATE, steps.validate),
        (PLAN, steps.plan),
        (REPORT, steps.report),
    ):
        elsewhere()
        with at_hand(folder, names.reads, names.writes):
            if names is INGEST:
                steps.start(nightly.district, run_id="one", as_of=NOW, source=upload.source, picked=True)
            action(str(folder))
        assert not upload.root.exists()
    assert not objects(bucket, f"kept/runs-of-tests/uploads/demo/{upload.id}")
    assert find_upload(district, upload.id) is None


def test_no_other_upload_is_brought_by_a_path_that_leads_astray(
    elsewhere: Callable[[], Path], nightly: Nightly
) -> None:
    elsewhere()
    district = load_district(nightly.district)
    bring_picked(district, uploads_folder("demo"))
    bring_picked(district, uploads_folder("other") / "upload__x" / "files")
    assert not uploads_folder("other").exists()


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "given", "said"), [
    ("file:///tmp", {}, "'file:///tmp' is no object store; write one like s3://bucket/folder"),
    ("s3://nobody/here", {}, r"one cannot be read or kept \(NO_SUCH_BUCKET\); try again"),
    ("s3://kept/here", {"endpoint": "http://127.0.0.1:1"}, r"one cannot be read or kept \(NETWORK_CONNECTION\); try"),
    ("s3://kept/here", {"endpoint": "http://files.example"}, "ENROLLSYNC_RUNS enrollsync_runs: would fetch children's"),
    ("s3://kept/here", {"whole": "{"}, "ENROLLSYNC_RUNS enrollsync_runs: AIRFLOW_CONN_ENROLLSYNC_RUNS is no conn"),
], ids=["no store", "no bucket", "nobody there", "in the open", "no connection"])  # fmt: skip
def test_a_store_that_cannot_be_used_is_told_in_one_line(
    bucket: fs.S3FileSystem, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str,
    given: dict[str, str], said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("enrollsync.settings.bucket.TRIES", 1)
    monkeypatch.setenv(object_store.PLACE, place)
    known = given.get("whole") or connection(given.get("endpoint", s3_server))
    monkeypatch.setenv("AIRFLOW_CONN_ENROLLSYNC_RUNS", known)
    folder = make(a_run(tmp_path / "data"), {"run.json": "{}"})
    with pytest.raises(EnrollSyncError, match=said) as refused:
        keep(folder)
    assert str(refused.value).isprintable() and SECRET not in str(refused.value)
    assert files_within(folder) == {"run.json": b"{}"}


def test_a_content_that_came_damaged_is_not_taken(bucket: fs.S3FileSystem, elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}"})
    keep(folder)
    (key,) = (path for path in objects(bucket) if "run.json" in path)
    with bucket.open_output_stream(key) as stream:
        stream.write(b"[]")
    elsewhere()
    with pytest.raises(FilesUnreachable, match=r"run.json of one came damaged; try again"):
        brought(folder)
    assert files_within(folder) == {}


@pytest.mark.parametrize("path", ["../../../../etc/passwd", "/etc/passwd"])
def test_a_listing_leads_to_no_other_place_of_the_disk(
    bucket: fs.S3FileSystem, elsewhere: Callable[[], Path], path: str
) -> None:
    folder = a_run(elsewhere())
    listed = Listing.model_validate({"files": {path: {"digest": "d", "size": 1, "changed": 1}}})
    with bucket.open_output_stream("kept/runs-of-tests/runs/demo/one/files.json") as stream:
        stream.write(listed.model_dump_json().encode())
    with pytest.raises(ConfigurationError, match="which is not within it"):
        brought(folder)


def test_a_listing_that_nobody_can_read_is_not_taken_for_an_empty_one(
    bucket: fs.S3FileSystem, elsewhere: Callable[[], Path]
) -> None:
    with bucket.open_output_stream("kept/runs-of-tests/runs/demo/one/files.json") as stream:
        stream.write(b"{")
    with pytest.raises(ConfigurationError, match=r"files.json of one is damaged"):
        brought(a_run(elsewhere()))


def test_another_home_is_told(elsewhere: Callable[[], Path], tmp_path: Path) -> None:
    elsewhere()
    with pytest.raises(ConfigurationError, match="set ENROLLSYNC_HOME to the same folder on every machine"):
        brought(tmp_path.parent / "data" / "runs" / "demo" / "one")


def test_without_a_store_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(object_store.PLACE, raising=False)
    folder = make(a_run(tmp_path / "data"), {"run.json": "{}"})
    with at_hand(folder):
        make(folder, {"plan/a": "1"})
    keep(folder)
    drop(folder)
    object_store.leave()
    assert {path.name for path in folder.rglob("*")} == {"run.json", "plan", "a"}
    assert not has(folder, "report.html")
