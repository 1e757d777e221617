"""enrollment_maintenance: once a week, what is older than a district keeps it goes; who names no age keeps all.

One task a district, each on its own. By hand it only looks, unless *Dry run* is switched off.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, task

from enrollsync.airflow import upkeep


@task
def list_districts() -> list[str]:
    """The districts whose files name an age."""
    return upkeep.districts_with_ages()


@task(map_index_template="{{ district }}", retries=2)
def clean(district: str) -> dict[str, Any]:
    """Take away what is old enough, or count it; returns counts."""
    return upkeep.clean(district)


with DAG(
    "enrollment_maintenance",
    dag_display_name="Maintenance: what is old goes",
    description="Takes away runs' folders, quarantines, uploads and audit values that are old enough",
    schedule=CronTriggerTimetable("30 12 * * 6", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=2,
    tags=["enrollsync"],
    params={
        "dry_run": Param(
            True,
            type=["null", "boolean"],
            title="Dry run",
            description="Only count what would go. A scheduled run always removes.",
        )
    },
):
    clean.expand(district=list_districts())
