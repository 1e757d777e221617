"""Formats that are known and cannot be read yet, so that whoever delivers one is told so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unread:
    """A known format without a reader."""

    title: str
    telling: tuple[str, ...]
    """Files (in lower case) any one of which tells it, as `Format.telling`."""


UNREAD: tuple[Unread, ...] = (
    Unread("Apple School Manager", ("locations.csv", "rosters.csv")),
    Unread("Microsoft School Data Sync", ("studentenrollment.csv", "teacherroster.csv")),
)
"""The first that fits is named."""
