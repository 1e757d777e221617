"""enrollment_sync__<district_id>: a district's delivery becomes its roster, every night or by hand.

One DAG for each file in include/districts; one that cannot be used is shown as an import error by `district_files.py`.
Tasks hand on the path of the run's workspace and counts, never rows.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_parsing_context, task

from enrollsync import airflow


@task
def ingest(district: str) -> dict[str, Any]:
    """Read the newest complete delivery, or the source named by hand."""
    from enrollsync import steps

    with airflow.final_failures():
        workspace = airflow.start(district)
        return airflow.skip_when_in_sync(steps.ingest(workspace, database_url=airflow.database_of(workspace)))


@task
def validate(ingested: dict[str, Any]) -> dict[str, Any]:
    """Check every row; what may load is accepted, the rest is quarantined."""
    from enrollsync import steps

    with airflow.final_failures():
        return steps.validate(ingested["workspace"])


@task
def plan(validated: dict[str, Any]) -> dict[str, Any]:
    """Compare with the roster as it is now; a dangerous plan is held."""
    from enrollsync import steps

    with airflow.final_failures():
        return steps.plan(validated["workspace"], database_url=airflow.database_of(validated["workspace"]))


@task
def load(planned: dict[str, Any]) -> dict[str, Any]:
    """Apply the plan in one transaction; skipped when it is held, empty or a dry run."""
    from enrollsync import steps

    airflow.skip_without_work(planned)
    with airflow.final_failures():
        return steps.load(planned["workspace"], database_url=airflow.database_of(planned["workspace"]))


@task(trigger_rule="all_done")
def report(district: str) -> dict[str, Any]:
    """Say what happened; fails when the run did."""
    with airflow.final_failures():
        return airflow.report(district)


for name, settings in airflow.read_districts()[0].items():
    dag_id = f"enrollment_sync__{settings.district_id}"
    if get_parsing_context().dag_id in (None, dag_id):  # a task needs its own DAG only
        with DAG(
            dag_id,
            description=settings.name,
            doc_md=airflow.describe(settings),
            tags=["enrollsync", settings.primary_source],
            schedule=airflow.timetable(settings),
            catchup=False,
            max_active_runs=1,
            default_args={"owner": "enrollsync", "retries": 2, "retry_delay": timedelta(minutes=5)},
            params={
                "source": Param(None, type=["null", "string"], title="Source path", description=airflow.SOURCE_HELP),
                "dry_run": Param(False, type="boolean", title="Dry run", description=airflow.DRY_RUN_HELP),
            },
        ):
            load(plan(validate(ingest(name)))) >> report(name)
