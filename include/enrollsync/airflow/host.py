"""Airflow as the portal's host: its login and rights, its DAGs, and its own human-approval interface.

What the portal changes goes through Airflow's public REST API, within this process and with the visitor's own
credentials: whoever may not do it there may not do it here, and both places agree.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, bearer_scheme
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.configuration import conf
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials
from sqlalchemy import select

from enrollsync.airflow.approval import CHOICES, COMMENT
from enrollsync.airflow.districts import district_of
from enrollsync.airflow.links import run_page
from enrollsync.airflow.runs import database_url
from enrollsync.portal.host import NotDone, Right, Schedule, Visitor, Waiting
from enrollsync.settings import District

AROUND = "enrollsync.airflow"
"""Key of a request's scope: the application that this one is mounted in."""
_ASKED: dict[Right, dict[str, Any]] = {
    "look": {"method": "GET"},
    "answer": {"method": "PUT", "access_entity": DagAccessEntity.HITL_DETAIL},
    "edit": {"method": "POST", "access_entity": DagAccessEntity.RUN},
}
_Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)]
_APPROVE = "approve"
"""The task at which a plan waits."""
_SECONDS = 30


class AirflowHost:
    """See `portal.host.Host`."""

    @staticmethod
    def identify(request: Request, user: GetUserDep, bearer: _Bearer) -> Visitor:
        """Whoever Airflow says it is; Airflow raises HTTPException 401 for nobody.

        Whether they came by a header or by a cookie is read as Airflow reads it: an empty header counts for nothing.
        """
        session = bearer.credentials if bearer else request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")
        return Visitor(str(user.get_name()), user, session, is_program=bearer is not None)

    def allowed(self, visitor: Visitor, district_ids: Collection[str], right: Right) -> set[str]:
        """By the rights on the districts' DAGs, the same that Airflow asks for where it shows or does these things."""
        dags = {_dag_id(district_id): district_id for district_id in district_ids}
        teams = DagModel.get_dag_id_to_team_name_mapping(list(dags))
        asked = _ASKED[right]
        return {
            district_id
            for dag_id, district_id in dags.items()
            if get_auth_manager().is_authorized_dag(
                **asked, details=DagDetails(id=dag_id, team_name=teams.get(dag_id)), user=visitor.account
            )
        }

    def schedules(self, district_ids: Collection[str]) -> dict[str, Schedule]:
        """As the scheduler has them."""
        query = select(DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after)
        with create_session() as session:
            rows = session.execute(query.where(DagModel.dag_id.in_(map(_dag_id, district_ids)))).all()
        return {
            str(district_of(dag_id)): Schedule(bool(paused), None if paused else following)
            for dag_id, paused, following in rows
        }

    def waiting(self, district_ids: Collection[str]) -> list[Waiting]:
        """Tasks that are parked for a person who has not answered."""
        query = (
            select(TaskInstance.dag_id, TaskInstance.run_id)
            .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
            .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
            .where(TaskInstance.dag_id.in_(_dag_ids(district_ids)), HITLDetail.responded_at.is_(None))
            .where(TaskInstance.state == "awaiting_input", DagRun.state == DagRunState.RUNNING)
            .order_by(DagRun.run_after)
        )
        return self._listed(query)

    def running(self, district_id: str) -> list[Waiting]:
        """DAG runs that are not over."""
        states = (DagRunState.QUEUED, DagRunState.RUNNING)
        query = (
            select(DagRun.dag_id, DagRun.run_id)
            .where(DagRun.dag_id.in_(_dag_ids([district_id])), DagRun.state.in_(states))
            .order_by(DagRun.run_after)
        )
        return self._listed(query)

    def _listed(self, query: Any) -> list[Waiting]:
        with create_session() as session:
            return [
                Waiting(str(district_of(dag_id)), run_id, _kind(dag_id)) for dag_id, run_id in session.execute(query)
            ]

    def database_url(self, district: District) -> str:
        """With the password of the Airflow connection that the district names."""
        return database_url(district) or str(district.database.url)

    def address(self) -> str:
        """As the API server is told that browsers find it."""
        return str(conf.get("api", "base_url", fallback=""))

    def secret(self) -> bytes:
        """The API server's own, which all its processes share."""
        return str(conf.get("api", "secret_key")).encode()

    def run_address(self, district_id: str, run_id: str) -> str:
        """The run's page in Airflow."""
        return run_page(_dag_id(district_id), run_id)

    async def answer(self, request: Request, waiting: Waiting, answer: str, comment: str) -> None:
        """As Airflow's page of required actions does it."""
        path = f"dags/{_dag_id(waiting.district_id, waiting.kind)}/dagRuns/{_quoted(waiting.run_id)}"
        said = {"chosen_options": [CHOICES[answer]], "params_input": {COMMENT: comment or None}}  # type: ignore[index]
        await _ask(request, "PATCH", f"{path}/taskInstances/{_APPROVE}/-1/hitlDetails", said)

    async def start(self, request: Request, district_id: str, kind: str, wishes: dict[str, Any]) -> str:
        """As Airflow's *Trigger* does it."""
        made = await _ask(
            request, "POST", f"dags/{_dag_id(district_id, kind)}/dagRuns", {"logical_date": None, "conf": wishes}
        )
        return str(made["dag_run_id"])


def _dag_id(district_id: str, kind: str = "sync") -> str:
    return f"enrollment_{kind}__{district_id}"


def _dag_ids(district_ids: Collection[str]) -> list[str]:
    return [_dag_id(district_id, kind) for district_id in district_ids for kind in ("sync", "undo")]


def _kind(dag_id: str) -> str:
    return dag_id.partition("__")[0].removeprefix("enrollment_")


def _quoted(run_id: str) -> str:
    return quote(run_id, safe="")


async def _ask(request: Request, method: str, path: str, body: dict[str, Any]) -> Any:
    """Airflow's answer to the visitor; raises NotDone with its own words where it says no."""
    credentials = {name: request.headers[name] for name in ("authorization", "cookie") if name in request.headers}
    inside = httpx.ASGITransport(app=request.scope[AROUND])
    async with httpx.AsyncClient(transport=inside, base_url="http://airflow", timeout=_SECONDS) as client:
        answer = await client.request(method, f"/api/v2/{path}", json=body, headers=credentials)
    if answer.is_success:
        return answer.json()
    raise NotDone(_words(answer))


def _words(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.reason_phrase
    return f"Airflow did not do it: {detail}"
