"""Words of a name as a search compares them."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollsync.words.folding import words_in, words_of


@pytest.mark.parametrize(("name", "words"), [
    ("García Márquez", ["garcia", "marquez"]),
    ("MÜLLER", ["muller"]),
    ("Mu\u0308ller", ["muller"]),
    ("O'Brien-Smith", ["obrien", "smith"]),
    ("O’Brien", ["obrien"]),
    ("Łukasz Bjørn Weiß", ["lukasz", "bjorn", "weiss"]),
    ("ΟΔΥΣΣΕΥΣ", ["οδυσσευσ"]),
    ("Ann  ann", ["ann"]),
    ("김민준", ["김민준"]),
    (" - ", []),
])  # fmt: skip
def test_a_name_is_cut_into_words_without_case_and_accents(name: str, words: list[str]) -> None:
    assert words_of(name) == words


_ENGINE = duckdb.connect()
# What Unicode has not assigned yet, one of both may know already.
_NAMES = st.text(st.characters(exclude_categories=("Cs", "Cn"), exclude_characters="\0"), max_size=12)


@given(st.lists(_NAMES, min_size=1, max_size=50))
def test_duckdb_and_python_cut_alike(names: list[str]) -> None:
    rows = _ENGINE.execute(f"SELECT {words_in('name')} FROM (SELECT unnest(?::VARCHAR[]) AS name)", [names]).fetchall()
    assert [sorted(words) for (words,) in rows] == [sorted(words_of(name)) for name in names]
