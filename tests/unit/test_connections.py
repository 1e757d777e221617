"""Connections of the environment, as the command reads them."""

from __future__ import annotations

import json

import pytest

from enrollsync.database import open_store
from enrollsync.settings.address import read_address
from enrollsync.settings.connections import database_url
from enrollsync.words.errors import EnrollSyncError
from secret_urls import MALFORMED, SECRET


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ("postgresql://roster:p%40ss@db.example:5432/roster", "postgresql://roster:p%40ss@db.example:5432/roster"),
        ("postgres://me@db/roster", "postgresql://me@db/roster"),
        (
            '{"conn_type": "postgres", "host": "db", "login": "me", "password": "p@/s", "schema": "roster", '
            '"extra": {"sslmode": "require"}}',
            "postgresql://me:p%40%2Fs@db/roster?sslmode=require",
        ),
        (
            '{"conn_type": "postgres", "host": "db", "port": 5433, "schema": "r", '
            '"extra": "{\\"sslmode\\": \\"prefer\\"}"}',
            "postgresql://db:5433/r?sslmode=prefer",
        ),
        ("sqlite:////srv/roster.db", "sqlite:////srv/roster.db"),
        ('{"conn_type": "sqlite", "host": "data/roster.db"}', "sqlite:///data/roster.db"),
    ],
)
def test_a_connection_of_the_environment_is_read_like_airflow_reads_it(
    monkeypatch: pytest.MonkeyPatch, connection: str, url: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DISTRICT_DB", connection)
    assert database_url("district_db") == url
    read_address(url)


def test_a_connection_that_is_not_set_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_DISTRICT_DB", raising=False)
    with pytest.raises(EnrollSyncError, match="AIRFLOW_CONN_DISTRICT_DB is not set") as refused:
        database_url("district_db")
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    "value",
    [
        f"{{{SECRET}",
        json.dumps({"conn_type": "postgres", "port": SECRET}),
        json.dumps({"conn_type": SECRET, "host": SECRET}),
        json.dumps({"conn_type": "postgres", "host": "h", "extra": SECRET}),
        json.dumps({"conn_type": "postgres", "host": "h", "login": ["x"], "schema": "d"}),
        f'["{SECRET}"]',
        *MALFORMED,
    ],
)
def test_a_connection_that_cannot_be_read_is_not_quoted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DISTRICT_DB", value.replace("\0", ""))
    try:
        shown = open_store(database_url("district_db")).backend.place
    except EnrollSyncError as error:
        shown = str(error)
    assert SECRET not in shown
