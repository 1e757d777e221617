"""An error that goes from one process to another stays what it was."""

from __future__ import annotations

import pickle

import pytest

from enrollsync.words.errors import (
    AlreadyApplied,
    ConfigurationError,
    DamagedRun,
    DatabaseError,
    EnrollSyncError,
    FilesMissing,
    FilesUnreachable,
    Refused,
    StalePlan,
    UndoConflict,
    Unreachable,
)

REFUSED = [Refused("FILE-HEADER", "unknown", file="a.csv", line=3), Refused("FILE-EMPTY", "empty", file="b.csv")]
ALL = [
    *[kind("what, where") for kind in (EnrollSyncError, DamagedRun, ConfigurationError, DatabaseError, StalePlan)],
    *[
        AlreadyApplied("twice"),
        Unreachable("silent"),
        FilesUnreachable("away"),
        FilesMissing("half"),
        REFUSED[0],
        Refused.for_all(REFUSED),
    ],
    UndoConflict("run-1", 2, [{"entity": "users", "why": "later"}], ["run-2"]),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_it_says_and_has_what_it_had(error: EnrollSyncError) -> None:
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), other.args) == (type(error), str(error), error.args)
    assert _told(other) == _told(error)


def _told(error: EnrollSyncError) -> dict[str, object]:
    return {name: list(map(str, value)) if name == "parts" else value for name, value in vars(error).items()}


def test_every_kind_is_tried() -> None:
    kinds = {EnrollSyncError}
    while more := {kind for known in kinds for kind in known.__subclasses__()} - kinds:
        kinds |= more
    ours = {kind for kind in kinds if kind.__module__ == EnrollSyncError.__module__}
    assert ours == {type(error) for error in ALL}
