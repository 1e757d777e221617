"""Applying plans on both databases: every operation, swaps, stale plans, failures and kills in mid-way."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrollsync.database import Store, dialects, open_store
from enrollsync.load.apply import apply
from enrollsync.words.errors import AlreadyApplied, DatabaseError, StalePlan

ROSTER = [
    ("organizations", "create", {"organization_key": 1, "organization_id": "S1", "name": "North"}),
    ("organizations", "create", {"organization_key": 2, "organization_id": "S2", "name": "South"}),
    *[
        ("users", "create", {"user_key": key, "user_id": f"{key}00", "role": "student", "given_name": f"Given {key}"})
        for key in (1, 2, 3, 4)
    ],
    ("memberships", "create", {"user_key": 1, "organization_key": 1, "role": "student", "is_primary": True}),
    ("classes", "create", {"class_key": 1, "class_id": "C1", "organization_key": 1, "name": "Algebra"}),
    ("enrollments", "create", {"class_key": 1, "user_key": 1, "role": "student", "is_primary": False}),
]
USERS = "SELECT user_key, user_id, status FROM users WHERE district_id = 'demo' ORDER BY user_key"
AS_LOADED = [{"user_key": key, "user_id": f"{key}00", "status": "active"} for key in (1, 2, 3, 4)]


@pytest.fixture
def roster(store: Store, plans) -> Store:
    """A roster at state 1."""
    _apply(store, plans.write(0, ROSTER))
    return store


@pytest.fixture
def rows(database_url: str, query) -> Callable[[str], list[dict[str, Any]]]:
    """`rows(sql)` on this test's database."""
    return lambda sql: query(database_url, sql)


def _apply(store: Store, plan) -> int:
    return apply(store, plan.folder, plan, plan.run)


def _user(key: int, identifier: str | None, **values: Any) -> dict[str, Any]:
    return {"user_key": key, "user_id": identifier, "role": "student", "given_name": f"Given {key}", **values}


# ---- operations ------------------------------------------------------------------------------------------------------


def test_applying_returns_the_number_of_operations(store: Store, plans) -> None:
    assert _apply(store, plans.write(0, ROSTER)) == len(ROSTER)


def test_an_update_changes_that_record_alone(roster: Store, plans, rows) -> None:
    _apply(roster, plans.write(1, [("users", "update", _user(2, "200", given_name="Leena", grade="3"))]))
    assert rows("SELECT user_key, given_name, grade FROM users ORDER BY user_key") == [
        {"user_key": 1, "given_name": "Given 1", "grade": None},
        {"user_key": 2, "given_name": "Leena", "grade": "3"},
        {"user_key": 3, "given_name": "Given 3", "grade": None},
        {"user_key": 4, "given_name": "Given 4", "grade": None},
    ]
    assert rows("SELECT * FROM identifier_history") == []


def test_an_update_can_clear_a_value(roster: Store, plans, rows) -> None:
    _apply(roster, plans.write(1, [("users", "update", _user(2, "200", given_name=None))]))
    assert rows("SELECT given_name FROM users WHERE user_key = 2") == [{"given_name": None}]


def test_deactivating_and_reactivating_keeps_the_identifier(roster: Store, plans, rows) -> None:
    _apply(roster, plans.write(1, [("users", "deactivate", _user(2, "200", status="inactive"))]))
    assert rows("SELECT user_id, status FROM roster_users WHERE user_key = 2") == [
        {"user_id": "200", "status": "inactive"}
    ]
    _apply(roster, plans.write(2, [("users", "reactivate", _user(2, "200"))]))
    assert rows(USERS) == AS_LOADED


def test_links_change_by_both_their_ends(roster: Store, plans, rows) -> None:
    ends = {"class_key": 1, "user_key": 1}
    changes = [
        ("enrollments", "deactivate", {**ends, "role": "student", "is_primary": False, "status": "inactive"}),
        ("enrollments", "create", {"class_key": 1, "user_key": 2, "role": "teacher", "is_primary": True}),
        ("memberships", "update", {"user_key": 1, "organization_key": 1, "role": "student", "is_primary": False}),
        ("memberships", "create", {"user_key": 1, "organization_key": 2, "role": "student", "is_primary": True}),
    ]
    _apply(roster, plans.write(1, changes))
    assert rows("SELECT user_id, role, is_primary, status FROM roster_enrollments ORDER BY user_id") == [
        {"user_id": "100", "role": "student", "is_primary": False, "status": "inactive"},
        {"user_id": "200", "role": "teacher", "is_primary": True, "status": "active"},
    ]
    assert rows("SELECT organization_id, is_primary FROM roster_memberships ORDER BY organization_id") == [
        {"organization_id": "S1", "is_primary": False},
        {"organization_id": "S2", "is_primary": True},
    ]


def test_a_class_moves_to_another_organization(roster: Store, plans, rows) -> None:
    moved = {"class_key": 1, "class_id": "C1", "organization_key": 2, "name": "Algebra"}
    _apply(roster, plans.write(1, [("classes", "update", moved)]))
    assert rows("SELECT class_id, organization_id FROM roster_classes") == [{"class_id": "C1", "organization_id": "S2"}]


def test_a_changed_identifier_keeps_enrollments_and_writes_history(roster: Store, plans, rows) -> None:
    ended = datetime(2026, 9, 1, 2, 5, tzinfo=UTC)
    plan = plans.write(1, [("users", "reidentify", _user(1, "101"))], ended_at=ended, approved_by="pat")
    _apply(roster, plan)
    assert rows("SELECT user_id FROM roster_enrollments") == [{"user_id": "101"}]
    assert rows("SELECT * FROM roster_identifier_history") == [
        {
            "district_id": "demo",
            "entity": "users",
            "old_id": "100",
            "new_id": "101",
            "run_id": plan.run.run_id,
            "changed_at": "2026-09-01T02:05:00.000000+00:00",
            "changed_by": "pat",
        }
    ]


def test_history_names_the_source_when_nobody_approved(roster: Store, plans, rows) -> None:
    _apply(roster, plans.write(1, [("users", "reidentify", _user(1, "101"))]))
    assert rows("SELECT changed_by FROM roster_identifier_history") == [{"changed_by": "batch_upload"}]


def test_a_creation_writes_no_history(roster: Store, rows) -> None:
    assert rows("SELECT * FROM roster_identifier_history") == []


# ---- identifiers that pass from one to another -----------------------------------------------------------------------

MOVES = {
    "swap": {1: "200", 2: "100"},
    "cycle of three": {1: "200", 2: "300", 3: "100"},
    "chain into a free one": {1: "200", 2: "300", 3: "999"},
    "chain behind one that gives up": {1: None, 2: "100", 3: "200"},
    "swap beside a cycle-free change": {1: "200", 2: "100", 4: "401"},
}


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES.keys())
def test_identifiers_move_in_one_plan_whatever_the_order(roster: Store, plans, rows, moves, backwards) -> None:
    changes = [
        ("users", "reidentify", _user(key, new, source_key=new or f"given-up-{key}")) for key, new in moves.items()
    ]
    _apply(roster, plans.write(1, changes[::-1] if backwards else changes))
    expected = [{**row, "user_id": moves.get(row["user_key"], row["user_id"])} for row in AS_LOADED]
    assert rows(USERS) == expected
    history = rows("SELECT entity_key, old_id, new_id FROM identifier_history ORDER BY entity_key")
    assert history == [{"entity_key": key, "old_id": f"{key}00", "new_id": new} for key, new in sorted(moves.items())]


def test_a_new_record_takes_an_identifier_that_another_gives_up(roster: Store, plans, rows) -> None:
    changes = [
        ("users", "deactivate", _user(1, None, source_key="released:1", status="inactive")),
        ("users", "create", _user(5, "100")),
    ]
    _apply(roster, plans.write(1, changes))
    assert rows("SELECT user_key, user_id, status FROM users WHERE user_key IN (1, 5) ORDER BY user_key") == [
        {"user_key": 1, "user_id": None, "status": "inactive"},
        {"user_key": 5, "user_id": "100", "status": "active"},
    ]
    assert rows("SELECT old_id, new_id FROM identifier_history") == [{"old_id": "100", "new_id": None}]


def test_classes_and_organizations_swap_identifiers_too(roster: Store, plans, rows) -> None:
    changes = [
        ("organizations", "reidentify", {"organization_key": 1, "organization_id": "S2", "name": "North"}),
        ("organizations", "reidentify", {"organization_key": 2, "organization_id": "S1", "name": "South"}),
        ("classes", "reidentify", {"class_key": 1, "class_id": "C9", "organization_key": 1, "name": "Algebra"}),
        ("classes", "create", {"class_key": 2, "class_id": "C1", "organization_key": 2, "name": "Biology"}),
    ]
    _apply(roster, plans.write(1, changes))
    assert rows("SELECT class_id, organization_id FROM roster_classes ORDER BY class_id") == [
        {"class_id": "C1", "organization_id": "S1"},
        {"class_id": "C9", "organization_id": "S2"},
    ]


def test_two_districts_may_use_the_same_keys_and_identifiers(roster: Store, plans, rows) -> None:
    _apply(roster, plans.write(0, ROSTER, district_id="other"))
    other = plans.write(1, [("users", "reidentify", _user(1, "777"))], district_id="other")
    _apply(roster, other)
    assert rows(USERS) == AS_LOADED
    assert rows("SELECT user_id FROM users WHERE district_id = 'other' AND user_key = 1") == [{"user_id": "777"}]


# ---- the record of it ------------------------------------------------------------------------------------------------


def test_audit_rows_equal_the_operations(store: Store, plans, rows) -> None:
    plan = plans.write(0, ROSTER)
    _apply(store, plan)
    written = rows("""
        SELECT run_id, entity, operation, line
        FROM changes
        JOIN runs ON runs.district_id = changes.district_id AND runs.state_after = changes.state_after
        ORDER BY sequence""")
    assert [(row["entity"], row["operation"]) for row in written] == [change[:2] for change in ROSTER]
    assert {row["run_id"] for row in written} == {plan.run.run_id}
    assert [row["line"] for row in written] == [number + 1 for number in range(1, len(ROSTER) + 1)]
    assert rows("SELECT class_key, user_key, organization_key FROM changes WHERE entity = 'enrollments'") == [
        {"class_key": 1, "user_key": 1, "organization_key": None}
    ]


def test_links_are_named_by_their_ends_and_a_plain_enrollment_is_told_though_it_is_not_stored(
    store: Store, plans, rows
) -> None:
    plan = plans.write(0, ROSTER)
    table = pq.read_table(plan.folder / "enrollments.parquet")
    nothing = pa.array([None] * table.num_rows, pa.string())
    column = table.column_names.index("after_json")
    pq.write_table(table.set_column(column, "after_json", nothing), plan.folder / "enrollments.parquet")
    _apply(store, plan)
    (told,) = rows("SELECT entity_id, after_json FROM roster_changes WHERE entity = 'enrollments'")
    assert told["entity_id"] == "100 C1"
    assert json.loads(told["after_json"]) == {
        "role": "student", "is_primary": False, "status": "active", "source": "batch_upload",
    }  # fmt: skip


def test_the_run_names_the_states_before_and_after(roster: Store, plans) -> None:
    counts = {"users": {"update": 1}}
    _apply(roster, plans.write(1, [("users", "update", _user(1, "100", grade="4"))], counts=counts))
    newest = roster.runs("demo")[0]
    assert (newest["state_before"], newest["state_after"], newest["counts"]) == (1, 2, counts)


def test_a_run_that_was_held_first_becomes_applied(roster: Store, plans) -> None:
    plan = plans.write(1, [("users", "update", _user(1, "100"))], run_id="nightly", approved_by="pat")
    roster.record_run(replace(plan.run, outcome="held", approved_by=None))
    _apply(roster, plan)
    (run,) = [run for run in roster.runs("demo") if run["run_id"] == "nightly"]
    assert (run["outcome"], run["approved_by"]) == ("applied", "pat")


def test_applying_again_does_nothing_and_returns_the_same(store: Store, plans, rows) -> None:
    plan = plans.write(0, ROSTER)
    assert _apply(store, plan) == _apply(store, plan) == len(ROSTER)
    assert rows("SELECT version FROM district_state") == [{"version": 1}]
    assert len(rows("SELECT * FROM changes")) == len(ROSTER)


def test_a_run_cannot_apply_a_second_plan(roster: Store, plans, rows) -> None:
    _apply(roster, plans.write(1, [], run_id="nightly"))
    with pytest.raises(AlreadyApplied, match="start a new run"):
        _apply(roster, plans.write(2, [("users", "update", _user(1, "1"))], run_id="nightly"))
    assert rows(USERS) == AS_LOADED


# ---- what must not be half done --------------------------------------------------------------------------------------


def _everything(rows) -> list[list[dict[str, Any]]]:
    tables = ("users", "enrollments", "changes", "runs", "identifier_history", "district_state")
    return [sorted(rows(f"SELECT * FROM {table}"), key=str) for table in tables]


def test_a_stale_plan_is_refused_by_name_and_writes_nothing(roster: Store, plans, rows) -> None:
    before = _everything(rows)
    plan = plans.write(0, [("users", "update", _user(1, "1"))])
    with pytest.raises(StalePlan, match=f"{plan.plan_id}.*plan again") as raised:
        _apply(roster, plan)
    assert raised.value.exit_status == 5
    assert _everything(rows) == before


BROKEN = {
    "an identifier that somebody keeps": [
        ("users", "update", _user(1, "100", grade="5")),
        ("users", "create", _user(9, "300")),
    ],
    "two records with one new identifier": [("users", "create", _user(8, "800")), ("users", "create", _user(9, "800"))],
    "an enrollment of nobody": [
        ("users", "create", _user(9, "900")),
        ("enrollments", "create", {"class_key": 1, "user_key": 77}),
    ],
    "a change of a record that is not there": [
        ("users", "create", _user(9, "900")),
        ("enrollments", "deactivate", {"class_key": 1, "user_key": 4, "status": "inactive"}),
    ],
    "a record without a source key": [("users", "create", _user(9, None))],
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN.keys())
def test_a_plan_that_fails_in_mid_way_leaves_nothing_and_no_lock(roster: Store, plans, rows, changes) -> None:
    before = _everything(rows)
    with pytest.raises(DatabaseError) as raised:
        _apply(roster, plans.write(1, changes))
    assert len(str(raised.value).splitlines()) == 1
    assert "300" not in str(raised.value)
    assert _everything(rows) == before
    assert _apply(roster, plans.write(1, [("users", "create", _user(9, "900"))])) == 1


# ---- one writer ------------------------------------------------------------------------------------------------------

_HOLDING = """
import sys, time
from datetime import UTC, datetime
from enrollsync.database import RunRecord, open_store
from enrollsync.load.apply import _lock

url, district, run_id = sys.argv[1:]
run = RunRecord(run_id, district, None, "applied", None, datetime.now(UTC))
with open_store(url).writing(run.district_id, run.run_id) as session:
    _lock(session, district)
    print("holds", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_elsewhere(url: str, run_id: str, district: str = "demo") -> Iterator[None]:
    """Another process writes to the district; at the end it is killed as a whole machine would be."""
    command = [sys.executable, "-c", _HOLDING, url, district, run_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "holds\n"
            yield
        finally:
            process.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Writers wait for a moment only."""
    monkeypatch.setattr(dialects, "LOCK_SECONDS", 0.2)
    return monkeypatch


def _refused(action: Callable[[], object]) -> str:
    with pytest.raises(DatabaseError) as raised:
        action()
    return str(raised.value)


@pytest.mark.parametrize("first_load", [True, False], ids=["first load", "later load"])
def test_a_second_writer_waits_and_then_names_the_run_that_writes_until_that_is_killed(
    store: Store, database_url: str, plans, impatient: pytest.MonkeyPatch, first_load: bool
) -> None:
    if not first_load:
        _apply(store, plans.write(0, ROSTER))
    plan = plans.write(0 if first_load else 1, [])
    with held_elsewhere(database_url, "manual__2026-11-23T02:00:13+00:00"):
        assert re.fullmatch(
            r"database \S+: run manual__2026-11-23T02:00:13\+00:00 is writing \(since \d\d:\d\d:\d\d UTC\); "
            "wait until it has ended, and try again",
            _refused(lambda: _apply(store, plan)),
        )
    impatient.setattr(dialects, "LOCK_SECONDS", 30)
    assert _apply(store, plan) == 0


def test_of_two_districts_the_one_that_is_asked_for_is_named(
    postgres_roster_url: str, plans, impatient: pytest.MonkeyPatch
) -> None:
    store = open_store(postgres_roster_url)
    _apply(store, plans.write(0, ROSTER))
    with held_elsewhere(postgres_roster_url, "run-north", "north"):
        assert _apply(store, plans.write(1, [])) == 0
        with held_elsewhere(postgres_roster_url, "run-demo"):
            assert "run run-demo is writing" in _refused(lambda: _apply(store, plans.write(2, [])))


def test_the_districts_of_one_file_wait_for_each_other_and_are_told_for_whom(
    sqlite_roster_url: str, plans, impatient: pytest.MonkeyPatch
) -> None:
    store = open_store(sqlite_roster_url)
    plan = plans.write(0, ROSTER)
    with held_elsewhere(sqlite_roster_url, "run-north", "north"):
        for action in (lambda: _apply(store, plan), lambda: store.record_run(plan.run)):
            assert "run run-north is writing" in _refused(action)
    assert _apply(store, plan) == len(ROSTER)


def test_another_login_is_told_the_run_though_not_since_when(
    postgres_roster_url: str, plans, impatient: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres_roster_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS second_writer")
        connection.execute("CREATE ROLE second_writer LOGIN")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO second_writer")
    store = open_store(postgres_roster_url.replace("postgres:@", "second_writer@"))
    with held_elsewhere(postgres_roster_url, "run-first"):
        assert "run run-first is writing; wait" in _refused(lambda: _apply(store, plans.write(0, [])))
    with psycopg.connect(postgres_roster_url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY second_writer")
        connection.execute("DROP ROLE second_writer")


def test_another_program_that_holds_the_row_is_no_run(
    postgres_roster_url: str, plans, impatient: pytest.MonkeyPatch
) -> None:
    store = open_store(postgres_roster_url)
    _apply(store, plans.write(0, ROSTER))
    with psycopg.connect(postgres_roster_url) as other:
        other.execute("UPDATE district_state SET version = version")
        assert "another program is writing" in _refused(lambda: _apply(store, plans.write(1, [])))
        other.rollback()


def test_a_note_that_a_killed_writer_left_is_not_believed_and_goes_with_the_next_writer(
    sqlite_roster_url: str, plans, impatient: pytest.MonkeyPatch
) -> None:
    store = open_store(sqlite_roster_url)
    plan = plans.write(0, ROSTER)
    note = Path(f"{store.backend.place}-writer")
    with held_elsewhere(sqlite_roster_url, "run-killed"):
        assert note.stat().st_mode & 0o777 == 0o600
    assert note.is_file()
    with sqlite3.connect(store.backend.place) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another program is writing" in _refused(lambda: store.record_run(plan.run))
        other.rollback()
    assert _apply(store, plan) == len(ROSTER)
    assert not note.exists()


def test_a_writer_that_fails_leaves_no_note(sqlite_roster_url: str, plans) -> None:
    store = open_store(sqlite_roster_url)
    with pytest.raises(StalePlan):
        _apply(store, plans.write(7, []))
    assert not Path(f"{store.backend.place}-writer").exists()


def test_a_very_long_run_is_named_as_far_as_the_server_keeps_it(
    postgres_roster_url: str, plans, impatient: pytest.MonkeyPatch
) -> None:
    store = open_store(postgres_roster_url)
    with held_elsewhere(postgres_roster_url, "scheduled-" + "x" * 200):
        assert f"run scheduled-{'x' * 38} is writing" in _refused(lambda: _apply(store, plans.write(0, [])))


_KILLED = """
import json, os, signal, sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from enrollsync.database import RunRecord, dialects, open_store
from enrollsync.load.apply import apply

url, folder, plan, run, last = sys.argv[1], Path(sys.argv[2]), *map(json.loads, sys.argv[3:6])
run["started_at"] = datetime.fromisoformat(run["started_at"])
count = 0

def dying(write):
    def write_and_die(*arguments):
        global count
        write(*arguments)
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
    return write_and_die

for name in ("execute", "stage", "append"):
    setattr(dialects.Session, name, dying(getattr(dialects.Session, name)))
apply(open_store(url), folder, SimpleNamespace(**plan), RunRecord(**run))
print(count)
"""


def _apply_elsewhere(url: str, plan, last: int) -> subprocess.CompletedProcess[str]:
    """Apply in a process that kills itself after write number `last` (-1: never)."""
    facts = {
        name: getattr(plan, name)
        for name in ("plan_id", "district_id", "source", "state_version", "shares", "students")
    }
    run = {**asdict(plan.run), "started_at": plan.run.started_at.isoformat()}
    arguments = [url, str(plan.folder), json.dumps(facts), json.dumps(run), json.dumps(last)]
    return subprocess.run([sys.executable, "-c", _KILLED, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_killed_after_any_write_the_old_state_stands_and_a_rerun_ends_as_undisturbed(
    roster: Store, database_url: str, plans, rows
) -> None:
    changes = [
        ("users", "reidentify", _user(1, "200")),
        ("users", "reidentify", _user(2, "100")),
        ("users", "create", _user(9, "900")),
        ("enrollments", "create", {"class_key": 1, "user_key": 9, "role": "student"}),
    ]
    plan = plans.write(1, changes)
    before = _everything(rows)
    for last in (2, 7, 13):
        assert _apply_elsewhere(database_url, plan, last).returncode == -9
        assert _everything(rows) == before
    done = _apply_elsewhere(database_url, plan, -1)
    assert done.returncode == 0 and int(done.stdout) > 13, done.stderr
    assert rows("SELECT user_key, user_id FROM users WHERE user_key IN (1, 2, 9) ORDER BY user_key") == [
        {"user_key": 1, "user_id": "200"},
        {"user_key": 2, "user_id": "100"},
        {"user_key": 9, "user_id": "900"},
    ]
    assert rows("SELECT version FROM district_state") == [{"version": 2}]


def test_a_lost_connection_leaves_the_old_state(postgres_roster_url: str, plans, query, monkeypatch) -> None:
    store = open_store(postgres_roster_url)
    plan = plans.write(0, ROSTER)
    append = dialects.Session.append

    def append_and_lose(session: dialects.Session, *arguments: Any) -> None:
        append(session, *arguments)
        with psycopg.connect(postgres_roster_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with monkeypatch.context() as patch:
        patch.setattr(dialects.Session, "append", append_and_lose)
        with pytest.raises(DatabaseError) as raised:
            _apply(store, plan)
    assert len(str(raised.value).splitlines()) == 1
    assert query(postgres_roster_url, "SELECT * FROM users") == []
    assert _apply(store, plan) == len(ROSTER)


def test_a_plan_without_operations_still_moves_the_state(roster: Store, plans, tmp_path: Path) -> None:
    assert _apply(roster, plans.write(1, [])) == 0
    assert roster.export("demo", tmp_path / "state") == 2
