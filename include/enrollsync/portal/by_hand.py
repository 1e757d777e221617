"""What a person changes of single records: shown before it is done, then done as a run of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

from fastapi import HTTPException

from enrollsync import steps
from enrollsync.portal.entry import DistrictVisit
from enrollsync.portal.findings_view import Found, Sought, view_findings
from enrollsync.portal.plan_view import Change, Wanted, view_plan
from enrollsync.portal.texts import say
from enrollsync.run.run import Run
from enrollsync.words.errors import StalePlan


class Begin(Protocol):
    """Makes the workspace of a run that does what a person asks."""

    def __call__(self, *, run_id: str, as_of: datetime, dry_run: bool) -> str:
        """Its path."""


Step = Callable[..., dict[str, Any]]
"""`steps.edit` and its like."""


@dataclass(frozen=True)
class Looked:
    """What would become of it."""

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
            "plan": self.plan,
            "possible": self.possible,
            "nothing": not self.operations and not any(one.severity == "critical" for one in self.findings),
            "operations": self.operations,
            "done": self.changes,
            "findings": self.findings,
        }


def look(here: DistrictVisit, begin: Begin, step: Step, *, line: int | None = None) -> Looked:
    """Plan it and leave nothing behind."""
    workspace = _begin(begin, step, dry_run=True)
    try:
        result = step(workspace, person=here.visitor.name, database_url=here.host.database_url(here.district))
        run = Run.open(workspace)
        _, findings = view_findings(run, Sought(line=line)) if run.place.findings.is_file() else (0, [])
        plan = view_plan(run.place, Wanted())
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    return Looked(result["plan_id"], result["outcome"] == "planned", plan.found, plan.changes, findings)


def do(here: DistrictVisit, begin: Begin, step: Step, plan: str) -> None:
    """Apply the plan that was shown. Raises HTTPException 409 where it is not that any more, or cannot be stored."""
    workspace, url = _begin(begin, step, dry_run=False), here.host.database_url(here.district)
    try:
        result = step(workspace, person=here.visitor.name, only_plan=plan, database_url=url)
    except StalePlan:
        shutil.rmtree(workspace, ignore_errors=True)
        raise HTTPException(409, say("The roster has moved on since you looked; load the page again.")) from None
    if result["outcome"] != "applied":
        shutil.rmtree(workspace, ignore_errors=True)
        raise HTTPException(409, say("It cannot be stored as it is; nothing was changed."))
    steps.report(workspace, database_url=url)


def _begin(begin: Begin, step: Step, *, dry_run: bool) -> str:
    now = datetime.now(UTC)
    return begin(run_id=f"{step.__name__}__{now:%Y-%m-%dT%H:%M:%S}__{uuid4().hex[:8]}", as_of=now, dry_run=dry_run)
