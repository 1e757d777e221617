"""Undo takes back exactly what a run changed, is a run itself, and leaves alone what later runs changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from enrollsync.cli import app
from enrollsync.database import open_store
from enrollsync.words.errors import ConfigurationError, UndoConflict
from nightly import Nightly, clever, other, pupil, section, student


def conflicts(nightly: Nightly, run_id: str) -> list[tuple[str, ...]]:
    """Entity, record, column and later run of what keeps a run from being undone; nothing has changed then."""
    before = whole(nightly)
    with pytest.raises(UndoConflict) as raised:
        nightly.undo(run_id)
    assert whole(nightly) == before
    people = {identifier for (identifier,) in nightly.view("users", "user_id")}
    assert not any(people.intersection(found["shown"].split()) for found in raised.value.conflicts)
    return [(found["entity"], found["record"], found["column"], found["run_id"]) for found in raised.value.conflicts]


def whole(nightly: Nightly) -> dict[str, list[tuple[Any, ...]]]:
    """The roster's views with internal keys and source keys."""
    columns = {
        "organizations": "organization_key, source_key", "users": "user_key, source_key",
        "memberships": "user_key, organization_key", "classes": "class_key, source_key",
        "enrollments": "class_key, user_key",
    }  # fmt: skip
    keys = {name: nightly.view(name, listed) for name, listed in columns.items()}
    return nightly.everything() | {f"{name} keys": rows for name, rows in keys.items()}


# ---- every kind of change comes back ---------------------------------------------------------------------------------

X1, X2, X3 = (section(name) for name in ("X1", "X2", "X3"))
PAIRS = [("X1", "p-1"), ("X1", "p-2")]
SCHOOLS = [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": "South"}]


def night(*pupils: dict[str, str], sections: Any = (X1, X2), pairs: Any = PAIRS, schools: Any = None) -> dict[str, Any]:
    """A Clever set."""
    return clever(pupils, sections=sections, enrollments=pairs, schools=schools)


FIRST = night(pupil(1), pupil(2), pupil(3))
CHANGES = {
    "values": night(
        pupil(1, Grade="6", State_id="9"), pupil(2, First_name="Zo"), pupil(3), sections=[section("X1", Name="Art"), X2]
    ),
    "creations": night(
        pupil(1), pupil(2), pupil(3), pupil(4), sections=[X1, X2, X3], pairs=[*PAIRS, ("X3", "p-4"), ("X2", "p-3")]
    ),
    "absences": night(pupil(1), pupil(3), sections=[X1], pairs=[("X1", "p-3")]),
    "an identifier": night(pupil(1), pupil(2, Student_id="q-2"), pupil(3), pairs=[("X1", "p-1"), ("X1", "q-2")]),
    "schools": night(
        pupil(1, School_id="S2"), pupil(2), pupil(3), sections=[section("X1", School_id="S2"), X2], schools=SCHOOLS
    ),
}


@pytest.fixture
def district(nightly: Nightly) -> Nightly:
    """A Clever district on SQLite after its first night, `run-001`."""
    return opened(nightly)


def opened(nightly: Nightly) -> Nightly:
    """The same where a test asks for both databases."""
    nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
    nightly.begin(FIRST)
    return nightly


@pytest.mark.parametrize("change", CHANGES)
def test_an_undone_run_leaves_the_roster_as_it_was_and_undoing_that_brings_it_back(
    district: Nightly, change: str
) -> None:
    before = whole(district)
    changed = district.run(CHANGES[change], approve=True)
    after = whole(district)
    assert changed["outcome"] == "applied" and after != before
    undone = district.undo(changed["run_id"])
    assert undone["outcome"] == "undone" and whole(district) == before
    assert district.undo(undone["run_id"])["outcome"] == "undone"
    assert whole(district) == after


def test_an_undone_first_load_leaves_empty_views_and_free_identifiers(nightly_everywhere: Nightly) -> None:
    district = opened(nightly_everywhere)
    loaded = district.everything()
    district.undo("run-001")
    assert not any(whole(district).values())
    again = district.run(FIRST)
    assert again["outcome"] == "applied" and again["counts"]["users"]["create"] == 4
    assert district.everything() == loaded


def test_the_audit_rows_of_an_undone_creation_stay_and_say_whose_they_are(district: Nightly) -> None:
    told = "run_id, entity, user_key, class_key, operation, after_json"
    before = district.view("changes", told)
    undone = district.undo("run-001")
    assert set(before) <= set(district.view("changes", told))
    links = district.view("changes", "entity_id", "run_id = 'run-001' AND entity = 'enrollments'")
    assert any("p-1" in link and "X1" in link for (link,) in links)
    (row,) = district.view(
        "changes", "operation, before_json, reason", f"run_id = '{undone['run_id']}' AND entity_id = 'p-1'"
    )
    assert (row[0], json.loads(row[1]), row[2]) == (
        "deactivate", {"status": "active", "source_key": "student:p-1", "user_id": "p-1"}, "undo of run run-001",
    )  # fmt: skip


def test_an_undo_is_a_run_with_counts_plan_approver_and_a_folder(district: Nightly) -> None:
    district.run(CHANGES["an identifier"])
    undone = district.undo("run-002")
    assert undone["counts"]["users"] == dict.fromkeys(undone["counts"]["users"], 0) | {"reidentify": 1}
    assert undone["findings"] == {} and undone["holds"] == [] and Path(undone["artifacts"]).is_dir()
    (run,) = district.view("runs", "outcome, plan_id, batch_hash, approved_by", f"run_id = '{undone['run_id']}'")
    assert run == ("undone", undone["plan_id"], None, "pat")
    history = district.view("identifier_history", "old_id, new_id, changed_by")
    assert history == [("p-2", "q-2", "clever"), ("q-2", "p-2", "pat")]


def test_the_same_delivery_after_an_undo_is_applied_again(district: Nightly) -> None:
    changed = district.run(CHANGES["values"])
    after = district.everything()
    assert district.run(force=False)["outcome"] == "in_sync"
    district.undo(changed["run_id"])
    assert district.run(force=False)["outcome"] == "applied"
    assert district.everything() == after


OF_EVERY_KIND = night(
    pupil(1, Grade="6", State_id="9"), pupil(2, Student_id="q-2"), pupil(4),
    sections=[section("X1", Name="Art"), X2, X3], pairs=[("X1", "p-1"), ("X1", "q-2"), ("X3", "p-4")],
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_runs_are_undone_from_the_newest_back(nightly_everywhere: Nightly) -> None:
    district = opened(nightly_everywhere)
    states = [whole(district)]
    nights = (OF_EVERY_KIND, CHANGES["schools"])
    for files in nights:
        counts = district.run(files, approve=True)["counts"]
        states.append(whole(district))
    assert counts["users"]["reactivate"] and counts["users"]["reidentify"]
    for number in range(len(nights), 0, -1):
        assert whole(district) == states[number]
        district.undo(f"run-{number + 1:03}")
        assert whole(district) == states[number - 1]


# ---- identifiers that passed to somebody else ------------------------------------------------------------------------

BO = {"userFirstName": "Bo", "userLastName": "Li", "userEmail": "bo@demo.example", "userBirthDate": "2016-05-01"}
NEW_PUPIL = pupil(1, First_name="Bo", Last_name="Li", DOB="5/6/2013", Student_email="bo@demo.example")
RELEASED: dict[str, tuple[str, list[Any], Any]] = {
    "in a delta": (
        "batch_upload", [[student("300", userStateId="9"), other(1)]], [student("300", classId="C2", **BO), other(1)]
    ),
    "in a snapshot": ("clever", [FIRST], night(NEW_PUPIL, pupil(2), pupil(3))),
    "by somebody who had left": (
        "clever", [FIRST, night(pupil(2), pupil(3), pairs=[("X1", "p-2")])], night(NEW_PUPIL, pupil(2), pupil(3))
    ),
    "while the other person moved on": ("batch_upload", [[student("300")]], [student("301"), student("300", **BO)]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("database_url", "case"),
    [*(("sqlite", case) for case in RELEASED), ("postgresql", "while the other person moved on")],
    indirect=["database_url"],
)
def test_an_undone_release_gives_the_identifier_back_and_undoing_that_passes_it_on_again(
    nightly_everywhere: Nightly, case: str
) -> None:
    nightly = nightly_everywhere
    source, nights_before, last = RELEASED[case]
    nightly.settings |= {"primary_source": source, "thresholds": {"floor": 1000}}
    nightly.begin(nights_before[0])
    for files in nights_before[1:]:
        nightly.run(files)
    before = whole(nightly)
    released = nightly.run(last, release=True)
    after = whole(nightly)
    assert released["outcome"] == "applied" and released["counts"]["users"]["create"] == 1
    assert nightly.view("enrollments", "user_key", "status = 'active' AND user_id IS NULL") == []
    undone = nightly.undo(released["run_id"])
    assert whole(nightly) == before
    nightly.undo(undone["run_id"])
    assert whole(nightly) == after


def test_a_release_that_was_undone_and_redone_may_be_undone_and_released_again(nightly: Nightly) -> None:
    _, (first,), last = RELEASED["while the other person moved on"]
    nightly.begin(first)
    before = whole(nightly)
    released = nightly.run(last, release=True)
    after = nightly.everything()
    redone = nightly.undo(nightly.undo(released["run_id"])["run_id"])
    assert nightly.run(last)["outcome"] == "in_sync"
    nightly.undo(redone["run_id"])
    assert whole(nightly) == before
    assert nightly.run(last, release=True)["outcome"] == "applied"
    assert nightly.everything() == after


# ---- the newest delivery that counts ---------------------------------------------------------------------------------


def found(nightly: Nightly, hour: int, **values: str) -> str:
    """The outcome of a night that finds a delivery which arrived at that hour."""
    for path in nightly.deliver([student(**values), other(1)]).iterdir():
        os.utime(path, (1_790_000_000 + hour * 3600,) * 2)
    return str(nightly.run(found=True)["outcome"])


def test_an_older_delivery_is_not_stale_while_the_newer_one_is_undone(nightly: Nightly) -> None:
    assert found(nightly, 1) == "applied"
    assert found(nightly, 3, userGrade="6") == "applied"
    assert found(nightly, 2, userGrade="7") == "held"
    undone = nightly.undo("run-002")
    redone = nightly.undo(undone["run_id"])
    assert found(nightly, 2, userGrade="7") == "held"
    nightly.undo(redone["run_id"])
    assert found(nightly, 0, userGrade="7") == "held"
    assert found(nightly, 2, userGrade="7") == "applied"


def test_after_the_only_delivery_was_undone_none_is_stale(nightly: Nightly) -> None:
    assert found(nightly, 1) == "applied"
    nightly.undo("run-001")
    assert found(nightly, 0) == "applied"


# ---- removed links come back as what they are ------------------------------------------------------------------------


def test_a_pair_that_was_undone_comes_again_as_a_reactivation_and_is_counted_so(district: Nightly) -> None:
    more = night(pupil(1), pupil(2), pupil(3), pairs=[*PAIRS, ("X2", "p-3")])
    district.run(more)
    after = whole(district)
    district.undo("run-002")
    counts = district.run(more)["counts"]["enrollments"]
    assert (counts["create"], counts["reactivate"], counts["unchanged"]) == (0, 1, 4)
    assert whole(district) == after
    assert district.run(more)["outcome"] == "in_sync"


def test_a_pair_that_was_undone_does_not_count_among_those_that_may_go(nightly: Nightly) -> None:
    opened(nightly).settings["thresholds"] = {"floor": 1, "deactivate_percent": 0}
    nightly.begin(CHANGES["creations"])
    nightly.undo("run-002")
    assert nightly.run(FIRST)["outcome"] == "in_sync"


# ---- what later runs changed -----------------------------------------------------------------------------------------


def test_a_value_that_a_later_run_changed_is_a_conflict_and_can_be_kept(district: Nightly) -> None:
    first = {"Grade": "6", "State_id": "9"}
    district.run(night(pupil(1, **first), pupil(2), pupil(3)))
    district.run(night(pupil(1, **first | {"Grade": "7"}), pupil(2), pupil(3)))
    found = conflicts(district, "run-002")
    assert found == [("users", "p-1", "grade", "run-003")]
    district.undo("run-002", keep_later=True)
    assert district.view("users", "grade, user_state_id", "user_id = 'p-1'") == [("7", None)]


def test_a_value_that_later_runs_changed_and_changed_back_is_theirs(nightly: Nightly) -> None:
    opened(nightly)
    for grade in ("6", "7", "6"):
        nightly.run(night(pupil(1, Grade=grade), pupil(2), pupil(3)))
    assert conflicts(nightly, "run-002") == [("users", "p-1", "grade", "run-004")]
    nightly.undo("run-004")
    nightly.undo("run-003")
    nightly.undo("run-002")
    assert nightly.view("users", "grade", "user_id = 'p-1'") == [("5",)]


def test_a_creation_with_a_later_change_stays_with_its_links_and_what_they_need(district: Nightly) -> None:
    new = [pupil(number, School_id="S2") for number in (4, 5)]
    shape = {
        "sections": [X1, X2, *(section(name, School_id="S2", Teacher_id="") for name in ("X3", "X4"))],
        "pairs": [*PAIRS, ("X3", "p-4"), ("X4", "p-5")],
        "schools": SCHOOLS,
    }
    before = district.everything()
    district.run(night(pupil(1), pupil(2), pupil(3), *new, **shape))
    changed = pupil(4, School_id="S2", Grade="6")
    district.run(night(pupil(1), pupil(2), pupil(3), changed, new[1], **shape))
    assert ("users", "p-4", "grade", "run-003") in conflicts(district, "run-002")
    district.undo("run-002", keep_later=True)
    after = district.everything()
    added = {name: sorted(row[:2] for row in set(after[name]) - set(before[name])) for name in before}
    assert added == {
        "organizations": [("S2", "South")],
        "users": [("p-4", None)],
        "memberships": [("p-4", "S2")],
        "classes": [("X3", "S2")],
        "enrollments": [("X3", "p-4")],
    }


def test_a_creation_with_a_later_link_is_a_conflict(district: Nightly) -> None:
    district.run(CHANGES["creations"])
    pairs = [*PAIRS, ("X3", "p-4"), ("X2", "p-3"), ("X3", "p-1")]
    district.run(night(pupil(1), pupil(2), pupil(3), pupil(4), sections=[X1, X2, X3], pairs=pairs))
    assert conflicts(district, "run-002") == [("classes", "X3", "enrollments", "run-003")]
    district.undo("run-002", keep_later=True)
    assert district.view("enrollments", "class_id, user_id", "class_id = 'X3'") == [
        ("X3", "T1"), ("X3", "p-1"), ("X3", "p-4"),
    ]  # fmt: skip
    assert district.view("enrollments", "user_id", "class_id = 'X2'") == [("T1",)]


def test_a_record_that_would_be_inactive_with_a_later_link_is_a_conflict(nightly: Nightly) -> None:
    opened(nightly)
    nightly.begin(night(pupil(1), pupil(2)))
    nightly.run(FIRST)
    nightly.run(night(pupil(1), pupil(2), pupil(3), pairs=[*PAIRS, ("X1", "p-3")]))
    assert conflicts(nightly, "run-003") == [("users", "p-3", "status", "run-004")]


def test_an_identifier_that_somebody_else_took_since_is_a_conflict(district: Nightly) -> None:
    district.run(CHANGES["an identifier"])
    pairs = [("X1", "p-1"), ("X1", "q-2")]
    district.run(night(pupil(1), pupil(2, Student_id="q-2"), pupil(3), pupil(9, Student_id="p-2"), pairs=pairs))
    found = conflicts(district, "run-002")
    assert found == [("users", "q-2", "source_key", "run-003"), ("users", "q-2", "user_id", "run-003")]
    with pytest.raises(ConfigurationError, match="nothing is left to undo"):
        district.undo("run-002", keep_later=True)


def test_undoing_an_undo_whose_identifiers_are_taken_again_keeps_the_new_records(district: Nightly) -> None:
    undone = district.undo("run-001")
    district.run(FIRST)
    assert {entity for entity, *_ in conflicts(district, undone["run_id"])} == {"organizations", "users", "classes"}
    before = whole(district)
    with pytest.raises(ConfigurationError, match="nothing is left to undo"):
        district.undo(undone["run_id"], keep_later=True)
    assert whole(district) == before


def test_a_conflict_shows_no_identifier_that_could_be_a_social_security_number(nightly: Nightly) -> None:
    nightly.settings["thresholds"] = {"floor": 1000}
    for grade in ("5", "6", "7"):
        nightly.run([student("123456789", userGrade=grade), other(1)])
    assert conflicts(nightly, "run-002") == [("users", "*****6789", "grade", "run-003")]


# ---- runs that cannot be undone --------------------------------------------------------------------------------------


def test_what_cannot_be_undone_ends_with_2_and_one_line(nightly: Nightly) -> None:
    nightly.begin([student()])
    nightly.run()
    nightly.undo("run-001")
    said = {"nowhere": "has none", "run-002": "wrote nothing (in_sync)", "run-001": "nothing is left to undo"}
    for run_id, says in said.items():
        result = enrollsync("undo", run_id, "--district", nightly.district)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert says in line and run_id in line


def test_undo_of_an_unknown_run_makes_no_database(nightly_from_nothing: Nightly) -> None:
    assert enrollsync("undo", "run-001", "--district", nightly_from_nothing.district).exit_code == 2
    assert not Path(nightly_from_nothing.database_url.removeprefix("sqlite:///")).exists()


def enrollsync(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_the_command_prints_the_result(nightly: Nightly) -> None:
    nightly.begin([student()])
    done = enrollsync("undo", "run-001", "--district", nightly.district, "--json")
    printed = json.loads(done.stdout)
    assert (printed["outcome"], printed["counts"]["users"]["deactivate"], done.stderr) == ("undone", 1, "")
    assert nightly.view("users") == []


@pytest.mark.parametrize(("answer", "outcome"), [("y\n", "undone"), ("n\n", "rejected"), ("", "rejected")])
def test_at_a_terminal_the_plan_is_shown_and_a_person_is_asked(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch, answer: str, outcome: str
) -> None:
    monkeypatch.setattr("enrollsync.cli._at_a_terminal", lambda: True)
    nightly.begin([student()])
    done = CliRunner().invoke(app, ["undo", "run-001", "--district", nightly.district], input=answer)
    assert done.exit_code == 0
    shown, question, after = done.output.partition("Take these changes back?")
    assert "run-001" in shown and "taken out" in shown and "leaves the views and is kept" in shown and question
    assert after.split("run ")[0].split()[-1] == outcome
    assert (nightly.view("users") == []) == (outcome == "undone")


@pytest.mark.parametrize(("terminal", "options"), [(False, []), (True, ["--yes"])])
def test_without_a_terminal_or_with_yes_the_plan_is_shown_and_nobody_is_asked(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch, terminal: bool, options: list[str]
) -> None:
    monkeypatch.setattr("enrollsync.cli._at_a_terminal", lambda: terminal)
    nightly.begin([student()])
    done = enrollsync("undo", "run-001", "--district", nightly.district, *options)
    assert done.exit_code == 0 and "Take these" not in done.output
    assert done.stdout.index("leaves the views and is kept") < done.stdout.index("undone")
    assert nightly.view("users") == []


def test_a_refused_undo_names_the_later_runs_in_one_line_and_lists_the_records(nightly: Nightly) -> None:
    for grade in ("5", "6", "7", "8"):
        nightly.run([student(userGrade=grade), other(1)], approve=True)
    told = enrollsync("undo", "run-002", "--district", nightly.district)
    (line,) = told.stderr.splitlines()
    assert told.exit_code == 5 and "run-004" in line and "--keep-later" in line
    assert told.stdout.splitlines()[1].split()[:3] == ["users", "300", "grade"]
    done = enrollsync("undo", "run-002", "--district", nightly.district, "--json")
    printed = json.loads(done.stdout)
    assert (done.exit_code, printed["outcome"], printed["later_runs"]) == (5, "failed", ["run-004"])
    assert [found["record"] for found in printed["conflicts"]] == ["300"]
    page = Path(printed["artifacts"], "report.html").read_text()
    assert "run-004" in page and "<code>grade</code>" in page
    kept = enrollsync("undo", "run-002", "--district", nightly.district, "--keep-later")
    assert (kept.exit_code, "nothing is left" in kept.stderr) == (2, True)


def test_an_undo_logs_no_values(nightly: Nightly, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="enrollsync")
    nightly.run([student()])
    nightly.undo("run-001")
    assert "ended after" in caplog.text
    assert not any(value in caplog.text for value in ("300", "Leena", "Parath", "leena@demo.example"))


# ---- the state moves -------------------------------------------------------------------------------------------------


def test_somebody_who_writes_meanwhile_makes_the_undo_plan_again(nightly: Nightly, monkeypatch) -> None:
    from enrollsync import undo as undoing

    nightly.run([student(), other(1)])
    nightly.run([student(userGrade="6"), other(1)], approve=True)
    plan_undo = undoing.plan_undo

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(undoing, "plan_undo", plan_undo)
        made = plan_undo(*arguments, **options)
        nightly.run([student(userGrade="6"), other(1), other(2)], approve=True)
        return made

    monkeypatch.setattr(undoing, "plan_undo", interrupted)
    assert nightly.undo("run-002")["outcome"] == "undone"
    assert len(nightly.view("users")) == 3 and nightly.view("users", "grade", "user_id = '300'") == [("5",)]


def test_the_audit_is_exported_from_a_state_on(district: Nightly, tmp_path: Path) -> None:
    district.run(CHANGES["values"])
    district.run(CHANGES["creations"])
    open_store(district.database_url).export_changes("demo", 2, tmp_path)
    assert set(pq.read_table(tmp_path / "changes.parquet")["state_after"].to_pylist()) == {2, 3}
    assert sorted(pq.read_table(tmp_path / "runs.parquet")["run_id"].to_pylist()) == ["run-002", "run-003"]
