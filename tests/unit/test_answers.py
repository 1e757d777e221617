"""Which answers fit a plan that waits, and how they are told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from enrollsync.plan.answers import answered, how, possible
from enrollsync.run.workspace import COUNTED, Notice, RunManifest
from enrollsync.words.codes import Severity

BIG = Notice(code="GUARD-UPDATE", severity=Severity.WARNING, message="too many")
RENUMBERED = Notice(code="GUARD-REKEYED", severity=Severity.WARNING, message="40 of 40 users")


def held(counts: dict[str, int], *holds: Notice, **known: Any) -> RunManifest:
    users = dict.fromkeys(COUNTED, 0) | counts
    at = datetime(2026, 11, 24, tzinfo=UTC)
    return RunManifest(run_id="r", district="demo", as_of=at, counts={"users": users}, holds=list(holds), **known)


@pytest.mark.parametrize(("manifest", "fitting"), [
    pytest.param(held({"update": 9}, BIG), ("approve", "reject"), id="updates alone"),
    pytest.param(held({"update": 9, "deactivate": 2}, BIG), ("approve", "without_removals", "reject"), id="removals"),
    pytest.param(held({"deactivate": 2}, BIG), ("approve", "without_removals", "reject"), id="nothing but removals"),
    pytest.param(held({"unchanged": 9, "held": 40}, RENUMBERED), ("use_proposal", "reject"), id="nothing to write"),
    pytest.param(held({"create": 1, "deactivate": 1}, RENUMBERED),
                 ("approve", "without_removals", "use_proposal", "reject"), id="a proposal and more"),
    pytest.param(held({"deactivate": 9}, undoes="r0"), ("approve", "reject"), id="an undo is whole or not at all"),
    pytest.param(held({"deactivate": 9}, BIG, release=True), ("approve", "reject"), id="a release deactivates"),
])  # fmt: skip
def test_answers_that_are_offered_fit_the_hold(manifest: RunManifest, fitting: tuple[str, ...]) -> None:
    assert possible(manifest) == fitting


def test_options_of_the_command_are_told_in_one_line() -> None:
    told = how(held({"create": 1, "deactivate": 1}, RENUMBERED))
    assert told == (
        "`--approve` applies it; `--approve --adds-only` applies it less its deactivations; `--use-proposal` takes the "
        "proposed id_changes.csv as delivered"
    )


@pytest.mark.parametrize(("answer", "told"), [
    (None, "approved by pat"), ("approve", "approved by pat"), ("reject", "rejected by pat"),
    ("without_removals", "approved without removals by pat"),
    ("use_proposal", "proposed identifier changes used by pat"),
])  # fmt: skip
def test_who_answered_what_is_told(answer: str | None, told: str) -> None:
    assert answered(answer, "pat") == told
