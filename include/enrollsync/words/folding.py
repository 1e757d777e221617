"""Words of a name as a search compares them: without case and accents, and how a name is cut into words.

Told twice, in SQL for the many names of a night and in Python for the few words of a question; a test compares them.
"""

from __future__ import annotations

import re
import unicodedata

_UNDECOMPOSED = str.maketrans("øłđħŧıς", "oldhtiσ")
"""Letters that look like another one with a mark, but are none to Unicode; and the sigma that ends a word."""
_LIGATURES = {"ß": "ss", "æ": "ae", "œ": "oe"}
_WITHIN_WORDS = "['’ʼ`´]"
"""Apostrophes: O'Brien is one word."""
_BETWEEN_WORDS = r"[^\p{L}\p{N}]+"


def words_of(text: str) -> list[str]:
    """The words of a text, folded; none twice."""
    whole = re.sub(_WITHIN_WORDS, "", text)
    if whole.isascii():  # the same for most names, a page of which has thousands, ten times as fast
        return list(dict.fromkeys(re.findall("[a-z0-9]+", whole.lower())))
    folded = _folded(whole)
    spaced = "".join(letter if unicodedata.category(letter)[0] in "LN" else " " for letter in folded)
    return list(dict.fromkeys(spaced.split()))


def _folded(text: str) -> str:
    """Marks are whatever stands beside a letter once it is decomposed."""
    decomposed = unicodedata.normalize("NFD", text.lower())
    plain = "".join(letter for letter in decomposed if unicodedata.category(letter)[0] != "M")
    for ligature, letters in _LIGATURES.items():
        plain = plain.replace(ligature, letters)
    return unicodedata.normalize("NFC", plain).translate(_UNDECOMPOSED)


def words_in(text: str) -> str:
    """SQL for the same list, as DuckDB spells it."""
    plain = f"strip_accents(lower(regexp_replace({text}, '{_WITHIN_WORDS.replace(chr(39), chr(39) * 2)}', '', 'g')))"
    for ligature, letters in _LIGATURES.items():
        plain = f"replace({plain}, '{ligature}', '{letters}')"
    similar, letter = "".join(map(chr, _UNDECOMPOSED)), "".join(map(chr, _UNDECOMPOSED.values()))
    translated = f"translate({plain}, '{similar}', '{letter}')"
    return rf"list_distinct(list_filter(string_split_regex({translated}, '{_BETWEEN_WORDS}'), lambda word: word <> ''))"
