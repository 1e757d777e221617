"""What an outcome, a severity, a format and a mode are called on the page, and what a person does next.

Codes of findings have their own table (`codes.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from enrollsync.formats import FORMATS
from enrollsync.run.workspace import RunManifest


@dataclass(frozen=True)
class Outcome:
    """How a run ended, in words for a school administrator."""

    title: str
    meaning: str
    next_step: str
    tone: str
    """Colour of the banner: `good`, `calm`, `wait` or `bad`."""
    changes: str
    """Heading of the counts: what happened, or what would."""


_DONE, _WOULD = "What changed", "What would change"

OUTCOMES: dict[str, Outcome] = {
    "applied": Outcome(
        "Applied", "The roster now says what this delivery says.", "There is nothing left to do.", "good", _DONE
    ),
    "in_sync": Outcome(
        "In sync", "The roster already said what this delivery says; nothing was changed.",
        "There is nothing left to do.", "good", _DONE,
    ),
    "planned": Outcome(
        "Planned", "These changes were worked out and nothing was written.",
        "Look at them, then run the sync to apply them.", "calm", _WOULD,
    ),
    "checked": Outcome(
        "Checked", "The files were checked; the roster was neither read nor changed.",
        "Plan or run the sync when you are content with the files.", "calm", "What was found in the files",
    ),
    "held": Outcome(
        "Held", "The changes look unusual, so nothing was written: a person has to decide.",
        "Read the reasons; approve the plan if the changes are real, or else correct the delivery.",
        "wait", _WOULD,
    ),
    "rejected": Outcome(
        "Rejected", "A person said no to these changes; nothing was written.",
        "Correct the delivery and send it again.", "wait", _WOULD,
    ),
    "paused": Outcome(
        "Paused", "The district rests on this day, so its scheduled run looked at nothing.",
        "Nothing; the first scheduled run after the pause looks again. A run by hand runs now too.", "calm", _WOULD,
    ),
    "refused": Outcome(
        "Refused", "The delivery could not be used; nothing was written and the roster is as it was.",
        "Correct what is named below and deliver again.", "bad", "What was found in the files",
    ),
    "undone": Outcome(
        "Undone", "What an earlier run had changed was taken back.", "There is nothing left to do.", "calm", _DONE
    ),
    "forgotten": Outcome(
        "Forgotten", "A person's values were taken out of the roster, because somebody asked for it.",
        "Take the person out at the source too.", "calm", _DONE,
    ),
    "trimmed": Outcome(
        "Cleaned", "People's values in old audit rows were removed, as the district's file asks for.",
        "There is nothing left to do; the runs up to there cannot be undone any more.", "calm", _DONE,
    ),
    "failed": Outcome(
        "Failed", "The run stopped before it was done. A delivery is written whole or not at all.",
        "Give the message below to whoever looks after EnrollSync; the next run starts afresh.", "bad", _WOULD,
    ),
}  # fmt: skip
UNFINISHED = Outcome(
    "Not finished", "The run has no outcome yet.", "Wait for it to end.", "calm", "What was found so far"
)
CORRECT_LINES = "Lines that do not load are listed below: correct them in the source and deliver again."
"""The next step when a run went well but for rejected lines."""
LOOK_ASIDE = "Some records are set aside: below stands for what each of them waits."
"""The next step when a run went well but for records that wait."""

OPERATIONS: dict[str, str] = {
    "create": "Created",
    "update": "Updated",
    "reidentify": "Re-identified",
    "reactivate": "Reactivated",
    "deactivate": "Deactivated",
    "unchanged": "Unchanged",
    "held": "Set aside",
    "rejected": "Rejected",
    "collapsed": "Collapsed",
}
"""Key of the counts -> heading of its column. A plan is *held* and waits for approval; records are *set aside*."""


def headings(outcome: str | None, *, undoes: bool = False) -> dict[str, str]:
    """The keys of the counts that say something of a run, with their headings.

    A check compares with nothing; an undo reads no rows, and what it deactivates are mostly creations.
    """
    if undoes:
        return {**{key: OPERATIONS[key] for key in _CHANGES}, "deactivate": "Taken out"}
    if outcome != "checked":
        return OPERATIONS
    return {"create": "Would load", **{key: OPERATIONS[key] for key in ("held", "rejected", "collapsed")}}


OPERATION_NOTES: dict[str, str] = {
    "Re-identified": "the same record under a new identifier",
    "Reactivated": "an inactive record came back",
    "Deactivated": "made inactive; nothing is ever deleted",
    "Taken out": "what that run had created leaves the views and is kept in the database; what it had reactivated is "
    "inactive again",
    "Set aside": "waits for a decision or for another record; what the roster has of it stays",
    "Rejected": "did not load",
    "Collapsed": "repeated a record that other lines describe too",
}
"""Heading -> what it means, where the word alone does not say."""


def word_for(name: str, outcome: str | None = None, *, undoes: bool = False) -> str:
    """A key of the counts as a person reads it who may type it, too."""
    title = headings(outcome, undoes=undoes)[name].lower()
    return title if name == "held" or outcome == "checked" or (undoes and name == "deactivate") else name


def changes(outcome: str | None, counts: dict[str, dict[str, int]]) -> str:
    """What a run changed, or would have: `5 create`, `would: 5 create`, `-` where it did not come to a plan."""
    if outcome in _WROTE_OR_HAD_TO_WRITE_NOTHING:
        return _summed(counts)
    planned = any(row.get(name) for row in counts.values() for name in (*_CHANGES, "unchanged"))
    return f"would: {_summed(counts)}" if planned else "-"


_WROTE_OR_HAD_TO_WRITE_NOTHING = {"applied", "undone", "in_sync", "forgotten", "trimmed"}
_CHANGES = ("create", "update", "reidentify", "reactivate", "deactivate")


def _summed(counts: dict[str, dict[str, int]]) -> str:
    """`5 create, 2 update, 1 set aside`: over all entities, without the rows that changed nothing."""
    totals: dict[str, int] = {}
    for name, number in (item for numbers in counts.values() for item in numbers.items()):
        totals[name] = totals.get(name, 0) + number
    told = [f"{n:,} {word_for(name)}" for name, n in totals.items() if n and name not in {"unchanged", "collapsed"}]
    return ", ".join(told) or "none"


def asked(manifest: RunManifest) -> list[tuple[str, str]]:
    """What a person asked of this run alone: heading and words for it."""
    wishes = {
        "Dry run": manifest.dry_run and "nothing is written",
        "Only adds": manifest.adds_only and "nothing is deactivated",
        "Released": manifest.release and "recycled identifiers go to the new people",
        "Let go": manifest.lets_go and "whom the former primary source left without a row",
        "Limits of this run": ", ".join(f"{key} {value:g}" for key, value in manifest.overrides.items()),
        "Why": manifest.override_reason,
    }
    return [(title, said) for title, said in wishes.items() if said]


ASIDE = "aside"
SEVERITIES: dict[str, tuple[str, str]] = {
    "critical": ("Critical", "These lines do not load."),
    ASIDE: (
        "Set aside",
        "These records wait, for a decision or for another record; what the roster has of them stays.",
    ),
    "warning": ("Warnings", "These load, some of them without the value in question."),
    "info": ("Advice", "These load as they are."),
}
"""Severity, or `ASIDE` for whatever waits, -> heading and what it means, worst first."""


def source_of(manifest: RunManifest) -> str:
    """Who spoke in the delivery, as a person calls it."""
    declared = FORMATS.get(manifest.format or "")
    return declared.source.title if declared else "not recognised"


def told_mode(manifest: RunManifest) -> str:
    """What absence means, and for which records it means something else."""
    others = ", ".join(entity for entity in manifest.modes if entity in manifest.supplied)
    return f"{MODES[manifest.mode]}; delta for {others}" if others else MODES[manifest.mode]


MODES = {
    "snapshot": "Snapshot: records missing from the delivery are deactivated",
    "delta": "Delta: records missing from the delivery stay as they are",
}
