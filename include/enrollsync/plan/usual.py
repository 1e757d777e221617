"""What is usual for a run, learnt from the shares that earlier runs changed: their median, give or take.

Arithmetic alone, on shares between 0 and 1 (creations may exceed 1). Where shares come from belongs to `shares.py`,
what is said about them to `guard.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

from enrollsync.database.schema import Counts, RunShares

LEAST_RUNS = 10
"""So many runs must have been applied before anything is judged."""
MOST_RUNS = 30
"""So many of the last ones are looked at."""
_DEVIATIONS = 5
"""Further from the median than so many median absolute deviations is unusual."""
_LEAST_DEVIATION = 0.0001
"""The smallest deviation that counts: where most runs change nothing it would be zero, and a single record unusual. A
hundredth of a percent is below what the nights of a real district differ by; in a small one, `floor` records decide."""
_UNCHANGED: Counts = (1, 0, 0, 0)


@dataclass(frozen=True)
class Usual:
    """The shares that earlier runs let expect."""

    median: float
    deviation: float
    """Median absolute deviation, at least the smallest that counts."""
    runs: int
    """How many runs it was learnt from."""

    @property
    def low(self) -> float:
        """The smallest usual share."""
        return max(self.median - _DEVIATIONS * self.deviation, 0)

    @property
    def high(self) -> float:
        """The greatest usual share."""
        return self.median + _DEVIATIONS * self.deviation

    def distance(self, count: int, active: int) -> float:
        """How many deviations `count` of `active` records lie from the median."""
        return abs(count / active - self.median) / self.deviation


def learn(shares: Sequence[float]) -> Usual | None:
    """What the shares of the last runs, newest first, make usual; None while there are too few."""
    if len(shares) < LEAST_RUNS:
        return None
    last = shares[:MOST_RUNS]
    middle = median(last)
    deviation = median(abs(share - middle) for share in last)
    return Usual(middle, max(deviation, _LEAST_DEVIATION), len(last))


def is_unusual(count: int, active: int, usual: Usual, floor: float) -> bool:
    """Whether `count` of `active` records are out of the usual range, by at least `floor` records from the median."""
    if usual.low <= count / active <= usual.high:
        return False
    return abs(count - usual.median * active) >= floor


def counts_before(runs: Sequence[RunShares], entity: str, key: str) -> list[Counts]:
    """What the runs, newest first, counted of one share (`Share.entity`, `Share.key`).

    A run on an empty roster, or the one that brought an organization, tells nothing of later nights, nor do the runs
    before it.
    """
    found = (run.get(entity, {}).get(key, _UNCHANGED) for run in runs)
    return list(takewhile(lambda counts: counts[0] > 0, found))
