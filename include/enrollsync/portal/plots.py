"""Numbers by night, as a page draws them and tells them in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from enrollsync.portal.texts import say

LINES = 5
"""Of one plot; what is less stands in a sixth, together."""


@dataclass(frozen=True)
class Plot:
    """A line for each name."""

    label: str
    names: list[str]
    nights: list[tuple[date, list[int]]]
    """Each with a number for each name, the oldest first."""


def one_line(nights: Iterable[tuple[datetime, int]], label: str, name: str, zone: ZoneInfo) -> Plot:
    """The number after the last run of each day of the district."""
    by_day = {began.astimezone(zone).date(): [number] for began, number in nights}
    return Plot(label, [name], list(by_day.items()))


def largest_lines(
    label: str, nights: Sequence[tuple[date, Mapping[str, int]]], called: Callable[[list[str]], Mapping[str, str]]
) -> Plot | None:
    """Lines of the keys that have most in the last night, then in all; None where there is nothing.

    `called` says what keys are called.
    """
    totals: dict[str, tuple[int, int]] = {}
    for place, (_, numbers) in enumerate(nights):
        for key, number in numbers.items():
            _, before = totals.get(key, (0, 0))
            totals[key] = (number if place == len(nights) - 1 else 0), before + number
    keys = sorted((key for key in totals if totals[key][1]), key=lambda key: (*(-one for one in totals[key]), key))
    if not keys:
        return None
    shown, rest = keys[:LINES], keys[LINES:]
    names = called(shown)
    lines = [
        (day, [numbers.get(key, 0) for key in shown] + ([sum(numbers.get(key, 0) for key in rest)] if rest else []))
        for day, numbers in nights
    ]
    return Plot(label, [names.get(key, key) for key in shown] + ([say("all others")] if rest else []), lines)
