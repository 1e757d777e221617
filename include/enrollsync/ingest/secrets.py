"""Takes out of damaged lines what no one may keep: values of secret columns, wherever they may have moved."""

from __future__ import annotations

import re


def without_secrets(raw: str, header: list[str], secret_columns: list[str]) -> str:
    """A malformed line as delivered, but for the places where a secret value could stand.

    A line with n fields too many has its values shifted right by at most n places, one with n too few left: so many
    places beside a secret column are emptied too. Splitting at every comma and line break, quoted or not, only makes
    that stretch longer.
    """
    secret = {position for position, column in enumerate(header) if column in secret_columns}
    if not secret:
        return raw
    parts = re.split(r"(\r\n|\r|\n)", raw)
    return "".join(_emptied(part, secret, len(header)) if index % 2 == 0 else part for index, part in enumerate(parts))


def hides(raw: str, header: list[str], secret_columns: list[str], identifier: str) -> bool:
    """Whether the damage may have moved the identifier to a place that `without_secrets` empties."""
    secret = {position for position, column in enumerate(header) if column in secret_columns}
    places = (_reach(header.index(identifier), _shift(line, len(header))) for line in raw.splitlines())
    return any(
        not reach.isdisjoint(_hidden(secret, _shift(line, len(header))))
        for line, reach in zip(raw.splitlines(), places, strict=True)
    )


def _shift(line: str, width: int) -> int:
    return line.count(",") + 1 - width


def _reach(position: int, shift: int) -> set[int]:
    return set(range(position + min(shift, 0), position + max(shift, 0) + 1))


def _hidden(secret: set[int], shift: int) -> set[int]:
    return {place for at in secret for place in _reach(at, shift)}


def _emptied(line: str, secret: set[int], width: int) -> str:
    fields = line.split(",")
    hidden = _hidden(secret, len(fields) - width)
    return ",".join("" if position in hidden else value for position, value in enumerate(fields))
