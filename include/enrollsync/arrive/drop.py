"""`python -m enrollsync.arrive.drop`: an SFTP server of our own, into whose folders districts drop their deliveries.

    serve HOST:PORT     serve until it is ended; makes its host key at the first start and prints its public half
    password DISTRICT   let a district in by a new password, which is printed once and kept as a hash
    key DISTRICT        let a district in by the public keys on standard input, in place of those of before
    remove DISTRICT     let it in no longer, by either

A login is a `district_id` and sees `data/landing/<district_id>` as its root. It can upload, rename, look and remove
there, nothing else: no shell, no forwarding, no links. It needs no rights of the system's: keys, hashes and folders
belong to whoever runs it, and whose umask does not matter.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import asyncssh

from enrollsync.settings import project_root
from enrollsync.words import private
from enrollsync.words.errors import ConfigurationError, EnrollSyncError

_NOBODY = "00" * 16 + ":" + "00" * 64
"""Compared with where there is no such login, so that the answer takes as long."""


def folder() -> Path:
    """Where host key, hashes and public keys are kept."""
    return project_root() / "drop"


def landing(login: str) -> Path:
    """The folder that the login sees as its root."""
    return project_root() / "data" / "landing" / login


def _kept(login: str, kind: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", login):
        raise ConfigurationError("a login is a `district_id`: letters, digits, - and _")
    return folder() / f"{login}.{kind}"


def _hashed(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()


def _write(path: Path, text: str) -> None:
    """All or nothing, for its owner alone."""
    private.make_folder(path.parent)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    private.make_file(new)
    new.write_text(text)
    new.replace(path)


def new_password(login: str) -> str:
    """Let the login in by a new password, which is returned and nowhere kept; the one of before is void."""
    password, salt = secrets.token_urlsafe(24), secrets.token_hex(16)
    _write(_kept(login, "password"), f"{salt}:{_hashed(password, salt)}")
    private.make_folder(landing(login))
    return password


def take_keys(login: str, keys: str) -> int:
    """Let the login in by these public keys alone, as in OpenSSH's `authorized_keys`; how many there are.

    ConfigurationError where one cannot be read.
    """
    try:
        asyncssh.import_authorized_keys(keys)
    except ValueError as error:
        raise ConfigurationError(f"that is no public key of OpenSSH's: {error}") from None
    _write(_kept(login, "keys"), keys)
    private.make_folder(landing(login))
    return len(keys.strip().splitlines())


def remove(login: str) -> None:
    """Let the login in no longer; its folder stays, and so does whoever is in just now."""
    for kind in ("password", "keys"):
        _kept(login, kind).unlink(missing_ok=True)


def is_password(login: str, password: str) -> bool:
    """Whether the login has this password."""
    kept = _kept(login, "password")
    salt, _, wanted = (kept.read_text() if kept.is_file() else _NOBODY).partition(":")
    return hmac.compare_digest(_hashed(password, salt), wanted)


def host_key() -> asyncssh.SSHKey:
    """The server's; made where there is none."""
    path = folder() / "host_key"
    if not path.is_file():
        _write(path, asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
    return asyncssh.read_private_key(path)


class _Login(asyncssh.SSHServer):
    """Who may come in: logins that have a password or keys."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        try:
            kept = _kept(username, "keys")
        except ConfigurationError:
            return True  # and no password will do
        if kept.is_file():
            self._connection.set_authorized_keys(asyncssh.import_authorized_keys(kept.read_text()))
        return True

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        try:
            return await asyncio.to_thread(is_password, username, password)
        except ConfigurationError:
            return False


class _Files(asyncssh.SFTPServer):
    """The login's folder as its root; what could lead out of it, or open it to others, is refused or passed over."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        root = landing(channel.get_extra_info("username"))
        private.make_folder(root)
        super().__init__(channel, chroot=os.fsencode(root))

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPPermissionDenied("links are not taken here")

    link = symlink

    def exit(self) -> None:
        """Say that all went well, which `scp` waits for."""
        with suppress(OSError):  # the client did not
            self.channel.exit(0)

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> asyncssh.misc.MaybeAwait[object]:
        return super().open(path, pflags, _without_rights(attrs))

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> asyncssh.misc.MaybeAwait[None]:
        return super().mkdir(path, _without_rights(attrs))

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> asyncssh.misc.MaybeAwait[None]:
        return super().setstat(path, _without_rights(attrs))

    def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> asyncssh.misc.MaybeAwait[None]:
        return super().fsetstat(file_obj, _without_rights(attrs))


def _without_rights(attrs: asyncssh.SFTPAttrs) -> asyncssh.SFTPAttrs:
    """Sizes and times; who owns a file and who may read it is not the client's to say."""
    return asyncssh.SFTPAttrs(size=attrs.size, atime=attrs.atime, mtime=attrs.mtime)


async def serve(host: str, port: int, ready: Callable[[int, str], None]) -> None:
    """Serve until it is cancelled; `ready` is told the port, which may have been 0, and the public host key."""
    os.umask(0o077)
    key = host_key()
    server = await asyncssh.listen(host, port, server_factory=_Login, server_host_keys=[key], sftp_factory=_Files)
    ready(server.get_port(), key.export_public_key().decode().strip())
    await server.wait_closed()


def _told(host: str, port: int, key: str) -> None:
    print(f"SFTP on {host}:{port}; the host key is\n{key}", flush=True)


def main(words: list[str]) -> int:
    """Exit status 2 with one line for a command that cannot be followed."""
    try:
        match words:
            case ["serve", address]:
                host, _, port = address.rpartition(":")
                asyncio.run(serve(host, int(port), partial(_told, host)))
            case ["password", login]:
                print(new_password(login))
            case ["key", login]:
                print(f"{take_keys(login, sys.stdin.read())} keys let {login} in")
            case ["remove", login]:
                remove(login)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except EnrollSyncError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
