"""`python scripts/roles.py`: make every district's roles under Airflow's FAB auth manager, or set them right."""

from __future__ import annotations

import sys

from enrollsync.airflow.first_start import make_every_role

if __name__ == "__main__":
    sys.exit(make_every_role())
