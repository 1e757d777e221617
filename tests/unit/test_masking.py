"""What could be a social security number is masked, and a name that EnrollSync gives never is one."""

from __future__ import annotations

import re

import pytest

from enrollsync.words.masking import all_masked, masked, new_name


@pytest.mark.parametrize(("text", "shown"), [
    ("900123456", "*****3456"), ("900-12-3456", "*****3456"), ("students:900123456", "students:*****3456"),
    ("9001234567", "9001234567"), ("90012345", "90012345"), ("f900123456a", "f*****3456a"),
])  # fmt: skip
def test_nine_digits_are_shown_by_their_last_four(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert all_masked({"a": [text, 900123456], "b": None}) == {"a": [shown, 900123456], "b": None}


def test_a_new_name_is_one_of_its_own_and_has_nothing_that_is_masked() -> None:
    names = {new_name() for _ in range(100)}
    assert len(names) == 100 and all(re.fullmatch("[a-z]{24}", name) for name in names)
