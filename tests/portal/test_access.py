"""Every route that the app declares, read off the app itself: as nobody, as a viewer, with hostile values."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from enrollsync.portal.app import build
from portal.conftest import UPLOAD, FakeHost
from portal.test_runs import token_of

ORIGIN = {"Origin": "http://testserver"}
FILLED = {
    "district_id": "lincoln", "run_id": "second", "name": "roster.css", "upload_id": UPLOAD,
    "format_name": "batch_upload", "file": "users.csv", "check": "ssn",
}  # fmt: skip
SCRIPT = "<script>alert(1)</script>"
HOSTILE = (SCRIPT, "'; DROP TABLE users; --", "=cmd|' /C calc'!A0", "../../../../etc/passwd", "x" * 5000, "\x00", "%00")


def routes() -> Iterator[tuple[str, str]]:
    for route in build(FakeHost()).routes:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in sorted(route.methods))


EVERY = list(routes())
CHANGING = [(method, path) for method, path in EVERY if method != "GET"]


def filled(path: str, **values: str) -> str:
    known = {**FILLED, **values}
    for name in (part[1:-1] for part in path.split("/") if part.startswith("{")):
        path = path.replace(f"{{{name}}}", known.get(name, "1"))
    return f"/roster{path}"


def test_routes_of_this_walk_are_there() -> None:
    assert ("GET", "/") in EVERY and ("POST", "/districts/{district_id}/runs/{run_id}") in CHANGING


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_nobody_gets_in(visitor: TestClient, host: FakeHost, method: str, path: str) -> None:
    host.visitor = None
    answer = visitor.request(method, filled(path), headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize(("method", "path"), [one for one in EVERY if "{district_id}" in one[1]])
@pytest.mark.parametrize("district", ["lincoln", "nowhere"])
def test_who_may_not_read_a_district_gets_403_be_there_one_or_not(
    visitor: TestClient, host: FakeHost, method: str, path: str, district: str
) -> None:
    host.reads = host.changes = {"oakland"}
    answer = visitor.request(method, filled(path, district_id=district), headers=ORIGIN)
    assert answer.status_code == 403
    assert "incoln" not in answer.text.replace(f"/{district}", "")


@pytest.mark.parametrize(("method", "path"), CHANGING)
@pytest.mark.parametrize("wrong", ["viewer", "no origin", "another origin", "no token", "token of another session"])
def test_change_needs_the_right_our_page_and_this_session(
    visitor: TestClient, host: FakeHost, method: str, path: str, wrong: str
) -> None:
    token = token_of(visitor)
    data = {"answer": "reject", "token": "" if wrong == "no token" else token, "plan_id": "x"}
    origin = {"no origin": {}, "another origin": {"Origin": "http://evil.example"}}.get(wrong, ORIGIN)
    if wrong == "viewer":
        host.changes = set()
    if wrong == "token of another session":
        host.session = "session of tomorrow"
    assert visitor.request(method, filled(path), data=data, headers=origin).status_code == 403
    assert host.done == []


def test_who_may_answer_alone_answers_and_changes_nothing_else(visitor: TestClient, host: FakeHost) -> None:
    data = {"token": token_of(visitor)}
    host.changes, host.answers = set(), {"lincoln"}
    assert "Run now" not in visitor.get("/roster/").text + visitor.get("/roster/districts/lincoln").text
    run = "/roster/districts/lincoln/runs"
    for path, answer in (("/roster/districts/lincoln", ""), (f"{run}/first", "undo")):
        assert visitor.post(path, data=data | {"answer": answer}, headers=ORIGIN).status_code == 403
    plan = visitor.get(f"{run}/second", headers={"Accept": "application/json"}).json()["run"]["plan_id"]
    sent = data | {"answer": "reject", "plan_id": plan}
    assert visitor.post(f"{run}/second", data=sent, headers=ORIGIN).status_code == 303
    assert [done[0] for done in host.done] == ["answer"]


@pytest.mark.parametrize("origin", ["http://[", "null", "http://testserver.evil.example", "//testserver", "é"])
@pytest.mark.parametrize("token", ["ünknown", None])
def test_form_that_no_browser_of_ours_sends_is_refused_in_one_line(
    visitor: TestClient, host: FakeHost, origin: str, token: str | None
) -> None:
    data = {"token": token_of(visitor) if token is None else token}
    for said in (origin, "http://testserver") if token else (origin,):
        answer = visitor.post("/roster/districts/lincoln", data=data, headers={"Origin": said.encode()})
        assert (answer.status_code, host.done) == (403, [])


def test_form_comes_from_the_hosts_public_address_where_a_proxy_stands_before_it(
    visitor: TestClient, host: FakeHost
) -> None:
    host.public = "https://airflow.example"
    data = {"token": token_of(visitor)}
    answer = visitor.post("/roster/districts/lincoln", data=data, headers={"Origin": "https://airflow.example"})
    assert answer.status_code == 303


def test_program_with_a_password_of_its_own_needs_no_page(visitor: TestClient, host: FakeHost) -> None:
    host.program = True
    assert visitor.post("/roster/districts/lincoln").status_code == 303


@pytest.mark.parametrize(("method", "path"), CHANGING)
def test_nobody_can_fill_the_disk_with_a_form(visitor: TestClient, host: FakeHost, method: str, path: str) -> None:
    host.visitor = None
    files = {"files": ("users.csv", b"x" * (2 << 20))}
    answer = visitor.request(method, filled(path), files=files, headers=ORIGIN)
    assert answer.status_code == (401 if path.endswith("/upload") else 413)


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("path", [path for method, path in EVERY if method == "GET"])
def test_hostile_values_are_refused_or_inert(visitor: TestClient, path: str, value: str) -> None:
    names = ("q", "verdict", "sort", "entity", "operation", "field", "code", "file", "severity", "person", "outcome")
    for query in ({name: value for name in names}, {"page": value, "line": value, "from": value}):
        answer = visitor.get(filled(path), params=query)
        assert answer.status_code in (200, 422)
        assert SCRIPT not in answer.text
    answer = visitor.get("/roster" + re.sub(r"\{\w+\}", lambda _: value[:300].replace("\x00", "%00"), path))
    assert answer.status_code in (200, 307, 403, 404, 422)
    assert SCRIPT not in answer.text and "Traceback" not in answer.text


@pytest.mark.parametrize("path", [path for method, path in EVERY if method == "GET"])
def test_pages_load_nothing_from_elsewhere_and_run_no_inline_script(visitor: TestClient, path: str) -> None:
    answer = visitor.get(filled(path))
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "frame-ancestors 'self'" in policy
    if answer.headers["content-type"].startswith("text/html"):
        assert answer.headers["cache-control"] == "no-store"
        assert " style=" not in answer.text and " onclick=" not in answer.text and "https://" not in answer.text
        assert "<script>" not in answer.text
