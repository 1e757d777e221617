"""The run's report: `report.html` for a person, `report.json` for programs, `findings.csv` for a spreadsheet.

`gather.py` reads what a run did into `facts.py`, `wording.py` says it in sentences, `page.py` lays it out. Nothing here
decides or writes anything but these files, and no value of a student is read: operations are counted, findings carry
no values.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from enrollsync.report.facts import ALL_FINDINGS, Facts
from enrollsync.report.page import render
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District

__all__ = ["summary", "write"]


def write(workspace: Workspace, manifest: RunManifest, district: District) -> None:
    """Write `findings.csv`, `report.json` and `report.html` into the workspace's root, whatever the run came to."""
    if _nothing_to_gather(workspace, manifest):
        _replace(workspace.root / ALL_FINDINGS.href, _NO_FINDINGS)
        facts = Facts(manifest, district, links=(ALL_FINDINGS,))
    else:
        facts = _gather(workspace, manifest, district)
    _replace(workspace.root / "report.json", json.dumps(_as_json(facts, manifest, workspace), indent=1))
    _replace(workspace.root / "report.html", render(facts))


_NO_FINDINGS = "severity,code,file,line,column,message,remedy,rule\n"


def _nothing_to_gather(workspace: Workspace, manifest: RunManifest) -> bool:
    """Whether the run ended before it read a file: there is no need to bring in DuckDB, a second, to find nothing."""
    tables = (workspace.findings, workspace.malformed, workspace.organizations_summary)
    return not (manifest.notices or manifest.holds or any(table.is_file() for table in tables))


def _gather(workspace: Workspace, manifest: RunManifest, district: District) -> Facts:
    from enrollsync.report.gather import gather
    from enrollsync.validate import quarantine

    quarantine.write_findings(workspace, manifest)
    return gather(workspace, manifest, district)


def summary(manifest: RunManifest, artifacts: Path) -> dict[str, Any]:
    """What `enrollsync --json` prints of a run; `artifacts` is the run's workspace."""
    return {
        "run_id": manifest.run_id,
        "outcome": manifest.outcome,
        "plan_id": manifest.plan_id,
        "counts": manifest.told_counts,
        "findings": manifest.findings,
        "holds": [{"code": hold.code, "message": hold.message} for hold in manifest.holds],
        "artifacts": str(artifacts),
    }


def _as_json(facts: Facts, manifest: RunManifest, workspace: Workspace) -> dict[str, Any]:
    return {
        **summary(manifest, workspace.root),
        "error": manifest.error,
        "findings_grouped": [asdict(group) for group in facts.groups],
        "checks": [asdict(check) for check in facts.checks],
    }


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader sees the old or the new one."""
    half = path.with_name(path.name + ".part")
    half.touch(mode=0o600)
    half.write_text(text, encoding="utf-8")
    half.replace(path)
