"""Single sign-on as `config/webserver_config.py` sets it up: the whole API server with FAB, and a provider of ours.

The provider speaks OpenID Connect on loopback; what a person's browser does there, a few lines here do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.jose import JsonWebKey, jwt
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dags.conftest import PROJECT
from dags.test_rights import FAB, HTML, JSON, plugged_in
from portal.conftest import write_district

pytestmark = pytest.mark.slow

CLIENT, SECRET = "enrollsync", "of-this-test-alone-and-of-nobody-else"


@dataclass
class Provider:
    """Answers for whoever is `person`; counts nothing, keeps nothing."""

    key: Any = field(default_factory=lambda: JsonWebKey.generate_key("RSA", 2048, {"kid": "one"}, is_private=True))
    signed_by: Any = None
    """Another key than the one that is published, where a test says so."""
    address: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    nonce: str = ""
    asked: dict[str, list[str]] = field(default_factory=dict)
    """What the server sent for a token."""

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            **{f"{name}_endpoint": f"{self.address}/{name}" for name in ("authorization", "token", "userinfo")},
            "jwks_uri": f"{self.address}/jwks",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self) -> dict[str, Any]:
        now = int(time())
        claims = {"iss": self.address, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 60, "nonce": self.nonce}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signed_by or self.key).decode()
        return {"access_token": "of this login", "token_type": "Bearer", "id_token": signed, "expires_in": 3600}

    def answer(self, path: str) -> dict[str, Any]:
        answers = {
            "/.well-known/openid-configuration": self.metadata,
            "/jwks": lambda: {"keys": [self.key.as_dict(is_private=False)]},
            "/token": self.token,
            "/userinfo": lambda: {"sub": "1", **self.person},
        }
        return answers[path]()


@contextmanager
def providing() -> Iterator[Provider]:
    provider = Provider()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(provider.answer(urlsplit(self.path).path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            provider.asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            provider.asked["authorization"] = [self.headers["Authorization"] or ""]
            self.do_GET()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        provider.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield provider
        server.shutdown()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two districts."""
    home = tmp_path_factory.mktemp("home")
    for district_id in ("fresno", "oakland"):
        write_district(home, district_id, database={"url": "sqlite:///data/rosters.db"})
    return home


@pytest.fixture(autouse=True)
def of_this_home(home: Path, shipped_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENROLLSYNC_HOME", str(home))


@pytest.fixture(scope="module")
def server(home: Path, airflow_database: None, provider: Provider) -> Iterator[FastAPI]:
    """The configuration as it stands; the districts' DAGs are known."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager

    from enrollsync.airflow.roles import make_roles

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENROLLSYNC_HOME", str(home))
        patch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
        told = {"ISSUER": provider.address, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET, "ADMIN_GROUP": "it-staff"}
        for name, value in told.items():
            patch.setenv(f"OIDC_{name}", value)
        patch.setenv("AIRFLOW__FAB__CONFIG_FILE", str(PROJECT / "config" / "webserver_config.py"))
        patch.setenv("AIRFLOW__FAB__ENABLE_PROXY_FIX", "True")
        # Or rights are those of up to half a minute ago; it is read when the module is first imported.
        patch.setattr(FabAuthManager, "cache", type(FabAuthManager.cache)(maxsize=1, ttl=0))
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", FAB)
        patch.delenv("AIRFLOW__API__BASE_URL", raising=False)
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "of this test alone" * 4)
        patch.setattr("airflow.plugins_manager.get_fastapi_plugins", plugged_in)
        purge_cached_app()
        app = create_app(apps="core")
        make_roles(["fresno", "oakland"])
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(DagBag(str(PROJECT / "dags"), bundle_name="dags-folder"), "dags-folder", None)
        yield app
        purge_cached_app()


def sign_on(server: FastAPI, provider: Provider, to: str = "/roster/", **person: Any) -> TestClient:
    """A browser of somebody who was led to the provider, said yes there, and came back."""
    browser = TestClient(server, base_url="https://testserver", follow_redirects=False)
    proxied = HTML | {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "roster.example.org"}
    sent = browser.get(f"/auth/login/oidc?next={to}", headers=proxied)
    assert sent.status_code == 302, sent.text
    asked = parse_qs(urlsplit(sent.headers["location"]).query)
    assert sent.headers["location"].startswith(f"{provider.address}/authorization?")
    assert asked["redirect_uri"] == ["https://roster.example.org/auth/oauth-authorized/oidc"]
    provider.person, provider.nonce = person, asked["nonce"][0]
    back = {"code": "said-yes", "state": asked["state"][0]}
    browser.last = browser.get("/auth/oauth-authorized/oidc", params=back, headers=proxied)  # type: ignore[attr-defined]
    return browser


def dags_of(browser: TestClient) -> set[str]:
    """Of the two districts, as Airflow lists them; another test's may be there."""
    answer = browser.get("/api/v2/dags", headers=JSON)
    found = {dag["dag_id"] for dag in answer.json()["dags"]} if answer.is_success else set()
    return {dag_id for dag_id in found if dag_id.partition("__")[2] in ("fresno", "oakland")}


@pytest.mark.parametrize(
    ("groups", "districts"),
    [
        (["fresno:editor", "football"], {"fresno"}),
        (["fresno:viewer", "oakland:approver"], {"fresno", "oakland"}),
        (["it-staff"], {"fresno", "oakland"}),
        (["Admin", "football"], set()),
        ([], set()),
    ],
)
def test_groups_at_the_provider_say_what_a_person_may_see(
    server: FastAPI, provider: Provider, groups: list[str], districts: set[str]
) -> None:
    browser = sign_on(server, provider, preferred_username="ada", email="ada@example.org", groups=groups)
    assert dags_of(browser) == {f"enrollment_{kind}__{one}" for one in districts for kind in ("sync", "undo")}
    assert provider.asked["code"] == ["said-yes"]


def test_person_comes_back_to_the_page_that_they_asked_for(server: FastAPI, provider: Provider) -> None:
    browser = sign_on(server, provider, "/roster/districts/fresno", preferred_username="ida", groups=["fresno:viewer"])
    assert browser.last.headers["location"].endswith("/roster/districts/fresno")  # type: ignore[attr-defined]
    assert browser.get("/roster/districts/fresno", headers=JSON).status_code == 200
    assert browser.get("/roster/districts/oakland", headers=JSON).status_code == 403


def test_who_has_left_a_group_has_lost_its_rights_with_the_next_login(server: FastAPI, provider: Provider) -> None:
    for groups, seen in ((["it-staff"], 4), (["oakland:viewer"], 2), ([], 0)):
        browser = sign_on(server, provider, preferred_username="eve", email="eve@example.org", groups=groups)
        assert len(dags_of(browser)) == seen, groups


def test_name_of_somebody_with_rights_gives_none_of_them_without_their_groups(
    server: FastAPI, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from enrollsync.airflow import first_start

    monkeypatch.setenv(first_start.PASSWORD, "of the first administrator")
    monkeypatch.setattr(first_start, "ADMINISTRATOR", "head")
    first_start.main()
    browser = sign_on(server, provider, preferred_username="head", email="x@example.org", groups=["fresno:viewer"])
    assert {dag_id.partition("__")[2] for dag_id in dags_of(browser)} == {"fresno"}
    assert browser.get("/api/v2/connections", headers=JSON).status_code == 403
    by_password = {"username": "head", "password": "of the first administrator"}
    assert TestClient(server).post("/auth/token", json=by_password).status_code == 201, "as docs/operations.md says"
    assert TestClient(server).post("/auth/token", json={"username": "ada", "password": ""}).status_code >= 400


@pytest.mark.parametrize("trouble", ["another key", "another login", "no name", "another browser"])
def test_what_the_provider_did_not_say_lets_nobody_in(server: FastAPI, provider: Provider, trouble: str) -> None:
    admin = {"preferred_username": "mallory", "email": "m@example.org", "groups": ["it-staff"]}
    if trouble == "another key":
        provider.signed_by = JsonWebKey.generate_key("RSA", 2048, {"kid": "one"}, is_private=True)
        browser = sign_on(server, provider, **admin)
        provider.signed_by = None
    elif trouble == "no name":
        browser = sign_on(server, provider, groups=["it-staff"])
    else:
        browser = TestClient(server, follow_redirects=False)
        sent = TestClient(server, follow_redirects=False).get("/auth/login/oidc", headers=HTML)
        asked = parse_qs(urlsplit(sent.headers["location"]).query)
        provider.person, provider.nonce = admin, asked["nonce"][0]
        if trouble == "another login":
            browser.get("/auth/login/oidc", headers=HTML)
        browser.get("/auth/oauth-authorized/oidc", params={"code": "x", "state": asked["state"][0]}, headers=HTML)
    assert "_token" not in browser.cookies
    assert browser.get("/api/v2/dags", headers=JSON).status_code == 401
    assert browser.get("/roster/", headers=JSON).status_code == 401
