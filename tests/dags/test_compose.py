"""What docker-compose.yaml and the Dockerfile promise, as far as it can be read; tests/live runs the services."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from enrollsync.settings import District
from live.compose import Place, filled

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
AIRFLOW = {name: service for name, service in OURS.items() if name != "sftp"}
LONG_RUNNING = SERVICES.keys() - {"init"}
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
CHOSEN = r"\$\{(\w+):-[^}]*\}"
"""A variable that may be left out of .env."""
REQUIRED = r"\$\{(\w+):\?run make secrets first\}"


def environment() -> list[tuple[str, str, str]]:
    """Service, variable and value, for every variable that the file sets."""
    return [(service, name, value) for service in SERVICES for name, value in SERVICES[service]["environment"].items()]


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    for name in ("Makefile", "scripts"):
        if not (folder / name).exists():
            (folder / name).symlink_to(PROJECT / name)
    return subprocess.run(
        ["make", "secrets", f"PYTHON={sys.executable}"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_form_is_that_of_a_compose_file() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yaml"]
    ran = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_every_variable_is_required_and_written_by_make_secrets(tmp_path: Path) -> None:
    uncommented = re.sub(r"(?m)^\s*#.*$", "", TEXT).replace("$$", "")
    assert uncommented.count("$") == len(re.findall(REQUIRED, uncommented)) + len(re.findall(CHOSEN, uncommented))
    assert re.findall(CHOSEN, uncommented) == ["ENROLLSYNC_QUEUES"]
    make_secrets(tmp_path)
    written = {line.partition("=")[0] for line in (tmp_path / ".env").read_text().splitlines()}
    assert set(re.findall(REQUIRED, uncommented)) == written


def test_no_password_or_key_stands_in_the_file() -> None:
    named = [value for _, name, value in environment() if re.search(r"(PASSWORD|SECRET|KEY|AUTH)$", name)]
    in_urls = [re.search(r"://\w*:(.*)@", value) for _, _, value in environment() if "@" in value]
    assert len(named) > len(AIRFLOW) and len(in_urls) > len(AIRFLOW)
    for secret in [*named, *(found.group(1) for found in in_urls)]:
        assert re.fullmatch(REQUIRED, secret), secret


def test_make_secrets_writes_what_only_its_owner_reads_and_never_replaces_it(tmp_path: Path) -> None:
    first = make_secrets(tmp_path)
    env = tmp_path / ".env"
    written = env.read_text()
    values = dict(line.split("=", 1) for line in written.splitlines())
    assert first.returncode == 0, first.stderr
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert len(set(values.values())) == len(values)
    assert values.pop("AIRFLOW_BASE_URL") == "http://localhost:8080"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{20,}=?", value) for value in values.values()), "each may stand in a URL"
    assert not any(value in first.stdout for value in values.values())
    second = make_secrets(tmp_path)
    assert second.returncode != 0
    assert second.stderr.splitlines()[0].startswith(".env is there already")
    assert env.read_text() == written


def test_make_secrets_adds_what_a_newer_version_needs_and_leaves_the_rest(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    env = tmp_path / ".env"
    older = "".join(line for line in env.read_text().splitlines(keepends=True) if not line.startswith("FLOWER"))
    env.write_text(older)
    said = make_secrets(tmp_path)
    assert (said.returncode, env.read_text().startswith(older)) == (0, True)
    assert re.fullmatch(r"FLOWER_PASSWORD=\S{20,}\n", env.read_text().removeprefix(older))


def test_two_machines_get_different_secrets(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_secrets(tmp_path / name)
        texts.append((tmp_path / name / ".env").read_text())
    assert set(texts[0].splitlines()) & set(texts[1].splitlines()) == {"AIRFLOW_BASE_URL=http://localhost:8080"}


def test_secrets_reach_neither_git_nor_the_image() -> None:
    assert "/.env" in (PROJECT / ".gitignore").read_text().splitlines()
    assert not {".env", "data", ".git"} & let_through()
    (told,) = re.findall(r"^ENV ((?:.*\\\n)*.*)", DOCKERFILE, re.M)
    assert set(re.findall(r"(\w+)=", told)) == {"PATH", "AIRFLOW_HOME", "PYTHONUNBUFFERED"}


def let_through() -> set[str]:
    """What .dockerignore lets into the image: it shuts everything out first."""
    lines = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def test_everything_that_is_copied_is_there_and_let_through() -> None:
    copied = {name for line in re.findall(r"^COPY ([^-].*)", DOCKERFILE, re.M) for name in line.split()[:-1]}
    assert copied == let_through()
    assert all((PROJECT / name).exists() for name in copied)


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_runs_as_root_or_can_become_it(service: str) -> None:
    assert str(SERVICES[service]["user"]).split(":")[0] not in ("0", "root", "")
    assert not SERVICES[service].get("privileged")
    assert not re.search(r"^USER (root|0)\b", DOCKERFILE, re.M)
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]


def test_what_is_published_is_published_on_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    drop = published.pop("sftp")
    assert drop == ["2222:2222"] and SERVICES["sftp"]["profiles"] == ["sftp"], "who asks for it wants it reached"
    assert published
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not any("network_mode" in service for service in SERVICES.values())


@pytest.mark.parametrize("service", sorted(LONG_RUNNING))
def test_a_long_running_service_is_checked_and_comes_back(service: str) -> None:
    assert SERVICES[service]["restart"] == "always"
    assert SERVICES[service]["healthcheck"]["test"]


def test_api_server_is_well_when_the_api_that_tasks_talk_to_has_been_built() -> None:
    assert "http://localhost:8080/execution/health" in SERVICES["api-server"]["healthcheck"]["test"]


def test_the_drop_that_the_network_reaches_has_no_secret_and_sees_no_more_than_it_needs() -> None:
    assert SERVICES["sftp"]["environment"] == {"ENROLLSYNC_HOME": "/opt/airflow"}
    assert [mount.split(":")[0] for mount in SERVICES["sftp"]["volumes"]] == ["./include", "data", "drop"]


def test_what_only_some_want_starts_only_when_it_is_asked_for() -> None:
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"flower": ["flower"], "sftp": ["sftp"], "worker-large": ["large"]}
    for service in SERVICES.values():
        assert not profiles.keys() & service.get("depends_on", {}).keys()


@pytest.mark.parametrize("service", sorted(AIRFLOW.keys() - {"init"}))
def test_airflow_starts_when_init_is_done(service: str) -> None:
    after = {name: rule["condition"] for name, rule in SERVICES[service]["depends_on"].items()}
    assert after.pop("init") == "service_completed_successfully"
    assert set(after.values()) == {"service_healthy"}
    assert {"airflow-db", "redis"} <= after.keys()


def test_a_task_finds_the_api_server_and_the_roster() -> None:
    assert {"api-server", "roster-db"} <= SERVICES["worker"]["depends_on"].keys()


@pytest.mark.parametrize("service", AIRFLOW)
def test_every_airflow_service_sees_the_project_and_the_same_data(service: str) -> None:
    mounted = AIRFLOW[service]["volumes"]
    home = AIRFLOW[service]["environment"]["ENROLLSYNC_HOME"]
    for folder in ("dags", "plugins", "config", "expectations", "include"):
        assert f"./{folder}:{home}/{folder}:ro" in mounted
    assert f"data:{home}/data" in mounted
    assert {mount.split(":")[0] for mount in mounted if not mount.startswith("./")} <= COMPOSE["volumes"].keys()


def test_database_urls_name_the_users_and_databases_that_are_made() -> None:
    urls = {value for _, _, value in environment() if value.startswith("postgresql")}
    assert len(urls) == 2
    for url in urls:
        user, host, name = re.fullmatch(r"[a-z+]+://(\w+):.*@([\w-]+):5432/(\w+)", url).groups()
        made = SERVICES[host]["environment"]
        assert (user, name) == (made["POSTGRES_USER"], made["POSTGRES_DB"])


def test_workers_listen_to_every_queue_that_a_district_may_have_and_to_airflows_own() -> None:
    sizes = set(get_args(District.model_fields["size"].annotation))
    plain, large = (SERVICES[name] for name in ("worker", "worker-large"))
    assert filled(plain["command"][-1], {}).split(",") == ["small", "large", "default"]
    assert filled(plain["command"][-1], {"ENROLLSYNC_QUEUES": "small,default"}) == "small,default"
    assert sizes == {"small", "large"}
    assert large == {**plain, "command": [*plain["command"][:-1], "large"], "profiles": ["large"]}


def test_nothing_that_is_queued_is_lost_with_redis_and_no_load_is_cut_off_by_a_stop() -> None:
    assert "appendonly yes" in SERVICES["redis"]["command"][-1]
    assert "redis:/data" in SERVICES["redis"]["volumes"]
    assert SERVICES["worker"]["environment"]["DUMB_INIT_SETSID"] == "0"
    assert SERVICES["worker"]["stop_grace_period"] == "10m"


def stages() -> list[str]:
    """The Dockerfile's instructions, cut at each FROM."""
    return re.split(r"(?m)^(?=FROM )", re.sub(r"(?m)^#.*\n", "", DOCKERFILE))[1:]


def test_the_image_is_made_in_two_stages_on_one_pinned_base_of_the_python_that_the_lock_is_for() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert len(stages()) == 2 and len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", bases[0])
    assert "--python-version 3.11 " in (PROJECT / "Makefile").read_text()


def test_the_image_has_what_the_lock_pins_and_no_compiler_cache_or_installer() -> None:
    build, final = stages()
    installs = re.findall(r"pip install (?:.*\\\n)*.*", build)
    assert len(installs) == 3
    for words in installs:
        assert "--no-cache" in words and ("--require-hashes" in words or "--build-constraint" in words), words
    assert "pip" not in final and "COPY --from=build /opt/venv /opt/venv" in final
    assert re.findall(r"apt-get install --yes --no-install-recommends (.*) \\", final) == ["curl dumb-init"]
    assert "rm -rf /var/lib/apt/lists/*" in final
    assert not re.search(r"gcc|g\+\+|build-essential|clang", build + final)


def test_the_image_runs_as_the_user_that_the_compose_file_names_and_cannot_change_its_code() -> None:
    final = stages()[1]
    (user,) = re.findall(r"(?m)^USER (.*)", final)
    assert {service["user"] for service in OURS.values()} == {user}
    assert "--chown" not in final


def test_live_services_run_the_code_that_the_tests_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere/include")
    place = Place(tmp_path, defaultdict(lambda: "x"))
    assert {place.environment(service)["PYTHONPATH"] for service in LONG_RUNNING & AIRFLOW.keys()} == {
        "/elsewhere/include"
    }
