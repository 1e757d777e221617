"""Airflow connections as the environment holds them, for the command: it has no Airflow to ask.

Connections that Airflow keeps in its own database are read by `airflow/runs.py` inside its tasks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from enrollsync.words.errors import ConfigurationError

_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|\[?::1\]?")
_SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Connection:
    """An Airflow connection; what a way of arriving makes of its fields, it says itself."""

    name: str
    fields: Mapping[str, Any] = field(repr=False)
    """`host`, `login`, `password`, `port`, `extra` and the others, as Airflow names them; nothing of them is quoted."""
    named_by: str = "`source.connection`"
    """What names it, for messages."""

    def text(self, part: str) -> str:
        """A field, "" where there is none. Raises ConfigurationError where it is no text."""
        return self._text(self.fields, part)

    def extra(self, part: str) -> str:
        """A value of the field `extra`, likewise; true is "true"."""
        extra = self.fields.get("extra") or {}
        try:
            options = json.loads(extra) if isinstance(extra, str) else extra
        except ValueError:
            options = None
        if not isinstance(options, Mapping):
            raise self.wrong("its extra is no JSON object")
        given = options.get(part)
        return str(given).lower() if isinstance(given, bool) else self._text(options, part)

    def _text(self, of: Mapping[str, Any], part: str) -> str:
        value = of.get(part)
        if not isinstance(value, str | None):
            raise self.wrong(f"its {part} is no text")
        return (value or "").strip()

    def port(self, usual: int) -> int:
        """Its port. Raises ConfigurationError where it is none."""
        given = str(self.fields.get("port") or usual)
        if not re.fullmatch("[0-9]{1,5}", given):
            raise self.wrong("its port is no number")
        return int(given)

    def wrong(self, said: str) -> ConfigurationError:
        """What is wrong with it, for a person."""
        return ConfigurationError(f"{self.named_by} {self.name}: {said}; correct the connection")


@dataclass(frozen=True)
class Access:
    """How an API is reached."""

    url: str
    """Scheme, host and port, with what stands before every path; no login."""
    token: str = field(repr=False)
    """Goes into the header of each request, and nowhere else."""
    is_local: bool = False
    """Whether it is on this machine: no proxy leads there."""


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


def is_loopback(host: str) -> bool:
    """Whether that is this machine."""
    return bool(_LOOPBACK.fullmatch(host))


def source_connection(name: str) -> Connection:
    """The connection behind `AIRFLOW_CONN_<NAME>`, a URI or JSON as Airflow takes them.

    Raises ConfigurationError where there is none, or it cannot be read; nothing of it is quoted.
    """
    variable = f"AIRFLOW_CONN_{name.upper()}"
    given = os.environ.get(variable, "").strip()
    if not given:
        raise ConfigurationError(
            f"`source.connection` {name}: the command finds connections in the environment, and {variable} is not "
            "set; set it to a URI or JSON"
        )
    return _connection(name, given, "`source.connection`")


def optional_connection(name: str, named_by: str) -> Connection | None:
    """The same of a connection that need not be there; `named_by`: what names it, for messages."""
    given = os.environ.get(f"AIRFLOW_CONN_{name.upper()}", "").strip()
    return _connection(name, given, named_by) if given else None


def _connection(name: str, given: str, named_by: str) -> Connection:
    try:
        return Connection(name, json.loads(given) if given.startswith("{") else _parts(given), named_by)
    except ValueError:
        raise ConfigurationError(
            f"{named_by} {name}: AIRFLOW_CONN_{name.upper()} is no connection as URI or JSON"
        ) from None


def _parts(uri: str) -> dict[str, Any]:
    """The fields of a connection written as a URI; raises ValueError for a port that is none."""
    split = urlsplit(uri)
    text = {
        "host": split.hostname, "login": split.username, "password": split.password, "schema": split.path.strip("/")
    }  # fmt: skip
    extra = dict(parse_qsl(split.query))
    return {name: unquote(value or "") for name, value in text.items()} | {
        "port": split.port,
        "extra": extra.get("__extra__", extra),
    }


def api_access(connection: Connection) -> Access:
    """How to reach the API of a connection; without a host, Clever's own.

    Raises ConfigurationError where the token is missing or would travel in the open; nothing of the fields is quoted.
    """
    said = f"`source.connection` {connection.name}"
    host, token = connection.text("host").rstrip("/") or "api.clever.com", connection.text("password")
    schema = connection.text("schema")
    if not token:
        raise ConfigurationError(f"{said}: has no password; put the district's token (bearer) there")
    if not re.fullmatch(r"[!-~]+", token):
        raise ConfigurationError(f"{said}: its password is no token, which has neither blanks nor letters with accents")
    scheme, divided, place = host.rpartition("://")
    scheme = scheme if divided else schema if schema in _SCHEMES else "https"
    port = str(connection.fields.get("port") or "")
    url = f"{scheme}://{place}{':' + port if port else ''}"
    found = re.fullmatch(r"https?://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?", url)
    if not found:
        raise ConfigurationError(f"{said}: its host is no address; write one like https://api.clever.com")
    is_local = is_loopback(found[1])
    if scheme == "http" and not is_local:
        raise ConfigurationError(f"{said}: would send the token in the open; write https:// before its host")
    return Access(url, token, is_local)
