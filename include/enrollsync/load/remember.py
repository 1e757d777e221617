"""What the database is to remember of a run, whether it wrote or not."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrollsync.run.run import Run
from enrollsync.words.errors import EnrollSyncError

if TYPE_CHECKING:
    from enrollsync.database import RunRecord
    from enrollsync.run.workspace import RunManifest

log = logging.getLogger(__name__)


def record_of(run: Run, **done: Any) -> RunRecord:
    """What the database is to remember of the run, as it stands now but for what is `done` to it."""
    from enrollsync.database import RunRecord

    manifest = run.manifest.model_copy(update=done)
    return RunRecord(
        run_id=manifest.run_id,
        district_id=run.settings.district_id,
        batch_hash=manifest.batch_hash,
        outcome=manifest.outcome or "failed",
        plan_id=manifest.plan_id,
        started_at=manifest.as_of,
        ended_at=datetime.now(UTC),
        approved_by=manifest.approved_by,
        answer=manifest.answer,
        comment=manifest.comment,
        delivered_at=manifest.delivered_at,
        # What is remembered of a source is what its deliveries said.
        source=None if manifest.by_hand else run.source,
        mode=None if manifest.undoes or manifest.by_hand else manifest.mode,
        counts=manifest.counts,
        findings=manifest.findings,
        message=_message(manifest),
        fingerprint=manifest.fingerprint,
        checked_at=manifest.checked_at,
        state_version=manifest.state_version,
        state_run=manifest.state_run,
        found_in_schools=manifest.found_in_schools,
    )


def _message(manifest: RunManifest) -> str | None:
    from enrollsync.database import settled
    from enrollsync.database.merges import message_of
    from enrollsync.database.schema import EDITED, UNDO_OF

    if manifest.undoes:
        return f"{UNDO_OF}{manifest.undoes}"
    if manifest.merge and not manifest.error:
        return message_of(manifest.merge.gone, manifest.merge.kept)
    if manifest.settle and not manifest.error:
        return settled.message_of(manifest.settle.run_id, manifest.settle.file, manifest.settle.line)
    return manifest.error or (EDITED if manifest.edit else None)


def record_run(run: Run) -> None:
    """A run that wrote nothing is a run all the same; that it cannot be remembered must not hide why it ended."""
    try:
        run.store.migrate()
        run.store.record_run(record_of(run), findings_to_keep(run))
    except EnrollSyncError as error:
        log.warning("run %s could not be remembered: %s", run.manifest.run_id, error)


def findings_to_keep(run: Run) -> Path | None:
    """The findings of a run that came to a plan; a short cut, which found nothing itself, imports nothing."""
    if run.manifest.outcome in {"refused", "failed"} or not run.place.findings.is_file():
        return None
    from enrollsync.load.kept_findings import write_findings_to_keep

    return write_findings_to_keep(run.place)
