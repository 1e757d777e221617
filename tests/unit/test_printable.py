"""What others wrote, where a message quotes it."""

from __future__ import annotations

import pytest

from enrollsync.run.workspace import Notice
from enrollsync.words.codes import Severity
from enrollsync.words.errors import ConfigurationError, Refused
from enrollsync.words.printable import first_of, printable, quoted

EVIL = "a\x1b[2Jb\nc\rd\te\x85f\u202eg\u2028h\x00"
TAME = r"a\x1b[2Jb\nc\rd\te\x85f\u202eg\u2028h\x00"


@pytest.mark.parametrize(("text", "told"), [
    ("", ""), ("users (1).csv", "users (1).csv"), ("Schüler 😀.csv", "Schüler 😀.csv"), (r"a\nb", r"a\nb"),
    (EVIL, TAME), ("r\udce9.csv", "r\ufffd.csv"),
])  # fmt: skip
def test_only_what_does_not_print_is_escaped_and_only_once(text: str, told: str) -> None:
    assert printable(text) == printable(printable(text)) == told
    told.encode()


def test_a_long_text_is_cut_where_it_is_quoted() -> None:
    assert quoted("é" * 80) == f"'{'é' * 80}'"
    assert quoted("\n" + "é" * 131_072) == rf"'\n{'é' * 79}…'"


def test_of_many_texts_the_first_are_told_and_how_many_more() -> None:
    assert first_of(["a", "b"]) == "a, b"
    assert first_of([str(number) for number in range(10_000)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 9,990 more"


def test_an_error_is_one_line_without_control_characters() -> None:
    assert str(ConfigurationError(f"`{EVIL}` is no key")) == f"`{TAME}` is no key"
    assert str(Refused("FILE-HEADER", EVIL, file=EVIL, line=1)) == f"FILE-HEADER {TAME}, line 1: {TAME}"


def test_a_notice_is_one_line_without_control_characters() -> None:
    for notice in (
        Notice(code="FILE-IGNORED", severity=Severity.INFO, message=EVIL, file=EVIL),
        Notice.of("FILE-IGNORED", EVIL, file=EVIL),
    ):
        assert (notice.message, notice.file) == (TAME, TAME)
