"""`python scripts/roles.py`: make every district's roles under Airflow's FAB auth manager, or set them right."""

from __future__ import annotations

import sys

from enrollsync.airflow.districts import read_districts
from enrollsync.airflow.roles import make_roles
from enrollsync.words.errors import EnrollSyncError


def main() -> int:
    """1 where a district's roles cannot be made; then none was."""
    districts, problems = read_districts()
    try:
        made = make_roles([district.district_id for district in districts.values()])
    except EnrollSyncError as error:
        print(f"No role was made: {error}", file=sys.stderr)
        return 1
    print(f"{len(made)} roles of {len(districts)} districts are as they should be.")
    for problem in problems:
        print(f"No roles for the file that cannot be used: {problem}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
