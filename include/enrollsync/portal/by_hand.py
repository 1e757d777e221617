"""What a person changes of single records: shown before it is done, then done as a run of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import HTTPException

from enrollsync import steps
from enrollsync.portal.entry import DistrictVisit
from enrollsync.portal.findings_view import Found, Sought, view_findings
from enrollsync.portal.plan_view import Change, Wanted, view_changes
from enrollsync.portal.texts import say
from enrollsync.run.object_store import keep_if_possible
from enrollsync.run.run import Run
from enrollsync.run.workspace import Workspace
from enrollsync.settings import run_folder, runs_folder
from enrollsync.words.errors import StalePlan
from enrollsync.words.masking import masked

Begin = partial[str]
"""`steps.start_edit` and its like with the district's file and what is asked, and `reason` by name."""
_LOOKED = "looked_at"
"""A file that marks the workspace of a run that only looked, until it is done."""
_KEPT = timedelta(hours=1)
"""How long what was looked at may be done without looking again."""
_RUN_ID = re.compile(r"[a-z]+__[0-9T:-]+__[0-9a-f]{8}")
Step = Callable[..., dict[str, Any]]
"""`steps.edit` and its like."""


@dataclass(frozen=True)
class Looked:
    """What would become of it."""

    run_id: str
    """Of the run that looked."""
    plan: str | None
    possible: bool
    operations: int
    changes: list[Change]
    """The first of them."""
    findings: list[Found]
    """What the rules say; without those of other lines, where only one is looked at."""

    @property
    def facts(self) -> dict[str, Any]:
        """The same for a page."""
        return {
            "looked": self.run_id,
            "plan": self.plan,
            "possible": self.possible,
            "nothing": not self.operations and not self.findings,
            "operations": self.operations,
            "done": self.changes,
            "findings": self.findings,
        }


def why_asked(text: str) -> str:
    """A person's reason as it is kept: one line, in which nothing could be a social security number."""
    return masked(" ".join(text.split()))


def called(record: dict[str, Any]) -> str:
    """The name of a record, or of what a row says of one; empty where it has none."""
    parts = [record.get(part) for part in ("given_name", "middle_name", "family_name")]
    return " ".join(part for part in parts if part) or record.get("name") or ""


def look(here: DistrictVisit, begin: Begin, step: Step, *, line: int | None = None) -> Looked:
    """Plan it; the workspace is left for whoever does it then, and for an hour at most."""
    _forget_old(here)
    workspace = _begin(begin, step, dry_run=True)
    try:
        result = step(workspace, person=here.visitor.name, database_url=here.host.database_url(here.district))
        run = Run.open(workspace)
        _, findings = view_findings(run, Sought(line=line)) if run.place.findings.is_file() else (0, [])
        said_once = {(one.code, one.message): one for one in findings}  # of the line, and of that in id_changes.csv
        found, changes = view_changes(run.place, Wanted())
    except BaseException:
        shutil.rmtree(workspace, ignore_errors=True)
        raise
    possible = result["outcome"] == "planned"
    if possible:
        (Path(workspace) / _LOOKED).touch()
    else:
        shutil.rmtree(workspace, ignore_errors=True)
    return Looked(run.manifest.run_id, result["plan_id"], possible, found, changes, [*said_once.values()])


def do(here: DistrictVisit, begin: Begin, step: Step, plan: str, looked: str) -> None:
    """Apply the plan that was shown. Raises HTTPException 409 where it is not that any more, or cannot be stored."""
    url, kept = here.host.database_url(here.district), _looked_at(here, begin, looked)
    workspace = kept or _begin(begin, step, dry_run=False)
    apply = steps.do_what_was_looked_at if kept else step
    try:
        result = apply(workspace, person=here.visitor.name, only_plan=plan, database_url=url)
    except StalePlan:
        shutil.rmtree(workspace, ignore_errors=True)
        raise HTTPException(409, say("The roster has moved on since you looked; load the page again.")) from None
    if result["outcome"] != "applied":
        shutil.rmtree(workspace, ignore_errors=True)
        raise HTTPException(409, say("It cannot be stored as it is; nothing was changed."))
    steps.report(workspace, database_url=url)
    if keep_if_possible(Path(workspace)):
        shutil.rmtree(workspace, ignore_errors=True)


def _looked_at(here: DistrictVisit, begin: Begin, run_id: str) -> str | None:
    """The workspace of the run that looked at just this; None where it is not there any more, or looked at another."""
    place = (
        Workspace(run_folder(here.district, run_id)) if re.fullmatch(r"\w+__[0-9T:-]+__[0-9a-f]{8}", run_id) else None
    )
    if place is None or not (place.root / _LOOKED).is_file():
        return None
    known, (_, asked) = place.read(), begin.args
    if asked not in (known.edit, known.settle, known.merge) or known.comment != begin.keywords["reason"]:
        return None
    try:
        (place.root / _LOOKED).unlink()  # of two who do it at once, one has it
    except FileNotFoundError:
        return None
    return str(place.root)


def _forget_old(here: DistrictVisit) -> None:
    """Delete what was looked at and not done: it holds records."""
    before = (datetime.now(UTC) - _KEPT).timestamp()
    for mark in runs_folder(here.district).glob(f"*/{_LOOKED}"):
        if mark.stat().st_mtime < before:
            shutil.rmtree(mark.parent, ignore_errors=True)


def _begin(begin: Begin, step: Step, *, dry_run: bool) -> str:
    now = datetime.now(UTC)
    return begin(run_id=f"{step.__name__}__{now:%Y-%m-%dT%H:%M:%S}__{uuid4().hex[:8]}", as_of=now, dry_run=dry_run)
