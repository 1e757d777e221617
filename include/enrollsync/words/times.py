"""How an instant is told to a person: in the district's time zone, with the zone's name."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def told(moment: datetime, zone: ZoneInfo) -> str:
    """`2026-11-03 02:00 (America/New_York)`."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M} ({zone})"
