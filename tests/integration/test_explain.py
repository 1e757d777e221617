"""`enrollsync explain`: the whole life of a record, and why a row did not load, without the runs' workspaces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from enrollsync import steps
from enrollsync.cli import app
from nightly import Nightly, as_csv, clever, other, pupil, student, tutor


def explain(nightly: Nightly, kind: str, identifier: str) -> dict[str, Any]:
    """What the command prints with --json, after every workspace is gone."""
    shutil.rmtree(nightly.folder / "data", ignore_errors=True)
    result = command(nightly, kind, identifier, "--json")
    assert result.exit_code == 0, result.stderr
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


def command(nightly: Nightly, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["explain", *arguments, "--district", nightly.district], catch_exceptions=False)


def events(life: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Run, operation or finding, entity and the other end of each event."""
    return [
        (event["run_id"], event.get("operation") or event["finding"], event["entity"], event.get("of"))
        for event in life
    ]


def unbounded(nightly: Nightly, **settings: Any) -> None:
    nightly.settings |= {"thresholds": {"floor": 1000}, **settings}


# ---- the life of a record --------------------------------------------------------------------------------------------


def test_why_a_student_lost_a_class(nightly_everywhere: Nightly) -> None:
    nightly = nightly_everywhere
    unbounded(nightly, primary_source="clever")
    nightly.begin(clever([pupil(1), pupil(2)]))
    nightly.run(clever([pupil(1, Grade="6"), pupil(2)], enrollments=[("X1", "p-2")]), approve=True)
    (record,) = explain(nightly, "user", "p-1")["records"]
    assert events(record["life"]) == [
        ("run-002", "deactivate", "enrollments", "X1"),
        ("run-002", "update", "users", None),
        ("run-001", "create", "enrollments", "X1"),
        ("run-001", "create", "memberships", "S1"),
        ("run-001", "create", "users", None),
    ]
    lost, changed, joined, _, _ = record["life"]
    assert (lost["before"], lost["after"], lost["reason"]) == (
        {"status": "active"}, {"status": "inactive"}, "the batch no longer has it",
    )  # fmt: skip
    assert (changed["before"], changed["after"], changed["file"], changed["line"], changed["reason"]) == (
        {"grade": "5"}, {"grade": "6"}, "students.csv", 2, "the batch says so",
    )  # fmt: skip
    assert joined["before"] is None
    assert joined["after"] == {"role": "student", "is_primary": False, "status": "active", "source": "clever"}


def test_an_approver_is_named(nightly: Nightly) -> None:
    nightly.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    nightly.begin([student()])
    nightly.run([student(userGrade="6")], approve=True)
    (record,) = explain(nightly, "user", "300")["records"]
    assert record["life"][0]["approved_by"] == "a person" and record["life"][-1]["approved_by"] is None


def test_a_class_names_its_organization_and_an_organization_its_changes(nightly: Nightly) -> None:
    unbounded(nightly)
    nightly.begin([student()])
    nightly.run([student(schoolName="South")])
    (school,) = explain(nightly, "organization", "S1")["records"]
    assert events(school["life"]) == [
        ("run-002", "update", "organizations", None), ("run-001", "create", "organizations", None),
    ]  # fmt: skip
    (created,) = explain(nightly, "class", "C1")["records"][0]["life"]
    assert created["after"]["organization_id"] == "S1" and "organization_key" not in created["after"]


def test_an_old_identifier_of_two_people_tells_of_both_with_dates(nightly: Nightly) -> None:
    unbounded(nightly)
    nightly.begin([student("300"), other(1)])
    nightly.run([student("301"), other(1)])
    changed_at = nightly.view("identifier_history", "changed_at")[0][0]
    nightly.run([student("301"), other(1), other(2, userId="300")])
    new, old = explain(nightly, "user", "300")["records"]
    assert (new["identifier"], new["earlier"]) == ("300", [])
    assert (old["identifier"], old["earlier"]) == ("301", [{"identifier": "300", "until": changed_at}])
    assert explain(nightly, "user", "301")["records"] == [old]


def test_a_source_key_finds_a_record_with_or_without_its_kind(nightly: Nightly) -> None:
    unbounded(nightly, primary_source="clever", identifiers={"columns": {"students": "Student_number"}})
    nightly.begin(clever([pupil(1, Student_number="9001")]))
    by_identifier = explain(nightly, "user", "9001")["records"]
    assert by_identifier[0]["source_key"] == "student:p-1"
    assert explain(nightly, "user", "p-1")["records"] == by_identifier
    assert explain(nightly, "user", "student:p-1")["records"] == by_identifier


def test_an_undone_creation_can_still_be_explained(nightly: Nightly) -> None:
    nightly.begin([student()])
    nightly.undo("run-001")
    (record,) = explain(nightly, "user", "300")["records"]
    assert (record["status"], record["identifier"], record["source_key"]) == ("removed", None, None)
    newest = record["life"][0]
    assert (newest["run_id"], newest["outcome"], newest["reason"]) == ("undo-002", "undone", "undo of run run-001")
    assert events(record["life"])[-1] == ("run-001", "create", "users", None)
    assert "undone" in command(nightly, "user", "300").stdout.splitlines()[0]


# ---- rows that did not load ------------------------------------------------------------------------------------------


def test_a_rejected_row_tells_line_file_run_and_finding(nightly: Nightly) -> None:
    unbounded(nightly)
    nightly.begin([student(), other(1), student("3!", userEmail="other@demo.example")])
    (finding,) = explain(nightly, "user", "3!")["findings"]
    assert (finding["run_id"], finding["finding"], finding["file"], finding["line"], finding["column"]) == (
        "run-001", "ID-CHARSET", "users.csv", 4, "userId",
    )  # fmt: skip
    told = command(nightly, "user", "3!").stdout
    assert "rejected on line 4 of users.csv: ID-CHARSET userId:" in told and "run-001" in told


def test_what_is_held_stays_explained_after_the_next_run(nightly: Nightly) -> None:
    unbounded(nightly)
    nightly.begin([student()])
    recycled = student(userFirstName="Bo", userLastName="Okafor", userEmail="bo@demo.example")
    assert nightly.run([recycled, other(1)])["outcome"] == "applied"
    assert nightly.run([recycled, other(1)])["outcome"] == "in_sync"
    (record,) = explain(nightly, "user", "300")["records"]
    assert [event[:2] for event in events(record["life"])][:2] == [
        ("run-003", "PLAN-RECYCLED"), ("run-002", "PLAN-RECYCLED"),
    ]  # fmt: skip
    assert "set aside on line 2 of users.csv" in command(nightly, "user", "300").stdout


def test_findings_of_a_held_plan_are_remembered_and_those_of_a_dry_run_are_not(nightly: Nightly) -> None:
    nightly.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    nightly.begin([student()])
    rows = [student(userGrade="6"), other(1, userId="1!")]
    nightly.run(rows, until="plan")
    assert command(nightly, "user", "1!").exit_code == 2
    assert nightly.run(rows)["outcome"] == "held"
    (finding,) = explain(nightly, "user", "1!")["findings"]
    assert (finding["run_id"], finding["outcome"], finding["finding"]) == ("run-003", "held", "ID-CHARSET")


def test_a_run_that_is_held_and_then_applied_remembers_its_findings_once(nightly: Nightly) -> None:
    nightly.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    nightly.begin([student()])
    nightly.run([student(userGrade="6"), other(1, userId="1!")])
    steps.load(nightly.workspace, approved_by="pat")
    (finding,) = explain(nightly, "user", "1!")["findings"]
    assert (finding["outcome"], finding["approved_by"]) == ("applied", "pat")


def test_a_finding_that_takes_nothing_away_is_not_remembered(nightly: Nightly) -> None:
    nightly.begin([student(userEmail="odd")])
    (record,) = explain(nightly, "user", "300")["records"]
    assert not any("finding" in event for event in record["life"])


def test_a_line_that_another_records_fault_rejects_explains_its_student(nightly: Nightly) -> None:
    nightly.begin([student(), other(1, classId="C!")])
    (finding,) = explain(nightly, "user", "u1")["findings"]
    assert (finding["finding"], finding["entity"], finding["line"]) == ("ID-CHARSET", "classes", 3)
    assert explain(nightly, "class", "C!")["findings"] == [finding]


def test_an_enrollment_that_refers_to_nothing_explains_its_student(nightly: Nightly) -> None:
    unbounded(nightly, primary_source="clever")
    nightly.begin(clever([pupil(1)], enrollments=[("X1", "p-1"), ("X9", "p-1")]))
    (record,) = explain(nightly, "user", "p-1")["records"]
    assert ("run-001", "REF-UNKNOWN", "enrollments", None) in events(record["life"])
    assert events(explain(nightly, "class", "X9")["findings"]) == [("run-001", "REF-UNKNOWN", "enrollments", None)]


def test_a_line_of_id_changes_is_explained_under_both_identifiers(nightly: Nightly) -> None:
    unbounded(nightly)
    nightly.begin([student(), other(1)])
    lines = "entity,old_id,new_id\nuser,300,u1\nuser,nobody,somebody\n"
    nightly.deliver([student(), other(1)])
    (nightly.folder / "delivery" / "id_changes.csv").write_text(lines)
    nightly.run()
    assert events(explain(nightly, "user", "nobody")["findings"]) == [("run-002", "REF-UNKNOWN", "id_changes", None)]
    assert explain(nightly, "user", "somebody")["findings"] == explain(nightly, "user", "nobody")["findings"]
    (record,) = explain(nightly, "user", "300")["records"]
    assert ("run-002", "PLAN-REIDENTIFY-TAKEN", "id_changes", None) in events(record["life"])


def test_a_student_and_a_teacher_of_one_identifier_keep_their_findings_apart(nightly: Nightly) -> None:
    unbounded(nightly, primary_source="clever")
    files = clever([pupil(1, Student_id="7", Grade="5")], teachers=[tutor("T1"), tutor("7", Last_name="")])
    nightly.begin(
        files | {"students.csv": as_csv([pupil(1, Student_id="7")], "School_id,Student_id,Last_name,First_name")}
    )
    told = explain(nightly, "user", "7")
    (record,) = told["records"]
    assert record["source_key"] == "student:7"
    assert not any("finding" in event for event in record["life"])
    assert {finding["file"] for finding in told["findings"]} == {"teachers.csv"}


def test_a_lines_people_are_no_part_of_a_schools_life(nightly: Nightly) -> None:
    nightly.begin([student(), other(1, userId="1!")])
    (school,) = explain(nightly, "organization", "S1")["records"]
    assert events(school["life"]) == [("run-001", "create", "organizations", None)]


# ---- what is shown, and what is not known ----------------------------------------------------------------------------


def test_what_could_be_a_social_security_number_is_masked_everywhere(nightly: Nightly) -> None:
    unbounded(nightly, identifiers={"ssn": "critical"})
    nightly.begin([student("123456789"), other(1)])
    nightly.settings["identifiers"] = {"ssn": "warning"}
    nightly.run([student("123456789"), other(1)])
    for arguments in (("--json",), ()):
        printed = command(nightly, "user", "123456789", *arguments)
        assert "*****6789" in printed.stdout and "ID-SSN" in printed.stdout
        assert "123456789" not in printed.stdout
    nightly.undo("run-002")
    undone = command(nightly, "user", "123456789", "--json").stdout
    assert '"undone"' in undone and "123456789" not in undone
    unknown = command(nightly, "user", "987-65-4321")
    assert unknown.exit_code == 2 and "*****4321" in unknown.stderr and "987" not in unknown.stderr


def test_an_unknown_identifier_ends_with_2_and_one_line(nightly: Nightly) -> None:
    nightly.begin([student()])
    for arguments in (("user", "nobody"), ("class", "300"), ("user", "' OR 1=1 --")):
        result = command(nightly, *arguments)
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1 and arguments[1] in result.stderr


def test_a_missing_database_knows_nobody_and_stays_missing(nightly_from_nothing: Nightly) -> None:
    assert command(nightly_from_nothing, "user", "300").exit_code == 2
    assert not Path(nightly_from_nothing.database_url.removeprefix("sqlite:///")).parent.exists()


def test_another_kind_of_thing_is_wrong_usage(nightly: Nightly) -> None:
    assert command(nightly, "teacher", "300").exit_code == 2


def test_a_person_reads_what_changed_in_one_line(nightly: Nightly) -> None:
    unbounded(nightly)
    nightly.begin([student()])
    nightly.run([student(userGrade="6")])
    first, second, *_ = command(nightly, "user", "300").stdout.splitlines()
    assert first == "user 300: active, from batch_upload under 300"
    assert second.endswith('run run-002 (applied): update: grade "5" -> "6" (the batch says so, line 2 of users.csv)')
