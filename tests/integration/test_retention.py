"""What is kept goes when it is old enough, and nothing that is wanted still."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from enrollsync import retain, steps
from enrollsync.cli import app
from enrollsync.database import Store, open_store
from enrollsync.database.export import Exports
from enrollsync.export import export_roster
from enrollsync.forget import forget
from enrollsync.forget import look as look_for
from enrollsync.run.workspace import Edit, Workspace
from enrollsync.settings import load_district, runs_folder
from enrollsync.words.errors import ConfigurationError, EnrollSyncError
from nightly import Nightly, other, student

LATER = datetime(2031, 1, 1, tzinfo=UTC)
ROWS = [student(userStateId="ST1"), other(1), other(2)]
RENAMED = [ROWS[0] | {"userFirstName": "Marit", "userGrade": "6"}, *ROWS[1:]]
GRADED = [RENAMED[0] | {"userGrade": "7"}, *ROWS[1:]]
AUDIT = {"workspaces": 30, "audit": 30}


def retained(nightly: Nightly, *, dry_run: bool = False, now: datetime = LATER) -> dict[str, int]:
    done = steps.retain(nightly.district, run_id=f"retention-{now:%Y%m%d}", now=now, dry_run=dry_run)
    unnamed = not nightly.settings.get("retention")
    assert ("names no age" in (done["message"] or "")) == unnamed
    counts: dict[str, int] = done["old"]
    return counts


def store_of(nightly: Nightly) -> Store:
    return open_store(nightly.database_url)


def audit(nightly: Nightly, run_id: str) -> list[tuple[Any, ...]]:
    told = "entity, operation, before_json, after_json"
    return nightly.view("changes", told, f"run_id = '{run_id}'")


@pytest.fixture
def nights(nightly_everywhere: Nightly) -> Nightly:
    """Three of them that wrote: created, renamed, and graded one person of three."""
    return lived(nightly_everywhere)


@pytest.fixture
def small(nightly: Nightly) -> Nightly:
    return lived(nightly)


def lived(nightly: Nightly) -> Nightly:
    nightly.settings["thresholds"] = {"floor": 1000}
    for day, rows in enumerate((ROWS, RENAMED, GRADED), 11):
        assert nightly.run(rows, as_of=datetime(2026, 11, day, 7, tzinfo=UTC))["outcome"] == "applied"
    return nightly


def test_nothing_goes_that_the_districts_file_does_not_name(small: Nightly) -> None:
    files = sorted(runs_folder(load_district(small.district)).rglob("*"))
    assert set(retained(small).values()) == {0}
    assert sorted(runs_folder(load_district(small.district)).rglob("*")) == files
    assert "Leena" in str(audit(small, "run-001"))
    assert len(steps.runs(small.district)) == 3


# ---- the audit -------------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_and_changes_nothing(nights: Nightly) -> None:
    nights.settings["retention"] = AUDIT
    before = known(nights)
    counts = retained(nights, dry_run=True)
    assert (counts["audit_rows"], counts["runs_no_longer_undone"], counts["workspaces"]) == (4, 2, 2)
    assert retained(nights, dry_run=True) == counts
    assert known(nights) == before
    assert folders(nights) == {"run-001", "run-002", "run-003"}


def known(nightly: Nightly) -> Any:
    """All that the roster and its audit say."""
    audited = [audit(nightly, f"run-00{number}") for number in (1, 2, 3)]
    return audited, nightly.everything(), steps.runs(nightly.district)


def test_old_values_leave_the_audit_and_the_roster_stays(nights: Nightly) -> None:
    nights.settings["retention"] = AUDIT
    before, version = nights.everything(), store_of(nights).version("demo")
    links = [row for row in audit(nights, "run-001") if row[0] != "users"]
    assert (retained(nights)["audit_rows"], retained(nights, now=LATER + timedelta(1))["audit_rows"]) == (4, 0)
    assert (nights.everything(), store_of(nights).version("demo")) == (before, version)
    gone = '{"values": "removed"}'
    assert [row for row in audit(nights, "run-001") if row[0] == "users"] == [("users", "create", None, gone)] * 3
    assert audit(nights, "run-002") == [("users", "update", gone, gone)]
    assert [row for row in audit(nights, "run-001") if row[0] != "users"] == links
    assert "6" in str(audit(nights, "run-003")), "the newest run that wrote keeps its values"
    assert [run["outcome"] for run in steps.runs(nights.district)] == ["trimmed", "applied", "applied", "applied"]
    assert nights.run(GRADED)["outcome"] == "in_sync"


def test_undo_of_a_run_without_values_is_refused_and_of_a_later_one_is_exact(nights: Nightly) -> None:
    nights.settings["retention"] = AUDIT
    retained(nights)
    before = nights.everything()
    for run_id in ("run-001", "run-002"):
        with pytest.raises(ConfigurationError, match=f"{run_id} cannot be undone any more: its values"):
            nights.undo(run_id)
    assert nights.everything() == before
    assert nights.undo("run-003")["outcome"] == "undone"
    assert nights.view("users", "grade", "given_name = 'Marit'") == [("6",)]


def test_values_that_go_while_an_undo_is_planned_refuse_it(nights: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them its plan would take back creations alone, and leave what was updated."""
    nights.settings["retention"] = AUDIT
    exported = Exports.export_changes

    def meanwhile(self: Any, *asked: Any) -> Any:
        retained(nights)
        return exported(self, *asked)

    monkeypatch.setattr(Exports, "export_changes", meanwhile)
    before = nights.everything()
    with pytest.raises(ConfigurationError, match="cannot be undone any more"):
        nights.undo("run-002")
    assert nights.everything() == before


def test_undo_that_was_shown_before_the_values_went_does_what_was_shown(nights: Nightly) -> None:
    nights.settings["retention"] = AUDIT
    workspace = steps.start_undo(nights.district, "run-003", run_id="undo", as_of=datetime.now(UTC))
    shown = steps.plan_undo(workspace)
    retained(nights)
    done = steps.load(workspace, approved_by="pat", only_plan=shown["plan_id"])
    assert (done["outcome"], done["counts"]) == ("undone", shown["counts"])
    assert nights.view("users", "grade", "given_name = 'Marit'") == [("6",)]


def test_the_roster_of_a_day_whose_values_are_gone_is_refused_and_never_told_wrongly(
    nights: Nightly, tmp_path: Path
) -> None:
    nights.settings["retention"] = AUDIT
    execute(nights, "UPDATE runs SET ended_at = '2026-11-01T12:00:00.000000+00:00' WHERE run_id = 'run-001'")
    settings, store = load_district(nights.district), store_of(nights)

    def exported(day: date) -> str:
        out = tmp_path / f"{day}-{len(list(tmp_path.iterdir()))}"
        export_roster(settings, store, out, "batch_upload", today=date(2031, 1, 1), as_of=day)
        return (out / "users.csv").read_text()

    assert "Leena" in exported(date(2026, 11, 2))
    retained(nights)
    with pytest.raises(ConfigurationError, match="the roster as it was then cannot be told"):
        exported(date(2026, 11, 2))
    assert "Marit" in exported(date(2031, 1, 1)), "after the newest run nothing is taken back"
    assert len(exported(date(2026, 10, 1)).splitlines()) == 1, "there was nobody yet"


def test_explain_says_that_values_were_removed(nights: Nightly) -> None:
    nights.settings["retention"] = AUDIT
    retained(nights)
    told = CliRunner().invoke(app, ["explain", "user", "300", "--district", nights.district], catch_exceptions=False)
    assert told.exit_code == 0 and "Leena" not in told.output
    assert told.output.count("its values were removed since, being older than the district keeps them") == 2
    assert 'grade "6" -> "7"' in told.output


def test_what_a_person_changed_by_hand_stays_against_deliveries(nights: Nightly) -> None:
    nights.settings["retention"] = AUDIT
    ((key,),) = nights.view("users", "user_key", "user_id = '300'")
    asked = Edit(entity="users", key=key, changes={"user_id": "301"})
    workspace = steps.start_edit(nights.district, asked, run_id="edit", as_of=datetime.now(UTC), reason="asked")
    assert steps.edit(workspace, person="pat")["outcome"] == "applied"
    assert nights.run([*GRADED, other(3)])["outcome"] == "applied"
    retained(nights)
    assert nights.run([*GRADED, other(3), other(4)])["outcome"] == "applied"
    assert nights.view("users", "user_key", "user_id = '301'") == [(key,)]


def test_who_was_forgotten_says_nothing_before_and_after(nights: Nightly) -> None:
    nights.settings["retention"] = AUDIT
    settings, store, now = load_district(nights.district), store_of(nights), datetime.now(UTC)
    forget(settings, store, look_for(settings, store, "u1"), run_id="f", person="pat", started=now, ended=now)
    assert retained(nights)["audit_rows"] == 4, "Given1's creation has no value any more, and the newest run is another"
    assert ("users", "create", None, "{}") in audit(nights, "run-001")


def test_another_district_of_the_same_database_keeps_its_values(nights: Nightly) -> None:
    nights.settings["retention"] = AUDIT
    nights.settings["district_id"] = "other"
    lived(nights)
    nights.settings["district_id"] = "demo"
    retained(nights)
    theirs = nights.view("changes", "after_json", "district_id = 'other' AND entity = 'users'")
    assert len(theirs) == 5 and "removed" not in str(theirs)


def execute(nightly: Nightly, statement: str) -> None:
    if nightly.database_url.startswith("sqlite"):
        import sqlite3

        with closing(sqlite3.connect(nightly.database_url.removeprefix("sqlite:///"))) as database:
            database.execute(statement)
            database.commit()
        return
    with psycopg.connect(nightly.database_url) as server:
        server.execute(statement)  # type: ignore[arg-type]


# ---- folders ---------------------------------------------------------------------------------------------------------


def folders(nightly: Nightly) -> set[str]:
    return {path.name for path in runs_folder(load_district(nightly.district)).iterdir()}


@pytest.fixture
def age(small: Nightly) -> Iterator[Callable[[str, int], None]]:
    """Call it to let a run have noted something last so many days before now."""

    def let(run_id: str, days: int) -> None:
        place = runs_folder(load_district(small.district)) / run_id
        moment = datetime.now(UTC) - timedelta(days=days)
        with suppress(EnrollSyncError):
            Workspace(place).write(Workspace(place).read().model_copy(update={"as_of": moment}))
        for path in (place / "run.json", place):
            if path.exists():
                os.utime(path, (moment.timestamp(), moment.timestamp()))

    yield let


def test_folders_go_by_age_and_the_newest_and_those_with_open_findings_stay(
    small: Nightly, age: Callable[[str, int], None]
) -> None:
    small.settings["retention"] = {"workspaces": 30}
    small.run([*GRADED, other(9, userRole="nobody")])  # the newest that read its delivery: its findings are open
    for run_id, days in (("run-001", 400), ("run-002", 31), ("run-003", 29), ("run-004", 300)):
        age(run_id, days)
    retained(small, now=datetime.now(UTC))
    assert folders(small) == {"run-003", "run-004"}
    assert retained(small, now=datetime.now(UTC))["workspaces"] == 0
    assert len(steps.runs(small.district)) == 4, "the database remembers all of them"


def test_a_run_that_waits_for_a_person_stays_however_old(small: Nightly, age: Callable[[str, int], None]) -> None:
    small.settings["retention"] = {"workspaces": 30, "quarantine": 7}
    for run_id in ("run-001", "run-002"):
        age(run_id, 100)
        place = Workspace(runs_folder(load_district(small.district)) / run_id)
        until = datetime.now(UTC) + timedelta(days=1 if run_id == "run-001" else -1)
        place.write(place.read().model_copy(update={"outcome": "held", "answer_by": until}))
        os.utime(place.root / "run.json", (1, 1))
    retained(small, now=datetime.now(UTC))
    assert folders(small) == {"run-001", "run-003"}, "nobody can answer the second any more"


def test_a_quarantine_goes_before_its_run(small: Nightly, age: Callable[[str, int], None]) -> None:
    bad = [*GRADED, other(9, userRole="nobody")]
    small.run(bad)
    small.run(bad, as_of=datetime(2026, 11, 24, 7, tzinfo=UTC))
    age("run-004", 40)
    small.settings["retention"] = {"workspaces": 60, "quarantine": 30}
    place = runs_folder(load_district(small.district)) / "run-004"
    assert list((place / "quarantine").iterdir())
    assert retained(small, now=datetime.now(UTC))["quarantines"] == 1
    assert not (place / "quarantine").exists() and (place / "report.html").is_file()
    assert list((place.with_name("run-005") / "quarantine").iterdir()), "what is still to be corrected stays"
    steps.report(str(place))


def test_folder_that_nobody_can_read_or_that_was_half_removed_goes_and_a_link_is_left_alone(
    small: Nightly, age: Callable[[str, int], None], tmp_path: Path
) -> None:
    small.settings["retention"] = {"workspaces": 30}
    home = runs_folder(load_district(small.district))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (home / "linked").symlink_to(outside)
    (home / "run-001" / "inside").symlink_to(outside)
    (home / "run-001" / "run.json").write_text("{")
    (home / ".going-run-000" / "source").mkdir(parents=True)
    age("run-001", 100)
    assert retained(small, now=datetime.now(UTC))["workspaces"] == 2
    assert folders(small) == {"run-002", "run-003", "linked"}
    assert (outside / "kept").is_file()


def test_interrupted_removal_leaves_no_half_of_a_run(
    small: Nightly, age: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    small.settings["retention"] = {"workspaces": 30}
    age("run-001", 100)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retain.folders.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            retained(small, now=datetime.now(UTC))
    assert folders(small) == {".going-run-001", "run-002", "run-003"}
    retained(small, now=datetime.now(UTC))
    assert folders(small) == {"run-002", "run-003"}


# ---- the command -----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["retention", *arguments], catch_exceptions=False)


def test_command_shows_what_would_go_and_then_takes_it_away(small: Nightly) -> None:
    small.settings["retention"] = AUDIT
    told = command("--district", small.district, "--dry-run")
    assert told.exit_code == 0 and told.stdout.startswith("would remove:\n")
    execute(small, "UPDATE runs SET ended_at = '2020-01-01T00:00:00.000000+00:00' WHERE run_id <> 'run-003'")
    assert json.loads(command("--district", small.district, "--dry-run", "--json").stdout) == {
        "district": "demo", "dry_run": True, "message": None,
        "old": {"workspaces": 0, "quarantines": 0, "bytes": 0, "uploads": 0, "audit_rows": 4,
                "runs_no_longer_undone": 2},
    }  # fmt: skip
    told = command("--district", small.district)
    assert told.exit_code == 0
    assert "removed:" in told.stdout and "2 runs can be undone until then and not afterwards" in told.stdout
    undone = CliRunner().invoke(app, ["undo", "run-002", "--district", small.district, "--yes"])
    assert undone.exit_code == 2 and "cannot be undone any more" in undone.stderr
    assert "trimmed" in CliRunner().invoke(app, ["runs", "--district", small.district]).stdout


def test_command_without_a_roster_has_nothing_to_do(nightly_from_nothing: Nightly) -> None:
    nightly_from_nothing.settings["retention"] = AUDIT
    told = command("--district", nightly_from_nothing.district, "--json")
    assert (told.exit_code, set(json.loads(told.stdout)["old"].values())) == (0, {0})


@pytest.mark.parametrize("ages, said", [
    ({"workspaces": 1}, "greater than or equal to 7"), ({"audit": 7}, "greater than or equal to 30"),
    ({"audit": 90}, "`audit` is shorter than `workspaces`"),
    ({"audit": 90, "workspaces": 91}, "`audit` is shorter than `workspaces`"), ({"uploads": 3}, "uploads"),
])  # fmt: skip
def test_ages_that_cannot_be_meant_are_refused(nightly: Nightly, ages: dict[str, int], said: str) -> None:
    nightly.settings["retention"] = ages
    told = command("--district", nightly.district)
    assert told.exit_code == 2 and said in told.stderr
