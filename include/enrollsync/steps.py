"""The steps of a run, in order: ingest, validate, plan, load, report; the same for the command and for Airflow.

Each takes the workspace's path, reads what earlier steps left there, and returns the path and a few counts. Reading
clocks, files and databases happens here and at the edges that are called from here; what the steps decide is decided
in the modules they call. Running a step again is harmless.

Each step imports what it needs when it runs: all of it together takes longer than a night without changes may.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrollsync import report as reports
from enrollsync import shortcut
from enrollsync.canonical import ENTITIES
from enrollsync.codes import CODES
from enrollsync.errors import ConfigurationError, EnrollSyncError, Refused, StalePlan
from enrollsync.formats import FORMATS, ID_CHANGES_FILE
from enrollsync.settings import District, load_district, project_root
from enrollsync.workspace import COUNTED, Notice, RunManifest, Workspace

if TYPE_CHECKING:
    from enrollsync.database import RunRecord, Store

_REPLANS = 3
"""How often a plan is made anew because somebody else wrote meanwhile."""

log = logging.getLogger(__name__)


def workspace_for(district: str, run_id: str) -> str:
    """The folder of a run; a run id of Airflow's may have characters that no folder should."""
    settings = load_district(district)
    return str(project_root() / "data" / "runs" / settings.district_id / re.sub(r"[^A-Za-z0-9_.-]", "_", run_id))


def start(
    district: str, *, run_id: str, as_of: datetime, source: str | None = None, dry_run: bool = False,
    release: bool = False,
) -> str:  # fmt: skip
    """Make the workspace of a run and return its path; `as_of` is the run's idea of now, with a time zone.

    `release` lets held recycled rows through (rule 10).
    """
    settings = load_district(district)
    workspace = Workspace(Path(workspace_for(district, run_id))).create()
    workspace.write(
        RunManifest(
            run_id=run_id,
            district=district,
            as_of=as_of.astimezone(settings.zone),
            source=source,
            dry_run=dry_run,
            release=release,
            counts={entity.name: dict.fromkeys(COUNTED, 0) for entity in ENTITIES},
        )
    )
    return str(workspace.root)


def ingest(
    workspace: str,
    *,
    database_url: str | None = None,
    force: bool = False,
    before_reading: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Find the batch, recognise its format, read its files into canonical tables. Raises Refused.

    When the same batch left nothing to do on the database as it is, the run is `in_sync` without reading it; `force`,
    a dry run, and a release take no such short cut. `before_reading` is called when there is something to do.
    """
    from enrollsync.ingest.landing import find_batch

    with _step(workspace, "ingest") as (place, manifest, district):
        batch = find_batch(place, manifest, district)
        district = district.for_source(batch.declared.name, batch.declared.headers)
        mark = shortcut.fingerprint(batch.digest, district)
        found = {"batch_hash": batch.digest, "delivered_at": batch.delivery.delivered_at, "fingerprint": mark}
        manifest = place.update(**found, format=batch.declared.name, checked_at=manifest.as_of)
        force = force or manifest.dry_run or manifest.release
        if not force and _nothing_to_do(place, manifest, district, database_url):
            return {"workspace": workspace, "outcome": "in_sync"}
        from enrollsync.ingest.batch import read_batch
        from enrollsync.normalise import normalise

        before_reading()
        manifest = read_batch(place, manifest, district, batch)
        place.write(manifest)
        normalise(place, manifest, district)
        rows = {file.name: file.rows for file in manifest.files}
        return {"workspace": workspace, "format": manifest.format, "mode": manifest.mode, "rows": rows, "outcome": None}


def _nothing_to_do(place: Workspace, manifest: RunManifest, district: District, database_url: str | None) -> bool:
    from enrollsync.database import open_store

    store = open_store(_database_url(district, database_url))
    last = shortcut.settled_before(store, district, manifest.fingerprint or "", manifest.as_of)
    if last is None:
        return False
    place.update(
        outcome="in_sync",
        mode=last["mode"],
        plan_id=last["plan_id"],
        counts=shortcut.counts_after(json.loads(last["counts_json"])),
        findings=json.loads(last["findings_json"]),
        checked_at=datetime.fromisoformat(last["checked_at"]),
        state_version=last["state_after"] or last["state_before"],
    )
    return True


def validate(workspace: str) -> dict[str, Any]:
    """Check every row, accept what may load, put the rejected lines into quarantine."""
    from enrollsync import accept, quarantine
    from enrollsync.validate import validate as run_suites

    with _step(workspace, "validate") as (place, manifest, district):
        run_suites(place, manifest, district)
        counts = accept.accept(place, manifest)
        quarantine.write(place, manifest, encoding=district.source.encoding)
        counts = {entity: manifest.counts[entity] | counted for entity, counted in counts.items()}
        place.update(counts=counts, findings=_findings(place, manifest), outcome="checked")
        return {"workspace": workspace, "findings": _findings(place, manifest)}


def read_state(workspace: str, *, database_url: str | None = None) -> int:
    """Write the roster as it is now into the workspace, for `plan`; returns its version. Part of no step's time.

    A dry run only reads; otherwise the schema is created or migrated first. `database_url`, here and below, stands
    for the district's own; it may hold a password and is kept nowhere.
    """
    from enrollsync.database import open_store

    place = Workspace(Path(workspace))
    manifest = place.read()
    district = load_district(manifest.district)
    store = open_store(_database_url(district, database_url))
    if not manifest.dry_run:
        store.migrate()
    return store.export(district.district_id, place.state)


def plan(workspace: str, *, database_url: str | None = None, state_version: int | None = None) -> dict[str, Any]:
    """Compare with the database as it is now, and judge whether the plan may go ahead by itself.

    `state_version` is what `read_state` returned, where it ran before; a state that has moved since is noticed when
    the plan is applied.
    """
    from enrollsync import quarantine
    from enrollsync.database import open_store
    from enrollsync.reconcile import reconcile

    with _step(workspace, "plan") as (place, manifest, district):
        store = open_store(_database_url(district, database_url))
        version = read_state(workspace, database_url=database_url) if state_version is None else state_version
        made = reconcile(place, manifest, district, place.state, version, manifest.counts)
        holds = [*made.holds, *_stale(store, manifest, district)]
        made = made.model_copy(update={"holds": holds})
        made.save(place.plan)
        if manifest.mode == "delta" or ID_CHANGES_FILE.name in {file.name for file in manifest.files}:
            quarantine.write(place, manifest, encoding=district.source.encoding)
        outcome = "held" if holds else "planned" if made.operations else "in_sync"
        place.update(
            counts=made.counts,
            findings=_findings(place, manifest),
            holds=holds,
            plan_id=made.plan_id,
            outcome=outcome,
            state_version=made.state_version,
        )
        return {
            "workspace": workspace,
            "plan_id": made.plan_id,
            "outcome": outcome,
            "counts": made.counts,
            "holds": [{"code": hold.code, "message": hold.message} for hold in holds],
        }


def load(
    workspace: str, *, approved_by: str | None = None, only_plan: str | None = None, database_url: str | None = None
) -> dict[str, Any]:
    """Apply the plan in one transaction.

    A held plan needs `approved_by`; `only_plan` names the one plan that may be applied. When the database moved
    since, a plan that nobody approved is made anew; an approved one is refused (StalePlan).
    """
    for _ in range(_REPLANS):
        try:
            return _load(workspace, approved_by, only_plan, database_url)
        except StalePlan:
            if approved_by or only_plan:
                raise
            made = plan(workspace, database_url=database_url)
            if made["outcome"] != "planned":
                return made
    return _load(workspace, approved_by, only_plan, database_url)


def _load(workspace: str, approved_by: str | None, only_plan: str | None, database_url: str | None) -> dict[str, Any]:
    from enrollsync.database import open_store
    from enrollsync.load import apply
    from enrollsync.plan import load_plan
    from enrollsync.remember import write_remembered

    with _step(workspace, "load") as (place, manifest, district):
        made = load_plan(place.plan)
        if only_plan and only_plan != made.plan_id:
            raise StalePlan(
                f"plan {only_plan} is not the plan any more, {made.plan_id} is; look at it and approve that"
            )
        if made.holds and not approved_by:
            raise ConfigurationError(f"plan {made.plan_id} is held; approve it with `--approve --plan {made.plan_id}`")
        manifest = manifest.model_copy(update={"outcome": "applied", "approved_by": approved_by})
        if made.operations:
            store = open_store(_database_url(district, database_url))
            apply(store, place.plan, made, _record(manifest, district), write_remembered(place))
        place.update(outcome="applied" if made.operations else "in_sync", approved_by=approved_by)
        return {"workspace": workspace, "operations": made.operations, "plan_id": made.plan_id}


def report(workspace: str, *, database_url: str | None = None) -> dict[str, Any]:
    """Write the report, remember a run that wrote nothing, and return the result (design, section 4.1)."""
    place = Workspace(Path(workspace))
    manifest = place.read()
    district = load_district(manifest.district)
    if manifest.outcome is None:
        manifest = place.update(outcome="failed")
    started = time.monotonic()
    reports.write(place, manifest, district)
    shutil.rmtree(place.batch, ignore_errors=True)
    if not manifest.dry_run and manifest.outcome not in {"applied", "checked", "planned"}:
        _remember(place, manifest, district, database_url)
    place.update(seconds=manifest.seconds | {"report": time.monotonic() - started})
    return result(workspace)


def result(workspace: str) -> dict[str, Any]:
    """The JSON object that every command prints, and `message`, one line for a person."""
    manifest = Workspace(Path(workspace)).read()
    return {**reports.summary(manifest, Path(workspace)), "message": manifest.error}


def runs(district: str, *, database_url: str | None = None) -> list[dict[str, Any]]:
    """The district's runs, newest first, as `Store.runs` has them; none where there is no database, which stays so."""
    from enrollsync.database import open_store

    settings = load_district(district)
    return open_store(_database_url(settings, database_url)).runs(settings.district_id)


def explain(district: str, kind: str, identifier: str, *, database_url: str | None = None) -> dict[str, Any]:
    """The life of a `user`, `class` or `organization`: see `explain.py`. Only reads."""
    from enrollsync import explain as explaining
    from enrollsync.database import open_store

    settings = load_district(district)
    return explaining.explain(open_store(_database_url(settings, database_url)), settings.district_id, kind, identifier)


def undo(
    district: str, undone: str, *, run_id: str, as_of: datetime, approved_by: str, keep_later: bool = False,
    database_url: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Take back what the run `undone` changed, in one transaction that is the run `run_id`; returns its result.

    Raises ConfigurationError when that run is unknown, wrote nothing, or has nothing left to undo, and UndoConflict
    when later runs changed the same values, unless `keep_later` leaves those alone.
    """
    settings = load_district(district)
    target = _written_run(settings, undone, database_url)
    workspace = start(district, run_id=run_id, as_of=as_of)
    for _ in range(_REPLANS):
        try:
            return _undo(workspace, target, approved_by, keep_later, database_url)
        except StalePlan:
            log.info("run %s: somebody else wrote meanwhile, planning the undo again", run_id)
    return _undo(workspace, target, approved_by, keep_later, database_url)


def _written_run(district: District, run_id: str, database_url: str | None) -> dict[str, Any]:
    from enrollsync.database import open_store

    found = open_store(_database_url(district, database_url)).run(district.district_id, run_id)
    if found is None:
        raise ConfigurationError(
            f"run {run_id}: district {district.district_id} has none; `enrollsync runs` lists them"
        )
    if found["state_after"] is None:
        raise ConfigurationError(f"run {run_id}: it wrote nothing ({found['outcome']}), so there is nothing to undo")
    return found


def _undo(
    workspace: str, target: dict[str, Any], approved_by: str, keep_later: bool, database_url: str | None
) -> dict[str, Any]:
    from enrollsync.database import open_store
    from enrollsync.load import apply
    from enrollsync.undo import plan_undo

    with _step(workspace, "undo") as (place, manifest, district):
        store = open_store(_database_url(district, database_url))
        version = store.export(district.district_id, place.state)
        store.export_changes(district.district_id, target["state_after"], place.state)
        made = plan_undo(place, district.district_id, target, version, keep_later=keep_later)
        done = {"outcome": "undone", "plan_id": made.plan_id, "counts": made.counts, "approved_by": approved_by}
        manifest = manifest.model_copy(update=done | {"state_version": version})
        record = replace(_record(manifest, district), mode=None, message=f"undo of run {target['run_id']}")
        apply(store, place.plan, made, record)
        place.update(**done, state_version=version)
    return result(workspace)


@contextmanager
def _step(workspace: str, name: str) -> Iterator[tuple[Workspace, RunManifest, District]]:
    """What a step works on. Its time, and the error that ends it, go into the manifest."""
    place = Workspace(Path(workspace))
    manifest = place.update(error=None)
    district = load_district(manifest.district)
    if manifest.format:
        district = district.for_source(manifest.format, FORMATS[manifest.format].headers)
    started = time.monotonic()
    try:
        yield place, manifest, district
    except EnrollSyncError as error:
        _note_error(place, error)
        raise
    except _no_room() as error:
        reason = " ".join(str(error).split())[:300]
        failure = EnrollSyncError(f"{name}: there is not enough room, or a file is gone: {reason}")
        _note_error(place, failure)
        raise failure from error
    finally:
        took = time.monotonic() - started
        place.update(seconds=place.read().seconds | {name: took})
        log.info("%s ended after %.2f s: district %s, run %s", name, took, district.district_id, manifest.run_id)


def _no_room() -> tuple[type[Exception], ...]:
    """What is raised when disk or memory are full, or a file of the workspace is gone."""
    import duckdb

    return duckdb.IOException, duckdb.OutOfMemoryException, MemoryError


def _note_error(place: Workspace, error: EnrollSyncError) -> None:
    manifest = place.read()
    if isinstance(error, Refused):
        severity = CODES[error.code].severity
        notice = Notice(code=error.code, severity=severity, message=error.message, file=error.file, line=error.line)
        notices = [one for one in manifest.notices if one != notice]
        findings = manifest.findings | {error.code: 1}
        manifest = manifest.model_copy(update={"notices": [*notices, notice], "findings": findings})
    place.write(manifest.model_copy(update={"outcome": error.outcome, "error": str(error)}))


def _findings(place: Workspace, manifest: RunManifest) -> dict[str, int]:
    """Code -> how many, files' and rows' together."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    counted = pc.value_counts(pq.read_table(place.findings, columns=["code"])["code"])
    totals = {entry["values"].as_py(): entry["counts"].as_py() for entry in counted}
    for notice in manifest.notices:
        totals[notice.code] = totals.get(notice.code, 0) + 1
    return dict(sorted(totals.items()))


def _stale(store: Store, manifest: RunManifest, district: District) -> list[Notice]:
    """A delivery that was found, not named, and is older than the one applied last (section 6)."""
    last = None if manifest.source else store.last_applied(district.district_id)
    if not last or not last[1] or not manifest.delivered_at or last[0] == manifest.batch_hash:
        return []
    if manifest.delivered_at >= last[1]:
        return []
    message = f"delivered {manifest.delivered_at:%Y-%m-%d %H:%M}, but one of {last[1]:%Y-%m-%d %H:%M} was applied"
    return [Notice(code="GUARD-STALE", severity=CODES["GUARD-STALE"].severity, message=message)]


def _database_url(district: District, given: str | None) -> str:
    url = given or district.database.url
    if not url:
        raise ConfigurationError(
            f"district {district.district_id}: `database.connection` is known to Airflow alone; give --database URL"
        )
    return url


def _record(manifest: RunManifest, district: District) -> RunRecord:
    from enrollsync.database import RunRecord

    return RunRecord(
        run_id=manifest.run_id,
        district_id=district.district_id,
        batch_hash=manifest.batch_hash,
        outcome=manifest.outcome or "failed",
        plan_id=manifest.plan_id,
        started_at=manifest.as_of,
        ended_at=datetime.now(UTC),
        approved_by=manifest.approved_by,
        delivered_at=manifest.delivered_at,
        source=manifest.format,
        mode=manifest.mode,
        counts=manifest.counts,
        findings=manifest.findings,
        message=manifest.error,
        fingerprint=manifest.fingerprint,
        checked_at=manifest.checked_at,
        state_version=manifest.state_version,
    )


def _remember(place: Workspace, manifest: RunManifest, district: District, database_url: str | None) -> None:
    """A run that wrote nothing is a run all the same; that it cannot be remembered must not hide why it ended."""
    from enrollsync.database import open_store

    try:
        store = open_store(_database_url(district, database_url))
        store.migrate()
        store.record_run(_record(manifest, district), _remembered(place, manifest))
    except EnrollSyncError as error:
        log.warning("run %s could not be remembered: %s", manifest.run_id, error)


def _remembered(place: Workspace, manifest: RunManifest) -> Path | None:
    """The findings of a run that came to a plan; a short cut, which found nothing itself, imports nothing."""
    if manifest.outcome not in {"in_sync", "held", "rejected"} or not place.findings.is_file():
        return None
    from enrollsync.remember import write_remembered

    return write_remembered(place)
