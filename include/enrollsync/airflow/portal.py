"""The portal as Airflow's API server mounts it, with the files of runs below the same path."""

from __future__ import annotations

from typing import Any

from enrollsync.airflow.access import log_in_first
from enrollsync.airflow.files import of_run
from enrollsync.airflow.host import AROUND, AirflowHost
from enrollsync.portal.app import build

app = build(AirflowHost(), (of_run,), log_in_first)


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI app; the one that it is mounted in answers what the portal asks Airflow."""
    await app({**scope, AROUND: scope.get("app")}, receive, send)
