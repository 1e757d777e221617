"""Serves runs' files to those who may read the DAG; a part of the portal, below `links.PREFIX`.

Only the files named here, only of runs that have a workspace, and no link in there is followed; a page may load nothing
from elsewhere.
"""

from __future__ import annotations

import tempfile
import zipfile
from itertools import accumulate
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException
from fastapi.responses import FileResponse

from enrollsync.airflow.access import require_path
from enrollsync.airflow.districts import district_of, districts_of
from enrollsync.report.facts import LINKS
from enrollsync.run.object_store import brought
from enrollsync.run.workspace import Workspace
from enrollsync.settings import District, run_folder

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-downloads",
}
_PLAIN = {"report.html", *(link.href for link in LINKS)}


def folder_of(dag_id: str, run_id: str) -> Path:
    """The folder of a run; 404 where the DAG is none of ours, or the run has left nothing."""
    folder = run_folder(_district_of(dag_id), run_id)
    if not brought(folder, ()).is_dir():
        raise HTTPException(404, "this run's files are gone; `enrollsync explain` and `enrollsync runs` know the rest")
    return folder


def _district_of(dag_id: str) -> District:
    wanted = district_of(dag_id)
    for found in districts_of(dag_id).values():
        if found.district_id == wanted:
            return found
    raise HTTPException(404, "no district has this DAG")


OfRun = Annotated[Path, Depends(folder_of)]

of_run = APIRouter(
    prefix="/{dag_id}/{run_id}", dependencies=[Depends(require_path), Depends(requires_access_dag("GET"))]
)


@of_run.get("/quarantine.zip")
def quarantine(folder: OfRun, afterwards: BackgroundTasks) -> FileResponse:
    """The rejected lines, one CSV for each source file, zipped."""
    place = Workspace(brought(folder, ["quarantine"]))
    files = [_kept(folder, "quarantine", file.name) for file in sorted(place.quarantine.glob("*.csv"))]
    if not files:
        raise HTTPException(404, "nothing was rejected in this run")
    made = _temporary(".zip", afterwards)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
    return FileResponse(made, filename="quarantine.zip", headers=_HEADERS)


@of_run.get("/plan.csv")
def plan(folder: OfRun, afterwards: BackgroundTasks) -> FileResponse:
    """Every operation of the plan: what, on which record, why, from which line."""
    from enrollsync.report.operations import write_csv

    place = Workspace(brought(folder, ["plan", "state"]))
    if not (place.plan / "plan.json").is_file():
        raise HTTPException(404, "this run did not come to a plan")
    for file in place.plan.iterdir():
        _kept(folder, "plan", file.name)
    made = _temporary(".csv", afterwards)
    write_csv(place, made)
    return FileResponse(made, filename="plan.csv", headers=_HEADERS)


@of_run.get("/quarantine/{name}")
def quarantined(folder: OfRun, name: str) -> FileResponse:
    """The rejected lines of one source file."""
    return FileResponse(_kept(folder, "quarantine", name), headers=_HEADERS)


@of_run.get("/data_docs/{path:path}")
def data_docs(folder: OfRun, path: str) -> FileResponse:
    """A page of Great Expectations' site; it holds no values."""
    return FileResponse(_kept(folder, "data_docs", *path.split("/")), headers=_HEADERS)


@of_run.get("/{name}")
def file(folder: OfRun, name: str) -> FileResponse:
    """The report and the files that it links."""
    if name not in _PLAIN:
        raise HTTPException(404, "no such file")
    return FileResponse(_kept(folder, name), headers=_HEADERS)


def _kept(folder: Path, *names: str) -> Path:
    """The file of a run that is reached by these names; 404 where there is none, or where a link lies on the way."""
    way = list(accumulate(names, Path.joinpath, initial=brought(folder, names[:1])))
    named = all(name not in {"", ".", ".."} and "/" not in name for name in names)
    if not named or any(step.is_symlink() for step in way) or not way[-1].is_file():
        raise HTTPException(404, "no such file in this run")
    return way[-1]


def _temporary(suffix: str, afterwards: BackgroundTasks) -> Path:
    """A new file that only this process can read, gone when it has been sent."""
    with tempfile.NamedTemporaryFile(suffix=suffix, delete=False) as handle:
        made = Path(handle.name)
    afterwards.add_task(made.unlink)
    return made
