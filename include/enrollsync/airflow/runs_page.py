"""A district's last runs and deliveries, as a page and as data: where a person picks one for a form of Airflow's."""

from __future__ import annotations

import json
import os
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from enrollsync.airflow.links import dag_path, file_path
from enrollsync.report.wording import OUTCOMES, UNFINISHED
from enrollsync.settings import District, project_root, run_folder, runs_folder
from enrollsync.words.printable import printable

_OFFERED = 20
"""Deliveries to choose from; older ones can still be named."""


def render(district: District, runs: list[dict[str, Any]], deliveries: list[dict[str, str]]) -> str:
    """The page; every value in it is escaped."""
    style = files("enrollsync.report").joinpath("page.css").read_text(encoding="utf-8")
    sync, undo = (dag_path(f"{dag}__{district.district_id}") for dag in ("enrollment_sync", "enrollment_undo"))
    return _template().render(
        district=district, runs=runs, deliveries=deliveries, sync=sync, undo=undo, style=Markup(style)
    )


@cache
def _template() -> Template:
    loader = PackageLoader("enrollsync", "airflow")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("runs.html.j2")


def list_runs(district: District) -> list[dict[str, Any]]:
    """The newest runs, newest first, as the last report noted them (`runs._note_runs`); none where none has reported.

    Each has `run_id`, `started` (in the district's time zone, which it names), `outcome`, `said` (the outcome in a
    word), `changes` (None where it wrote nothing) and `report` (a path; None where the run's files are gone).
    """
    try:
        noted = json.loads((runs_folder(district) / "last_runs.json").read_text())
    except (OSError, ValueError):
        return []
    return [_shown(run, district) for run in noted]


def _shown(run: dict[str, Any], district: District) -> dict[str, Any]:
    started = datetime.fromisoformat(run["started_at"]).astimezone(district.zone)
    dag_id, run_id = f"enrollment_sync__{district.district_id}", run["run_id"]
    reported = (run_folder(district, run_id) / "report.html").is_file()
    return {
        "run_id": run_id,
        "started": f"{started:%Y-%m-%d %H:%M %Z}",
        "outcome": run["outcome"],
        "said": OUTCOMES.get(run["outcome"], UNFINISHED).title,
        "changes": run["changes"] if run["wrote"] else None,
        "report": file_path(dag_id, run_id, "report.html") if reported else None,
    }


def list_deliveries(district: District) -> list[dict[str, str]]:
    """The folders and zips in the district's landing folder, newest first: `path` (as a form takes it), `arrived`."""
    landing = project_root() / district.source.path
    try:
        entries = [entry for entry in os.scandir(landing) if not entry.is_symlink() and _may_be_picked(entry)]
        newest = sorted(((entry.stat().st_mtime, entry.name) for entry in entries), reverse=True)
    except OSError:
        return []
    return [
        {
            "path": printable(str(Path(district.source.path, name))),
            "arrived": f"{datetime.fromtimestamp(arrived, district.zone):%Y-%m-%d %H:%M %Z}",
        }
        for arrived, name in newest[:_OFFERED]
    ]


def _may_be_picked(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() or entry.name.lower().endswith(".zip")
