"""Adds to Airflow the Roster portal and the files of runs, notes on runs, and districts' pools.

Every task loads its plugins: what only the API server needs is imported with the first request.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from enrollsync.airflow import access_log, broken_files, links, notes, pools, warm


async def portal(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI app that serves both."""
    from enrollsync.airflow.portal import serve

    await serve(scope, receive, send)


class RosterPlugin(AirflowPlugin):
    """Loaded by the API server (portal) and the scheduler (notes, pools, what tasks import)."""

    name = "roster"
    fastapi_apps = [{"app": portal, "url_prefix": links.PREFIX, "name": "Roster"}]
    fastapi_root_middlewares = [{"middleware": access_log.QuietQueries, "name": "Roster's queries stay out of the log"}]
    external_views = [{"name": "Roster", "href": links.portal_path(), "destination": "nav", "url_route": "roster"}]
    operator_extra_links = list(links.LINKS)
    listeners = [notes, pools, broken_files, warm]
