"""What earlier runs make usual, and which run is unlike them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollsync.plan.shares import RunShares, Share, to_remember
from enrollsync.plan.usual import LEAST_RUNS, MOST_RUNS, Usual, counts_before, is_unusual, learn

STEADY = [0.010, 0.011, 0.012, 0.009, 0.010, 0.008, 0.010, 0.011, 0.009, 0.010]
"""Median 1 %, median absolute deviation 0.1 %: half a percent up or down is usual."""
QUIET = [0.0] * 10


def unusual(count: int, active: int, shares: Sequence[float], floor: int = 5) -> bool:
    usual = learn(shares)
    assert usual is not None
    return is_unusual(count, active, usual, floor)


@pytest.mark.parametrize(("count", "active", "shares", "expected"), [
    pytest.param(100, 10_000, STEADY, False, id="at the median"),
    pytest.param(149, 10_000, STEADY, False, id="nearly five deviations above"),
    pytest.param(151, 10_000, STEADY, True, id="more than five deviations above"),
    pytest.param(51, 10_000, STEADY, False, id="nearly five deviations below"),
    pytest.param(49, 10_000, STEADY, True, id="more than five deviations below"),
    pytest.param(0, 10_000, STEADY, True, id="nothing where something usually changes"),
    pytest.param(0, 400, STEADY, False, id="nothing, where four records are usual"),
    pytest.param(6, 100, STEADY, True, id="five records more than the one that is usual"),
    pytest.param(5, 100, STEADY, False, id="four records more than the one that is usual"),
    pytest.param(0, 10_000, QUIET, False, id="quiet as ever"),
    pytest.param(4, 1_000, QUIET, False, id="quiet, and fewer than the floor"),
    pytest.param(5, 1_000, QUIET, True, id="quiet, and as many as the floor"),
    pytest.param(500, 1_000_000, QUIET, False, id="a quiet million, and half a thousandth"),
    pytest.param(501, 1_000_000, QUIET, True, id="a quiet million, and more"),
    pytest.param(300, 100, [0.0] * 5 + [0.01] * 5, True, id="more come than were there"),
    pytest.param(90, 100, [0.0, 1.0] * 5, False, id="where anything happens, nothing is unusual"),
])  # fmt: skip
def test_a_run_is_unusual_far_from_the_median_and_by_enough_records(
    count: int, active: int, shares: list[float], expected: bool
) -> None:
    assert unusual(count, active, shares) is expected


def test_one_odd_night_does_not_move_what_is_usual() -> None:
    odd, steady = learn([*STEADY[:-1], 0.9]), learn([*STEADY[:-1], 0.011])
    assert odd is not None and steady is not None
    assert (odd.low, odd.high) == pytest.approx((steady.low, steady.high))


@pytest.mark.parametrize("number", range(LEAST_RUNS))
def test_fewer_runs_than_ten_make_nothing_usual(number: int) -> None:
    assert learn([0.01] * number) is None


def test_only_the_last_thirty_runs_count() -> None:
    assert learn([0.01] * MOST_RUNS + [0.5] * 100) == learn([0.01] * MOST_RUNS) == Usual(0.01, 0.0001, 30)


def test_the_usual_range_never_starts_below_nothing() -> None:
    assert Usual(0.01, 0.01, 10).low == 0
    assert Usual(0.01, 0.01, 10).high == pytest.approx(0.06)


shares_of_runs = st.lists(st.integers(0, 1000).map(lambda part: part / 1000), min_size=LEAST_RUNS, max_size=MOST_RUNS)


@given(
    changed=st.lists(st.integers(0, 500), min_size=11, max_size=29).filter(lambda found: len(found) % 2),
    floor=st.integers(0, 9),
)
def test_a_run_equal_to_the_median_is_never_unusual(changed: list[int], floor: int) -> None:
    middle = sorted(changed)[len(changed) // 2]
    assert not unusual(middle, 500, [count / 500 for count in changed], floor)


@given(shares=shares_of_runs, count=st.integers(0, 500), times=st.integers(1, 1000))
def test_a_district_so_many_times_as_large_is_judged_alike_where_no_floor_is_set(
    shares: list[float], count: int, times: int
) -> None:
    assert unusual(count, 500, shares, floor=0) is unusual(count * times, 500 * times, shares, floor=0)


@given(shares=shares_of_runs, count=st.integers(0, 500), floor=st.integers(0, 50), more=st.integers(0, 50))
def test_a_higher_floor_never_makes_a_run_unusual(shares: list[float], count: int, floor: int, more: int) -> None:
    assert unusual(count, 500, shares, floor) or not unusual(count, 500, shares, floor + more)


@given(shares=shares_of_runs, count=st.integers(0, 500), further=st.integers(0, 500), floor=st.integers(0, 50))
def test_further_from_the_median_is_no_less_unusual(shares: list[float], count: int, further: int, floor: int) -> None:
    usual = learn(shares)
    assert usual is not None
    if is_unusual(count, 500, usual, floor):
        away = further if count / 500 > usual.median else -further
        assert is_unusual(count + away, 500, usual, floor)


@given(shares=shares_of_runs, seed=st.randoms(use_true_random=False))
def test_the_order_of_the_runs_does_not_matter(shares: list[float], seed) -> None:
    shuffled = list(shares)
    seed.shuffle(shuffled)
    assert learn(shuffled) == learn(shares)


# ---- what is remembered -------------------------------------------------------------------------


def run(active: int, changed: int, **schools: tuple[int, int, int, int]) -> RunShares:
    return {"users": {"": (active, 0, changed, 0), **{key.strip("k"): counts for key, counts in schools.items()}}}


def test_a_run_on_an_empty_roster_and_those_before_it_teach_nothing() -> None:
    runs = [run(50, 2), run(50, 1), run(0, 0), run(40, 9)]
    assert counts_before(runs, "users", "") == [(50, 0, 2, 0), (50, 0, 1, 0)]


def test_a_school_that_a_run_leaves_out_changed_nothing_that_night() -> None:
    runs = [run(50, 2, k7=(20, 0, 2, 0)), run(50, 1)]
    assert [counts[2] / counts[0] for counts in counts_before(runs, "users", "7")] == [0.1, 0.0]


def test_nights_before_a_school_came_teach_nothing_about_it() -> None:
    runs = [run(50, 2), run(50, 2, k7=(0, 20, 0, 0)), run(30, 2), run(30, 2)]
    assert len(counts_before(runs, "users", "7")) == 1


def test_entities_are_remembered_always_and_schools_where_something_changed() -> None:
    shares = [
        Share("users", "users", 100, 3, 2, created=1), Share("classes", "classes", 9, 0, 0),
        Share("users", "users of S1", 60, 1, 2, created=1, removed=2, organization="S1", organization_key=7),
        Share("users", "users of S2", 40, 0, 0, organization="S2", organization_key=8),
    ]  # fmt: skip
    assert to_remember(shares, {}) == {"users": {"": (100, 1, 2, 3), "7": (60, 1, 2, 3)}, "classes": {"": (9, 0, 0, 0)}}
    students = {"": (60, 1, 0, 0), "7": (50, 1, 0, 0), "8": (10, 0, 0, 0)}
    assert to_remember([], students) == {"students": {"": (60, 1, 0, 0), "7": (50, 1, 0, 0)}}
    assert to_remember([], {}) == {}
