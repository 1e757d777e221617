"""deploy/values.yaml, as far as it can be read: there is no cluster to run it in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
VALUES: dict[str, Any] = yaml.safe_load((PROJECT / "deploy" / "values.yaml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
WORKER: dict[str, str] = COMPOSE["services"]["worker"]["environment"]
SETTINGS: dict[str, str] = {one["name"]: one["value"] for one in VALUES["env"]}
SECRETS: dict[str, str] = {one["envName"]: one["secretName"] for one in VALUES["secret"]}
OF_THE_CHART = {
    "airflowVersion", "apiSecretKeySecretName", "apiServer", "createUserJob", "dagProcessor", "data",
    "defaultAirflowRepository", "defaultAirflowTag", "env", "executor", "fernetKeySecretName", "gid", "jwtSecretName",
    "postgresql", "redis", "scheduler", "secret", "securityContexts", "statsd", "triggerer", "uid",
    "useStandardNaming", "volumeMounts", "volumes", "workers",
}  # fmt: skip
"""Keys at the top of the chart's own values.yaml, looked up in its source (docs/scaling.md)."""


def told(values: Any) -> Iterator[str]:
    """Every text of the file that is no key."""
    for one in values.values() if isinstance(values, dict) else values if isinstance(values, list) else ():
        yield from told(one)
    if isinstance(values, str):
        yield values


def test_every_key_is_one_of_the_charts() -> None:
    assert VALUES.keys() <= OF_THE_CHART


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() | SECRETS.keys()))
def test_every_variable_is_one_that_the_compose_file_or_a_document_knows(name: str) -> None:
    documents = [path.read_text() for path in (PROJECT / "docs").glob("*.md")]
    assert name in WORKER or any(f"`{name}`" in text for text in documents), name


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() & WORKER.keys()))
def test_what_the_compose_file_says_too_is_said_alike(name: str) -> None:
    assert SETTINGS[name] == WORKER[name] or WORKER[name].startswith("${")


def test_no_secret_stands_in_the_file() -> None:
    connections = {name for name, value in WORKER.items() if "PASSWORD" in value and "CELERY" not in name}
    assert connections - SECRETS.keys() == {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"}, "that one is `data`'s"
    assert VALUES["data"] == {"metadataSecretName": SECRETS["AIRFLOW_CONN_DISTRICT_DB"]}
    assert not {name for name, value in WORKER.items() if value.startswith("${")} & SETTINGS.keys() - {
        "AIRFLOW__API__BASE_URL"
    }
    assert not [value for value in told(VALUES) if re.search("://[^/]*@", value)]


def test_image_and_user_are_the_dockerfiles() -> None:
    (user,) = re.findall(r"(?m)^USER (\d+):(\d+)", (PROJECT / "Dockerfile").read_text())
    assert (str(VALUES["uid"]), str(VALUES["gid"])) == user
    locked = re.findall(r"(?m)^apache-airflow==(\S+)", (PROJECT / "requirements.lock").read_text())
    assert [VALUES["airflowVersion"]] == locked


def test_every_pod_sees_what_the_step_before_has_left() -> None:
    assert VALUES["executor"] == "KubernetesExecutor"
    home, mounts = SETTINGS["ENROLLSYNC_HOME"], {one["mountPath"]: one for one in VALUES["volumeMounts"]}
    volumes = {one["name"]: one for one in VALUES["volumes"]}
    assert SETTINGS["ENROLLSYNC_RUNS"].startswith("s3://")
    assert volumes[mounts[f"{home}/data"]["name"]]["emptyDir"] == {}
    assert not mounts[f"{home}/data"].get("readOnly")
    assert "configMap" in volumes[mounts[SETTINGS["ENROLLSYNC_DISTRICTS"]]["name"]]


def test_logs_outlive_their_pods() -> None:
    assert SETTINGS["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "true"
    assert SETTINGS["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"].startswith("s3://")


def test_nothing_runs_that_the_image_has_not() -> None:
    for service in ("scheduler", "dagProcessor", "triggerer"):
        assert VALUES[service]["logGroomerSidecar"] == {"enabled": False}
    assert VALUES["createUserJob"] == {"enabled": False}
