"""What is known against the locked packages is told, and so is what could not be asked."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

AUDIT = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts" / "audit.py"))
ASKED = {"name": "certifi", "version": "2026.1.1", "vulns": []}
WEAK = {"name": "yarl", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]},
                                                   {"id": "PYSEC-2", "fix_versions": []}]}  # fmt: skip
UNASKED = {"name": "zipp", "skip_reason": "Dependency not found"}


def answering(monkeypatch: pytest.MonkeyPatch, stdout: str, stderr: str = "") -> None:
    monkeypatch.setattr(subprocess, "run", lambda *asked, **how: SimpleNamespace(stdout=stdout, stderr=stderr))


def report(*packages: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": [*packages]}


def test_each_weakness_is_a_line_that_says_what_to_do() -> None:
    assert AUDIT["judge"](report(ASKED, WEAK, UNASKED)) == (
        ["audit: yarl 1.0: PYSEC-1, mended in 1.1: `make lock`", "audit: yarl 1.0: PYSEC-2, not mended yet"], ["zipp"],
    )  # fmt: skip


@pytest.mark.parametrize(("packages", "status", "said"), [
    ([ASKED], 0, "audit: 0 weaknesses are known of the other 1\n"),
    ([ASKED, UNASKED], 0, "audit: 1 of 2 packages could not be asked about, zipp for one\n"
                          "audit: 0 weaknesses are known of the other 1\n"),
    ([UNASKED], 0, "audit: 1 of 1 packages could not be asked about, zipp for one\n"),
    ([WEAK], 1, "audit: 2 weaknesses are known of the other 1\n"),
], ids=["asked", "one not asked", "none asked", "weak"])  # fmt: skip
def test_a_weakness_fails_and_what_could_not_be_asked_is_said(
    packages: list[dict[str, Any]], status: int, said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    answering(monkeypatch, json.dumps(report(*packages)))
    assert AUDIT["main"]() == status
    assert capsys.readouterr().out == said


def test_without_a_network_that_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, "", "Traceback\n  a frame\nConnectionError: no route")
    assert AUDIT["main"]() == 0
    assert capsys.readouterr().out == "audit: requirements.lock could not be asked about: ConnectionError: no route\n"
