"""`make bench-plot`: time over size, from every `results/<size>.json` that is there, and the night over commits."""

from __future__ import annotations

import json
from typing import Any

import matplotlib

from benchmarks.results import FOLDER, HISTORY, OURS

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "enrollsync"
WORKLOADS = ("first load", "nightly, 1 % changed")


NIGHTLY, FLOOR = WORKLOADS[1], "floor"


def main() -> None:
    over_size()
    over_commits()


def over_size() -> None:
    """Every system's first load and night."""
    from matplotlib import pyplot

    documents = [json.loads(path.read_text()) for path in FOLDER.glob("*.json") if path.stem.isdigit()]
    documents.sort(key=lambda document: document["size"])
    figure, panels = pyplot.subplots(1, len(WORKLOADS), figsize=(11, 4.5), sharey=True, layout="constrained")
    for panel, workload in zip(panels, WORKLOADS, strict=True):
        for (system, database), points in _lines(documents, workload).items():
            width = 2.5 if system == OURS else 1.2
            panel.plot(*zip(*points, strict=True), marker="o", linewidth=width, label=f"{system}, {database}")
        panel.set(title=workload, xlabel="students", xscale="log", yscale="log")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds")
    panels[-1].legend()
    _save(figure, "time_over_size.svg", f"{len(documents)} sizes")


def over_commits() -> None:
    """Our night on PostgreSQL: seconds, and times the floor of the same run, which another machine moves less."""
    from matplotlib import pyplot

    runs = [json.loads(line) for line in HISTORY.read_text().splitlines()]
    commits = list(dict.fromkeys(run["commit"] for run in runs))
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for size in sorted({run["size"] for run in runs}):
        found = [(commits.index(run["commit"]), _nightly(run, OURS), _nightly(run, FLOOR)) for run in runs
                 if run["size"] == size]  # fmt: skip
        for panel, values in zip(panels, (
            [(place, ours) for place, ours, _ in found if ours],
            [(place, ours / floor) for place, ours, floor in found if ours and floor],
        ), strict=True):  # fmt: skip
            if values:
                panel.plot(*zip(*values, strict=True), marker="o", label=f"{size:,} students")
    for panel, title in zip(panels, ("seconds", "times the floor"), strict=True):
        panel.set(title=f"{NIGHTLY}, PostgreSQL: {title}", yscale="log")
        panel.set_xticks(range(len(commits)), commits, rotation=60)
        panel.grid(alpha=0.3)
    panels[0].legend()
    _save(figure, "nightly_over_commits.svg", f"{len(runs)} runs")


def _nightly(run: dict[str, Any], system: str) -> float | None:
    return next((seconds for name, workload, database, seconds in run["seconds"]
                 if (name, workload, database) == (system, NIGHTLY, "postgresql")), None)  # fmt: skip


def _save(figure: Any, name: str, of: str) -> None:
    target = FOLDER / name
    figure.savefig(target, metadata={"Date": None})
    print(f"{target.relative_to(FOLDER.parents[1])}: {of}")


def _lines(documents: list[dict[str, Any]], workload: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """(system, database) -> (students, seconds) for each size at which it came to an end."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for document in documents:
        for row in document["rows"]:
            if row["workload"] == workload and "error" not in row:
                lines.setdefault((row["system"], row["database"]), []).append((document["size"], row["seconds"]))
    return lines


if __name__ == "__main__":
    main()
