"""Who is told: an SMTP server and the receiver of a webhook, on loopback."""

from __future__ import annotations

import email
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.policy import default as modern
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

WEBHOOK_KEY = "services/T0/B0/secret"
"""Who knows this path may write into the channel."""


@dataclass
class Mailbox:
    """Messages that have come."""

    uri: str = ""
    """The Airflow connection that sends here."""
    received: list[Any] = field(default_factory=list)


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """An SMTP server and its only mailbox."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Message

    box = Mailbox()

    class Keep(Message):
        def handle_message(self, message: Any) -> None:
            box.received.append(email.message_from_bytes(message.as_bytes(), policy=modern))

    with socket.create_server(("127.0.0.1", 0)) as free:  # the controller asks its own port whether it is up
        port = free.getsockname()[1]
    box.uri = f"smtp://127.0.0.1:{port}/?disable_ssl=true&disable_tls=true&from_email=roster%40example.org"
    server = Controller(Keep(), hostname="127.0.0.1", port=port)
    server.start()
    try:
        yield box
    finally:
        server.stop()


@dataclass
class Webhook:
    """What has been posted; the answer can be changed."""

    connection: str = ""
    """The Airflow connection that posts here, as JSON."""
    posted: list[tuple[str, Any]] = field(default_factory=list)
    """Path, and what the JSON says."""
    status: int = 200


@contextmanager
def webhook_receiver() -> Iterator[Webhook]:
    """A server that takes what is posted."""
    state = Webhook()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.posted.append((self.path, json.loads(body)))
            self.send_response(state.status)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{WEBHOOK_KEY}"
    state.connection = json.dumps({"conn_type": "http", "host": address})
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
