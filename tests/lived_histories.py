"""Random histories of a whole district with Great Expectations in place, beside a model of what the roster should say.

    python tests/lived_histories.py --histories 100 --seed 1

Each is a few nights of Clever's files on SQLite: grades, sections, identifiers, swaps, damage, absences and returns,
identifiers that go to somebody new (held until a night releases them), plans that wait for one answer or another under
narrow limits, and earlier runs that are taken back with `--keep-later`. What is not as promised is printed with the
seed that makes it again.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

import in_memory
import one_engine
import quicker
from enrollsync import steps
from enrollsync.run import engine
from enrollsync.validate import checking
from enrollsync.words.errors import ConfigurationError
from integration.test_histories import KINDS, PEOPLE, SWAPS, Model, Person, keys, rows_of, shuffled
from nightly import Nightly, assert_counted_whole, clever, pupil, section

NIGHTS = 4
NARROW = {"floor": 1, "deactivate_percent": 10, "update_percent": 30}
"""Most nights of five people wait under these."""
WIDE = {"floor": 1000}


@dataclass
class Lived(Model):
    """A model in which identifiers go to somebody new, too."""

    usurpers: dict[int, int] = field(default_factory=dict)
    """Number of a person -> number of somebody new whose row has their identifier, and is held."""
    gone: list[Person] = field(default_factory=list)
    """Whose identifier was released to somebody new."""
    lines: set[tuple[str, str]] = field(default_factory=set)
    """Those of every `id_changes.csv` so far."""

    def copy(self) -> tuple[Any, ...]:
        """What a night that is not applied leaves as it was."""
        return list(self.people), dict(self.usurpers), list(self.gone)

    def restore(self, known: tuple[Any, ...]) -> None:
        people, usurpers, gone = known
        self.people, self.usurpers, self.gone = list(people), dict(usurpers), list(gone)

    def dawn(self, chance: Random, *, release: bool) -> dict[str, Any]:
        """Draw what happens before a night, and return the files that it delivers."""
        edits = [(chance.choice(KINDS), place) for place in chance.sample(range(PEOPLE), 3)]
        free = [(kind, place) for kind, place in edits if not self._is_held({place, (place + 1) % PEOPLE})]
        busy = {place for kind, place in free for place in {place, (place + 1) % PEOPLE if kind in SWAPS else place}}
        delivered = self.night(free)
        # Lines that came before are taken for the same file again, and done (`plan/reconcile/renames.py`); only where
        # two of them swap do the rows decide.
        moved = delivered.moved
        again = self.lines & moved.items()
        if any((new, old) not in again for old, new in again):
            moved.clear()
        self.lines |= delivered.moved.items()
        active = [place for place in range(PEOPLE) if self.people[place].status == "active" and place not in busy]
        if active and chance.random() < 0.4:
            self.usurpers.setdefault(self.people[chance.choice(active)].number, next(self.fresh))
        pupils, pairs = [], []
        for one in delivered.here:
            who = self.usurpers.get(one.number, one.number)
            pupils.append(pupil(who, Student_id=delivered.named(one), Grade=one.grade))
            pairs.append((one.section, delivered.named(one)))
        files = clever(pupils, sections=[section("X1"), section("X2")], enrollments=pairs)
        if release:
            self._release()
        return files | ({"id_changes.csv": delivered.id_changes} if delivered.moved else {})

    def _is_held(self, places: set[int]) -> bool:
        return any(self.people[place].number in self.usurpers for place in places)

    def _release(self) -> None:
        for place, one in enumerate(self.people):
            if one.number in self.usurpers:
                self.gone.append(replace(one, identifier="", status="inactive"))
                self.people[place] = replace(one, number=self.usurpers.pop(one.number))

    def keep_the_absent(self, before: list[Person]) -> None:
        """A plan without its removals leaves those active who are missing."""
        was = {one.number: one for one in before}
        for place, one in enumerate(self.people):
            if one.status == "inactive" and was[one.number].status == "active":
                self.people[place] = replace(one, status="active")

    def told(self) -> list[tuple[Any, ...]]:
        """As `users` of the model, with those whose identifier is somebody else's now."""
        everybody = [*self.people, *self.gone]
        return sorted(((p.identifier or None, f"Given{p.number}", p.grade, p.status) for p in everybody), key=str)


class Told:
    """What the histories came to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []


def _rows(url: str, query: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]


def live(folder: Path, seed: int, told: Told) -> None:
    """One history; raises whatever is not as promised."""
    chance, model = Random(seed), Lived()
    nightly = Nightly(folder, f"sqlite:///{folder / 'roster.db'}", _rows)
    limits = chance.choice((NARROW, WIDE, WIDE))
    nightly.settings |= {"primary_source": "clever", "thresholds": limits}
    assert nightly.run(model.night([]).files())["outcome"] == "applied"
    known = keys(nightly)
    for _ in range(NIGHTS):
        release, before, saved = chance.random() < 0.4, nightly.everything(), model.copy()
        files = shuffled(model.dawn(chance, release=release), chance)
        held_then, answered = bool(model.usurpers), told.counts["held, without_removals"]
        result = nightly.run(files, release=release)
        told.counts["nights"] += 1
        outcome = _answered(nightly, result, model, saved, chance, told)
        told.counts[outcome] += 1
        if outcome not in ("applied", "in_sync"):
            assert nightly.everything() == before, f"{outcome}, and something was written"
            model.restore(saved)
            continue
        told.counts["released"] += len(model.gone) - len(saved[2])
        told.counts["nights with recycled identifiers held"] += held_then
        if outcome == "applied" and not result["holds"]:
            assert_counted_whole(nightly, result, rows_of(files))
        assert nightly.view("users", "user_id, given_name, grade, status", "role = 'student'") == model.told()
        kept = told.counts["held, without_removals"] > answered
        _attend(nightly, model, before, all_gone=not kept and not nightly.set_aside())
        now = keys(nightly)
        assert now.items() >= known.items(), "somebody has another key, or none"
        assert len(set(now.values())) == len(now)
        known = now
        if outcome == "applied":
            _undone_and_redone(nightly, result["run_id"], before)
            told.counts["undone and redone"] += 1
    _taken_back_but_for_later(nightly, chance, told)


def _attend(nightly: Nightly, model: Lived, before: dict[str, Any], *, all_gone: bool) -> None:
    """Everybody attends what they should, and nothing else where `all_gone`: no removal was left out.

    While a row is set aside, nobody loses a class that a row could mean by an identifier that they ever had, so that
    there may be some more of those of before (`plan/reconcile/doubt.py`).
    """
    attending = nightly.view("enrollments", "user_id, class_id", "role = 'student' AND status = 'active'")
    expected = model.attending()
    if not all_gone:
        assert {*attending} >= {*expected}, "somebody lost a class"
        assert len(attending) <= len(expected) + len(before["enrollments"]), "more than there were"
    else:
        assert attending == expected, "who attends what"


def _answered(
    nightly: Nightly, result: dict[str, Any], model: Lived, saved: tuple[Any, ...], chance: Random, told: Told
) -> str:
    """What came of a night, after a person's answer where it waited."""
    outcome = str(result["outcome"])
    if outcome != "held":
        return outcome
    fitting = [one for one in ("approve", "without_removals") if one in result["answers"]]
    answer = chance.choice(fitting) if fitting and chance.random() < 0.75 else "reject"
    told.counts[f"held, {answer}"] += 1
    if answer == "reject":
        return str(steps.reject(nightly.workspace, rejected_by="pat", reason="no")["outcome"])
    done = steps.load(nightly.workspace, approved_by="pat", answer=answer)
    if answer == "without_removals":
        model.keep_the_absent(saved[0])
    return str(done["outcome"])


def _undone_and_redone(nightly: Nightly, run_id: str, before: dict[str, Any]) -> None:
    after = nightly.everything()
    undone = nightly.undo(run_id)
    assert undone["outcome"] == "undone" and nightly.everything() == before, "an undo left something"
    assert nightly.undo(undone["run_id"])["outcome"] == "undone" and nightly.everything() == after, "a redo"


def _taken_back_but_for_later(nightly: Nightly, chance: Random, told: Told) -> None:
    """Any earlier run, what later ones changed left alone; and that taken back again."""
    now = nightly.everything()
    runs = [run["run_id"] for run in steps.runs(nightly.district) if run["outcome"] == "applied"]
    for run_id in chance.sample(runs, min(2, len(runs))):
        told.counts["--keep-later"] += 1
        try:
            undone = nightly.undo(run_id, keep_later=True)
        except ConfigurationError as error:
            assert "nothing is left to undo" in str(error) and nightly.everything() == now, str(error)
            continue
        assert undone["outcome"] == "undone"
        told.counts["--keep-later, something taken back"] += 1
        assert nightly.undo(undone["run_id"])["outcome"] == "undone" and nightly.everything() == now, "keep-later"


def lived(histories: int, seed: int, until: float = float("inf")) -> Told:
    """Live through so many, or none more after `until`; each has a seed of its own, which is told where it is wrong."""
    told = Told()
    for number in range(seed, seed + histories):
        if time.monotonic() > until:
            break
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setenv("ENROLLSYNC_HOME", folder)
            # One engine for all runs, and Great Expectations is asked once for each table: twice as many histories.
            patch.setattr(engine, "_engine", one_engine.Engine)
            patch.setattr(checking, "run_suite", quicker.run_suite)
            try:
                live(Path(folder), number, told)
            except Exception as error:  # whatever is wrong is told, and the others go on
                *_, where = traceback.extract_tb(error.__traceback__)
                told.wrong.append(
                    f"seed {number}: {type(error).__name__} at {where.name}:{where.lineno}: {error}"[:600]
                )
                print(told.wrong[-1], flush=True)
        told.counts["histories"] += 1
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no history begins later")
    asked = parser.parse_args()
    if memory := in_memory.folder():
        os.environ["TMPDIR"] = tempfile.tempdir = memory
    told = lived(asked.histories, asked.seed, time.monotonic() + 60 * asked.minutes)
    one_engine.close()
    for what, count in sorted(told.counts.items()):
        print(f"{count:>7,}  {what}")
    print(f"{len(told.wrong):>7,}  not as promised")
    return 1 if told.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
