"""What set-up rests on: the dependencies, their reasons and their lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LOCK = (PROJECT / "requirements.lock").read_text()


def direct_dependencies() -> set[str]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    requirements = sum(project["dependency-groups"].values(), project["project"]["dependencies"])
    return {re.match(r"[A-Za-z0-9-]+", requirement).group().lower() for requirement in requirements}


def test_every_direct_dependency_has_its_reason() -> None:
    page = (PROJECT / "docs" / "dependencies.md").read_text()
    assert set(re.findall(r"^\| `([^`]+)` \| .{10,} \|$", page, re.M)) == direct_dependencies()


def test_lock_holds_every_direct_dependency() -> None:
    assert direct_dependencies() <= set(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==", LOCK, re.M))


def test_lock_pins_and_hashes_and_names_no_registry() -> None:
    blocks = re.findall(r"^([a-z0-9].*\n(?:[ ].*\n)*)", LOCK, re.M)
    assert all("==" in block and "--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK
    assert "index-url" not in LOCK


def test_one_sqlalchemy_for_all() -> None:
    assert re.findall(r"^sqlalchemy==(\S+)", LOCK, re.M) == [
        re.search(r"^sqlalchemy==(2\.0\.\S+)", LOCK, re.M).group(1)
    ]
