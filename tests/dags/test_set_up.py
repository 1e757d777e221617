"""What set-up rests on: the dependencies, their reasons and their lock."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = {name: (PROJECT / name).read_text() for name in ("requirements.lock", "requirements-bench.lock")}


def direct_dependencies() -> dict[str, set[str]]:
    """Lock -> what it has to hold; the bench has one of its own."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    groups = dict(project["dependency-groups"])
    bench = groups.pop("bench")
    return {
        "requirements.lock": named(sum(groups.values(), project["project"]["dependencies"])),
        "requirements-bench.lock": named(bench),
    }


def named(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9-]+", requirement).group().lower() for requirement in requirements}


def test_every_direct_dependency_has_its_reason() -> None:
    page = (PROJECT / "docs" / "dependencies.md").read_text()
    reasons = set(re.findall(r"^\| `([^`]+)` \| .{10,} \|$", page, re.M))
    assert reasons == set().union(*direct_dependencies().values())


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_every_direct_dependency(name: str) -> None:
    pinned = set(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==", LOCKS[name], re.M))
    assert direct_dependencies()[name] <= pinned


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_and_hashes_and_names_no_registry(name: str) -> None:
    blocks = re.findall(r"^([a-z0-9].*\n(?:[ ].*\n)*)", LOCKS[name], re.M)
    assert all("==" in block and "--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCKS[name]
    assert "index-url" not in LOCKS[name]


def test_one_sqlalchemy_for_all() -> None:
    assert re.findall(r"^sqlalchemy==(\S+)", LOCKS["requirements.lock"], re.M) == [
        re.search(r"^sqlalchemy==(2\.0\.\S+)", LOCKS["requirements.lock"], re.M).group(1)
    ]


def test_every_import_is_a_direct_dependency() -> None:
    """`fastapi` is Airflow's own: its API server, and so what it serves, cannot be without it."""
    files = [path for folder in ("include", "dags", "plugins", "scripts", "tests", "benchmarks")
             for path in (PROJECT / folder).rglob("*.py")]  # fmt: skip
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    own = {"enrollsync", "benchmarks", *(path.stem for path in (PROJECT / "tests").iterdir())}
    foreign = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - own - {"fastapi"}
    named = {"airflow": "apache-airflow", "yaml": "pyyaml"}
    direct = set().union(*direct_dependencies().values())
    assert {named.get(module, module.replace("_", "-")) for module in foreign} - direct == set()
