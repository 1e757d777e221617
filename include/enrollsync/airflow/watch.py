"""A delivery starts its district's DAG: the trigger that looks for one, in Airflow's triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from enrollsync.airflow.runs import connection_from
from enrollsync.arrive.spot import spotted
from enrollsync.settings import District, load_district, project_root
from enrollsync.settings.connections import Connection
from enrollsync.words import private
from enrollsync.words.errors import EnrollSyncError

EVERY = 30.0
"""Seconds between two looks."""


class DeliveryTrigger(BaseEventTrigger):
    """Fires for a complete delivery that was not told before.

    Where the district has nothing that tells completeness (`ready`), two looks in a row have to find it the same. What
    was told last is kept in a file, so that a triggerer that starts anew does not tell it again. It is written after
    the event is given away: when that is interrupted a delivery is told twice, and the second run is `in_sync`.
    """

    def __init__(self, district: str, every: float = EVERY) -> None:
        """`district`: as `load_district` takes it; its settings are read at each look. `every`: seconds."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.district = district
        self.every = every
        self._before: str | None = None
        self._problem: str | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow makes it again."""
        return f"{__name__}.{type(self).__name__}", {"district": self.district, "every": self.every}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until somebody ends it."""
        while True:
            if news := await self.look():
                district, found = news
                yield TriggerEvent({"delivery": found})  # type: ignore[no-untyped-call]
                _note(district, found)
            await asyncio.sleep(self.every)

    async def look(self) -> tuple[District, str] | None:
        """A delivery that is complete and was not told before; what keeps it from looking is logged once."""
        try:
            district = load_district(self.district)
            found = await self._spotted(district)
        except (EnrollSyncError, AirflowException, OSError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self.log.warning("%s: nobody can tell whether there is a delivery: %s", self.district, error)
            return None
        is_complete = district.source.ready is not None or found == self._before
        self._before, self._problem = found, None
        return (district, found) if found and is_complete and found != _told_last(district) else None

    async def _spotted(self, district: District) -> str | None:
        name = district.source.connection
        connection: Connection | None = None
        if name is not None:
            connection = connection_from(name, await BaseHook.aget_connection(name))
        return await asyncio.to_thread(spotted, district.source, connection)


def _note_of(district: District) -> Path:
    return project_root() / "data" / "watch" / district.district_id


def _told_last(district: District) -> str | None:
    note = _note_of(district)
    return note.read_text() if note.is_file() else None


def _note(district: District, found: str) -> None:
    note = _note_of(district)
    private.make_folder(note.parent)
    private.make_file(note)
    note.write_text(found)
