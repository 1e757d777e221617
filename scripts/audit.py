"""`make audit`: what is known against the packages that requirements.lock pins, as pip-audit learns it.

A package that it could not ask about does not count as a good one: it is said.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = "requirements.lock"
_TOOL = Path(".venv-audit/bin/pip-audit")
_ASKING = ("--requirement", LOCK, "--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off",
           "--timeout", "5")  # fmt: skip


def main() -> int:
    """Exit status 1 when something is known against a package, 0 when not, or when nobody could be asked."""
    asked = subprocess.run([_TOOL, *_ASKING], capture_output=True, text=True)
    try:
        report = json.loads(asked.stdout)
    except ValueError:
        why = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"audit: {LOCK} could not be asked about: {why}")
        return 0
    known, unasked = judge(report)
    for line in known:
        print(line, file=sys.stderr)
    number = len(report["dependencies"])
    if unasked:
        print(f"audit: {len(unasked)} of {number} packages could not be asked about, {unasked[0]} for one")
    if len(unasked) < number:
        print(f"audit: {len(known)} weaknesses are known of the other {number - len(unasked)}")
    return 1 if known else 0


def judge(report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """A line for each weakness that is known, and the packages of which nothing could be learnt."""
    packages = report["dependencies"]
    known = [
        f"audit: {package['name']} {package['version']}: {weakness['id']}, "
        + (f"mended in {weakness['fix_versions'][0]}: `make lock`" if weakness["fix_versions"] else "not mended yet")
        for package in packages
        for weakness in package.get("vulns", [])
    ]
    return known, [package["name"] for package in packages if "skip_reason" in package]


if __name__ == "__main__":
    sys.exit(main())
