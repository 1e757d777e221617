"""The forms that Airflow shows before a DAG is triggered by hand; `runs.py` reads what was filled in.

What changes from night to night stands on a page of the portal, the list of runs: in a form it would make a new version
of the DAG each time.
"""

from __future__ import annotations

from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict

from enrollsync.airflow.links import runs_path
from enrollsync.settings import District

_READ, _WRITE, _LIMITS = "What to read", "What to write", "Limits of this run"
_SWITCH = ["null", "boolean"]
"""Airflow marks a switch as one that must be filled in unless it may be empty; empty is off."""


def sync_form(district: District) -> ParamsDict:
    """The form of `enrollment_sync__<district_id>`; filled in by nobody, it asks for an ordinary night."""
    fields = {
        "source": Param(
            None, type=["null", "string"], title="Delivery", section=_READ,
            description_md="Empty: the newest one. Else an earlier folder or zip in the district's landing folder, "
            f"from [the list of them]({runs_path(district.district_id)}#deliveries). One that is older than the "
            "delivery applied last waits for approval.",
        ),
        "force": Param(
            False, type=_SWITCH, title="Full check", section=_READ,
            description="Compare row by row even if neither the delivery nor the roster seems to have changed.",
        ),
        "dry_run": Param(
            False, type=_SWITCH, title="Dry run", section=_WRITE,
            description="Make the plan and the report, and write nothing.",
        ),
        "adds_only": Param(
            False, type=_SWITCH, title="Add and update only", section=_WRITE,
            description="Deactivate nothing, not even what the delivery removes; the next ordinary run will.",
        ),
        "release": Param(
            False, type=_SWITCH, title="Release recycled identifiers", section=_WRITE,
            description="Give identifiers that another person had before to the new person (PLAN-RECYCLED); let in "
            "who was forgotten (PLAN-FORGOTTEN).",
        ),
        "lets_go": Param(
            False, type=_SWITCH, title="Let go whom the former source left", section=_WRITE,
            description="Deactivate students, classes and schools that a former primary source brought and this one "
            "has no row for (GUARD-SWITCH).",
        ),
        "deactivate_percent": _percent("Deactivated at most (%)", district.thresholds.deactivate_percent),
        "update_percent": _percent("Updated at most (%)", district.thresholds.update_percent),
        "reason": Param(
            None, type=["null", "string"], title="Why", section=_LIMITS, maxLength=500,
            description="Needed when a limit is changed, and kept with the run. No names of students.",
        ),
    }  # fmt: skip
    return ParamsDict(fields)


def undo_form(district: District) -> ParamsDict:
    """The form of `enrollment_undo__<district_id>`; the runs stand on a page of the portal."""
    fields = {
        "run": Param(
            type="string", minLength=1, title="Run to take back",
            description_md=f"The run's id, from [the list of the last runs]({runs_path(district.district_id)}), which "
            "has their times, outcomes and changes. A plan comes first, and nothing is written before somebody "
            "approves it.",
        ),
        "keep_later": Param(
            False, type=_SWITCH, title="Keep later changes",
            description="Leave alone what later runs changed. Without this, such a conflict ends the run.",
        ),
    }  # fmt: skip
    return ParamsDict(fields)


def _percent(title: str, usual: float) -> Param:
    return Param(
        None, type=["null", "number"], minimum=0, maximum=100, title=title, section=_LIMITS,
        description=f"Empty: the district's own limits (in general {usual:g}). Counts for all records and schools.",
    )  # fmt: skip
