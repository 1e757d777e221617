"""How long a change on a profile page takes: `python -m benchmarks.edits`; set by the environment.

SIZE      students of the roster, delivered by Batch Upload and kept in SQLite (1000000)
FOLDER    where the roster is made, and used again when it is there (data/bench/edits)
EDITS     changes, one after the other, each of another person, after WARM_UP that are not counted (30)

Each is asked for by one client of a real server on loopback: *look* shows what would change, *press* does it.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median

import httpx
import yaml

from benchmarks import results
from benchmarks.__main__ import ENROLLSYNC, ROOT
from benchmarks.measure import measure
from benchmarks.portal import served

DISTRICT = "edited"
WARM_UP = 3
_PAGE = f"/roster/districts/{DISTRICT}/users"


def main() -> int:
    folder = Path(os.environ.get("FOLDER", str(ROOT / "data" / "bench" / "edits"))).resolve()
    size = int(os.environ.get("SIZE", "1000000"))
    os.environ["ENROLLSYNC_HOME"] = str(folder)
    _make_roster(folder, size)
    load, random = os.getloadavg()[0], Random(1)
    with served(str(folder), None) as (client, _):
        origin = {"Origin": str(client.base_url).rstrip("/")}
        taken = [_edit(client, origin, key) for key in random.sample(range(1, size), WARM_UP + _edits())]
    looks, presses = zip(*taken[WARM_UP:], strict=True)
    document = {
        "machine": results.machine(), "load_before": round(load, 1), "commit": results.commit()[0], "students": size,
        "edits": len(looks), "look_ms": _figures(looks), "press_ms": _figures(presses),
    }  # fmt: skip
    print(json.dumps(document, indent=2))
    (results.FOLDER / "edits.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _edits() -> int:
    return int(os.environ.get("EDITS", "30"))


def _make_roster(folder: Path, size: int) -> None:
    """A district's file and its roster, unless they are there already."""
    file = folder / "include" / "districts" / f"{DISTRICT}.yaml"
    if file.exists():
        return
    sampled = ("sample", str(folder / "delivery"), "--format", "batch_upload", "--students", str(size), "--seed", "1")
    _run((*ENROLLSYNC, *sampled))
    file.parent.mkdir(parents=True)
    told = {
        "district_id": DISTRICT, "name": "Edited", "primary_source": "batch_upload",
        "source": {"path": "delivery"}, "database": {"url": "sqlite:///data/roster.db"},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(told))
    _run((*ENROLLSYNC, "sync", "--district", DISTRICT, "--approve"))


def _run(command: tuple[str, ...]) -> None:
    made = measure(command, timeout=3600, env=os.environ, cwd=ROOT)
    if made.error:
        raise SystemExit(f"bench: the roster could not be made: {made.error}")


def _edit(client: httpx.Client, origin: dict[str, str], key: int) -> tuple[float, float]:
    """Milliseconds of looking at a new identifier, and of having it."""
    page = client.get(f"{_PAGE}/{key}").raise_for_status().text
    now = datetime.now(UTC)  # nobody has an identifier made of it, from an earlier measuring neither
    wish = _fields(page) | {"identifier": f"E{key}T{now:%Y%m%d%H%M%S}", "reason": f"measured {now:%Y-%m-%d}"}
    began = time.perf_counter()
    looked = client.post(f"{_PAGE}/{key}", data=wish, headers=origin).raise_for_status().text
    shown = time.perf_counter()
    done = client.post(f"{_PAGE}/{key}", data=_fields(looked), headers=origin)
    ended = time.perf_counter()
    if done.status_code != 303:
        raise SystemExit(f"bench: the change of {key} was answered {done.status_code}: {done.text[-300:]}")
    return 1000 * (shown - began), 1000 * (ended - shown)


def _fields(page: str) -> dict[str, str]:
    """What a browser would send of the page's form, if nothing was written into it."""
    form = next(form for form in re.findall(r'<form method="post".*?</form>', page, re.DOTALL) if 'name="seen"' in form)
    inputs = [dict(re.findall(r'(name|value)="([^"]*)"', one)) for one in re.findall(r"<input([^>]*)>", form)]
    return {one["name"]: one.get("value", "") for one in inputs}


def _figures(taken: tuple[float, ...]) -> dict[str, float]:
    counted = sorted(taken)
    at95 = math.ceil(0.95 * len(counted)) - 1
    return {"median": round(median(counted)), "p95": round(counted[at95]), "most": round(counted[-1])}


if __name__ == "__main__":
    sys.exit(main())
