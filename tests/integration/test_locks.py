"""Locks of others: nobody waits for one longer than agreed, and whoever waited in vain is told for whom."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from enrollsync.database import RunRecord, Store, dialects, migrations, open_store
from enrollsync.database.schema import METADATA
from enrollsync.load.apply import apply
from enrollsync.report.explain import explain
from enrollsync.words.errors import DatabaseError

RUN = RunRecord("run-1", "demo", "hash", "in_sync", None, datetime(2026, 9, 1, tzinfo=UTC))
ACTIONS: dict[str, Callable[[Store, Path, Any], object]] = {
    "migrate": lambda store, *_: store.migrate(),
    "export": lambda store, folder, _: store.export("demo", folder),
    "runs": lambda store, *_: store.runs("demo"),
    "version": lambda store, *_: store.version("demo"),
    "explain": lambda store, *_: explain(store, "demo", "user", "300"),
    "record": lambda store, *_: store.record_run(RUN),
    "apply": lambda store, _, plan: apply(store, plan.folder, plan, plan.run),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for longer than a moment."""
    monkeypatch.setattr(dialects, "LOCK_SECONDS", 0.2)


@contextmanager
def a_stranger(url: str, *statements: str) -> Iterator[str]:
    """Another program has done this and not ended its transaction; gives what is said of it."""
    with psycopg.connect(url, application_name="nightly backup") as connection:
        for statement in statements:
            connection.execute(statement)
        yield rf"\(nightly backup, process {connection.info.backend_pid} on the server, since \d\d:\d\d:\d\d UTC\)"
        connection.rollback()


def _refused(action: Callable[[], object]) -> str:
    with pytest.raises(DatabaseError) as raised:
        action()
    return str(raised.value)


@pytest.mark.parametrize(("action", "table"), [
    ("migrate", "enrollsync_version"), ("export", "users"), ("export", "district_state"), ("runs", "runs"),
    ("version", "district_state"), ("explain", "users"), ("record", "runs"), ("apply", "district_state"),
    ("apply", "users"), ("apply", "changes"),
])  # fmt: skip
def test_a_strangers_lock_on_a_table_ends_whatever_waits_with_one_line_that_names_him(
    postgres_roster_url: str, plans, tmp_path: Path, action: str, table: str
) -> None:
    store = open_store(postgres_roster_url)
    plan = plans.write(0, [("users", "create", {"user_key": 1, "user_id": "300"})])
    with a_stranger(postgres_roster_url, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE") as him:
        said = rf"database \S+: another program is writing to it or has locked it {him}; try again when that has ended"
        assert re.fullmatch(said, _refused(lambda: ACTIONS[action](store, tmp_path / "state", plan)))


def test_a_new_schema_waits_for_no_reader_that_never_ends(postgres_url: str) -> None:
    store = open_store(postgres_url)
    with store.backend.connect(create=True).begin() as connection:
        migrations.upgrade(connection, "0001")
    with a_stranger(postgres_url, "SELECT count(*) FROM changes") as him:
        assert re.search(him, _refused(store.migrate))
    store.migrate()
    assert store.is_current()


def test_two_new_schemas_at_once_wait_no_longer_for_each_other(postgres_url: str) -> None:
    with a_stranger(postgres_url, f"SELECT pg_advisory_xact_lock({dialects._SCHEMA_LOCK})"):
        assert "another program is writing to it" in _refused(open_store(postgres_url).migrate)


def test_every_table_of_the_roster_is_asked_for_its_holder(postgres_roster_url: str) -> None:
    store = open_store(postgres_roster_url)
    for table in METADATA.tables:
        with a_stranger(postgres_roster_url, f"LOCK TABLE {table} IN SHARE MODE") as him:
            writer = store.backend.writer("demo")
            assert writer is not None and re.search(him.partition(",")[0], f"({writer.program}")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_file_that_a_stranger_keeps_to_himself_is_waited_for_no_longer(
    sqlite_roster_url: str, plans, tmp_path: Path, action: str
) -> None:
    store = open_store(sqlite_roster_url)
    plan = plans.write(0, [])
    with sqlite3.connect(store.backend.place) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM runs")
        assert "another program is writing to it" in _refused(lambda: ACTIONS[action](store, tmp_path / "state", plan))
        other.rollback()
