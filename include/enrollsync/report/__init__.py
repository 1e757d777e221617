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
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest

__all__ = ["summary", "write"]


def write(run: Run) -> None:
    """Write `findings.csv`, `report.json` and `report.html` into the workspace's root, whatever the run came to."""
    root = run.place.root
    if _nothing_to_gather(run):
        _replace(root / ALL_FINDINGS.href, _NO_FINDINGS)
        facts = Facts(run.manifest, run.settings, links=(ALL_FINDINGS,))
    else:
        facts = _gather(run)
    _replace(root / "report.json", json.dumps(_as_json(facts, run.manifest, root), indent=1))
    _replace(root / "report.html", render(facts))


_NO_FINDINGS = "severity,code,file,line,column,message,remedy,rule\n"


def _nothing_to_gather(run: Run) -> bool:
    """Whether the run ended before it read a file: there is no need to bring in DuckDB, a second, to find nothing."""
    tables = (run.place.findings, run.place.malformed, run.place.organizations_summary)
    return not (run.manifest.notices or run.manifest.holds or any(table.is_file() for table in tables))


def _gather(run: Run) -> Facts:
    from enrollsync.report.gather import gather
    from enrollsync.validate import quarantine

    quarantine.write_findings(run)
    return gather(run)


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


def _as_json(facts: Facts, manifest: RunManifest, artifacts: Path) -> dict[str, Any]:
    return {
        **summary(manifest, artifacts),
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
