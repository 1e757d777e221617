"""enrollment_sync__<district_id>: a district's delivery becomes its roster, every night or by hand.

One DAG for each file in include/districts; one that cannot be used is shown as an import error by `district_files.py`.
Tasks hand on the path of the run's workspace and counts, never rows. A plan that is held parks at `approve`.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, get_parsing_context, task

from enrollsync.airflow import districts, form, links, runs
from enrollsync.airflow.approval import ApprovePlan
from enrollsync.run import step


@task
def ingest(district: str) -> dict[str, Any]:
    """Read the newest complete delivery, or the one picked in the form."""
    from enrollsync import steps

    with runs.files_of(runs.workspace_of_this(district), step.INGEST):
        workspace = runs.start(district)
        url, behind = runs.database_of(workspace), runs.connection_of(workspace)
        return runs.skip_when_in_sync(steps.ingest(workspace, database_url=url, connection=behind, force=runs.forced()))


@task
def validate(ingested: dict[str, Any]) -> dict[str, Any]:
    """Check every row; what may load is accepted, the rest is quarantined."""
    from enrollsync import steps

    with runs.files_of(ingested["workspace"], step.VALIDATE) as workspace:
        return steps.validate(workspace)


@task
def plan(validated: dict[str, Any]) -> dict[str, Any]:
    """Compare with the roster as it is now; a dangerous plan is held."""
    from enrollsync import steps

    with runs.files_of(validated["workspace"], step.PLAN) as workspace:
        return steps.plan(workspace, database_url=runs.database_of(workspace))


@task
def load(approved: dict[str, Any]) -> dict[str, Any]:
    """Apply the plan in one transaction; skipped when it was rejected, is empty, or for a dry run."""
    return runs.load(approved)


@task(trigger_rule="all_done")
def report(district: str) -> dict[str, Any]:
    """Say what happened, and tell those who asked to be told; fails when the run did."""
    return runs.report(district)


for name, settings in districts.districts_of(get_parsing_context().dag_id).items():
    dag_id = f"enrollment_sync__{settings.district_id}"
    if get_parsing_context().dag_id in (None, dag_id):  # a task needs its own DAG only
        with DAG(
            dag_id,
            dag_display_name=settings.name,
            description="Makes the roster say what the district delivers",
            schedule=districts.schedule_of(name, settings),
            **districts.shared_by_dags(settings),
        ) as dag:
            approved = ApprovePlan(task_id="approve", planned=plan(validate(ingest(name))), district=settings)
            loaded = load.override(outlets=[districts.asset_of(settings.district_id)])(approved.output)
            loaded >> links.show_on(report(name))
        dag.params = form.sync_form(settings)  # last: each task made after it would copy it four times
