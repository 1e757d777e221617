"""What the portal asks of the program around it: who is there, what they may do, and to run what they decide."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from fastapi import Request

from enrollsync.settings import District

Right = Literal["look", "answer", "edit"]
"""On a district: see it; answer a plan that waits; start runs, take them back, correct records, see all of a number."""


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page."""

    name: str
    """As answers and the audit tell it."""
    account: Any
    """What the host knows the visitor by."""
    session: str
    """What this session is told from others by; it is secret."""
    is_program: bool = False
    """Whether the request says itself who sends it (a bearer token), in place of a browser's cookie."""


@dataclass(frozen=True)
class Schedule:
    """When a district's nights run."""

    paused: bool
    next_run: datetime | None
    """None: only by hand, or switched off."""


@dataclass(frozen=True)
class Waiting:
    """A run whose plan waits for a person."""

    district_id: str
    run_id: str
    kind: str
    """`sync` or `undo`."""


class NotDone(Exception):
    """The host did not do what it was asked; the text says why, for the visitor."""


class Host(Protocol):
    """Every method raises what its framework raises when it breaks; those that change something raise NotDone."""

    def identify(self, *args: Any, **kwargs: Any) -> Any:
        """A FastAPI dependency that gives the Visitor, and raises HTTPException 401 for nobody."""

    def allowed(self, visitor: Visitor, district_ids: Collection[str], right: Right) -> set[str]:
        """Those of the districts on which the visitor has the right; there need not be such districts."""

    def schedules(self, district_ids: Collection[str]) -> dict[str, Schedule]:
        """When they run next; a district whose DAG is not there yet is left out."""

    def waiting(self, district_ids: Collection[str]) -> list[Waiting]:
        """Every run of theirs that waits for a person, the oldest first."""

    def running(self, district_id: str) -> list[Waiting]:
        """Runs of a district that have begun and not ended, the oldest first; those that wait among them."""

    def database_url(self, district: District) -> str:
        """The roster's URL; it may hold a password."""

    def address(self) -> str:
        """Where browsers find the host: `https://airflow.example`; empty where it is not known."""

    def secret(self) -> bytes:
        """What tokens of this host are signed with."""

    def run_address(self, district_id: str, run_id: str) -> str:
        """Path of the host's own page about a run."""

    async def answer(self, request: Request, waiting: Waiting, answer: str, comment: str) -> None:
        """Answer for the visitor who sent the request; `answer` is one of `workspace.Answer`."""

    async def start(self, request: Request, district_id: str, kind: str, wishes: dict[str, Any]) -> str:
        """Begin a run (`sync` or `undo`) with what its form asks for; returns its id."""
