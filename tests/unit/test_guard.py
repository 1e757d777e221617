"""The limits above which a plan waits, and the name of a plan that a person approves."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrollsync.plan.guard import Rules, find_excesses, find_stale, find_unusual, over_limits, told_with_hints
from enrollsync.plan.plan import plan_id
from enrollsync.plan.shares import RunShares, Share, to_remember
from enrollsync.run.workspace import RunManifest
from enrollsync.settings import SomeLimits, Thresholds

DEACTIVATE, UPDATE = "GUARD-DEACTIVATE", "GUARD-UPDATE"


DAY = date(2026, 8, 10)


def rules(overrides: dict[str, float] | None = None, day: date = DAY, **thresholds: Any) -> Rules:
    return Rules(Thresholds.model_validate(thresholds), day, SomeLimits.model_validate(overrides or {}))


def users(active: int, deactivated: int = 0, changed: int = 0, school: str | None = None, **more: int) -> Share:
    where = f"users of {school}" if school else "users"
    key = int(school.strip("S")) if school else None
    return Share(
        "users", where, active, deactivated, changed, organization=school, organization_key=key, **more
    )  # fmt: skip


def codes(active: int, deactivated: int = 0, changed: int = 0, **limits: float) -> list[str]:
    return [hold.code for hold in over_limits(users(active, deactivated, changed), rules(**limits))]


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
    (hold,) = over_limits(Share("users", "users of 0012", 2000, 0, 1501), rules())
    assert hold.message == "1,501 of 2,000 active users of 0012 would be changed (75.0 %; the limit is 75 %)"
    (hold,) = over_limits(Share("classes", "classes", 40, 5, 0), rules(deactivate_percent=12.25))
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


# ---- which fields change, and where -------------------------------------------------------------


def changing(fields: dict[str, int], active: int = 100, school: str | None = None, **more: Any) -> Share:
    return Share(
        "users", f"users of North ({school})" if school else "users", active, 0, max(fields.values(), default=0),
        organization=school, organization_key=1 if school else None, fields=fields, **more,
    )  # fmt: skip


def held_fields(*shares: Share, **given: Any) -> list[str]:
    return [hold.message for _, hold in find_excesses(shares, rules(**given)) if hold.code == "GUARD-FIELD"]


def test_a_hold_for_changes_names_the_fields_of_most_records_first() -> None:
    (hold,) = over_limits(changing({"grade": 3, "family_name": 80}), rules())
    assert hold.message.endswith("(80.0 %; the limit is 75 %): family_name 80, grade 3")
    many = {name: 76 + number for number, name in enumerate("abcdefgh")}
    (hold,) = over_limits(changing(many), rules())
    assert hold.message.endswith(": h 83, g 82, f 81, e 80, d 79, c 78 and 2 more fields")


@pytest.mark.parametrize(("fields", "expected"), [
    pytest.param({"family_name": 5}, [], id="at the limit"),
    pytest.param({"given_name": 6, "family_name": 6, "birth_date": 6}, ["given_name", "family_name", "birth_date"],
                 id="names and birth dates, over it"),
    pytest.param({"grade": 75, "email": 75}, [], id="other fields"),
])  # fmt: skip
def test_names_and_birth_dates_of_more_than_five_percent_hold(fields: dict[str, int], expected: list[str]) -> None:
    assert [said.partition(" ")[0] for said in held_fields(changing(fields))] == expected


@pytest.mark.parametrize(("given", "held"), [
    ({"fields": {"grade": 20}}, ["family_name", "grade"]),
    ({"fields": {"family_name": 30}}, []),
    ({"floor": 31}, []),
    ({"windows": [{**{"from": DAY, "to": DAY}, "update_percent": 100}]}, ["family_name"]),
    ({"windows": [{"from": DAY, "to": DAY, "fields": {"family_name": 30}}]}, []),
    ({"overrides": {"update_percent": 100}}, ["family_name"]),
])  # fmt: skip
def test_the_districts_own_limits_of_fields_come_besides(given: dict[str, Any], held: list[str]) -> None:
    found = held_fields(changing({"family_name": 30, "grade": 30}), **given)
    assert [said.partition(" ")[0] for said in found] == held


def test_filling_in_what_was_empty_is_no_change_of_a_field() -> None:
    assert held_fields(changing({"birth_date": 100}, filled={"birth_date": 95})) == []
    assert held_fields(changing({"birth_date": 100}, filled={"birth_date": 94})) != []


def test_a_field_that_changes_for_many_is_told_with_the_schools_where_it_does() -> None:
    schools = [changing({"family_name": number}, 1000, f"S{number}") for number in (1, 3, 5, 4)]
    assert held_fields(changing({"family_name": 13}), *schools) == [
        "family_name would change for 13 of 100 active users (13.0 %; the limit is 5 %): "
        "5 users of North (S5), 4 users of North (S4), 3 users of North (S3)"
    ]


def test_of_many_schools_over_a_limit_the_largest_are_told_and_the_rest_counted() -> None:
    schools = [users(100, 20 + number, school=f"S{number}") for number in range(1, 31)]
    said = [hold.message for hold in told_with_hints(find_excesses(schools, rules()), {})]
    assert len(said) == 21
    assert said[0].startswith("50 of 100 active users of S30")
    assert said[-1] == "10 more organizations are over this limit"


# ---- what it looks like -------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "hint"), [
    ({"grade": 95, "email": 3}, "; nearly everybody gets another grade, as in a new school year"),
    ({"family_name": 80}, "; family_name changes for nearly all: its column may be shifted, or the source fills it "
                          "otherwise now"),
    ({"grade": 95, "family_name": 90},
     "; grade, family_name change for nearly all: the columns may be shifted or swapped"),
    ({"grade": 79, "family_name": 79}, ""),
])  # fmt: skip
def test_a_field_that_changes_for_nearly_everybody_is_a_pattern_told_once(fields: dict[str, int], hint: str) -> None:
    shares = [changing(fields), changing(fields, school="S1"), changing(fields, school="S2")]
    first, *others = [
        hold.message
        for hold in told_with_hints(find_excesses(shares, rules(fields={"family_name": 100})), {})
        if hold.code == "GUARD-UPDATE"
    ]
    assert first.endswith(f" {min(fields.values())}{hint}")
    assert len(others) == 2 and not any(hint and other.endswith(hint) for other in others)


def test_signs_of_a_file_that_was_cut_stand_with_what_would_be_deactivated() -> None:
    shares = [users(100, 50), users(50, 50, school="S1")]
    first, second = told_with_hints(find_excesses(shares, rules()), {"users": "cut", "classes": "not this"})
    assert (first.message[-5:], second.message[-1:]) == ("; cut", ")")


def test_a_stale_delivery_is_told_in_the_districts_time() -> None:
    manifest = RunManifest(
        run_id="r", district="d", as_of=datetime(2026, 8, 10, tzinfo=UTC), batch_hash="b",
        delivered_at=datetime(2026, 8, 9, 2, 30, tzinfo=UTC),
    )  # fmt: skip
    last = ("a", datetime(2026, 8, 9, 12, tzinfo=UTC))
    (hold,) = find_stale(manifest, last, ZoneInfo("America/New_York"))
    assert hold.message == (
        "delivered 2026-08-08 22:30 (America/New_York), but one of 2026-08-09 08:00 (America/New_York) was applied"
    )


# ---- which limit holds --------------------------------------------------------------------------

ROLL_OVER = {"from": "2026-08-01", "to": "2026-08-20", "deactivate_percent": 60, "name": "roll-over"}
EVERYTHING: dict[str, Any] = {
    "deactivate_percent": 10, "entities": {"users": {"deactivate_percent": 20}}, "windows": [ROLL_OVER],
    "organizations": {"S1": {"deactivate_percent": 40}},
}  # fmt: skip


def limit(share: Share, name: str = "deactivate_percent", **given: Any) -> tuple[float, str]:
    found = rules(**given).limit(share, name)
    return found.value, found.said


@pytest.mark.parametrize(("given", "expected"), [
    ({}, (10, "")),
    ({"entities": {"users": {"deactivate_percent": 20}}}, (20, " for users")),
    ({"entities": {"classes": {"deactivate_percent": 20}}}, (10, "")),
    ({"entities": {"users": {"update_percent": 20}}}, (10, "")),
    ({"windows": [ROLL_OVER]}, (60, " until 2026-08-20, roll-over")),
    ({"windows": [{**ROLL_OVER, "name": None}]}, (60, " until 2026-08-20")),
    ({"windows": [{**ROLL_OVER, "deactivate_percent": None, "update_percent": 100}]}, (10, "")),
    ({"organizations": {"S1": {"deactivate_percent": 0}}}, (0, " for this organization")),
    ({"organizations": {"s1": {"deactivate_percent": 0}, "S2": {"deactivate_percent": 0}}}, (10, "")),
    (EVERYTHING, (40, " for this organization")),
    ({**EVERYTHING, "organizations": {"S1": {"floor": 2}}}, (60, " until 2026-08-20, roll-over")),
    ({**EVERYTHING, "organizations": {}, "windows": []}, (20, " for users")),
    ({**EVERYTHING, "overrides": {"deactivate_percent": 100}}, (100, " for this run")),
    ({**EVERYTHING, "overrides": {"update_percent": 100}}, (40, " for this organization")),
])  # fmt: skip
def test_the_closest_that_names_a_limit_decides(given: dict[str, Any], expected: tuple[float, str]) -> None:
    assert limit(users(10, school="S1"), **given) == expected


def test_a_districts_share_heeds_no_organizations_limits() -> None:
    assert limit(users(10), organizations={"": {"floor": 1}, "S1": {"floor": 2}}, name="floor") == (5, "")


@pytest.mark.parametrize(("day", "expected"), [
    (date(2026, 7, 31), 10), (date(2026, 8, 1), 60), (date(2026, 8, 20), 60), (date(2026, 8, 21), 10),
])  # fmt: skip
def test_a_window_holds_on_its_first_and_on_its_last_day(day: date, expected: float) -> None:
    assert limit(users(10), windows=[ROLL_OVER], day=day)[0] == expected


def test_a_hold_says_where_its_limit_comes_from() -> None:
    def said(**given: Any) -> str:
        (hold,) = over_limits(users(100, 61, school="S1"), rules(**given))
        return hold.message.partition("(")[2]

    assert said(windows=[ROLL_OVER]) == "61.0 %; the limit is 60 % until 2026-08-20, roll-over)"
    assert said(organizations={"S1": {"deactivate_percent": 40}}) == "61.0 %; the limit is 40 % for this organization)"
    assert said(overrides={"deactivate_percent": 50}) == "61.0 %; the limit is 50 % for this run)"
    assert said() == "61.0 %; the limit is 10 %)"


def test_an_organizations_floor_is_its_own() -> None:
    (hold,) = over_limits(users(10, 2, school="S1"), rules(organizations={"S1": {"floor": 2}}))
    assert hold.code == DEACTIVATE
    assert over_limits(users(10, 2, school="S2"), rules(organizations={"S1": {"floor": 2}})) == []


percents = st.none() | st.integers(0, 100)
some_limits = st.fixed_dictionaries(
    {"deactivate_percent": percents, "update_percent": percents, "floor": st.none() | st.integers(0, 20)}
)


def smaller(limits: Any, part: float) -> Any:
    """The same structure with every limit in it shrunk."""
    if isinstance(limits, dict):
        return {key: smaller(value, part) for key, value in limits.items()}
    if isinstance(limits, list):
        return [smaller(one, part) for one in limits]
    return int(limits * part) if isinstance(limits, int) else limits


@given(
    general=some_limits.map(lambda limits: {key: value for key, value in limits.items() if value is not None}),
    entities=st.dictionaries(st.sampled_from(["users", "classes"]), some_limits),
    organizations=st.dictionaries(st.sampled_from(["S1", "S2"]), some_limits),
    windows=st.lists(some_limits.map(lambda limits: {**ROLL_OVER, **limits}), max_size=1),
    overrides=st.fixed_dictionaries({}, optional={"deactivate_percent": st.integers(0, 100)}),
    share=st.builds(users, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.sampled_from([None, "S1"])),
    part=st.floats(0, 1),
)
def test_no_plan_that_was_held_is_free_under_smaller_limits(
    general: dict[str, Any], overrides: dict[str, float], share: Share, part: float, **others: Any
) -> None:
    limits = {**general, **others}
    held = {hold.code for hold in over_limits(share, rules(overrides, **limits))}
    assert held <= {hold.code for hold in over_limits(share, rules(smaller(overrides, part), **smaller(limits, part)))}


# ---- unlike the runs before ---------------------------------------------------------------------


def nights(*shares: Share, times: int = 10) -> list[RunShares]:
    return [to_remember(shares, {})] * times


def unusual(share: Share, runs: list[RunShares], **given: Any) -> list[str]:
    return [notice.message for notice in find_unusual([share], runs, rules(**given))]


def test_an_unusual_share_is_told_with_the_usual_range() -> None:
    runs = [to_remember([users(1000, 0, changed)], {}) for changed in (8, 9, 10, 8, 7, 8, 9, 6, 8, 8) * 3]
    (notice,) = find_unusual([users(1000, 0, 410)], runs, rules())
    assert (notice.code, notice.severity) == ("GUARD-UNUSUAL", "warning")
    assert notice.message == "41 % of users would be updated; usual: 0.55 % to 1.05 %, the last 30 runs"


def test_creations_and_deactivations_are_judged_too_and_removals_are_deactivations() -> None:
    runs = nights(users(100), users(50, school="S1"))
    said = "usual: 0 % to 0.05 %, the last 10 runs"
    assert unusual(users(100, created=250), runs) == [f"250 % of users would be created; {said}"]
    assert unusual(users(100, 5), runs) == [f"5 % of users would be deactivated; {said}"]
    assert unusual(users(50, school="S1", removed=7), runs) == [f"14 % of users of S1 would be deactivated; {said}"]


def test_nothing_is_unusual_before_ten_runs_taught() -> None:
    assert unusual(users(100, 0, 50), nights(users(100), times=9)) == []
    assert unusual(users(100, 0, 50), [*nights(users(100), times=9), *nights(users(0))]) == []


def test_a_school_that_is_empty_before_the_run_is_not_judged() -> None:
    assert unusual(users(0, created=50, school="S3"), nights(users(100))) == []


def test_the_floor_of_the_school_decides_how_many_records_are_unusual() -> None:
    runs = nights(users(100))
    assert unusual(users(50, 0, 5, "S1"), runs, organizations={"S1": {"floor": 6}}) == []
    assert unusual(users(50, 0, 6, "S1"), runs, organizations={"S1": {"floor": 6}}) != []


def test_of_many_schools_the_furthest_from_the_usual_are_told() -> None:
    schools = [users(1000, 0, 100 + number, f"S{number}") for number in range(1, 31)]
    found = find_unusual([*schools, users(30_000, 0, 3465)], nights(users(30_000)), rules())
    messages = [notice.message for notice in found]
    assert len(messages) == 22
    assert messages[0].startswith("11.6 % of users would be updated")
    assert messages[1].startswith("13 % of users of S30 ")
    assert messages[-1] == "10 more shares of single organizations are unusual too"


# ---- the plan's name ----------------------------------------------------------------------------

COLUMNS = (
    "entity", "operation", "user_key", "organization_key", "class_key", "before_json", "after", "after_json", "reason",
)  # fmt: skip
CREATE = ("users", "create", 7, None, None, None, "grade 5")
UPDATE_GRADE = ("users", "update", 8, None, 3, '{"grade": "5"}', "grade 6", '{"grade": "6"}', "because")
UPDATE_1 = ("users", "update", 1, None, None)
JOIN = ("memberships", "create", 7, 1, None, None, "")


def name(*operations: tuple[Any, ...], district: str = "demo", source: str = "clever", version: int = 3) -> str:
    with duckdb.connect(":memory:") as connection:
        connection.execute("""
            CREATE TABLE operations (entity VARCHAR, operation VARCHAR, user_key BIGINT, organization_key BIGINT,
                class_key BIGINT, before_json VARCHAR, after VARCHAR, after_json VARCHAR, reason VARCHAR)""")
        for operation in operations:
            values = [*operation, None, None][: len(COLUMNS)]
            connection.execute(f"INSERT INTO operations VALUES ({', '.join('?' * len(COLUMNS))})", values)
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
