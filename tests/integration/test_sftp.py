"""A landing place on an SFTP server: a real one, in a process of its own on loopback."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from enrollsync import steps
from enrollsync.sample import write_sample
from enrollsync.settings.connections import Connection
from enrollsync.words.errors import EnrollSyncError, Unreachable
from sftp_server import PASSWORD, SftpServer, serving

DISTRICT = """
district_id: lincoln
name: Lincoln
primary_source: batch_upload
source: {path: landing, connection: district_sftp, ready: .done}
database: {url: "sqlite:///roster.db"}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sftp")
    write_sample(root / "landing" / "monday", "batch_upload", 20, 1, 0.0)
    (root / "landing" / "monday" / ".done").touch()
    (root / "landing" / "latest").symlink_to("monday")
    (root / "landing" / "tuesday").mkdir()
    (root / "landing" / "tuesday" / "users.csv").write_text("half of")
    return root


@pytest.fixture(scope="module")
def server(files: Path) -> Iterator[SftpServer]:
    with serving(files) as running:
        yield running


def start(tmp_path: Path) -> str:
    (tmp_path / "lincoln.yaml").write_text(DISTRICT)
    return steps.start(str(tmp_path / "lincoln.yaml"), run_id="run", as_of=datetime(2026, 11, 23, tzinfo=UTC))


def test_a_night_reads_the_newest_complete_delivery_of_a_server_that_its_key_proves(
    server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DISTRICT_SFTP", json.dumps(server.connection()))
    told: list[str] = []
    workspace = start(tmp_path)
    assert steps.ingest(workspace, telling=told.append)["rows"]["users.csv"] >= 20
    assert told[0] == "ingest: 0 of 0 MiB fetched"
    assert not (Path(workspace) / "batch").exists()


@pytest.mark.parametrize(("changed", "said"), [
    ({"extra": {"timeout": 9}}, "is not known; it shows the key ssh-ed25519 SHA256:"),
    ({"extra": {"host_key": "OTHER"}}, "shows another key than the one that is known of it: SHA256:"),
    ({"extra": {"host_key": "ssh-rsa AAAA"}}, "`host_key` is none; write it like ssh-ed25519 AAAA"),
    ({"password": "wrong"}, "FILE-DENIED: 127.0.0.1 does not let `source.connection` district_sftp in"),
    ({"port": 1}, "FILE-UNREACHABLE: 127.0.0.1 of `source.connection` district_sftp does not answer"),
    ({"host": None}, "`source.connection` district_sftp: has no host"),
], ids=["unknown", "another key", "no key", "wrong password", "nobody there", "no host"])  # fmt: skip
def test_a_server_that_is_unknown_or_lets_nobody_in_is_refused_with_one_line(
    server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    fields = json.loads(json.dumps(server.connection() | changed).replace("OTHER", other.strip()))
    with pytest.raises(EnrollSyncError, match=said) as refused:
        steps.ingest(start(tmp_path), connection=Connection("district_sftp", fields))
    assert str(refused.value).isprintable() and PASSWORD not in str(refused.value)


@pytest.mark.parametrize("trust", ["known_hosts", "no check"])
def test_a_server_is_known_by_the_users_own_list_or_not_asked_for_its_key(
    server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    fields = server.connection(no_host_key_check=trust == "no check")
    if trust == "known_hosts":
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    assert steps.ingest(start(tmp_path), connection=Connection("district_sftp", fields))["format"] == "batch_upload"


def test_a_run_whose_line_breaks_is_refused_and_its_next_try_reads_on(files: Path, tmp_path: Path) -> None:
    big = files / "landing" / "monday" / "demographics.csv"
    big.write_bytes(b"x\n" * (1 << 20))
    workspace = start(tmp_path)
    with serving(files, dies_after=1 << 20) as server, pytest.raises(Unreachable, match="nothing was changed"):
        steps.ingest(workspace, connection=Connection("district_sftp", server.connection()))
    assert os.listdir(Path(workspace) / "batch" / "arrived") != []
    with serving(files) as server:
        steps.ingest(workspace, connection=Connection("district_sftp", server.connection()))
    big.unlink()
