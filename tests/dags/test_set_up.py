"""What set-up rests on: the dependencies, their reasons and their lock."""

from __future__ import annotations

import ast
import fcntl
import json
import re
import runpy
import socket
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = {name: (PROJECT / name).read_text() for name in (
    "requirements.lock", "requirements-audit.lock", "requirements-bench.lock"
)}  # fmt: skip


def direct_dependencies() -> dict[str, set[str]]:
    """Lock -> what it has to hold; the bench and the audit have one of their own."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    groups = dict(project["dependency-groups"])
    bench, audit = groups.pop("bench"), groups.pop("audit")
    return {
        "requirements.lock": named(sum(groups.values(), project["project"]["dependencies"])),
        "requirements-audit.lock": named(audit),
        "requirements-bench.lock": named(bench),
    }


def named(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9-]+", requirement).group().lower() for requirement in requirements}


def test_every_direct_dependency_has_its_reason() -> None:
    page = (PROJECT / "docs" / "dependencies.md").read_text()
    reasons = set(re.findall(r"^\| `([^`]+)` \| .{10,} \|$", page, re.M))
    assert reasons == set().union(*direct_dependencies().values())


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_every_direct_dependency(name: str) -> None:
    pinned = set(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==", LOCKS[name], re.M))
    assert direct_dependencies()[name] <= pinned


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_and_hashes_and_names_no_registry(name: str) -> None:
    blocks = re.findall(r"^([a-z0-9].*\n(?:[ ].*\n)*)", LOCKS[name], re.M)
    assert all("==" in block and "--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCKS[name]
    assert "index-url" not in LOCKS[name]


def test_one_sqlalchemy_for_all() -> None:
    assert re.findall(r"^sqlalchemy==(\S+)", LOCKS["requirements.lock"], re.M) == [
        re.search(r"^sqlalchemy==(2\.0\.\S+)", LOCKS["requirements.lock"], re.M).group(1)
    ]


def test_every_import_is_a_direct_dependency() -> None:
    """`fastapi`, with `starlette` below it, is Airflow's own: its API server, and what it serves, cannot be without."""
    files = [path for folder in ("include", "dags", "plugins", "scripts", "tests", "benchmarks")
             for path in (PROJECT / folder).rglob("*.py")]  # fmt: skip
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    own = {"enrollsync", "benchmarks", *(path.stem for path in (PROJECT / "tests").iterdir())}
    foreign = (
        {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - own - {"fastapi", "starlette"}
    )
    named = {"airflow": "apache-airflow", "opentelemetry": "opentelemetry-proto", "yaml": "pyyaml"}
    direct = set().union(*direct_dependencies().values())
    assert {named.get(module, module.replace("_", "-")) for module in foreign} - direct == set()


# ---- make up --------------------------------------------------------------------------------------------------------


def make_up(home: Path, port: int | str) -> subprocess.CompletedProcess[str]:
    """What `make up PORT=…` says when it cannot start; a folder in which nothing is set up."""
    words = [
        "make",
        "--silent",
        "up",
        f"PORT={port}",
        f"AIRFLOW_HOME={home}",
        "-o",
        "setup",
        "-o",
        "data/landing/demo/users.csv",
    ]
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=20)


def test_port_in_use_is_said_at_once_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = make_up(tmp_path, port)
    assert said.returncode != 0
    assert said.stdout == ""
    assert said.stderr.splitlines()[0] == f"port {port} is in use; take another: make up PORT={port + 10}"


@pytest.mark.parametrize("port", ["web", "0", "70000"])
def test_what_is_no_port_is_said_at_once(tmp_path: Path, port: str) -> None:
    assert make_up(tmp_path, port).stderr.splitlines()[0].startswith(f"PORT={port} is no port; ")


def test_second_airflow_in_one_folder_is_refused_with_the_address_of_the_first(tmp_path: Path) -> None:
    with (tmp_path / "up.lock").open("w") as lock:
        lock.write("http://localhost:8080")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = make_up(tmp_path, 8090).stderr.splitlines()[0]
    assert said == "Airflow runs here already, on http://localhost:8080; end that `make up` first"


def test_every_address_of_airflow_follows_the_port() -> None:
    words = ["make", "--silent", "PORT=8090", "--eval", "addresses: ; @env | grep ^AIRFLOW__", "addresses"]
    said = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert {"AIRFLOW__API__PORT=8090", "AIRFLOW__API__BASE_URL=http://localhost:8090"} <= set(said.splitlines())
    assert "8080" not in said


@pytest.mark.parametrize(
    ("missing", "ready"),
    [("", True), ("/execution/health", False), ("/api/v2/dags/enrollment_sync__demo", False), ("scheduler", False)],
    ids=["nothing", "the API that tasks talk to", "the DAG", "the scheduler"],
)
def test_ready_means_that_a_run_triggered_now_would_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, ready: bool
) -> None:
    class Airflow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            well = {"status": "unhealthy" if missing == "scheduler" else "healthy"}
            self.send_response(503 if self.path == missing else 200)
            self.end_headers()
            token = {"access_token": "t"}
            self.wfile.write(json.dumps(token if self.path == "/auth/token" else {"scheduler": well}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *args: object) -> None:
            pass

    (tmp_path / "simple_auth_manager_passwords.json.generated").write_text('{"admin": "secret"}')
    with HTTPServer(("127.0.0.1", 0), Airflow) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
        monkeypatch.setenv("AIRFLOW__API__HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__API__PORT", str(server.server_port))
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"http://127.0.0.1:{server.server_port}")
        assert runpy.run_path(str(PROJECT / "scripts" / "up.py"))["is_ready"]() is ready
        server.shutdown()
