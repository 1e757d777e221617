"""What a run tells the world when it is over: metrics, messages to people, and that the roster has changed.

What the metrics mean stands in `docs/observability.md`. Their tags are ids of districts and words of the program's own,
so that there are as many series as districts allow, and no student is in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.observability import stats

from enrollsync.airflow.districts import asset_of
from enrollsync.airflow.notify import RosterNotifier, events_of
from enrollsync.run.run import Run
from enrollsync.run.workspace import OPERATIONS, RunManifest
from enrollsync.words.codes import CODES


def roster_changed(result: dict[str, Any]) -> dict[str, Any]:
    """Put the counts on the asset event that ends the current task; returns `result`."""
    context = get_current_context()
    district = Run.open(result["artifacts"]).settings
    event = context["outlet_events"][asset_of(district.district_id)]
    event.extra = {"run_id": result["run_id"], "outcome": result["outcome"], "counts": result["counts"]}
    return result


def plan_waits(manifest: RunManifest, district_id: str, *, waits: bool) -> None:
    """Say whether a plan waits for a person now; that of an undo apart from that of a night."""
    kind = "undo" if manifest.undoes else "sync"
    stats.gauge("enrollsync.plan_waits", int(waits), tags={"district": district_id, "kind": kind})


def measure(manifest: RunManifest, district_id: str, *, ended: datetime) -> None:
    """Send the figures of a run that ended then to Airflow's metrics, where those are switched on."""
    tags = {"district": district_id}
    stats.incr("enrollsync.runs", tags={**tags, "outcome": manifest.outcome or "failed"})
    plan_waits(manifest, district_id, waits=False)
    if manifest.outcome in ("applied", "undone"):
        for entity, operation, rows in _operations(manifest):
            stats.incr("enrollsync.changed", rows, tags={**tags, "entity": entity, "operation": operation})
    for step, seconds in manifest.seconds.items():
        stats.gauge("enrollsync.step_seconds", round(seconds, 3), tags={**tags, "step": step})
    if manifest.outcome in ("applied", "in_sync"):
        stats.gauge("enrollsync.last_good", int(ended.timestamp()), tags=tags)
    # An undo, and a night that took the short cut, have looked at no row: what is known still holds.
    if not manifest.undoes and (manifest.files or manifest.findings):
        _measure_rows(manifest, tags)


def _operations(manifest: RunManifest) -> Iterator[tuple[str, str, int]]:
    for entity, row in manifest.counts.items():
        for operation in OPERATIONS:
            if row[operation]:
                yield entity, operation, row[operation]


def _measure_rows(manifest: RunManifest, tags: dict[str, str]) -> None:
    """Gauges keep their last value, so that what was not found is sent too."""
    stats.gauge("enrollsync.rows_read", sum(file.rows for file in manifest.files), tags=tags)
    for entity, row in manifest.counts.items():
        for name in ("held", "rejected"):
            stats.gauge(f"enrollsync.{name}", row[name], tags={**tags, "entity": entity})
    for code in CODES:
        stats.gauge("enrollsync.findings", manifest.findings.get(code, 0), tags={**tags, "code": code})


def run_ended(workspace: str, *, failed: bool) -> None:
    """Measure the run and tell those who asked to be told; `failed`: one of its tasks failed."""
    run = Run.open(workspace)
    manifest, district = run.manifest, run.settings
    measure(manifest, district.district_id, ended=datetime.now(UTC))
    rests = district.pause_at(manifest.as_of) is not None
    for event in events_of(manifest, failed=failed):
        if event == "missing" and rests:  # nothing was to come
            continue
        RosterNotifier(event, workspace)(get_current_context())
