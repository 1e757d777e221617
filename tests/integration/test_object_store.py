"""Runs' folders in an object store: moto's S3 server on loopback, and machines that share no disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from enrollsync import steps
from enrollsync.arrive.upload import Sent, Upload, begin_upload, list_uploads, picked, sweep
from enrollsync.forget.files import find_files
from enrollsync.forget.person import Person
from enrollsync.retain.folders import find_folders
from enrollsync.run import object_store
from enrollsync.run.object_store import Listing, at_hand, brought, drop, folders_of, keep, leave, size, which_have
from enrollsync.run.step import INGEST, LOAD, NIGHT, PLAN, REPORT, VALIDATE, Step
from enrollsync.run.workspace import Workspace
from enrollsync.settings import load_district, run_folder, runs_folder
from enrollsync.words.errors import ConfigurationError, EnrollSyncError, FilesMissing, FilesUnreachable
from nightly import Nightly, student
from s3_server import SECRET, connection

NOW = datetime(2026, 12, 1, 7, tzinfo=UTC)
ONE = "kept/runs-of-tests/runs/demo/one"


@pytest.fixture
def elsewhere(tmp_path: Path, bucket: fs.S3FileSystem) -> Callable[[], Path]:
    """Call it to go on at another machine: the same paths, an empty disk, a process of its own; returns `data`."""

    def change() -> Path:
        leave()
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        return tmp_path / "data"

    return change


def names_of(which: Step) -> set[str]:
    return {*which.reads, *which.writes}


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
    with at_hand(folder, names_of(INGEST)):
        workspace = steps.start(nightly.district, run_id="one", as_of=NOW)
        steps.ingest(workspace)
    assert workspace == str(folder)
    actions = {VALIDATE: steps.validate, PLAN: steps.plan, LOAD: steps.load, REPORT: steps.report}
    for which in NIGHT[1:]:
        assert not files_within(folder.parent), "nothing stays on a machine"
        elsewhere()
        with at_hand(folder, names_of(which)):
            actions[which](workspace)
    assert not files_within(folder.parent)
    assert nightly.view("users", "user_id") == [("300",), ("301",)]
    kept = brought(folder)
    assert Workspace(kept).read().outcome == "applied"
    assert {"report.html", "quarantine/users-errors.csv", "plan/plan.json"} <= files_within(kept).keys()


def test_a_run_by_the_command_is_kept_when_it_is_reported_and_stays_where_it_was_given(
    nightly: Nightly, elsewhere: Callable[[], Path]
) -> None:
    nightly.run([student()])
    folder = Path(nightly.workspace)
    here = files_within(folder)
    leave()
    assert files_within(folder) == here
    elsewhere()
    assert which_have([folder, folder.with_name("none")], "report.html") == {folder}
    assert files_within(brought(folder)) == here


@pytest.mark.parametrize(("place", "why"), [("s3://nobody/here", "NO_SUCH_BUCKET"), ("wrong", "is no object store")])
def test_a_run_that_cannot_be_kept_is_over_all_the_same(
    nightly: Nightly, elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, place: str, why: str
) -> None:
    elsewhere()
    monkeypatch.setenv(object_store.PLACE, place)
    told: list[str] = []
    log = SimpleNamespace(warning=lambda said, *values: told.append(said % values))
    monkeypatch.setattr(object_store, "log", log)
    assert nightly.run([student()])["outcome"] == "applied"
    assert len(told) == 1 and "stay on this machine" in told[0] and why in told[0]


def test_a_task_that_is_tried_again_on_another_machine_begins_with_what_the_step_before_left(
    nightly: Nightly, elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, bucket: fs.S3FileSystem
) -> None:
    nightly.deliver([student(), student("301")])
    folder = a_run(elsewhere())
    with at_hand(folder, names_of(INGEST)):
        steps.ingest(steps.start(nightly.district, run_id="one", as_of=NOW))
    left = files_within(brought(folder))
    known = len(objects(bucket))
    elsewhere()
    sent: list[str] = []
    send = object_store._Store._send

    def breaks(self: Any, place: Path, path: str, before: Any) -> Any:
        if len(sent) == 8:
            raise KeyboardInterrupt
        sent.append(path)
        return send(self, place, path, before)

    with monkeypatch.context() as killed:
        killed.setattr(object_store._Store, "_send", breaks)
        with pytest.raises(KeyboardInterrupt), at_hand(folder, names_of(VALIDATE)):
            steps.validate(str(folder))
    assert len(objects(bucket)) > known, "something was sent by then"
    elsewhere()
    assert files_within(brought(folder)) == left
    monkeypatch.setattr(object_store, "_STRAYS_STAY", -1)  # a day later
    with at_hand(folder, names_of(VALIDATE)):
        steps.validate(str(folder))
    kept = brought(folder)
    assert Workspace(kept).read().outcome == "checked"
    assert len(objects(bucket, ONE)) == len(files_within(kept)) + 1, "what was sent in vain is not there any more"


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
            folder.mkdir(parents=True, exist_ok=True)
        elsewhere()
        assert files_within(brought(folder)) == {name: text.encode() for name, text in tree.items()}
    kept = {path.rpartition(".")[0] for path in objects(bucket)}
    assert kept - {f"{ONE}/files"} == {f"{ONE}/{name}" for name in trees[-1]}


def test_only_what_is_asked_for_is_brought_and_the_rest_is_let_be(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}", "source/a": "1", "plan/b": "2", "plan/c": "3"})
    keep(folder)
    elsewhere()
    with at_hand(folder, ["plan"]):
        assert set(files_within(folder)) == {"run.json", "plan/b", "plan/c"}
        (folder / "plan" / "b").unlink()
        make(folder, {"plan/d": "4", "not-foreseen": "5"})
    elsewhere()
    assert set(files_within(brought(folder))) == {"run.json", "source/a", "plan/c", "plan/d", "not-foreseen"}
    assert set(files_within(brought(folder, ["source"]))) >= {"run.json", "source/a"}


@pytest.mark.parametrize("ends", ["well", "with an error"])
def test_what_a_step_may_write_and_does_not_stays(elsewhere: Callable[[], Path], ends: str) -> None:
    files = {"run.json": "{}", "plan/plan.json": "1", "id_changes.csv": "2", "switch.csv": "3", "findings.csv": "4"}
    folder = make(a_run(elsewhere()), files)
    keep(folder)
    elsewhere()
    try:
        with at_hand(folder, names_of(PLAN) | names_of(LOAD)):
            if ends == "with an error":
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert set(files_within(brought(folder))) == set(files)


def test_empty_folders_and_times_are_kept_too(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}"})
    (folder / "quarantine").mkdir()
    changed = (folder / "run.json").stat().st_mtime_ns
    keep(folder)
    elsewhere()
    copy = brought(folder)
    assert (copy / "quarantine").is_dir()
    assert (copy / "run.json").stat().st_mtime_ns == changed


def test_what_is_of_this_machine_alone_is_not_kept(elsewhere: Callable[[], Path]) -> None:
    files = {"run.json": "{}", "lock": "", "batch/users.csv": "1", ".looked": "", ".going-quarantine/a.csv": "2"}
    folder = make(a_run(elsewhere()), files)
    keep(folder)
    elsewhere()
    assert {str(path.relative_to(brought(folder))) for path in brought(folder).rglob("*")} == {"run.json"}


def test_what_is_brought_is_its_owners_alone(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}", "plan/b": "2"})
    keep(folder)
    data = elsewhere()
    brought(folder)
    with at_hand(folder):
        modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (data, *data.rglob("*"))}
    assert modes == {0}


# ---- several at once -------------------------------------------------------------------------------------------------


def test_a_page_sees_what_was_kept_last_and_changes_nothing_of_a_task_on_the_same_disk(
    elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "old", "plan/a": "1"})
    keep(folder)
    with at_hand(folder):
        made = make(folder, {"run.json": "new", "plan/b": "2"})
        (folder / "plan" / "a").unlink()
        working = files_within(made)
        assert brought(folder) == folder, "the task itself reads what it works on"
        with monkeypatch.context() as another:
            another.setattr(object_store, "_held", set())
            assert files_within(brought(folder)) == {"run.json": b"old", "plan/a": b"1"}
            folders_of(folder.parent)
            leave()
        assert files_within(folder) == working
    assert files_within(brought(folder)) == working


def test_of_two_tasks_of_a_run_on_one_machine_the_second_one_waits_for_another_try(
    elsewhere: Callable[[], Path],
) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1"})
    keep(folder)
    with at_hand(folder), pytest.raises(FilesUnreachable, match="another task of this machine works on one"):
        at_hand_once(folder)
    with at_hand(folder):
        assert files_within(folder) == {"run.json": b"1"}


def test_a_page_reads_while_a_task_keeps_one_state_after_the_other(elsewhere: Callable[[], Path]) -> None:
    folder, over = a_run(elsewhere()), threading.Event()
    make(folder, {"run.json": "0", "plan/a": "0"})
    keep(folder)

    def task() -> None:
        for number in range(1, 25):
            text = str(number) * (number % 7 * 400 + 1)
            keep(make(folder, {"run.json": text, "plan/a": text, f"plan/{number}": "more"}))
        over.set()

    working = threading.Thread(target=task)
    working.start()
    seen = set()
    while not over.is_set():
        found = files_within(brought(folder))
        assert found["run.json"] == found["plan/a"]
        seen.add(found["run.json"])
    working.join()
    assert len(seen) > 1


@pytest.mark.parametrize("word", ["NO_SUCH_KEY", "RESOURCE_NOT_FOUND"])
def test_a_content_that_goes_while_it_is_asked_for_is_looked_for_anew(
    elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1"})
    keep(folder)
    fetch, tries = object_store._Store._fetch, list[str]()

    def goes(self: Any, *asked: Any) -> None:
        tries.append(word)
        if len(tries) < 3:
            raise OSError(f"When reading: AWS Error {word} during GetObject operation")
        fetch(self, *asked)

    monkeypatch.setattr(object_store._Store, "_fetch", goes)
    assert files_within(brought(folder)) == {"run.json": b"1"}


def test_a_page_that_was_read_stays_as_it_was_and_goes_an_hour_later(
    elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1"})
    keep(folder)
    before = brought(folder)
    keep(make(folder, {"run.json": "2"}))
    assert (files_within(before), files_within(brought(folder))) == ({"run.json": b"1"}, {"run.json": b"2"})
    monkeypatch.setattr(object_store, "_COPIES_STAY", -1)
    assert files_within(brought(folder)) == {"run.json": b"2"}
    assert not before.exists()


def test_copies_of_a_process_that_was_killed_go_with_the_next_ones(elsewhere: Callable[[], Path]) -> None:
    data = elsewhere()
    keep(make(a_run(data), {"run.json": "1"}))
    killed = make(data / "copies" / "killed", {"lock": "", "version/runs/demo/one/run.json": "1"})
    brought(a_run(data))
    assert not killed.exists()
    assert len(list((data / "copies").iterdir())) == 1
    leave()
    assert not list((data / "copies").iterdir())


def test_what_a_killed_task_left_on_this_disk_is_not_taken_for_newer(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1", "checks.json": "good"})
    keep(folder)
    make(folder, {"checks.json": "half", "plan/half": "half"})
    with at_hand(folder, names_of(PLAN)):
        assert "plan/half" not in files_within(folder)
    assert files_within(brought(folder)) == {"run.json": b"1", "checks.json": b"good"}


def test_what_a_killed_task_left_of_a_run_that_was_removed_does_not_bring_it_back(
    elsewhere: Callable[[], Path],
) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1"})
    keep(folder)
    with at_hand(folder):
        left = {name: text.decode() for name, text in files_within(folder).items()}
    make(folder, {**left, ".at-hand": ""})
    drop(folder)
    with at_hand(folder):
        assert not files_within(folder)
    assert not files_within(brought(folder))


def test_what_lies_here_when_a_store_is_first_named_is_taken_along(elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1", "plan/a": "2"})
    with at_hand(folder, ["plan"]):
        assert set(files_within(folder)) == {"run.json", "plan/a"}
    assert set(files_within(brought(folder))) == {"run.json", "plan/a"}


def test_a_run_that_is_removed_while_it_is_first_kept_stays_removed(
    elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, bucket: fs.S3FileSystem
) -> None:
    folder, say = make(a_run(elsewhere()), {"run.json": "1"}), object_store._Store.say

    def removed(self: Any, *asked: Any) -> None:
        drop(folder)
        say(self, *asked)

    monkeypatch.setattr(object_store._Store, "say", removed)
    with pytest.raises(FilesUnreachable, match="were removed meanwhile"):
        keep(folder)
    assert not objects(bucket, ONE)


def test_a_process_whose_copies_somebody_has_removed_makes_new_ones(elsewhere: Callable[[], Path]) -> None:
    data = elsewhere()
    folder = make(a_run(data), {"run.json": "1"})
    keep(folder)
    brought(folder)
    shutil.rmtree(data / "copies")
    assert files_within(brought(folder)) == {"run.json": b"1"}


def test_a_long_name_and_a_folder_that_cannot_be_made_are_no_tracebacks(elsewhere: Callable[[], Path]) -> None:
    data = elsewhere()
    with at_hand(a_run(data, "r" * 250)):
        make(a_run(data, "r" * 250), {"run.json": "1"})
    make(data, {"runs/other": "a file"})
    with pytest.raises(FilesUnreachable, match="cannot be written: "), at_hand(data / "runs" / "other" / "one"):
        pytest.fail("there is no folder")


def test_a_folder_that_was_removed_while_somebody_worked_on_it_does_not_come_back(
    elsewhere: Callable[[], Path], bucket: fs.S3FileSystem
) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1", "plan/a": "of a child"})
    keep(folder)
    elsewhere()
    with pytest.raises(FilesUnreachable, match="were changed or removed meanwhile"), at_hand(folder):
        make(folder, {"plan/b": "of a child"})
        drop(folder)
    assert not files_within(folder.parent)
    assert brought(folder) == folder
    drop(folder)
    assert not objects(bucket, ONE)


# ---- what goes -------------------------------------------------------------------------------------------------------


def test_whom_the_roster_forgets_leaves_the_store_too(
    elsewhere: Callable[[], Path], nightly: Nightly, bucket: fs.S3FileSystem
) -> None:
    data = elsewhere()
    for name, text in (("one", "300,Ann"), ("two", "301,Bo"), ("three", "302,Cy")):
        keep(make(a_run(data, name), {"source/users.csv": text}))
    keep(make(a_run(data, "four"), {"source/users.csv": "303,Di"}))
    for killed in ("four", "five"):  # tasks, while they kept: of the one's run nothing was kept before
        with bucket.open_output_stream(f"{ONE[:-3]}{killed}/source/half.csv.0123") as stream:
            stream.write(b"300,Ann")
    with bucket.open_output_stream(f"{ONE[:-3]}six/source/half.csv.0123") as stream:
        stream.write(b"301,Bo")
    (gone,) = (path for path in objects(bucket) if "/three/source/users.csv" in path)
    bucket.delete_file(gone)
    elsewhere()
    found = find_files(load_district(nightly.district), Person((1,), frozenset({"300"})))
    assert [path.name for path in found.runs] == ["five", "four", "one", "three"], "what is damaged may have a sign"
    assert {Path(path).name for path in files_within(data)} == {"lock"}, "no copy stays"
    found.remove()
    elsewhere()
    assert [path.name for path in folders_of(a_run(data).parent)] == ["six", "two"]
    assert files_within(brought(a_run(data, "two"))) == {"source/users.csv": b"301,Bo"}
    assert [path for path in objects(bucket) if "half.csv" in path] == [f"{ONE[:-3]}six/source/half.csv.0123"]


def test_a_look_for_somebody_takes_nothing_of_a_run_that_is_being_kept(
    elsewhere: Callable[[], Path], nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "1"})
    keep(folder)
    say, district = object_store._Store.say, load_district(nightly.district)

    def looked_for(self: Any, *asked: Any) -> None:
        assert find_files(district, Person((1,), frozenset({"300"}))).runs == ()
        say(self, *asked)

    monkeypatch.setattr(object_store._Store, "say", looked_for)
    keep(make(folder, {"run.json": "2", "plan/a": "301"}))
    assert files_within(brought(folder)) == {"run.json": b"2", "plan/a": b"301"}


@pytest.mark.parametrize("away", ["store", "disk"])
def test_nobodys_run_goes_because_it_could_not_be_looked_at(
    elsewhere: Callable[[], Path], nightly: Nightly, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    keep(make(a_run(elsewhere()), {"run.json": "1"}))
    elsewhere()
    district = load_district(nightly.district)

    def broken(*asked: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left") if away == "disk" else OSError("AWS Error SLOW_DOWN")

    monkeypatch.setattr(object_store._Store, "_fetch", broken)
    with pytest.raises(FilesUnreachable, match="No space left|SLOW_DOWN"):
        find_files(district, Person((1,), frozenset({"300"})))


def test_a_damaged_run_and_one_that_was_never_whole_go_when_they_are_old_and_stop_no_other(
    elsewhere: Callable[[], Path], nightly: Nightly, bucket: fs.S3FileSystem
) -> None:
    nightly.settings = {"retention": {"workspaces": 30}}
    _kept(nightly, NOW - timedelta(days=40))
    _kept(nightly, NOW + timedelta(days=1))
    for name in ("damaged/files.json", "never-whole/run.json.0123"):
        with bucket.open_output_stream(f"{ONE[:-3]}{name}") as stream:
            stream.write(b"{")
    elsewhere()
    district = load_district(nightly.district)
    assert [path.name for path in find_folders(district, frozenset(), datetime.now(UTC)).runs] == ["run-40"]
    old = find_folders(district, frozenset(), datetime.now(UTC) + timedelta(days=31))
    assert {path.name for path in old.runs} == {"run-40", "damaged", "never-whole"}
    old.remove()
    elsewhere()
    assert [path.name for path in folders_of(runs_folder(district))] == ["run--1"]


def test_old_runs_and_quarantines_leave_the_store_and_the_rest_of_a_run_stays(
    elsewhere: Callable[[], Path], nightly: Nightly, bucket: fs.S3FileSystem
) -> None:
    nightly.settings = {"retention": {"workspaces": 30, "quarantine": 10}}
    for days in (40, 20, 0):
        _kept(nightly, NOW - timedelta(days=days))
    elsewhere()
    old = find_folders(load_district(nightly.district), frozenset(), NOW)
    assert (len(old.runs), len(old.quarantines)) == (1, 1)
    assert old.size > size(old.runs[0]) > 1000
    old.remove()
    elsewhere()
    left = [brought(runs_folder(load_district(nightly.district)) / f"run-{days}") for days in (40, 20, 0)]
    assert [folder.exists() for folder in left] == [False, True, True]
    assert [(folder / "quarantine" / "users-errors.csv").exists() for folder in left] == [False, False, True]
    assert (left[1] / "report.html").exists()
    assert not objects(bucket, "kept/runs-of-tests/runs/demo/run-40")
    assert find_folders(load_district(nightly.district), frozenset(), NOW).runs == ()


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


@pytest.fixture
def upload(elsewhere: Callable[[], Path], nightly: Nightly) -> Upload:
    """One that somebody has sent."""
    elsewhere()
    nightly.deliver([student()])
    sent = begin_upload(load_district(nightly.district), NOW)
    with (nightly.folder / "delivery" / "users.csv").open("rb") as content:
        sent.add("users.csv", content)
    sent.write(Sent(person="Ann", sent_at=NOW))
    return sent


def test_a_run_on_another_machine_reads_an_upload_and_takes_it_away_once_it_is_read(
    elsewhere: Callable[[], Path], nightly: Nightly, bucket: fs.S3FileSystem, upload: Upload
) -> None:
    upload.hand_over()
    upload.write(Sent(person="Ann", sent_at=NOW, run_id="one"))
    assert upload.files and upload.read() == Sent(person="Ann", sent_at=NOW, run_id="one")
    folder = run_folder(upload.district, "one")
    steps_of = {INGEST: steps.ingest, VALIDATE: steps.validate, PLAN: steps.plan, REPORT: steps.report}
    for which, action in steps_of.items():
        elsewhere()
        assert objects(bucket, f"kept/runs-of-tests/uploads/demo/{upload.id}")
        with at_hand(folder, names_of(which)):
            if which is INGEST:
                steps.start(nightly.district, run_id="one", as_of=NOW, source=upload.source, picked=True)
            action(str(folder))
        assert not upload.root.exists()
    assert not objects(bucket, f"kept/runs-of-tests/uploads/demo/{upload.id}")


def test_an_upload_that_no_run_has_read_leaves_the_store_a_day_later(
    elsewhere: Callable[[], Path], bucket: fs.S3FileSystem, upload: Upload
) -> None:
    upload.hand_over()
    elsewhere()
    sweep(upload.district, NOW + timedelta(hours=23))
    assert objects(bucket, "kept/runs-of-tests/uploads") and not list_uploads(upload.district)
    sweep(upload.district, NOW + timedelta(hours=25))
    assert not objects(bucket, "kept/runs-of-tests/uploads")


def test_an_upload_that_is_discarded_or_not_started_leaves_the_store(bucket: fs.S3FileSystem, upload: Upload) -> None:
    upload.hand_over()
    (upload.folder / "users.csv").write_text("another header")
    assert picked(upload.district, upload.folder) == upload.folder, "here, what was checked is what lies here"
    upload.take_back()
    assert not objects(bucket, "kept/runs-of-tests/uploads") and upload.files
    upload.hand_over()
    upload.remove()
    assert not objects(bucket, "kept/runs-of-tests/uploads") and not upload.files


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "given", "said"), [
    ("s3://KEY:a-secret-that-nobody-may-see@kept/x", {}, "is no object store; write one like s3://bucket/folder"),
    ("s3://nobody/here", {}, r"take the files of one \(NO_SUCH_BUCKET\); try again"),
    ("s3://kept/here", {"endpoint": "http://127.0.0.1:1"}, r"take the files of one \(NETWORK_CONNECTION\); try"),
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
    for act in (keep, at_hand_once):
        with pytest.raises(EnrollSyncError, match=said) as refused:
            act(folder)
        assert str(refused.value).isprintable() and SECRET not in str(refused.value)
        make(folder, {"run.json": "{}"})


def at_hand_once(folder: Path) -> None:
    with at_hand(folder):
        pass


def test_a_content_that_came_damaged_is_not_taken(bucket: fs.S3FileSystem, elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}"})
    keep(folder)
    (key,) = (path for path in objects(bucket) if "run.json" in path)
    with bucket.open_output_stream(key) as stream:
        stream.write(b"[]")
    data = elsewhere()
    for act in (brought, at_hand_once):
        with pytest.raises(FilesUnreachable, match=r"run.json of one came damaged; try again"):
            act(folder)
    leave()
    assert files_within(data) == {}


def test_a_content_that_is_gone_is_told(bucket: fs.S3FileSystem, elsewhere: Callable[[], Path]) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}"})
    keep(folder)
    bucket.delete_file(next(path for path in objects(bucket) if "run.json" in path))
    elsewhere()
    for act in (brought, at_hand_once):
        with pytest.raises(
            FilesUnreachable, match="files of one are missing, or change while they are read; try again"
        ):
            act(folder)


@pytest.mark.parametrize("path", ["../../../../etc/passwd", "/etc/passwd"])
def test_a_listing_leads_to_no_other_place_of_the_disk(
    bucket: fs.S3FileSystem, elsewhere: Callable[[], Path], path: str
) -> None:
    listed = Listing.model_validate({"files": {path: {"digest": "d", "size": 1, "changed": 1}}})
    with bucket.open_output_stream(f"{ONE}/files.json") as stream:
        stream.write(listed.model_dump_json().encode())
    with pytest.raises(ConfigurationError, match="which is not within it"):
        brought(a_run(elsewhere()))


def test_a_listing_that_nobody_can_read_is_not_taken_for_an_empty_one(
    bucket: fs.S3FileSystem, elsewhere: Callable[[], Path]
) -> None:
    with bucket.open_output_stream(f"{ONE}/files.json") as stream:
        stream.write(b"{")
    with pytest.raises(FilesMissing, match=r"files.json of one is damaged"):
        brought(a_run(elsewhere()))


def test_a_full_disk_is_told(elsewhere: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(a_run(elsewhere()), {"run.json": "{}"})
    keep(folder)
    elsewhere()

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("enrollsync.words.private.make_file", full)
    with pytest.raises(FilesUnreachable, match="on this machine's disk: No space left on device; make room"):
        brought(folder)


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
    leave()
    assert {path.name for path in tmp_path.rglob("*")} == {"data", "runs", "demo", "one", "run.json", "plan", "a"}
    assert brought(folder) == folder and which_have([folder], "run.json") == {folder}
