"""Which header is likely meant by one that is nearly it, and a header line written anew."""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path

import pytest

from enrollsync.formats import FORMATS, Format
from enrollsync.formats.near import near_misses
from enrollsync.ingest.header import read_header, rename_headers

BATCH = FORMATS["batch_upload"]
CLEVER = FORMATS["clever"]
NEEDED = "schoolId,userId,userRole,userFirstName,userLastName"


def near(header: str, declared: Format = BATCH, file: str = "users.csv") -> dict[str, str]:
    return near_misses(header.split(","), declared.file(file), declared)


@pytest.mark.parametrize(("header", "said"), [
    (NEEDED, {}),
    (NEEDED.replace("userId", "user id"), {"user id": "userId"}),
    (NEEDED.replace("userId", "UserID").replace("userRole", "usrRole"), {"UserID": "userId", "usrRole": "userRole"}),
    (f"{NEEDED},userGrad", {"userGrad": "userGrade"}),
    (f"{NEEDED},shoeSize", {}),
    (f"{NEEDED},userid", {}),
    (NEEDED.replace("userId", "userid,userid"), {}),
    (f"{NEEDED},{'userEmail' * 20}", {}),
    ("S1,300,student,Leena,Usrid", {}),
    ("", {}),
])  # fmt: skip
def test_a_header_that_the_file_lacks_is_meant_by_what_is_most_like_it(header: str, said: dict[str, str]) -> None:
    assert near(header) == said


def test_of_two_that_could_be_meant_the_likelier_one_is_and_each_once() -> None:
    assert near("schoolId,userId,userRole,userFirstNam,userMiddleNam,user_last_name") == {
        "user_last_name": "userLastName", "userFirstNam": "userFirstName", "userMiddleNam": "userMiddleName",
    }  # fmt: skip


@pytest.mark.parametrize(("header", "said"), [
    ("School_id,STUDENT_ID,Last_name,First_name", {}),
    ("School id,Student_Idd,Last_name,First name", {"First name": "First_name", "School id": "School_id",
                                                    "Student_Idd": "Student_id"}),
    ("School_id,Student_id,Last_name,First_name,Student_emial,State-id", {"State-id": "State_id"}),
])  # fmt: skip
def test_what_a_format_may_pass_over_is_meant_only_where_spelling_alone_differs(
    header: str, said: dict[str, str]
) -> None:
    assert near(header, CLEVER, "students.csv") == said


def test_a_header_that_the_district_renames_is_not_offered_again() -> None:
    assert near(NEEDED.replace("userId", "user id"), replace(BATCH, renames=(("user id", "userId"),))) == {}


BODY = '300,"Ann\r\nLee",\xe9\r\n'


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("mark", "encoding", "told"), [
    (b"", "utf-8", "utf-8"), (codecs.BOM_UTF8, "utf-8", "cp1252"), (b"", "cp1252", "cp1252"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "utf-8"),
])  # fmt: skip
def test_header_line_is_written_anew_and_every_other_byte_stays(
    tmp_path: Path, end: str, mark: bytes, encoding: str, told: str
) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_bytes(mark + f'"user, id",name, x {end}{BODY}'.encode(encoding))
    assert read_header(old, told) == ["user, id", "name", "x"]
    rename_headers(old, new, {"user, id": "userId", "x": "userGrade"}, told)
    assert new.read_bytes() == mark + f"userId,name,userGrade{end}{BODY}".encode(encoding)


def test_what_is_no_text_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"\x89PNG\xff\xfe")
    assert read_header(tmp_path / "users.csv", "utf-8") == []
