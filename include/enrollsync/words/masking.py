"""What could be a social security number is shown by its last four digits (rule 5)."""

from __future__ import annotations

import re
from random import SystemRandom
from string import ascii_lowercase
from typing import Any

_COULD_BE_A_NUMBER = re.compile(r"(?<![0-9])([0-9]{5}|[0-9]{3}-[0-9]{2}-)([0-9]{4})(?![0-9])")


def masked(text: str) -> str:
    """As `engine.masked`, which is SQL; here also within a source key."""
    return _COULD_BE_A_NUMBER.sub(r"*****\2", text)


def all_masked(value: Any) -> Any:
    """The value with every text in it masked."""
    if isinstance(value, dict):
        return {name: all_masked(part) for name, part in value.items()}
    if isinstance(value, list):
        return [all_masked(part) for part in value]
    return masked(value) if isinstance(value, str) else value


def new_name() -> str:
    """A name of 24 letters for what EnrollSync makes: digits in it would be masked where they look like a number."""
    return "".join(SystemRandom().choices(ascii_lowercase, k=24))
