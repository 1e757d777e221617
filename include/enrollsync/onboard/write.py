"""The district file that a look at a delivery leads to, as a person would have written it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from enrollsync.onboard.look import Look
from enrollsync.settings import districts_folder, load_district, project_root
from enrollsync.words.errors import ConfigurationError


def district_id_of(place: Path) -> str:
    """An identifier for the district whose delivery lies there: the name of its folder, or of the zip."""
    whole = Path(os.path.realpath(place))
    name = whole.stem if whole.suffix.lower() == ".zip" else whole.name
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-").lower()[:100] or "district"


def path_of(district_id: str) -> Path:
    """Where the district's file will be. Raises ConfigurationError where one is, or the identifier is none."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", district_id):
        raise ConfigurationError("--id: write letters, digits, - and _ alone, like north-unified")
    path = districts_folder() / f"{district_id}.yaml"
    if path.exists():
        raise ConfigurationError(f"{path} is there already; change that file, or take another --id")
    return path


def write_district(
    place: Path, look: Look, *, district_id: str, name: str, timezone: str, schedule: str | None
) -> Path:
    """Write the district's file, never over one that is there, and return its path.

    Raises ConfigurationError where it is there, cannot be written, or would say what no district file may.
    """
    path = path_of(district_id)
    text = _text(place, look, district_id=district_id, name=name, timezone=timezone, schedule=schedule)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigurationError(f"{path} is there already; change that file, or take another --id") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}; let this user write there") from None
    try:
        load_district(str(path))
    except ConfigurationError:
        path.unlink()
        raise
    return path


def _text(place: Path, look: Look, *, district_id: str, name: str, timezone: str, schedule: str | None) -> str:
    source: dict[str, Any] = {"path": _from_root(place)}
    if look.encoding != "utf-8":
        source["encoding"] = look.encoding
    if look.renames:
        source["columns"] = look.renames
    said: dict[str, Any] = {
        "district_id": district_id,
        "name": name,
        "primary_source": look.declared.source.name,
        "schedule": schedule,
        "timezone": timezone,
        **({"size": "large"} if look.is_large else {}),
        "source": source,
        "database": {"url": f"sqlite:///data/{district_id}.db"},
    }
    if look.identifiers:
        said["identifiers"] = {"columns": look.identifiers}
    body = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)
    why = f"size: large  # its delivery had {look.rows:,} rows; docs/operations.md"
    body = body.replace("\nsize: large\n", f"\n{why}\n")
    made = f"# Made by `enrollsync init` from a {look.declared.title} delivery"
    return f"{made}; the README says what else may stand here.\n{body}"


def _from_root(place: Path) -> str:
    """Relative to the project's root where it lies within, as people move a project as a whole."""
    real, root = os.path.realpath(place), os.path.realpath(project_root())
    return os.path.relpath(real, root) if Path(real).is_relative_to(root) else real
