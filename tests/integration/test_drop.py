"""The SFTP drop of docker-compose.yaml: the command as it stands, asked by paramiko."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest

COMMAND = [sys.executable, "-m", "enrollsync.arrive.drop"]


@dataclass(frozen=True)
class Drop:
    home: Path
    port: int
    host_key: str

    def manage(self, *words: str, sent: str = "") -> subprocess.CompletedProcess[str]:
        """What an administrator does beside the running server."""
        return manage(self.home, *words, sent=sent)

    @contextmanager
    def session(
        self, login: str, password: str | None = None, key: paramiko.PKey | None = None
    ) -> Iterator[paramiko.Transport]:
        transport = paramiko.Transport(("127.0.0.1", self.port))
        try:
            transport.connect(None, login, password, key)
            yield transport
        finally:
            transport.close()

    @contextmanager
    def files(self, login: str, password: str) -> Iterator[paramiko.SFTPClient]:
        with self.session(login, password) as session:
            opened = paramiko.SFTPClient.from_transport(session)
            assert opened is not None
            yield opened


def manage(home: Path, *words: str, sent: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ENROLLSYNC_HOME": str(home)}
    return subprocess.run([*COMMAND, *words], env=environment, input=sent, capture_output=True, text=True, check=False)


@contextmanager
def serving(home: Path) -> Iterator[Drop]:
    environment = {**os.environ, "ENROLLSYNC_HOME": str(home)}
    with subprocess.Popen(
        [*COMMAND, "serve", "127.0.0.1:0"], env=environment, stdout=subprocess.PIPE, text=True, umask=0
    ) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            key = process.stdout.readline().strip()
            yield Drop(home, int(said.partition(";")[0].rpartition(":")[2]), key)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drop]:
    with serving(tmp_path_factory.mktemp("drop")) as running:
        yield running


@pytest.fixture(scope="module")
def password(drop: Drop) -> str:
    """Of Lincoln."""
    assert drop.manage("password", "fresno").returncode == 0
    (drop.home / "data" / "landing" / "fresno" / "users.csv").write_text("of Fresno")
    return drop.manage("password", "lincoln").stdout.strip()


def test_delivery_is_uploaded_under_another_name_renamed_and_private(drop: Drop, password: str) -> None:
    with drop.files("lincoln", password) as files:
        files.mkdir("/monday", 0o777)
        files.putfo(io.BytesIO(b"userId\n1\n"), "/monday/users.csv.part")
        files.chmod("/monday/users.csv.part", 0o666)
        files.utime("/monday/users.csv.part", (1_700_000_000, 1_700_000_000))
        files.posix_rename("/monday/users.csv.part", "/monday/users.csv")
        assert files.listdir("/") == ["monday"]
    landed = drop.home / "data" / "landing" / "lincoln" / "monday" / "users.csv"
    assert landed.read_text() == "userId\n1\n"
    assert landed.stat().st_mtime == 1_700_000_000
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (landed, landed.parent, landed.parents[1])]
    assert modes == [0o600, 0o700, 0o700]


@pytest.mark.parametrize("path", ["../fresno/users.csv", "/../fresno/users.csv", "/data/landing/fresno/users.csv"])
def test_another_districts_folder_cannot_be_reached(drop: Drop, password: str, path: str) -> None:
    with drop.files("lincoln", password) as files:
        with pytest.raises(FileNotFoundError):
            files.open(path).read()
        for made in (lambda: files.symlink("../fresno", "/link"), lambda: files.symlink("/etc/passwd", "link")):
            with pytest.raises(PermissionError):
                made()


def test_there_is_no_shell_and_nothing_is_forwarded(drop: Drop, password: str) -> None:
    with drop.session("lincoln", password) as session:
        with pytest.raises(paramiko.SSHException):
            session.open_session().exec_command("id")
        with pytest.raises(paramiko.SSHException):
            session.open_channel("direct-tcpip", ("127.0.0.1", drop.port), ("127.0.0.1", 1))


@pytest.mark.parametrize("login", ["lincoln", "fresno", "nobody", "../lincoln", "host_key", ""])
def test_nobody_comes_in_by_another_password(drop: Drop, password: str, login: str) -> None:
    wrong = "wrong" if login == "lincoln" else password
    with pytest.raises(paramiko.AuthenticationException), drop.session(login, wrong):
        pass


def test_key_of_one_district_lets_in_no_other_and_goes_again(drop: Drop, password: str) -> None:
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(private_key(drop.home)))
    assert drop.manage("key", "washington", sent=f"ssh-ed25519 {key.get_base64()} theirs\n").returncode == 0
    with drop.session("washington", key=key) as session:
        assert session.is_authenticated()
    with pytest.raises(paramiko.AuthenticationException), drop.session("lincoln", key=key):
        pass
    assert drop.manage("remove", "washington").returncode == 0
    with pytest.raises(paramiko.AuthenticationException), drop.session("washington", key=key):
        pass


def private_key(folder: Path) -> str:
    import asyncssh

    return asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()


@pytest.mark.parametrize("words", [["password", "../x"], ["key", "lincoln"], ["password"], []])
def test_command_that_cannot_be_followed_is_said_and_changes_nothing(drop: Drop, words: list[str]) -> None:
    before = sorted((drop.home / "drop").iterdir())
    said = drop.manage(*words, sent="no key")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr and "Traceback" not in said.stderr
    assert sorted((drop.home / "drop").iterdir()) == before


def test_no_password_is_kept_and_the_host_key_stays(drop: Drop, password: str) -> None:
    kept = list((drop.home / "drop").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert not any(password in path.read_text() for path in kept)
    with serving(drop.home) as again:
        assert again.host_key == drop.host_key != ""
        with again.session("lincoln", password) as session:
            assert session.is_authenticated()
