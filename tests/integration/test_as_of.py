"""The roster as of a day is what the views showed then: undone runs, new identifiers, clocks moved at midnight."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from enrollsync.as_of.day import end_of, state_before
from enrollsync.as_of.records import changes_since, taken_back
from enrollsync.as_of.tables import export_as_of
from enrollsync.database import Store, open_store
from enrollsync.database.schema import BASE, columns_of
from enrollsync.words.canonical import ENTITIES, Entity
from written_histories import DISTRICT, History

Query = Callable[[str, str], list[dict[str, Any]]]
VIEWS = ("organizations", "users", "memberships", "classes", "enrollments", "identifier_history")


def views(url: str, query: Query) -> dict[str, list[str]]:
    """Every row of the views as text, sorted."""
    return {view: sorted(map(_text, query(url, f"SELECT * FROM roster_{view}"))) for view in VIEWS}


def _text(row: dict[str, Any]) -> str:
    booleans = {name: bool(value) for name, value in row.items() if name == "is_primary" and value is not None}
    return repr(row | booleans)


def views_of(folder: Path, definitions: dict[str, str]) -> dict[str, list[str]]:
    """The same of exported tables, by the database's own definitions of its views."""
    with duckdb.connect() as connection:
        for table in (*BASE, "identifier_history"):
            path = folder / f"{table}.parquet"
            connection.execute(f"CREATE VIEW {table} AS SELECT '{DISTRICT}' AS district_id, * FROM '{path}'")
        found = {}
        for view in VIEWS:
            connection.execute(definitions[view])
            rows = connection.execute(f"FROM roster_{view}")
            names = [column[0] for column in rows.description or ()]
            found[view] = sorted(_text(dict(zip(names, row, strict=True))) for row in rows.fetchall())
        return found


@pytest.fixture
def definitions(tmp_path: Path, query: Query) -> dict[str, str]:
    """View -> the statement that creates it, as SQLite keeps it."""
    url = f"sqlite:///{tmp_path / 'views.db'}"
    open_store(url).migrate()
    rows = query(url, "SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    return {row["name"].removeprefix("roster_"): row["sql"] for row in rows}


@pytest.mark.parametrize(
    ("database_url", "seed"),
    [("sqlite", 0), ("sqlite", 1), ("postgresql", 5)], indirect=["database_url"],
)  # fmt: skip
def test_every_earlier_state_is_what_the_views_showed_then(
    store: Store, database_url: str, query: Query, definitions: dict[str, str], tmp_path: Path, seed: int
) -> None:
    history = History(store, tmp_path, Random(seed))
    shown = {history.clock: views(database_url, query)}
    for _ in range(7):
        history.night()
        shown[history.clock] = views(database_url, query)
    for moment, expected in shown.items():
        state = state_before(store.rows, DISTRICT, moment + timedelta(seconds=1))
        folder = tmp_path / f"as-of-{state}"
        export_as_of(store, DISTRICT, state, folder)
        assert views_of(folder, definitions) == expected
        for entity in ENTITIES:
            assert one_by_one(store, entity, state) == together(folder, entity.name)


def together(folder: Path, entity: str) -> list[str]:
    return sorted(map(repr, pq.read_table(folder / f"{entity}.parquet").to_pylist()))


def one_by_one(store: Store, entity: Entity, state: int) -> list[str]:
    """The same, every record taken back by itself."""
    base = BASE[entity.name]
    rows = store.rows(select(*(base.c[column] for column in columns_of(entity))))
    return sorted(map(repr, taken_back(entity, rows, store.rows(changes_since(entity, DISTRICT, state)))))


@pytest.mark.parametrize(("zone", "day", "end"), [
    ("America/New_York", date(2026, 11, 23), datetime(2026, 11, 24, 5, tzinfo=UTC)),
    # Clocks go from midnight to one: there is no midnight.
    ("America/Santiago", date(2026, 9, 5), datetime(2026, 9, 6, 4, tzinfo=UTC)),
    # Clocks go from midnight back to eleven: the day has its last hour twice.
    ("America/Santiago", date(2026, 4, 4), datetime(2026, 4, 5, 4, tzinfo=UTC)),
])  # fmt: skip
def test_a_day_ends_at_its_last_midnight(zone: str, day: date, end: datetime) -> None:
    assert end_of(day, ZoneInfo(zone)) == end


def test_before_the_first_run_there_is_nobody(store: Store, tmp_path: Path) -> None:
    history = History(store, tmp_path, Random(1))
    first = history.clock
    history.night()
    assert state_before(store.rows, DISTRICT, first) == 0
    export_as_of(store, DISTRICT, 0, tmp_path / "as-of")
    assert {name: together(tmp_path / "as-of", name) for name in BASE} == dict.fromkeys(BASE, [])
