"""Airflow connections as the environment holds them, for the command: it has no Airflow to ask.

Connections that Airflow keeps in its own database are read by `airflow/runs.py` inside its tasks.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any
from urllib.parse import quote, urlencode

from enrollsync.words.errors import ConfigurationError


def database_url(name: str) -> str:
    """The URL behind `AIRFLOW_CONN_<NAME>`, a URI or JSON as Airflow takes them; it may hold a password.

    Raises ConfigurationError where there is none, or it cannot be read; nothing of it is quoted.
    """
    variable = f"AIRFLOW_CONN_{name.upper()}"
    given = os.environ.get(variable, "").strip()
    if not given:
        raise ConfigurationError(
            f"`database.connection` {name}: the command finds connections in the environment, and {variable} is not "
            "set; set it to a URI or JSON, or give --database URL"
        )
    if not given.startswith("{"):
        return re.sub(r"^postgres:", "postgresql:", given)
    try:
        return _url(json.loads(given))
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(f"`database.connection` {name}: {variable} is no connection as JSON") from None


def _url(parts: dict[str, Any]) -> str:
    """The connection's fields, named as Airflow names them, as one URL."""
    kind, place = parts.get("conn_type"), parts.get("schema") or ""
    if kind == "sqlite":
        return f"sqlite:///{place or parts.get('host')}"
    extra = parts.get("extra") or {}
    options = urlencode(json.loads(extra) if isinstance(extra, str) else extra)
    login = ":".join(quote(parts[part], safe="") for part in ("login", "password") if parts.get(part))
    port = f":{int(parts['port'])}" if parts.get("port") else ""
    scheme = "postgresql" if kind == "postgres" else kind
    return f"{scheme}://{login and login + '@'}{parts.get('host') or ''}{port}/{place}{options and '?' + options}"
