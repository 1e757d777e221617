"""The task at which a held plan waits for a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException, TaskAwaitingInput
from croniter import croniter

from enrollsync.airflow import runs, signals
from enrollsync.airflow.links import LINKS, links_of
from enrollsync.airflow.notify import RosterNotifier
from enrollsync.plan import answers
from enrollsync.run.workspace import Answer, RunManifest
from enrollsync.settings import District

BEFORE_NEXT_RUN = timedelta(minutes=15)
"""A plan that nobody answered is given up this long before the district's next run, which would have to wait."""
BY_HAND = timedelta(days=3)
"""How long a plan waits in a district that runs by hand only."""
_SHORTEST = timedelta(minutes=1)
MOST_REASONS = 6
"""Holds of one kind that the text tells one by one."""
COMMENT = "comment"
"""What a person who answers may fill in."""
CHOICES: dict[Answer, str] = {
    "approve": ApprovalOperator.APPROVE,
    "without_removals": "Approve without removals",
    "use_proposal": "Use the proposed identifier changes",
    "reject": ApprovalOperator.REJECT,
}
"""Answer -> what the button says, and whoever answers over REST."""


class ApprovePlan(ApprovalOperator):
    """Lets a plan through that may go ahead by itself, and asks a person about one that is held.

    `planned` is what `steps.plan` or `steps.plan_undo` returned. Returns `workspace`, `plan_id`, `answer` and
    `approved_by` (both None where nobody was asked). Rejected, or not answered in time: the next task is skipped.

    Where the roster moves while a person looks, the plan is refused and a new run of the same DAG asks again: within a
    run, Airflow shows the first text that a task asked with, whatever it asks later.
    """

    operator_extra_links = LINKS
    template_fields = (*ApprovalOperator.template_fields, "planned")

    def __init__(self, *, planned: Any, district: District, **kwargs: Any) -> None:
        super().__init__(
            subject=f"{district.name}: apply this plan?",
            defaults=self.REJECT,
            params={COMMENT: _comment()},
            **kwargs,
        )
        self.planned = planned
        self.district_id = district.district_id
        self.schedule = district.schedule
        self.timezone = district.timezone

    def execute(self, context: Context) -> Any:
        """Return at once, or park until somebody answers."""
        with runs.files_of(self.planned["artifacts"]):
            return self._ask(context)

    def _ask(self, context: Context) -> Any:
        made = runs.current_plan(self.planned["artifacts"])
        if context["params"].get("dry_run") and made["outcome"] != "in_sync":
            raise AirflowSkipException("A dry run: the plan is made, nothing is written.")
        made = runs.with_proposal_taken_before(made)
        runs.skip_when_in_sync(made)
        if made["outcome"] == "planned":
            return self._approved(made["artifacts"])
        now = datetime.now(UTC)
        runs.set_deadline(made["artifacts"], now + time_to_answer(self.schedule, self.timezone, now), now + _SHORTEST)
        runs.draft_report(made["artifacts"])
        manifest = runs.manifest_of(made["artifacts"])
        self.body = body(manifest, links_of(context["ti"]), ZoneInfo(self.timezone))
        self.options = [CHOICES[answer] for answer in answers.possible(manifest)]
        self.notifiers = [RosterNotifier("hold", made["artifacts"])]
        signals.plan_waits(manifest, self.district_id, waits=True)
        if self.shown(context["ti"].id) != self.body:
            self._ask_in_a_new_run(context)
        self.response_timeout = (manifest.answer_by or now) - now
        try:
            return super().execute(context)
        except TaskAwaitingInput as parking:
            parking.kwargs = {"plan_id": made["plan_id"]}
            raise

    def execute_complete(self, context: Context, event: dict[str, Any], plan_id: str | None = None) -> Any:
        """Note the answer; the plan goes on only if it is still the one that was shown, `plan_id`."""
        with runs.files_of(self.planned["artifacts"]):
            return self._note(context, event, plan_id)

    def _note(self, context: Context, event: dict[str, Any], plan_id: str | None) -> Any:
        workspace, person = self.planned["artifacts"], event.get("responded_by_user")
        name = (person["name"] or person["id"]) if person else None
        chosen = (event.get("chosen_options") or [self.REJECT])[0]
        if person:
            runs.note_comment(workspace, (event.get("params_input") or {}).get(COMMENT))
        self.options = list(CHOICES.values())
        if chosen == self.REJECT:
            runs.reject(workspace, name)
            return super().execute_complete(context, event)  # which skips the next task
        HITLOperator.execute_complete(self, context, event)
        if runs.manifest_of(workspace).plan_id != plan_id or runs.is_stale(workspace):
            self._ask_in_a_new_run(context)
        (answer,) = (answer for answer, choice in CHOICES.items() if choice == chosen)
        runs.note_answer(workspace, answer, name)
        if answer == "use_proposal":
            made = runs.skip_when_in_sync(runs.use_proposal(workspace, name))
            if made["outcome"] == "held":
                self._ask_in_a_new_run(context, proposal_of=context["dag_run"].run_id)
        return self._approved(workspace)

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

    def _ask_in_a_new_run(self, context: Context, **conf: str) -> NoReturn:
        run = context["dag_run"]
        again = f"again__{datetime.now(UTC):%Y%m%dT%H%M%S}"
        why = "the identifier changes are taken, and something else holds the plan" if conf else "the plan changed"
        runs.give_up(self.planned["artifacts"], f"{why}; run {again} asks again")
        raise DagRunTriggerException(
            trigger_dag_id=run.dag_id, dag_run_id=again, conf={**(run.conf or {}), **conf}, reset_dag_run=False,
            skip_when_already_exists=True, wait_for_completion=False, allowed_states=[], failed_states=[],
            poke_interval=0, deferrable=False,
        )  # fmt: skip

    def _approved(self, workspace: str) -> dict[str, Any]:
        manifest = runs.manifest_of(workspace)
        told = {"plan_id": manifest.plan_id, "answer": manifest.answer, "approved_by": manifest.approved_by}
        return {"workspace": workspace, **told}


def _comment() -> Param:
    said = "Kept with the run. No names of students."
    return Param(None, type=["null", "string"], maxLength=500, title="Comment", description=said, source="task")


def body(manifest: RunManifest, links: dict[str, str], zone: ZoneInfo) -> str:
    """What the person reads, as Markdown: reasons with their limits, what was asked, counts, links; no names.

    It is dense, so that it and the buttons below it fit into a window of 1280 pixels.
    """
    from enrollsync.report.wording import asked

    reasons = [f"- **{code}** {said}" for code, said in _reasons(manifest).items()]
    if manifest.undoes:
        reasons.append(f"- It takes back what run `{manifest.undoes}` changed.")
    if manifest.taken_by:
        reasons.append(f"- The proposed identifier changes are taken, as {manifest.taken_by} answered before.")
    reasons += [f"- {title}: {said}" for title, said in asked(manifest)]
    until = (
        f"{manifest.answer_by.astimezone(zone):%a %Y-%m-%d %H:%M} ({zone})" if manifest.answer_by else "the next run"
    )
    named = " · ".join(f"[{name}]({url})" for name, url in links.items())
    means = " · ".join(f"**{CHOICES[answer]}** {_MEANS[answer]}" for answer in answers.possible(manifest))
    plan = f"Answer until **{until}**. Plan `{manifest.plan_id}`."
    return "\n\n".join([plan, "\n".join(reasons), f"{_changes(manifest)} {named}", means])


def _reasons(manifest: RunManifest) -> dict[str, str]:
    """Code -> what its holds say; a district with many schools may have one for each of them."""
    said: dict[str, list[str]] = {}
    for hold in manifest.holds:
        said.setdefault(hold.code, []).append(hold.message)
    more = {code: len(messages) - MOST_REASONS for code, messages in said.items()}
    return {
        code: " · ".join(messages[:MOST_REASONS]) + (f" · {more[code]:,} more in the report" if more[code] > 0 else "")
        for code, messages in said.items()
    }


def _changes(manifest: RunManifest) -> str:
    from enrollsync.report.wording import headings

    titles = headings(manifest.outcome, undoes=bool(manifest.undoes))
    told = {
        entity: ", ".join(f"{row[key]:,} {title.lower()}" for key, title in titles.items() if _is_told(key, row))
        for entity, row in manifest.counts.items()
    }
    return "; ".join(f"**{entity}** {changes}" for entity, changes in told.items() if changes) + "."


def _is_told(key: str, row: dict[str, int]) -> bool:
    return row[key] > 0 and key not in {"unchanged", "collapsed"}


_MEANS: dict[Answer, str] = {
    "approve": "applies exactly this plan.",
    "without_removals": "applies it and deactivates nothing; the next run holds that again.",
    "use_proposal": "takes the run's id_changes.csv as if it had been delivered, and plans again.",
    "reject": "or no answer writes nothing.",
}


def time_to_answer(schedule: str | None, timezone: str, now: datetime) -> timedelta:
    """How long a plan may wait so that the district's next run can start on time."""
    if schedule is None:
        return BY_HAND
    following: datetime = croniter(schedule, now.astimezone(ZoneInfo(timezone))).get_next(datetime)
    return max(following - now - BEFORE_NEXT_RUN, _SHORTEST)
