"""Notes on DAG runs and their tasks: the outcome, why, and counts, where the list of runs shows them.

A listener of the scheduler's, because tasks may not touch Airflow's database; it reads what the task `report` returned.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.utils.state import TaskInstanceState
from sqlalchemy import inspect

from enrollsync.airflow.districts import district_of

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_ENDED = (TaskInstanceState.SUCCESS, TaskInstanceState.FAILED)
MOST_CHARACTERS = 1000
"""A longer note breaks the scheduler's transaction, and so every district's."""


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """Note what came of the run."""
    _note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Note how far the run came."""
    _note(dag_run)


def _note(dag_run: DagRun) -> None:
    session: Session | None = inspect(dag_run).session
    if session is None or district_of(dag_run.dag_id) is None:
        return
    for task in dag_run.get_task_instances(session=session, state=_ENDED):
        result = task.xcom_pull(task_ids=task.task_id, session=session)
        if isinstance(result, dict) and "counts" in result:
            task.note = text_of(result)
            if task.task_id == "report":
                dag_run.note = text_of(result)


def text_of(result: dict[str, Any]) -> str:
    """A result (see `report.summary`) as a note: the verdict and its reason first, because lists show little more."""
    from enrollsync.report.wording import changes

    holds = [f"{hold['code']}: {hold['message']}" for hold in result.get("holds") or []]
    reason, *others = [line for line in (result.get("message"), *holds) if line] or [None]
    verdict = f"**{result['outcome'] or 'not finished'}**"
    findings = ", ".join(f"{code} {count:,}" for code, count in (result.get("findings") or {}).items())
    amounts = " · ".join(part for part in (changes(result["outcome"], result["counts"]), findings) if part)
    first = [f"{verdict}: {reason}", amounts.strip("-")] if reason else [f"{verdict} · {amounts}"]
    text = "\n\n".join(line for line in (*first, *others) if line)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 30]} … (see the report)"
