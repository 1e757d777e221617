"""Whether a night may end before it begins: the same delivery and settings, on a database that has not moved.

A change that somebody made behind our back does not move the database's version; it is seen by a full check, which
`--force` asks for and which is due after the district's `recheck_days`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from enrollsync.settings import District

if TYPE_CHECKING:
    from enrollsync.database import Store


def fingerprint(batch_hash: str, district: District) -> str:
    """What decides over a run's result besides the database: the files, the settings, the program's version."""
    text = "\n".join((batch_hash, district.model_dump_json(), version("enrollsync")))
    return hashlib.sha256(text.encode()).hexdigest()


def settled_before(store: Store, district: District, mark: str, as_of: datetime) -> dict[str, Any] | None:
    """The last run's row when it leaves nothing to do tonight; None when a full run is needed."""
    last = store.settled(district.district_id)
    if last is None or last["fingerprint"] != mark:
        return None
    checked = datetime.fromisoformat(last["checked_at"])
    return last if as_of - checked < timedelta(days=district.recheck_days) else None


def counts_after(store: Store, last: dict[str, Any]) -> dict[str, dict[str, int]]:
    """What the rows of the run `last` count as when they come again: all that was planned for them is unchanged now."""
    counts: dict[str, dict[str, int]] = json.loads(last["counts_json"])
    # A long audit, such as a first load's, is looked into only when it can have what no row speaks of.
    some = any(numbers["reidentify"] or name == "memberships" and numbers["update"] for name, numbers in counts.items())
    on_top = store.on_top(last["district_id"], last["state_after"]) if some else {}
    gone = any(numbers["deactivate"] for numbers in counts.values())
    inactive = store.said_inactive(last["district_id"], last["state_after"]) if gone else {}
    planned = ("create", "update", "reidentify", "reactivate")
    return {
        entity: {
            **dict.fromkeys(numbers, 0),
            **{name: numbers[name] for name in ("held", "rejected", "collapsed")},
            "unchanged": numbers["unchanged"]
            + sum(numbers[name] for name in planned)
            + inactive.get(entity, 0)
            - on_top.get(entity, 0),
        }
        for entity, numbers in counts.items()
    }


def findings_after(findings: dict[str, int]) -> dict[str, int]:
    """What the same rows are found to be when they come again.

    Nothing is said of a plan that changes nothing, and whether the delivery is overdue is asked every night.
    """
    return {code: count for code, count in findings.items() if not code.startswith("GUARD-") and code != "FILE-OVERDUE"}
