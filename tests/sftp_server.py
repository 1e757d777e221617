"""An SFTP server of asyncssh in a process of its own, on loopback, with one login and a folder as its root."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

LOGIN, PASSWORD = "district", "a-password-that-nobody-may-see"


@dataclass(frozen=True)
class SftpServer:
    """Where it listens, and the host key that it shows."""

    port: int
    host_key: str

    def connection(self, **extra: Any) -> dict[str, Any]:
        """The fields of an Airflow connection that leads to it and knows its key, unless `extra` says something."""
        fields = {"conn_type": "sftp", "host": "127.0.0.1", "port": self.port, "login": LOGIN, "password": PASSWORD}
        return fields | {"extra": extra or {"host_key": self.host_key}}


@contextmanager
def serving(folder: Path, *, dies_after: int = 1 << 62) -> Iterator[SftpServer]:
    """Serve a folder until the block ends, or until so many bytes were read from it."""
    command = [sys.executable, __file__, str(folder), str(dies_after)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port, _, host_key = process.stdout.readline().strip().partition(" ")
        try:
            yield SftpServer(int(port), host_key)
        finally:
            process.kill()


class _Login(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (LOGIN, PASSWORD)


@dataclass
class _Left:
    bytes: int = field(default=0)


async def _serve(folder: str, dies_after: int) -> None:
    left = _Left(dies_after)

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
            super().__init__(channel, chroot=folder.encode())

        async def read(self, file_obj: object, offset: int, size: int) -> bytes:
            left.bytes -= size
            if left.bytes < 0:
                os._exit(1)
            found = super().read(file_obj, offset, size)
            return await found if asyncio.iscoroutine(found) else found

    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=_Login, server_host_keys=[key], sftp_factory=Files)
    print(server.get_port(), key.export_public_key().decode().strip(), flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
