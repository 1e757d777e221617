"""What a step raises that is none of our errors, in one line: no room, a damaged file of the run, or unforeseen.

What others raise may quote a student's values, so of the unforeseen only its kind and place are told; the traceback is
kept in a file that the owner alone can read.
"""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enrollsync.words import private
from enrollsync.words.errors import DamagedRun, EnrollSyncError

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_FULL_WORDS = ("No space left", "File too large", "quota exceeded", "disk is full")
_PACKAGE = Path(__file__).parents[1]


@contextmanager
def one_line(what: str, folder: Path) -> Iterator[None]:
    """Let EnrollSyncError through, and turn every other exception into one that says `what` broke.

    `folder` is the run's workspace, or where else a traceback may be kept.
    """
    try:
        yield
    except EnrollSyncError:
        raise
    except Exception as error:
        if _is_the_keyboard(error):
            raise KeyboardInterrupt from None
        raise told(what, folder, error) from None


def _is_the_keyboard(error: Exception) -> bool:
    """Whether somebody pressed Ctrl-C in the middle of a statement of DuckDB's, which makes its own error of it."""
    return isinstance(error, RuntimeError) and str(error) == "Query interrupted"


def told(what: str, folder: Path, error: Exception) -> EnrollSyncError:
    """The one line for an exception; see `one_line`."""
    reason = " ".join(str(error).split())[:300]
    if _is_full(error):
        return EnrollSyncError(f"{what}: there is not enough room in {folder}; make room and run again ({reason})")
    if damaged := _damaged_file(folder):
        said = f"{what}: the run's file {damaged} is damaged"
        return DamagedRun(f"{said}; start the run again from its first step, or start a new one")
    if isinstance(error, _of_files_and_memory()):
        broken = f"{what}: a file cannot be read or written, or there is not enough room: {reason or 'memory is full'}"
        return EnrollSyncError(f"{broken}; mend that and run again")
    return _unforeseen(what, folder, error)


def _unforeseen(what: str, folder: Path, error: Exception) -> EnrollSyncError:
    """The line for an error that nobody thought of, whose traceback is left in `folder`."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    at = (ours or frames)[-1] if frames else None
    place = f" in {Path(at.filename).name}, line {at.lineno}" if at else ""
    kept = _keep(folder, error)
    told = f"show the developers {kept}, which may hold values of students" if kept else "no traceback could be kept"
    return EnrollSyncError(f"{what}: broke for a reason that nobody foresaw: {type(error).__name__}{place}; {told}")


def _keep(folder: Path, error: Exception) -> Path | None:
    path = folder / "traceback.txt"
    try:
        private.make_folder(folder)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in _FULL or any(word in str(error) for word in _FULL_WORDS)


def _of_files_and_memory() -> tuple[type[Exception], ...]:
    import duckdb

    return duckdb.IOException, duckdb.OutOfMemoryException, MemoryError, OSError


def _damaged_file(folder: Path) -> str | None:
    """The first file of a run that cannot be read as what it is; None when all can be, or the folder is no run's."""
    if not (folder / "run.json").exists():
        return None
    for path in sorted(folder.rglob("*.json")) + sorted(folder.rglob("*.parquet")):
        if not path.is_symlink() and not _is_sound(path):
            return str(path.relative_to(folder))
    return None


def _is_sound(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
            return True
        with pq.ParquetFile(path) as table:
            for _ in table.iter_batches():
                pass
    except PermissionError:
        return True
    except (pa.ArrowException, OSError, ValueError):
        return False
    return True
