"""Findings by night: how runs become nights, what is more than the night before, and what a person knows of it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from enrollsync.records.quality import Known, Look, Night, in_force, known_of, nights_of, rises

NEW_YORK = ZoneInfo("America/New_York")


def a_run(began: str, findings: dict[str, int], schools: Any = None, source: str = "clever") -> Look:
    return Look(f"{source} {began}", datetime.fromisoformat(began), source, findings, schools)


def a_night(schools: dict[str, dict[str, int]] | None, day: int = 1, **counts: int) -> Night:
    totals = {code.replace("_", "-"): count for code, count in counts.items()}
    return Night(date(2026, 11, day), totals, schools)


def test_a_day_of_the_district_is_a_night_and_its_last_run_counts() -> None:
    runs = [a_run("2026-11-24T04:30:00+00:00", {"VAL-EMAIL": 9}), a_run("2026-11-24T05:30:00+00:00", {"VAL-EMAIL": 8}),
            a_run("2026-11-24T22:00:00+00:00", {"VAL-EMAIL": 7})]  # fmt: skip
    assert [(one.day.day, one.counts) for one in nights_of(runs, NEW_YORK)] == [
        (23, {"VAL-EMAIL": 9}), (24, {"VAL-EMAIL": 7})
    ]  # fmt: skip


def test_what_another_source_found_holds_until_it_delivers_again() -> None:
    runs = [
        a_run("2026-11-23T12:00:00+00:00", {"VAL-EMAIL": 1}, {"VAL-EMAIL": {"1": 1}}, "batch_upload"),
        a_run("2026-11-23T13:00:00+00:00", {"VAL-EMAIL": 2}, {"VAL-EMAIL": {"1": 1, "2": 1}}),
        a_run("2026-11-24T13:00:00+00:00", {}, {}),
    ]
    first, second = nights_of(runs, NEW_YORK)
    assert (first.counts, first.schools) == ({"VAL-EMAIL": 3}, {"VAL-EMAIL": {"1": 2, "2": 1}})
    assert (second.counts, second.schools) == ({"VAL-EMAIL": 1}, {"VAL-EMAIL": {"1": 1}})


def test_a_night_in_which_a_run_did_not_measure_schools_is_known_by_code_alone() -> None:
    runs = [a_run("2026-11-23T12:00:00+00:00", {"VAL-EMAIL": 1}), a_run("2026-11-23T13:00:00+00:00", {}, {}, "other")]
    (night,) = nights_of(runs, NEW_YORK)
    assert (night.counts, night.schools) == ({"VAL-EMAIL": 1}, None)


def test_what_is_said_of_a_whole_plan_or_only_waits_is_no_finding_of_data() -> None:
    (night,) = nights_of(
        [a_run("2026-11-23T12:00:00+00:00", {"GUARD-DEACTIVATE": 1, "ROW-WAITS": 2, "VAL-EMAIL": 1})], NEW_YORK
    )
    assert night.counts == {"VAL-EMAIL": 1}


@pytest.mark.parametrize("known, told", [
    (Known(), [("VAL-EMAIL", 3, 5, {"2": (0, 3)})]),
    (Known(everywhere=frozenset({"VAL-EMAIL"})), []),
    (Known(at={"VAL-EMAIL": frozenset({"2"})}), []),
    (Known(at={"VAL-EMAIL": frozenset({"1"})}), [("VAL-EMAIL", 0, 3, {"2": (0, 3)})]),
    (Known(at={"ID-SSN": frozenset({"2"})}), [("VAL-EMAIL", 3, 5, {"2": (0, 3)})]),
])  # fmt: skip
def test_what_rose_is_new_but_for_what_is_known(known: Known, told: list[Any]) -> None:
    before = a_night({"VAL-EMAIL": {"1": 3}, "ID-SSN": {"1": 4}}, VAL_EMAIL=3, ID_SSN=4)
    now = a_night({"VAL-EMAIL": {"1": 2, "2": 3}, "ID-SSN": {"1": 4}}, VAL_EMAIL=5, ID_SSN=4)
    assert [(one.code, one.before, one.now, one.schools) for one in rises(before, now, known)] == told


def test_a_rise_in_one_school_is_new_though_there_are_fewer_in_all() -> None:
    before, now = (a_night({"VAL-EMAIL": {"1": one, "2": two}}, VAL_EMAIL=one + two) for one, two in ((9, 1), (2, 2)))
    assert [one.schools for one in rises(before, now, Known())] == [{"2": (1, 2)}]


def test_without_schools_a_rise_is_known_by_code() -> None:
    found = rises(a_night(None, VAL_EMAIL=1), a_night({"VAL-EMAIL": {"1": 2}}, VAL_EMAIL=2), Known())
    assert [(one.before, one.now, one.schools) for one in found] == [(1, 2, {})]


def test_what_is_known_ends_by_itself_when_its_day_begins() -> None:
    row = {"until": "2026-12-01", "code": "VAL-EMAIL", "organization_key": 7}
    assert in_force([row], date(2026, 11, 30)) == [row]
    assert in_force([row], date(2026, 12, 1)) == []
    assert known_of([row]) == Known(frozenset(), {"VAL-EMAIL": frozenset({"7"})})
    assert known_of([row | {"organization_key": None}]).everywhere == {"VAL-EMAIL"}
