"""Which metrics the dashboard and the alert rules ask Prometheus for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

METRICS = Path(__file__).resolve().parents[1] / "deploy" / "metrics"
DASHBOARD: dict[str, Any] = json.loads((METRICS / "grafana" / "enrollsync.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((METRICS / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]


def asked() -> Iterator[str]:
    """Every expression."""
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    yield from (variable["query"]["query"] for variable in DASHBOARD["templating"]["list"])


def named() -> set[tuple[str, frozenset[str]]]:
    """Metric as Prometheus has it, and the labels by which an expression asks for it."""
    found = set()
    for expression in asked():
        grouped = {label for by in re.findall(r"(?:by|on) \(([\w, ]+)\)", expression) for label in by.split(", ")}
        for metric, labels in re.findall(r"\b(airflow_\w+)(\{[^}]*\})?", expression):
            found.add((metric, frozenset(re.findall(r"(\w+)[=!]", labels)) | grouped))
    return found


def as_prometheus(name: str) -> str:
    """A StatsD name as the exporter tells it."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
