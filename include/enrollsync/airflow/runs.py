"""The tasks' side of a run: what was asked in the form, the database's address, and how a task ends.

Each function runs inside a task; what takes long to import is imported there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from airflow.sdk import BaseHook, get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException

from enrollsync.airflow import signals
from enrollsync.run.object_store import at_hand
from enrollsync.run.step import LOAD, PLAN, REPORT, Step
from enrollsync.run.workspace import Answer, RunManifest, Workspace
from enrollsync.settings import District, load_district
from enrollsync.settings.connections import Connection
from enrollsync.words.errors import ConfigurationError
from enrollsync.words.printable import printable

log = logging.getLogger(__name__)
_BY_ITSELF = ("scheduled", "asset_triggered")
"""Runs that nobody asked for, and that rest in a pause."""


@contextmanager
def files_of(workspace: str, *steps: Step) -> Iterator[str]:
    """The files of a run, wherever the steps before this one ran, as far as these `steps` read and write them.

    Without steps: all of them. See `run/object_store.py`.
    """
    with at_hand(Path(workspace), {name for one in steps for name in (*one.reads, *one.writes)} if steps else None):
        yield workspace


def workspace_of_this(district: str) -> str:
    """The path of the workspace of the current DAG run. Raises ConfigurationError where the district has no file."""
    from enrollsync import steps

    return steps.workspace_for(district, get_current_context()["dag_run"].run_id)


def start(district: str) -> str:
    """Make the workspace of the current DAG run, with what was asked in its form, and return its path.

    Raises ConfigurationError when the form contradicts itself, which the run's report says too, and ends the task as
    skipped when it is a scheduled run in one of the district's pauses.
    """
    from enrollsync import steps

    context = get_current_context()
    params = context["params"]
    limits = {name: params[name] for name in ("deactivate_percent", "update_percent") if params[name] is not None}
    asked: dict[str, Any] = {name: bool(params[name]) for name in ("dry_run", "adds_only", "release", "lets_go")}
    source = params["source"] or None
    workspace = steps.start(
        district, **_run(), **asked, source=source, picked=source is not None, overrides=limits,
        override_reason=params["reason"] if limits else None,
        proposal_of=(context["dag_run"].conf or {}).get("proposal_of"),
    )  # fmt: skip
    if problem := _contradiction(limits, params):
        steps.fail(workspace, problem)
        raise ConfigurationError(problem)
    if context["dag_run"].run_type in _BY_ITSELF and (reason := steps.pause(workspace)):
        raise AirflowSkipException(reason)
    return workspace


def _contradiction(limits: Mapping[str, float], params: Mapping[str, Any]) -> str | None:
    """What is wrong with the form as a whole; its fields are checked one by one before a run starts."""
    if limits and not (params["reason"] or "").strip():
        return f"the form changes {', '.join(limits)} and leaves `Why` empty; trigger the run again and say why"
    if params["adds_only"] and params["release"]:
        return (
            "`Add and update only` and `Release recycled identifiers` exclude each other: a release deactivates the "
            "person who had the identifier; trigger the run again with one of them"
        )
    if params["adds_only"] and params["lets_go"]:
        return (
            "`Add and update only` and `Let go whom the former source left` exclude each other; trigger the run again "
            "with one of them"
        )
    return None


def start_undo(district: str) -> str:
    """Make the workspace of the current DAG run, which takes back the run picked in its form, and return its path."""
    from enrollsync import steps

    params = get_current_context()["params"]
    database = database_url(load_district(district))
    return steps.start_undo(
        district, params["run"].strip(), **_run(), keep_later=bool(params["keep_later"]), database_url=database
    )


def _run() -> dict[str, Any]:
    run = get_current_context()["dag_run"]
    return {"run_id": run.run_id, "as_of": run.start_date or run.run_after}


def forced() -> bool:
    """Whether the form asks for a full check."""
    return bool(get_current_context()["params"]["force"])


def manifest_of(workspace: str) -> RunManifest:
    """What the run knows of itself."""
    return Workspace(Path(workspace)).read()


def database_of(workspace: str) -> str | None:
    """What `database_url` gives for the district of a run; asked in every task, because it may hold a password."""
    return database_url(Workspace(Path(workspace)).read_settings())


def database_url(district: District) -> str | None:
    """The URL behind `database.connection`, with its password; None where the district file names the URL itself.

    Raises ConfigurationError when Airflow has no such connection.
    """
    if district.database.connection is None:
        return None
    try:
        connection = BaseHook.get_connection(district.database.connection)
    except AirflowNotFoundException as error:
        remedy = (
            f"set AIRFLOW_CONN_{district.database.connection.upper()} to a URI or JSON, or add it under "
            "Admin > Connections"
        )
        raise ConfigurationError(f"district {district.district_id}: `database.connection`: {error}; {remedy}") from None
    if connection.conn_type == "sqlite":  # Airflow would escape the path's slashes
        return f"sqlite:///{connection.schema or connection.host}"
    return re.sub(r"^postgres:", "postgresql:", connection.get_uri())


_FIELDS = ("conn_type", "host", "schema", "login", "password", "port")


def connection_of(workspace: str) -> Connection | None:
    """What Airflow knows of `source.connection` of a run's district, secrets included; kept nowhere.

    None where the delivery lies in a folder of this machine. Raises ConfigurationError when Airflow has no such
    connection.
    """
    place = Workspace(Path(workspace))
    asked, name = place.read(), place.read_settings().source.connection
    if name is None or asked.source or asked.by_hand:
        return None
    return source_connection(name)


def source_connection(name: str) -> Connection:
    """A connection of Airflow's. Raises ConfigurationError when there is no such one."""
    try:
        found = BaseHook.get_connection(name)
    except AirflowNotFoundException as error:
        remedy = f"set AIRFLOW_CONN_{name.upper()} to a URI or JSON, or add it under Admin > Connections"
        raise ConfigurationError(f"`source.connection`: {error}; {remedy}") from None
    return connection_from(name, found)


def connection_from(name: str, found: Any) -> Connection:
    """One of Airflow's, as the package reads it."""
    return Connection(name, {part: getattr(found, part) for part in _FIELDS} | {"extra": found.extra_dejson})


def skip_when_in_sync(result: dict[str, Any]) -> dict[str, Any]:
    """End the current task, and so those that follow, as skipped when there is nothing to do; else return `result`."""
    if result["outcome"] == "in_sync":
        raise AirflowSkipException(result.get("message") or "In sync: the roster says what the delivery says.")
    return result


def current_plan(workspace: str) -> dict[str, Any]:
    """The run's result with its plan; made again where the roster moved, or the plan was answered before."""
    from enrollsync import steps

    database = database_of(workspace)
    known = manifest_of(workspace).outcome in ("planned", "held", "in_sync")
    if known and not steps.is_stale(workspace, database_url=database):
        return steps.result(workspace)
    return steps.plan_again(workspace, database_url=database)


def is_stale(workspace: str) -> bool:
    """Whether the roster has moved since the run's plan was made."""
    from enrollsync import steps

    return steps.is_stale(workspace, database_url=database_of(workspace))


def with_proposal_taken_before(made: dict[str, Any]) -> dict[str, Any]:
    """The plan made again with its proposed identifier changes, where the run before this one had that answer."""
    from enrollsync import steps

    workspace = made["artifacts"]
    person = steps.taken_before(workspace) if made["outcome"] == "held" else None
    return made if person is None else use_proposal(workspace, person)


def use_proposal(workspace: str, person: str | None) -> dict[str, Any]:
    """Take the proposed identifier changes as delivered and plan again."""
    from enrollsync import steps

    return steps.use_proposal(workspace, person=person, database_url=database_of(workspace))


def note_answer(workspace: str, answer: Answer, person: str | None) -> None:
    """Keep what a person said to the plan that waits."""
    Workspace(Path(workspace)).update(answer=answer, approved_by=person)


def note_comment(workspace: str, comment: str | None) -> None:
    """Keep why a person answered so, if they said."""
    if comment and comment.strip():
        Workspace(Path(workspace)).update(comment=printable(comment.strip()))


def set_deadline(workspace: str, until: datetime, earliest: datetime) -> None:
    """Until when the plan may be answered; asked once more, it stays what it was unless that is before `earliest`."""
    known = manifest_of(workspace).answer_by
    if known is None or known < earliest:
        Workspace(Path(workspace)).update(answer_by=until)


def draft_report(workspace: str) -> None:
    """Write the report as far as the run has come, for a person who has to decide."""
    from enrollsync import steps

    steps.draft_report(workspace)


def reject(workspace: str, person: str | None) -> None:
    """Note that the plan will not be applied; `person` is None when nobody answered in time."""
    from enrollsync import steps

    if person is None:
        return give_up(workspace, "nobody answered in time, so nothing was written")
    steps.reject(workspace, rejected_by=person, reason=f"rejected by {person}")
    return None


def give_up(workspace: str, reason: str) -> None:
    """Note that the plan will not be applied although nobody said no."""
    from enrollsync import steps

    steps.reject(workspace, rejected_by=None, reason=reason)


def load(approved: Mapping[str, Any] | None) -> dict[str, Any]:
    """Apply the plan that `approve` let through, exactly that one where a person did; returns counts, and says so.

    Ends as skipped when none was let through, or the database moved meanwhile and the plan that is right now has to
    wait or is empty.
    """
    if approved is None:
        raise AirflowSkipException("No plan was let through; the note on the run, or its report, says why.")
    # A plan that nobody approved is made anew where somebody else wrote meanwhile.
    with files_of(approved["workspace"], PLAN, LOAD):
        return signals.roster_changed(_load(approved))


def _load(approved: Mapping[str, Any]) -> dict[str, Any]:
    from enrollsync import steps

    workspace, person = approved["workspace"], approved["approved_by"]
    only = approved["plan_id"] if person else None
    result = steps.load(
        workspace, approved_by=person, answer=approved["answer"], only_plan=only, database_url=database_of(workspace)
    )
    if result["outcome"] == "held":
        give_up(workspace, "the roster moved meanwhile and the new plan is held; clear `approve` to be asked")
        raise AirflowSkipException("The roster moved meanwhile and the new plan is held; clear `approve` to be asked.")
    return skip_when_in_sync(result)


def report(district: str) -> dict[str, Any]:
    """Write the report of the current DAG run, whatever happened to it, tell everybody, and return its result.

    Raises AirflowFailException where the run as a whole failed.
    """
    try:
        workspace = workspace_of_this(district)
    except ConfigurationError as error:
        _fail_with({"outcome": "failed", "counts": {}, "message": str(error)})
    with files_of(workspace, REPORT):
        return _report(workspace)


def _report(workspace: str) -> dict[str, Any]:
    from enrollsync import steps

    if not (Path(workspace) / "run.json").is_file():
        said = "the run ended before it had a folder; the log of its first task says why"
        _fail_with({"outcome": "failed", "counts": {}, "message": said})
    failed = any_task_failed()
    if failed:
        steps.fail(workspace, "a task failed or was killed; its log says why")
    result = steps.report(workspace, database_url=_database_if_known(workspace))
    signals.run_ended(workspace, failed=failed)
    if failed or result["outcome"] in ("refused", "failed"):
        _fail_with(result)
    return result


def _fail_with(result: dict[str, Any]) -> NoReturn:
    """End the current task as failed, with what the note on the run is to say."""
    get_current_context()["ti"].xcom_push("return_value", result)
    raise AirflowFailException(result["message"] or "An earlier task failed; its log says why.")


def _database_if_known(workspace: str) -> str | None:
    """None where Airflow lacks the connection: the run has failed because of that, and has to be reported."""
    try:
        return database_of(workspace)
    except ConfigurationError as error:
        log.warning("%s", error)
        return None


def any_task_failed() -> bool:
    """Whether an earlier task of the run failed: one that was killed could not write its outcome down."""
    run = get_current_context()["dag_run"]
    states = get_current_context()["ti"].get_task_states(run.dag_id, run_ids=[run.run_id])
    return not {"failed", "upstream_failed"}.isdisjoint(states.get(run.run_id, {}).values())
