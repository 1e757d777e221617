"""The task at which a held plan waits for a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException, TaskAwaitingInput
from croniter import croniter

from enrollsync.airflow import runs
from enrollsync.airflow.links import LINKS, links_of
from enrollsync.airflow.notify import RosterNotifier
from enrollsync.settings import District
from enrollsync.workspace import RunManifest

BEFORE_NEXT_RUN = timedelta(minutes=15)
"""A plan that nobody answered is given up this long before the district's next run, which would have to wait."""
BY_HAND = timedelta(days=3)
"""How long a plan waits in a district that runs by hand only."""
_SHORTEST = timedelta(minutes=1)


class ApprovePlan(ApprovalOperator):
    """Lets a plan through that may go ahead by itself, and asks a person about one that is held.

    `planned` is what `steps.plan` or `steps.plan_undo` returned. Returns `workspace`, `plan_id`, and `approved_by`
    (None where nobody was asked). Rejected, or not answered in time: the next task is skipped.

    Where the roster moves while a person looks, the plan is refused and a new run of the same DAG asks again: within a
    run, Airflow shows the first text that a task asked with, whatever it asks later.
    """

    operator_extra_links = LINKS
    template_fields = (*ApprovalOperator.template_fields, "planned")

    def __init__(self, *, planned: Any, district: District, **kwargs: Any) -> None:
        super().__init__(
            subject=f"{district.name}: apply this plan?",
            defaults=self.REJECT,
            **kwargs,
        )
        self.planned = planned
        self.schedule = district.schedule
        self.timezone = district.timezone

    def execute(self, context: Context) -> Any:
        """Return at once, or park until somebody answers."""
        made = runs.current_plan(self.planned["artifacts"])
        runs.skip_when_in_sync(made)
        if context["params"].get("dry_run"):
            raise AirflowSkipException("A dry run: the plan is made, nothing is written.")
        if made["outcome"] == "planned":
            return self._approved(made["artifacts"], None)
        runs.draft_report(made["artifacts"])
        self.body = body(runs.manifest_of(made["artifacts"]), links_of(context["ti"]))
        self.notifiers = [RosterNotifier("hold", made["artifacts"])]
        if self.shown(context["ti"].id) != self.body:
            self._ask_in_a_new_run(context)
        self.response_timeout = time_to_answer(self.schedule, self.timezone, datetime.now(UTC))
        try:
            return super().execute(context)
        except TaskAwaitingInput as parking:
            parking.kwargs = {"plan_id": made["plan_id"]}
            raise

    def execute_complete(self, context: Context, event: dict[str, Any], plan_id: str | None = None) -> Any:
        """Note the answer; the plan goes on only if it is still the one that was shown, `plan_id`."""
        workspace, person = self.planned["artifacts"], event.get("responded_by_user")
        name = (person["name"] or person["id"]) if person else None
        if self.APPROVE not in event.get("chosen_options", ()):
            runs.reject(workspace, name)
            return super().execute_complete(context, event)  # which skips the next task
        super().execute_complete(context, event)
        if runs.manifest_of(workspace).plan_id != plan_id or runs.is_stale(workspace):
            self._ask_in_a_new_run(context)
        return self._approved(workspace, name)

    def shown(self, task_instance: Any) -> str | None:
        """Ask, and return the text that Airflow shows for it: that of the run's first request, if this is not it."""
        from airflow.sdk.execution_time.comms import CreateHITLDetailPayload
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        request = CreateHITLDetailPayload(
            ti_id=task_instance, options=self.options, subject=self.subject, body=self.body, defaults=self.defaults,
            multiple=self.multiple, params=self.serialized_params, assigned_users=[],
        )  # fmt: skip
        kept: Any = SUPERVISOR_COMMS.send(request)
        return None if kept is None else str(kept.body)

    def _ask_in_a_new_run(self, context: Context) -> NoReturn:
        run = context["dag_run"]
        again = f"again__{datetime.now(UTC):%Y%m%dT%H%M%S}"
        runs.give_up(self.planned["artifacts"], f"the plan changed while it waited; run {again} asks again")
        raise DagRunTriggerException(
            trigger_dag_id=run.dag_id, dag_run_id=again, conf=run.conf, reset_dag_run=False,
            skip_when_already_exists=True, wait_for_completion=False, allowed_states=[], failed_states=[],
            poke_interval=0, deferrable=False,
        )  # fmt: skip

    def _approved(self, workspace: str, person: str | None) -> dict[str, Any]:
        return {"workspace": workspace, "plan_id": runs.manifest_of(workspace).plan_id, "approved_by": person}


def body(manifest: RunManifest, links: dict[str, str]) -> str:
    """What the person reads, as Markdown: reasons with their limits, counts, links; no names."""
    from enrollsync.report.wording import OPERATIONS

    reasons = [f"- **{hold.code}** {hold.message}" for hold in manifest.holds]
    if manifest.undoes:
        reasons.append(f"- It takes back what run `{manifest.undoes}` changed.")
    counts = manifest.counts
    shown = {key: title for key, title in OPERATIONS.items() if any(row[key] for row in counts.values())}
    table = [
        f"| | {' | '.join(shown.values())} |",
        f"|---|{'---:|' * len(shown)}",
        *(f"| {entity} | {' | '.join(f'{row[key]:,}' for key in shown)} |" for entity, row in counts.items()),
    ]
    named = " · ".join(f"[{name}]({url})" for name, url in links.items())
    return "\n\n".join(["\n".join(reasons), "\n".join(table), named, f"Plan `{manifest.plan_id}`. {_MEANS}"])


_MEANS = "Approve applies exactly this plan; Reject, or no answer, writes nothing."


def time_to_answer(schedule: str | None, timezone: str, now: datetime) -> timedelta:
    """How long a plan may wait so that the district's next run can start on time."""
    if schedule is None:
        return BY_HAND
    following: datetime = croniter(schedule, now.astimezone(ZoneInfo(timezone))).get_next(datetime)
    return max(following - now - BEFORE_NEXT_RUN, _SHORTEST)
