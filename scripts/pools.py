"""`make pools`: make every district's pool of one slot in Airflow, which its scheduler does too when a run starts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from enrollsync.airflow.districts import pool_of, read_districts
from enrollsync.airflow.pools import settings_of


def pools() -> dict[str, dict[str, object]]:
    """What `airflow pools import` reads: one slot for each district whose file can be used."""
    ids = [district.district_id for district in read_districts()[0].values()]
    return {pool_of(district_id): settings_of(district_id) for district_id in ids}


def main() -> int:
    """Exit status of `airflow pools import`."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "pools.json")
        wanted.write_text(json.dumps(pools()))
        return subprocess.run(["airflow", "pools", "import", str(wanted)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
