"""What the steps of a run have in common: how one begins and ends, which database is meant, how a run is remembered."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrollsync.formats import FORMATS
from enrollsync.run.breakage import one_line
from enrollsync.run.workspace import Notice, RunManifest, Workspace
from enrollsync.settings import District, load_district
from enrollsync.settings.connections import database_url
from enrollsync.words.errors import EnrollSyncError, Refused, UndoConflict

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


@contextmanager
def step(workspace: str, name: str, **anew: Any) -> Iterator[tuple[Workspace, RunManifest, District]]:
    """What a step works on. Its time, and the error that ends it, go into the manifest.

    `anew`: fields of the manifest that say no longer what an earlier attempt found.
    """
    place = Workspace(Path(workspace))
    with one_line(name, place.root):
        manifest = place.update(error=None, **anew)
    district = load_district(manifest.district)
    if manifest.format:
        district = district.for_source(manifest.format, FORMATS[manifest.format].headers)
    started = time.monotonic()
    try:
        with one_line(name, place.root):
            yield place, manifest, district
    except EnrollSyncError as error:
        _note(place, partial(_with_error, error))
        raise
    finally:
        took = time.monotonic() - started
        _note(place, lambda manifest: manifest.model_copy(update={"seconds": manifest.seconds | {name: took}}))
        log.info("%s ended after %.2f s: district %s, run %s", name, took, district.district_id, manifest.run_id)


def _note(place: Workspace, change: Callable[[RunManifest], RunManifest]) -> None:
    """Write down what can be: where there is no room for it, or no manifest, whatever is wrong is told elsewhere."""
    try:
        place.write(change(place.read()))
    except EnrollSyncError as error:
        log.warning("run %s could not be noted: %s", place.root.name, error)


def _with_error(error: EnrollSyncError, manifest: RunManifest) -> RunManifest:
    if isinstance(error, Refused):
        added = [Notice.of(one.code, one.message, file=one.file, line=one.line) for one in error.parts]
        notices = [one for one in manifest.notices if one not in added]
        findings = manifest.findings | Counter(one.code for one in added)
        manifest = manifest.model_copy(update={"notices": [*notices, *added], "findings": findings})
    conflicts = error.conflicts if isinstance(error, UndoConflict) else []
    return manifest.model_copy(update={"outcome": error.outcome, "error": str(error), "conflicts": conflicts})


def findings_of(place: Workspace, manifest: RunManifest) -> dict[str, int]:
    """Code -> how many, files' and rows' together."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    counted = pc.value_counts(pq.read_table(place.findings, columns=["code"])["code"])
    totals = {entry["values"].as_py(): entry["counts"].as_py() for entry in counted}
    for notice in manifest.notices:
        totals[notice.code] = totals.get(notice.code, 0) + 1
    return dict(sorted(totals.items()))


def database_url_of(district: District, given: str | None) -> str:
    """The URL that was given, else the district's own, which may be behind a connection in the environment.

    Raises ConfigurationError where there is none.
    """
    if given is not None:
        return given
    return district.database.url or database_url(str(district.database.connection))
