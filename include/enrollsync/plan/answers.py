"""What a person may answer to a plan that waits, how it is told to the command, and what an answer leaves open.

Cheap to import; who answers, and where, is the business of `cli.py` and `airflow/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from enrollsync.run.workspace import OPERATIONS, Answer, Notice, RunManifest
from enrollsync.words.codes import GUARD_FORGOTTEN

if TYPE_CHECKING:
    from enrollsync.plan.plan import Plan

REKEYED = "GUARD-REKEYED"


def possible(manifest: RunManifest) -> tuple[Answer, ...]:
    """The answers that fit a run's plan which waits, in the order in which they are offered; no is always one."""
    changes = [(name, row[name]) for row in manifest.counts.values() for name in OPERATIONS]
    total = sum(number for _, number in changes)
    removals = sum(number for name, number in changes if name == "deactivate")
    fitting: dict[Answer, bool] = {
        "approve": total > 0 or only_asks(manifest.holds),
        "without_removals": removals > 0 and not (manifest.undoes or manifest.release),
        "use_proposal": proposes(manifest),
        "reject": True,
    }
    return tuple(answer for answer, fits in fitting.items() if fits)


def proposes(manifest: RunManifest) -> bool:
    """Whether the plan waits because many records seem to have new identifiers, and a file proposes which."""
    return any(hold.code == REKEYED for hold in manifest.holds)


def only_asks(holds: Sequence[Notice]) -> bool:
    """Whether the plan waits for nothing but a person who knows of it, whatever it writes."""
    return bool(holds) and all(hold.code == GUARD_FORGOTTEN for hold in holds)


def how(manifest: RunManifest) -> str:
    """What a person may do about a plan that waits, for the end of a sentence: the options of `enrollsync sync`."""
    told = [f"`{OPTIONS[answer]}` {MEANS[answer]}" for answer in possible(manifest) if answer in OPTIONS]
    return "; ".join(told) or "correct the delivery, or look at the limits"


OPTIONS: dict[Answer, str] = {
    "approve": "--approve",
    "without_removals": "--approve --adds-only",
    "use_proposal": "--use-proposal",
}
"""Answer -> how `enrollsync sync` is told; a no is not to run it."""
MEANS: dict[Answer, str] = {
    "approve": "applies it",
    "without_removals": "applies it less its deactivations",
    "use_proposal": "takes the proposed id_changes.csv as delivered",
}


def answered(answer: str | None, person: str | None) -> str:
    """Who said what, as a part of a sentence; who decided without being asked let recycled rows through."""
    if not person:
        return "-"
    return f"{_ANSWERED.get(answer or 'approve')} by {person}"


_ANSWERED = {
    "approve": "approved",
    "without_removals": "approved without removals",
    "use_proposal": "proposed identifier changes used",
    "reject": "rejected",
}


def done(manifest: RunManifest, shown: Plan, made: Plan, answer: Answer | None) -> dict[str, Any]:
    """What a run is to know of itself once `made` of the plan `shown` is applied.

    Where something of that plan is left, no short cut may settle the next night.
    """
    changed = "undone" if manifest.undoes else "applied"
    known: dict[str, Any] = {
        "outcome": changed if made.operations else "in_sync",
        "plan_id": made.plan_id,
        "answer": answer,
        "counts": made.counts,
    }
    if left := _left_open(manifest, shown, made, answer):
        known |= {"error": left, "fingerprint": f"{manifest.fingerprint} some of it was left open"}
    return known


def _left_open(manifest: RunManifest, shown: Plan, made: Plan, answer: Answer | None) -> str | None:
    removals = sum(numbers["deactivate"] for numbers in shown.counts.values())
    if answer == "without_removals" and removals:
        left = "was applied" if made.operations else "leaves nothing to write"
        return f"plan {shown.plan_id} without its {removals:,} deactivations {left}; the next run holds them again"
    if made.holds and proposes(manifest):
        return (
            "the records that seem to have other identifiers still wait, and the next run holds them again; take the "
            "proposed id_changes.csv with `--use-proposal`, or deliver one"
        )
    return None
