"""Rule 9(c): identifiers that change because the batch's `id_changes.csv` says so."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import duckdb
import pytest

from nightly import Nightly, add_up, clever, other, pupil, section, student, tutor
from reconciling import Roster

Rows = list[dict[str, str]]
HEADER = "entity,old_id,new_id\n"
PUPILS = [pupil(number) for number in range(1, 13)]
NEVER_HELD = {"floor": 1000}


def batch(rows: Rows, *changes: str) -> dict[str, Any]:
    """A Batch Upload delivery with lines of `id_changes.csv`, the first of them line 2."""
    return {"users.csv": rows, "id_changes.csv": HEADER + "".join(f"{change}\n" for change in changes)}


@pytest.fixture
def district(nightly: Nightly) -> Nightly:
    """A Clever district whose twelve students, one teacher and one section are in the database."""
    nightly.settings["primary_source"] = "clever"
    nightly.begin(clever(PUPILS))
    return nightly


def keys(district: Nightly, view: str = "users", entity: str = "user") -> dict[str, int]:
    """Identifier -> internal key."""
    return dict(district.view(view, f"{entity}_id, {entity}_key"))


# ---- what a change does -------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "rejected"), [
    pytest.param([student("301")], [], id="the row says the new identifier"),
    pytest.param([student("301", userGrade="6", userEmail="")], [], id="the row says the new one and more"),
    pytest.param([student("300", userGrade="6")], [], id="the row says the old identifier still"),
    pytest.param([other(1)], [], id="no row mentions the record"),
    pytest.param([student("301", userFirstName="")], ["301"], id="the row is rejected"),
])  # fmt: skip
def test_an_id_change_changes_the_identifier_of_the_same_record(
    tmp_path: Path, rows: Rows, rejected: list[str]
) -> None:
    roster = Roster(tmp_path)
    roster.night([student("300"), other(1)])
    before, attending = {name: key for name, (_, key) in roster.people().items()}, roster.attending()
    planned = roster.night(rows, rejected, f"{HEADER}user,300,301\n")
    assert planned.held == []
    assert planned.done() == {"301": "reidentify"}
    assert {name: key for name, (_, key) in roster.people().items()} == {"301": before["300"], "u1": before["u1"]}
    assert roster.attending() == attending


def test_an_id_change_is_kept_in_the_history_and_is_done_once(nightly: Nightly) -> None:
    district = nightly
    district.begin([student("300"), other(1)])
    before = keys(district)
    files = batch([student("301")], "user,300,301")
    result = district.run(files)
    assert result["outcome"] == "applied"
    assert keys(district) == {"301": before["300"], "u1": before["u1"]}
    assert result["counts"]["users"] | {"reidentify": 1, "create": 0, "deactivate": 0} == result["counts"]["users"]
    assert district.view("enrollments", "user_id, status") == [("301", "active"), ("u1", "active")]
    assert district.view("identifier_history", "entity, old_id, new_id") == [("users", "300", "301")]
    again = district.again()
    assert again["outcome"] == "in_sync"
    assert {code for code, file, _ in district.findings() if file == "id_changes.csv"} == set()
    assert keys(district) == {"301": before["300"], "u1": before["u1"]}


def test_no_more_than_the_identifier_changes_when_no_row_mentions_the_record(nightly: Nightly) -> None:
    nightly.begin([student("300"), other(1)])
    result = nightly.run(batch([other(1)], "users,300,301"))
    assert nightly.view("changes", "entity, operation, entity_id, before_json, after_json", "run_id = 'run-002'") == [
        ("users", "reidentify", "301", '{"source_key":"300","user_id":"300"}', '{"source_key":"301","user_id":"301"}')
    ]
    add_up(result, memberships=1, enrollments=1)
    assert nightly.run([student("301"), other(1)])["outcome"] == "in_sync"


@pytest.mark.parametrize(("entity", "old", "new"), [
    ("class", "X1", "Y1"), ("organization", "S1", "N1"), ("classes", "X1", "Y1"), ("Organizations", "S1", "N1"),
])  # fmt: skip
def test_classes_and_schools_change_too_and_keep_what_hangs_on_them(
    district: Nightly, entity: str, old: str, new: str
) -> None:
    says = {"Section_id": new} if old == "X1" else {"School_id": new}
    school = {"School_id": new} if old == "S1" else {}
    files = clever(
        [one | school for one in PUPILS],
        sections=[section("X1") | {"Name": "Another name", "School_id": "S1"} | says],
        teachers=[tutor("T1") | school],
        schools=[{"School_id": "S1", "School_name": "Another"} | school],
        enrollments=[(says.get("Section_id", "X1"), one["Student_id"]) for one in PUPILS],
    )
    result = district.run(files | {"id_changes.csv": f"{HEADER}{entity},{old},{new}\n"})
    assert sum(numbers["create"] + numbers["deactivate"] for numbers in result["counts"].values()) == 0
    assert result["counts"]["enrollments"]["unchanged"] == result["counts"]["memberships"]["unchanged"] == 13
    assert [row[1:] for row in district.view("identifier_history", "entity, old_id, new_id")] == [(old, new)]
    assert district.again()["outcome"] == "in_sync"


def test_in_a_snapshot_a_record_that_only_id_changes_mentions_stays_with_all_its_links(district: Nightly) -> None:
    files = clever(PUPILS[1:]) | {"id_changes.csv": f"{HEADER}user,p-1,q-1\n"}
    assert district.run(files)["outcome"] == "applied"
    assert district.view("users", "source_key, status", "user_id = 'q-1'") == [("student:q-1", "active")]
    assert district.view("enrollments", "status", "user_id = 'q-1'") == [("active",)]
    assert district.again()["outcome"] == "in_sync"
    district.run(clever(PUPILS[1:]))
    assert district.view("users", "status", "user_id = 'q-1'") == [("inactive",)]


def test_under_a_source_key_of_its_own_only_the_identifier_changes(nightly: Nightly) -> None:
    nightly.settings |= {"primary_source": "clever", "identifiers": {"columns": {"students": "Student_number"}}}
    people = [pupil(n, Student_number=f"N{n}") for n in range(1, 13)]
    nightly.begin(clever(people))
    files = clever(people[1:]) | {"id_changes.csv": f"{HEADER}user,N1,M1\nuser,N2,M2\n"}
    nightly.run(files)
    assert nightly.view("users", "user_id, source_key", "user_id LIKE 'M%'") == [
        ("M1", "student:p-1"), ("M2", "student:p-2"),
    ]  # fmt: skip
    assert nightly.again()["outcome"] == "in_sync"


# ---- swaps, chains, cycles ----------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
@pytest.mark.parametrize(("changes", "expected"), [
    pytest.param(["user,u1,u2", "user,u2,u1"], ["u2", "u1", "u3"], id="swap"),
    pytest.param(["user,u1,u2", "user,u2,u3", "user,u3,u4"], ["u2", "u3", "u4"], id="chain"),
    pytest.param(["user,u1,u2", "user,u2,u3", "user,u3,u1"], ["u2", "u3", "u1"], id="cycle"),
])  # fmt: skip
def test_swaps_chains_and_cycles_give_the_same_for_every_order(
    tmp_path: Path, changes: list[str], expected: list[str], order: tuple[int, ...]
) -> None:
    roster = Roster(tmp_path)
    roster.night([other(number) for number in (1, 2, 3)])
    before, attending = roster.people(), roster.attending()
    said = [other(number) | {"userId": new} for number, new in zip((1, 2, 3), expected, strict=True)]
    told = HEADER + "".join(f"{changes[place]}\n" for place in order if place < len(changes))
    planned = roster.night([said[place] for place in order], id_changes=told)
    turned_by_one = {new for number, new in zip((1, 2, 3), expected, strict=True) if new != f"u{number}"}
    assert (planned.held, planned.done()) == ([], dict.fromkeys(turned_by_one, "reidentify"))
    assert roster.people() == {new: before[f"u{number}"] for number, new in zip((1, 2, 3), expected, strict=True)}
    assert roster.attending() == attending


@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("told_before", [False, True])
def test_a_swap_is_told_back_by_the_same_lines_where_the_rows_say_so(
    nightly: Nightly, *, told_before: bool, release: bool
) -> None:
    nightly.settings["thresholds"] = NEVER_HELD
    lines = ("user,u1,u2", "user,u2,u1")
    nightly.begin([other(1), other(2)])
    before = keys(nightly)
    swapped = [other(1) | {"userId": "u2"}, other(2) | {"userId": "u1"}]
    assert nightly.run(batch(swapped, *lines) if told_before else swapped)["outcome"] == "applied"
    assert keys(nightly) == {"u1": before["u2"], "u2": before["u1"]}
    assert nightly.run(batch(swapped, *lines), release=release)["outcome"] == "in_sync"
    assert nightly.run(batch([other(1), other(2)], *lines), release=release)["outcome"] == "applied"
    assert (keys(nightly), nightly.view("users", "count(*)")) == (before, [(2,)])
    assert nightly.run(batch([other(1), other(2)], *lines), release=release)["outcome"] == "in_sync"


def test_a_long_cycle_without_any_row_turns_by_one(tmp_path: Path) -> None:
    roster, many = Roster(tmp_path), 300
    roster.night([other(number) for number in range(many)])
    before = roster.people()
    roster.night([], id_changes=HEADER + "".join(f"user,u{n},u{(n + 1) % many}\n" for n in range(many)))
    assert roster.people() == {f"u{(number + 1) % many}": before[f"u{number}"] for number in range(many)}


# ---- a class that is removed and renamed in one night ----------------------------------------------------------------


RENAMED = {"C2": "D2", "C3": "D3", "C4": "D4", "C5": "D5"}


def test_a_class_may_be_removed_by_its_old_or_new_identifier_in_the_batch_that_renames_it(nightly: Nightly) -> None:
    district = nightly
    district.settings["thresholds"] = NEVER_HELD
    district.begin([student("300"), *(student("300", classId=name) for name in RENAMED), other(1, classId="C2")])
    before = keys(district, "classes", "class")
    removals = [{"action": "REMOVE-CLASS", "classId": name} for name in ("C2", "D3", "C4", "D5")]
    rows = [*removals[:2], student("300"), *removals[2:]]
    files = batch(rows, *(f"class,{old},{new}" for old, new in RENAMED.items()))
    result = district.run(files)
    assert (result["outcome"], result["findings"]) == ("applied", {})
    after = {RENAMED.get(name, name): key for name, key in before.items()}
    assert keys(district, "classes", "class") == after
    assert dict(district.view("classes", "class_id, status")) == {
        name: "active" if name == "C1" else "inactive" for name in after
    }
    assert district.view("enrollments", "class_id, user_id", "status = 'active'") == [("C1", "300")]
    assert result["counts"]["classes"] | {"deactivate": 4, "reidentify": 0} == result["counts"]["classes"]
    assert district.view("identifier_history", "old_id, new_id", "entity = 'classes'") == sorted(RENAMED.items())
    again = district.again()
    assert (again["outcome"], again["findings"]) == ("in_sync", {})
    district.undo(result["run_id"])
    assert district.view("classes", "class_id, status") == [(name, "active") for name in sorted(before)]


def test_a_class_that_is_removed_by_its_old_identifier_while_rows_say_the_new_one_stays(nightly: Nightly) -> None:
    nightly.begin([student("300"), other(1, classId="C2")])
    nightly.run(batch([{"action": "REMOVE-CLASS", "classId": "C2"}, other(1, classId="D2")], "class,C2,D2"))
    assert nightly.findings() == [("REF-UNKNOWN", "users.csv", 2)]
    assert nightly.view("classes", "class_id, status") == [("C1", "active"), ("D2", "active")]


def test_a_removed_class_that_nobody_has_is_reported_beside_a_rename_too(nightly: Nightly) -> None:
    nightly.begin([student("300")])
    nightly.run(batch([{"action": "REMOVE-CLASS", "classId": "C9"}, student("300")], "user,300,301"))
    assert ("REF-UNKNOWN", "users.csv", 2) in nightly.findings()


# ---- after an undo ------------------------------------------------------------------------------

TURNS = [
    "user,u1,u2", "user,u2,u3", "user,u3,u4",  # a chain
    "user,u11,u12", "user,u12,u13", "user,u13,u11",  # a cycle
    "user,u21,u29",
]  # fmt: skip
MANY = [other(number) for number in (1, 2, 3, 11, 12, 13, 21)]


def turned() -> dict[str, Any]:
    """The changes, with rows that know of them."""
    new = dict(change.split(",")[1:] for change in TURNS)
    return batch([row | {"userId": new[row["userId"]]} for row in MANY], *TURNS)


def test_an_undone_change_is_applied_again_when_its_file_comes_again(nightly: Nightly) -> None:
    district = nightly
    district.settings["thresholds"] = NEVER_HELD
    district.begin(MANY)
    before, files = keys(district), turned()
    changed = district.run(files)
    after = keys(district)
    assert before != after
    for _ in range(2):
        district.undo(changed["run_id"])
        assert keys(district) == before
        changed = district.run(files)
        assert (changed["outcome"], changed["findings"], keys(district)) == ("applied", {}, after)
    again = district.again()
    assert (again["outcome"], again["findings"], keys(district)) == ("in_sync", {}, after)


def test_a_change_is_done_once_more_when_its_undo_was_undone(nightly: Nightly) -> None:
    nightly.settings["thresholds"] = NEVER_HELD
    nightly.begin(MANY)
    before, files = keys(nightly), turned()
    changed = nightly.run(files)
    after = keys(nightly)
    undone = nightly.undo(changed["run_id"])
    redone = nightly.undo(undone["run_id"])
    again = nightly.again()
    assert (again["outcome"], again["findings"], keys(nightly)) == ("in_sync", {}, after)
    nightly.undo(redone["run_id"])
    assert keys(nightly) == before
    assert (nightly.run(files)["outcome"], keys(nightly)) == ("applied", after)


def test_a_change_that_an_undo_left_alone_stays_done(nightly: Nightly) -> None:
    nightly.begin([other(number) for number in (1, 2)])
    files = batch([other(1) | {"userId": "u9"}, other(2) | {"userId": "u8"}], "user,u1,u9", "user,u2,u8")
    changed = nightly.run(files)
    nightly.run(batch([*files["users.csv"], other(5) | {"userId": "u1"}]))
    nightly.undo(changed["run_id"], keep_later=True)
    kept = keys(nightly)
    assert set(kept) == {"u1", "u2", "u9"}
    result = nightly.run(files)
    assert (result["outcome"], result["findings"]) == ("applied", {})
    assert keys(nightly) == {"u1": kept["u1"], "u8": kept["u2"], "u9": kept["u9"]}


def test_a_file_that_lists_every_change_ever_made_newest_first_may_come_night_after_night(nightly: Nightly) -> None:
    nightly.begin([other(1), other(2)])
    before = keys(nightly)
    ever: list[str] = []
    for old, new in itertools.pairwise(["u1", "a", "b"]):
        ever.append(f"user,{old},{new}")
        files = batch([other(1) | {"userId": new}, other(2)], *reversed(ever))
        for result, outcome in ((nightly.run(files), "applied"), (nightly.again(), "in_sync")):
            assert (result["outcome"], result["findings"]) == (outcome, {})
            assert keys(nightly) == {new: before["u1"], "u2": before["u2"]}


# ---- what cannot be followed --------------------------------------------------------------------


def test_lines_that_contradict_each_other_name_each_others_lines(tmp_path: Path, plain_checks: None) -> None:
    nightly = Nightly(tmp_path, f"sqlite:///{tmp_path}/roster.db", lambda *_: [])
    changes = ["user,300,301", "user,300,302", "user,300,301", "user,u1,302", *(f"user,u2,n{n}" for n in range(9))]
    nightly.run(batch([other(5)], *changes), until="check")
    table = f"read_parquet('{nightly.workspace}/findings.parquet')"
    found = duckdb.sql(f"SELECT line, \"column\", message FROM {table} WHERE entity = 'id_changes'").fetchall()
    told = {(line, column): message for line, column, message in found}
    other_one = "Other lines change this identifier to another one; none of them is followed"
    assert told[2, "old_id"] == told[4, "old_id"] == f"{other_one} (see line 3)."
    assert told[3, "old_id"] == f"{other_one} (see line 2)."
    assert told[3, "new_id"] == (
        "Other lines give this identifier to another record; none of them is followed (see line 5)."
    )
    assert told[6, "old_id"] == f"{other_one} (see line 7, line 8, line 9, line 10, line 11 and 3 more)."


LINES = {
    "user,999,301": "REF-UNKNOWN",
    "class,u1,301": "REF-UNKNOWN",  # an identifier of another kind of record
    "pupil,u2,302": "VAL-INVALID",
    ",u3,303": "VAL-INVALID",
    "user,,304": "ID-MISSING",
    "user,u4,": "ID-MISSING",
    "user,u5,3!5": "ID-CHARSET",
    "user,u6,306": "ID-DUPLICATE",
    "user,u6,307": "ID-DUPLICATE",
    "user,u7,308": "ID-DUPLICATE",
    "user,u8,308": "ID-DUPLICATE",
    "user,u9,u12": "PLAN-REIDENTIFY-TAKEN",
    "user,u10,u11": "PLAN-REIDENTIFY-TAKEN",  # a chain whose end is kept
    "user,u11,u14": "PLAN-REIDENTIFY-TAKEN",
    "user,u13": "ROW-MALFORMED",
}
"""A line that cannot be followed, and why."""


def test_a_line_that_cannot_be_followed_changes_nobody(nightly: Nightly) -> None:
    nightly.begin([other(number) for number in range(1, 15)])
    before = nightly.everything()
    result = nightly.run(batch([other(50)], *LINES))
    found = {line: code for code, file, line in nightly.findings() if file == "id_changes.csv"}
    assert found == dict(enumerate(LINES.values(), start=2))
    after = nightly.everything()
    assert len(after["users"]) == len(before["users"]) + 1
    assert set(before["users"]) < set(after["users"]) and set(before["enrollments"]) < set(after["enrollments"])
    add_up(result, users=1, memberships=1, enrollments=1)


@pytest.mark.parametrize("mode", ["delta", "snapshot"])
def test_an_inactive_record_keeps_its_identifier(nightly: Nightly, mode: str) -> None:
    nightly.settings |= {"primary_source": "clever"}
    nightly.begin(clever(PUPILS))
    nightly.run(clever(PUPILS[:-1]))
    nightly.settings["source"] = {"path": str(nightly.folder / "delivery"), "mode": mode}
    nightly.run(clever([pupil(1, Student_id="p-12"), *PUPILS[1:-1]]) | {"id_changes.csv": f"{HEADER}user,p-1,p-12\n"})
    assert ("PLAN-REIDENTIFY-TAKEN", "id_changes.csv", 2) in nightly.findings()
    assert ("PLAN-REIDENTIFY-TAKEN", "students.csv", 2) in nightly.findings()
    assert nightly.view("users", "user_id, given_name, status", "user_id IN ('p-1', 'p-12')") == [
        ("p-1", "Given1", "active"), ("p-12", "Given12", "inactive"),
    ]  # fmt: skip


def test_a_line_that_is_rejected_keeps_its_record_from_being_absent(district: Nightly) -> None:
    lines = "user,p-1\nuser,p-2,q-2,x\nuser,p-3,q!3\n"
    result = district.run(clever(PUPILS[3:]) | {"id_changes.csv": f"{HEADER}{lines}"})
    assert district.view("users", "status", "user_id IN ('p-1', 'p-2', 'p-3')") == [("active",)] * 3
    assert result["counts"]["users"] | {"deactivate": 0, "rejected": 0} == result["counts"]["users"]


# ---- what it settles ----------------------------------------------------------------------------


def test_an_id_change_settles_what_would_be_ambiguous(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.night([student("300"), other(1)])
    rows = [student("301", userGrade="6"), other(1)]
    assert roster.plan(rows).held == [("PLAN-AMBIGUOUS", "301")]
    planned = roster.plan(rows, id_changes=f"{HEADER}user,300,301\n")
    assert (planned.held, planned.done()) == ([], {"301": "reidentify"})


def test_an_id_change_settles_lost_zeros(nightly: Nightly) -> None:
    nightly.begin([student("00300")])
    result = nightly.run(batch([student("300")], "user,00300,300"))
    assert (result["findings"], nightly.view("users", "user_id")) == ({}, [("300",)])


def test_somebody_new_may_take_the_identifier_that_a_change_frees(nightly: Nightly) -> None:
    nightly.begin([student("300")])
    before = keys(nightly)
    result = nightly.run(batch([student("301"), other(9) | {"userId": "300"}], "user,300,301"))
    assert result["findings"] == {}
    assert keys(nightly)["301"] == before["300"]
    assert nightly.view("users", "user_id, given_name") == [("300", "Given9"), ("301", "Leena")]


def test_a_row_that_still_says_the_old_identifier_beside_the_new_one_waits(nightly: Nightly) -> None:
    nightly.begin([student("300")])
    nightly.run(batch([student("301"), student("300", classId="C2", userEmail="x@demo.example")], "user,300,301"))
    assert ("PLAN-AMBIGUOUS", "users.csv", 3) in nightly.findings()
    assert nightly.view("users", "user_id") == [("301",)]


# ---- the file itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["entity,old_id\nuser,300\n", "entity,old_id,new_id,new_id\n", "kind,old,new\n"])
def test_a_header_that_cannot_be_used_refuses_the_batch(nightly: Nightly, text: str) -> None:
    result = nightly.run({"users.csv": [student()], "id_changes.csv": text})
    assert (result["outcome"], result["findings"]) == ("refused", {"FILE-HEADER": 1})


def test_an_empty_file_of_changes_is_nothing(district: Nightly) -> None:
    assert district.run(clever(PUPILS) | {"id_changes.csv": HEADER})["outcome"] == "in_sync"


def test_another_file_of_changes_is_another_batch(nightly: Nightly) -> None:
    nightly.begin([student("300")])
    assert nightly.run(batch([student("300")], "user,300,301"), force=False)["counts"]["users"]["reidentify"] == 1


def test_a_chain_goes_through_although_a_row_that_resembles_its_middle_waits(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.night([other(number) for number in (1, 2)])
    before = roster.people()
    told = f"{HEADER}user,u1,u2\nuser,u2,u3\n"
    planned = roster.night([other(2, userGrade="6") | {"userId": "u9"}], id_changes=told)
    assert planned.held == [("PLAN-AMBIGUOUS", "u9")]
    assert roster.people() == {"u2": before["u1"], "u3": before["u2"]}
