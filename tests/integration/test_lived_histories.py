"""Two of the histories of `tests/lived_histories.py`, of which many are lived through apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrollsync import steps
from lived_histories import Lived, Told, live
from nightly import Nightly

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_checks")]


@pytest.mark.parametrize("seed", [12, 1])
def test_history_with_recycled_identifiers_answers_and_later_changes_kept_is_as_the_model_says(
    tmp_path: Path, seed: int
) -> None:
    told = Told()
    live(tmp_path, seed, told)
    assert told.counts["nights"] == 4 and told.counts["--keep-later"]


def test_model_notices_a_roster_that_lets_recycled_rows_in_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Nightly.run
    monkeypatch.setattr(Nightly, "run", lambda self, files, **asked: run(self, files, release=True))
    with pytest.raises(AssertionError):
        live(tmp_path, 12, Told())


def test_model_notices_a_plan_that_is_applied_although_somebody_said_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said_no = steps.reject
    monkeypatch.setattr(Lived, "restore", lambda self, known: None)

    def applied(workspace: str, **told: str) -> object:
        steps.load(workspace, approved_by="nobody")
        return said_no(workspace, **told)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "reject", applied)
    with pytest.raises(AssertionError, match="something was written"):
        for seed in range(1, 5):
            (tmp_path / str(seed)).mkdir()
            live(tmp_path / str(seed), seed, Told())
