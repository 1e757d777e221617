"""Which delivery is taken, how archives are opened, and what the files are recognised as."""

from __future__ import annotations

import gzip
import os
import stat
import zipfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from enrollsync.arrive import found_batch
from enrollsync.arrive.delivery import Delivery
from enrollsync.arrive.folder import find_delivery
from enrollsync.arrive.recognise import recognise
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District
from enrollsync.words.errors import Refused
from enrollsync.words.printable import shown

NOON = 1_790_000_000
CLEVER_FILES = ("schools.csv", "students.csv", "teachers.csv", "sections.csv", "enrollments.csv")


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def put(path: Path, content: str = "x\n", *, at: int = NOON) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (at, at))
    return path


def zip_up(path: Path, entries: dict[str, str], *, at: int = NOON) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    os.utime(path, (at, at))
    return path


def find(source: Path) -> Delivery:
    return find_delivery(source, source.parent / "batch")


def refusal(source: Path) -> Refused:
    with pytest.raises(Refused) as refused:
        find(source)
    return refused.value


def district(primary_source: str = "batch_upload", **more: Any) -> District:
    return District.model_validate({
        "district_id": "demo", "name": "Demo", "primary_source": primary_source,
        "source": {"path": "x"}, "database": {"url": "sqlite:///none.db"}, **more,
    })  # fmt: skip


# ---- folders ------------------------------------------------------------------------------------


def test_a_folder_of_files_is_a_delivery_that_arrived_with_its_newest_file(landing: Path) -> None:
    put(landing / "students.csv", at=NOON)
    put(landing / "schools.csv", at=NOON + 60)
    put(landing / "readme.txt", at=NOON + 90)
    put(landing / "._students.csv", at=NOON + 90)
    found = find(landing)
    assert sorted(found.files) == ["schools.csv", "students.csv"]
    assert found.delivered_at == datetime.fromtimestamp(NOON + 60, UTC)


@pytest.mark.parametrize("name", ["Users.csv", "USERS.CSV", "users.Csv"])
def test_names_of_files_may_be_written_in_any_case(landing: Path, name: str) -> None:
    put(landing / name)
    assert find(landing).files == {"users.csv": landing / name}


def test_two_files_that_differ_in_case_only_are_refused(landing: Path) -> None:
    put(landing / "Users.csv")
    put(landing / "users.csv")
    assert refusal(landing).code == "FILE-UNSAFE"


@pytest.mark.parametrize("name", ["users.csv.part", "users.csv.FILEPART", "upload.tmp", "x.lock", "a.crdownload"])
def test_a_folder_in_which_something_still_arrives_is_refused(landing: Path, name: str) -> None:
    put(landing / "users.csv")
    put(landing / name)
    refused = refusal(landing)
    assert (refused.code, refused.file) == ("FILE-INCOMPLETE", name)


def test_a_folder_without_files_is_refused(landing: Path) -> None:
    put(landing / "readme.txt")
    (landing / "users.csv").mkdir()
    assert refusal(landing).code == "FILE-MISSING"


def test_a_source_that_is_not_there_is_refused_with_its_path(landing: Path) -> None:
    assert str(landing / "nowhere") in str(refusal(landing / "nowhere"))


def test_a_csv_file_instead_of_a_folder_is_refused_with_what_to_name(landing: Path) -> None:
    refused = refusal(put(landing / "users.csv"))
    assert (refused.file, refused.message) == ("users.csv", "this is one file of a delivery; name its folder")


@pytest.mark.parametrize("name", [b"r\xe9.csv", b"r\xe9.CSV"])
def test_a_file_whose_name_is_no_text_leaves_the_delivery_as_it_is(landing: Path, name: bytes) -> None:
    put(landing / "users.csv")
    put(landing / os.fsdecode(name))
    found = find(landing)
    assert recognise(found.files, district()).name == "batch_upload"
    assert [shown(one) for one in found.files if one != "users.csv"] == ["r\ufffd.csv"]


@pytest.mark.parametrize("kind", ["folder", "zip", "source"])
def test_a_delivery_whose_name_is_no_text_is_refused_with_one_line(landing: Path, kind: str) -> None:
    place = landing / os.fsdecode(b"r\xe9.zip" if kind == "zip" else b"r\xe9")
    if kind == "zip":
        zip_up(place, {"users.csv": "x"})
    else:
        put(place / "users.csv")
    refused = refusal(place if kind == "source" else landing)
    assert refused.code == "FILE-UNSAFE" and refused.message == "the delivery's name is not UTF-8; rename it"
    str(refused).encode()


@pytest.mark.parametrize("name", ["users.csv", "notes.csv"])
def test_a_file_that_may_not_be_read_is_refused_by_name(
    landing: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    put(landing / name)
    found = find(landing)

    def forbidden(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbidden)
    monkeypatch.setattr(Path, "stat", forbidden)
    for look in (found.stamps, partial(found.digest, [name])):
        with pytest.raises(Refused) as refused:
            look()
        assert str(refused.value) == f"FILE-MISSING {name}: it cannot be read: Permission denied"


def test_a_folder_that_may_not_be_read_is_refused(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    refused = refusal(landing)
    assert (refused.code, refused.message) == ("FILE-MISSING", "the delivery cannot be read: Permission denied")


# ---- links --------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False], ids=["of a file", "of nothing"])
def test_a_link_in_the_place_of_a_file_is_refused_with_what_to_do(landing: Path, there: bool) -> None:
    put(landing / "demographics.csv")
    target = put(landing.parent / "elsewhere.csv") if there else landing.parent / "nothing.csv"
    (landing / "users.csv").symlink_to(target)
    refused = refusal(landing)
    assert (refused.code, refused.file) == ("FILE-UNSAFE", "users.csv")
    assert refused.message == "it is a link, and links are not followed; deliver the file itself"


@pytest.mark.parametrize("name", ["tuesday", "tuesday.zip"])
def test_the_newest_delivery_is_refused_when_it_is_a_link_that_leads_elsewhere(landing: Path, name: str) -> None:
    put(landing / "monday" / "users.csv")
    if name.endswith(".zip"):
        target = zip_up(landing.parent / "other.zip", {"users.csv": "x"})
    else:
        target = put(landing.parent / "other" / "users.csv").parent
    (landing / name).symlink_to(target)
    refused = refusal(landing)
    assert (refused.code, refused.file) == ("FILE-UNSAFE", name)
    assert refused.message == "it is a link, and links are not followed; deliver the files themselves"


def test_a_link_to_another_delivery_of_the_same_folder_is_passed_over(landing: Path) -> None:
    put(landing / "monday" / "users.csv", at=NOON)
    put(landing / "tuesday" / "users.csv", at=NOON + 60)
    (landing / "zz-latest").symlink_to("tuesday")
    assert find(landing).folder.name == "tuesday"


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_landing_folder_and_a_named_delivery_may_be_links(landing: Path, kind: str) -> None:
    place = put(landing / "users.csv").parent if kind == "folder" else zip_up(landing / "set.zip", {"users.csv": "x"})
    link = landing.parent / f"link{place.suffix}"
    link.symlink_to(place)
    assert list(find(link).files) == ["users.csv"]


def test_a_source_that_leads_in_a_circle_is_refused_as_what_is_not_there(landing: Path) -> None:
    (landing / "a").symlink_to(landing / "b")
    (landing / "b").symlink_to(landing / "a")
    assert refusal(landing / "a").code == "FILE-MISSING"
    put(landing / "users.csv")
    assert find(landing).folder == landing


# ---- the newest complete delivery ---------------------------------------------------------------


def test_the_newest_delivery_is_taken_whether_folder_or_zip(landing: Path) -> None:
    put(landing / "monday" / "users.csv", at=NOON)
    zip_up(landing / "tuesday.zip", {"users.csv": "tuesday"}, at=NOON + 60)
    assert find(landing).files["users.csv"].read_text() == "tuesday"
    put(landing / "wednesday" / "users.csv", "wednesday", at=NOON + 120)
    assert find(landing).files["users.csv"].read_text() == "wednesday"


def test_the_newest_delivery_is_told_by_its_newest_file(landing: Path) -> None:
    put(landing / "a" / "schools.csv", at=NOON)
    put(landing / "a" / "students.csv", at=NOON + 60)
    put(landing / "b" / "schools.csv", at=NOON + 30)
    assert find(landing).folder.name == "a"


def test_of_deliveries_of_one_moment_the_last_name_is_taken(landing: Path) -> None:
    for day in ("2026-11-02", "2026-11-04", "2026-11-03"):
        put(landing / day / "users.csv")
    assert find(landing).folder.name == "2026-11-04"


@pytest.mark.parametrize(("loose_at", "expected"), [(NOON, "zip"), (NOON + 120, "loose")])
def test_loose_files_are_one_delivery_among_the_others(landing: Path, loose_at: int, expected: str) -> None:
    put(landing / "users.csv", "loose", at=loose_at)
    put(landing / "old" / "users.csv", "old", at=NOON - 60)
    zip_up(landing / "new.zip", {"users.csv": "zip"}, at=NOON + 60)
    assert find(landing).files["users.csv"].read_text() == expected


def test_loose_files_that_still_arrive_are_passed_over_for_an_older_delivery(landing: Path) -> None:
    put(landing / "users.csv", "loose", at=NOON + 120)
    put(landing / "users.csv.part", at=NOON + 120)
    zip_up(landing / "new.zip", {"users.csv": "zip"}, at=NOON)
    assert find(landing).files["users.csv"].read_text() == "zip"


@pytest.mark.parametrize("incomplete", ["folder", "zip"])
def test_an_incomplete_delivery_is_passed_over_for_an_older_one(landing: Path, incomplete: str) -> None:
    put(landing / "old" / "users.csv", at=NOON)
    if incomplete == "folder":
        put(landing / "new" / "users.csv", at=NOON + 60)
        put(landing / "new" / "users.csv.part", at=NOON + 60)
    else:
        put(landing / "new.zip", "PK\x03\x04 cut in the middle", at=NOON + 60)
    assert find(landing).folder.name == "old"


def test_when_every_delivery_is_incomplete_nothing_is_taken(landing: Path) -> None:
    put(landing / "new" / "users.csv")
    put(landing / "new" / "users.csv.part")
    assert refusal(landing).code == "FILE-INCOMPLETE"


# ---- archives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [
    pytest.param({"users.csv": "x"}, id="plain"),
    pytest.param({"export/users.csv": "x", "__MACOSX/export/._users.csv": "y"}, id="folder of a Mac"),
    pytest.param({"./": "", "./users.csv": "x"}, id="entry for the folder itself"),
])  # fmt: skip
def test_an_archive_is_read_like_a_folder(landing: Path, entries: dict[str, str]) -> None:
    found = find(zip_up(landing / "set.zip", entries, at=NOON + 5))
    assert found.files["users.csv"].read_text() == "x"
    assert found.delivered_at == datetime.fromtimestamp(NOON + 5, UTC)


def test_an_archive_is_unpacked_for_its_owner_alone_and_over_no_older_files(landing: Path) -> None:
    put(landing.parent / "batch" / "students.csv")
    found = find(zip_up(landing / "set.zip", {"users.csv": "x"}))
    assert list(found.files) == ["users.csv"]
    assert stat.S_IMODE(found.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("entries", [
    {"../users.csv": "x"}, {"a/../../users.csv": "x"}, {"/users.csv": "x"}, {"..\\users.csv": "x"},
    {"C:\\users.csv": "x"}, {"users.csv": "0" * (1 << 27)},
])  # fmt: skip
def test_an_unsafe_archive_is_refused_and_leaves_nothing_outside(landing: Path, entries: dict[str, str]) -> None:
    assert refusal(zip_up(landing / "set.zip", entries)).code == "FILE-UNSAFE"
    assert [path for path in landing.parent.rglob("*") if path.is_file()] == [landing / "set.zip"]


def test_an_archive_with_two_files_that_differ_in_case_only_is_refused(landing: Path) -> None:
    assert refusal(zip_up(landing / "set.zip", {"Users.csv": "x", "users.csv": "y"})).code == "FILE-UNSAFE"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("one", "two"), [
    ("users.csv", "users.csv"), ("users.csv", "./users.csv"), ("a/users.csv", "a//users.csv"),
    ("a/users.csv", "a/./users.csv"), ("a/users.csv", "A/USERS.csv"), ("a/users.csv", "a\\users.csv"),
    ("users.csv", "users.csv."), ("users.csv", "users.csv "), ("r\u00e9.csv", "re\u0301.csv"),
])  # fmt: skip
def test_an_archive_with_two_entries_that_unpack_to_one_file_is_refused(landing: Path, one: str, two: str) -> None:
    with zipfile.ZipFile(landing / "set.zip", "w") as archive:
        archive.writestr(one, "x")
        archive.writestr(two, "y")
    refused = refusal(landing / "set.zip")
    assert (refused.code, refused.file) == ("FILE-UNSAFE", "set.zip")
    assert "unpack to one file" in refused.message


def test_folders_of_an_archive_may_stand_there_in_several_spellings(landing: Path) -> None:
    found = find(zip_up(landing / "set.zip", {"a/": "", "a//": "", "./a/": "", "a/users.csv": "x"}))
    assert found.files["users.csv"].read_text() == "x"


def test_backslashes_in_an_archive_lead_into_folders(landing: Path) -> None:
    assert find(zip_up(landing / "set.zip", {"export\\users.csv": "x"})).files["users.csv"].read_text() == "x"


def test_an_archive_with_a_link_is_refused(landing: Path) -> None:
    with zipfile.ZipFile(landing / "set.zip", "w") as archive:
        link = zipfile.ZipInfo("users.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert refusal(landing / "set.zip").code == "FILE-UNSAFE"


def test_an_archive_under_a_password_is_refused(landing: Path) -> None:
    path = zip_up(landing / "set.zip", {"users.csv": "x"})
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    refused = refusal(path)
    assert refused.code == "FILE-UNSAFE"
    assert refused.message == "it is encrypted; make a plain zip without a password"


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA])
def test_an_archive_with_damaged_content_is_refused(landing: Path, kind: int) -> None:
    path = landing / "set.zip"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("users.csv", "".join(f"{number * 7919 % 1000}," for number in range(5000)))
    content = bytearray(path.read_bytes())
    content[60:400] = b"\xff" * 340
    path.write_bytes(content)
    refused = refusal(path)
    assert (refused.code, refused.file) == ("FILE-INCOMPLETE", "set.zip")


def test_a_file_that_only_calls_itself_an_archive_is_refused(landing: Path) -> None:
    assert refusal(put(landing / "set.zip", "not a zip")).code == "FILE-INCOMPLETE"


@pytest.mark.parametrize("entries", [
    {}, {"readme.txt": "x"}, {"a/users.csv": "x", "b/demographics.csv": "x"}, {"a/b/users.csv": "x"},
])  # fmt: skip
def test_an_archive_without_files_where_they_belong_is_refused_by_name(landing: Path, entries: dict[str, str]) -> None:
    refused = refusal(zip_up(landing / "set.zip", entries))
    assert (refused.code, refused.file) == ("FILE-MISSING", "set.zip")
    assert "put the files at the top of the zip or in one folder" in refused.message


@pytest.mark.parametrize(("entries", "entry", "said"), [
    ({"users.csv": "x", "n" * 300 + ".csv": "x"}, "n" * 80 + "…", "File name too long"),
    ({"users.csv": "x", "users.csv/a": "x"}, "users.csv/a", ""),
])  # fmt: skip
def test_an_entry_that_cannot_be_unpacked_is_named_without_paths_of_ours(
    landing: Path, entries: dict[str, str], entry: str, said: str
) -> None:
    refused = refusal(zip_up(landing / "set.zip", entries))
    assert (refused.code, refused.file) == ("FILE-UNSAFE", "set.zip")
    assert f"its entry '{entry}' cannot be unpacked: {said}" in refused.message
    assert str(landing.parent) not in refused.message


# ---- identity and format ------------------------------------------------------------------------


def test_a_batch_is_known_by_its_content_whatever_its_folder_time_and_case(landing: Path) -> None:
    put(landing / "a" / "users.csv", "same")
    put(landing / "b" / "Users.csv", "same", at=NOON + 60)
    put(landing / "c" / "users.csv", "other")
    first, second, third = (find(landing / name).digest(["users.csv"]) for name in "abc")
    assert first == second != third


def test_contents_that_change_places_are_another_batch(landing: Path) -> None:
    for folder, one, two in (("a", "x", "y"), ("b", "y", "x")):
        put(landing / folder / "schools.csv", one)
        put(landing / folder / "students.csv", two)
    names = ["schools.csv", "students.csv"]
    assert find(landing / "a").digest(names) != find(landing / "b").digest(names)
    assert find(landing / "a").digest(names) == find(landing / "a").digest(names[::-1])


def deliver(landing: Path, *names: str) -> Delivery:
    for name in names:
        put(landing / name)
    return find(landing)


@pytest.mark.parametrize(("names", "primary", "expected"), [
    (["users.csv"], "batch_upload", "batch_upload"),
    (["users.csv", "demographics.csv", "notes.csv"], "batch_upload", "batch_upload"),
    (CLEVER_FILES, "clever", "clever"),
    ([*CLEVER_FILES, "staff.csv"], "clever", "clever"),
    (["users.csv"], "clever", "batch_upload"),
])  # fmt: skip
def test_the_format_is_told_from_the_files(landing: Path, names: list[str], primary: str, expected: str) -> None:
    assert recognise(deliver(landing, *names).files, district(primary)).name == expected


def test_a_corrected_error_file_stands_for_the_file_that_it_came_from(landing: Path) -> None:
    found = deliver(landing, *CLEVER_FILES[:1], "Students-errors.csv", *CLEVER_FILES[2:], "other-errors.csv")
    assert recognise(found.files, district("clever")).name == "clever"
    assert found.files["students.csv"] == landing / "Students-errors.csv"
    assert "other-errors.csv" in found.files


def test_an_error_file_beside_the_file_that_it_came_from_stands_for_nothing(landing: Path) -> None:
    assert sorted(deliver(landing, "users.csv", "users-errors.csv").files) == ["users-errors.csv", "users.csv"]


@pytest.mark.parametrize(("names", "primary", "said"), [
    (["id_changes.csv"], "batch_upload", "the Batch Upload set lacks users.csv; found: id_changes.csv; deliver"),
    (["id_changes.csv"], "clever", "lacks schools.csv, students.csv, teachers.csv, sections.csv, enrollments.csv; fo"),
    (["notes.csv"], "batch_upload", "none of the files is known; found: notes.csv; Batch Upload is users.csv, "),
    (["Users (1).csv"], "batch_upload", "none of the files is known (is 'Users (1).csv' users.csv?); found: "),
    (["demo_users_2026.csv"], "batch_upload", "(is 'demo_users_2026.csv' users.csv?)"),
    (["demographics.csv"], "batch_upload", "the Batch Upload set lacks users.csv; found: demographics.csv; deliver"),
    ([*CLEVER_FILES[:-1], "Enrolment.csv"], "clever", "lacks enrollments.csv (is 'Enrolment.csv' enrollments.csv?); f"),
    ([*CLEVER_FILES[:1], *CLEVER_FILES[2:], "Student.csv"], "clever", "students.csv (is 'Student.csv' students.csv?)"),
    ([f"x{n:02}.csv" for n in range(40)], "clever", "found: x00.csv, x01.csv, x02.csv, x03.csv, x04.csv, x05.csv, "
     "x06.csv, x07.csv, x08.csv, x09.csv and 30 more"),
    (CLEVER_FILES, "batch_upload", "primary source is batch_upload"),
])  # fmt: skip
def test_files_that_make_no_delivery_of_the_district_are_refused(
    landing: Path, names: list[str], primary: str, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        recognise(deliver(landing, *names).files, district(primary))
    assert refused.value.code == "FILE-MISSING"
    assert said in refused.value.message


@pytest.mark.parametrize(("names", "said"), [
    (["locations.csv", "students.csv"], "Apple School Manager"),
    (["Student.csv", "StudentEnrollment.csv"], "these are Microsoft School Data Sync files"),
])  # fmt: skip
def test_a_known_format_that_cannot_be_read_yet_is_refused_by_name(landing: Path, names: list[str], said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        recognise(deliver(landing, *names).files, district("oneroster"))
    assert refused.value.code == "FILE-UNSUPPORTED"
    assert "deliver Batch Upload or Clever (SFTP CSV) or OneRoster 1.1 (CSV)" in refused.value.message


def test_a_folder_without_csv_files_says_what_it_holds(landing: Path) -> None:
    put(landing / "users.xlsx")
    put(landing / ".hidden")
    refused = refusal(landing)
    assert refused.message.endswith("; found: users.xlsx; deliver CSV files, or correct the path")


# ---- texts of others in messages ----------------------------------------------------------------


def test_no_message_about_an_archive_holds_a_control_character_or_a_python_object(landing: Path) -> None:
    long = "\x1b[31m" + "n" * 300 + ".csv"
    refused = refusal(zip_up(landing / "set.zip", {"users.csv": "x", long: "x"}))
    assert str(refused).isprintable() and len(str(refused)) < 250
    path = zip_up(landing / "other.zip", {"users.csv": "x"})
    path.write_bytes(path.read_bytes().replace(b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x00\x00\x09\x00"))
    refused = refusal(path)
    assert (
        refused.message
        == "it cannot be unpacked: That compression method is not supported; make a plain zip of the files"
    )


# ---- the run's own copy -------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, landing: Path) -> Run:
    manifest = RunManifest(run_id="run", district="demo", as_of=datetime(2026, 11, 23, tzinfo=UTC))
    return Run(Workspace(tmp_path / "run").create(), manifest, district(source={"path": str(landing)}), None)


def test_what_is_taken_stays_what_it_was_whatever_becomes_of_the_delivery(run: Run, landing: Path) -> None:
    delivered = put(landing / "users.csv", "as delivered")
    put(landing / "demographics.csv", "nobody reads it")
    with found_batch(run) as batch:
        taken = batch.take(run.place.batch)
        delivered.write_text("replaced")
        assert taken.delivery.files["users.csv"].read_text() == "as delivered"
        assert [path.name for path in run.place.batch.iterdir()] == ["users.csv"]
        assert set(taken.delivery.files) == {"users.csv", "demographics.csv"}
    assert not run.place.batch.exists()


def test_a_file_that_is_written_to_while_it_is_taken_is_refused(run: Run, landing: Path) -> None:
    delivered = put(landing / "users.csv", "as delivered")
    with found_batch(run) as batch:
        delivered.write_text("half of what is to come")
        with pytest.raises(Refused, match="changed while it was read"):
            batch.take(run.place.batch)


def test_an_archive_is_unpacked_into_the_runs_folder_and_not_copied_again(run: Run, landing: Path) -> None:
    zip_up(landing / "set.zip", {"roster/users.csv": "as delivered"})
    with found_batch(run) as batch:
        assert batch.take(run.place.batch).delivery.files == batch.delivery.files
        assert batch.delivery.files["users.csv"].is_relative_to(run.place.batch)


# ---- when a delivery is complete -------------------------------------------------------------------------------------


def ready(source: Path, sign: str | int) -> Delivery:
    return find_delivery(source, source.parent / "batch", sign)


@pytest.mark.parametrize("mark", ["monday/.done", "monday.done"])
def test_a_marker_says_that_a_delivery_is_complete_and_the_newest_one_that_has_it_is_taken(
    landing: Path, mark: str
) -> None:
    put(landing / "monday" / "users.csv", "old\n")
    put(landing / "tuesday" / "users.csv", "new\n", at=NOON + 60)
    put(landing / mark, "")
    assert ready(landing, ".done").files["users.csv"].read_text() == "old\n"
    put(landing / "tuesday" / ".done", "")
    assert ready(landing, ".done").files["users.csv"].read_text() == "new\n"


def test_a_zip_has_its_marker_beside_it(landing: Path) -> None:
    zip_up(landing / "monday.zip", {"users.csv": "x\n"})
    with pytest.raises(Refused, match="or lacks .done; wait for it to end"):
        ready(landing, ".done")
    put(landing / "monday.zip.done", "")
    assert set(ready(landing, ".done").files) == {"users.csv"}


@pytest.mark.parametrize("sign", ["_SUCCESS", "manifest"])
def test_files_without_what_says_that_they_are_complete_are_refused(landing: Path, sign: str) -> None:
    put(landing / "orgs.csv")
    with pytest.raises(Refused, match="FILE-INCOMPLETE: the delivery landing lacks .*, which says that it is complete"):
        ready(landing, sign)
    put(landing / {"manifest": "manifest.csv"}.get(sign, sign))
    assert "orgs.csv" in ready(landing, sign).files


def test_a_delivery_that_was_just_written_is_taken_once_it_is_still(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("enrollsync.arrive.choose.time.time", lambda: NOON + 10 + sum(slept))
    monkeypatch.setattr("enrollsync.arrive.choose.time.sleep", slept.append)
    put(landing / "users.csv")
    assert set(ready(landing, 30).files) == {"users.csv"}
    assert slept == [20]


def test_a_delivery_that_is_written_to_all_the_time_is_refused(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(landing / "users.csv")
    now = [float(NOON)]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        os.utime(path, (now[0], now[0]))

    monkeypatch.setattr("enrollsync.arrive.choose.time.time", lambda: now[0])
    monkeypatch.setattr("enrollsync.arrive.choose.time.monotonic", lambda: now[0])
    monkeypatch.setattr("enrollsync.arrive.choose.time.sleep", sleep)
    with pytest.raises(Refused, match="FILE-INCOMPLETE: the delivery landing is still being written to"):
        ready(landing, 30)


# ---- files packed one by one -----------------------------------------------------------------------------------------


def test_files_may_be_packed_one_by_one(landing: Path) -> None:
    put(landing / "schools.csv", "plain\n")
    (landing / "Students.csv.gz").write_bytes(gzip.compress(b"packed\n"))
    os.utime(landing / "Students.csv.gz", (NOON + 5, NOON + 5))
    found = find(landing)
    assert {name: path.read_text() for name, path in found.files.items()} == {
        "schools.csv": "plain\n", "students.csv": "packed\n",
    }  # fmt: skip
    assert found.delivered_at == datetime.fromtimestamp(NOON + 5, UTC)


@pytest.mark.parametrize(("name", "packed", "said"), [
    ("users.csv.gz", b"no gzip", "FILE-INCOMPLETE users.csv.gz: the packed file is damaged"),
    ("users.csv.gz", gzip.compress(b"x\n" * 1000)[:-9], "FILE-INCOMPLETE users.csv.gz: the packed file is damaged"),
    ("users.csv.gz", gzip.compress(b"x" * (80 << 20)), "FILE-UNSAFE users.csv.gz: it unpacks to more than 65 MiB"),
    ("orgs.csv.gz", gzip.compress(b"x\n"), "FILE-UNSAFE: a file is there twice, packed and unpacked; remove one"),
], ids=["no gzip", "cut", "bomb", "twice"])  # fmt: skip
def test_a_packed_file_that_is_damaged_a_bomb_or_there_twice_is_refused(
    landing: Path, name: str, packed: bytes, said: str
) -> None:
    put(landing / "orgs.csv")
    (landing / name).write_bytes(packed)
    assert said in str(refusal(landing))


def test_a_packed_file_that_is_a_link_is_not_followed(landing: Path) -> None:
    (landing.parent / "theirs.csv.gz").write_bytes(gzip.compress(b"x\n"))
    (landing / "users.csv.gz").symlink_to(landing.parent / "theirs.csv.gz")
    assert "FILE-UNSAFE users.csv.gz: it is a link" in str(refusal(landing))
