"""The errors that end a run: each has an exit status (README, commands) and one line: what, where, what to do.

What is wrong with single rows is not an error but a finding (`codes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from enrollsync.words.printable import printable


class EnrollSyncError(Exception):
    """Ends a run; `str()` is one line for a person, `exit_status` is for programs."""

    exit_status = 1
    outcome = "failed"

    def __str__(self) -> str:
        return printable(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        # As it is, whatever it was made from: what one process raises, another may have to tell.
        return _as_it_was, (type(self), self.args), self.__dict__


def _as_it_was(kind: type[EnrollSyncError], args: tuple[Any, ...]) -> EnrollSyncError:
    error = kind.__new__(kind)
    error.args = args
    return error


class DamagedRun(EnrollSyncError):
    """A file of the run's workspace is not what a step left there."""


class ConfigurationError(EnrollSyncError):
    """The command or the district file is wrong."""

    exit_status = 2


class Refused(EnrollSyncError):
    """The delivery as a whole cannot be used; nothing loads.

    `code` is a FILE-* code, `file` the file's name within the batch, `line` the line an editor shows.
    """

    exit_status = 4
    outcome = "refused"

    def __init__(self, code: str, message: str, *, file: str | None = None, line: int | None = None) -> None:
        self.code = code
        self.file = file
        self.line = line
        self.message = message
        where = "" if file is None else f" {file}" if line is None else f" {file}, line {line}"
        self.parts: tuple[Refused, ...] = (self,)
        """One error for each file that is wrong."""
        super().__init__(f"{code}{where}: {message}")

    @classmethod
    def for_all(cls, parts: Sequence[Refused]) -> Refused:
        """One error that says what is wrong with several files; its code is the first one's."""
        if len(parts) == 1:
            return parts[0]
        whole = cls(parts[0].code, "; ".join(map(str, parts)))
        whole.args = (whole.message,)
        whole.parts = tuple(parts)
        return whole


class Unreachable(Refused):
    """The source does not answer; it may do so later, and what was read of it by then is kept for that."""

    def __init__(self, message: str) -> None:
        super().__init__("FILE-UNREACHABLE", message)


class FilesUnreachable(EnrollSyncError):
    """The object store that keeps runs' folders does not answer, or says no; what it has is as it was."""


class FilesMissing(FilesUnreachable):
    """What it has of a folder is damaged, or not whole."""


class DatabaseError(EnrollSyncError):
    """The roster database cannot be reached, read or written."""

    exit_status = 5


class StalePlan(EnrollSyncError):
    """The database moved since the plan was made; nothing was written."""

    exit_status = 5


class AlreadyApplied(EnrollSyncError):
    """The run has written by another plan before; one run has one plan."""

    exit_status = 5


class UndoConflict(EnrollSyncError):
    """Later runs changed what a run would take back; nothing was undone.

    `conflicts` are the first ones, each with `entity`, `record` (an identifier that may be shown), `column`, `why` and
    the later `run_id` (None where no run did it). `later_runs` are those runs, the newest first.
    """

    exit_status = 5
    _MOST_NAMED = 5
    """Runs that the line names; the rest is counted."""

    def __init__(self, run_id: str, total: int, conflicts: list[dict[str, Any]], later_runs: list[str]) -> None:
        self.conflicts = conflicts
        self.later_runs = later_runs
        what = "one value" if total == 1 else f"{total:,} values"
        super().__init__(
            f"run {run_id}: {what} cannot be taken back{self._because()}; nothing was undone. "
            f"{'Undo those runs first, newest first, or choose' if later_runs else 'Choose'} `Keep later changes`"
        )

    def _because(self) -> str:
        named = ", ".join(self.later_runs[: self._MOST_NAMED])
        more = len(self.later_runs) - self._MOST_NAMED
        if not named:
            return ": something that stays needs or has them"
        return f" because of later runs: {named}{f' and {more:,} more' if more > 0 else ''}"
