"""Which runs are undone now: an undo may itself be undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from enrollsync.database.schema import RUNS, UNDO_OF


@dataclass(frozen=True)
class Undo:
    """A run that undid another one."""

    run_id: str
    first_run: str
    """The run that all of it is about: what was undone, or whose undo was undone."""
    takes_back: bool
    """False where the undo of an undo brings `first_run` back."""


def list_undos(runs: Iterable[Sequence[str]]) -> list[Undo]:
    """The undos among (run id, message), oldest first: the message says which run was undone."""
    undos: dict[str, Undo] = {}
    for run_id, message in runs:
        target = message.removeprefix(UNDO_OF)
        before = undos.get(target, Undo(target, target, takes_back=False))
        undos[run_id] = Undo(run_id, before.first_run, takes_back=not before.takes_back)
    return list(undos.values())


def undone_runs(undos: Iterable[Undo]) -> list[str]:
    """The runs that are undone now: the last undo, or undo of an undo, decides."""
    decided = {undo.first_run: undo.takes_back for undo in undos}
    return [run_id for run_id, undone in decided.items() if undone]


def undo_runs(district_id: str) -> Select[Any]:
    """Asks for what `list_undos` takes."""
    return (
        select(RUNS.c.run_id, RUNS.c.message)
        .where(RUNS.c.district_id == district_id, RUNS.c.outcome == "undone")
        .order_by(RUNS.c.state_after)
    )


def write_undos(undos: list[Undo], folder: Path) -> None:
    """`undos.parquet`: `number` (1 is the oldest) and what an `Undo` has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("number", pa.int64()), ("run_id", pa.string()), ("first_run", pa.string()),
                        ("takes_back", pa.bool_())])  # fmt: skip
    rows = [{"number": number, **asdict(undo)} for number, undo in enumerate(undos, start=1)]
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "undos.parquet")
