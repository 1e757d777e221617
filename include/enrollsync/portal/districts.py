"""The district files as the portal needs them: usable or broken, and read again only when they have changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from enrollsync.settings import District, claimed_twice, districts_folder, load_district
from enrollsync.words.errors import ConfigurationError


@dataclass(frozen=True)
class DistrictFile:
    """One file of the folder of districts."""

    district_id: str
    """As the file says; of a broken one, its name without `.yaml`."""
    settings: District | None
    problem: str | None = None
    """Why it cannot be used, in one line."""
    path: Path = Path()


def list_districts() -> list[DistrictFile]:
    """Every district file, by its id; a broken one claims its own name."""
    found = {path: _read(path) for path in sorted(districts_folder().glob("*.yaml"))}
    taken = claimed_twice({path: file.district_id for path, file in found.items()})
    for path, why in taken.items():
        found[path] = DistrictFile(path.stem, None, f"{path.name}: {why}")
    return sorted(found.values(), key=lambda file: (file.district_id, file.settings is None))


def find_district(district_id: str) -> DistrictFile | None:
    """The district's file; None where there is none."""
    path = districts_folder() / f"{district_id}.yaml"
    if path.is_file() and (found := _read(path)).district_id == district_id:
        return found
    return next((file for file in list_districts() if file.district_id == district_id), None)


def _read(path: Path) -> DistrictFile:
    try:
        known = path.stat()
    except OSError as error:
        return DistrictFile(path.stem, None, f"{path.name}: cannot be read: {error.strerror}")
    return _parsed(path, known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=4096)
def _parsed(path: Path, changed: int, size: int) -> DistrictFile:
    """Parsing takes milliseconds, and a page shows hundreds; `changed` and `size` tell one content from another."""
    try:
        settings = load_district(str(path))
    except ConfigurationError as error:
        return DistrictFile(path.stem, None, str(error).replace(f"{path}: ", f"{path.name}: "))
    return DistrictFile(settings.district_id, settings, path=path)
