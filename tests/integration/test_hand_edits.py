"""What somebody writes into the roster past EnrollSync is mended by the next night that reads, whichever way it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from integration.test_backup import binary, command
from nightly import Nightly, clever, pupil

NIGHT = clever([pupil(number) for number in range(1, 6)])
LATER = clever([pupil(number, Grade="6" if number == 5 else "5") for number in range(1, 6)])
"""The next night's: one value of one person is another."""
Edit = Callable[[psycopg.Connection[Any], str], object]


def said(*statements: str) -> Edit:
    """Statements of one transaction."""
    return lambda connection, url: [connection.execute(statement) for statement in statements]


def by_psql(connection: psycopg.Connection[Any], url: str) -> None:
    command(binary("psql"), f"--dbname={url}", "--command=UPDATE users SET given_name = 'By psql', email = NULL")


def by_another_role(connection: psycopg.Connection[Any], url: str) -> None:
    connection.execute("CREATE ROLE somebody_else")
    connection.execute("GRANT SELECT, UPDATE, DELETE ON users, enrollments TO somebody_else")
    connection.execute("SET ROLE somebody_else")
    connection.execute("UPDATE users SET email = user_key || '@elsewhere.example'")
    connection.execute("DELETE FROM enrollments WHERE user_key % 2 = 0")
    connection.execute("RESET ROLE")
    connection.execute("DROP OWNED BY somebody_else")
    connection.execute("DROP ROLE somebody_else")


def by_copy(connection: psycopg.Connection[Any], url: str) -> None:
    """A table's rows are taken out, edited, and copied in again."""
    rows = connection.execute("SELECT * FROM enrollments").fetchall()
    connection.execute("TRUNCATE enrollments")
    with connection.cursor() as cursor, cursor.copy("COPY enrollments FROM STDIN") as copy:
        for row in rows[1:]:
            copy.write_row(["inactive" if value == "active" else value for value in row])


def with_triggers_off(connection: psycopg.Connection[Any], url: str) -> None:
    """As a restoring program writes: past foreign keys, and past whatever notices writes."""
    connection.execute("SET session_replication_role = replica")
    connection.execute("UPDATE memberships SET status = 'inactive'")
    connection.execute("DELETE FROM enrollments")


EDITS: dict[str, Edit] = {
    "psql": by_psql,
    "another role": by_another_role,
    "truncated links": said("TRUNCATE enrollments, memberships"),
    "copied": by_copy,
    "triggers off": with_triggers_off,
    "names swapped": said("UPDATE users AS one SET given_name = other.family_name FROM users AS other "
                          "WHERE other.user_key = one.user_key"),
    "set inactive": said("UPDATE users SET status = 'inactive'", "UPDATE enrollments SET status = 'inactive'"),
    "classes": said("UPDATE classes SET name = 'Edited'", "UPDATE organizations SET status = 'inactive'"),
}  # fmt: skip


@pytest.fixture
def nightly_on_a_server(tmp_path: Path, postgres_roster_url: str, query: Any, plain_checks: None) -> Nightly:
    nightly = Nightly(tmp_path, postgres_roster_url, query)
    nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
    nightly.begin(NIGHT)
    return nightly


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_hand_edit_is_mended_by_the_next_night_that_reads(nightly_on_a_server: Nightly, edit: Edit) -> None:
    nightly = nightly_on_a_server
    wanted = nightly.everything()
    with psycopg.connect(nightly.database_url) as connection:
        edit(connection, nightly.database_url)
    assert nightly.everything() != wanted
    nightly.run(LATER, force=False)
    nightly.run(NIGHT, force=False)
    assert nightly.everything() == wanted


@pytest.mark.parametrize("ends", ["before the load", "after it"])
def test_an_edit_that_is_under_way_while_a_night_runs_is_mended_by_the_next_one(
    nightly_on_a_server: Nightly, ends: str
) -> None:
    """Of other people than those that the night writes; of the same ones the later writer waits for the earlier one."""
    nightly = nightly_on_a_server
    with psycopg.connect(nightly.database_url) as editing:
        edited = editing.execute("UPDATE users SET given_name = 'Under way' WHERE source_key LIKE '%1'")
        assert edited.rowcount > 0
        if ends == "before the load":
            editing.commit()
        assert nightly.run(LATER, force=False)["outcome"] == "applied"
    assert nightly.run(NIGHT, force=False)["outcome"] == "applied"
    assert nightly.view("users", "count(*)", "given_name = 'Under way'") == [(0,)]


def test_an_older_dump_that_was_restored_is_brought_to_what_is_delivered(
    nightly_on_a_server: Nightly, postgres_server: str, tmp_path: Path
) -> None:
    nightly = nightly_on_a_server
    dump = str(tmp_path / "roster.dump")
    command(binary("pg_dump"), "--format=custom", f"--file={dump}", nightly.database_url)
    nightly.run(LATER, force=False)
    wanted = nightly.everything()
    command(binary("createdb"), f"--maintenance-db={postgres_server}", "restored_older")
    url = postgres_server.replace("/postgres?", "/restored_older?")
    command(binary("pg_restore"), "--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={url}", dump)
    restored = replace(nightly, database_url=url)
    assert restored.everything() != wanted
    # The run that led to today's state is not in it: what the workspaces of this machine know is not taken for true.
    assert restored.run(LATER, force=False)["outcome"] == "applied"
    assert restored.everything() == wanted
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE restored_older WITH (FORCE)")


def test_an_sqlite_file_that_was_edited_or_put_back_is_mended(nightly: Nightly, tmp_path: Path) -> None:
    nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
    nightly.begin(NIGHT)
    wanted, file = nightly.everything(), Path(nightly.database_url.removeprefix("sqlite:///"))
    shutil.copy(file, tmp_path / "older.db")
    nightly.run(LATER, force=False)
    shutil.copy(tmp_path / "older.db", file)
    assert nightly.run(LATER, force=False)["outcome"] == "applied"
    assert nightly.run(NIGHT, force=False)["outcome"] == "applied" and nightly.everything() == wanted
