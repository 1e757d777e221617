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
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from enrollsync import report as reports
from enrollsync.formats import ID_CHANGES_FILE
from enrollsync.ingest import shortcut
from enrollsync.load.remember import findings_to_keep, record_of, record_run
from enrollsync.plan import answers
from enrollsync.run.breakage import one_line
from enrollsync.run.object_store import brought, keep_if_possible
from enrollsync.run.program import program
from enrollsync.run.run import Run, database_url_of
from enrollsync.run.step import INGEST, LOAD, OVER, PLAN, REPORT, VALIDATE, step
from enrollsync.run.workspace import COUNTED, Answer, Edit, Merge, RunManifest, Settle, Workspace
from enrollsync.settings import load_district, run_folder
from enrollsync.words.canonical import BY_NAME, ENTITIES
from enrollsync.words.errors import ConfigurationError, EnrollSyncError, FilesMissing, StalePlan
from enrollsync.words.printable import shown

if TYPE_CHECKING:
    from enrollsync.database import Store
    from enrollsync.database.around import Around
    from enrollsync.plan.plan import Plan
    from enrollsync.settings.connections import Connection

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
        workspace.create().write_settings(settings)
        workspace.write(manifest)
    except OSError as error:
        said = f"the run's folder {workspace.root} cannot be made: {error.strerror}"
        raise EnrollSyncError(f"{said}; let this user write there, or set ENROLLSYNC_HOME to another folder") from None
    return str(workspace.root)


def night(
    workspace: str, *, last: str = PLAN.name, then: Callable[[str], object] | None = None, force: bool = False,
    database_url: str | None = None, telling: Callable[[str], None] = lambda step: None, checks: Checks | None = None,
) -> None:  # fmt: skip
    """The steps in their order up to `last`, and `then` what is to become of the plan; raises what a step raises.

    For who runs them by one command; Airflow has a task for each. The database is read while Great Expectations checks,
    which keeps one processor busy. `telling` hears each step's name before it begins, and how far a long one is.
    """
    telling(INGEST.name)
    checks = checks or Checks()
    ingested = ingest(workspace, database_url=database_url, force=force, before_reading=checks.prepare, telling=telling)
    if ingested["outcome"] == "in_sync":
        return
    telling(VALIDATE.name)
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(read_state, workspace, database_url=database_url) if last == PLAN.name else None
        checks.make(workspace)
    if reading:
        telling(PLAN.name)
        plan(workspace, database_url=database_url, read_version=reading.result)
    if then:
        telling(LOAD.name)
        then(workspace)


class Checks:
    """Who makes a night's checks: here this process, beside what else it does."""

    def prepare(self) -> None:
        """Called before the files are read, unless a few rows are all there is to check."""
        Thread(target=self.load, daemon=True).start()

    def load(self) -> None:
        """Import Great Expectations, which takes a second."""
        import_module("enrollsync.validate.checking")

    def make(self, workspace: str) -> None:
        """`validate`."""
        validate(workspace)


def pause(workspace: str) -> str | None:
    """End a scheduled run, and say why, when its day is one of the district's pauses; None when it is not."""
    run = Run.open(workspace)
    resting = run.settings.pause_at(run.manifest.as_of)
    if resting is None:
        return None
    reason = f"scheduled runs are paused: {resting}; a run by hand runs all the same"
    run.note(outcome="paused", error=reason)
    run.save()
    return reason


def ingest(
    workspace: str,
    *,
    database_url: str | None = None,
    force: bool = False,
    connection: Connection | None = None,
    before_reading: Callable[[], object] = lambda: None,
    telling: Callable[[str], object] = lambda said: None,
) -> dict[str, Any]:
    """Find the batch, recognise its format, read its files into canonical tables. Raises Refused.

    When the same batch left nothing to do on the database as it is, the run is `in_sync` without reading it; `force`,
    a dry run, a release, and a run that only adds take no such short cut. `connection` stands for what the environment
    knows of `source.connection`; it is kept nowhere. `before_reading` is called when there is something to do,
    but for what a person changes, which is checked without Great Expectations; `telling` hears how far an API was read.
    """
    from enrollsync.arrive import find_overdue, found_batch

    with (
        step(INGEST, workspace, database_url, format=None) as run,
        found_batch(run, connection, telling) as batch,
    ):
        run.note(format=batch.declared.name, batch_hash=batch.digest, delivered_at=batch.delivery.delivered_at)
        asked = run.manifest
        mark = shortcut.fingerprint(batch.digest, run.settings) + (" adds only" if asked.adds_only else "")
        overdue = find_overdue(run, batch.delivery.delivered_at)
        notices = [*overdue, *batch.notices]
        run.note(fingerprint=mark, checked_at=asked.as_of, notices=notices, taken_by=None)
        force = force or asked.by_hand or asked.dry_run or asked.release or asked.adds_only or asked.lets_go
        if not force and _nothing_to_do(run):
            return {"workspace": workspace, "outcome": "in_sync"}
        from enrollsync.ingest.batch import read_batch
        from enrollsync.ingest.normalise import normalise

        if not asked.by_hand:
            before_reading()
        read_batch(run, batch.take(run.place.batch))
        normalise(run)
        manifest = run.manifest
        rows = {file.name: file.rows for file in manifest.files}
        return {"workspace": workspace, "format": manifest.format, "mode": manifest.mode, "rows": rows, "outcome": None}


def _nothing_to_do(run: Run) -> bool:
    manifest = run.manifest
    last = shortcut.settled_before(run.store, run.settings, manifest.fingerprint or "", manifest.as_of)
    if last is None:
        return False
    known = shortcut.findings_after(json.loads(last["findings_json"]))
    run.note(
        outcome="in_sync",
        mode=last["mode"],
        plan_id=last["plan_id"],
        counts=shortcut.counts_after(run.store, last),
        findings=known | {notice.code: 1 for notice in manifest.notices},
        found_in_schools=json.loads(last["schools_json"] or "null"),
        checked_at=datetime.fromisoformat(last["checked_at"]),
        state_version=last["state_after"] or last["state_before"],
    )
    return True


def validate(workspace: str) -> dict[str, Any]:
    """Check every row, accept what may load, put the rejected lines into quarantine."""
    from enrollsync.validate import accept, quarantine
    from enrollsync.validate import validate as run_suites

    with step(VALIDATE, workspace) as run:
        run_suites(run)
        counts = accept.accept(run)
        loadable = {entity: counted.pop("records") for entity, counted in counts.items()}
        if run.manifest.edit is None:  # nobody delivered its lines
            quarantine.write(run)
        counts = {entity: run.manifest.counts[entity] | counted for entity, counted in counts.items()}
        run.note(counts=counts, checked=counts, loadable=loadable, outcome="checked")
        return {"workspace": workspace, "findings": run.note_findings().findings}


def read_state(workspace: str, *, database_url: str | None = None) -> int:
    """Write the roster as it is now into the workspace, for `plan`; returns its version.

    A dry run only reads; otherwise the schema is created or migrated first. `database_url`, here and below, stands
    for the district's own; it may hold a password and is kept nowhere.
    """
    run = Run.open(workspace, database_url)
    if not run.manifest.dry_run:
        run.store.migrate()
    return run.store.export(run.settings.district_id, run.place.state, run.source, _around(run))


def _around(run: Run) -> Around | None:
    """An edit compares one record, and reads no more than that can touch."""
    from enrollsync.database.around import Around

    edit = run.manifest.edit
    if edit is None:
        return None
    return Around(run.settings.district_id, BY_NAME[edit.entity], edit.key, edit.looked_for)


def plan(
    workspace: str, *, database_url: str | None = None, read_version: Callable[[], int] | None = None
) -> dict[str, Any]:
    """Compare with the database as it is now, and judge whether the plan may go ahead by itself.

    `read_version` waits for a `read_state` that began before, and returns or raises what that does; a state that has
    moved since is noticed when the plan is applied.
    """
    from enrollsync.plan.guard import UNUSUAL, Past
    from enrollsync.plan.hints import TERMS_ENDED
    from enrollsync.plan.reconcile import reconcile
    from enrollsync.validate import quarantine

    with step(PLAN, workspace, database_url) as run:
        manifest = run.manifest
        version = read_version() if read_version else read_state(workspace, database_url=database_url)
        # Limits do not hold what one person changes.
        past = Past() if manifest.by_hand else Past.of(run.store, run.settings.district_id, run.format.source.name)
        made = reconcile(run, version, past)
        others = [one for one in manifest.notices if one.code not in {UNUSUAL, TERMS_ENDED}]  # not an earlier plan's
        run.note(notices=[*others, *made.notices])
        told = manifest.asks_roster or ID_CHANGES_FILE.name in {file.name for file in manifest.files}
        if told and manifest.edit is None:
            quarantine.write(run)
        run.note_findings()
        run.note(
            counts=made.counts,
            holds=made.holds,
            plan_id=made.plan_id,
            outcome="held" if made.holds else "planned" if made.operations else "in_sync",
            state_version=made.state_version,
            state_run=run.store.led_to(run.settings.district_id, version),
            found_in_schools=made.found_in_schools,
            answer="use_proposal" if manifest.taken_by else None,
            approved_by=manifest.taken_by,
        )
    return _result(run)


def use_proposal(workspace: str, *, person: str | None, database_url: str | None = None) -> dict[str, Any]:
    """Take the identifier changes that the run's plan proposes as if they had been delivered, and plan again."""
    from enrollsync.ingest.batch import replace_id_changes
    from enrollsync.ingest.normalise import normalise

    with step(INGEST, workspace) as run:
        place = run.place
        place.proposed_id_changes.replace(place.taken_id_changes)
        replace_id_changes(run, place.taken_id_changes)
        run.note(taken_by=person)
        normalise(run)
    validate(workspace)
    return plan(workspace, database_url=database_url)


def taken_before(workspace: str) -> str | None:
    """Who has taken these very identifier changes in the run that this one follows; None when nobody has."""
    run = Run.open(workspace)
    if not (run.manifest.proposal_of and answers.proposes(run.manifest)):
        return None
    folder, taken = run_folder(run.settings, run.manifest.proposal_of), run.place.taken_id_changes.name
    with suppress(OSError, ConfigurationError, FilesMissing):
        before = Workspace(brought(folder, [taken]))
        earlier = before.read()
        same = before.taken_id_changes.read_bytes() == run.place.proposed_id_changes.read_bytes()
        return earlier.approved_by if same and earlier.answer == "use_proposal" else None
    return None


def is_stale(workspace: str, *, database_url: str | None = None) -> bool:
    """Whether the database has moved since the run's plan was made, is another one, or another program made it."""
    run = Run.open(workspace, database_url)
    manifest, district_id = run.manifest, run.settings.district_id
    if manifest.program != program():
        return True
    version = run.store.version(district_id)
    return (version, run.store.led_to(district_id, version)) != (manifest.state_version, manifest.state_run)


def plan_again(workspace: str, *, database_url: str | None = None) -> dict[str, Any]:
    """Make the run's plan anew, of whichever kind it is."""
    if Run.open(workspace).manifest.undoes:
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

    with step(LOAD, workspace, database_url) as run:
        manifest, shown = run.manifest, load_plan(run.place)
        waits = bool(shown.holds or manifest.undoes)
        if waits and not approved_by:
            raise ConfigurationError(f"plan {shown.plan_id} is held; {answers.how(manifest)}")
        answer = answer or ("approve" if waits else None)
        made = without_removals(run.place, shown) if answer == "without_removals" else shown
        if only_plan not in (None, made.plan_id, shown.plan_id):
            raise StalePlan(
                f"plan {only_plan} is not the plan any more, {shown.plan_id} is; look at it and approve that"
            )
        if waits and not (shown.operations or answers.only_asks(shown.holds)):
            said = f"plan {shown.plan_id} changes nothing, so there is nothing to approve"
            run.note(error=f"{said}; {answers.how(manifest)}")
        else:
            # It goes by the name that was shown to whoever approved it.
            made = made.model_copy(update={"plan_id": only_plan or shown.plan_id})
            _apply(run, made, answers.done(manifest, shown, made, answer) | {"approved_by": approved_by})
    return _result(run)


def _apply(run: Run, made: Plan, done: dict[str, Any]) -> None:
    """Write the plan, if it has anything to write; `done`: what is known of the run once that is done."""
    from enrollsync.load.apply import apply

    if made.operations:
        folder = run.place.without_removals if done["answer"] == "without_removals" else run.place.plan
        apply(run.store, folder, made, record_of(run, **done), findings_to_keep(run))
    run.note(**done)


def reject(workspace: str, *, rejected_by: str | None, reason: str) -> dict[str, Any]:
    """Note that a held plan will not be applied: a person said no, or nobody answered (`rejected_by` None)."""
    run = Run.open(workspace)
    answered = {"outcome": "rejected", "approved_by": rejected_by, "answer": "reject"}
    run.note(error=reason, **(answered if rejected_by else {"outcome": "held"}))
    run.save()
    return _result(run)


def fail(workspace: str, reason: str) -> None:
    """Note that the run broke, where no step has said so itself; a run that was over by then stays what it was."""
    run = Run.open(workspace)
    if run.manifest.outcome not in OVER:
        run.note(outcome="failed", error=reason)
        run.save()


def draft_report(workspace: str) -> None:
    """Write the report of a run that has not ended."""
    run = Run.open(workspace)
    with one_line(REPORT.name, run.place.root):
        reports.write(run)


def report(workspace: str, *, database_url: str | None = None) -> dict[str, Any]:
    """Write the report, remember a run that wrote nothing, let uploads go that are not needed; return the result."""
    from enrollsync.arrive import clear
    from enrollsync.arrive.upload import sweep_after

    run = Run.open(workspace, database_url)
    clear(run)  # of a source that could not be reached, what arrived is of no use any more
    if run.manifest.outcome is None:
        run.note(outcome="failed")
    started = time.monotonic()
    with one_line(REPORT.name, run.place.root):
        reports.write(run)
    if not run.manifest.dry_run and run.manifest.outcome not in {"applied", "undone", "checked", "planned"}:
        record_run(run)
    run.note(seconds=run.manifest.seconds | {REPORT.name: time.monotonic() - started})
    run.save()
    keep_if_possible(run.place.root)
    sweep_after(run)
    return _result(run)


def result(workspace: str) -> dict[str, Any]:
    """The JSON object that every command prints, with `message`, one line for a person, and the `answers` that fit."""
    return _result(Run.open(workspace))


def _result(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    fitting = answers.possible(manifest) if manifest.outcome == "held" else ()
    return {**reports.summary(manifest, run.place.root), "message": manifest.error, "answers": list(fitting)}


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

    Raises ConfigurationError when there is no such run, it wrote nothing, or its values have gone since.
    """
    from enrollsync.database import open_store

    settings = load_district(district)
    _written_run(open_store(database_url_of(settings, database_url)), settings.district_id, undone)
    return start(district, run_id=run_id, as_of=as_of, undoes=undone, keep_later=keep_later)


def _written_run(store: Store, district_id: str, run_id: str) -> dict[str, Any]:
    from enrollsync.database.removed_values import require_values
    from enrollsync.database.schema import OUTCOME_FORGOTTEN

    found = store.run(district_id, run_id)
    if found is None:
        raise ConfigurationError(f"run {run_id}: district {district_id} has none; `enrollsync runs` lists them")
    if found["outcome"] == OUTCOME_FORGOTTEN:
        raise ConfigurationError(f"run {run_id}: it forgot somebody; what it took out is nowhere any more")
    if found["state_after"] is None:
        raise ConfigurationError(f"run {run_id}: it wrote nothing ({found['outcome']}), so there is nothing to undo")
    require_values(store.rows, district_id, found["state_after"] - 1, f"run {run_id} cannot be undone any more")
    return found


def start_edit(
    district: str, edit: Edit, *, run_id: str, as_of: datetime, reason: str | None = None, dry_run: bool = False
) -> str:
    """Make the workspace of a run that changes one record as a person asks, and return its path; `reason` is theirs."""
    return start(district, run_id=run_id, as_of=as_of, edit=edit, comment=reason, dry_run=dry_run)


def edit(
    workspace: str, *, person: str, only_plan: str | None = None, database_url: str | None = None
) -> dict[str, Any]:
    """Check and plan the edit like a batch and apply it, unless the run only looks; returns the result.

    An edit of which the rules would let through only a part, or nothing, is `rejected` and changes nothing. Limits do
    not hold it: somebody has looked at it. Raises StalePlan when the plan is not the one that was shown.
    """
    return _by_hand(workspace, person, only_plan, database_url)


def do_what_was_looked_at(
    workspace: str, *, person: str, only_plan: str, database_url: str | None = None
) -> dict[str, Any]:
    """Apply the plan of a run that only looked, whichever kind of change by hand it is; returns the result.

    Raises StalePlan when the roster has moved since, or the plan is another one.
    """
    run = Run.open(workspace)
    run.note(dry_run=False)
    run.save()
    return load(workspace, approved_by=person, only_plan=only_plan, database_url=database_url)


def start_settle(
    district: str, settle: Settle, *, run_id: str, as_of: datetime, reason: str | None = None, dry_run: bool = False
) -> str:
    """Make the workspace of a run that loads a row of which a person says whose it is, and return its path."""
    released = settle.record is None
    return start(district, run_id=run_id, as_of=as_of, settle=settle, release=released, comment=reason, dry_run=dry_run)


def settle(
    workspace: str, *, person: str, only_plan: str | None = None, database_url: str | None = None
) -> dict[str, Any]:
    """Check and plan the row that a person settles, and apply it as `edit` does; `rejected` where it still waits."""
    return _by_hand(workspace, person, only_plan, database_url)


def _by_hand(workspace: str, person: str, only_plan: str | None, database_url: str | None) -> dict[str, Any]:
    from enrollsync.plan.by_hand import does_what_was_asked

    def apply(_: str) -> None:
        run = Run.open(workspace)
        if not does_what_was_asked(run):
            reject(
                workspace, rejected_by=person, reason="what was asked cannot be stored as it is; nothing was changed"
            )
        elif not run.manifest.dry_run:
            load(workspace, approved_by=person, only_plan=only_plan, database_url=database_url)

    night(workspace, then=apply, force=True, database_url=database_url)
    return result(workspace)


def start_merge(
    district: str, merge: Merge, *, run_id: str, as_of: datetime, reason: str | None = None, dry_run: bool = False
) -> str:
    """Make the workspace of a run that merges two people as a person asks, and return its path; `reason` is theirs."""
    return start(district, run_id=run_id, as_of=as_of, merge=merge, comment=reason, dry_run=dry_run)


def merge(
    workspace: str, *, person: str, only_plan: str | None = None, database_url: str | None = None
) -> dict[str, Any]:
    """Plan the merge and apply it, unless the run only looks; returns the result.

    Raises ConfigurationError when the two cannot be one (`merging.why_two`), and StalePlan when the plan is not the one
    that was shown.
    """
    from enrollsync.database.around import People
    from enrollsync.plan import merging

    with step(PLAN, workspace, database_url) as run:
        asked, district_id = run.manifest.merge, run.settings.district_id
        assert asked is not None
        version = run.store.export(district_id, run.place.state, around=People({asked.gone, asked.kept}))
        if why := merging.why_two(*merging.both(run.place, asked), merging.merged(run.place)):
            raise ConfigurationError(f"users {asked.gone} and {asked.kept} cannot be merged: {why}")
        made = merging.plan_merge(run.place, district_id, asked, version)
        run.note(counts=made.counts, plan_id=made.plan_id, outcome="planned")
        run.note(state_version=version, state_run=run.store.led_to(district_id, version))
    if run.manifest.dry_run:
        return _result(run)
    return load(workspace, approved_by=person, only_plan=only_plan, database_url=database_url)


def plan_undo(workspace: str, *, database_url: str | None = None) -> dict[str, Any]:
    """Plan how to take back what the run named at the start changed; such a plan is always held.

    Raises ConfigurationError when nothing is left to undo, and UndoConflict when later runs changed the same values,
    unless those are to be left alone.
    """
    from enrollsync import undo

    with step(PLAN, workspace, database_url) as run:
        place, manifest, district_id = run.place, run.manifest, run.settings.district_id
        target = _written_run(run.store, district_id, manifest.undoes or "")
        version = run.store.export(district_id, place.state)
        run.store.export_changes(district_id, target["state_after"], place.state)
        _written_run(run.store, district_id, target["run_id"])  # its values may have gone since it was looked at
        made = undo.plan_undo(place, district_id, target, version, keep_later=manifest.keep_later)
        known = {"plan_id": made.plan_id, "counts": made.counts, "state_version": version}
        known["state_run"] = run.store.led_to(district_id, version)
        run.note(**known, outcome="held", answer=None, approved_by=None)
        run.note(notices=made.notices, findings=Counter(notice.code for notice in made.notices))
    return _result(run)


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


def retain(
    district: str, *, run_id: str, now: datetime, dry_run: bool, database_url: str | None = None
) -> dict[str, Any]:  # fmt: skip
    """Take away what is older than the district keeps it, or only look; counts of it, and a `message` where some stays.

    `run_id`: of the run that says so, should anything of the audit go. Raises DatabaseError.
    """
    from enrollsync import retain as retaining
    from enrollsync.database import open_store

    settings = load_district(district)
    store = open_store(database_url_of(settings, database_url))
    old = retaining.look(settings, store, now)
    for line in old.lines:
        log.info("district %s: %s %s", settings.district_id, "would remove" if dry_run else "removes", line)
    left = None if dry_run else retaining.clean(settings, store, old, run_id=run_id, now=now)
    return {**retaining.told(settings, old, left), "lines": old.lines}
