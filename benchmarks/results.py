"""What came out: medians, the JSON file and its Markdown tables."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

FOLDER = Path(__file__).parent / "results"
HISTORY = FOLDER / "history.jsonl"
"""A line a run, as `remembered` makes it, the newest last."""
OURS = "EnrollSync"
_PHASES = ("ingest", "validate", "plan", "load", "report")


@dataclass(frozen=True)
class Row:
    """One system on one workload."""

    system: str
    workload: str
    database: str
    seconds: float = 0.0
    """Wall time of the whole process; for a single step, of that step."""
    cpu_seconds: float = 0.0
    """Of the client alone; 0 for a single step."""
    peak_mib: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    """Step -> seconds, as the system says itself."""
    error: str | None = None
    """Why there are no figures."""


def medians(rows: Iterable[Row]) -> list[Row]:
    """One row for each system, workload and database; one failure among the repeats is a failure."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.system, row.workload, row.database), []).append(row)
    return [_median(group) for group in groups.values()]


def _median(group: list[Row]) -> Row:
    failed = [row for row in group if row.error]
    if failed:
        return failed[0]
    first = group[0]
    return Row(
        first.system,
        first.workload,
        first.database,
        seconds=round(median(row.seconds for row in group), 2),
        cpu_seconds=round(median(row.cpu_seconds for row in group), 2),
        peak_mib=round(median(row.peak_mib for row in group)),
        phases={name: round(median(row.phases.get(name, 0.0) for row in group), 2) for name in first.phases},
    )


def machine() -> dict[str, Any]:
    """What the figures depend on; nothing that names the machine."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "cpu": _cpu(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def as_document(size: int, rows: list[Row], **facts: Any) -> dict[str, Any]:
    """The JSON document."""
    return {"size": size, "machine": machine(), **facts, "rows": [_as_dict(row) for row in rows]}


def _as_dict(row: Row) -> dict[str, Any]:
    """Figures, or why there are none; what a row has not is left out."""
    left_out = {"seconds", "cpu_seconds", "peak_mib", "phases"} if row.error else {"error"}
    everything = {name: value for name, value in asdict(row).items() if name not in left_out}
    return {name: value for name, value in everything.items() if value or name == "seconds"}


def remembered(document: dict[str, Any], name: str, date: str) -> dict[str, Any]:
    """What is kept of a run for good: seconds of each system and workload, and what they depend on."""
    known = {name: document[name] for name in ("size", "runs", "postgresql")}
    seconds = [[row["system"], row["workload"], row["database"], row.get("seconds")] for row in document["rows"]]
    return {"commit": name, "date": date, **known, "cpu": document["machine"]["cpu"], "seconds": seconds}


def commit() -> tuple[str, str]:
    """Its short name, with a + where files differ from it, and its date."""
    asked = ["git", "-C", str(FOLDER), "log", "-1", "--abbrev=7", "--format=%h %cs"]
    name, date = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    differs = subprocess.run(["git", "-C", str(FOLDER), "diff", "--quiet", "HEAD"], check=False).returncode
    return name + "+" * bool(differs), date


def write(document: dict[str, Any]) -> None:
    """Write `latest.json`, `latest.md` and, for the plots, `<size>.json` and one more line of `history.jsonl`."""
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(document, indent=2) + "\n"
    (FOLDER / "latest.json").write_text(text)
    (FOLDER / f"{document['size']}.json").write_text(text)
    (FOLDER / "latest.md").write_text(as_markdown(document))
    with HISTORY.open("a") as history:
        history.write(json.dumps(remembered(document, *commit())) + "\n")


def as_markdown(document: dict[str, Any]) -> str:
    """The tables, as they go into the documentation."""
    computer, records = document["machine"], document["records"]["base"]
    people = sum(records[name] for name in ("students", "teachers", "staff"))
    head = (
        f"{people:,} users ({document['size']:,} students), {records['enrollments']:,} enrollments of students, "
        f"{records['sections']:,} classes. {computer['cores']} cores of {computer['cpu']}, "
        f"{computer['memory_gib']} GiB, {computer['system']}, Python {computer['python']}, "
        f"PostgreSQL {document['postgresql']}. Median of {document['runs']}."
    )
    return "\n".join((head, "", *_comparison(document["rows"]), "", *_phases(document["rows"]), ""))


def _comparison(rows: list[dict[str, Any]]) -> list[str]:
    """Every row beside EnrollSync's on PostgreSQL: how many times its time the system needs."""
    ours = {
        row["workload"]: row["seconds"]
        for row in rows
        if row["system"] == OURS and row["database"] == "postgresql" and "error" not in row
    }
    lines = ["| workload | system | database | seconds | CPU seconds | peak MiB | times EnrollSync's time |",
             "|---|---|---|---:|---:|---:|---:|"]  # fmt: skip
    workloads = dict.fromkeys(row["workload"] for row in rows)
    for row in (row for workload in workloads for row in rows if row["workload"] == workload):
        cells = f"| {row['workload']} | {row['system']} | {row['database']}"
        if "error" in row:
            lines.append(f"{cells} | failed: {row['error'].replace('|', ' ')} | | | |")
            continue
        base = ours.get(row["workload"])
        ratio = f"{row['seconds'] / base:.2f}" if base else ""
        cpu = f"{row['cpu_seconds']:.1f}" if "cpu_seconds" in row else ""
        lines.append(f"{cells} | {row['seconds']:.1f} | {cpu} | {row['peak_mib']:,} | {ratio} |")
    return lines


def _phases(rows: list[dict[str, Any]]) -> list[str]:
    """Where EnrollSync's time goes; `start-up` is what lies outside the steps, imports above all."""
    lines = [f"| EnrollSync, seconds | database | start-up | {' | '.join(_PHASES)} |",
             f"|---|---|{'---:|' * (len(_PHASES) + 1)}"]  # fmt: skip
    for row in rows:
        phases = row.get("phases", {})
        if row["system"] != OURS or not phases:
            continue
        outside = row["seconds"] - sum(phases.values())
        cells = " | ".join(f"{phases[name]:.1f}" if name in phases else "-" for name in _PHASES)
        lines.append(f"| {row['workload']} | {row['database']} | {outside:.1f} | {cells} |")
    return lines
