"""How many people and students were active night after night, in a district and in each of its organizations."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select

from enrollsync.as_of.records import Read
from enrollsync.database.memory import shares_of
from enrollsync.database.schema import BASE, RUNS, Counts, RunShares
from enrollsync.words.canonical import MEMBERSHIPS, USERS

NIGHTS = 30
"""Of which is told."""
Night = tuple[datetime, RunShares]
"""When a run began, and what it changed."""


def last_nights(read: Read, district_id: str, state: int | None = None) -> list[Night]:
    """The last runs that changed the roster, the oldest first; none behind the version `state` of the roster."""
    query = (
        select(RUNS.c.started_at, RUNS.c.shares_json)
        .where(RUNS.c.district_id == district_id, RUNS.c.outcome == "applied", RUNS.c.shares_json.is_not(None))
        .order_by(RUNS.c.state_after.desc())
        .limit(NIGHTS)
    )
    if state is not None:
        query = query.where(RUNS.c.state_after <= state)
    rows = reversed(read(query))
    return [(datetime.fromisoformat(row["started_at"]), shares_of(row["shares_json"])) for row in rows]


def active_after(nights: list[Night], what: str, key: str) -> list[tuple[datetime, int]]:
    """How many were active after each of the nights; `what` and `key` are those of `RunShares`.

    A night that does not name the organization left it alone; nights before the first one that does are left out.
    """
    told: list[tuple[datetime, Counts | None]] = [
        (began, shares.get(what, {}).get(key)) for began, shares in nights if what in shares
    ]
    active = next((counts[0] for _, counts in told if counts), None)
    after = []
    for began, counts in told:
        if counts:
            before, created, _, deactivated = counts
            active = before + created - deactivated
        if active is not None:
            after.append((began, active))
    return after


def students_now(read: Read, district_id: str, organizations: Collection[int]) -> dict[int, int]:
    """Key of an organization -> how many active students it is the primary one of; without those that have none."""
    users, links = BASE[USERS.name], BASE[MEMBERSHIPS.name]
    same = (users.c.district_id == links.c.district_id) & (users.c.user_key == links.c.user_key)
    query = (
        select(links.c.organization_key, func.count().label("students"))
        .join_from(links, users, same)
        .where(links.c.district_id == district_id, links.c.organization_key.in_(organizations))
        .where(links.c.is_primary, links.c.status == "active", users.c.status == "active", users.c.role == "student")
        .group_by(links.c.organization_key)
    )
    return {row["organization_key"]: row["students"] for row in read(query)}
