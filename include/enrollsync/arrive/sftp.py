"""A folder of an SFTP server as a landing place, through paramiko, which Airflow's SFTP connections use too.

The connection's fields are those of Airflow's types `sftp` and `ssh`. The server has to show the host key that is known
of it; nothing is sent to one that does not.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import paramiko

from enrollsync.arrive.choose import Entry
from enrollsync.settings.connections import Connection
from enrollsync.words.errors import Refused, Unreachable
from enrollsync.words.printable import shortened

_CONNECT_SECONDS = 15
_ANSWER_SECONDS = 60
"""How long one answer may take."""
_PIECE = 1 << 20
"""Bytes."""
_ASKED_AHEAD = 64
"""Pieces of 32 KiB that are on their way at a time."""

# What it says with tracebacks, and of every login, is said here in one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


@contextmanager
def sftp_place(connection: Connection) -> Iterator[SftpPlace]:
    """The server's files, until the block ends.

    Raises Refused (FILE-HOST, FILE-DENIED), Unreachable, ConfigurationError.
    """
    with paramiko.SSHClient() as client:
        server = _Server(connection)
        server.introduce(client)
        password, key = connection.text("password") or None, _private_key(connection)
        with server.reached():
            client.connect(
                server.host,
                server.port,
                username=connection.text("login") or None,
                password=password,
                pkey=key,
                look_for_keys=password is None and key is None,
                allow_agent=False,
                timeout=_CONNECT_SECONDS,
                banner_timeout=_CONNECT_SECONDS,
                auth_timeout=_ANSWER_SECONDS,
                channel_timeout=_ANSWER_SECONDS,
            )
            files = client.open_sftp()
            files.get_channel().settimeout(_ANSWER_SECONDS)  # type: ignore[union-attr]
        yield SftpPlace(files, server)


class SftpPlace:
    """The files of a server, as the login of the connection sees them."""

    def __init__(self, files: paramiko.SFTPClient, server: _Server) -> None:
        self._files = files
        self._server = server

    def look(self, path: str) -> Entry | None:
        """What is there now; links to it are followed, those within it are not."""
        with self._server.reached(path):
            try:
                place = self._files.normalize(path)
                return self._entry(place, self._files.stat(place), depth=2)
            except FileNotFoundError:
                return None

    def _entry(self, path: str, found: paramiko.SFTPAttributes, depth: int) -> Entry:
        name, is_link = path.rpartition("/")[2], stat.S_ISLNK(found.st_mode or 0)
        target = self._target(path) if is_link else found
        within = None
        if target is not None and stat.S_ISDIR(target.st_mode or 0):
            within = tuple(self._entries(path, depth - 1)) if depth else ()
        is_other_name = is_link and self._parent_of_target(path) == path.rpartition("/")[0]
        return Entry(path, name, found.st_size or 0, float(found.st_mtime or 0), is_link, is_other_name, within)

    def _entries(self, folder: str, depth: int) -> Iterator[Entry]:
        for found in self._files.listdir_attr(folder):
            if stat.S_IFMT(found.st_mode or 0) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                yield self._entry(f"{folder.rstrip('/')}/{found.filename}", found, depth)

    def _target(self, path: str) -> paramiko.SFTPAttributes | None:
        try:
            return self._files.stat(path)
        except OSError:
            return None

    def _parent_of_target(self, path: str) -> str | None:
        try:
            return self._files.normalize(path).rpartition("/")[0]
        except OSError:
            return None

    def is_whole_zip(self, path: str) -> bool:
        """Whether a file is a zip that has its end."""
        with self._server.reached(path), self._files.open(path) as stream:
            return zipfile.is_zipfile(stream)

    def pieces(self, path: str) -> Iterator[bytes]:
        """A file's bytes, from its beginning."""
        with self._server.reached(path), self._files.open(path) as stream:
            stream.prefetch(max_concurrent_requests=_ASKED_AHEAD)
            while piece := stream.read(_PIECE):
                yield piece


class _Server:
    """Who answers: its address, the key that is known of it, and what is said when it is not as it should be."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._called = f"`source.connection` {connection.name}"
        self.host, self.port = connection.text("host"), connection.port(22)
        if not self.host:
            raise connection.wrong("has no host")

    def introduce(self, client: paramiko.SSHClient) -> None:
        """Tell which key the server has to show: `host_key`, else what `~/.ssh/known_hosts` says; any on request."""
        given, is_any = self._connection.extra("host_key"), self._connection.extra("no_host_key_check") == "true"
        if given and is_any:
            raise self._connection.wrong("has both `host_key` and `no_host_key_check`")
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy() if is_any else _Unknown(self._called))
        if given:
            key = _public_key(given)
            if key is None:
                raise self._connection.wrong("its `host_key` is none; write it like ssh-ed25519 AAAA...")
            name = self.host if self.port == paramiko.config.SSH_PORT else f"[{self.host}]:{self.port}"
            client.get_host_keys().add(name, key.get_name(), key)
        elif not is_any:
            client.load_system_host_keys()

    @contextmanager
    def reached(self, path: str | None = None) -> Iterator[None]:
        """Say in one line what the server refuses, of `path` where a file is asked for, or that it does not answer."""
        try:
            yield
        except paramiko.BadHostKeyException as changed:
            said = f"shows another key than the one that is known of it: {changed.key.fingerprint}"
            _refuse_key(said, self.host, self._called)
        except paramiko.AuthenticationException:
            said = f"{self.host} does not let {self._called} in; put the present password or key into the connection"
            raise Refused("FILE-DENIED", said) from None
        except UnicodeDecodeError:
            raise Refused("FILE-UNSAFE", f"a file's name in {path} is not UTF-8; rename it") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            if path is not None and isinstance(error, PermissionError):
                said = f"{self.host} does not let {self._called} read {path}; ask whoever runs it for that right"
                raise Refused("FILE-DENIED", said) from None
            if path is not None and isinstance(error, FileNotFoundError):
                said = "it went while the delivery was read; wait for the upload to end"
                raise Refused("FILE-INCOMPLETE", said, file=path.rpartition("/")[2]) from None
            why = shortened(getattr(error, "strerror", None) or str(error) or "it hung up")
            said = f"{self.host} of {self._called} does not answer: {why}; nothing was changed, run again later"
            raise Unreachable(said) from None


class _Unknown(paramiko.MissingHostKeyPolicy):
    """No server is trusted because it is the first to answer."""

    def __init__(self, called: str) -> None:
        self._called = called

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        """Raise Refused (FILE-HOST)."""
        _refuse_key(f"is not known; it shows the key {key.get_name()} {key.fingerprint}", hostname, self._called)


def _refuse_key(said: str, host: str, called: str) -> NoReturn:
    raise Refused(
        "FILE-HOST",
        f"the server {host} {said}; when whoever runs it confirms that key, put it (`ssh-keyscan` prints it) as "
        f"`host_key` into the extra of {called}, or its line into ~/.ssh/known_hosts",
    ) from None


def _public_key(text: str) -> paramiko.PKey | None:
    """A key as OpenSSH writes it, with or without its kind before it."""
    data = next((part for part in text.split() if part.startswith("AAAA")), "")
    try:
        blob = base64.b64decode(data, validate=True)
        return paramiko.PKey.from_type_string(paramiko.Message(blob).get_text(), blob) if blob else None
    except (binascii.Error, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        return None


def _private_key(connection: Connection) -> paramiko.PKey | None:
    """The login's own key: a file's, or the text itself."""
    path, text = connection.extra("key_file"), connection.extra("private_key")
    passphrase = connection.extra("private_key_passphrase") or None
    try:
        if path:
            text = Path(path).expanduser().read_text()
    except (OSError, ValueError):
        raise connection.wrong("its `key_file` cannot be read") from None
    return _key_of(text, passphrase, connection) if text else None


def _key_of(text: str, passphrase: str | None, connection: Connection) -> paramiko.PKey:
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(f"{text.strip()}\n"), passphrase)
        except (paramiko.SSHException, ValueError, TypeError):
            continue
    raise connection.wrong("its private key cannot be read, or needs another `private_key_passphrase`") from None
