"""`docs/findings.md`, written from the table of findings: `python -m enrollsync.words.codes_page` writes it anew.

Wording of single codes belongs to `codes.py`.
"""

from __future__ import annotations

from pathlib import Path

from enrollsync.words.codes import CODES, Code, Scope, Severity

PAGE = Path(__file__).resolve().parents[3] / "docs" / "findings.md"

_GROUPS: dict[str, str] = {
    "FILE": "Files",
    "ROW": "Rows",
    "ID": "Identifiers",
    "SEC": "Secondary IDs",
    "REF": "References",
    "VAL": "Values",
    "PLAN": "Changes that need a person",
    "GUARD": "The plan as a whole",
}
"""What a code starts with -> the heading it stands under."""
_EFFECTS: dict[Scope, str] = {
    Scope.BATCH: "nothing of the delivery loads",
    Scope.LINE: "the line does not load",
    Scope.RECORD: "only this record of the line does not load",
    Scope.VALUE: "the record loads without the value; the database keeps the one it has",
    Scope.CLEARED: "the record loads with the value empty",
    Scope.WAITS: "the record waits; whatever the roster has of it stays",
    Scope.NONE: "everything loads as given",
    Scope.PLAN: "the plan waits for a person",
}
"""What a finding takes away when it takes anything: for a line, only a critical one does."""
_INTRODUCTION = """\
# Findings

<!-- Written by `python -m enrollsync.words.codes_page` from include/enrollsync/words/codes.py; change it there. -->

A finding is one thing noticed about one row or file. *critical*: the row does not load (for a file, nothing does).
*warning*: it loads, maybe without the offending optional value. *info*: advice. The rules are numbered in
[rules.md](rules.md).
"""


def page() -> str:
    """The whole page, in Markdown."""
    sections = [_section(prefix, title) for prefix, title in _GROUPS.items()]
    return "\n".join([_INTRODUCTION, *sections])


def _section(prefix: str, title: str) -> str:
    codes = [code for code in CODES.values() if code.code.partition("-")[0] == prefix]
    return "\n".join([f"## {title}\n", *(_entry(code) for code in codes)])


def _entry(code: Code) -> str:
    return (
        f"### {code.code}\n\n"
        f"**{code.title}.** {code.why}\n\n"
        f"- What to do: {code.remedy}\n"
        f"- Severity: {_severities(code)}; {_effect(code)}\n"
        f"- Rule: {code.rule}\n"
    )


def _severities(code: Code) -> str:
    exceptions = [f"{severity} in {source}" for source, severity in sorted(code.per_source.items())]
    return ", ".join([str(code.severity), *exceptions])


def _effect(code: Code) -> str:
    if code.scope is Scope.LINE and code.severity is not Severity.CRITICAL:
        return f"{_EFFECTS[Scope.NONE]}; where it is critical, {_EFFECTS[code.scope]}"
    return _EFFECTS[code.scope]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
