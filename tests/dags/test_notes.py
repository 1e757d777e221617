"""The notes on runs and tasks."""

from __future__ import annotations

from enrollsync.airflow.notes import MOST_CHARACTERS, text_of

HOLD = {"code": "GUARD-UPDATE", "message": "14 of 18 active users of 0002 would be changed (77.8 %; the limit is 50 %)"}
RESULT = {"outcome": "held", "counts": {"users": {"update": 60, "unchanged": 13}}, "findings": {"ID-CASE": 1_200}}


def test_first_line_says_outcome_changes_and_findings() -> None:
    text = text_of({**RESULT, "holds": [HOLD], "message": "nobody answered"})
    first, message, hold = text.split("\n\n")
    assert first == "**held** · 60 update · ID-CASE 1,200"
    assert message == "nobody answered"
    assert hold == f"{HOLD['code']}: {HOLD['message']}"


def test_note_with_many_reasons_is_no_longer_than_airflows_column() -> None:
    text = text_of({**RESULT, "holds": [HOLD] * 60})
    assert len(text) <= MOST_CHARACTERS
    assert text.startswith("**held**")
    assert text.endswith("(see the report)")
