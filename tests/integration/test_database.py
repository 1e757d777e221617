"""The schema on both databases, the export, the runs, and what a person reads when something is wrong."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.schema import CreateIndex

from enrollsync.database import RunRecord, Store, dialects, migrations, open_store
from enrollsync.database.schema import METADATA, columns_of
from enrollsync.load.apply import apply
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.errors import DatabaseError
from old_rosters import TURNED_TEACHER, membership

VIEWS = {
    "roster_organizations": "district_id, organization_id, name, type, status, organization_key, source_key",
    "roster_users": (
        "district_id, user_id, user_district_id, user_state_id, role, given_name, middle_name, family_name, email, "
        "username, grade, birth_date, status, user_key, source_key"
    ),
    "roster_memberships": "district_id, user_id, organization_id, role, is_primary, status, user_key, organization_key",
    "roster_classes": (
        "district_id, class_id, organization_id, name, course_code, course_name, subject, grade, period, term, status, "
        "class_key, organization_key, source_key"
    ),
    "roster_enrollments": "district_id, class_id, user_id, role, is_primary, status, class_key, user_key",
    "roster_identifier_history": "district_id, entity, old_id, new_id, run_id, changed_at, changed_by",
    "roster_runs": "district_id, run_id, batch_hash, outcome, plan_id, started_at, ended_at, approved_by, answer, "
    "comment",
    "roster_changes": "district_id, run_id, entity, entity_id, operation, before_json, after_json, reason, "
    "user_key, organization_key, class_key, role",
}
"""Section 4.3 of the design, then the internal keys."""

STARTED = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)
RUN = RunRecord("run-1", "demo", "hash", "in_sync", None, STARTED, counts={"users": {"unchanged": 3}})
SMALL_ROSTER = [
    ("organizations", "create", {"organization_key": 1, "organization_id": "S1", "name": "North"}),
    ("users", "create", {"user_key": 1, "user_id": "0300", "role": "student", "birth_date": "2015-03-09"}),
    ("users", "create", {"user_key": 2, "user_id": None, "source_key": "staff:2", "role": "teacher"}),
    ("memberships", "create", {"user_key": 1, "organization_key": 1, "role": "student", "is_primary": True}),
    ("classes", "create", {"class_key": 1, "class_id": "C1", "organization_key": 1, "term_end": "2027-06-01"}),
    ("enrollments", "create", {"class_key": 1, "user_key": 1, "role": "student", "is_primary": False}),
]


def _apply_roster(store: Store, plans) -> None:
    plan = plans.write(0, SMALL_ROSTER)
    apply(store, plan.folder, plan, plan.run)


def _message(action: Callable[[], object]) -> str:
    """The one line of the DatabaseError that the action ends with."""
    with pytest.raises(DatabaseError) as raised:
        action()
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert raised.value.exit_status == 5
    return message


# ---- schema and views ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_view_has_exactly_the_promised_columns(store: Store, view: str) -> None:
    with store.backend.connect().connect() as connection:
        columns = connection.exec_driver_sql(f"SELECT * FROM {view}").keys()
    assert ", ".join(columns) == VIEWS[view]


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_migrated_schema_is_the_declared_one(store: Store) -> None:
    with store.backend.connect().connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": migrations.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []


def test_migrated_indexes_are_the_declared_ones_where_alembic_cannot_compare_them(sqlite_url: str, query) -> None:
    store = open_store(sqlite_url)
    store.migrate()
    made = {row["sql"] for row in query(sqlite_url, "SELECT sql FROM sqlite_master WHERE type = 'index'") if row["sql"]}
    declared = [index for table in METADATA.tables.values() for index in table.indexes]
    assert made == {str(CreateIndex(index).compile(dialect=store.backend.dialect)) for index in declared}


def test_migrating_twice_changes_nothing(store: Store) -> None:
    store.migrate()
    assert store.is_current()


def test_a_new_database_is_not_current(unmigrated_url: str) -> None:
    assert not open_store(unmigrated_url).is_current()


def test_migration_makes_the_folder_of_the_file(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    store.migrate()
    assert Path(store.backend.place).is_file()


def test_views_show_a_roster_with_names_and_iso_dates(store: Store, database_url: str, plans, query) -> None:
    _apply_roster(store, plans)
    users = query(database_url, "SELECT user_id, birth_date, source_key FROM roster_users ORDER BY user_key")
    assert users == [
        {"user_id": "0300", "birth_date": "2015-03-09", "source_key": "0300"},
        {"user_id": None, "birth_date": None, "source_key": "staff:2"},
    ]
    enrollments = query(database_url, "SELECT class_id, user_id, role, status FROM roster_enrollments")
    assert enrollments == [{"class_id": "C1", "user_id": "0300", "role": "student", "status": "active"}]
    assert query(database_url, "SELECT class_id, organization_id FROM roster_classes") == [
        {"class_id": "C1", "organization_id": "S1"}
    ]
    assert query(database_url, "SELECT user_id, organization_id, is_primary FROM roster_memberships") == [
        {"user_id": "0300", "organization_id": "S1", "is_primary": True}
    ]


def test_a_removed_record_and_what_hangs_on_it_are_in_no_view(store: Store, database_url: str, plans, query) -> None:
    _apply_roster(store, plans)
    with store.backend.connect().begin() as connection:
        connection.exec_driver_sql(
            "UPDATE users SET status = 'removed', user_id = NULL, source_key = ' removed 1' WHERE user_key = 1"
        )
    assert query(database_url, "SELECT user_key FROM roster_users") == [{"user_key": 2}]
    assert query(database_url, "SELECT * FROM roster_enrollments") == []
    assert query(database_url, "SELECT * FROM roster_memberships") == []


def test_identifiers_that_differ_in_case_only_are_two(store: Store, database_url: str, plans, query) -> None:
    plan = plans.write(
        0, [("users", "create", {"user_key": key, "user_id": f"{name}1"}) for key, name in [(1, "ab"), (2, "AB")]]
    )
    apply(store, plan.folder, plan, plan.run)
    assert len(query(database_url, "SELECT * FROM roster_users")) == 2


def test_another_status_than_the_known_ones_is_refused(store: Store, plans) -> None:
    plan = plans.write(0, [("users", "create", {"user_key": 1, "user_id": "1", "status": "gone"})])
    assert "ck_users_status" in _message(lambda: apply(store, plan.folder, plan, plan.run))


# ---- export ----------------------------------------------------------------------------------------------------------


def _read(folder: Path, entity: str) -> list[dict[str, object]]:
    return pq.read_table(folder / f"{entity}.parquet").to_pylist()


def _shape(folder: Path) -> dict[str, dict[str, str]]:
    return {
        entity.name: {field.name: str(field.type) for field in pq.read_schema(folder / f"{entity.name}.parquet")}
        for entity in ENTITIES
    }


def test_export_of_a_missing_database_is_empty_and_leaves_it_missing(sqlite_url: str, tmp_path: Path) -> None:
    store = open_store(sqlite_url)
    assert store.export("demo", tmp_path / "state") == 0
    assert not Path(store.backend.place).parent.exists()
    assert all(_read(tmp_path / "state", entity.name) == [] for entity in ENTITIES)


def test_export_of_a_server_without_that_database_is_empty(postgres_url: str, tmp_path: Path) -> None:
    assert open_store(postgres_url.replace("/test_", "/absent_")).export("demo", tmp_path) == 0


def test_export_of_a_database_without_tables_is_empty(unmigrated_url: str, tmp_path: Path) -> None:
    if unmigrated_url.startswith("sqlite"):
        path = Path(unmigrated_url.removeprefix("sqlite:///"))
        path.parent.mkdir()
        path.touch()
    assert open_store(unmigrated_url).export("demo", tmp_path / "state") == 0
    assert not open_store(unmigrated_url).is_current()


def test_export_has_the_same_columns_and_types_full_or_empty(store: Store, plans, tmp_path: Path) -> None:
    store.export("demo", tmp_path / "empty")
    _apply_roster(store, plans)
    store.export("demo", tmp_path / "full")
    assert _shape(tmp_path / "full") == _shape(tmp_path / "empty")
    for entity in ENTITIES:
        assert tuple(_shape(tmp_path / "full")[entity.name]) == columns_of(entity)
    assert _shape(tmp_path / "full")["memberships"]["is_primary"] == "bool"
    assert _shape(tmp_path / "full")["users"]["user_key"] == "int64"
    assert _shape(tmp_path / "full")["users"]["birth_date"] == "string"


def test_export_gives_back_what_was_applied_with_the_version(store: Store, plans, tmp_path: Path) -> None:
    _apply_roster(store, plans)
    assert store.export("demo", tmp_path / "state") == 1
    users = _read(tmp_path / "state", "users")
    assert [(row["user_key"], row["user_id"], row["source_key"]) for row in users] == [
        (1, "0300", "0300"),
        (2, None, "staff:2"),
    ]
    assert _read(tmp_path / "state", "memberships") == [
        {
            "user_key": 1,
            "organization_key": 1,
            "role": "student",
            "is_primary": True,
            "status": "active",
            "source": "batch_upload",
        }
    ]
    assert _read(tmp_path / "state", "classes")[0]["term_end"] == "2027-06-01"


@pytest.mark.parametrize("source", [None, "batch_upload", "clever"])
def test_enrollments_are_exported_whole_whichever_is_the_usual_source(store: Store, plans, tmp_path, source) -> None:
    students = [("users", "create", {"user_key": key, "user_id": str(key), "role": "student"}) for key in range(3, 8)]
    unlike = [{}, {"role": "teacher"}, {"role": None}, {"is_primary": True}, {"is_primary": None},
              {"status": "inactive"}, {"source": "clever"}]  # fmt: skip
    usual = {"class_key": 1, "role": "student", "is_primary": False, "status": "active", "source": "batch_upload"}
    enrollments = [usual | {"user_key": key} | other for key, other in enumerate(unlike, start=1)]
    rows = [*SMALL_ROSTER[:5], *students, *(("enrollments", "create", row) for row in enrollments)]
    plan = plans.write(0, rows)
    apply(store, plan.folder, plan, plan.run)
    store.export("demo", tmp_path / "state", source)
    assert sorted(_read(tmp_path / "state", "enrollments"), key=lambda row: row["user_key"]) == enrollments


def test_export_holds_one_district_alone(store: Store, plans, tmp_path: Path) -> None:
    _apply_roster(store, plans)
    assert store.export("other", tmp_path / "state") == 0
    assert _read(tmp_path / "state", "users") == []


def test_a_district_named_like_sql_is_only_a_name(store: Store, plans, tmp_path: Path) -> None:
    _apply_roster(store, plans)
    assert store.export("x' OR '1' = '1", tmp_path / "state") == 0
    assert _read(tmp_path / "state", "users") == []


def test_export_keeps_a_value_that_first_appears_after_many_rows(store: Store, plans, tmp_path: Path) -> None:
    rows = [
        ("users", "create", {"user_key": key, "user_id": str(key), "grade": "3" if key > 69_999 else None})
        for key in range(1, 70_002)
    ]
    plan = plans.write(0, rows)
    apply(store, plan.folder, plan, plan.run)
    store.export("demo", tmp_path / "state")
    grades = pq.read_table(tmp_path / "state" / "users.parquet")["grade"].to_pylist()
    assert len(grades) == 70_001
    assert grades[-3:] == [None, "3", "3"]


def test_reading_an_old_schema_says_to_sync(store: Store, tmp_path: Path, monkeypatch) -> None:
    later = ("9999", *migrations.known_revisions())
    monkeypatch.setattr(migrations, "known_revisions", lambda: later)
    assert "enrollsync sync" in _message(lambda: store.export("demo", tmp_path))


def test_a_newer_schema_says_so_and_is_left_alone(store: Store, tmp_path: Path) -> None:
    with store.backend.connect().begin() as connection:
        connection.exec_driver_sql(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    assert "newer EnrollSync" in _message(lambda: store.export("demo", tmp_path))
    assert "newer EnrollSync" in _message(store.migrate)


def test_an_older_roster_keeps_its_audit_when_the_schema_moves(unmigrated_url: str, query) -> None:
    store = open_store(unmigrated_url)
    store.backend.prepare()
    with store.backend.connect(create=True).begin() as connection:
        migrations.upgrade(connection, "0001")
        for statement in OLD_ROSTER:
            connection.exec_driver_sql(statement)
    store.migrate()
    told = query(
        unmigrated_url, "SELECT run_id, entity_id, operation, after_json, reason FROM roster_changes ORDER BY 2"
    )
    assert [tuple(row.values()) for row in told] == [
        ("run-1", "300", "create", '{"user_id":"300"}', "the batch says so"),
        ("run-1", "300 S1", "create", '{"role":"student"}', "the batch says so"),
        ("run-1", "S1", "create", '{"name":"North"}', "by hand"),
    ]
    keys = query(unmigrated_url, "SELECT user_key, organization_key FROM roster_changes WHERE entity_id = '300 S1'")
    assert keys == [{"user_key": 7, "organization_key": 3}]


def test_an_older_rosters_memberships_keep_their_roles_and_a_role_that_changed_is_told_as_two_memberships(
    unmigrated_url: str, query
) -> None:
    store = open_store(unmigrated_url)
    store.backend.prepare()
    with store.backend.connect(create=True).begin() as connection:
        migrations.upgrade(connection, "0007")
        for statement in TURNED_TEACHER:
            connection.exec_driver_sql(statement)
    store.migrate()
    found = query(
        unmigrated_url,
        "SELECT user_id, organization_id, role, is_primary, status FROM roster_memberships ORDER BY 1, 2, 3",
    )
    assert [(*row.values(),) for row in found] == [
        ("7", "S1", "staff", False, "inactive"), ("7", "S1", "teacher", True, "active"),
        ("7", "S2", "staff", False, "active"), ("8", "S1", "student", True, "active"),
    ]  # fmt: skip
    told = query(
        unmigrated_url,
        "SELECT state_after, operation, user_key, organization_key, role, before_json, after_json FROM changes"
        " WHERE entity = 'memberships' ORDER BY sequence, operation DESC",
    )
    assert [(*row.values(),) for row in told] == [
        (1, "create", 7, 1, "staff", None, membership("staff", "true")),
        (1, "create", 7, 2, "staff", None, membership("staff", "false")),
        (1, "create", 8, 1, "student", None, '{"is_primary":true,"status":"active","source":"clever"}'),
        (2, "deactivate", 7, 1, "staff", '{"is_primary":true,"status":"active"}',
         '{"is_primary":false,"status":"inactive"}'),
        (2, "create", 7, 1, "teacher", None, membership("teacher", "true")),
    ]  # fmt: skip
    assert query(unmigrated_url, "SELECT role FROM roster_changes WHERE entity = 'users'") == [{"role": None}] * 2


def test_an_older_rosters_inactive_memberships_lose_their_mark_and_their_runs_say_so(
    unmigrated_url: str, query
) -> None:
    store = open_store(unmigrated_url)
    store.backend.prepare()
    with store.backend.connect(create=True).begin() as connection:
        migrations.upgrade(connection, "0005")
        for statement in MOVED_BEFORE:
            connection.exec_driver_sql(statement)
    store.migrate()
    found = query(unmigrated_url, "SELECT organization_key, is_primary FROM roster_memberships ORDER BY 1")
    assert [bool(row["is_primary"]) for row in found] == [False, False, True]
    told = query(unmigrated_url, "SELECT before_json FROM changes ORDER BY sequence")
    assert [row["before_json"] for row in told] == [
        '{"status":"active"}', '{"is_primary":true,"status":"active"}', '{"status":"active"}',
    ]  # fmt: skip


MOVED_BEFORE = (
    "INSERT INTO organizations (district_id, organization_key, source_key, organization_id, status, source) VALUES "
    + ", ".join(f"('demo', {key}, 'S{key}', 'S{key}', 'active', 'clever')" for key in (1, 2, 3)),
    "INSERT INTO users (district_id, user_key, source_key, user_id, status, source)"
    " VALUES ('demo', 7, 'student:300', '300', 'active', 'clever')",
    "INSERT INTO memberships (district_id, user_key, organization_key, is_primary, status, source) VALUES"
    " ('demo', 7, 1, true, 'inactive', 'clever'), ('demo', 7, 2, false, 'inactive', 'clever'),"
    " ('demo', 7, 3, true, 'active', 'clever')",
    "INSERT INTO changes (district_id, state_after, sequence, entity, user_key, organization_key, operation,"
    " before_json, after_json) VALUES "
    + ", ".join(
        f"('demo', {state}, {state}, 'memberships', 7, {school}, 'deactivate',"
        """ '{"status":"active"}', '{"status":"inactive"}')"""
        for state, school in ((1, 1), (2, 1), (3, 2))
    ),
)
"""A student whose first school was left, come back to, and left again."""

OLD_ROSTER = (
    "INSERT INTO runs (district_id, run_id, outcome, started_at, counts_json, findings_json, state_before, state_after)"
    " VALUES ('demo', 'run-1', 'applied', '2026-01-01', '{}', '{}', 0, 1)",
    "INSERT INTO organizations (district_id, organization_key, source_key, organization_id, status, source)"
    " VALUES ('demo', 3, 'S1', 'S1', 'active', 'clever')",
    "INSERT INTO users (district_id, user_key, source_key, user_id, status, source)"
    " VALUES ('demo', 7, 'student:300', '300', 'active', 'clever')",
    "INSERT INTO changes (district_id, run_id, sequence, entity, entity_key, entity_id, operation, after_json, reason)"
    " VALUES ('demo', 'run-1', 1, 'organizations', 3, 'S1', 'create', '{\"name\":\"North\"}', 'by hand'),"
    " ('demo', 'run-1', 2, 'users', 7, '300', 'create', '{\"user_id\":\"300\"}', 'the batch says so')",
    "INSERT INTO changes (district_id, run_id, sequence, entity, user_key, organization_key, entity_id, operation,"
    " after_json, reason) VALUES ('demo', 'run-1', 3, 'memberships', 7, 3, '300 S1', 'create',"
    " '{\"role\":\"student\"}', 'the batch says so')",
)


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_a_missing_database_has_no_runs_and_stays_missing(unmigrated_url: str) -> None:
    store = open_store(unmigrated_url)
    assert store.runs("demo") == []
    assert store.last_applied("demo", "batch_upload") is None
    assert not store.is_current()


def test_recording_a_run_again_replaces_it(store: Store) -> None:
    store.record_run(RUN)
    store.record_run(replace(RUN, outcome="held", message='100 % café\'s "quote"'))
    (run,) = store.runs("demo")
    assert (run["outcome"], run["message"]) == ("held", '100 % café\'s "quote"')
    assert run["counts"] == {"users": {"unchanged": 3}}
    assert run["started_at"] == "2026-09-01T02:00:00.000000+00:00"


def test_recording_never_replaces_a_run_that_has_written(store: Store, plans) -> None:
    plan = plans.write(0, SMALL_ROSTER, run_id="run-1")
    apply(store, plan.folder, plan, plan.run)
    store.record_run(RUN)
    assert [run["outcome"] for run in store.runs("demo")] == ["applied"]


def test_runs_come_newest_first_and_of_one_district(store: Store) -> None:
    for number in (2, 3, 1):
        store.record_run(replace(RUN, run_id=f"run-{number}", started_at=STARTED + timedelta(hours=number)))
    store.record_run(replace(RUN, run_id="run-9", district_id="other"))
    assert [run["run_id"] for run in store.runs("demo")] == ["run-3", "run-2", "run-1"]


def test_last_applied_is_the_newest_of_its_source_that_was_written(store: Store, plans) -> None:
    delivered = datetime(2026, 8, 31, 20, 0, tzinfo=UTC)
    first = plans.write(0, SMALL_ROSTER, batch_hash="one", delivered_at=delivered - timedelta(days=1))
    second = plans.write(1, [], batch_hash="two", delivered_at=delivered)
    third = plans.write(2, [], batch_hash="three", delivered_at=delivered + timedelta(days=1), source="clever")
    for plan in (first, second, third):
        apply(store, plan.folder, plan, plan.run)
    held = replace(RUN, batch_hash="four", source="batch_upload", outcome="held")
    store.record_run(replace(held, started_at=STARTED + timedelta(days=1)))
    assert store.last_applied("demo", "batch_upload") == ("two", delivered)


def test_recording_where_nothing_was_migrated_says_what_to_do(unmigrated_url: str) -> None:
    message = _message(lambda: open_store(unmigrated_url).record_run(RUN))
    assert "enrollsync sync" in message


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_a_path_that_is_a_folder_is_named(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}")
    for action in (store.migrate, lambda: store.export("demo", tmp_path / "state"), lambda: store.record_run(RUN)):
        message = _message(action)
        assert str(tmp_path) in message
        assert "is a folder" in message


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "picture.db"
    path.write_bytes(b"\x89PNG\r\n" + bytes(range(256)) * 40)
    store = open_store(f"sqlite:///{path}")
    for action in (store.migrate, lambda: store.export("demo", tmp_path / "state")):
        message = _message(action)
        assert str(path) in message
        assert "is no SQLite database" in message


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "part of its path is a file" in _message(open_store(f"sqlite:///{tmp_path}/file/demo.db").migrate)


def test_a_file_system_that_takes_no_files_is_named() -> None:
    assert "/proc/" in _message(open_store("sqlite:////proc/enrollsync/demo.db").migrate)


_AS_ANOTHER_USER = """
import os, sys
from datetime import datetime, UTC
from enrollsync.database import RunRecord, open_store
store = open_store(sys.argv[1])
record = RunRecord("run-1", "demo", "hash", "in_sync", None, datetime.now(UTC))
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    getattr(store, "migrate")() if sys.argv[2] == "migrate" else store.record_run(record)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="switches users as Linux does")
@pytest.mark.parametrize("action", ["migrate", "record"])
def test_a_read_only_file_is_named_before_anything_is_written(tmp_path: Path, action: str) -> None:
    # A folder of its own under the system's temporary folder would be out of reach for the other user.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() != "root" or folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    path = tmp_path / "demo.db"
    if action == "record":
        open_store(f"sqlite:///{path}").migrate()
    else:
        path.touch()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _AS_ANOTHER_USER, f"sqlite:///{path}", action], capture_output=True, text=True
        )
    finally:
        tmp_path.chmod(0o755)
    assert done.stdout.startswith(f"DatabaseError database {path}: cannot be ")
    assert len(done.stdout.splitlines()) == 1


def test_a_locked_file_is_waited_for_and_then_named(sqlite_roster_url: str, monkeypatch) -> None:
    store = open_store(sqlite_roster_url)
    monkeypatch.setattr(dialects, "LOCK_SECONDS", 0)
    with sqlite3.connect(store.backend.place) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another program is writing" in _message(lambda: store.record_run(RUN))
        other.rollback()
    store.record_run(RUN)


def test_a_reader_does_not_wait_for_a_writer(sqlite_roster_url: str, tmp_path: Path) -> None:
    store = open_store(sqlite_roster_url)
    with sqlite3.connect(store.backend.place) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO district_state (district_id, version) VALUES ('demo', 7)")
        assert store.export("demo", tmp_path / "state") == 0
        other.rollback()


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    store = open_store(f"postgresql://me:hunter2@127.0.0.1:{port}/roster")
    for action in (store.migrate, lambda: store.export("demo", tmp_path), lambda: store.record_run(RUN)):
        message = _message(action)
        assert f"postgresql://127.0.0.1:{port}/roster: cannot be reached" in message
        assert "hunter2" not in message


def test_a_login_that_does_not_exist_is_refused_in_one_line(postgres_url: str) -> None:
    message = _message(open_store(postgres_url.replace("postgres:@", "nobody:hunter2@")).migrate)
    assert "nobody" in message
    assert "hunter2" not in message


def test_a_server_that_forbids_tables_is_named(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
    message = _message(open_store(postgres_url.replace("postgres:@", "reader@")).migrate)
    assert "permission denied for schema public" in message


@pytest.mark.parametrize(("change", "says"), [
    ("ALTER DATABASE {} SET default_transaction_read_only = on", "can only be read by this login: it is a standby, or"),
    ("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC", "refuses this user (permission denied for "),
])  # fmt: skip
def test_a_server_that_only_lets_read_is_told_in_its_own_words(
    postgres_roster_url: str, change: str, says: str
) -> None:
    with psycopg.connect(postgres_roster_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        connection.execute(change.format(connection.info.dbname))
    message = _message(lambda: open_store(postgres_roster_url.replace("postgres:@", "reader@")).record_run(RUN))
    assert says in message
    assert "file" not in message


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_its_companions_and_its_folders_are_their_owners_alone(tmp_path: Path, plans, query) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    url = f"sqlite:///{kept}/data/rosters/demo.db"
    store = open_store(url)
    store.migrate()
    folder = kept / "data" / "rosters"
    assert [_mode(path) for path in (kept, kept / "data", folder)] == [0o755, 0o700, 0o700]
    with store.writing(RUN.district_id, RUN.run_id) as session:
        session.rows(text("SELECT count(*) FROM users"))
        there = {path.name: _mode(path) for path in folder.iterdir()}
    assert there == {f"demo.db{end}": 0o600 for end in ("", "-wal", "-shm", "-writer")}


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o664, 0o600), (0o444, 0o400), (0o640, 0o640),
                                               (0o600, 0o600)])  # fmt: skip
def test_a_file_that_everybody_may_read_is_shut_and_one_opened_to_a_group_stays(
    sqlite_roster_url: str, before: int, after: int
) -> None:
    store = open_store(sqlite_roster_url)
    path = Path(store.backend.place)
    path.chmod(before)
    path.parent.chmod(0o755)
    store.migrate()
    assert (_mode(path), _mode(path.parent)) == (after, 0o755)


def test_the_place_of_a_sqlite_file_may_hold_signs_of_a_url(tmp_path: Path, plans) -> None:
    folder = tmp_path / "50% of # schools"
    store = open_store(f"sqlite:///{folder}/demo.db")
    store.migrate()
    _apply_roster(store, plans)
    assert store.export("demo", tmp_path / "state") == 1
    assert os.listdir(folder) == ["demo.db"]
