"""Connections of the environment, as the command reads them."""

from __future__ import annotations

import json

import pytest

from enrollsync.database import open_store
from enrollsync.settings.address import read_address
from enrollsync.settings.connections import api_access, database_url, source_connection
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


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ('{"conn_type": "http", "password": "tok-1"}', "https://api.clever.com"),
        ('{"conn_type": "http", "host": "https://api.clever.com/", "password": "tok-1"}', "https://api.clever.com"),
        ('{"host": "gate.example", "schema": "https", "port": 8443, "password": "tok-1"}', "https://gate.example:8443"),
        ('{"host": "https://gate.example/clever", "password": " tok-1 "}', "https://gate.example/clever"),
        ("http://:tok%2D1@api.clever.com/https", "https://api.clever.com"),
        ("clever://:tok-1@", "https://api.clever.com"),
        ("http://:tok-1@127.0.0.1:8000/http", "http://127.0.0.1:8000"),
        ('{"host": "http://localhost:8000", "password": "tok-1"}', "http://localhost:8000"),
    ],
)
def test_an_api_is_reached_by_its_connections_host_and_password(
    monkeypatch: pytest.MonkeyPatch, connection: str, url: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CLEVER_DEMO", connection)
    found = api_access(source_connection("clever_demo"))
    assert (found.url, found.token, found.is_local) == (url, "tok-1", "127" in url or "localhost" in url)
    assert "tok-1" not in repr(found)


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (None, "AIRFLOW_CONN_CLEVER_DEMO is not set"),
        ("{", "is no connection as URI or JSON"),
        ("http://[", "is no connection as URI or JSON"),
        ("http://h:port", "is no connection as URI or JSON"),
        ('{"host": "api.clever.com"}', "has no password"),
        ('{"password": "two words SECRET"}', "its password is no token"),
        ('{"password": "SECRET", "host": "a b"}', "its host is no address"),
        ('{"password": "SECRET", "host": "SECRET@h"}', "its host is no address"),
        ('{"password": "SECRET", "host": "ftp://h"}', "its host is no address"),
        ('{"password": ["SECRET"]}', "is no text"),
        ('{"password": "SECRET", "host": "http://api.clever.com"}', "would send the token in the open"),
        ('{"password": "SECRET", "host": "api.clever.com", "schema": "http"}', "would send the token in the open"),
    ],
)
def test_what_is_wrong_with_an_apis_connection_is_said_without_quoting_it(
    monkeypatch: pytest.MonkeyPatch, connection: str | None, said: str
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_CLEVER_DEMO", raising=False)
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_CLEVER_DEMO", connection)
    with pytest.raises(EnrollSyncError, match=said) as refused:
        api_access(source_connection("clever_demo"))
    assert (refused.value.exit_status, "SECRET" in str(refused.value)) == (2, False)
