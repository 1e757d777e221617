"""One file into one table: every record with its line, every damaged line by itself, and headers understood."""

from __future__ import annotations

import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrollsync.formats import FORMATS, Format
from enrollsync.ingest import read as reading
from enrollsync.ingest.lines import LONGEST, Malformed, load_text, split_records
from enrollsync.ingest.read import FileRead, read_file
from enrollsync.run import engine
from enrollsync.run.source_table import numbered
from enrollsync.words.errors import Refused

BATCH, CLEVER = FORMATS["batch_upload"], FORMATS["clever"]
NAMES = ("schoolId", "userId", "userRole", "userFirstName", "userLastName", "classId")
HEADER = ",".join(NAMES)
PLAIN = ["a", "b", "c", "d", "e", "f"]
LINE = ",".join(PLAIN)

values = st.lists(st.text("ab,\"\n\r \té\u2028😀'", max_size=4), min_size=6, max_size=6)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])


@dataclass(frozen=True)
class Table:
    """What a file gave: line -> values, and the damaged lines."""

    rows: dict[int, list[str]]
    """Needed columns alone."""
    others: dict[int, dict[str, str]]
    """The other ones."""
    malformed: list[Malformed]
    result: FileRead

    @property
    def damaged(self) -> list[int]:
        return [one.line for one in self.malformed]


def read(
    content: str | bytes, *, declared: Format = BATCH, file: str = "users.csv", needed: tuple[str, ...] = NAMES,
    renames: dict[str, str] | None = None, encoding: str = "utf-8",
) -> Table:  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        target = Path(folder) / f"{file}.parquet"
        fitted = declared.fitted(renames=renames, encoding=encoding)
        with engine.connect(path.parent, ordered=True) as connection:
            result = read_file(connection, path, target, declared.file(file), fitted, needed)
        assert sorted(entry.name for entry in Path(folder).iterdir()) == [file, target.name]
        table = duckdb.sql(f"SELECT * FROM {numbered(target)}").to_arrow_table().to_pylist()
    lines = [(row.pop("line"), row) for row in table]
    rows = {line: [value or "" for name, value in row.items() if name[0] != " "] for line, row in lines}
    others = {line: {name: value for name, value in row.items() if name[0] == " "} for line, row in lines}
    assert len(rows) == len(table) == result.rows
    return Table(rows, others, result.malformed, result)


class Editor:
    """Builds a text, and knows which line a text editor would show."""

    def __init__(self, end: str, *, mark: bool = False) -> None:
        self.end = end
        self.text = ("\ufeff" if mark else "") + HEADER
        self.line = 1

    def add(self, record: str, blank_lines: int = 0) -> int:
        """Put a record on a line of its own; returns the line's number."""
        self.text += self.end * (1 + blank_lines) + record
        first = self.line + 1 + blank_lines
        self.line = first + len(re.findall("\r\n|\r|\n", record))
        return first


def as_record(fields: list[str], *, quote_all: bool = False) -> str:
    return ",".join(
        '"' + field.replace('"', '""') + '"' if quote_all or re.search('[,"\r\n]', field) else field for field in fields
    )


def is_valueless(fields: list[str]) -> bool:
    return not "".join(fields).strip(" \t")


def as_read(fields: list[str]) -> list[str]:
    """Line breaks within a value become LF; nothing else changes."""
    return [re.sub("\r\n|\r", "\n", field) for field in fields]


# ---- every record, every damaged line -----------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(values, st.booleans(), st.integers(0, 4)), max_size=6),
    end=line_ends, mark=st.booleans(), ended=st.booleans(),
)  # fmt: skip
def test_every_record_comes_back_with_the_line_an_editor_shows(
    rows: list[tuple[list[str], bool, int]], end: str, mark: bool, ended: bool
) -> None:
    editor = Editor(end, mark=mark)
    given = {editor.add(as_record(fields, quote_all=quoted), blank): as_read(fields) for fields, quoted, blank in rows}
    table = read(editor.text + (end if ended else ""))
    assert table.rows == {line: fields for line, fields in given.items() if not is_valueless(fields)}
    assert table.result.valueless == [line for line, fields in given.items() if is_valueless(fields)]
    assert table.malformed == []


DAMAGED = (
    "a,b", "a,b,c,d,e", "a,b,c,d,e,f,g", 'a,"b,b",c', "a,b\0,c,d,e,f", "a,b\x07,c,d,e,f", "a,b\x85,c,d,e,f",
    'a,b,c,d,e,"f', 'a,b,c,d,e,"', 'a, "b,c,d,e,f', 'a,"b"x,c,d,e,f', 'a,"b"x"y",c,d,e,f', 'a,5",c,"d,e,f',
    f"{LINE},", ",b,,,,,",
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(st.one_of(st.sampled_from(DAMAGED), values), st.integers(0, 4)), max_size=8),
    end=line_ends, mark=st.booleans(),
)  # fmt: skip
def test_exactly_the_damaged_lines_are_reported_and_all_others_read(
    rows: list[tuple[str | list[str], int]], end: str, mark: bool
) -> None:
    editor = Editor(end, mark=mark)
    expected, damaged = {}, []
    for row, blank in rows:
        if isinstance(row, str):
            damaged.append((editor.add(row, blank), row))
            # After an open quotation mark only a sound line can tell where the damage ends.
            expected[editor.add(LINE)] = PLAIN
        elif line := editor.add(as_record(row), blank) if not is_valueless(row) else None:
            expected[line] = as_read(row)
    table = read(editor.text + end)
    assert table.rows == expected
    assert [(one.line, one.raw) for one in table.malformed] == damaged


@settings(max_examples=100, deadline=None)
@given(
    body=st.lists(st.sampled_from([*'a, "\n\t\r', "a,", '"a",', '","', LINE + "\n"]), max_size=40).map("".join),
    tail=st.sampled_from(["", LINE + "\n", f'"a",b,c,d,e,"f"\n{LINE}\n']),
)
def test_whatever_a_file_says_no_record_of_it_gets_lost(body: str, tail: str) -> None:
    content = f"{HEADER}\n{body}\n{tail}"
    table = read(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "users.csv"
        path.write_bytes(content.encode())
        records = split_records(load_text(path), len(NAMES))
    found = [*(records.first[1:] + 1).tolist(), *(one.line for one in records.malformed)]
    assert sorted([*table.rows, *table.damaged]) == sorted(found)
    assert table.result.valueless == (records.valueless + 1).tolist()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_right_all_over_a_long_file(mark: bytes, end: str) -> None:
    chance = random.Random(3)
    lines, damaged = [HEADER], []
    while len(lines) < 100_000:
        number = len(lines) + 1
        if chance.random() < 0.0005:
            damaged.append(number)
            lines += [chance.choice([bad for bad in DAMAGED if "\0" not in bad]), f"S1,u{number + 1},student,G,F,C1"]
        elif chance.random() < 0.0005:
            lines += [f'S1,u{number},student,"G', "", 'G, ""x""",F,C1']
        elif chance.random() < 0.0005:
            lines.append("")
        else:
            lines.append(f"S1,u{number},student,G,F,C1")
    table = read(mark + end.join([*lines, ""]).encode())
    assert len(damaged) > 20 and table.damaged == damaged
    assert len(table.rows) > 99_000
    assert [row[1] for row in table.rows.values()] == [f"u{line}" for line in table.rows]


@pytest.mark.parametrize(("bad", "reason"), [
    ("a,b,c", "it has too few fields"), (f"{LINE},g", "it has too many fields"),
    ("a\0,b,c,d,e,f", "it has control characters"), ('a,"b,c,d,e,f', "a quotation mark is never closed"),
    ('a,"b"c,c,d,e,f', "text follows a closing quotation mark"),
])  # fmt: skip
def test_a_damaged_line_says_why(bad: str, reason: str) -> None:
    (found,) = read(f"{HEADER}\n{LINE}\n{bad}\n{LINE}\n").malformed
    assert (found.line, found.last_line, found.reason, found.raw) == (3, 3, reason, bad)


def test_a_damaged_record_of_several_lines_is_reported_from_its_first_to_its_last() -> None:
    table = read(f'{HEADER}\n{LINE}\n\na,"b\n\nb",c,d,e,f\x07\n{LINE}\n')
    assert [(one.line, one.last_line) for one in table.malformed] == [(4, 6)]
    assert list(table.rows) == [2, 7]


@pytest.mark.parametrize(("long", "damaged"), [(LONGEST, []), (LONGEST + 1, [3]), (20 * LONGEST + 1, [3])])
@pytest.mark.parametrize("quoted", [False, True])
def test_a_line_too_long_for_the_parser_is_malformed_alone(long: int, damaged: list[int], quoted: bool) -> None:
    line = as_record(["a", "b" * (long - 12 + 2 * (not quoted)), "c", "d", "e", "f"])
    line = line if not quoted else re.sub("(b+)", r'"\1"', line)
    assert len(line) == long
    table = read(f"{HEADER}\n{LINE}\n{line}\n{LINE}\n{LINE}\n")
    assert (table.damaged, sorted({*table.rows, *table.damaged})) == (damaged, [2, 3, 4, 5])
    assert not damaged or table.malformed[0].reason == "it is longer than two million characters"


def test_a_record_of_several_lines_too_long_for_the_parser_is_malformed() -> None:
    table = read(f'{HEADER}\n{LINE}\na,"b\n{"b" * LONGEST}",c,d,e,f\n{LINE}\n')
    assert (table.damaged, list(table.rows)) == ([3, 4], [2, 5])


def test_a_file_without_one_sound_line_is_refused() -> None:
    with pytest.raises(Refused, match="FILE-HEADER"):
        read(f'{HEADER},"userEmail\n"\x07\n')


@pytest.mark.parametrize("line", ["a,b", "\x07", 'a,"b', "x" * (LONGEST + 1), ",,,"])
def test_a_file_of_a_header_and_one_damaged_line_has_no_rows(line: str) -> None:
    table = read(f"{HEADER}\n{line}\n")
    assert (table.rows, table.damaged + table.result.valueless) == ({}, [2])


def test_a_shifted_line_of_clever_is_malformed() -> None:
    header = "School_id,Student_id,Last_name,First_name,Grade,DOB,Student_email,Username"
    table = read(
        f"{header}\nS1,p-1,Lee,Ann,5,1/2/2014,ann@demo.example,\nS1,p-2,Smith, Jr,Bob,5,1/3/2014,bob@demo.example,\n",
        declared=CLEVER, file="students.csv", needed=("Student_id", "Student_email"),
    )  # fmt: skip
    assert (list(table.rows), table.damaged) == ([2], [3])


# ---- what is kept of a row ----------------------------------------------------------------------


def test_needed_columns_have_their_names_and_others_their_places() -> None:
    header = f"classId,userEmail,{HEADER.removesuffix(',classId')},,"
    table = read(f"{header}\n1,2,3,4,5,6,7,,9\n", needed=("userId", "classId"))
    assert table.rows == {2: ["1", "4"]}
    assert table.others == {2: {" 1": "2", " 2": "3", " 4": "5", " 5": "6", " 6": "7", " 7": None, " 8": "9"}}


def test_secret_columns_are_not_kept_whether_needed_or_not() -> None:
    table = read(
        "School_id,PASSWORD,Student_id,First_name,Last_name,Gender\nS1,hunter2,7,Leena,Parath,F\n",
        declared=CLEVER, file="students.csv", needed=("Password", "Student_id"),
    )  # fmt: skip
    assert (table.rows, table.others) == ({2: ["7"]}, {2: {" 0": "S1", " 3": "Leena", " 4": "Parath", " 5": "F"}})


@pytest.mark.parametrize(("body", "kept"), [
    pytest.param([LINE, LINE], False, id="one after the other"),
    pytest.param([LINE, "", LINE], True, id="a blank line between"),
    pytest.param(["a,b", LINE], True, id="a malformed line before"),
    pytest.param([LINE, "a,b", ""], False, id="a malformed line after all"),
    pytest.param(['a,b,c,d,"e\ne",f', LINE], True, id="a record of two lines"),
])  # fmt: skip
def test_lines_are_kept_only_where_counting_rows_does_not_give_them(
    tmp_path: Path, body: list[str], kept: bool
) -> None:
    path, target = tmp_path / "users.csv", tmp_path / "users.csv.parquet"
    path.write_text("\n".join([HEADER, *body, ""]))
    with engine.connect(tmp_path, ordered=True) as connection:
        read_file(connection, path, target, BATCH.file("users.csv"), BATCH, NAMES)
    assert ("line" in pq.read_schema(target).names) == kept
    assert sorted(duckdb.sql(f"SELECT line FROM {numbered(target)}").fetchall()) == [
        (2 + number + sum("\n" in line for line in body[:number]),)
        for number, line in enumerate(body)
        if line.count(",") == LINE.count(",")
    ]


def test_values_are_kept_as_text() -> None:
    assert read(f"{HEADER}\n007,1e5,true,null, x ,2015-03-09\n").rows == {
        2: ["007", "1e5", "true", "null", " x ", "2015-03-09"]
    }


def test_a_file_with_a_header_alone_has_no_rows() -> None:
    assert read(f"{HEADER}\n").rows == read(HEADER).rows == {}


# ---- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [
    pytest.param(f"{HEADER},,", id="trailing empty cells"),
    pytest.param(HEADER.replace(",", " , "), id="blanks around the names"),
    pytest.param('"' + HEADER.replace(",", '","') + '"', id="quoted names"),
    pytest.param(f"\ufeff{HEADER}", id="byte-order mark"),
])  # fmt: skip
def test_spellings_of_a_header_that_are_no_problem(header: str) -> None:
    table = read(f"{header}\n{LINE}{',' * (header.count(',') - 5)}\n")
    assert table.rows == {2: PLAIN}


def test_empty_cells_that_end_the_header_need_not_stand_on_the_lines() -> None:
    assert read(f"{HEADER},,\n\n{LINE}\n{LINE}\n").rows == {3: PLAIN, 4: PLAIN}


@pytest.mark.parametrize(("header", "said"), [
    (HEADER.replace("userId", "userid"), "the column userId is missing (is 'userid' meant?)"),
    (HEADER.removeprefix("schoolId,"), "the column schoolId is missing"),
    (f"{HEADER},userId", "the column userId stands there 2 times"),
    (f"{HEADER},shoeSize", "the column 'shoeSize' is not known"),
    (f"{HEADER},,userEmail", "column 7 has no name"),
    (f"\n{HEADER}", "the line is blank; remove it"),
    (f",,,,\n{HEADER}", "the line is blank; remove it"),
    (f"sep=,\n{HEADER}", "the line is a note for Excel; remove it"),
    (f'"sep=;"\n{HEADER}', "the line is a note for Excel; remove it"),
    (HEADER.replace(",", ";"), "the file is separated by semicolons; save it with commas"),
    ('"' + HEADER.replace(",", '";"') + '"', "the file is separated by semicolons; save it with commas"),
    (HEADER.replace(",", "\t"), "the file is separated by tabs; save it with commas"),
    ("a;b\tc", "the column userId is missing"),
])  # fmt: skip
def test_a_header_that_cannot_be_used_is_refused_with_what_is_wrong(header: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        read(f"{header}\n{LINE}\n")
    assert (refused.value.code, refused.value.file, refused.value.line) == ("FILE-HEADER", "users.csv", 1)
    assert said in str(refused.value)


def test_all_that_is_wrong_with_a_header_is_said_at_once() -> None:
    with pytest.raises(Refused, match="schoolId is missing.*userLastName is missing.*column 'shoeSize' is not known"):
        read("userId,userRole,userFirstName,shoeSize\n")


@pytest.mark.parametrize("name", ["Leena", "Acton", "Userly", "ClassNam"])
def test_a_first_row_in_the_place_of_the_header_is_not_quoted_however_like_a_header_a_name_is(name: str) -> None:
    with pytest.raises(Refused, match="the columns 1, 2, 3, 4, 5, 6 are not known") as refused:
        read(f"S1,300,student,{name},Parath,C1\nS1,301,student,Bo,Li,C1\n")
    assert not any(value in str(refused.value) for value in ("300", name, "Parath"))


def test_a_header_of_which_one_required_column_can_be_recognised_is_quoted() -> None:
    with pytest.raises(Refused, match=r"'user id' \(is 'userId' meant\?\), 'shoe\\x1bsize' are not known"):
        read("user id,shoe\x1bsize\n")


def test_ten_thousand_unknown_columns_make_a_short_message() -> None:
    strangers = ",".join(f"x{number}" for number in range(10_000))
    with pytest.raises(Refused, match="'x0', 'x1'.*, 'x9' and 9,990 more are not known") as refused:
        read(f"{HEADER},{strangers}\n")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("cells", "said"), [
    (["x" * 140_000], f"the column '{'x' * 80}…' is not known"),
    (["x" * LONGEST], "longer than two million characters"), (["x", "x"], "the column 'x' stands there 2 times"),
    ([""] * 300 + ["x"], "column 7 has no name; .* and 290 more"),
    ([str(n // 2) for n in range(60)], "'0' stands there 2 times; .* and 20 more"),
])  # fmt: skip
def test_a_header_of_any_length_is_refused_in_a_few_words(cells: list[str], said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        read(f"{HEADER},{','.join(cells)}\n")
    assert len(str(refused.value)) < 900


def test_the_district_may_rename_headers() -> None:
    table = read(f"{HEADER.replace('userId', 'sis id')}\n{LINE}\n", renames={"sis id": "userId"})
    assert table.rows == {2: PLAIN}
    assert table.result.header.as_written[1] == "sis id"


def test_clever_headers_may_differ_in_case_and_have_strangers() -> None:
    table = read(
        "SCHOOL_ID,shoe size,section_id,Student_id\nS1,44,X1,7\n",
        declared=CLEVER, file="enrollments.csv", needed=("School_id", "Section_id", "Student_id"),
    )  # fmt: skip
    assert (table.rows, table.others) == ({2: ["S1", "X1", "7"]}, {2: {" 1": "44"}})


@pytest.mark.parametrize("name", ["o'clock", 'the "id"', "a, b", 'x"; DROP TABLE a; --', "%s {}", "c1"])
def test_a_needed_column_of_any_name_is_stored_under_it(name: str) -> None:
    header = as_record(["School_id", "Section_id", "Student_id", name])
    table = read(f"{header}\nS1,X1,7,8\n", declared=CLEVER, file="enrollments.csv", needed=("Student_id", name))
    assert table.rows == {2: ["7", "8"]}


@pytest.mark.parametrize("stranger", ["shoe\x07size", '"shoe size', 'shoe "size"x,"y'])
def test_a_damaged_header_line_is_refused_and_no_row_is_taken_for_it(stranger: str) -> None:
    with pytest.raises(Refused, match="FILE-HEADER") as refused:
        read(
            f"School_id,Section_id,Student_id,{stranger}\nS1,X1,7,44\nS1,X1,8,44\n",
            declared=CLEVER, file="enrollments.csv", needed=("School_id", "Section_id", "Student_id"),
        )  # fmt: skip
    assert refused.value.line == 1


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", " \t\r\n"])
def test_an_empty_file_is_refused(content: str) -> None:
    with pytest.raises(Refused, match="FILE-EMPTY"):
        read(content)


# ---- files that are cut -------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["a,b", 'a,b,c,d,e,"f', 'a,"b\nc', "a,b\0", 'a,b,c,d,5"x,"'])
def test_a_file_that_ends_in_mid_line_is_refused(last: str) -> None:
    with pytest.raises(Refused, match="FILE-INCOMPLETE") as refused:
        read(f"{HEADER}\n{LINE}\n{last}")
    assert refused.value.line == 3 + last.count("\n")


def test_a_damaged_last_line_with_its_line_end_is_a_finding_like_any_other() -> None:
    assert read(f"{HEADER}\n{LINE}\na,b\n").damaged == [3]


def test_an_unended_last_line_that_is_whole_is_read_and_told() -> None:
    table = read(f"{HEADER}\na,b\n{LINE}")
    assert (list(table.rows), table.result.unended) == ([3], 3)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_last_line_with_its_line_end_is_not_told(end: str) -> None:
    assert read(f"{HEADER}\n{LINE}{end}").result.unended is None


# ---- the parser and the lines must agree --------------------------------------------------------


def test_a_parser_that_sees_other_records_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reading._read_csv
    monkeypatch.setattr(reading, "_read_csv", lambda *asked: f"{whole(*asked)} LIMIT 1")
    with pytest.raises(Refused, match="1 records of 2"):
        read(f"{HEADER}\n{LINE}\n{LINE}\n")


# ---- an error file that comes back --------------------------------------------------------------

ERRORS = f"errors,{HEADER}"
DAMAGED_BEFORE = '"line 9: ROW-MALFORMED: it has too few fields"'


def test_a_corrected_error_file_is_read_without_its_errors_and_escapes() -> None:
    table = read(f"{ERRORS}\nline 4: ID-MISSING userId: empty,a,'=b,'c,''+d,'-1,f\n,a,b,c,d,e,f\n")
    assert table.rows == {2: ["a", "=b", "'c", "'+d", "-1", "f"], 3: PLAIN}
    assert table.result.header.corrected and table.result.header.as_written == list(NAMES)


def test_escapes_of_other_files_stay() -> None:
    table = read(f"{HEADER}\na,'=b,c,d,e,f\n")
    assert table.rows == {2: ["a", "'=b", "c", "d", "e", "f"]}
    assert not table.result.header.corrected


def test_a_malformed_line_is_read_once_its_values_stand_in_their_columns() -> None:
    assert read(f"{ERRORS}\n{DAMAGED_BEFORE},{LINE}\n").rows == {2: PLAIN}


@pytest.mark.parametrize(("field", "raw", "last"), [
    ("S1", "S1", 3), ("S1,,,,,", "S1", 3), ('"S1,2",,,,,', "S1,2", 3), ('"S1,2"', "S1,2", 3), ("'=1,,,,,", "=1", 3),
    ("'=1", "=1", 3), ('"a,""b",,,,,', 'a,"b', 3), ('"a\nb,c",,,,,', "a\nb,c", 4), ("S1\x07,,,,,", "S1\x07", 3),
])  # fmt: skip
def test_a_line_that_nobody_took_apart_stays_malformed(field: str, raw: str, last: int) -> None:
    table = read(f"{ERRORS}\n,{LINE}\n{DAMAGED_BEFORE},{field}\n,{LINE}\n")
    assert table.rows == {2: PLAIN, last + 1: PLAIN}
    assert [(one.line, one.last_line, one.raw) for one in table.malformed] == [(3, last, raw)]
    assert table.malformed[0].reason == "it still stands in one field; put its values into their columns"


def test_a_line_that_was_damaged_in_an_error_file_is_named_without_its_errors() -> None:
    table = read(f"{ERRORS}\nline 2: ID-MISSING: empty,a,b\n,{LINE},more\n")
    assert [(one.line, one.reason, one.raw) for one in table.malformed] == [
        (2, "it has too few fields", "a,b"), (3, "it has too many fields", f"{LINE},more"),
    ]  # fmt: skip


def test_headers_of_an_error_file_lose_their_escapes() -> None:
    table = read(
        "errors,School_id,Section_id,Student_id,'=1+1\n,S1,X1,7,8\n",
        declared=CLEVER, file="enrollments.csv", needed=("School_id", "Section_id", "Student_id"),
    )  # fmt: skip
    assert table.result.header.as_written[-1] == "=1+1"
    assert (table.rows, table.others) == ({2: ["S1", "X1", "7"]}, {2: {" 3": "8"}})


def test_a_column_of_errors_anywhere_else_is_not_known() -> None:
    with pytest.raises(Refused, match="'errors' is not known"):
        read(f"{HEADER},errors\n{LINE},\n")
