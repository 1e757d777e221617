"""Lays the facts of a run out as one HTML page that needs nothing else: no script, no request, its styles inline."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from enrollsync.plan.answers import answered
from enrollsync.report import wording
from enrollsync.report.facts import MOST_CONFLICTS, MOST_ORGANIZATIONS, Facts, Group
from enrollsync.run.workspace import Notice
from enrollsync.words.codes import CODES, Scope, Severity


def render(facts: Facts) -> str:
    """The page; every value in it is escaped."""
    manifest = facts.manifest
    style, style_hash = inline_style()
    template = _environment().get_template("page.html.j2")
    return template.render(
        facts=facts,
        manifest=manifest,
        district=facts.district,
        outcome=wording.OUTCOMES.get(manifest.outcome or "", wording.UNFINISHED),
        next_step=_next_step(facts),
        wording=wording,
        headings=list(wording.headings(manifest.outcome, undoes=bool(manifest.undoes)).values()),
        answered=answered,
        codes=CODES,
        severities=_by_severity(facts),
        holds=_by_code(manifest.holds),
        widest=max((one.changed for one in facts.organizations[:MOST_ORGANIZATIONS]), default=0),
        most_organizations=MOST_ORGANIZATIONS,
        most_conflicts=MOST_CONFLICTS,
        conflicts=_conflicts(manifest.conflicts[:MOST_CONFLICTS]),
        asked=wording.asked(manifest),
        when=_when(manifest.as_of, facts.district.zone),
        delivered=_when(manifest.delivered_at, facts.district.zone),
        style=style,
        style_hash=style_hash,
    )


@cache
def inline_style() -> tuple[Markup, str]:
    """What a page of its own has between `<style>` and `</style>`, and the hash by which its policy allows just that.

    It is ours, and no place for an entity: the browser reads a style element as it stands.
    """
    style = files("enrollsync.report").joinpath("page.css").read_text(encoding="utf-8")
    return Markup(style), base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    environment = strict_templates("report")
    environment.filters["expectation"] = _expectation
    return environment


def strict_templates(folder: str) -> Environment:
    """The templates of one of the package's folders: every value is escaped, one that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("enrollsync", folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.filters |= {"number": "{:,}".format, "prose": _prose}
    return environment


def _prose(text: str) -> Markup:
    """A sentence of ours, escaped, with what stands in backticks set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _expectation(kind: str) -> str:
    """`expect_column_values_to_be_in_set` as `to be in set`: the column stands beside it."""
    words = kind.removeprefix("expect_").replace("_", " ")
    return words.removeprefix("column values ")


def _next_step(facts: Facts) -> str:
    outcome = wording.OUTCOMES.get(facts.manifest.outcome or "", wording.UNFINISHED)
    if outcome.tone in {"good", "calm"} and facts.total("rejected"):
        return wording.CORRECT_LINES
    if outcome.tone == "good" and facts.total("held"):
        return wording.LOOK_ASIDE
    return outcome.next_step


def _by_severity(facts: Facts) -> list[tuple[str, list[Group]]]:
    """The groups of each section, worst first, but for what the page already says as a refusal or a hold."""
    said = {notice.code for notice in (*facts.refusals, *facts.manifest.holds)}
    shown = [group for group in facts.groups if group.code not in said]
    grouped = ((name, [group for group in shown if _section(group) == name]) for name in wording.SEVERITIES)
    return [(name, groups) for name, groups in grouped if groups]


def _conflicts(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same reason told once, with the `records` that it keeps from being undone."""
    grouped: dict[tuple[Any, ...], list[str]] = {}
    names = ("entity", "column", "why", "run_id")
    for conflict in found:
        grouped.setdefault(tuple(conflict[name] for name in names), []).append(conflict["shown"])
    return [{**dict(zip(names, same, strict=True)), "records": records} for same, records in grouped.items()]


def _by_code(holds: list[Notice]) -> list[tuple[str, list[Notice]]]:
    """The holds of each code together, in the order of the first of them: why and what to do is said once."""
    codes = dict.fromkeys(hold.code for hold in holds)
    return [(code, [hold for hold in holds if hold.code == code]) for code in codes]


def _section(group: Group) -> str:
    code = CODES.get(group.code)
    waits = code and code.scope in {Scope.RECORD, Scope.WAITS} and group.severity == code.severity != Severity.CRITICAL
    return wording.ASIDE if waits else group.severity


def _when(moment: datetime | None, zone: ZoneInfo) -> str:
    if moment is None:
        return ""
    local = moment.astimezone(zone)
    return f"{local:%A} {local.day} {local:%B %Y, %H:%M} ({zone})"
