"""Blanks around a value: they are removed before anything looks at it, and told (`VAL-TRIMMED`)."""

from __future__ import annotations

BLANKS = " \t\n\r\xa0"
"""What is removed; other blanks are characters like any."""


def trimmed(text: str | None) -> str | None:
    """The value without the blanks around it, as a cell of a delivery is read; None where nothing is left."""
    return (text or "").strip(BLANKS) or None
