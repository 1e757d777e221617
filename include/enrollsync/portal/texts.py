"""Every word of the portal that a visitor reads passes through here, so that it can be said in another language.

Templates write `_("...")`, modules `say("...")`; `pybabel extract` finds both. Until there is a catalogue, a text
says itself.
"""

from __future__ import annotations

from gettext import NullTranslations
from typing import Any

CATALOGUE = NullTranslations()


def say(text: str, **values: Any) -> str:
    """The text in the visitor's language, with `{name}` replaced by values."""
    translated = CATALOGUE.gettext(text)
    return translated.format(**values) if values else translated


def count_of(number: int, one: str, many: str) -> str:
    """`1 student`, `2 students`: the number and the word that goes with it."""
    return f"{number:,} {CATALOGUE.ngettext(one, many, number)}"
