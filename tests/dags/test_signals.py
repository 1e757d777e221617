"""What a run that has ended sends to Airflow's metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from enrollsync.airflow import signals
from enrollsync.run.workspace import COUNTED, RunManifest, SourceFile

ENDED = datetime(2026, 11, 23, 7, tzinfo=UTC)
Sent = dict[tuple[str, ...], float]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Name and the values of the tags -> figure."""
    found: Sent = {}

    def key(name: str, tags: dict[str, str]) -> tuple[str, ...]:
        return (name.removeprefix("enrollsync."), *tags.values())

    def gauge(name: str, value: float, tags: dict[str, str]) -> None:
        found[key(name, tags)] = value

    def incr(name: str, count: int = 1, *, tags: dict[str, str]) -> None:
        found[key(name, tags)] = found.get(key(name, tags), 0) + count

    monkeypatch.setattr(signals.stats, "gauge", gauge)
    monkeypatch.setattr(signals.stats, "incr", incr)
    return found


def ended(outcome: str | None, **told: Any) -> RunManifest:
    file = SourceFile(name="users.csv", entity="users", header=[], rows=600, malformed=0)
    counts = {"users": dict.fromkeys(COUNTED, 0) | {"held": 2, "rejected": 3, "update": 40, "create": 5}}
    known = {"files": [file], "seconds": {"ingest": 1.0}, "findings": {"ID-CASE": 7}, "counts": counts} | told
    return RunManifest(run_id="r", district="demo", as_of=ENDED, outcome=outcome, **known)


def test_night_is_told_in_figures_with_zero_for_what_was_not_found(sent: Sent) -> None:
    signals.measure(ended("applied"), "lincoln", ended=ENDED)
    assert sent.items() >= {
        ("runs", "lincoln", "applied"): 1, ("changed", "lincoln", "users", "update"): 40,
        ("changed", "lincoln", "users", "create"): 5, ("rows_read", "lincoln"): 600,
        ("held", "lincoln", "users"): 2, ("rejected", "lincoln", "users"): 3,
        ("step_seconds", "lincoln", "ingest"): 1, ("findings", "lincoln", "ID-CASE"): 7,
        ("findings", "lincoln", "ID-SSN"): 0, ("last_good", "lincoln"): ENDED.timestamp(),
        ("plan_waits", "lincoln", "sync"): 0,
    }.items()  # fmt: skip
    assert ("changed", "lincoln", "users", "deactivate") not in sent


@pytest.mark.parametrize("outcome", ["held", "refused", "rejected", "planned", "failed", None])
def test_what_was_not_written_did_not_change_and_was_not_good(sent: Sent, outcome: str | None) -> None:
    signals.measure(ended(outcome), "lincoln", ended=ENDED)
    assert not {"changed", "last_good"} & {name for name, *_ in sent}
    assert sent["runs", "lincoln", outcome or "failed"] == 1


@pytest.mark.parametrize("told", [{"undoes": "first"}, {"files": [], "findings": {}}], ids=["an undo", "a short cut"])
def test_run_that_looked_at_no_row_leaves_what_is_known_of_them(sent: Sent, told: dict[str, Any]) -> None:
    signals.measure(ended("undone" if "undoes" in told else "in_sync", **told), "lincoln", ended=ENDED)
    assert not {"findings", "rows_read", "held", "rejected"} & {name for name, *_ in sent}


def test_plan_of_an_undo_waits_apart(sent: Sent) -> None:
    signals.plan_waits(ended("held"), "lincoln", waits=True)
    signals.measure(ended("undone", undoes="first"), "lincoln", ended=ENDED)
    assert (sent["plan_waits", "lincoln", "sync"], sent["plan_waits", "lincoln", "undo"]) == (1, 0)
