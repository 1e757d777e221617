"""A database of the first schema goes through every step with its data, the newest steps can be taken back, and a new
version of the program never applies what an older one has shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

import first_nights
from enrollsync import steps
from enrollsync.cli import app
from enrollsync.database import migrations, open_store
from enrollsync.database.schema import METADATA
from enrollsync.report.explain import explain
from enrollsync.run import program
from enrollsync.run.workspace import Workspace
from enrollsync.words.errors import ConfigurationError, DatabaseError
from nightly import Nightly, Query, other

STEPS = migrations.known_revisions()[::-1]
TAKEN_BACK = [revision for revision in STEPS[::-1] if migrations.way_back(revision)]
"""Those that have a way back, the newest first, as docs/backup.md lists them."""


def at_first(url: str) -> None:
    """Make the database one of the first schema, with three nights in it."""
    store = open_store(url)
    store.backend.prepare()
    with store.backend.connect(create=True).begin() as connection:
        migrations.upgrade(connection, STEPS[0])
        first_nights.fill(connection)


def move(url: str, revision: str) -> None:
    with open_store(url).backend.connect(create=True).begin() as connection:
        migrations.upgrade(connection, revision)


def district(folder: Path, url: str, query: Query) -> Nightly:
    nightly = Nightly(folder, url, query)
    nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
    return nightly


@pytest.fixture
def old(tmp_path: Path, unmigrated_url: str, query: Query, plain_checks: None) -> Nightly:
    """A district whose database is of the first schema."""
    at_first(unmigrated_url)
    return district(tmp_path, unmigrated_url, query)


NOW = {
    "organizations": [("S1", "North", "active"), ("S2", "South", "active")],
    "memberships": [
        ("F1", "S1", "staff", True, "active"), ("T1", "S1", "teacher", True, "active"),
        ("p-1", "S1", "student", False, "inactive"), ("p-1", "S2", "student", True, "active"),
        ("p-3", "S1", "student", False, "inactive"), ("q-2", "S1", "student", True, "active"),
    ],
    "classes": [("X1", "S1", "Arts", None, "active"), ("X2", "S1", "Gym", None, "active")],
    "enrollments": [
        ("X1", "T1", "teacher", True, "active"), ("X1", "p-1", "student", False, "active"),
        ("X1", "q-2", "student", False, "active"), ("X2", "T1", "teacher", True, "active"),
        ("X2", "p-3", "student", False, "inactive"),
    ],
}  # fmt: skip


def shown(nightly: Nightly) -> dict[str, list[tuple[Any, ...]]]:
    """The roster less its people's values, on both databases alike."""
    found = {name: rows for name, rows in nightly.everything().items() if name != "users"}
    flags = {"memberships": 3, "enrollments": 3}
    return {
        name: [tuple(bool(v) if flags.get(name) == i else v for i, v in enumerate(row)) for row in rows]
        for name, rows in found.items()
    }


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_a_roster_of_the_first_schema_goes_through_every_step_and_is_told_explained_run_and_undone(
    old: Nightly,
) -> None:
    people = "user_id, given_name, family_name, grade, birth_date, status"
    before = old.view("users", people)
    history = old.view("identifier_history", "entity, old_id, new_id, run_id")
    for revision in STEPS[1:]:
        move(old.database_url, revision)
        assert old.view("users", people) == before, revision
        assert old.view("identifier_history", "entity, old_id, new_id, run_id") == history, revision
        assert len(old.view("runs")) == 3 and len(old.view("changes")) >= 26, revision
    store = open_store(old.database_url)
    assert store.is_current()
    with store.backend.connect().connect() as connection:
        options = {"version_table": migrations.VERSION_TABLE, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    assert before == [
        ("F1", "Ida", "Cole", None, None, "active"), ("T1", "Ann", "Lee", None, None, "active"),
        ("p-1", "Zoë", "Núñez", "6", "2014-01-01", "active"), ("p-3", "Cy", "Quill", "6", "2013-01-03", "inactive"),
        ("q-2", "Bo", "O'Hara", "5", "2014-01-02", "active"),
    ]  # fmt: skip
    assert history == [("users", "p-2", "q-2", "night-3")]
    assert shown(old) == NOW

    told = explain(store, "demo", "user", "p-2")
    assert "q-2" in json.dumps(told) and "night-3" in json.dumps(told)
    assert [run["run_id"] for run in store.runs("demo")] == ["night-3", "night-2", "night-1"]

    last, first = old.everything(), first_nights.NIGHTS
    again = old.run(dict(first[2]))
    assert (again["outcome"], old.everything()) == ("in_sync", last)
    undone = [old.undo(f"night-{number}") for number in (3, 2)]
    assert [one["outcome"] for one in undone] == ["undone", "undone"]
    assert old.run(dict(first[0]))["outcome"] == "in_sync"
    assert old.run(dict(first[1]), approve=True)["outcome"] == "applied"
    assert old.run(dict(first[2]), approve=True)["outcome"] == "applied"
    assert old.everything() == last


@pytest.mark.parametrize("revision", ["0001", "0006", "0012"])
def test_from_an_earlier_schema_the_next_night_moves_on_by_itself(
    tmp_path: Path, sqlite_url: str, query: Query, plain_checks: None, revision: str
) -> None:
    at_first(sqlite_url)
    move(sqlite_url, revision)
    nightly = district(tmp_path, sqlite_url, query)
    assert nightly.run(dict(first_nights.NIGHTS[2]))["outcome"] == "in_sync"
    assert open_store(sqlite_url).is_current() and shown(nightly) == NOW


def _schema(url: str, query: Query) -> set[tuple[Any, ...]]:
    """Every column, index and view that the database has."""
    if url.startswith("sqlite"):
        of_tables = """
            SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns
            WHERE tables.name NOT LIKE 'sqlite_%'"""
        of_others = "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'view')"
    else:
        of_tables = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        of_others = """
            SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"""
    rows = [*query(url, of_tables), *query(url, of_others)]
    return {(*(" ".join(str(value).split()) for value in row.values()),) for row in rows}


def test_the_newest_steps_are_taken_back_one_by_one_with_the_roster_kept_and_come_again(
    old: Nightly, query: Query
) -> None:
    url, schemas = old.database_url, {}
    for revision in STEPS[1:]:
        move(url, revision)
        schemas[revision] = _schema(url, query)
    before = old.everything()
    store = open_store(url)
    for revision, earlier in zip(TAKEN_BACK, [*TAKEN_BACK[1:], "0008"], strict=True):
        assert store.way_back()[:2] == (revision, earlier)
        store.downgrade()
        assert _schema(url, query) == schemas[earlier]
        assert old.everything() == before
    with pytest.raises(DatabaseError, match="its schema 0008 cannot be taken back; restore the back-up"):
        store.downgrade()
    assert old.run(dict(first_nights.NIGHTS[2]))["outcome"] == "in_sync"
    assert store.is_current() and _schema(url, query) == schemas[STEPS[-1]]


def test_the_newest_step_always_has_a_way_back_and_the_page_names_each() -> None:
    assert tuple(TAKEN_BACK) == migrations.known_revisions()[: len(TAKEN_BACK)] and TAKEN_BACK[-1] == "0009"
    page = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()
    for revision in TAKEN_BACK:
        _, loses = migrations.way_back(revision) or ("", "")
        assert f"| {revision} | {loses} |" in page


def test_a_downgrade_that_breaks_leaves_the_schema_as_it_was(old: Nightly, monkeypatch) -> None:
    store = open_store(old.database_url)
    store.migrate()

    def broken(connection: Any, revision: str) -> None:
        connection.exec_driver_sql("DROP INDEX ix_changes_of_classes")
        raise OperationalError("cut", None, Exception("server closed the connection"))

    monkeypatch.setattr(migrations, "downgrade", broken)
    with pytest.raises(DatabaseError, match="cannot be reached"):
        store.downgrade()
    assert store.is_current()
    monkeypatch.undo()
    store.downgrade()


def test_the_command_migrates_and_takes_a_step_back_after_saying_what_is_lost(old: Nightly) -> None:
    def said(*arguments: str, answer: str = "") -> tuple[int, str]:
        ran = CliRunner().invoke(app, ["database", *arguments, "--district", old.district], input=answer)
        return ran.exit_code, ran.output

    newest, before = STEPS[-1], STEPS[-2]
    assert said("migrate")[1].endswith(f"its schema is {newest}\n")
    status, asked = said("downgrade", answer="n\n")
    _, loses = migrations.way_back(newest) or ("", "")
    assert status == 2 and f"from schema {newest} to {before}. {loses}" in asked
    assert open_store(old.database_url).is_current()
    assert f"this one brings {newest} back" in said("downgrade", "--yes")[1]
    assert said("downgrade", "--yes")[0] == 0
    assert f"its schema is {newest}" in said("migrate")[1]


# ---- a new version while runs wait -----------------------------------------------------------------------------------


def version(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """Let the program be another one from here on."""
    monkeypatch.setattr(program, "version", lambda package: number)


@pytest.fixture
def waiting(nightly: Nightly) -> Nightly:
    """A district with a plan that waits for approval."""
    nightly.settings["thresholds"] = {"deactivate_percent": 0, "update_percent": 0, "floor": 1}
    nightly.begin([other(1), other(2)])
    assert nightly.run([other(1, userGrade="6"), other(2)])["outcome"] == "held"
    return nightly


def test_a_plan_that_another_version_made_is_never_applied_and_a_new_run_plans_anew(
    waiting: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, place = waiting.everything(), waiting.workspace
    assert not steps.is_stale(place)
    version(monkeypatch, "0.2.0")
    assert steps.is_stale(place), "Airflow asks again in a new run"
    for approved in ("pat", None):
        with pytest.raises(ConfigurationError, match=r"EnrollSync 0\.1.* began it and this is EnrollSync 0\.2\.0"):
            steps.load(place, approved_by=approved)
    assert "start a new run" in str(steps.result(place)["message"])
    assert steps.result(place)["outcome"] == "failed" and waiting.everything() == before
    again = waiting.run(approve=True)
    assert again["outcome"] == "applied" and waiting.everything() != before


def test_no_step_goes_on_with_what_another_version_left(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    nightly.begin([other(1)])
    over = nightly.run([other(1, userGrade="6")])["artifacts"]
    done = nightly.run([other(1, userGrade="6"), other(2)], until="plan")
    version(monkeypatch, "0.2.0")
    with pytest.raises(ConfigurationError, match="start a new run"):
        steps.load(over)
    assert steps.result(over)["outcome"] == "applied", "it stays what it was"
    for act in (steps.ingest, steps.validate, steps.plan, steps.load, steps.plan_undo):
        with pytest.raises(ConfigurationError, match="start a new run"):
            act(done["artifacts"])
    assert nightly.view("users", "user_id") == [("u1",)]
    assert steps.report(done["artifacts"])["outcome"] == "failed", "it is told all the same"


@pytest.mark.parametrize(("facts", "said"), [
    ({"program": None}, "an older EnrollSync"),
    ({"program": "EnrollSync 7", "made_up_by_a_later_version": 1}, "EnrollSync 7"),
])  # fmt: skip
def test_files_of_an_older_or_newer_version_are_told_as_such_and_not_as_damaged(
    waiting: Nightly, facts: dict[str, Any], said: str
) -> None:
    path = Workspace(Path(waiting.workspace)).root / "run.json"
    told = json.loads(path.read_text()) | facts
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))
    with pytest.raises(ConfigurationError, match=f"{said} began it and this is EnrollSync 0.1"):
        steps.load(waiting.workspace, approved_by="pat")


def test_settings_that_only_a_later_version_understands_are_told_as_such(waiting: Nightly) -> None:
    root = Path(waiting.workspace)
    for name, facts in (("settings.json", {"made_up": 1}), ("run.json", {"program": "EnrollSync 7"})):
        (root / name).write_text(json.dumps(json.loads((root / name).read_text()) | facts))
    with pytest.raises(ConfigurationError, match="EnrollSync 7 began it"):
        steps.load(str(root), approved_by="pat")
