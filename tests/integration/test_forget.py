"""A person's values leave the roster, its audit and the kept files; runs, undos and explanations go on without them."""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from sqlalchemy import inspect
from typer.testing import CliRunner, Result

from enrollsync import steps
from enrollsync.cli import app
from enrollsync.database import Store, open_store
from enrollsync.forget import forget, look
from enrollsync.run.workspace import Edit, Merge, Settle
from enrollsync.settings import load_district, project_root, runs_folder, uploads_folder
from enrollsync.words.errors import ConfigurationError, StalePlan
from nightly import Nightly, Query, faults, other, student

MARIT = student(
    "mk7701", userDistrictId="dk7702", userStateId="sk7703", userFirstName="Marit", userMiddleName="Solveig",
    userLastName="Kvamme", userEmail="marit.kvamme@demo.example", userBirthDate="2013-07-21",
)  # fmt: skip
VALUES = ("mk7701", "dk7702", "sk7703", "marit", "solveig", "kvamme", "2013-07-21")
"""What Marit may be known by, in small letters."""
RENAMED = MARIT | {"userId": "mk8801"}
NOW = datetime(2026, 11, 30, 7, tzinfo=UTC)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["forget", *arguments], catch_exceptions=False)


def forgotten(nightly: Nightly, user_id: str = "mk7701") -> dict[str, Any]:
    """What the command says once it is done."""
    result = command(user_id, "--district", nightly.district, "--yes", "--json")
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


@pytest.fixture
def district(nightly_everywhere: Nightly, once: Path) -> Nightly:
    """Marit and two others; she gets another grade and another identifier, and two lines of hers are rejected."""
    return lived(nightly_everywhere, once)


@pytest.fixture
def small(nightly: Nightly, once: Path) -> Nightly:
    """The same on SQLite alone."""
    return lived(nightly, once)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first test that needs the district on SQLite leaves here for the others: its database and its runs."""
    return tmp_path_factory.mktemp("lived")


def lived(nightly: Nightly, once: Path) -> Nightly:
    nightly.settings["thresholds"] = {"floor": 1000}
    if not nightly.database_url.startswith("sqlite"):
        return live(nightly)
    if not (once / "roster").is_dir():
        live(nightly)
        shutil.copytree(nightly.folder, once, dirs_exist_ok=True)
        return nightly
    shutil.copytree(once, nightly.folder, dirs_exist_ok=True)
    nightly._numbers, nightly._begun = itertools.count(4), True
    return nightly


def live(nightly: Nightly) -> Nightly:
    assert nightly.run([MARIT, other(1), other(2)])["outcome"] == "applied"
    changed = {"id_changes.csv": [{"entity": "user", "old_id": "mk7701", "new_id": "mk8801"}]}
    assert nightly.run({"users.csv": [RENAMED | {"userGrade": "6"}], **changed})["outcome"] == "applied"
    bad = nightly.run([RENAMED | {"userGrade": "6"}, RENAMED | {"userFirstName": "Marta"}])
    assert bad["findings"]["ID-DUPLICATE"] == 2
    return nightly


def rows_of(url: str) -> str:
    """Every row of every table and view, in small letters."""
    engine = open_store(url).backend.connect()
    with engine.begin() as connection:
        found = inspect(connection)
        names = [*found.get_table_names(), *found.get_view_names()]
        rows = [(name, *row) for name in names for row in connection.exec_driver_sql(f"SELECT * FROM {name}")]
    return "\n".join(map(str, rows)).lower()


def kept_text(root: Path) -> str:
    """All that lies under a folder, tables as text, but for what the district delivered; in small letters."""
    parts = []
    for path in root.rglob("*"):
        if not path.is_file() or "delivery" in path.parts:
            continue
        if path.suffix == ".parquet":
            parts.append(str(duckdb.sql(f"FROM read_parquet('{path}')").fetchall()))
        else:
            parts.append(path.read_bytes().decode("latin-1"))
    return "\n".join(parts).lower()


def traces(text: str) -> list[str]:
    return [value for value in (*VALUES, "mk8801") if value in text]


# ---- what leaves -----------------------------------------------------------------------------------------------------


def test_nothing_of_a_forgotten_person_is_in_the_database_or_the_kept_files(district: Nightly) -> None:
    assert traces(rows_of(district.database_url)) == [*VALUES, "mk8801"]
    told = forgotten(district, "mk8801")
    assert (told["outcome"], told["message"]) == ("forgotten", None)
    assert traces(rows_of(district.database_url)) == []
    assert traces(kept_text(project_root())) == []
    assert traces(json.dumps(told)) == []
    if district.database_url.startswith("postgres"):
        samples = "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE schemaname = 'public'"
        assert traces(str(district.query(district.database_url, samples)).lower()) == []


def test_the_others_are_as_they_were(small: Nightly) -> None:
    rows = {name: [row for row in found if "mk8801" not in row] for name, found in small.everything().items()}
    forgotten(small, "mk8801")
    assert small.everything() == rows
    assert [user for (user,) in small.view("users", "user_id")] == ["u1", "u2"]


def test_that_there_was_a_record_and_the_counts_of_runs_stay(district: Nightly) -> None:
    (key,) = [key for key, name in district.view("users", "user_key, user_id") if name == "mk8801"]
    runs = district.query(district.database_url, "SELECT run_id, counts_json, findings_json FROM runs ORDER BY 1")
    told = "run_id, entity, operation, user_key"
    audit = district.view("changes", told)
    run_id = forgotten(district, "mk8801")["run_id"]
    kept = district.query(
        district.database_url,
        f"SELECT run_id, counts_json, findings_json FROM runs WHERE run_id <> '{run_id}' ORDER BY 1",
    )
    assert kept == runs and district.view("changes", told) == audit
    images = district.view(
        "changes", "before_json, after_json, entity_id, organization_key, class_key", f"user_key = {key}"
    )
    assert {before for before, *_ in images} == {None, "{}"} and {after for _, after, *_ in images} == {"{}"}
    assert {name for _, _, name, *_ in images} == {f"forgotten {key}"}
    assert {links for *_, first, second in images for links in (first, second)} == {None}


def test_the_run_says_who_and_when_and_nothing_of_whom(small: Nightly) -> None:
    run_id = forgotten(small, "mk8801")["run_id"]
    (run,) = [one for one in steps.runs(small.district) if one["run_id"] == run_id]
    assert run["outcome"] == "forgotten" and run["approved_by"] and run["ended_at"]
    assert run["message"].startswith("forgot user ") and traces(json.dumps(run)) == []
    assert run["counts"]["users"]["deactivate"] == 1


def test_an_sqlite_file_has_no_remains_between_its_rows(small: Nightly) -> None:
    path = Path(small.database_url.removeprefix("sqlite:///"))
    forgotten(small, "mk8801")
    remains = b"".join(found.read_bytes() for found in path.parent.glob("demo.db*"))
    assert traces(remains.decode("latin-1").lower()) == []


def test_a_former_identifier_and_a_source_key_find_the_person_too(small: Nightly) -> None:
    settings, store = known(small)
    people = {look(settings, store, name).person.keys for name in ("mk7701", "mk8801")}
    assert len(people) == 1
    forgotten(small, "mk7701")
    assert traces(rows_of(small.database_url)) == []


def test_what_persons_wrote_of_somebody_is_taken_out_and_other_remarks_stay(small: Nightly) -> None:
    settings, store = known(small)
    for number, text in enumerate(["Kvamme moved to the coast", "roll-over week, Kvammesen too"]):
        with sqlite3.connect(small.database_url.removeprefix("sqlite:///")) as database:
            database.execute("UPDATE runs SET comment = ? WHERE run_id = ?", [text, f"run-00{number + 1}"])
    store.know_findings("demo", "VAL-INVALID", None, until=NOW.date(), person="pat", reason="mk8801 is new", now=NOW)
    forgotten(small, "mk8801")
    comments = small.query(small.database_url, "SELECT comment FROM runs WHERE comment IS NOT NULL ORDER BY run_id")
    assert [row["comment"] for row in comments] == [
        "(taken out: it named somebody who was forgotten)", "roll-over week, Kvammesen too",
    ]  # fmt: skip
    assert traces(rows_of(small.database_url).replace("kvammesen", "")) == []


def test_who_was_merged_into_somebody_is_forgotten_with_them(small: Nightly) -> None:
    twin = {"userId": "mk9901", "userStateId": "sk9904", "userDistrictId": "", "userBirthDate": "2012-01-01"}
    small.run([RENAMED, MARIT | twin | {"userEmail": "", "userFirstName": "Mar"}])
    keys = {name: key for key, name in small.view("users", "user_key, user_id")}
    workspace = steps.start_merge(
        small.district, Merge(gone=keys["mk9901"], kept=keys["mk8801"]), run_id="merge-1", as_of=NOW
    )
    assert steps.merge(workspace, person="pat")["outcome"] == "applied"
    settings, store = known(small)
    assert look(settings, store, "mk9901").person.keys == tuple(sorted((keys["mk8801"], keys["mk9901"])))
    forgotten(small, "mk8801")
    assert traces(rows_of(small.database_url)) == [] and "mk9901" not in rows_of(small.database_url)


def test_a_creation_that_was_undone_under_the_same_identifier_is_forgotten_too(small: Nightly) -> None:
    back = small.run([other(3, userId="x5", userLastName="Sunde")])
    small.undo(back["run_id"])
    assert "sunde" in rows_of(small.database_url)
    forgotten(small, "x5")
    assert "sunde" not in rows_of(small.database_url) and "x5" not in rows_of(small.database_url)


# ---- kept files ------------------------------------------------------------------------------------------------------


def test_runs_without_a_sign_of_the_person_keep_their_folders(small: Nightly) -> None:
    settings, _ = known(small)
    plain = runs_folder(settings) / "plain"
    (plain / "state").mkdir(parents=True)
    (plain / "report.html").write_text("nothing of anybody")
    duckdb.sql("SELECT 1::BIGINT AS user_key, 'u1' AS user_id WHERE false").write_parquet(
        str(plain / "state/users.parquet")
    )
    forgotten(small, "mk8801")
    assert [path.name for path in runs_folder(settings).iterdir()] == ["plain"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_an_upload_with_the_person_goes_and_another_stays(small: Nightly, encoding: str) -> None:
    folder = uploads_folder("demo")
    for name, text in {"one": "userId\nMK8801\n", "other": "userId\nu1\n", "zipped": "userId\nmk8801\n"}.items():
        (folder / name / "files").mkdir(parents=True)
        (folder / name / "files" / "users.csv").write_bytes(text.encode(encoding))
    with zipfile.ZipFile(folder / "zipped" / "files" / "set.zip", "w") as archive:
        archive.write(folder / "zipped" / "files" / "users.csv", "users.csv")
    (folder / "zipped" / "files" / "users.csv").unlink()
    told = forgotten(small, "mk8801")
    assert told["taken_out"]["uploads"] == 2
    assert [path.name for path in folder.iterdir()] == ["other"]


def test_the_districts_own_deliveries_are_told_and_stay(small: Nightly) -> None:
    small.deliver([RENAMED])
    shown = command("mk8801", "--district", small.district)
    assert str(small.folder / "delivery") in shown.stdout and "Not touched" in shown.stdout
    forgotten(small, "mk8801")
    assert "mk8801" in (small.folder / "delivery" / "users.csv").read_text()


def test_forgetting_again_takes_out_files_that_came_since(small: Nightly) -> None:
    first = forgotten(small, "mk8801")
    small.run([RENAMED, other(1), other(2)], until="plan")
    assert "mk8801" in kept_text(project_root())
    again = forgotten(small, "mk8801")
    assert again["run_id"] != first["run_id"] and again["taken_out"]["runs' folders"] == 1
    assert traces(kept_text(project_root())) == []


# ---- asking ----------------------------------------------------------------------------------------------------------


def test_without_a_terminal_and_without_yes_it_is_shown_and_held(small: Nightly) -> None:
    before = rows_of(small.database_url)
    shown = command("mk8801", "--district", small.district, "--json")
    told = json.loads(shown.stdout)
    assert (shown.exit_code, told["outcome"], told["run_id"]) == (3, "held", None)
    assert told["taken_out"]["records of the roster"] == 1 and told["taken_out"]["runs' folders"] == 3
    assert rows_of(small.database_url) == before
    plain = command("mk8801", "--district", small.district)
    assert plain.exit_code == 3 and traces(plain.stdout + plain.stderr) == []


@pytest.mark.parametrize(("typed", "outcome"), [("yes\n", "forgotten"), ("y\n", "rejected"), ("\n", "rejected")])
def test_on_a_terminal_a_yes_has_to_be_typed(
    small: Nightly, monkeypatch: pytest.MonkeyPatch, typed: str, outcome: str
) -> None:
    monkeypatch.setattr("enrollsync.cli._at_a_terminal", lambda: True)
    result = CliRunner().invoke(app, ["forget", "mk8801", "--district", small.district], input=typed)
    assert (result.exit_code, result.stdout.splitlines()[-1 if outcome == "forgotten" else -2].split()[0]) == (
        0,
        outcome,
    )
    assert ("mk8801" in rows_of(small.database_url)) == (outcome == "rejected")


def test_nobody_of_that_name_is_one_line(small: Nightly) -> None:
    result = command("nobody1", "--district", small.district, "--yes")
    assert result.exit_code == 2 and "has nobody of that identifier" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_where_there_is_no_database_there_is_nobody(nightly_from_nothing: Nightly) -> None:
    result = command("300", "--district", nightly_from_nothing.district, "--yes")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert not Path(nightly_from_nothing.database_url.removeprefix("sqlite:///")).exists()


def test_of_several_people_who_had_an_identifier_one_has_to_be_named(small: Nightly) -> None:
    for old, new in (("u1", "u8"), ("u8", "u9")):
        small.run({"users.csv": [other(2)], "id_changes.csv": [{"entity": "user", "old_id": old, "new_id": new}]})
    small.run([other(5, userId="u1")], release=True)
    small.run({"users.csv": [other(2)], "id_changes.csv": [{"entity": "user", "old_id": "u1", "new_id": "u7"}]})
    settings, store = known(small)
    with pytest.raises(ConfigurationError, match="say which one with --key"):
        look(settings, store, "u1")
    keys = {name: key for key, name in small.view("users", "user_key, user_id")}
    assert look(settings, store, "u1", keys["u9"]).person.keys == (keys["u9"],)
    with pytest.raises(ConfigurationError, match="no record with the key"):
        look(settings, store, "u1", keys["u2"])


def test_who_wrote_since_it_was_shown_makes_another_look_necessary(small: Nightly) -> None:
    settings, store = known(small)
    shown = look(settings, store, "mk8801")
    small.run([other(4)])
    before = rows_of(small.database_url)
    with pytest.raises(StalePlan):
        forget(settings, store, shown, run_id="f", person="pat", started=NOW, ended=NOW)
    assert rows_of(small.database_url) == before
    assert any(runs_folder(settings).iterdir())


def test_what_breaks_midway_leaves_the_roster_as_it_was(district: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, store = known(district)
    shown, before = look(settings, store, "mk8801"), rows_of(district.database_url)

    def killed(self: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("enrollsync.forget.files.KeptFiles.remove", killed)
        forget(settings, store, shown, run_id="f", person="pat", started=NOW, ended=NOW)
    assert rows_of(district.database_url) == before
    forgotten(district, "mk8801")
    assert traces(rows_of(district.database_url)) == []


def known(nightly: Nightly) -> tuple[Any, Store]:
    return load_district(nightly.district), open_store(nightly.database_url)


# ---- what comes after ------------------------------------------------------------------------------------------------


def test_a_delivery_that_still_has_the_person_is_held_once_and_the_row_waits(district: Nightly) -> None:
    forgotten(district, "mk8801")
    night = district.run([RENAMED, other(1), other(2), other(3)])
    assert (night["outcome"], {hold["code"] for hold in night["holds"]}) == ("held", {"GUARD-FORGOTTEN"})
    assert faults(night) == {"PLAN-FORGOTTEN": 1} and night["counts"]["users"]["held"] == 1
    approved = district.run(approve=True)
    assert (approved["outcome"], approved["counts"]["users"]["create"]) == ("applied", 1)
    assert [user for (user,) in district.view("users", "user_id")] == ["u1", "u2", "u3"]
    assert traces(rows_of(district.database_url)) == []
    later = district.run([RENAMED, other(1), other(2), other(3), other(4)])
    assert (later["outcome"], faults(later)) == ("applied", {"PLAN-FORGOTTEN": 1})
    assert traces(rows_of(district.database_url)) == []


@pytest.mark.parametrize("row", [MARIT, RENAMED, RENAMED | {"userId": "new1", "userDistrictId": "", "userEmail": ""}])
def test_a_former_identifier_and_a_secondary_id_are_known_too(small: Nightly, row: dict[str, str]) -> None:
    forgotten(small, "mk8801")
    assert faults(small.run([row, other(1)], until="plan")) == {"PLAN-FORGOTTEN": 1}


def test_a_delivery_that_changes_nothing_else_waits_too_and_approved_is_in_sync(small: Nightly) -> None:
    forgotten(small, "mk8801")
    night = small.run([RENAMED, other(1), other(2)])
    assert (night["outcome"], night["answers"]) == ("held", ["approve", "reject"])
    assert small.run(approve=True)["outcome"] == "in_sync"
    assert small.run()["outcome"] == "in_sync"
    assert small.run([RENAMED, other(1), other(2)], force=False)["outcome"] == "in_sync"


def test_a_delivery_taken_before_takes_no_short_cut_past_the_question(small: Nightly) -> None:
    small.run([RENAMED, other(1), other(2)], force=False)
    forgotten(small, "mk8801")
    assert small.run(force=False)["outcome"] == "held"


def test_a_person_may_let_somebody_in_again_who_is_then_like_anybody_else(small: Nightly) -> None:
    forgotten(small, "mk8801")
    back = small.run([RENAMED, other(1), other(2)], release=True)
    assert (back["outcome"], faults(back)) == ("applied", {})
    assert small.view("users", "grade, status", "user_id = 'mk8801'") == [("5", "active")]
    assert faults(small.run([RENAMED | {"userGrade": "7"}, other(1)])) == {}
    forgotten(small, "mk8801")
    assert traces(rows_of(small.database_url)) == []
    assert faults(small.run([RENAMED, other(1)], until="plan")) == {"PLAN-FORGOTTEN": 1}


def test_a_row_that_waits_may_be_settled_as_somebody_new(small: Nightly) -> None:
    forgotten(small, "mk8801")
    small.run([other(1), RENAMED, other(3)], approve=True)
    waited = json.loads((Path(small.workspace) / "run.json").read_text())["run_id"]
    row = Settle(
        run_id=waited, format="batch_upload", entity="users", source_key="mk8801", file="users.csv", line=3, alone=True
    )
    workspace = steps.start_settle(small.district, row, run_id="settle-1", as_of=NOW)
    assert steps.settle(workspace, person="pat")["outcome"] == "applied"
    assert [user for (user,) in small.view("users", "user_id")] == ["mk8801", "u1", "u2", "u3"]


def test_somebody_whom_only_rejected_lines_name_is_forgotten_too(small: Nightly) -> None:
    lines = [other(7, userId="x7"), other(7, userId="x7", userLastName="Dahl"), other(1)]
    assert small.run(lines)["findings"]["ID-DUPLICATE"] == 2
    forgotten(small, "x7")
    assert "x7" not in rows_of(small.database_url) and "x7" not in kept_text(runs_folder(known(small)[0]))
    assert faults(small.run([other(7, userId="x7"), other(1)], until="plan")) == {"PLAN-FORGOTTEN": 1}
    forgotten(small, "x7")


def test_that_somebody_reads_a_file_and_keeps_it_from_being_wiped_is_told(
    small: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrollsync.database.dialects.LOCK_SECONDS", 0.1)
    with sqlite3.connect(small.database_url.removeprefix("sqlite:///"), isolation_level=None) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchall()
        told = forgotten(small, "mk8801")
        assert told["outcome"] == "forgotten" and "once the database is vacuumed" in told["message"]
        reader.execute("ROLLBACK")


def test_a_login_that_does_not_own_the_tables_is_told_who_has_to_free_old_rows(
    postgres_roster_url: str, tmp_path: Path, query: Query, plain_checks: None
) -> None:
    nightly = Nightly(tmp_path, postgres_roster_url, query)
    nightly.run([MARIT, other(1)])
    with psycopg.connect(postgres_roster_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE keeper LOGIN")
        owner.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO keeper")
        try:
            nightly.database_url = postgres_roster_url.replace("postgres:@", "keeper@")
            told = forgotten(nightly)
            assert told["outcome"] == "forgotten" and "belong to another login" in told["message"]
            assert traces(rows_of(postgres_roster_url)) == []
        finally:
            owner.execute("DROP OWNED BY keeper")
            owner.execute("DROP ROLE keeper")


def test_a_rejected_line_of_somebody_forgotten_is_remembered_without_a_name(small: Nightly) -> None:
    forgotten(small, "mk8801")
    night = small.run([RENAMED, RENAMED | {"userLastName": "Vik"}, other(1)])
    assert night["findings"]["ID-DUPLICATE"] == 2
    assert "mk8801" not in rows_of(small.database_url)


def test_a_plan_that_waited_meanwhile_is_not_applied(small: Nightly) -> None:
    small.run([RENAMED | {"userGrade": "9"}, other(1)], until="plan")
    forgotten(small, "mk8801")
    with pytest.raises(ConfigurationError, match="its files are gone"):
        steps.load(small.workspace, approved_by="pat")
    assert traces(rows_of(small.database_url)) == []


def test_runs_from_before_can_be_undone_and_bring_nothing_back(district: Nightly) -> None:
    forgotten(district, "mk8801")
    with pytest.raises(ConfigurationError, match="1 of the people whom that run changed was forgotten since"):
        district.undo("run-002")
    undone = district.undo("run-001")
    assert (undone["outcome"], undone["findings"]) == ("undone", {"PLAN-FORGOTTEN": 1})
    assert district.view("users") == []
    district.undo(undone["run_id"])
    assert [user for (user,) in district.view("users", "user_id")] == ["u1", "u2"]
    assert traces(rows_of(district.database_url)) == []


def test_the_run_that_forgot_somebody_cannot_be_undone(small: Nightly) -> None:
    run_id = forgotten(small, "mk8801")["run_id"]
    with pytest.raises(ConfigurationError, match="it forgot somebody"):
        small.undo(run_id)


def test_the_roster_as_of_a_day_before_has_nothing_of_the_person(district: Nightly, tmp_path: Path) -> None:
    forgotten(district, "mk8801")
    for day in ("2026-11-23", str(datetime.now(UTC).date())):
        out = tmp_path / day
        result = CliRunner().invoke(
            app, ["export", str(out), "--district", district.district, "--format", "batch_upload", "--as-of", day]
        )
        assert result.exit_code == 0, result.stderr
        assert traces(kept_text(out)) == []


def test_explaining_somebody_forgotten_says_so_and_others_are_explained(small: Nightly) -> None:
    run_id = forgotten(small, "mk8801")["run_id"]
    for name in ("mk8801", "mk7701"):
        with pytest.raises(ConfigurationError, match=f"was forgotten by run {run_id}"):
            steps.explain(small.district, "user", name)
    for kind, name in (("user", "u1"), ("class", "C1"), ("organization", "S1")):
        assert traces(json.dumps(steps.explain(small.district, kind, name))) == []


def test_what_a_person_edited_of_somebody_forgotten_changes_no_later_row(small: Nightly) -> None:
    keys = {name: key for key, name in small.view("users", "user_key, user_id")}
    edit = Edit(entity="users", key=keys["mk8801"], changes={"user_id": "mk8802"})
    workspace = steps.start_edit(small.district, edit, run_id="edit-1", as_of=NOW, reason="typo of Marit")
    assert steps.edit(workspace, person="pat")["outcome"] == "applied"
    forgotten(small, "mk8802")
    assert traces(rows_of(small.database_url) + kept_text(project_root())) == []
    assert faults(small.run([RENAMED, other(1)], until="plan")) == {"PLAN-FORGOTTEN": 1}


def test_marks_give_no_value_away_and_differ_between_districts(small: Nightly) -> None:
    forgotten(small, "mk8801")
    marks = small.query(small.database_url, "SELECT mark FROM forgotten")
    assert len(marks) == 6 and all(len(row["mark"]) == 64 for row in marks)
    ((key,),) = [
        tuple(row.values()) for row in small.query(small.database_url, "SELECT forget_key FROM district_state")
    ]
    assert len(key) == 64


def test_python_and_duckdb_make_the_same_mark() -> None:
    from enrollsync.database.forgotten import mark, mark_sql

    made = duckdb.sql(f"SELECT {mark_sql('user_id', 'v')} FROM (SELECT 'k' AS key, 'é 300' AS v)").fetchall()
    assert made == [(mark("k", "user_id", "é 300"),)]
