"""The dashboard, the alert rules and the services that show them; `tests/live` holds them against what is sent."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dags.test_compose import COMPOSE, PROJECT
from dags.test_compose import SERVICES as ALL
from enrollsync.airflow import signals
from enrollsync.run.workspace import COUNTED, RunManifest, SourceFile
from figures_named import DASHBOARD, METRICS, RULES, as_prometheus, asked, named
from telemetry import Telemetry

OVERRIDE: dict[str, Any] = yaml.safe_load((METRICS / "compose.yaml").read_text())
ADDED = {name: service for name, service in OVERRIDE["services"].items() if name not in ALL}
PROMTOOL = shutil.which("promtool")


def test_form_is_that_of_a_compose_file() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    ran = subprocess.run([*check, METRICS / "compose.yaml"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_every_airflow_service_sends_as_the_tests_receive() -> None:
    here = {"AIRFLOW__METRICS__STATSD_HOST": "statsd-exporter", "AIRFLOW__METRICS__STATSD_PORT": "9125"}
    expected = {name: value for name, value in Telemetry(0, 0).settings.items() if name.startswith("AIRFLOW__METRICS")}
    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "worker-large"):
        assert OVERRIDE["services"][name] == {"environment": expected | here}
    assert OVERRIDE["services"].keys() - ADDED.keys() <= COMPOSE["services"].keys()


@pytest.mark.parametrize("service", ADDED)
def test_service_is_pinned_checked_no_root_and_seen_by_this_machine_alone(service: str) -> None:
    told = ADDED[service]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", told["image"])
    assert told["user"] not in ("0", "root") and told["security_opt"] == ["no-new-privileges:true"]
    assert told["restart"] == "always" and told["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:") for port in told.get("ports", []))
    for source, *_ in (mount.split(":") for mount in told.get("volumes", [])):
        assert (PROJECT / source).is_file() if source.startswith("./") else source in OVERRIDE["volumes"]
    assert not [name for name in told.get("environment", {}) if "PASSWORD" in name]


def test_dashboard_has_panels_beside_each_other_that_ask_the_datasource_that_is_provisioned() -> None:
    source = yaml.safe_load((METRICS / "grafana" / "datasource.yaml").read_text())["datasources"][0]
    own = {"type": source["type"], "uid": source["uid"]}
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len({panel["title"] for panel in panels})
    assert all(part["datasource"] == own for panel in panels for part in (panel, *panel["targets"]))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len({*names}) >= 8
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {*rule["annotations"]} == {"summary", "action"}


def test_figures_of_ours_that_are_asked_for_are_sent_with_these_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, set[str]] = {}

    def keep(name: str, *_: Any, tags: dict[str, str], **__: Any) -> None:
        sent[as_prometheus(f"airflow.{name}")] = {*tags}

    monkeypatch.setattr(signals.stats, "gauge", keep)
    monkeypatch.setattr(signals.stats, "incr", keep)
    file = SourceFile(name="users.csv", entity="users", header=[], rows=1, malformed=0)
    counts = {"users": dict.fromkeys(COUNTED, 1)}
    now = datetime.now(UTC)
    manifest = RunManifest(
        run_id="r", district="d", as_of=now, outcome="applied", files=[file], counts=counts, seconds={"plan": 1.0}
    )
    signals.measure(manifest, "d", ended=now)
    ours = {(metric, labels) for metric, labels in named() if metric.startswith("airflow_enrollsync")}
    assert {metric for metric, _ in ours} == sent.keys(), "each that is sent is shown"
    assert [(metric, labels) for metric, labels in ours if not labels <= sent[metric]] == []


def test_names_are_found_in_every_expression() -> None:
    assert all(re.search(r"\bairflow_\w+", expression) for expression in asked())
    assert ("airflow_enrollsync_runs", frozenset({"district", "outcome"})) in named()


@pytest.mark.skipif(PROMTOOL is None, reason="needs Debian's package `prometheus`")
def test_expressions_are_what_prometheus_understands(tmp_path: Path) -> None:
    every = [text.replace("$district", "d") for text in asked() if not text.startswith("label_values")]
    rules = [{"record": f"r{number}", "expr": text} for number, text in enumerate(every)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    ran = subprocess.run([str(PROMTOOL), "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="needs Debian's package `prometheus`")
def test_rules_fire_when_they_should_and_not_before() -> None:
    ran = subprocess.run([str(PROMTOOL), "test", "rules", METRICS / "alerts_test.yaml"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
