"""The pool of one slot that every task of a district takes, so that two of its runs never work at once.

The scheduler makes it when the first run of a new district starts, by a listener, because Airflow never starts a task
whose pool is missing, and says nothing; `make pools` makes them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from sqlalchemy import inspect, select

from enrollsync.airflow.districts import district_of, pool_of

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session


def settings_of(district_id: str) -> dict[str, Any]:
    """What Airflow wants to be told of the pool besides its name; a plan that waits for a person keeps no slot."""
    return {"slots": 1, "description": f"One writer at a time: {district_id}", "include_deferred": False}


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """Make the pool of the run's district where it is missing, in the transaction that starts the run."""
    session: Session | None = inspect(dag_run).session
    district_id = district_of(dag_run.dag_id)
    if session is not None and district_id is not None:
        _make(district_id, session)


def _make(district_id: str, session: Session) -> None:
    from airflow.models.pool import Pool

    name = pool_of(district_id)
    if session.scalar(select(Pool.id).where(Pool.pool == name)) is None:
        session.add(Pool(pool=name, **settings_of(district_id)))
        session.flush()  # the scheduler's session does not by itself, and the district's other DAG may start as well
