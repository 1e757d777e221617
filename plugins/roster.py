"""Adds to Airflow's UI the files of a run, behind the permission to read its DAG, and notes on runs and tasks."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from enrollsync.airflow import links, notes
from enrollsync.airflow.files import app


class RosterPlugin(AirflowPlugin):
    """Loaded by the API server (files) and the scheduler (notes)."""

    name = "roster"
    fastapi_apps = [{"app": app, "url_prefix": links.PREFIX, "name": "Roster files"}]
    operator_extra_links = list(links.LINKS)
    listeners = [notes]
