"""`make secrets`: write .env, what docker-compose.yaml needs to be told and nobody may know: fresh passwords and keys.

Standard library only: the containers' host needs no virtual environment. (A file named secrets.py would stand before
the standard library's own for every script of this folder.)
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

ENV = Path(".env")
SETTINGS = {"AIRFLOW_BASE_URL": "http://localhost:8080"}
"""What is no secret and yours to change: the address by which people reach Airflow."""


def fresh_values() -> dict[str, str]:
    """Variable -> new random value, of letters, digits, `-`, `_` and `=` alone, so that it can stand in a URL.

    `SETTINGS` as they are.
    """
    return {
        "AIRFLOW_ADMIN_PASSWORD": secrets.token_urlsafe(18),
        "AIRFLOW_DB_PASSWORD": secrets.token_urlsafe(32),
        "ROSTER_DB_PASSWORD": secrets.token_urlsafe(32),
        "REDIS_PASSWORD": secrets.token_urlsafe(32),
        # Fernet takes 32 bytes, HS512 (Airflow's tokens) wants 64 or more.
        "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW_JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW_SECRET_KEY": secrets.token_urlsafe(32),
        "FLOWER_PASSWORD": secrets.token_urlsafe(18),
        **SETTINGS,
    }


def missing() -> dict[str, str]:
    """Fresh values for what .env does not have, all of them where there is no .env."""
    there = {line.partition("=")[0] for line in ENV.read_text().splitlines()} if ENV.exists() else set()
    return {name: value for name, value in fresh_values().items() if name not in there}


def main() -> int:
    """Exit status 0 when something was written, 1 when everything is there already; what is there always stays."""
    is_new, values = not ENV.exists(), missing()
    if not values:
        print(
            f"{ENV} is there already and stays: the databases were made with its passwords. Remove both to start anew.",
            file=sys.stderr,
        )
        return 1
    with os.fdopen(os.open(ENV, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as env:
        env.writelines(f"{name}={value}\n" for name, value in values.items())
    if is_new:
        print(f"Wrote {ENV}. Airflow's user is admin; its password is AIRFLOW_ADMIN_PASSWORD there.")
    else:
        print(f"Added to {ENV} what this version needs besides: {', '.join(values)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
