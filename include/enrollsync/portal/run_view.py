"""One run as its page shows it: what it came to, why, what waits for an answer, and its files while they are kept."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from enrollsync.database.schema import FORGOT, MERGED, UNDO_OF, WHOLE
from enrollsync.plan import answers
from enrollsync.plan.answers import answered
from enrollsync.portal.entry import DistrictVisit
from enrollsync.portal.host import Waiting
from enrollsync.portal.plan_view import PlanView, consequences
from enrollsync.portal.texts import say
from enrollsync.report import wording
from enrollsync.run.object_store import for_page
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, Workspace, error_file_name
from enrollsync.settings import run_folder
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.codes import CODES
from enrollsync.words.errors import EnrollSyncError

COMPARED = 30
"""Nights beside which a plan is seen."""
_NOTHING = (0, 0, 0, 0)
_ANSWERS = {
    "approve": "Approve",
    "without_removals": "Approve without removals",
    "use_proposal": "Use the proposed identifier changes",
    "reject": "Reject",
}


@dataclass(frozen=True)
class Reason:
    """Why a plan waits, or waited: what all holds of one code say."""

    code: str
    title: str
    messages: list[str]
    why: str
    remedy: str


@dataclass(frozen=True)
class Choice:
    """One answer that a plan may get, and what it would do."""

    answer: str
    label: str
    consequences: list[str]


@dataclass(frozen=True)
class Usual:
    """What the last nights that were applied did to one entity, beside what this run does."""

    entity: str
    operation: str
    here: int
    typical: float
    """Their median."""
    most: int
    nights: list[int]
    """The oldest first."""


class Known:
    """All that is known of a run: its row in the roster, its files, and whether it waits or still goes on."""

    def __init__(self, here: DistrictVisit, run_id: str) -> None:
        self.here = here
        self.run_id = run_id
        self.row = here.store.run_told(here.district.district_id, run_id)
        self.run = kept_run(here, run_id)
        going = {one.run_id: one for one in here.host.running(here.district.district_id)}
        self.going: Waiting | None = going.get(run_id)
        waiting = {one.run_id: one for one in here.host.waiting([here.district.district_id])}
        self.waiting: Waiting | None = waiting.get(run_id)

    def __bool__(self) -> bool:
        return bool(self.row or self.run or self.going)

    @property
    def manifest(self) -> RunManifest | None:
        """What its files say."""
        return self.run.manifest if self.run else None

    @property
    def outcome(self) -> str | None:
        """How it ended, or how far it has come."""
        return self.row["outcome"] if self.row else self.manifest.outcome if self.manifest else None

    @property
    def ended(self) -> bool:
        """Whether the run is over: the roster remembers it, or nobody works on it any more."""
        return self.going is None


def kept_run(here: DistrictVisit, run_id: str) -> Run | None:
    """The run's files, if they are this run's; a workspace may be deleted at any time."""
    folder = for_page(run_folder(here.district, run_id))
    try:
        run = Run.open(str(folder))
    except EnrollSyncError:
        return None
    return run if run.manifest.run_id == run_id and not Workspace(folder).root.is_symlink() else None


def told(known: Known) -> dict[str, Any]:
    """The run itself, in values that JSON has: of its row where it has ended, else of its files."""
    manifest, row = known.manifest, known.row or {}
    outcome = wording.OUTCOMES.get(known.outcome or "", wording.UNFINISHED)
    going_on = not known.ended and known.waiting is None
    facts = {name: _either(row, manifest, name) for name in (
        "plan_id", "approved_by", "answer", "comment", "delivered_at", "mode", "findings", "batch_hash"
    )}  # fmt: skip
    return facts | {
        "run_id": known.run_id,
        "outcome": known.outcome,
        "said": say("Going on") if going_on else say("Waits for you") if known.waiting else say(outcome.title),
        "meaning": say("The run goes on; this page follows it.") if going_on else say(outcome.meaning),
        "next_step": "" if going_on else say(outcome.next_step),
        "tone": "calm" if going_on else outcome.tone,
        "going_on": going_on,
        "waits": known.waiting is not None,
        "until": manifest.answer_by if manifest and known.waiting else None,
        "started_at": row.get("started_at") or (manifest and manifest.as_of),
        "ended_at": row.get("ended_at"),
        "source": row.get("source") or (manifest and wording.source_of(manifest)),
        "message": (manifest and manifest.error) or why(row.get("message")),
        "undoes": manifest.undoes if manifest else _undone_by_message(row),
        "counts": counted(known),
        "headings": wording.headings(known.outcome, undoes=known.outcome == "undone"),
        "wrote": bool(row.get("state_after")),
        "decided": answered(row["answer"], row["approved_by"]) if row.get("approved_by") else None,
        "asked": dict(wording.asked(manifest)) if manifest else {},
        "address": known.here.host.run_address(known.here.district.district_id, known.run_id),
    }


def _either(row: Mapping[str, Any], manifest: RunManifest | None, name: str) -> Any:
    return row[name] if row.get(name) is not None else getattr(manifest, name, None)


def why(message: str | None) -> str | None:
    """What is remembered of a run, as a person reads it: of people who were merged the roster keeps their keys."""
    if message is not None and message.startswith(MERGED):
        return say("Two records of one person were merged.")
    if message is not None and message.startswith(FORGOT):
        return say("A person's values were taken out.")
    return message


def _undone_by_message(row: Mapping[str, Any]) -> str | None:
    message = row.get("message") or ""
    return message.removeprefix(UNDO_OF) if message.startswith(UNDO_OF) else None


def counted(known: Known) -> dict[str, dict[str, int]]:
    """Entity -> key of the counts -> number, in the order of the entities; none where nothing was counted."""
    counts = known.row["counts"] if known.row else known.manifest.told_counts if known.manifest else {}
    if not any(number for row in counts.values() for number in row.values()):
        return {}
    return {entity.name: counts[entity.name] for entity in ENTITIES if entity.name in counts}


def reasons(manifest: RunManifest | None) -> list[Reason]:
    """Why a person has to decide, in the order of the holds."""
    grouped: dict[str, list[str]] = {}
    for hold in manifest.holds if manifest else []:
        grouped.setdefault(hold.code, []).append(hold.message)
    return [
        Reason(code, CODES[code].title if code in CODES else code, messages,
               CODES[code].why if code in CODES else "", CODES[code].remedy if code in CODES else "")
        for code, messages in grouped.items()
    ]  # fmt: skip


def choices(known: Known, view: PlanView) -> list[Choice]:
    """The answers that fit the plan that waits; none where nothing waits, or this visitor may not decide."""
    if known.waiting is None or known.manifest is None or not known.here.may_answer:
        return []
    fitting = answers.possible(known.manifest)
    return [Choice(answer, say(_ANSWERS[answer]), consequences(view, answer)) for answer in fitting]


def usual(known: Known) -> list[Usual]:
    """What this plan does beside the same figures of the last nights, where either is not nothing."""
    if known.manifest is None or known.manifest.undoes or not known.manifest.plan_id:
        return []
    before = known.here.store.shares_of_nights(known.here.district.district_id, COMPARED, known.run_id)
    compared = []
    for entity in ENTITIES:
        row = known.manifest.counts.get(entity.name, {})
        for place, operations in enumerate((("create", "reactivate"), ("update", "reidentify"), ("deactivate",)), 1):
            nights = [shares.get(entity.name, {}).get(WHOLE, _NOTHING)[place] for _, shares in reversed(before)]
            now = sum(row.get(operation, 0) for operation in operations)
            if nights and (now or any(nights)):
                compared.append(Usual(entity.name, operations[0], now, statistics.median(nights), max(nights), nights))
    return compared


def downloads(known: Known) -> list[dict[str, str]]:
    """The files that the run has for a person: `name` (below the run's own path of files), `label`, `note`."""
    if known.run is None:
        return []
    place, listed = known.run.place, []
    if (place.root / "report.html").is_file():
        listed.append({"name": "report.html", "label": say("Report"), "note": say("one page, without names")})
    if (place.root / "findings.csv").is_file():
        listed.append({"name": "findings.csv", "label": say("All findings"), "note": say("one row each")})
    for file in known.run.manifest.files:
        name = error_file_name(file.name)
        if (place.quarantine / name).is_file():
            label = say("Rejected lines of {file}", file=file.name)
            listed.append({"name": f"quarantine/{name}", "label": label, "note": say("whole, with what is wrong")})
    if place.proposed_id_changes.is_file():
        label = say("Proposed id_changes.csv")
        listed.append({"name": "id_changes.csv", "label": label, "note": say("old and new identifiers")})
    if place.switch_list.is_file():
        label = say("Who takes over whose record")
        listed.append({"name": "switch.csv", "label": label, "note": say("identifiers of both sources")})
    if (place.plan / "plan.json").is_file():
        listed.append({"name": "plan.csv", "label": say("The plan"), "note": say("one row an operation")})
    return listed
