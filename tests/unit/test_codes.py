"""The table of findings: complete, well-formed, and the page about it up to date."""

from __future__ import annotations

import pytest

from enrollsync.words.codes import CODES, Code, Scope, Severity
from enrollsync.words.codes_page import PAGE, page

FIXED = (
    "FILE-MISSING", "FILE-HEADER", "FILE-ENCODING", "FILE-EMPTY", "FILE-UNSAFE", "FILE-INCOMPLETE", "ROW-MALFORMED",
    "ID-MISSING", "ID-CHARSET", "ID-DUPLICATE", "ID-CASE", "ID-SSN", "ID-WITHHELD", "SEC-DUPLICATE", "REF-UNKNOWN",
    "VAL-INVALID", "VAL-CONFLICT", "VAL-EMAIL-DUPLICATE", "VAL-TRIMMED", "PLAN-REIDENTIFY-TAKEN", "PLAN-AMBIGUOUS",
    "PLAN-RECYCLED", "GUARD-DEACTIVATE", "GUARD-UPDATE", "GUARD-EMPTY",
)  # fmt: skip
"""Names of the design's section 7 that other programs rely on, as far as they are built."""


def test_the_fixed_names_are_there() -> None:
    assert not set(FIXED) - set(CODES)


@pytest.mark.parametrize("code", CODES.values(), ids=lambda code: code.code)
def test_every_code_says_what_why_what_to_do_and_which_rule(code: Code) -> None:
    assert all([code.title, code.why.endswith("."), code.remedy.endswith("."), code.rule])


@pytest.mark.parametrize("code", CODES.values(), ids=lambda code: code.code)
def test_only_what_is_more_than_an_info_takes_something_away(code: Code) -> None:
    assert code.severity is not Severity.INFO or code.scope in {Scope.NONE, Scope.WAITS}


def test_a_severity_may_differ_by_source() -> None:
    code = Code("X-Y", "t", "w.", "r.", "rule", Severity.CRITICAL, Scope.LINE, {"clever": Severity.WARNING})
    assert [code.severity_in(source) for source in ("batch_upload", "clever")] == ["critical", "warning"]


def test_the_page_of_findings_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m enrollsync.words.codes_page`"


def test_the_page_has_every_code_once() -> None:
    assert [page().count(f"### {code}\n") for code in CODES] == [1] * len(CODES)
