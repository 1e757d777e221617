"""The notes on runs and tasks."""

from __future__ import annotations

from enrollsync.airflow.notes import MOST_CHARACTERS, text_of

HOLD = {"code": "GUARD-UPDATE", "message": "14 of 18 active users of 0002 would be changed (77.8 %; the limit is 50 %)"}
RESULT = {"outcome": "held", "counts": {"users": {"update": 60, "unchanged": 13}}, "findings": {"ID-CASE": 1_200}}


def test_note_begins_with_the_verdict_and_its_reason() -> None:
    hold = f"{HOLD['code']}: {HOLD['message']}"
    amounts = "would: 60 update · ID-CASE 1,200"
    assert text_of({**RESULT, "holds": [HOLD]}).split("\n\n") == [f"**held**: {hold}", amounts]
    given_up = text_of({**RESULT, "holds": [HOLD], "message": "nobody answered"})
    assert given_up.split("\n\n") == ["**held**: nobody answered", amounts, hold]


def test_note_of_a_run_without_a_reason_says_the_changes_on_its_first_line() -> None:
    assert text_of({**RESULT, "outcome": "applied"}) == "**applied** · 60 update · ID-CASE 1,200"
    assert text_of({"outcome": None, "counts": {}}) == "**not finished** · -"


def test_note_with_many_reasons_is_no_longer_than_airflows_column() -> None:
    text = text_of({**RESULT, "holds": [HOLD] * 60})
    assert len(text) <= MOST_CHARACTERS
    assert text.startswith("**held**")
    assert text.endswith("(see the report)")
