"""What Airflow and the steps tell each other: settings to DAGs, a run's context to steps, errors to task states.

The only module of the package that imports Airflow. What a run does belongs into `steps.py`, which tasks there are
into `dags/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import BaseHook, CronTriggerTimetable, get_current_context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from enrollsync.errors import ConfigurationError, DatabaseError, EnrollSyncError
from enrollsync.settings import District, districts_folder, load_district

SOURCE_HELP = "A folder or zip to read instead of the district's own; relative paths start at the project's root."
DRY_RUN_HELP = "Make the plan and the report, but write nothing."


def read_districts() -> tuple[dict[str, District], list[str]]:
    """File name without `.yaml` -> settings for every usable district file, and one line about each of the others.

    Of files that claim one `district_id`, the one of that name (else the first by name) is usable.
    """
    read: dict[Path, District] = {}
    problems: list[str] = []
    for path in sorted(districts_folder().glob("*.yaml")):
        try:
            read[path] = _read(path)
        except ConfigurationError as error:
            problems.append(str(error))
    owners: dict[str, Path] = {}
    for path, district in sorted(read.items(), key=lambda item: (item[0].stem != item[1].district_id, item[0])):
        owner = owners.setdefault(district.district_id, path)
        if owner != path:
            taken = f"{district.district_id!r} is already used by {owner.name}; choose another"
            problems.append(f"{path}: `district_id`: {taken}")
    return {path.stem: read[path] for path in owners.values()}, problems


def _read(path: Path) -> District:
    district = load_district(str(path))
    try:
        if planned := timetable(district):
            planned.validate()
    except AirflowException as error:
        remedy = 'write a cron expression like "0 2 * * *", or null'
        raise ConfigurationError(f"{path}: `schedule`: {error}; {remedy}") from None
    return district


def timetable(district: District) -> CronTriggerTimetable | None:
    """When the district's runs start by themselves, in its own time zone; None: only by hand."""
    if district.schedule is None:
        return None
    return CronTriggerTimetable(district.schedule, timezone=district.timezone)


def describe(district: District) -> str:
    """The district's settings as Markdown, for the DAG's page; a password in a URL is hidden."""
    settings = yaml.safe_dump(district.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
    without_password = re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", settings)
    return f"### {district.name}\n```yaml\n{without_password}```"


@contextmanager
def final_failures() -> Iterator[None]:
    """Fail the task at once, with the error's one line, when trying again cannot help."""
    try:
        yield
    except DatabaseError:
        raise
    except EnrollSyncError as error:
        raise AirflowFailException(str(error)) from None


def start(district: str) -> str:
    """Make the workspace of the current DAG run and return its path."""
    from enrollsync import steps

    context = get_current_context()
    run, params = context["dag_run"], context["params"]
    return steps.start(
        district,
        run_id=run.run_id,
        as_of=run.start_date or run.run_after,
        source=params["source"] or None,
        dry_run=params["dry_run"],
    )


def database_of(workspace: str) -> str | None:
    """What `database_url` gives for the district of a run; asked in every task, because it may hold a password."""
    from enrollsync.workspace import Workspace

    return database_url(load_district(Workspace(Path(workspace)).read().district))


def database_url(district: District) -> str | None:
    """The URL behind `database.connection`, with its password; None where the district file names the URL itself.

    Raises ConfigurationError when Airflow has no such connection.
    """
    if district.database.connection is None:
        return None
    try:
        connection = BaseHook.get_connection(district.database.connection)
    except AirflowNotFoundException as error:
        remedy = f"set AIRFLOW_CONN_{district.database.connection.upper()}, or add it under Admin > Connections"
        raise ConfigurationError(f"district {district.district_id}: `database.connection`: {error}; {remedy}") from None
    if connection.conn_type == "sqlite":  # Airflow would escape the path's slashes
        return f"sqlite:///{connection.schema or connection.host}"
    return re.sub(r"^postgres:", "postgresql:", connection.get_uri())


def skip_when_in_sync(ingested: dict[str, Any]) -> dict[str, Any]:
    """End the current task, and so those that follow, as skipped when the delivery is known and nothing has moved."""
    if ingested["outcome"] == "in_sync":
        raise AirflowSkipException("In sync: the same delivery left nothing to do, and nothing was written since.")
    return ingested


def skip_without_work(plan: dict[str, Any]) -> None:
    """End the current task as skipped, saying why, when `plan` (as `steps.plan` returned it) is not to be applied."""
    if plan["outcome"] == "held":
        holds = "; ".join(f"{hold['code']}: {hold['message']}" for hold in plan["holds"])
        raise AirflowSkipException(f"The plan is held, nothing is written: {holds}")
    if plan["outcome"] == "in_sync":
        raise AirflowSkipException("In sync: there is nothing to write.")
    if get_current_context()["params"]["dry_run"]:
        raise AirflowSkipException("A dry run: the plan is made, nothing is written.")


def report(district: str) -> dict[str, Any]:
    """Write the report of the current DAG run, whatever happened to it, and fail where the run as a whole failed."""
    from enrollsync import steps

    run = get_current_context()["dag_run"]
    workspace = steps.workspace_for(district, run.run_id)
    if not Path(workspace).is_dir():
        raise AirflowFailException("The run ended before it had a workspace; the log of `ingest` says why.")
    result = steps.report(workspace, database_url=database_of(workspace))
    if result["outcome"] in ("refused", "failed") or _any_task_failed(run.dag_id, run.run_id):
        raise AirflowFailException(result["message"] or "An earlier task failed; its log says why.")
    return result


def _any_task_failed(dag_id: str, run_id: str) -> bool:
    """Whether an earlier task of the run failed: one that was killed could not write its outcome down."""
    states = get_current_context()["ti"].get_task_states(dag_id, run_ids=[run_id])
    return not {"failed", "upstream_failed"}.isdisjoint(states.get(run_id, {}).values())
