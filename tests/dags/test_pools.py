"""A district's pool is there when its first run starts, whoever put the district's file where it lies."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def session(airflow_database: None) -> Iterator[Session]:
    """Of Airflow's database; nothing that a test writes stays."""
    from airflow.settings import Session

    opened = Session()
    yield opened
    opened.rollback()
    opened.close()


def start(session: Session, dag_id: str) -> None:
    """Let a run start, as the scheduler does: listeners are told, and what they do belongs to its transaction."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType

    roster = runpy.run_path(str(PROJECT / "plugins" / "roster.py"))["RosterPlugin"]
    run = DagRun(dag_id=dag_id, run_id="first", run_type=DagRunType.MANUAL)
    session.add(run)
    for listener in roster.listeners:
        if told := getattr(listener, "on_dag_run_running", None):
            told(run, "started")
    session.expunge(run)
    session.flush()


def pool(session: Session, name: str) -> Any:
    from airflow.models.pool import Pool

    return Pool.get_pool(name, session=session)


@pytest.mark.parametrize("kind", ["sync", "undo"])
def test_first_run_of_a_district_makes_its_pool_of_one_slot(session: Session, kind: str) -> None:
    start(session, f"enrollment_{kind}__oak-park_2")
    made = pool(session, "roster_oak-park_2")
    assert (made.slots, made.include_deferred) == (1, False)


def test_both_dags_of_a_new_district_may_start_at_once(session: Session) -> None:
    start(session, "enrollment_sync__lincoln")
    start(session, "enrollment_undo__lincoln")
    assert pool(session, "roster_lincoln").slots == 1


def test_pool_that_somebody_changed_stays_as_it_is(session: Session) -> None:
    from airflow.models.pool import Pool

    Pool.create_or_update_pool("roster_lincoln", 0, "paused by hand", False, session=session)
    session.flush()
    start(session, "enrollment_sync__lincoln")
    assert pool(session, "roster_lincoln").slots == 0


def test_run_of_a_dag_that_is_none_of_ours_makes_no_pool(session: Session) -> None:
    from airflow.models.pool import Pool

    before = len(Pool.get_pools(session=session))
    start(session, "sales_sync__lincoln")
    assert len(Pool.get_pools(session=session)) == before


def test_make_pools_makes_the_pool_that_the_districts_tasks_wait_for(districts: Callable[..., Path]) -> None:
    from airflow.dag_processing.dagbag import DagBag

    districts("lincoln")
    districts("oakland")
    pools = runpy.run_path(str(PROJECT / "scripts" / "pools.py"))["pools"]()
    assert {name: pool["slots"] for name, pool in pools.items()} == {"roster_lincoln": 1, "roster_oakland": 1}
    assert {task.pool for dag in DagBag(PROJECT / "dags").dags.values() for task in dag.tasks} == {
        *pools,
        "default_pool",
    }
