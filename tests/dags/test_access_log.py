"""What Airflow's own access log says of a request to the portal: never whom somebody looked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.common import http_access_log
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from enrollsync.airflow.access_log import QuietQueries

LOGIN, PROFILE = "/api/v2/auth/login", "/roster/districts/lincoln/users"


def asked(path: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """The query that the page got, and the log's line."""
    app = FastAPI()
    app.add_middleware(QuietQueries)
    app.add_middleware(http_access_log.HttpAccessLogMiddleware)

    @app.get("/{rest:path}")
    def page(request: Request) -> str:
        return request.url.query

    lines: list[dict[str, Any]] = []
    logger = SimpleNamespace(info=lambda event, **told: lines.append({"event": event, **told}))
    monkeypatch.setattr(http_access_log, "logger", logger)
    got = TestClient(app).get(path).json()
    (line,) = lines
    return got, line


@pytest.mark.parametrize("path, logged", [
    (f"{PROFILE}?q=m%C3%BCller&page=2", ""),
    (f"{PROFILE}/7/merge?other=4711", ""),
    ("/roster?q=lee", ""),
    (f"{LOGIN}?next={PROFILE}%3Fq%3Dlee&a=1", f"next={PROFILE.replace('/', '%2F')}&a=1"),
    ("/api/v2/dags?dag_id_pattern=roster&order_by=x", "dag_id_pattern=roster&order_by=x"),
    ("/rosters?q=1", "q=1"),
])  # fmt: skip
def test_page_gets_the_query_and_the_log_what_names_nobody(
    path: str, logged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    got, line = asked(path, monkeypatch)
    assert got == path.partition("?")[2]
    assert (line["event"], line["status_code"], line["query"]) == ("request finished", 200, logged)
