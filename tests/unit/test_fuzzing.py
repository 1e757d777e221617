"""A bounded share of `fuzzing.py`, and that it sees what it is there to see."""

from __future__ import annotations

import random

import pytest

from damage import Told, complaints_on
from enrollsync.formats import delivered
from fuzzed_deliveries import IDENTIFIERS, came_back, fuzz_deliveries
from fuzzed_files import fuzz_files

LINES = ["h1,h2", "a,b", '"a', 'b",c', "", ",", "a,b,"]
SOUND = Told({2: ["a", "b"], 3: ["a\nb", "c"]}, [(7, 7)], [6], 2)


@pytest.mark.parametrize("name", sorted(delivered()))
def test_every_line_of_damaged_files_is_accounted_for(name: str) -> None:
    counts, wrong = fuzz_files(name, range(1, 301), whole=15)
    assert wrong == []
    assert (counts["split"], counts["parsed"]) == (280, 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(IDENTIFIERS))
def test_every_line_of_damaged_deliveries_is_accounted_for(name: str) -> None:
    counts, wrong = fuzz_deliveries(name, range(1, 4), whole=3)
    assert wrong == []
    assert counts.total() >= 3 and not counts["broken"]


def test_a_returned_line_that_nobody_took_apart_may_be_told_as_malformed_and_a_row_may_not() -> None:
    returned = ["errors,h1,h2", '"line 2: ROW-MALFORMED: x","a,b,c",', "line 3: VAL-INVALID: y,a,b"]
    row = {3: None}
    assert list(complaints_on(returned, Told(row, [(2, 2)], [], 3))) == []
    assert "line 3 is sound, but told as malformed" in complaints_on(returned, Told({}, [(2, 2), (3, 3)], [], 3))


def test_an_error_file_comes_back_as_it_is_damaged_or_with_sound_values() -> None:
    errors, sound = b"errors,h1\nline 4: x,a\n", b"h1\nb\nc\n"
    returned = {came_back(random.Random(case), errors, sound) for case in range(40)}
    assert {errors, b"errors,h1\nline 4: x,b\n", b"errors,h1\nline 4: x,c\n"} < returned
    assert len(returned) > 10


def test_a_file_that_is_told_rightly_gives_no_complaint() -> None:
    assert list(complaints_on(LINES, SOUND)) == []


@pytest.mark.parametrize(("told", "complaint"), [
    (Told({3: ["a\nb", "c"]}, [(7, 7)], [6], 2), "line 2 is sound, but told as nothing"),
    (Told({2: ["a", "b"]}, [(7, 7)], [6], 2), "what follows it is told by nothing"),
    (Told({2: ["a", "x"], 3: ["a\nb", "c"]}, [(7, 7)], [6], 2), "line 2 was read otherwise"),
    (Told(SOUND.rows, [(2, 2), (7, 7)], [6], 2), "line 2 is told as row and as malformed"),
    (Told({**SOUND.rows, 7: ["a", "b"]}, [], [6], 2), "line 7 has 3 fields"),
    (Told({**SOUND.rows, 6: ["", ""]}, [(7, 7)], [], 2), "line 6 has no values"),
    (Told(SOUND.rows, [(7, 8)], [6], 2), "line 8 is told as malformed, but the file has 7"),
])  # fmt: skip
def test_a_file_that_is_told_wrongly_gives_a_complaint(told: Told, complaint: str) -> None:
    assert any(complaint in said for said in complaints_on(LINES, told))
