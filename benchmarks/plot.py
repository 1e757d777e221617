"""`make bench-plot`: time over size, from every `results/<size>.json` that is there."""

from __future__ import annotations

import json
from typing import Any

import matplotlib

from benchmarks.results import FOLDER, OURS

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "enrollsync"
WORKLOADS = ("first load", "nightly, 1 % changed")


def main() -> None:
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
    target = FOLDER / "time_over_size.svg"
    figure.savefig(target, metadata={"Date": None})
    print(f"{target.relative_to(FOLDER.parents[1])}: {len(documents)} sizes")


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
