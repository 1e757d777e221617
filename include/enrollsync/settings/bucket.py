"""An S3 store as an Airflow connection of type `aws` names it, through the client that Arrow brings.

Without a connection, the environment's own credentials are taken.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from enrollsync.settings.connections import Connection, is_loopback

if TYPE_CHECKING:
    from pyarrow import fs

TRIES = 5
"""How often one thing is asked for, after growing pauses."""
_CONNECT_SECONDS, _ANSWER_SECONDS = 15, 60
_DENIED = re.compile("DENIED|ACCESS_KEY|SIGNATURE|TOKEN|CREDENTIALS|HTTP status 40[13]")


def s3_client(connection: Connection | None, tries: int = TRIES) -> fs.S3FileSystem:
    """The store that the connection names. Raises ConfigurationError for one that is wrong."""
    from pyarrow import fs

    given = connection or Connection("", {})
    login, secret = given.text("login"), given.text("password")
    if bool(login) != bool(secret):
        raise given.wrong("needs both `login`, the key's id, and `password`, the secret; or neither")
    return fs.S3FileSystem(
        access_key=login or None,
        secret_key=secret or None,
        session_token=given.extra("aws_session_token") or None,
        region=given.extra("region_name") or None,
        endpoint_override=_endpoint(given),
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_ANSWER_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=tries),
        allow_delayed_open=True,  # a small file is one request
    )


def _endpoint(connection: Connection) -> str | None:
    """Where another store than Amazon's is asked. Raises ConfigurationError where files would travel in the open."""
    url = connection.extra("endpoint_url")
    if not url:
        return None
    try:
        split = urlsplit(url)
        is_address = split.scheme in ("http", "https") and bool(split.hostname) and "@" not in split.netloc
    except ValueError:
        is_address = False
    if not is_address:
        raise connection.wrong("its `endpoint_url` is no address; write one like https://s3.example.org")
    if split.scheme == "http" and not is_loopback(str(split.hostname)):
        raise connection.wrong("would fetch children's records in the open; write https:// before its `endpoint_url`")
    return url


def why_not(error: OSError) -> str:
    """What the store says no with, or that it does not answer; nothing of its answer but the name."""
    return " ".join(re.findall(r"(?<=AWS Error )[A-Z_]+|HTTP status [0-9]+", str(error))) or "it hung up"


def is_denied(why: str) -> bool:
    """Whether the store's word means that the key has no right, or is wrong."""
    return bool(_DENIED.search(why))
