"""Where a run's files and pages are found in the browser; `files.py` serves them."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

PREFIX = "/roster"
"""Where the API server mounts the files."""
FILES = {"Report": "report.html", "Quarantine": "quarantine.zip", "Plan": "plan.csv"}
"""What a link is called -> the file behind it."""


class OfRun(Protocol):
    """A task instance, or its key."""

    dag_id: str
    run_id: str


def file_url(run: OfRun, file: str) -> str:
    """The address of one file of a run."""
    return f"{_base()}{_inside(run.dag_id, run.run_id, file)}"


def dags_url() -> str:
    """The address of the list of DAGs, on top of which Airflow shows what it could not import."""
    return f"{_base()}/dags"


def file_path(dag_id: str, run_id: str, file: str) -> str:
    """The same without the host."""
    return f"{_root()}{_inside(dag_id, run_id, file)}"


def _inside(*parts: str) -> str:
    return "/".join((PREFIX, *(quote(part, safe="") for part in parts)))


def run_url(run: OfRun) -> str:
    """The address of the run's own page in Airflow."""
    return f"{_base()}{_page_of(run.dag_id, run.run_id)}"


def run_page(dag_id: str, run_id: str) -> str:
    """The same without the host."""
    return f"{_root()}{_page_of(dag_id, run_id)}"


def _page_of(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def portal_path() -> str:
    """The path of the portal's first page."""
    return f"{_root()}{PREFIX}/"


def runs_path(district_id: str) -> str:
    """The path of the page with the district's last runs."""
    return f"{_root()}{_inside('districts', district_id, 'runs')}"


def login_path(following: str) -> str:
    """The path at which Airflow lets a person log in, and then leads to the path `following`, if that is its own.

    A proxy may have taken from `following` what stands before every path.
    """
    following = following if following.startswith(f"{_root()}/") else _root() + following
    return f"{_root()}/api/v2/auth/login?{urlencode({'next': following})}"


def _root() -> str:
    """What stands before every path where Airflow shares a host with others; mostly nothing."""
    return urlsplit(_base()).path


def _base() -> str:
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


def review_url(run: OfRun) -> str:
    """The address of the run's page in the portal."""
    district_id = run.dag_id.partition("__")[2]
    return f"{_base()}{_inside('districts', district_id, 'runs', run.run_id)}"


def links_of(run: OfRun) -> dict[str, str]:
    """Name -> address of the run's page in the portal, and of every file that it has for a person."""
    return {"Review": review_url(run), **{name: file_url(run, file) for name, file in FILES.items()}}


class _FileLink(BaseOperatorLink):
    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return file_url(ti_key, FILES[self.name])


class ReportLink(_FileLink):
    """What the run did, as a page."""

    name = "Report"


class QuarantineLink(_FileLink):
    """The rejected lines, whole."""

    name = "Quarantine"


class PlanLink(_FileLink):
    """Every operation of the plan."""

    name = "Plan"


class ReviewLink(BaseOperatorLink):
    """The run in the portal: what changes by field and school, and what a person may decide."""

    name = "Review"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Its address."""
        return review_url(ti_key)


LINKS = (ReviewLink(), ReportLink(), QuarantineLink(), PlanLink())


def show_on(task: Any) -> Any:
    """Let a task's page have buttons for the run's files; returns the task."""
    task.operator.operator_extra_links = LINKS
    return task
