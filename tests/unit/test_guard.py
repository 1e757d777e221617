"""The limits above which a plan waits, and the name of a plan that a person approves."""

from __future__ import annotations

import itertools
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrollsync.guard import Share, over_limits
from enrollsync.plan import plan_id
from enrollsync.settings import Limits

DEACTIVATE, UPDATE = "GUARD-DEACTIVATE", "GUARD-UPDATE"


def codes(active: int, deactivated: int = 0, changed: int = 0, **limits: float) -> list[str]:
    share = Share("users", active, deactivated, changed)
    return [hold.code for hold in over_limits(share, Limits.model_validate(limits))]


# ---- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("active", "deactivated", "changed", "expected"), [
    pytest.param(100, 10, 0, [], id="at the limit of deactivations"),
    pytest.param(100, 11, 0, [DEACTIVATE], id="over the limit of deactivations"),
    pytest.param(1000, 101, 0, [DEACTIVATE], id="over it by a tenth of a percent"),
    pytest.param(100, 0, 75, [], id="at the limit of updates"),
    pytest.param(100, 0, 76, [UPDATE], id="over the limit of updates"),
    pytest.param(100, 11, 76, [DEACTIVATE, UPDATE], id="over both"),
    pytest.param(4, 4, 0, [], id="all of them, but below the floor"),
    pytest.param(5, 5, 0, [DEACTIVATE], id="at the floor"),
    pytest.param(6, 4, 4, [], id="deactivations and updates do not add up"),
    pytest.param(0, 0, 0, [], id="nobody is there"),
    pytest.param(1, 0, 0, [], id="nothing happens"),
    pytest.param(1_000_000, 100_000, 750_000, [], id="a million, at both limits"),
    pytest.param(1_000_000, 100_001, 750_001, [DEACTIVATE, UPDATE], id="a million, one above both limits"),
])  # fmt: skip
def test_a_share_is_held_above_the_limits_of_the_design(
    active: int, deactivated: int, changed: int, expected: list[str]
) -> None:
    assert codes(active, deactivated, changed) == expected


@pytest.mark.parametrize(("limits", "deactivated", "expected"), [
    ({"deactivate_percent": 0}, 5, [DEACTIVATE]), ({"deactivate_percent": 0}, 4, []),
    ({"deactivate_percent": 0, "floor": 0}, 1, [DEACTIVATE]), ({"deactivate_percent": 0, "floor": 0}, 0, []),
    ({"deactivate_percent": 100}, 1000, []), ({"deactivate_percent": 12.5}, 125, []),
    ({"deactivate_percent": 12.5}, 126, [DEACTIVATE]), ({"deactivate_percent": 0.1}, 1, []),
    ({"floor": 200}, 199, []), ({"floor": 200}, 200, [DEACTIVATE]),
])  # fmt: skip
def test_the_limits_are_the_districts_own(limits: dict[str, float], deactivated: int, expected: list[str]) -> None:
    assert codes(1000, deactivated, **limits) == expected


def test_a_hold_says_how_many_of_how_many_where_and_against_which_limit() -> None:
    (hold,) = over_limits(Share("users of 0012", 2000, 0, 1501), Limits())
    assert hold.message == "1,501 of 2,000 active users of 0012 would be changed (75.0 %; the limit is 75 %)"
    (hold,) = over_limits(Share("classes", 40, 5, 0), Limits(deactivate_percent=12.25))
    assert hold.message == "5 of 40 active classes would be deactivated (12.5 %; the limit is 12.25 %)"


@given(
    active=st.integers(0, 10_000), deactivated=st.integers(0, 10_000), fewer=st.integers(0, 100),
    floor=st.integers(0, 50), percent=st.integers(0, 100),
)  # fmt: skip
def test_a_smaller_change_is_never_held_when_a_greater_one_is_not(
    active: int, deactivated: int, fewer: int, floor: int, percent: int
) -> None:
    limits: dict[str, float] = {"deactivate_percent": percent, "floor": floor}
    if not codes(active, deactivated, **limits):
        assert codes(active, max(deactivated - fewer, 0), **limits) == []
        assert codes(active, deactivated, **{**limits, "floor": floor + 1}) == []


# ---- the plan's name ----------------------------------------------------------------------------

COLUMNS = ("entity", "operation", "user_key", "organization_key", "class_key", "before_json", "after")
CREATE = ("users", "create", 7, None, None, None, "grade 5")
UPDATE_GRADE = ("users", "update", 8, None, 3, '{"grade": "5"}', "grade 6")
UPDATE_1 = ("users", "update", 1, None, None)
JOIN = ("memberships", "create", 7, 1, None, None, "")


def name(*operations: tuple[Any, ...], district: str = "demo", source: str = "clever", version: int = 3) -> str:
    with duckdb.connect(":memory:") as connection:
        connection.execute("""
            CREATE TABLE operations (entity VARCHAR, operation VARCHAR, user_key BIGINT, organization_key BIGINT,
                class_key BIGINT, before_json VARCHAR, after VARCHAR)""")
        for operation in operations:
            connection.execute("INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?, ?)", operation)
        return plan_id(connection, district, source, version)


def test_the_same_operations_have_one_name_in_any_order() -> None:
    names = {name(*order) for order in itertools.permutations([CREATE, UPDATE_GRADE, JOIN])}
    assert len(names) == 1
    assert len(names.pop()) == 16


@pytest.mark.parametrize("changed", range(len(COLUMNS)))
def test_every_part_of_an_operation_shows_in_the_name(changed: int) -> None:
    other = [*UPDATE_GRADE]
    other[changed] = 9 if COLUMNS[changed].endswith("_key") else f"{other[changed]}x"
    assert name(CREATE, tuple(other)) != name(CREATE, UPDATE_GRADE)


@pytest.mark.parametrize("where", [{"district": "other"}, {"source": "batch_upload"}, {"version": 4}])
def test_the_same_operations_elsewhere_have_another_name(where: dict[str, Any]) -> None:
    assert name(CREATE, **where) != name(CREATE)


@pytest.mark.parametrize(("one", "two"), [
    pytest.param((), (CREATE,), id="none and one"),
    pytest.param((CREATE,), (CREATE, CREATE), id="once and twice"),
    pytest.param((CREATE,), (CREATE, CREATE, CREATE), id="once and three times"),
    pytest.param((CREATE, CREATE, JOIN), (CREATE, JOIN, JOIN), id="another one twice"),
    pytest.param(((*UPDATE_1, "a", "b"),), ((*UPDATE_1, "b", "a"),), id="reversed"),
    pytest.param(((*UPDATE_1, None, "a"),), ((*UPDATE_1, "a", None),), id="empty ends"),
    pytest.param(((*JOIN[:2], None, 7, *JOIN[4:]),), ((*JOIN[:2], 7, None, *JOIN[4:]),), id="keys"),
])  # fmt: skip
def test_other_operations_have_another_name(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    assert name(*one) != name(*two)


operations = st.tuples(
    st.sampled_from(["users", "classes"]), st.sampled_from(["create", "update"]), st.none() | st.integers(0, 2),
    st.none() | st.integers(0, 2), st.none() | st.integers(0, 2), st.none() | st.sampled_from(["", "a", "b"]),
    st.none() | st.sampled_from(["", "a", "b"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(one=st.lists(operations, max_size=4), two=st.lists(operations, max_size=4))
def test_plans_have_one_name_exactly_when_they_do_the_same(
    one: list[tuple[Any, ...]], two: list[tuple[Any, ...]]
) -> None:
    assert (name(*one) == name(*two)) is (sorted(one, key=repr) == sorted(two, key=repr))
