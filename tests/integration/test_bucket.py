"""A landing place in an object store: moto's S3 server on loopback, asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from enrollsync import steps
from enrollsync.sample import write_sample
from enrollsync.settings.connections import Connection
from enrollsync.words.errors import EnrollSyncError

SECRET = "a-secret-that-nobody-may-see"
DISTRICT = """
district_id: lincoln
name: Lincoln
primary_source: batch_upload
source: {path: "s3://PLACE", connection: district_bucket, ready: .done}
database: {url: "sqlite:///roster.db"}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a store listens that has a complete delivery and half a newer one in the bucket `drop`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    files = fs.S3FileSystem(
        access_key="key", secret_key=SECRET, region="us-east-1", endpoint_override=f"http://{host}:{port}",
        allow_bucket_creation=True,
    )  # fmt: skip
    sample = tmp_path_factory.mktemp("sample")
    write_sample(sample, "batch_upload", 20, 1, 0.0)
    files.create_dir("drop")
    put(files, "drop/in/monday/.done", b"")
    put(files, "drop/in/monday/users.csv", (sample / "users.csv").read_bytes())
    put(files, "drop/in/tuesday/users.csv", b"half of")
    put(files, "drop/in/tuesday/deeper/down/users.csv", b"of nobody")
    yield f"http://{host}:{port}"
    server.stop()


def put(files: fs.S3FileSystem, key: str, content: bytes) -> None:
    with files.open_output_stream(key) as stream:
        stream.write(content)


def ingest(tmp_path: Path, url: str, place: str = "drop/in", **fields: Any) -> dict[str, Any]:
    (tmp_path / "lincoln.yaml").write_text(DISTRICT.replace("PLACE", place))
    workspace = steps.start(str(tmp_path / "lincoln.yaml"), run_id="run", as_of=datetime(2026, 11, 23, tzinfo=UTC))
    extra = {"endpoint_url": url, "region_name": "us-east-1"}
    given = {"conn_type": "aws", "login": "key", "password": SECRET, "extra": extra} | fields
    return steps.ingest(workspace, connection=Connection("district_bucket", given))


@pytest.mark.parametrize("place", ["drop/in", "drop/in/monday/"])
def test_a_night_reads_the_newest_complete_delivery_of_a_bucket(store: str, tmp_path: Path, place: str) -> None:
    assert ingest(tmp_path, store, place)["rows"]["users.csv"] >= 20


@pytest.mark.parametrize(("place", "fields", "said"), [
    ("drop/in/tuesday", {}, "FILE-INCOMPLETE: the delivery tuesday lacks .done"),
    ("drop/out", {}, "FILE-MISSING: there is no folder or zip s3://drop/out; correct the path"),
    ("other/in", {}, "FILE-MISSING: there is no folder or zip s3://other/in; correct the path"),
    ("drop/in", {"extra": {"endpoint_url": "http://127.0.0.1:1"}}, "FILE-UNREACHABLE: the store of s3://drop/in does"),
    ("drop/in", {"extra": {"endpoint_url": "http://files.example"}}, "would fetch children's records in the open"),
    ("drop/in", {"extra": {"endpoint_url": "files.example"}}, "its `endpoint_url` is no address"),
    ("drop/in", {"login": ""}, "needs both `login`, the key's id, and `password`, the secret"),
], ids=["no mark", "no prefix", "no bucket", "nobody there", "in the open", "no address", "no login"])  # fmt: skip
def test_a_bucket_that_cannot_be_read_is_refused_with_one_line(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, fields: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr("enrollsync.arrive.bucket._TRIES", 1)
    with pytest.raises(EnrollSyncError, match=said) as refused:
        ingest(tmp_path, store, place, **fields)
    assert str(refused.value).isprintable() and SECRET not in str(refused.value)


def test_a_key_without_the_right_is_refused(store: str, tmp_path: Path) -> None:
    httpx.post(f"{store}/moto-api/reset-auth", content=b"0")
    try:
        with pytest.raises(EnrollSyncError, match="FILE-DENIED: the store does not let us read s3://drop/in"):
            ingest(tmp_path, store)
    finally:
        httpx.post(f"{store}/moto-api/reset-auth", content=b"Infinity")
