"""What there is to review of a run, gathered for a page: its plan, its findings, its files."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Query

from enrollsync.portal.findings_view import PAGE as FINDINGS_PAGE
from enrollsync.portal.findings_view import Sought, view_findings
from enrollsync.portal.pages import Page
from enrollsync.portal.plan_view import PAGE, PlanView, Wanted, has_plan, view_plan
from enrollsync.portal.run_view import Known, choices, downloads, reasons, told, usual
from enrollsync.settings import District


class Look:
    """Which changes and which findings a person wants to see."""

    def __init__(
        self, entity: str = "", operation: str = "", field: str = "", school: int | None = None,
        q: Annotated[str, Query(max_length=200)] = "", page: Page = 1, code: str = "", severity: str = "",
        file: str = "", line: int | None = None, found: Page = 1,
    ) -> None:  # fmt: skip
        self.wanted = Wanted(entity, operation, field, school, q, page)
        self.sought = Sought(code, severity, file, line, found)


Looking = Annotated[Look, Depends()]


def review(known: Known, look: Look) -> dict[str, Any]:
    """The facts of `review.html.j2` and of what stands around it: the run, its answers and its files."""
    view = view_plan(known.run.place, look.wanted) if known.run and has_plan(known.run.place) else PlanView()
    number, findings = view_findings(known.run, look.sought) if known.run else (0, [])
    return {
        "run": told(known),
        "reasons": reasons(known.manifest),
        "plan": view,
        "pages": _pages(view.found, PAGE),
        "wanted": look.wanted,
        "usual": usual(known),
        "choices": choices(known, view),
        "findings": findings,
        "findings_found": number,
        "findings_pages": _pages(number, FINDINGS_PAGE),
        "sought": look.sought,
        "files": [file.name for file in known.manifest.files] if known.manifest else [],
        "downloads": downloads(known),
        "files_at": _files_at(known.here.district, known),
        "kept": known.run is not None,
    }


def _pages(number: int, size: int) -> int:
    return max(1, -(-number // size))


def _files_at(district: District, known: Known) -> str:
    """Where the run's files are served, below the portal's own path."""
    undoes = known.manifest is not None and known.manifest.undoes
    return f"enrollment_{'undo' if undoes else 'sync'}__{district.district_id}/{quote(known.run_id, safe='')}"
