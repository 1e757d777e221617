"""The package's rooms: a folder a step, in the order of a night, and no import that runs back up."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import enrollsync

PACKAGE = Path(str(enrollsync.__file__)).parent
FLOORS = (
    "words", "formats", "settings", "database", "run",
    "arrive", "ingest", "validate", "plan", "load", "as_of", "undo", "report",
    "export", "records", "forget", "retain", "sample", "steps", "onboard", "terminal", "cli", "portal", "airflow",
    "__main__",
)  # fmt: skip
"""From the ground up; the second line is a night."""


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of everything of the package that a module imports, within functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "enrollsync":
            modules = [f"{node.module}.{name.name}" for name in node.names]
            yield from {(node.lineno, module.split(".")[1]) for module in modules}


def test_every_room_has_its_floor() -> None:
    code = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    rooms = code - {"__init__"}
    assert rooms == set(FLOORS)


@pytest.mark.parametrize("room", FLOORS)
def test_no_import_runs_back_up(room: str) -> None:
    above = FLOORS[FLOORS.index(room) + 1 :]
    paths = [PACKAGE / f"{room}.py", *(PACKAGE / room).rglob("*.py")]
    back_up = [
        f"{path.relative_to(PACKAGE)}:{line} imports {target}"
        for path in paths
        if path.is_file()
        for line, target in imported(path)
        if target in above
    ]
    assert back_up == []


def test_the_installed_package_brings_the_suites_that_the_checkout_has_at_its_top(tmp_path: Path) -> None:
    project = Path(__file__).resolve().parents[2]
    (wheel,) = WheelBuilder(str(project)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as installed:
        names = {name for name in installed.namelist() if name.startswith("enrollsync/expectations/")}
        suites = {name.rpartition("/")[2]: installed.read(name) for name in names}
    assert suites == {path.name: path.read_bytes() for path in (project / "expectations").glob("*.json")}
