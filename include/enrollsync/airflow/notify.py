"""Tells people what came of a run, by email and webhook: counts, codes and links, never a name or an identifier.

What is sent, and to whom, stands in the district file; addresses and keys of the senders are Airflow connections.
"""

from __future__ import annotations

import html
import logging
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook, BaseNotifier, Context

from enrollsync.airflow.links import FILES, file_url, run_url
from enrollsync.report.wording import OUTCOMES, UNFINISHED, changes
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest
from enrollsync.settings import District, Event
from enrollsync.words.codes import CODES, Severity

log = logging.getLogger(__name__)

_SMTP = "smtp_default"
_SECONDS = 20
"""How long a webhook may take to answer."""


class RosterNotifier(BaseNotifier):
    """Sends one event of a run to everyone whom its district names for that.

    A message that cannot be sent is logged; it never fails the run that it tells of.
    """

    def __init__(self, event: Event, workspace: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.event = event
        self.workspace = workspace

    def notify(self, context: Context) -> None:
        """Send it; `context` is that of a task of the run."""
        run = Run.open(self.workspace)
        manifest, district = run.manifest, run.settings
        if self.event not in district.notify.events:
            return
        title, lines = message(self.event, manifest, district, context["ti"])
        webhook = district.notify.webhook
        send(district.notify.email, [webhook] if webhook else [], title, lines, context)


def send(emails: list[str], webhooks: list[str], title: str, lines: list[str], context: Context) -> None:
    """One message to all of these addresses and connections; what cannot be sent is logged."""
    if emails:
        _try(partial(_email, emails, title, lines, context), "email")
    for webhook in webhooks:
        _try(partial(_post, webhook, title, lines, context), f"webhook {webhook}")


_NOT_COME = {"FILE-MISSING", "FILE-OVERDUE", "FILE-UNREACHABLE"}


def events_of(manifest: RunManifest, *, failed: bool) -> list[Event]:
    """What there is to tell of a run that has ended; `failed`: one of its tasks failed."""
    missing: list[Event] = (
        ["missing"] if {"FILE-MISSING", "FILE-OVERDUE", "FILE-UNREACHABLE"} & set(manifest.findings) else []
    )
    if manifest.outcome == "refused":
        return missing or ["refusal"]
    if failed or manifest.outcome == "failed":
        return [*missing, "failure"]
    if manifest.outcome == "rejected" or (manifest.outcome == "held" and manifest.error):
        return [*missing, "rejected"]
    return missing or (["findings"] if _is_worth_a_look(manifest) else [])


def _is_worth_a_look(manifest: RunManifest) -> bool:
    """Whether a run that went well found more than advice."""
    severities = {CODES[code].severity_in(manifest.format or "") for code in manifest.findings}
    return manifest.outcome in {"applied", "in_sync"} and bool(severities - {Severity.INFO})


def message(event: Event, manifest: RunManifest, district: District, run: Any) -> tuple[str, list[str]]:
    """A title and lines of text; addresses stand alone on their lines, after a name and a colon."""
    outcome = OUTCOMES.get(manifest.outcome or "", UNFINISHED)
    title = f"{district.name}: {_TITLES[event]}"
    holds = [f"{hold.code}: {hold.message}" for hold in manifest.holds]
    findings = ", ".join(f"{code} {count:,}" for code, count in manifest.findings.items())
    lines = [
        outcome.meaning,
        manifest.error or "",
        *holds,
        f"Changes: {changes(manifest.outcome, manifest.counts)}",
        f"Findings: {findings}" if findings else "",
        f"Next: {outcome.next_step}",
        f"Run: {run_url(run)}",
        f"Report: {file_url(run, FILES['Report'])}",
    ]
    return title, [line for line in lines if line]


_TITLES: dict[Event, str] = {
    "findings": "applied, with findings",
    "hold": "a plan waits for your approval",
    "rejected": "a plan was not applied",
    "refusal": "the delivery was refused",
    "failure": "the run failed",
    "missing": "no new delivery has come",
}


def _email(to: list[str], title: str, lines: list[str], context: Context) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    text = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    SmtpNotifier(to=to, subject=title, html_content=text, smtp_conn_id=_SMTP).notify(context)


def _post(connection: str, title: str, lines: list[str], context: Context) -> None:
    from airflow.providers.http.notifications.http import HttpNotifier
    from airflow.sdk.log import mask_secret

    # The address is the key to the channel, and the hook logs it when nobody answers.
    mask_secret(urlsplit(BaseHook.get_connection(connection).host or "").path.strip("/"))
    said = "\n".join([f"*{title}*", *lines])
    HttpNotifier(http_conn_id=connection, json={"text": said}, extra_options={"timeout": _SECONDS}).notify(context)


def _try(send: Any, channel: str) -> None:
    try:
        send()
    except Exception as error:  # whatever a server or a connection does, the run goes on
        log.warning("the notification could not be sent by %s: %s", channel, type(error).__name__)
