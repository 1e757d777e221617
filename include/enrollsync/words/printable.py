"""Texts of others (names of files, headers, keys) as a message may quote them: one line, no control characters, short.

Every error and notice makes its own text printable; what is left to whoever words one is to keep it short.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

_LONGEST = 80
"""Characters of one text that are quoted; names of files and columns are shorter."""
_MOST = 10
"""Texts of a list that are quoted; who has more mistakes than that has one mistake."""


def printable(text: str) -> str:
    r"""The text as one line that a terminal takes: whatever does not print is written as `\n`, `\x1b`, `\u202e`.

    Bytes of a file's name that are no UTF-8 become the character for what cannot be shown.
    """
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return "\ufffd" if "\ud800" <= character <= "\udfff" else character.encode("unicode_escape").decode()


def shortened(text: str) -> str:
    """The text made printable, and cut where it is longer than a name is."""
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def quoted(text: str) -> str:
    """The text as a message quotes it, in apostrophes."""
    return f"'{shortened(text)}'"


def first_of(texts: Sequence[str], separator: str = ", ") -> str:
    """The first ten of the texts and how many more there are: `a, b and 9,990 more`."""
    told = separator.join(texts[:_MOST])
    return told if len(texts) <= _MOST else f"{told} and {len(texts) - _MOST:,} more"


def shown(name: str) -> str:
    """A file's name as text: bytes of it that are no UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")
