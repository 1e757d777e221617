"""Formats that are known and cannot be read yet, so that whoever delivers one is told so."""

from __future__ import annotations

from dataclasses import dataclass

from enrollsync.formats.declare import Source


@dataclass(frozen=True)
class Unread:
    """A known format without a reader."""

    title: str
    telling: tuple[str, ...]
    """Files (in lower case) any one of which tells it, as `Format.telling`."""
    source: Source | None = None
    """Whose it is, where a district may already name that one."""


UNREAD: tuple[Unread, ...] = (
    Unread("Apple School Manager", ("locations.csv", "rosters.csv")),
    Unread("Microsoft School Data Sync", ("studentenrollment.csv", "teacherroster.csv")),
    Unread(
        "OneRoster",
        ("orgs.csv", "manifest.csv", "academicsessions.csv", "courses.csv"),
        Source("oneroster", "OneRoster", third_party=True),
    ),
)
"""The first that fits is named."""
