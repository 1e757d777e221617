"""Who is told what of a run: by email through an SMTP server on loopback, by webhook through a receiver there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from enrollsync.airflow import broken_files
from enrollsync.airflow.notify import RosterNotifier, events_of
from enrollsync.run.workspace import COUNTED, Notice, RunManifest, Workspace
from enrollsync.settings import load_district
from enrollsync.words.codes import Severity
from messages import Webhook, mail_server, webhook_receiver

PROJECT = Path(__file__).resolve().parents[2]
RUN = SimpleNamespace(dag_id="enrollment_sync__lincoln", run_id="manual__1")


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Messages that an SMTP server has received."""
    with mail_server() as box:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", box.uri)
        yield box.received


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """What has been posted to a receiver; its answer can be changed."""
    with webhook_receiver() as state:
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", state.connection)
        yield state


@pytest.fixture
def held(tmp_path: Path, districts: Callable[..., Path]) -> Callable[[str], str]:
    """Call it with the `notify:` line of a district; the workspace of its held run."""

    def make(notify: str) -> str:
        path = districts("lincoln")
        path.write_text(path.read_text() + f"notify: {notify}\n")
        place = Workspace(tmp_path / "run").create()
        place.write_settings(load_district("lincoln"))
        hold = Notice(code="GUARD-DEACTIVATE", severity=Severity.CRITICAL, message="412 of 500 active users & more")
        place.write(
            RunManifest(
                run_id="manual__1", district="lincoln", as_of=datetime(2026, 11, 23, tzinfo=UTC), outcome="held",
                holds=[hold], findings={"ID-DUPLICATE": 3, "GUARD-DEACTIVATE": 1},
                counts={"users": dict.fromkeys(COUNTED, 0) | {"deactivate": 412}},
            )
        )  # fmt: skip
        return str(place.root)

    return make


def test_email_says_what_and_where_to_look(mailbox: list[Any], held: Callable[[str], str]) -> None:
    RosterNotifier("hold", held("{email: [office@example.org, data@example.org]}"))({"ti": RUN})
    (message,) = mailbox
    assert message["subject"] == "Demo Unified: a plan waits for your approval"
    assert message["to"] == "office@example.org, data@example.org"
    assert message["from"] == "roster@example.org"
    text = message.get_body(("html",)).get_content()
    assert "GUARD-DEACTIVATE: 412 of 500 active users &amp; more" in text
    assert "412 deactivate" in text
    assert "/dags/enrollment_sync__lincoln/runs/manual__1" in text
    assert "/roster/enrollment_sync__lincoln/manual__1/report.html" in text


def test_webhook_gets_json_with_a_text(webhook: Webhook, held: Callable[[str], str]) -> None:
    RosterNotifier("hold", held("{webhook: hook}"))({"ti": RUN})
    ((path, posted),) = webhook.posted
    assert path == "/services/T0/B0/secret"
    assert list(posted) == ["text"]
    assert posted["text"].startswith("*Demo Unified: a plan waits for your approval*")
    assert "ID-DUPLICATE 3" in posted["text"]


def test_key_in_the_webhooks_address_is_masked_in_every_log(
    webhook: Webhook, held: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import log

    masked: list[str] = []
    monkeypatch.setattr(log, "mask_secret", masked.append)
    RosterNotifier("hold", held("{webhook: hook}"))({"ti": RUN})
    assert masked == ["services/T0/B0/secret"]


def test_event_that_nobody_asked_for_is_not_sent(webhook: Webhook, held: Callable[[str], str]) -> None:
    RosterNotifier("hold", held("{webhook: hook, events: [refusal, failure]}"))({"ti": RUN})
    assert webhook.posted == []


def test_receiver_that_is_down_does_not_keep_the_email_and_fails_no_run(
    mailbox: list[Any], webhook: Webhook, held: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    webhook.status = 500
    caplog.set_level("WARNING", logger="enrollsync")
    RosterNotifier("hold", held("{webhook: hook, email: [office@example.org]}"))({"ti": RUN})
    assert len(mailbox) == 1
    assert "could not be sent by webhook hook" in caplog.text
    assert "B0/secret" not in caplog.text


@pytest.mark.parametrize(
    ("manifest", "failed", "events"),
    [
        ({"outcome": "applied"}, False, []),
        ({"outcome": "applied", "findings": {"ID-CASE": 1, "VAL-EMAIL": 1}}, False, ["findings"]),
        ({"outcome": "in_sync", "findings": {"ID-MISSING": 1}}, False, ["findings"]),
        ({"outcome": "applied", "findings": {"FILE-CORRECTED": 1, "ROW-BLANK": 2, "ID-CASE": 1}}, False, []),
        ({"outcome": "held"}, False, []),
        ({"outcome": "held", "error": "nobody answered in time"}, False, ["rejected"]),
        ({"outcome": "rejected", "error": "rejected by ada"}, False, ["rejected"]),
        ({"outcome": "refused", "findings": {"FILE-HEADER": 1}}, True, ["refusal"]),
        ({"outcome": "refused", "findings": {"FILE-MISSING": 1}}, True, ["missing"]),
        ({"outcome": "in_sync", "findings": {"FILE-OVERDUE": 1}}, False, ["missing"]),
        ({"outcome": "failed"}, True, ["failure"]),
        ({"outcome": "planned"}, True, ["failure"]),
        ({"outcome": "planned"}, False, []),
    ],
)
def test_events_of_a_run(manifest: dict[str, Any], failed: bool, events: list[str]) -> None:
    run = RunManifest(run_id="r", district="demo", as_of=datetime(2026, 11, 23, tzinfo=UTC), **manifest)
    assert events_of(run, failed=failed) == events


# ---- a district file that breaks ------------------------------------------------------------------------------------


@pytest.fixture
def parse(districts: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Parse as Airflow's DAG processor does, which tells its listeners; Lincoln's people are told of failures."""
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    at_once = SimpleNamespace(Thread=lambda target, args, daemon: SimpleNamespace(start=lambda: target(*args)))
    monkeypatch.setattr(broken_files, "Thread", at_once.Thread)
    lincoln = districts("lincoln")
    lincoln.write_text(lincoln.read_text() + "notify: {webhook: hook}\n")
    known: set[str] = set()

    def go() -> None:
        errors = DagBag(PROJECT / "dags").import_errors
        for path, error in errors.items():
            hook = "on_existing_dag_import_error" if path in known else "on_new_dag_import_error"
            getattr(broken_files, hook)(filename=path, stacktrace=error)
        known.clear()
        known.update(errors)

    return go


def test_broken_district_file_is_told_once_to_those_whom_other_districts_name(
    webhook: Webhook, parse: Callable[[], None], districts: Callable[..., Path]
) -> None:
    parse()
    assert webhook.posted == []
    oakland = districts("oakland", schedule='schedul: "0 2 * * *"')
    parse()
    parse()
    ((_, posted),) = webhook.posted
    assert f"{oakland}: `schedul` is no known key" in posted["text"]
    districts("salem", timezone="timezone: America/Nowhere")
    parse()
    parse()
    _, (_, posted) = webhook.posted
    assert "salem.yaml: `timezone`" in posted["text"] and "oakland" not in posted["text"]


def test_file_that_breaks_again_after_it_was_mended_is_told_again(
    webhook: Webhook, parse: Callable[[], None], districts: Callable[..., Path]
) -> None:
    for broken in (True, False, True):
        districts("oakland", name="name: [unclosed" if broken else "name: Oakland")
        parse()
    assert len(webhook.posted) == 2


def test_broken_district_file_is_told_when_there_is_room_again_to_remember_it(
    webhook: Webhook, parse: Callable[[], None], districts: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    districts("oakland", name="name: [unclosed")
    caplog.set_level("WARNING", logger="enrollsync")  # the command, tried in this process, lets errors through alone
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        parse()
    assert webhook.posted == []
    assert "nobody was told: No space left on device" in caplog.text
    parse()
    parse()
    assert len(webhook.posted) == 1


@pytest.mark.parametrize(
    ("general", "received"),
    [("{email: [office@example.org]}", 1), ("", 0), ("{email: [office@example.org], event: all}", 0), ("[", 0)],
    ids=["named", "nobody", "unknown key", "no YAML"],
)
def test_only_districts_broken_file_is_told_to_those_whom_the_environment_names(
    mailbox: list[Any], districts: Callable[..., Path], parse: Callable[[], None], monkeypatch: pytest.MonkeyPatch,
    general: str, received: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("ENROLLSYNC_NOTIFY", general)
    districts("lincoln", name="name: [unclosed")
    parse()
    assert len(mailbox) == received
    assert all(message["subject"] == "EnrollSync: a district's file cannot be used" for message in mailbox)
