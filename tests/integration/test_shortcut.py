"""The same delivery on a database that has not moved ends at once; anything else is looked at again."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from enrollsync import steps
from enrollsync.database import open_store
from enrollsync.ingest import shortcut
from enrollsync.settings import load_district
from nightly import Nightly, other, student


def looked(nightly: Nightly) -> bool:
    """Whether the last run read the delivery."""
    return (Path(nightly.workspace) / "findings.parquet").exists()


def test_an_unchanged_delivery_is_in_sync_without_reading_it(nightly_everywhere: Nightly) -> None:
    nightly = nightly_everywhere
    first = nightly.run([student(), student("3!"), other(1)])
    again = nightly.run(force=False)
    assert (again["outcome"], looked(nightly)) == ("in_sync", False)
    assert again["findings"] == first["findings"]
    assert again["counts"]["users"] | {"create": 0, "unchanged": 2, "rejected": 1} == again["counts"]["users"]
    assert again["counts"] == nightly.run()["counts"] and looked(nightly)
    assert nightly.view("runs", "outcome") == [("applied",), ("in_sync",), ("in_sync",)]


@pytest.mark.parametrize(("files", "on_top"), [
    pytest.param({"users.csv": [other(1)], "id_changes.csv": "entity,old_id,new_id\nuser,300,301\n"},
                 ("users", "reidentify"), id="a record that only id_changes.csv speaks of"),
    pytest.param([student(schoolId="S2"), other(1)], ("memberships", "update"),
                 id="a former primary school"),
])  # fmt: skip
def test_what_no_row_speaks_of_is_no_unchanged_row_the_night_after(
    nightly: Nightly, files: Any, on_top: tuple[str, str]
) -> None:
    nightly.begin([student(), other(1)])
    changed = nightly.run(files)
    entity, operation = on_top
    assert changed["counts"][entity][operation] == 1
    again = nightly.run(force=False)
    assert not looked(nightly)
    assert again["counts"] == nightly.run(force=False)["counts"] and not looked(nightly)
    assert again["counts"] == nightly.run()["counts"] and looked(nightly)


@pytest.mark.parametrize("change", ["delivery", "settings", "database", "force"])
def test_whatever_changed_is_looked_at(nightly: Nightly, change: str) -> None:
    rows = [student(), other(1)]
    nightly.begin(rows)
    if change == "delivery":
        nightly.deliver([*rows, other(2)])
    if change == "settings":
        nightly.settings["identifiers"] = {"ssn": "off"}
    if change == "database":
        nightly.run([other(3)])
        nightly.deliver(rows)
    nightly.run(force=change == "force")
    assert looked(nightly)


def test_a_hand_edit_is_seen_by_a_forced_run(nightly: Nightly) -> None:
    import sqlite3

    nightly.begin([student(), other(1)])
    with sqlite3.connect(nightly.database_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE users SET grade = '9' WHERE user_id = '300'")
    assert nightly.run(force=False)["counts"]["users"]["update"] == 0
    assert nightly.run(force=True)["counts"]["users"]["update"] == 1
    assert nightly.view("users", "grade", "user_id = '300'") == [("5",)]


@pytest.mark.parametrize(("days", "known"), [(6.9, True), (7, False), (30, False)])
def test_a_full_check_is_due_after_recheck_days(nightly: Nightly, days: float, known: bool) -> None:
    nightly.begin([student()])
    nightly.run(force=False)  # a short cut is no check
    district = load_district(nightly.district)
    store = open_store(nightly.database_url)
    mark = steps.Workspace(Path(nightly.workspace)).read().fingerprint or ""
    later = datetime(2026, 11, 23, 7, tzinfo=UTC) + timedelta(days=days)
    assert (shortcut.settled_before(store, district, mark, later) is not None) is known


def test_a_held_delivery_is_looked_at_again(nightly: Nightly) -> None:
    nightly.settings["thresholds"] = {"update_percent": 0, "floor": 1}
    nightly.begin([student()])
    assert nightly.run([student(userGrade="6")])["outcome"] == "held"
    assert nightly.run(force=False)["outcome"] == "held"


def test_a_plan_takes_no_short_cut(nightly: Nightly) -> None:
    nightly.begin([student()])
    assert nightly.run(force=False, until="plan")["outcome"] == "in_sync" and looked(nightly)


HEAVY = {
    "adbc_driver_postgresql", "adbc_driver_sqlite", "alembic", "duckdb", "great_expectations", "numpy", "pandas",
    "pyarrow", "rich", "structlog",
}  # fmt: skip
"""What takes the better part of a second to import, more than a night without changes has."""
_COMMAND = """
import sys
from enrollsync.cli import app
try:
    app(sys.argv[1:])
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def test_an_unchanged_night_imports_nothing_heavy(nightly_everywhere: Nightly, tmp_path: Path) -> None:
    nightly = nightly_everywhere
    nightly.run([student(), student("3!"), other(1)], as_of=datetime.now(UTC))
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, "sync", "--district", nightly.district, "--json"],
        capture_output=True, text=True, check=True, env={**os.environ, "ENROLLSYNC_HOME": str(tmp_path)},
    )  # fmt: skip
    assert '"outcome": "in_sync"' in done.stdout
    assert "sqlalchemy" in done.stderr.split()
    assert HEAVY.isdisjoint(done.stderr.split())
