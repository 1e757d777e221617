"""Receivers of what Airflow sends of itself, on loopback: metrics as StatsD lines, traces by OTLP over HTTP."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

_LINE = re.compile(r"(?P<name>[^,:]+)(?P<tags>(?:,[^=:,]+=[^,:|]*)*):(?P<value>[^|]+)\|(?P<kind>[a-z]+)(?:\|.*)?")


@dataclass(frozen=True)
class Metric:
    """One figure as it was sent."""

    name: str
    kind: str
    """`c` counts, `g` is the present value, `ms` a time."""
    value: str
    tags: dict[str, str]


@dataclass
class Telemetry:
    """What has come so far."""

    metrics_port: int
    traces_port: int
    datagrams: list[bytes] = field(default_factory=list)
    spans_sent: list[bytes] = field(default_factory=list)
    """Bodies as they came."""

    @property
    def settings(self) -> dict[str, str]:
        """What Airflow's services have to be told."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self.metrics_port),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
            "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",
            "AIRFLOW__TRACES__OTEL_ON": "True",
            "AIRFLOW__TRACES__TASK_RUNNER_FLUSH_TIMEOUT_MILLISECONDS": "2000",
            "OTEL_TRACES_EXPORTER": "otlp_proto_http",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{self.traces_port}/v1/traces",
            "OTEL_SERVICE_NAME": "airflow",
        }

    @property
    def metrics(self) -> list[Metric]:
        """Every figure that came, in order. Raises AssertionError for a line that is none."""
        found = []
        for line in (line for sent in list(self.datagrams) for line in sent.decode().splitlines()):
            read = _LINE.fullmatch(line)
            assert read, line
            tags = dict(tag.split("=", 1) for tag in read["tags"].split(",") if tag)
            found.append(Metric(read["name"], read["kind"], read["value"], tags))
        return found

    @property
    def spans(self) -> list[Any]:
        """Every span that came, as protobuf has it."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        sent = [ExportTraceServiceRequest.FromString(body) for body in list(self.spans_sent)]
        return [
            span
            for one in sent
            for resource in one.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def receiving() -> Iterator[Telemetry]:
    """Both receivers; they end at the end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
        udp.settimeout(0.5)
        told = Telemetry(udp.getsockname()[1], 0)

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.spans_sent.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        told.traces_port = server.server_port
        over: list[bool] = []

        def listen() -> None:
            while not over:
                try:
                    told.datagrams.append(udp.recv(65536))
                except TimeoutError:
                    continue

        threads = [Thread(target=server.serve_forever, daemon=True), Thread(target=listen, daemon=True)]
        for thread in threads:
            thread.start()
        try:
            yield told
        finally:
            over.append(True)
            server.shutdown()
            server.server_close()
            for thread in threads:
                thread.join(5)
