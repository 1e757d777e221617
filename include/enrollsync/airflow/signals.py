"""What a run tells the world when it is over: metrics, messages to people, and that the roster has changed.

Names of metrics are documented in `docs/operations.md`.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.observability import stats

from enrollsync.airflow.districts import asset_of
from enrollsync.airflow.notify import RosterNotifier, events_of
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest
from enrollsync.words.codes import CODES


def roster_changed(result: dict[str, Any]) -> dict[str, Any]:
    """Put the counts on the asset event that ends the current task; returns `result`."""
    context = get_current_context()
    district = Run.open(result["artifacts"]).settings
    event = context["outlet_events"][asset_of(district.district_id)]
    event.extra = {"run_id": result["run_id"], "outcome": result["outcome"], "counts": result["counts"]}
    return result


def measure(manifest: RunManifest, district_id: str) -> None:
    """Send the run's figures to Airflow's metrics, where those are switched on."""
    tags = {"district": district_id}
    rows = sum(file.rows for file in manifest.files)
    seconds = sum(manifest.seconds.values())
    if rows and seconds:
        stats.gauge("enrollsync.rows_per_second", rows / seconds, tags=tags)
    stats.gauge("enrollsync.held", sum(row["held"] for row in manifest.counts.values()), tags=tags)
    stats.incr(f"enrollsync.outcome.{manifest.outcome}", tags=tags)
    for code in CODES:  # those that were not found too: a gauge keeps its last value
        stats.gauge(f"enrollsync.findings.{code}", manifest.findings.get(code, 0), tags=tags)


def run_ended(workspace: str, *, failed: bool) -> None:
    """Measure the run and tell those who asked to be told; `failed`: one of its tasks failed."""
    run = Run.open(workspace)
    manifest, district = run.manifest, run.settings
    measure(manifest, district.district_id)
    rests = district.pause_at(manifest.as_of) is not None
    for event in events_of(manifest, failed=failed):
        if event == "missing" and rests:  # nothing was to come
            continue
        RosterNotifier(event, workspace)(get_current_context())
