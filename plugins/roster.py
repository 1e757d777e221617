"""Adds to Airflow the files of a run, behind the permission to read its DAG, notes on runs, and districts' pools.

Every task loads its plugins: what only the API server needs is imported with the first request.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from enrollsync.airflow import broken_files, links, notes, pools


async def files(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI app that serves them."""
    from enrollsync.airflow.files import app

    await app(scope, receive, send)


class RosterPlugin(AirflowPlugin):
    """Loaded by the API server (files) and the scheduler (notes, pools)."""

    name = "roster"
    fastapi_apps = [{"app": files, "url_prefix": links.PREFIX, "name": "Roster files"}]
    operator_extra_links = list(links.LINKS)
    listeners = [notes, pools, broken_files]
