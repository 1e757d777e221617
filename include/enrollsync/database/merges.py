"""Which people were merged into others, as long as that is not undone: their rows mean those from then on (rule 9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from enrollsync.database.schema import MERGED, RUNS
from enrollsync.database.undos import list_undos, undo_runs, undone_runs


def message_of(gone: int, kept: int) -> str:
    """The `message` of the run that merged the user with the key `gone` into the one with the key `kept`."""
    return f"{MERGED}{gone} into user {kept}"


def list_merges(runs: Iterable[tuple[str, str]], undone: Iterable[str]) -> dict[int, int]:
    """Key of each user who was merged -> key of the one who is left, from (run id, message), oldest first.

    Whoever was kept may have been merged into somebody else later.
    """
    taken_back, into = frozenset(undone), dict[int, int]()
    for run_id, message in runs:
        found = re.fullmatch(rf"{MERGED}(\d+) into user (\d+)", message)
        if found and run_id not in taken_back:
            gone, kept = int(found[1]), int(found[2])
            into = {key: kept if left == gone else left for key, left in into.items()} | {gone: kept}
    return into


def merge_runs(district_id: str) -> Select[Any]:
    """Asks for what `list_merges` takes."""
    return (
        select(RUNS.c.run_id, RUNS.c.message)
        .where(RUNS.c.district_id == district_id, RUNS.c.message.like(f"{MERGED}%"), RUNS.c.state_after.is_not(None))
        .order_by(RUNS.c.state_after)
    )


def merges_now(read: Callable[[Select[Any]], list[dict[str, Any]]], district_id: str) -> dict[int, int]:
    """`list_merges` of the roster as it is."""
    merged = [(row["run_id"], row["message"]) for row in read(merge_runs(district_id))]
    if not merged:
        return {}
    undos = list_undos([(row["run_id"], row["message"]) for row in read(undo_runs(district_id))])
    return list_merges(merged, undone_runs(undos))


def write_merges(merges: dict[int, int], folder: Path) -> None:
    """`merges.parquet`: `user_key` of who was merged, `into_key` of who is left."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("user_key", pa.int64()), ("into_key", pa.int64())])
    rows = [{"user_key": gone, "into_key": kept} for gone, kept in merges.items()]
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "merges.parquet")
