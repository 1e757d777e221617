"""What a person changes on a profile page: checked, planned, applied, remembered and undone like a batch."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st

from enrollsync import steps
from enrollsync.database import open_store
from enrollsync.formats import why_not_editable
from enrollsync.run.workspace import Edit, Workspace
from enrollsync.words.blanks import trimmed
from nightly import Nightly, Query, other, student

ROWS = [student(userStateId="ST1"), other(1, userStateId="ST2"), other(2, userId="LEE")]


def key_of(nightly: Nightly, identifier: str, entity: str = "users") -> int:
    singular = {"users": "user", "classes": "class", "organizations": "organization"}[entity]
    ((key,),) = nightly.view(entity, f"{singular}_key", f"{singular}_id = '{identifier}'")
    return int(key)


def edit(nightly: Nightly, identifier: str, entity: str = "users", **changes: str | None) -> dict[str, Any]:
    """Change a record as its profile page does."""
    asked = Edit(entity=entity, key=key_of(nightly, identifier, entity), changes=changes)
    number = len(steps.runs(nightly.district)) + 1
    nightly.workspace = steps.start_edit(
        nightly.district, asked, run_id=f"edit-{number}", as_of=datetime(2026, 11, 23, 12, tzinfo=UTC), reason="asked"
    )
    return steps.edit(nightly.workspace, person="pat")


@pytest.fixture
def edited(nightly_everywhere: Nightly) -> Nightly:
    nightly_everywhere.begin(ROWS)
    return nightly_everywhere


@pytest.fixture
def begun(nightly: Nightly) -> Nightly:
    nightly.begin(ROWS)
    return nightly


def test_an_identifier_is_changed_with_its_history_and_an_undo_gives_it_back(edited: Nightly) -> None:
    key = key_of(edited, "300")
    result = edit(edited, "300", user_id="301")
    assert (result["outcome"], result["counts"]["users"]["reidentify"]) == ("applied", 1)
    assert key_of(edited, "301") == key
    run = steps.runs(edited.district)[0]
    assert (run["approved_by"], run["comment"], run["source"]) == ("pat", "asked", None)
    assert edited.undo(result["run_id"])["outcome"] == "undone"
    assert key_of(edited, "300") == key


def test_a_life_says_that_a_person_changed_it_and_why_and_names_no_file(begun: Nightly) -> None:
    edit(begun, "300", user_id="301", user_state_id="ST9")
    (record,) = steps.explain(begun.district, "user", "301")["records"]
    event = record["life"][0]
    assert (event["operation"], event["reason"]) == ("reidentify", "a person changed it on the profile page")
    assert (event["file"], event["line"], event["approved_by"], event["comment"]) == (None, None, "pat", "asked")
    told = begun.view("changes", "reason", "run_id LIKE 'edit-%'")
    assert told == [("a person changed it on the profile page",)]


@pytest.mark.parametrize(
    "entity, old, column", [("classes", "C1", "class_id"), ("organizations", "S1", "organization_id")]
)
def test_classes_and_organizations_change_their_identifiers_too(
    begun: Nightly, entity: str, old: str, column: str
) -> None:
    result = edit(begun, old, entity, **{column: "NEW1"})
    assert (result["outcome"], result["findings"]) == ("applied", {})
    assert key_of(begun, "NEW1", entity)


def test_secondary_ids_change_and_empty_ones_are_cleared(begun: Nightly) -> None:
    assert edit(begun, "300", user_state_id="ST9", user_district_id="D1")["outcome"] == "applied"
    assert begun.view("users", "user_district_id, user_state_id", "user_id = '300'") == [("D1", "ST9")]
    assert edit(begun, "300", user_state_id=None)["outcome"] == "applied"
    assert begun.view("users", "user_district_id, user_state_id", "user_id = '300'") == [("D1", None)]
    assert begun.view("memberships", "user_key", "status <> 'active'") == []


@pytest.mark.parametrize("changes, code, outcome", [
    ({"user_id": "u1"}, "PLAN-REIDENTIFY-TAKEN", "rejected"), ({"user_id": "123-45-6789"}, "ID-CHARSET", "rejected"),
    ({"user_id": "123456789"}, "ID-SSN", "applied"), ({"user_id": "lee"}, "ID-CASE", "applied"),
    ({"user_state_id": "ST2"}, "SEC-DUPLICATE", "rejected"), ({"user_id": "3\0001"}, "ROW-MALFORMED", "rejected"),
])  # fmt: skip
def test_what_a_batch_would_be_told_an_edit_is_told(
    begun: Nightly, changes: dict[str, str], code: str, outcome: str
) -> None:
    result = edit(begun, "300", **changes)
    assert code in result["findings"] and result["outcome"] == outcome
    if outcome == "rejected":
        assert begun.view("users", "user_state_id", "user_id IN ('300', 'u1')") == [("ST1",), ("ST2",)]


def test_the_next_night_is_in_sync_with_what_was_edited_when_it_says_the_same(begun: Nightly) -> None:
    edit(begun, "300", user_id="301")
    assert begun.run([ROWS[0] | {"userId": "301"}, *ROWS[1:]])["outcome"] == "in_sync"


def test_nothing_is_learnt_of_an_edit(begun: Nightly) -> None:
    edit(begun, "300", user_id="301")
    assert len(open_store(begun.database_url).shares_before("demo", 9)) == 1


@pytest.mark.parametrize("mode", ["delta", "snapshot"])
@pytest.mark.parametrize("edits, identifier", [("stick", "301"), ("yield", "300")])
def test_a_night_that_says_the_old_identifier_leaves_the_edit_or_takes_it_back_as_the_district_wants(
    nightly: Nightly, mode: str, edits: str, identifier: str
) -> None:
    nightly.settings = {"edits": edits, "source": {"path": str(nightly.folder / "delivery"), "mode": mode}}
    nightly.begin(ROWS)
    key = key_of(nightly, "300")
    edit(nightly, "300", user_id="301", user_state_id="ST9")
    night = nightly.run([ROWS[0] | ({} if edits == "stick" else {"userStateId": "ST9"}), *ROWS[1:]])
    assert night["outcome"] == ("in_sync" if edits == "stick" else "applied")
    assert ("PLAN-EDIT-KEPT" in night["findings"]) is (edits == "stick")
    assert key_of(nightly, identifier) == key
    assert nightly.view("users", "user_state_id", f"user_id = '{identifier}'") == [("ST9",)]
    enrolled = nightly.view("enrollments", "user_id", "status = 'active'")
    assert enrolled == [(name,) for name in sorted((identifier, "LEE", "u1"))]


def test_what_a_row_says_anew_wins_over_an_edit(begun: Nightly) -> None:
    edit(begun, "300", user_state_id="ST9")
    begun.run([ROWS[0] | {"userStateId": "ST7"}, *ROWS[1:]])
    assert begun.view("users", "user_state_id", "user_id = '300'") == [("ST7",)]
    begun.run(ROWS)
    assert begun.view("users", "user_state_id", "user_id = '300'") == [("ST1",)]


def test_an_edit_that_was_undone_sticks_no_more(begun: Nightly) -> None:
    begun.undo(edit(begun, "300", user_id="301")["run_id"])
    assert begun.run(ROWS)["outcome"] == "in_sync"
    assert key_of(begun, "300")


def test_somebody_new_under_the_old_identifier_beside_the_new_one_is_somebody_new(begun: Nightly) -> None:
    edit(begun, "300", user_id="301")
    night = begun.run([ROWS[0] | {"userId": "301"}, other(7, userId="300"), *ROWS[1:]])
    assert night["counts"]["users"]["create"] == 1 and "PLAN-EDIT-KEPT" not in night["findings"]


def test_identifiers_that_come_from_a_third_party_are_changed_there() -> None:
    assert why_not_editable("clever", "clever") == (
        "its identifiers come from Clever: change them there, and the next night brings them"
    )
    assert why_not_editable("batch_upload", "batch_upload") is None


def test_an_edit_reads_no_more_of_the_roster_than_it_can_touch(edited: Nightly) -> None:
    edit(edited, "300", user_id="u1x", user_state_id="ST2")
    state = Workspace(Path(edited.workspace)).state
    rows = {name: pq.read_metadata(state / f"{name}.parquet").num_rows for name in ("users", "enrollments", "classes")}
    assert rows == {"users": 2, "enrollments": 1, "classes": 0}  # with who has the state ID


@pytest.mark.parametrize("theirs, mine", [("Lee9", "lEE9"), ("Abcdefghijk", "abcdefghijK")])
def test_an_identifier_that_differs_by_case_alone_is_told_however_many_letters_it_has(
    nightly: Nightly, theirs: str, mine: str
) -> None:
    nightly.begin([ROWS[0], other(1, userId=theirs)])
    assert "ID-CASE" in edit(nightly, "300", user_id=mine)["findings"]


def test_limits_do_not_hold_what_one_person_has_looked_at(nightly: Nightly) -> None:
    nightly.settings = {"thresholds": {"floor": 0, "update_percent": 0}}
    nightly.begin(ROWS)
    assert edit(nightly, "300", user_id="301")["outcome"] == "applied"


_IDENTIFIERS = ["301", "u1", "LEE", "lee", "U1", " 302 ", "123-45-6789", "123456789", "no good", "é", "", "0300", "300",
                "\t301\xa0", " u1", "lee ", "\u2003301", " 300 ", " \t"]  # fmt: skip
"""With blanks that are removed around a value (of a tab's and a no-break space's kind too), and one that is not."""
_SECONDARIES = ["ST9", "ST2", "st2", "ST1", " ST7 ", "ST2\xa0", "123456789", "", " "]


@pytest.mark.slow
@settings(max_examples=4, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(identifier=st.sampled_from(_IDENTIFIERS), state_id=st.sampled_from(_SECONDARIES))
@example(identifier="301", state_id="ST2")
@example(identifier="u1", state_id="ST9")
@example(identifier=" lee\xa0", state_id=" ST9")
@example(identifier="\u2003301", state_id="ST1")
def test_an_edit_is_told_what_a_delivery_of_the_same_is_told_and_leads_to_the_same_roster(
    plain_checks: None, query: Query, identifier: str, state_id: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        by_hand, by_file = (a_district(Path(folder) / name, query) for name in ("hand", "file"))
        typed = {"user_id": identifier, "user_state_id": state_id}
        changes = {name: text for name, text in typed.items() if trimmed(text) not in ("300", "ST1")}
        assume(changes)
        edited = edit(by_hand, "300", **changes)
        by_file.run(one_row(**changes), approve=True)
        assert told_of_one(by_hand) == told_of_one(by_file)
        if edited["outcome"] == "applied":
            assert by_hand.everything() == by_file.everything()


def one_row(user_id: str = "300", user_state_id: str = "ST1") -> dict[str, Any]:
    """What is edited as a delivery: the row beside those that it could be mistaken for, and the change in a file.

    Without a row where somebody else has the new identifier: that would be his.
    """
    name = trimmed(user_id) or ""
    alike = [row for row in ROWS[1:] if row["userId"].lower() == name.lower()]
    row = ROWS[0] | {"userId": user_id, "userStateId": user_state_id}
    rows = [] if any(one["userId"] == name for one in alike) else [row, *alike]
    changed = {"id_changes.csv": f"entity,old_id,new_id\nuser,300,{user_id}\n"} if name != "300" else {}
    return {"users.csv": rows, **changed}


def a_district(folder: Path, query: Query) -> Nightly:
    folder.mkdir()
    nightly = Nightly(folder, f"sqlite:///{folder}/roster.db", query)
    nightly.begin(ROWS)
    return nightly


def told_of_one(nightly: Nightly) -> set[tuple[str, str]]:
    """Code and message of what is found on the first line of any file; there is nothing of other rows."""
    found = duckdb.sql(f"SELECT code, message, line FROM read_parquet('{nightly.workspace}/findings.parquet')")
    return {(code, message) for code, message, line in found.fetchall() if line == 2 and code != "ROW-WAITS"}
