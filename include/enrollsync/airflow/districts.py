"""District files as Airflow sees them: which DAGs there are, when they run, and what all of a district's DAGs share."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    Context,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    RetryAction,
    RetryDecision,
    RetryRule,
)
from airflow.sdk.exceptions import AirflowException

from enrollsync.airflow.links import runs_path
from enrollsync.settings import District, claimed_twice, districts_folder, load_district
from enrollsync.settings.address import read_address
from enrollsync.words.errors import ConfigurationError

RETRIES = 3
_AFTER_A_KILL = timedelta(seconds=10)
"""Until a task is tried again of which nobody knows why it ended; twice as long after each further time."""
_LONGEST_PAUSE = timedelta(minutes=15)
_DAGS = ("enrollment_sync__", "enrollment_undo__")
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The safe dumper in C where PyYAML was built with it."""
_RUN_TYPES = ("scheduled", "manual", "operator_triggered", "asset_triggered", "asset_materialization")
"""How a run may come about; not by a backfill: a night that is past has no delivery of its own."""


class UnusableFiles(Exception):
    """One line about each district file that cannot be used."""


def read_districts() -> tuple[dict[str, District], list[str]]:
    """File name without `.yaml` -> settings for every usable district file, and one line about each of the others."""
    read: dict[Path, District] = {}
    problems: list[str] = []
    for path in sorted(districts_folder().glob("*.yaml")):
        try:
            read[path] = _read(path)
        except ConfigurationError as error:
            problems.append(str(error))
    taken = claimed_twice({path: district.district_id for path, district in read.items()})
    problems += [f"{path}: {why}" for path, why in taken.items()]
    return {path.stem: district for path, district in read.items() if path not in taken}, problems


def district_of(dag_id: str) -> str | None:
    """The id of the district whose DAG this is; None where it is none of ours."""
    return next((dag_id.removeprefix(prefix) for prefix in _DAGS if dag_id.startswith(prefix)), None)


def districts_of(dag_id: str | None) -> dict[str, District]:
    """The usable district files, or the one alone whose DAG a task needs: a thousand take seconds to read."""
    district_id = district_of(dag_id or "")
    path = districts_folder() / f"{district_id}.yaml"
    if district_id and path.is_file():
        with suppress(ConfigurationError):
            if (district := _read(path)).district_id == district_id:
                return {district_id: district}
    return read_districts()[0]


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


def schedule_of(file: str, district: District) -> CronTriggerTimetable | AssetOrTimeSchedule | list[Asset] | None:
    """When the district's runs start: by its timetable, and where it watches for them, when a delivery is there.

    `file`: the district's file, without `.yaml`.
    """
    planned = timetable(district)
    if not district.source.watch:
        return planned
    from enrollsync.airflow.watch import DeliveryTrigger

    address = f"landing://{district.district_id}"
    watcher = AssetWatcher(name=f"deliveries of {district.district_id}", trigger=DeliveryTrigger(file))
    landing = Asset(name=address, uri=address, watchers=[watcher])
    return [landing] if planned is None else AssetOrTimeSchedule(timetable=planned, assets=[landing])


def pool_of(district_id: str) -> str:
    """The one-slot pool that every task of a district takes, so that two of its runs never work at once."""
    return f"roster_{district_id}"


def asset_of(district_id: str) -> Asset:
    """Moves when the district's roster has changed; other DAGs can be scheduled on it."""
    return Asset(name=f"roster://{district_id}", uri=f"roster://{district_id}")


def shared_by_dags(district: District) -> dict[str, Any]:
    """What the DAGs of one district have in common."""
    owner = district.owner
    return {
        "doc_md": describe(district),
        "tags": ["enrollsync", district.primary_source],
        "owner_links": {owner.name: owner.link} if owner.link else {},
        "catchup": False,
        "max_active_runs": 1,
        "allowed_run_types": _RUN_TYPES,
        "default_args": {
            "owner": owner.name,
            "pool": pool_of(district.district_id),
            "queue": district.size,
            "retries": RETRIES,
            "retry_delay": _AFTER_A_KILL,
            "retry_exponential_backoff": True,
            "retry_policy": RosterRetries(),
        },
    }


class RosterRetries(ExceptionRetryPolicy):
    """A database or API out of reach may be back later, so the pauses grow; wrong input or settings stay wrong.

    Whatever else ends a task, a killed process for one, is tried again after seconds: each step may be repeated.
    """

    def __init__(self) -> None:
        base = "enrollsync.words.errors"
        super().__init__(
            rules=[
                RetryRule(exception=f"{base}.DatabaseError", reason="the database may be back later"),
                RetryRule(exception=f"{base}.Unreachable", reason="the source may be back later"),
                RetryRule(exception=f"{base}.FilesUnreachable", reason="the object store may be back later"),
                RetryRule(
                    exception=f"{base}.EnrollSyncError", action=RetryAction.FAIL, reason="trying again cannot mend this"
                ),
            ]
        )

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Airflow's decision by the rules, with a pause where one says to try again: one minute, then four, then 15."""
        decision = super().evaluate(exception, try_number, max_tries, context)
        if decision.action != RetryAction.RETRY:
            return decision
        pause = min(timedelta(minutes=4 ** (try_number - 1)), _LONGEST_PAUSE)
        return RetryDecision.retry(pause, decision.reason)


def describe(district: District) -> str:
    """The district's settings as Markdown, for the DAG's page; no user of a database stands there, nor a secret.

    It says nothing that a run changes: Airflow would count a new version of the DAG after each.
    """
    kept = district.model_dump(mode="json", exclude_none=True)
    if district.database.url is not None:
        kept["database"]["url"] = str(read_address(district.database.url))
    settings = yaml.dump(kept, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return f"### {district.name}\n[The last runs]({runs_path(district.district_id)})\n```yaml\n{settings}```"
