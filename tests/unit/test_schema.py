"""The declared tables follow the canonical entities, and the store's small values behave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import CheckConstraint

from enrollsync.database import migrations, open_store
from enrollsync.database.memory import instant
from enrollsync.database.messages import explain
from enrollsync.database.schema import BASE, CHANGES, METADATA, STATUSES, arrow_schema, columns_of, primary_key
from enrollsync.words.canonical import BY_NAME, ENTITIES
from enrollsync.words.errors import DatabaseError


def test_base_tables_come_in_the_order_in_which_they_can_be_written() -> None:
    assert list(BASE) == ["organizations", "users", "memberships", "classes", "enrollments"]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_base_table_has_the_district_first_in_its_primary_key(entity) -> None:
    keys = [column.name for column in BASE[entity.name].primary_key]
    assert keys == ["district_id", *primary_key(entity)]


def test_links_stand_in_the_table_as_keys() -> None:
    assert columns_of(BY_NAME["enrollments"]) == ("class_key", "user_key", "role", "is_primary", "status", "source")
    assert columns_of(BY_NAME["classes"])[:4] == ("class_key", "source_key", "class_id", "organization_key")


def test_arrow_types_follow_the_columns() -> None:
    types = {field.name: str(field.type) for field in arrow_schema(list(BASE["enrollments"].columns))}
    assert types["class_key"] == "int64"
    assert types["is_primary"] == "bool"
    assert types["role"] == "string"


def test_source_key_is_text_although_other_keys_are_numbers() -> None:
    assert str(arrow_schema([BASE["users"].c.source_key]).field(0).type) == "string"


def test_every_base_table_checks_its_status() -> None:
    for table in BASE.values():
        (check,) = [item for item in table.constraints if isinstance(item, CheckConstraint)]
        assert all(status in str(check.sqltext) for status in STATUSES)


def test_every_table_is_keyed_by_district() -> None:
    keyed = [table for table in METADATA.tables.values() if table is not CHANGES]
    assert all("district_id" in table.primary_key.columns for table in keyed)
    assert not CHANGES.c.district_id.nullable


def test_changes_keep_both_ends_of_a_link() -> None:
    assert {"user_key", "class_key", "organization_key"} <= set(CHANGES.columns.keys())


def test_the_newest_revision_comes_first() -> None:
    assert migrations.known_revisions() == tuple(f"{number:04}" for number in range(15, 0, -1))


def test_the_known_revisions_are_the_steps_that_alembic_takes() -> None:
    steps = ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()
    assert migrations.known_revisions() == tuple(step.revision for step in steps)


offsets = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=offsets)


@given(moments, moments)
def test_text_order_of_instants_is_time_order(one: datetime, other: datetime) -> None:
    assert (str(instant(one)) < str(instant(other))) == (one < other)


@given(moments)
def test_an_instant_reads_back_as_the_same_moment(moment: datetime) -> None:
    assert datetime.fromisoformat(str(instant(moment))) == moment.astimezone(UTC)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://root:hunter2@localhost/x",
        "postgresql://me:hunter2@host:hunter2/x",
        "no url with hunter2",
        "",
    ],
)
def test_url_of_no_usable_database_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(DatabaseError) as raised:
        open_store(url)
    assert "sqlite:///" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_relative_sqlite_path_starts_at_the_projects_root(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    assert open_store("sqlite:///data/demo.db").backend.place == str(tmp_path / "data" / "demo.db")


@pytest.mark.parametrize("query", ["", "?password=hunter2"])
def test_place_of_a_server_names_neither_user_nor_password(query: str) -> None:
    place = open_store(f"postgresql://me:hunter2@db.example:5433/roster{query}").backend.place
    assert place == "postgresql://db.example:5433/roster"


def test_values_below_the_first_line_of_a_servers_message_are_not_quoted() -> None:
    text = (
        'INVALID_STATE: [libpq] ERROR:  duplicate key value violates unique constraint "uq_users_user_id"\n'
        "DETAIL:  Key (district_id, user_id)=(demo, 123456789) already exists."
    )
    assert "uq_users_user_id" in explain(text)
    assert "123456789" not in explain(text)


@pytest.mark.parametrize("text", [
    "table users already exists",
    'INVALID_STATE: [libpq] ERROR:  relation "users" already exists',
])  # fmt: skip
def test_a_table_of_somebody_elses_is_told_as_one(text: str) -> None:
    assert explain(text) == "holds tables of another program; name an empty database"


@given(st.text())
def test_whatever_a_driver_says_becomes_one_line(text: str) -> None:
    assert len(explain(text).splitlines()) <= 1
