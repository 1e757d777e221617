"""`python -m enrollsync.airflow.first_start`: what FAB's auth manager needs before Airflow starts; it can be repeated.

FAB's own roles, three roles for each district file, and the first administrator. Run it again for a new district.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from enrollsync.airflow.districts import read_districts
from enrollsync.airflow.roles import make_roles
from enrollsync.words.errors import EnrollSyncError

ADMINISTRATOR = "admin"
PASSWORD = "AIRFLOW_ADMIN_PASSWORD"
"""The environment variable that holds the first administrator's password, which no process's arguments may."""


def make_administrator(security: Any) -> bool:
    """Add the first administrator to FAB's users; False when there is one of that name, who keeps their password.

    `security` is FAB's security manager. KeyError without the password in the environment.
    """
    if security.find_user(username=ADMINISTRATOR):
        return False
    role = security.find_role("Admin")
    email = f"{ADMINISTRATOR}@localhost"
    if not security.add_user(ADMINISTRATOR, "First", "Administrator", email, role, os.environ[PASSWORD]):
        raise SystemExit("The first administrator could not be added; the lines above say why.")
    return True


def make_every_role() -> int:
    """Make each district's roles, or set them right, and say so; 1 where they cannot be made, and then none was.

    District files that cannot be used are told and passed over.
    """
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


def main() -> int:
    """As `make_every_role`."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        builder.add_permissions(update_perms=True)  # type: ignore[no-untyped-call]
        builder.sm.sync_roles()
        made = make_administrator(builder.sm)
    print(f"The user {ADMINISTRATOR} {'is new' if made else 'stays as it is'}.")
    return make_every_role()


if __name__ == "__main__":
    sys.exit(main())
