"""The steps of a run, in order: ingest, validate, plan, load, report; the same for the command and for Airflow.

Each takes the workspace's path, reads what earlier steps left there, and returns the path and a few counts. Reading
clocks, files and databases happens here and at the edges that are called from here; what the steps decide is decided
in the modules they call. Running a step again is harmless.

Each step imports what it needs when it runs: all of it together takes longer than a night without changes may.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrollsync import report as reports
from enrollsync.formats import ID_CHANGES_FILE
from enrollsync.ingest import shortcut
from enrollsync.load.remember import findings_to_keep, record_of, record_run
from enrollsync.plan import answers
from enrollsync.run.breakage import one_line
from enrollsync.run.running import database_url_of, findings_of, step
from enrollsync.run.workspace import COUNTED, Answer, Notice, RunManifest, Workspace
from enrollsync.settings import District, load_district, run_folder
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.errors import ConfigurationError, EnrollSyncError, StalePlan

if TYPE_CHECKING:
    from enrollsync.database import Store
    from enrollsync.plan.plan import Plan

_REPLANS = 3
"""How often a plan is made anew because somebody else wrote meanwhile."""

log = logging.getLogger(__name__)


def workspace_for(district: str, run_id: str) -> str:
    """The folder of a run."""
    return str(run_folder(load_district(district), run_id))


def start(district: str, *, run_id: str, as_of: datetime, **asked: Any) -> str:
    """Make the workspace of a run and return its path; `as_of` is the run's idea of now, with a time zone.

    `asked` is what a person asked of this run alone: fields of `RunManifest` such as `source` or `dry_run`. Raises
    ConfigurationError for a source that cannot be written down, EnrollSyncError for a folder that cannot be made.
    """
    from enrollsync.arrive.landing import shown

    settings = load_district(district)
    source = asked.get("source") or ""
    if shown(source) != source:
        raise ConfigurationError(f"the delivery {shown(source)}: its name is not UTF-8; rename it")
    manifest = RunManifest(
        run_id=run_id,
        district=district,
        as_of=as_of.astimezone(settings.zone),
        counts={entity.name: dict.fromkeys(COUNTED, 0) for entity in ENTITIES},
        **asked,
    )
    workspace = Workspace(Path(workspace_for(district, run_id)))
    try:
        workspace.create().write(manifest)
    except OSError as error:
        said = f"the run's folder {workspace.root} cannot be made: {error.strerror}"
        raise EnrollSyncError(f"{said}; let this user write there, or set ENROLLSYNC_HOME to another folder") from None
    return str(workspace.root)


def pause(workspace: str) -> str | None:
    """End a scheduled run, and say why, when its day is one of the district's pauses; None when it is not."""
    place = Workspace(Path(workspace))
    manifest = place.read()
    resting = load_district(manifest.district).pause_at(manifest.as_of)
    if resting is None:
        return None
    reason = f"scheduled runs are paused: {resting}; a run by hand runs all the same"
    place.update(outcome="paused", error=reason)
    return reason


def ingest(
    workspace: str,
    *,
    database_url: str | None = None,
    force: bool = False,
    before_reading: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Find the batch, recognise its format, read its files into canonical tables. Raises Refused.

    When the same batch left nothing to do on the database as it is, the run is `in_sync` without reading it; `force`,
    a dry run, a release, and a run that only adds take no such short cut. `before_reading` is called when there is
    something to do.
    """
    from enrollsync.arrive.landing import find_overdue, found_batch

    with (
        step(workspace, "ingest", format=None) as (place, manifest, district),
        found_batch(place, manifest, district) as batch,
    ):
        district = district.for_source(batch.declared.name, batch.declared.headers)
        mark = shortcut.fingerprint(batch.digest, district) + (" adds only" if manifest.adds_only else "")
        found = {"batch_hash": batch.digest, "delivered_at": batch.delivery.delivered_at, "fingerprint": mark}
        overdue = find_overdue(batch.delivery.delivered_at, manifest, district)
        found |= {"format": batch.declared.name, "checked_at": manifest.as_of, "notices": overdue, "taken_by": None}
        manifest = place.update(**found)
        force = force or manifest.dry_run or manifest.release or manifest.adds_only
        if not force and _nothing_to_do(place, manifest, district, database_url):
            return {"workspace": workspace, "outcome": "in_sync"}
        from enrollsync.ingest.batch import read_batch
        from enrollsync.ingest.normalise import normalise

        before_reading()
        manifest = read_batch(place, manifest, district, batch)
        place.write(manifest)
        normalise(place, manifest, district)
        rows = {file.name: file.rows for file in manifest.files}
        return {"workspace": workspace, "format": manifest.format, "mode": manifest.mode, "rows": rows, "outcome": None}


def _nothing_to_do(place: Workspace, manifest: RunManifest, district: District, database_url: str | None) -> bool:
    from enrollsync.database import open_store

    store = open_store(database_url_of(district, database_url))
    last = shortcut.settled_before(store, district, manifest.fingerprint or "", manifest.as_of)
    if last is None:
        return False
    place.update(
        outcome="in_sync",
        mode=last["mode"],
        plan_id=last["plan_id"],
        counts=shortcut.counts_after(store, last),
        findings=shortcut.findings_after(json.loads(last["findings_json"]))
        | {notice.code: 1 for notice in manifest.notices},
        checked_at=datetime.fromisoformat(last["checked_at"]),
        state_version=last["state_after"] or last["state_before"],
    )
    return True


def validate(workspace: str) -> dict[str, Any]:
    """Check every row, accept what may load, put the rejected lines into quarantine."""
    from enrollsync.validate import accept, quarantine
    from enrollsync.validate import validate as run_suites

    with step(workspace, "validate") as (place, manifest, district):
        run_suites(place, manifest, district)
        counts = accept.accept(place, manifest)
        loadable = {entity: counted.pop("records") for entity, counted in counts.items()}
        quarantine.write(place, manifest)
        counts = {entity: manifest.counts[entity] | counted for entity, counted in counts.items()}
        place.update(counts=counts, loadable=loadable, findings=findings_of(place, manifest), outcome="checked")
        return {"workspace": workspace, "findings": findings_of(place, manifest)}


def read_state(workspace: str, *, database_url: str | None = None) -> int:
    """Write the roster as it is now into the workspace, for `plan`; returns its version.

    A dry run only reads; otherwise the schema is created or migrated first. `database_url`, here and below, stands
    for the district's own; it may hold a password and is kept nowhere.
    """
    from enrollsync.database import open_store

    place = Workspace(Path(workspace))
    manifest = place.read()
    district = load_district(manifest.district)
    store = open_store(database_url_of(district, database_url))
    if not manifest.dry_run:
        store.migrate()
    return store.export(district.district_id, place.state, source=manifest.format)


def plan(
    workspace: str, *, database_url: str | None = None, read_version: Callable[[], int] | None = None
) -> dict[str, Any]:
    """Compare with the database as it is now, and judge whether the plan may go ahead by itself.

    `read_version` waits for a `read_state` that began before, and returns or raises what that does; a state that has
    moved since is noticed when the plan is applied.
    """
    from enrollsync.database import open_store
    from enrollsync.plan.guard import find_left_out, find_stale
    from enrollsync.plan.reconcile import reconcile
    from enrollsync.validate import quarantine

    with step(workspace, "plan") as (place, manifest, district):
        store = open_store(database_url_of(district, database_url))
        version = read_version() if read_version else read_state(workspace, database_url=database_url)
        made = reconcile(place, manifest, district, place.state, version, manifest.counts)
        # A plan that changes nothing takes nothing back in time, however old its delivery is.
        last = store.last_applied(district.district_id, made.source) if made.operations else None
        left_out_by = store.left_out_removals(district.district_id, made.source) if made.operations else None
        left_out = find_left_out(made.counts, left_out_by)
        holds = [*made.holds, *find_stale(manifest, last, district.zone), *left_out]
        made = made.model_copy(update={"holds": holds})
        made.save(place.plan)
        manifest = place.update(notices=_notices(store, made, manifest, district))
        if manifest.mode == "delta" or ID_CHANGES_FILE.name in {file.name for file in manifest.files}:
            quarantine.write(place, manifest)
        outcome = "held" if holds else "planned" if made.operations else "in_sync"
        place.update(
            counts=made.counts,
            findings=findings_of(place, manifest),
            holds=holds,
            plan_id=made.plan_id,
            outcome=outcome,
            state_version=made.state_version,
            answer="use_proposal" if manifest.taken_by else None,
            approved_by=manifest.taken_by,
        )
    return result(workspace)


def use_proposal(workspace: str, *, person: str | None, database_url: str | None = None) -> dict[str, Any]:
    """Take the identifier changes that the run's plan proposes as if they had been delivered, and plan again."""
    from enrollsync.ingest.batch import replace_id_changes
    from enrollsync.ingest.normalise import normalise

    with step(workspace, "ingest") as (place, manifest, district):
        place.proposed_id_changes.replace(place.taken_id_changes)
        manifest = replace_id_changes(place, manifest, district, place.taken_id_changes)
        place.write(manifest.model_copy(update={"taken_by": person}))
        normalise(place, manifest, district)
    validate(workspace)
    return plan(workspace, database_url=database_url)


def taken_before(workspace: str) -> str | None:
    """Who has taken these very identifier changes in the run that this one follows; None when nobody has."""
    place = Workspace(Path(workspace))
    manifest = place.read()
    if not (manifest.proposal_of and answers.proposes(manifest)):
        return None
    before = Workspace(Path(workspace_for(manifest.district, manifest.proposal_of)))
    with suppress(OSError, ConfigurationError):
        earlier = before.read()
        same = before.taken_id_changes.read_bytes() == place.proposed_id_changes.read_bytes()
        return earlier.approved_by if same and earlier.answer == "use_proposal" else None
    return None


def is_stale(workspace: str, *, database_url: str | None = None) -> bool:
    """Whether the database has moved since the run's plan was made."""
    from enrollsync.database import open_store

    manifest = Workspace(Path(workspace)).read()
    district = load_district(manifest.district)
    return open_store(database_url_of(district, database_url)).version(district.district_id) != manifest.state_version


def plan_again(workspace: str, *, database_url: str | None = None) -> dict[str, Any]:
    """Make the run's plan anew, of whichever kind it is."""
    if Workspace(Path(workspace)).read().undoes:
        return plan_undo(workspace, database_url=database_url)
    return plan(workspace, database_url=database_url)


def load(
    workspace: str, *, approved_by: str | None = None, answer: Answer | None = None, only_plan: str | None = None,
    database_url: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Apply the plan in one transaction and return the result as far as it goes.

    A held plan needs `approved_by`, and waits on when approving it would change nothing; `only_plan` names the one plan
    that may be applied. What is applied is the plan less its deactivations when the `answer` is `without_removals`.
    When the database moved since, a plan that nobody approved is made anew, and may be held then; an approved one is
    refused (StalePlan).
    """
    for _ in range(_REPLANS):
        try:
            return _load(workspace, approved_by, answer, only_plan, database_url)
        except StalePlan:
            if approved_by or only_plan is not None:
                raise
            made = plan(workspace, database_url=database_url)
            if made["outcome"] != "planned":
                return made
    return _load(workspace, approved_by, answer, only_plan, database_url)


def _load(
    workspace: str, approved_by: str | None, answer: Answer | None, only_plan: str | None, database_url: str | None
) -> dict[str, Any]:
    from enrollsync.plan.plan import load_plan
    from enrollsync.plan.removals import without_removals

    with step(workspace, "load") as (place, manifest, district):
        shown = load_plan(place)
        waits = bool(shown.holds or manifest.undoes)
        if waits and not approved_by:
            raise ConfigurationError(f"plan {shown.plan_id} is held; {answers.how(manifest)}")
        if waits and not shown.operations:
            said = f"plan {shown.plan_id} changes nothing, so there is nothing to approve"
            place.update(error=f"{said}; {answers.how(manifest)}")
            return result(workspace)
        answer = answer or ("approve" if waits else None)
        made = without_removals(place, shown) if answer == "without_removals" else shown
        if only_plan not in (None, made.plan_id, shown.plan_id):
            raise StalePlan(
                f"plan {only_plan} is not the plan any more, {shown.plan_id} is; look at it and approve that"
            )
        # It goes by the name that was shown to whoever approved it.
        made = made.model_copy(update={"plan_id": only_plan or shown.plan_id})
        done = answers.done(manifest, shown, made, answer) | {"approved_by": approved_by}
        if made.operations:
            _apply(place, manifest.model_copy(update=done), made, district, database_url)
        place.update(**done)
    return result(workspace)


def _apply(place: Workspace, manifest: RunManifest, made: Plan, district: District, database_url: str | None) -> None:
    from enrollsync.database import open_store
    from enrollsync.load.apply import apply

    store = open_store(database_url_of(district, database_url))
    folder = place.without_removals if manifest.answer == "without_removals" else place.plan
    apply(store, folder, made, record_of(manifest, district), findings_to_keep(place, manifest))


def reject(workspace: str, *, rejected_by: str | None, reason: str) -> dict[str, Any]:
    """Note that a held plan will not be applied: a person said no, or nobody answered (`rejected_by` None)."""
    place = Workspace(Path(workspace))
    answered = {"outcome": "rejected", "approved_by": rejected_by, "answer": "reject"}
    place.update(error=reason, **(answered if rejected_by else {"outcome": "held"}))
    return result(workspace)


def fail(workspace: str, reason: str) -> None:
    """Note that the run broke, where no step has said so itself; a run that was over by then stays what it was."""
    place = Workspace(Path(workspace))
    if place.read().outcome not in {"refused", "failed", "applied", "undone", "rejected"}:
        place.update(outcome="failed", error=reason)


def draft_report(workspace: str) -> None:
    """Write the report of a run that has not ended."""
    place = Workspace(Path(workspace))
    manifest = place.read()
    with one_line("report", place.root):
        reports.write(place, manifest, load_district(manifest.district))


def report(workspace: str, *, database_url: str | None = None) -> dict[str, Any]:
    """Write the report, remember a run that wrote nothing, and return the result."""
    place = Workspace(Path(workspace))
    manifest = place.read()
    district = load_district(manifest.district)
    if manifest.outcome is None:
        manifest = place.update(outcome="failed")
    started = time.monotonic()
    with one_line("report", place.root):
        reports.write(place, manifest, district)
    if not manifest.dry_run and manifest.outcome not in {"applied", "undone", "checked", "planned"}:
        record_run(place, manifest, district, database_url)
    place.update(seconds=manifest.seconds | {"report": time.monotonic() - started})
    return result(workspace)


def result(workspace: str) -> dict[str, Any]:
    """The JSON object that every command prints, with `message`, one line for a person, and the `answers` that fit."""
    manifest = Workspace(Path(workspace)).read()
    fitting = answers.possible(manifest) if manifest.outcome == "held" else ()
    return {**reports.summary(manifest, Path(workspace)), "message": manifest.error, "answers": list(fitting)}


def runs(district: str, *, database_url: str | None = None) -> list[dict[str, Any]]:
    """The district's runs, newest first, as `Store.runs` has them; none where there is no database, which stays so."""
    from enrollsync.database import open_store

    settings = load_district(district)
    return open_store(database_url_of(settings, database_url)).runs(settings.district_id)


def explain(district: str, kind: str, identifier: str, *, database_url: str | None = None) -> dict[str, Any]:
    """The life of a `user`, `class` or `organization`: see `explain.py`. Only reads."""
    from enrollsync.database import open_store
    from enrollsync.report import explain as explaining

    settings = load_district(district)
    return explaining.explain(
        open_store(database_url_of(settings, database_url)), settings.district_id, kind, identifier
    )


def start_undo(
    district: str, undone: str, *, run_id: str, as_of: datetime, keep_later: bool = False,
    database_url: str | None = None,
) -> str:  # fmt: skip
    """Make the workspace of a run that takes back the run `undone`, and return its path.

    Raises ConfigurationError when there is no such run, or it wrote nothing.
    """
    _written_run(load_district(district), undone, database_url)
    return start(district, run_id=run_id, as_of=as_of, undoes=undone, keep_later=keep_later)


def _written_run(district: District, run_id: str, database_url: str | None) -> dict[str, Any]:
    from enrollsync.database import open_store

    found = open_store(database_url_of(district, database_url)).run(district.district_id, run_id)
    if found is None:
        raise ConfigurationError(
            f"run {run_id}: district {district.district_id} has none; `enrollsync runs` lists them"
        )
    if found["state_after"] is None:
        raise ConfigurationError(f"run {run_id}: it wrote nothing ({found['outcome']}), so there is nothing to undo")
    return found


def plan_undo(workspace: str, *, database_url: str | None = None) -> dict[str, Any]:
    """Plan how to take back what the run named at the start changed; such a plan is always held.

    Raises ConfigurationError when nothing is left to undo, and UndoConflict when later runs changed the same values,
    unless those are to be left alone.
    """
    from enrollsync import undo
    from enrollsync.database import open_store

    with step(workspace, "plan") as (place, manifest, district):
        target = _written_run(district, manifest.undoes or "", database_url)
        store = open_store(database_url_of(district, database_url))
        version = store.export(district.district_id, place.state)
        store.export_changes(district.district_id, target["state_after"], place.state)
        made = undo.plan_undo(place, district.district_id, target, version, keep_later=manifest.keep_later)
        known = {"plan_id": made.plan_id, "counts": made.counts, "state_version": version}
        place.update(**known, outcome="held", answer=None, approved_by=None)
    return result(workspace)


def undo(
    workspace: str, *, approved_by: str, agreed: Callable[[dict[str, Any]], bool], database_url: str | None = None
) -> dict[str, Any]:
    """Plan the undo and, when who is shown the plan has `agreed`, take the run back; returns the undo's result.

    In one transaction that is a run. Who writes meanwhile makes another plan necessary. Raises like `plan_undo`.
    """
    for _ in range(_REPLANS):
        planned = plan_undo(workspace, database_url=database_url)
        if not agreed(planned):
            return reject(workspace, rejected_by=approved_by, reason="nothing was undone: the plan was not agreed to")
        try:
            return load(workspace, approved_by=approved_by, only_plan=planned["plan_id"], database_url=database_url)
        except StalePlan:
            log.info("%s: somebody else wrote meanwhile, planning the undo again", workspace)
    raise StalePlan("others kept writing while the undo was planned; nothing was undone, try again")


def _notices(store: Store, made: Plan, manifest: RunManifest, district: District) -> list[Notice]:
    """The run's notices, with those on a plan that changes unusually much or little; an earlier plan's are dropped."""
    from enrollsync.plan.guard import UNUSUAL, Rules, find_unusual
    from enrollsync.plan.hints import TERMS_ENDED
    from enrollsync.plan.usual import MOST_RUNS

    others = [*(one for one in manifest.notices if one.code not in {UNUSUAL, TERMS_ENDED}), *made.notices]
    if not made.operations:
        return others
    runs = store.shares_before(district.district_id, MOST_RUNS)
    return [*others, *find_unusual(made.shares, runs, Rules.of(manifest, district))]
