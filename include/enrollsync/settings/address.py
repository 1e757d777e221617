"""Where a roster database is: a URL, read strictly, of which only what cannot be a secret is ever shown.

Strictly, because in a URL that is only nearly right nobody knows which part is the password; no error quotes any of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote

_FORM = "write sqlite:///folder/file.db or postgresql://user@host/database"
_ESCAPED = r"%[0-9A-Fa-f]{2}"
_HOST = r"[A-Za-z0-9._,-]+|\[[0-9A-Fa-f:.]+\]"
_POSTGRESQL = re.compile(
    rf"""postgresql(?:\+psycopg)?://
    (?:(?P<user>(?:[^\s:/?\#@%\[\]]|{_ESCAPED})*)(?::(?P<password>(?:[^\s/?\#@%\[\]]|{_ESCAPED})*))?@)?
    (?P<host>{_HOST})?(?::(?P<port>[0-9]{{1,5}}))?
    /(?P<database>[\w.$+~\ -]+)
    (?:\?(?P<options>[^\#\[\]]+))?""",
    re.VERBOSE,
)
_SOCKET_FOLDER = r"/[\w./-]*"
_SECRET_OPTIONS = {"password", "sslpassword"}
_OPTIONS = _SECRET_OPTIONS | {
    "application_name", "channel_binding", "client_encoding", "connect_timeout", "gssencmode", "host", "hostaddr",
    "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts",
    "options", "passfile", "require_auth", "requirepeer", "service", "ssl_max_protocol_version",
    "ssl_min_protocol_version", "sslcert", "sslcertmode", "sslcrl", "sslcrldir", "sslkey", "sslmode", "sslnegotiation",
    "sslrootcert", "sslsni", "target_session_attrs", "tcp_user_timeout", "user",
}  # fmt: skip
"""The connection parameters of libpq that have no place of their own in a URL."""


@dataclass(frozen=True)
class Address:
    """A URL that was read whole; `str()` is what may be shown of it."""

    kind: Literal["sqlite", "postgresql"]
    database: str
    """The file's path, relative to the project's root, or the database's name."""
    host: str | None = None
    port: int | None = None
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Connection parameters, as libpq calls them."""

    @property
    def secrets(self) -> list[str]:
        """What must not be shown, in every spelling in which a driver may quote it."""
        given = [self.password, *(self.options.get(name) for name in _SECRET_OPTIONS)]
        return [spelt for secret in given if secret for spelt in (secret, quote(secret, safe=""), quote(secret))]

    def __str__(self) -> str:
        if self.kind == "sqlite":
            return f"sqlite:///{self.database}"
        host = self.host or self.options.get("host") or "localhost"
        return f"postgresql://{host}{f':{self.port}' if self.port else ''}/{self.database}"


def read_address(url: str) -> Address:
    """Read a URL. Raises ValueError, which says what to write and quotes nothing of the URL."""
    if not url.isprintable():
        raise ValueError(f"{_FORM} (this one has a character that does not print)")
    if url.startswith("sqlite:"):
        return _sqlite(url)
    if re.match(r"postgresql(\+psycopg)?:", url):
        return _postgresql(url)
    raise ValueError(f"{_FORM} (this one is for no database that EnrollSync knows)")


def _sqlite(url: str) -> Address:
    path = url.removeprefix("sqlite:///")
    if path in (url, "", ":memory:") or "?" in path:
        raise ValueError(f"{_FORM} (this one names no file)")
    if re.search(":.*@", path):
        raise ValueError(f"{_FORM} (this one has a login, which a file has not)")
    return Address("sqlite", path)


def _postgresql(url: str) -> Address:
    parts = _POSTGRESQL.fullmatch(url)
    if parts is None:
        raise ValueError(
            f"{_FORM} (this one cannot be read; in user and password, what is no letter or digit is written like %40 "
            "for @)"
        )
    options = _options(parts["options"])
    port = int(parts["port"] or 0) or None
    host = options.get("host")
    if host is not None and (parts["host"] or not re.fullmatch(f"{_HOST}|{_SOCKET_FOLDER}", host)):
        raise ValueError(f"{_FORM} (this one names two hosts, or one that can be none)")
    if port is not None and port > 65_535:
        raise ValueError(f"{_FORM} (this one has no possible port)")
    user, password = (None if part is None else unquote(part) for part in (parts["user"], parts["password"]))
    if "\0" in f"{user}{password}{''.join(options.values())}":
        raise ValueError(f"{_FORM} (this one has a character that does not print)")
    return Address("postgresql", parts["database"], parts["host"], port, user, password, options)


def _options(text: str | None) -> dict[str, str]:
    try:
        given = parse_qsl(text or "", keep_blank_values=True, strict_parsing=True) if text else []
    except ValueError:
        given = [("", "")]
    options = dict(given)
    if len(options) < len(given) or not _OPTIONS.issuperset(options):
        raise ValueError(f"{_FORM} (this one has something behind `?` that PostgreSQL does not know)")
    return options


def without_addresses(text: str) -> str:
    """The text of others on one line, with `…` for every word that could be a part of an address or of a login."""
    return " ".join(re.sub(r"\S*([@=]|\w:[\w/])\S*", "…", text).split())
