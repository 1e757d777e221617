"""The tasks' side of the maintenance: whose turn it is, and whether it only looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import get_current_context

from enrollsync.airflow.districts import read_districts
from enrollsync.airflow.runs import database_url
from enrollsync.settings import load_district


def districts_with_ages() -> list[str]:
    """Names of the usable district files that say how long something is kept."""
    districts, _ = read_districts()
    return [file for file, settings in districts.items() if settings.retention.model_dump(exclude_none=True)]


def only_looks() -> bool:
    """A run by hand only looks unless its form says otherwise; nobody fills in that of a scheduled one."""
    context = get_current_context()
    return context["dag_run"].run_type == "manual" and context["params"]["dry_run"] is not False


def clean(district: str) -> dict[str, Any]:
    """Take away what is old enough in a district, or count it."""
    from enrollsync import steps

    now, run = datetime.now(UTC), get_current_context()["dag_run"]
    url = database_url(load_district(district))
    return steps.retain(
        district, run_id=f"retention__{now:%Y%m%dT%H%M%S}", now=now, dry_run=only_looks(), database_url=url
    ) | {"dag_run": run.run_id}
