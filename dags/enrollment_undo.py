"""enrollment_undo__<district_id>: takes back what one run changed; by hand only, and always after an approval.

One DAG for each file in include/districts. The undo is a run like any other, and can be undone.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, get_parsing_context, task

from enrollsync.airflow import districts, form, links, runs
from enrollsync.airflow.approval import ApprovePlan
from enrollsync.run import step


@task
def plan(district: str) -> dict[str, Any]:
    """Work out what taking the run back would change; refused when later runs changed the same values."""
    from enrollsync import steps

    with runs.files_of(runs.workspace_of_this(district), step.PLAN):
        workspace = runs.start_undo(district)
        return steps.plan_undo(workspace, database_url=runs.database_of(workspace))


@task
def undo(approved: dict[str, Any]) -> dict[str, Any]:
    """Apply the plan in one transaction."""
    return runs.load(approved)


@task(trigger_rule="all_done")
def report(district: str) -> dict[str, Any]:
    """Say what happened, and tell those who asked to be told; fails when the run did."""
    return runs.report(district)


for name, settings in districts.districts_of(get_parsing_context().dag_id).items():
    dag_id = f"enrollment_undo__{settings.district_id}"
    if get_parsing_context().dag_id in (None, dag_id):  # a task needs its own DAG only
        with DAG(
            dag_id,
            dag_display_name=f"{settings.name}: take a run back",
            description="Takes back what one run changed in the roster",
            schedule=None,
            **districts.shared_by_dags(settings),
        ) as dag:
            approved = ApprovePlan(task_id="approve", planned=plan(name), district=settings)
            undone = undo.override(outlets=[districts.asset_of(settings.district_id)])(approved.output)
            undone >> links.show_on(report(name))
        dag.params = form.undo_form(settings)  # last: each task made after it would copy it four times
