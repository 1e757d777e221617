"""moto's S3 server on loopback, and a bucket of it as the store of runs' folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer
from pyarrow import fs

SECRET = "a-secret-that-nobody-may-see"


@contextmanager
def running() -> Iterator[str]:
    """Where it listens."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


def client(url: str) -> fs.S3FileSystem:
    """A client that may make and remove buckets."""
    return fs.S3FileSystem(
        access_key="key", secret_key=SECRET, region="us-east-1", endpoint_override=url, allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )  # fmt: skip


def connection(url: str) -> str:
    """The Airflow connection to it, as JSON."""
    extra = {"endpoint_url": url, "region_name": "us-east-1"}
    return json.dumps({"conn_type": "aws", "login": "key", "password": SECRET, "extra": extra})
