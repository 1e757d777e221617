"""The roster database: its schema, how to reach it, how to read it. What a run writes to it is in `load/`."""

from __future__ import annotations

from enrollsync.database.memory import RunRecord
from enrollsync.database.store import Store, open_store

__all__ = ["RunRecord", "Store", "open_store"]
