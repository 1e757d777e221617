"""Physical lines and the records they form, as an editor numbers them."""

from __future__ import annotations

import encodings.aliases
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from enrollsync.ingest.lines import Records, Text, load_text, record_width, split_records
from enrollsync.settings import SourceSettings
from enrollsync.words.errors import Refused

HEADER = "h1,h2,h3,h4,h5,h6"
PLAIN = "a,b,c,d,e,f"
WIDTH = 6

values = st.lists(st.text("ab,\"\n\r \té\u2028😀'", max_size=4), min_size=WIDTH, max_size=WIDTH)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])


def as_record(fields: list[str], *, quote_all: bool = False) -> str:
    """One CSV record without its line end."""
    return ",".join(
        f'"{field.replace(chr(34), chr(34) * 2)}"' if quote_all or re.search('[,"\r\n]', field) else field
        for field in fields
    )


def is_valueless(fields: list[str]) -> bool:
    return not "".join(fields).strip(" \t")


def count_ends(text: str) -> int:
    """How many lines an editor begins within a text."""
    return len(re.findall("\r\n|\r|\n", text))


def load(tmp: Path, content: str | bytes, encoding: str = "utf-8") -> Text:
    path = tmp / "users.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_text(path, encoding)


def split(tmp: Path, content: str) -> Records:
    return split_records(load(tmp, content), WIDTH)


def spans(records: Records) -> list[tuple[int, int]]:
    """First and last line of each record, 1-based, without the header."""
    return [(int(a) + 1, int(b) + 1) for a, b in zip(records.first, records.last, strict=True)][1:]


# ---- whole records ------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(values, st.booleans(), st.integers(0, 2)), max_size=6),
    end=line_ends, mark=st.booleans(), ended=st.booleans(),
)  # fmt: skip
def test_every_record_starts_and_ends_where_an_editor_shows_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[str], bool, int]], end: str, mark: bool,
    ended: bool,
) -> None:  # fmt: skip
    text, line, expected = ("\ufeff" if mark else "") + HEADER, 1, []
    for fields, quote_all, blank_lines in rows:
        record = as_record(fields, quote_all=quote_all)
        text += end * (1 + blank_lines) + record
        first = line + 1 + blank_lines
        line = first + count_ends(record)
        if not is_valueless(fields):
            expected.append((first, line))
    records = split(tmp_path_factory.mktemp("text"), text + (end if ended else ""))
    assert spans(records) == expected
    assert records.malformed == []


def test_a_file_is_the_same_whatever_stretch_of_it_is_looked_at_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = "a,b\x01,c,d,e,f", "a,b\x7f,c,d,e,f", "a,\x85b,c,d,e,f", '"a"b,c,d,e,f,g', '"a,",b,c,d,e,f,'
    content = "\n".join([HEADER, PLAIN, "", 'a,b,"c\nc",d,e,f', *damaged, PLAIN])
    whole = split(tmp_path, content)
    monkeypatch.setattr("enrollsync.ingest.lines._CHUNK", 3)
    monkeypatch.setattr("enrollsync.ingest.lines._LINES", 2)
    assert spans(split(tmp_path, content)) == spans(whole) == [(2, 2), (4, 5), (11, 11)]
    assert split(tmp_path, content).malformed == whole.malformed
    assert [bad.line for bad in whole.malformed] == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u1c1c"])
def test_other_separators_of_unicode_end_no_line(tmp_path: Path, separator: str) -> None:
    assert spans(split(tmp_path, f"{HEADER}\na,b{separator},c,d,e,f\n{PLAIN}\n")) == [(2, 2), (3, 3)]


# ---- damaged lines ------------------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "reason"), [
    pytest.param('a,b,c,d,e,"f', "a quotation mark is never closed", id="unclosed in the last field"),
    pytest.param('a,"b,c,d,e,f', "a quotation mark is never closed", id="unclosed in the middle"),
    pytest.param('a,b,c,d,e,"', "a quotation mark is never closed", id="a mark alone"),
    pytest.param('a, "b,c,d,e,f', "a quotation mark is never closed", id="unclosed after a blank"),
    pytest.param('a,5" pipe,"c,d,e,f', "a quotation mark is never closed", id="unclosed after a stray one"),
    pytest.param('a,5" pipe, "c,d,e,f', "a quotation mark is never closed", id="unclosed after both"),
    pytest.param('a,"b"x,c,d,e,f', "text follows a closing quotation mark", id="text after a closing mark"),
    pytest.param('a,"b"x","c,d,e,f', "text follows a closing quotation mark", id="text and an unclosed mark"),
    pytest.param("a,b\0,c,d,e,f", "it has control characters", id="NUL"),
    pytest.param("a,b\x1f,c,d,e,f", "it has control characters", id="control character"),
    pytest.param("a,b\x7f,c,d,e,f", "it has control characters", id="DEL"),
    pytest.param("a,b\x0c,c,d,e,f", "it has control characters", id="form feed"),
    pytest.param("a,b\x85,c,d,e,f", "it has control characters", id="NEL, a control character of the second set"),
])  # fmt: skip
@pytest.mark.parametrize("after", [PLAIN, 'a,"b",c,d,e,f', 'a,"b\n",c,d,e,f', '"","","","","","x"'])
def test_a_damaged_line_is_taken_out_alone(tmp_path: Path, bad: str, reason: str, after: str) -> None:
    records = split(tmp_path, f"{HEADER}\n{PLAIN}\n{bad}\n{PLAIN}\n{after}\n{PLAIN}\n")
    assert [(one.line, one.last_line, one.reason, one.raw) for one in records.malformed] == [(3, 3, reason, bad)]
    assert [first for first, _ in spans(records)] == [2, 4, 5, 6 + after.count("\n")]


@pytest.mark.parametrize(("line", "reason"), [
    *((line, "it has too many fields") for line in (
        f"{PLAIN},", f"{PLAIN},,", f'{PLAIN},""', f'{PLAIN},"" ', f'{PLAIN}, ""', "a,Smith, Jr,d,e,f,", "a,b,c,d,e,,",
        ",b,,,,,", 'a,"b, x",c,d,e,f,', '"a","b","c","d","e","f",', '"a","b","c","d","e","f",""', f"{PLAIN},g",
        'a,5" pipe,c,d,e,f,', '"a" ,b,c,d,e,f,',
    )),
    *((line, "it has too few fields") for line in (
        "a", "a,b,c,d,e", '"a,b,c,d,e,f"', 'a,"b, x",c,d,e', 'a,5" pipe,c,d,e', "a,b,,,",
    )),
])  # fmt: skip
@pytest.mark.parametrize("after", [PLAIN, 'a,"b",c,d,e,f', 'a,"b\n",c,d,e,f', 'a,b",c,"d,e,f,'])
def test_a_line_with_an_empty_field_too_many_or_with_other_fields_is_no_record(
    tmp_path: Path, line: str, reason: str, after: str
) -> None:
    records = split(tmp_path, f"{HEADER}\n{PLAIN}\n{line}\n{after}\n{PLAIN}\n")
    assert (records.malformed[0].line, records.malformed[0].reason, records.malformed[0].raw) == (3, reason, line)
    assert [first for first, _ in spans(records)] == [2, *([] if after.endswith(",") else [4]), 5 + after.count("\n")]


@pytest.mark.parametrize("line", [
    "a,b,c,d,e,", "a,,,,,", ",b,,,,", 'a,b,c,d,e,""', 'a,"b, x",c,d,e,', '"a","b,,","c","d",",",', 'a,"b""x,",c,d,e,',
    'a,5" pipe,c,d,e,', 'a,"b\nb,",c,d,e,', '","," ",",,",",",",",","', 'a, "b,b" ,c,d,e,',
])  # fmt: skip
def test_a_line_whose_last_field_is_empty_is_a_record(tmp_path: Path, line: str) -> None:
    records = split(tmp_path, f"{HEADER}\n{line}\n{PLAIN}\n")
    assert (records.malformed, spans(records)[0]) == ([], (2, 2 + line.count("\n")))


@pytest.mark.parametrize("line", [
    ",", ",,,,,", ",,,,,,,,", " , ,,,,", '"","","","","",""', '"", " ",,,,', "  ", "\t,,,,,", '""',
])  # fmt: skip
def test_a_line_of_commas_is_neither_a_record_nor_malformed(tmp_path: Path, line: str) -> None:
    records = split(tmp_path, f"{HEADER}\n{PLAIN}\n{line}\n\n{PLAIN}\n{line}\n")
    assert (records.malformed, spans(records)) == ([], [(2, 2), (5, 5)])
    assert (records.valueless + 1).tolist() == [3, 6]


@pytest.mark.parametrize("line", ['",",,,,,', '"""",,,,,', ",,\xa0,,,", "-,,,,,", '","," ",,,,'])
def test_a_line_with_any_value_is_not_passed_over(tmp_path: Path, line: str) -> None:
    records = split(tmp_path, f"{HEADER}\n{line}\n")
    assert (spans(records), records.valueless.tolist()) == ([(2, 2)], [])


@pytest.mark.parametrize("first", ["a,b,c", 'a,"b\nb",c,d,e,f', 'a,"b,c,d,e,f', "a,b\0,c,d,e,f", f"{PLAIN},,,g"])
@pytest.mark.parametrize("padding", ["", ",", ",,", ',"", ""'])
def test_empty_cells_that_end_the_header_stand_on_the_lines_or_not_as_most_lines_say(
    tmp_path: Path, first: str, padding: str
) -> None:
    text = load(tmp_path, f"{HEADER},,\n{first}\n{PLAIN}{padding}\na,b,c,d,e,{padding}\n{PLAIN}{padding},\n")
    records = split_records(text, record_width(text))
    assert record_width(text) == WIDTH + padding.count(",")
    line = 3 + first.count("\n")
    assert spans(records)[-2:] == [(line, line), (line + 1, line + 1)]
    assert records.malformed[-1].line == line + 2


@pytest.mark.parametrize("line", [
    'a,5" pipe,c,d,e,f', 'a,5" by 6",c,d,e,f', 'a, "b, x",c,d,e,f', 'a,"b" ,c,d,e,f', ' "a",b,c,d,e,"f"  ',
    '"","""",",",""",""","",""', "a,b\tc,c,d,e,f",
])  # fmt: skip
def test_unusual_but_readable_quotation_marks_are_left_to_the_parser(tmp_path: Path, line: str) -> None:
    records = split(tmp_path, f"{HEADER}\n{line}\n{PLAIN}\n")
    assert (spans(records), records.malformed) == ([(2, 2), (3, 3)], [])


def test_a_control_character_within_a_record_of_several_lines_takes_it_out_whole(tmp_path: Path) -> None:
    records = split(tmp_path, f'{HEADER}\n{PLAIN}\na,"b\n\x07\nc",c,d,e,f\n{PLAIN}\n')
    assert [(one.line, one.last_line) for one in records.malformed] == [(3, 5)]
    assert spans(records) == [(2, 2), (6, 6)]


def test_a_stray_mark_before_a_record_of_several_lines_does_not_take_it_along(tmp_path: Path) -> None:
    records = split(tmp_path, f'{HEADER}\na,b,c,d,e,"f\n{PLAIN}\na,"b\nc",c,d,e,f\n{PLAIN}\n')
    assert [one.line for one in records.malformed] == [2]
    assert spans(records) == [(3, 3), (4, 5), (6, 6)]


def test_a_record_of_several_lines_may_have_a_stray_mark_before_its_line_break(tmp_path: Path) -> None:
    records = split(tmp_path, f'{HEADER}\na,5" pipe,"c\nd",d,e,f\n{PLAIN}\n')
    assert (spans(records), records.malformed) == ([(2, 3), (4, 4)], [])


def test_the_bytes_for_the_parser_are_the_sound_records_alone(tmp_path: Path) -> None:
    text = load(tmp_path, f'\ufeff{HEADER}\r\n\r\na,"b\r\nc",c,d,e,f\r\na,\0\r\n{PLAIN}')
    assert b"".join(text.kept(split_records(text, WIDTH))).decode() == f'{HEADER}\na,"b\nc",c,d,e,f\n{PLAIN}\n'


# ---- encodings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoded", "encoding"), [
    (b"h\xef\xbb\xbf", "utf-8"), ("hé".encode(), "utf-8"), ("hé".encode("cp1252"), "cp1252"),
    ("hé".encode("utf-16"), "utf-8"), ("hé".encode("utf-8-sig"), "utf-8"),
])  # fmt: skip
def test_a_text_is_read_in_its_encoding(tmp_path: Path, encoded: bytes, encoding: str) -> None:
    assert load(tmp_path, encoded, encoding).line(0) in {"hé", "h\ufeff"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("encoding", "bad"), [("utf-8", b"\xe9"), ("utf-16", b"\x00\xdc"), ("cp1252", b"\x81")])
def test_a_byte_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, end: str, encoding: str, bad: bytes) -> None:
    text = f"{HEADER}{end}Ċa\u0a0a,b{end}" if encoding != "cp1252" else f"{HEADER}{end}a,b{end}"
    content = text.encode(encoding) + bad + f",b{end}".encode(encoding).removeprefix(b"\xff\xfe")
    with pytest.raises(Refused) as refused:
        load(tmp_path, content, encoding)
    assert (refused.value.code, refused.value.line) == ("FILE-ENCODING", 3)


NO_TEXT_FILES = {
    "base64_codec", "bz2_codec", "hex_codec", "idna", "mbcs", "punycode", "quopri_codec", "raw_unicode_escape",
    "rot_13", "undefined", "unicode_escape", "utf_7", "uu_codec", "zlib_codec",
}  # fmt: skip


@pytest.mark.parametrize("encoding", sorted({*encodings.aliases.aliases.values(), *NO_TEXT_FILES, "utf_8_sig"}))
def test_whatever_the_encoding_is_it_is_refused_or_a_file_is_read_in_it_or_refused(
    tmp_path: Path, encoding: str
) -> None:
    settings_of_source = {"path": "x", "encoding": encoding}
    if encoding in NO_TEXT_FILES:
        with pytest.raises(ValidationError, match="is no encoding of text files"):
            SourceSettings.model_validate(settings_of_source)
        return
    assert SourceSettings.model_validate(settings_of_source).encoding == encoding
    chance = random.Random(encoding)
    for content in ("h\né".encode(), b"\\ud800\n+2AA-", *(chance.randbytes(300) for _ in range(20))):
        try:
            assert load(tmp_path, content, encoding).data.decode()
        except Refused as refused:
            assert refused.code == "FILE-ENCODING"


@pytest.mark.parametrize(("content", "title"), [
    (b"\x89PNG\r\n\x1a\n\0\0", "PNG"), (b"\xff\xd8\xff\xe0", "JPEG"), (b"%PDF-1.7\n\xe2\xe3", "PDF"),
    (b"PK\x03\x04\x14\0\x08\xff", "spreadsheet"),
])  # fmt: skip
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path: Path, content: bytes, title: str) -> None:
    with pytest.raises(Refused, match=title):
        load(tmp_path, content)


def test_a_file_that_may_not_be_read_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "users.csv").mkdir()
    with pytest.raises(Refused, match=r"FILE-MISSING users\.csv: it cannot be read") as refused:
        load_text(tmp_path / "users.csv")
    assert refused.value.code == "FILE-MISSING"
