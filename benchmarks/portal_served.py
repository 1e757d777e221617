"""The portal in front of the measured rosters, as a server of its own on loopback; everybody may do everything."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from enrollsync.portal.host import Right, Schedule, Visitor, Waiting
from enrollsync.settings import District


@dataclass(frozen=True)
class BenchHost:
    """See `portal.host.Host`."""

    url: str | None
    """Of the one database of all districts; None where each has its own."""
    waits: tuple[Waiting, ...]

    @staticmethod
    def identify() -> Visitor:
        return Visitor("bench", None, "session")

    def allowed(self, visitor: Visitor, district_ids: Collection[str], right: Right) -> set[str]:
        return set(district_ids)

    def schedules(self, district_ids: Collection[str]) -> dict[str, Schedule]:
        return dict.fromkeys(district_ids, Schedule(False, datetime.now(UTC) + timedelta(hours=9)))

    def waiting(self, district_ids: Collection[str]) -> list[Waiting]:
        return [one for one in self.waits if one.district_id in district_ids]

    def running(self, district_id: str) -> list[Waiting]:
        return self.waiting([district_id])

    def database_url(self, district: District) -> str:
        return self.url or str(district.database.url)

    def address(self) -> str:
        return ""

    def secret(self) -> bytes:
        return b"of the bench"

    def run_address(self, district_id: str, run_id: str) -> str:
        return f"/dags/{district_id}/runs/{run_id}"

    async def answer(self, *asked: Any) -> None:
        raise NotImplementedError

    async def start(self, *asked: Any) -> str:
        raise NotImplementedError


def serve(home: str, url: str | None, waits: tuple[Waiting, ...], port: int) -> None:
    """Serve until the process is ended."""
    import uvicorn
    from fastapi import FastAPI

    from enrollsync.portal.app import build

    os.environ["ENROLLSYNC_HOME"] = home
    around = FastAPI()
    around.mount("/roster", build(BenchHost(url, waits)))
    uvicorn.run(around, host="127.0.0.1", port=port, log_level="warning")
