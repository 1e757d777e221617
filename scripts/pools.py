"""Gives every district its pool of one slot in Airflow, which its tasks wait for; part of every set-up.

Run it again when a district file was added: without its pool a district's tasks are never started.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from enrollsync.airflow.districts import pool_of, read_districts


def pools() -> dict[str, dict[str, object]]:
    """What `airflow pools import` reads: one slot for each district whose file can be used."""
    return {
        pool_of(district.district_id): {
            "slots": 1,
            "description": f"One writer at a time: {district.name}",
            "include_deferred": False,
        }
        for district in read_districts()[0].values()
    }


def main() -> int:
    """Exit status of `airflow pools import`."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "pools.json")
        wanted.write_text(json.dumps(pools()))
        return subprocess.run(["airflow", "pools", "import", str(wanted)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
