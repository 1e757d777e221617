"""Where deliveries come from. Each way of arriving fills the run's own folder; nothing after it looks anywhere else.

`found_batch` finds the delivery and says which format it is, and reads nothing but for its hash, because most nights
nothing has changed. `Batch.take` then makes it the run's own. A delivery lies in a folder (`folder.py`), perhaps packed
(`archive.py`), or on another machine (`remote.py`): an SFTP server (`sftp.py`), a bucket (`bucket.py`); it is sent from
a browser (`upload.py`), asked for through an API (`clever/`), or what a person changes on a profile page (`edit.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from enrollsync.arrive.delivery import Batch
from enrollsync.arrive.edit import edited_batch
from enrollsync.arrive.folder import find_delivery, resolved
from enrollsync.arrive.recognise import recognise
from enrollsync.arrive.upload import picked
from enrollsync.run.run import Run
from enrollsync.run.workspace import Notice
from enrollsync.settings import District, project_root, uploads_folder
from enrollsync.settings.connections import Connection, source_connection
from enrollsync.words.errors import ConfigurationError, Unreachable


@contextmanager
def found_batch(
    run: Run, connection: Connection | None = None, telling: Callable[[str], object] = lambda said: None
) -> Iterator[Batch]:
    """The delivery, its format recognised; afterwards nothing is left of it but what was made of it.

    `connection` stands for what the environment knows of `source.connection`; `telling` hears how far a long arrival
    is. Raises Refused when there is none, or an incomplete or unsafe one; of one that cannot be reached any more, what
    arrived stays for the next try, and goes when the run is reported (`clear`).
    """
    try:
        yield _find_batch(run, connection, telling)
    except Unreachable:
        raise
    except BaseException:
        clear(run)
        raise
    clear(run)


def clear(run: Run) -> None:
    """Let go of the delivery's own copy."""
    shutil.rmtree(run.place.batch, ignore_errors=True)


def _find_batch(run: Run, connection: Connection | None, telling: Callable[[str], object]) -> Batch:
    asked, district = run.manifest, run.settings
    if asked.edit:
        return edited_batch(run)
    if asked.settle:
        from enrollsync.arrive.settle import settled_batch

        return settled_batch(run)
    source = district.source
    if source.connection and not asked.source:
        connection = connection or source_connection(source.connection)
        if source.api:
            from enrollsync.arrive.clever import fetched_batch

            return fetched_batch(run, connection, telling)
    place, unpack_to = project_root() / (asked.source or str(source.path)), run.place.batch
    ready = None if asked.source else source.ready
    if asked.picked:
        _refuse_elsewhere(place, district)
        place = picked(district, place)
    if source.is_remote and not asked.source:
        from enrollsync.arrive.remote import fetched

        place, ready = fetched(source, connection, run.place.batch, telling), None
        unpack_to = run.place.batch / "unpacked"
    delivery = find_delivery(place, unpack_to, ready)
    declared = district.fitted(recognise(delivery.files, district))
    stamps = delivery.stamps()
    present = tuple(spec for spec in declared.files if spec.name in delivery.files)
    return Batch(delivery, declared, present, delivery.digest([spec.name for spec in present]), stamps)


def find_overdue(run: Run, delivered_at: datetime) -> list[Notice]:
    """A notice when the delivery that was found is older than `source.due_hours`; one that a person named never is."""
    age, due = run.manifest.as_of - delivered_at, run.settings.source.due_hours
    if run.manifest.source or due is None or age <= timedelta(hours=due):
        return []
    message = f"the newest one came {age.total_seconds() / 3600:,.0f} hours ago; one is due every {due:g} hours"
    return [Notice.of("FILE-OVERDUE", message)]


def _refuse_elsewhere(picked: Path, district: District) -> None:
    """Who may start a district's runs may not read another district's files."""
    allowed = [resolved(uploads_folder(district.district_id))]
    if district.source.folder is not None:
        landing = resolved(district.source.folder)
        allowed.append(landing if landing.is_dir() else landing.parent)
    if not any(resolved(picked).is_relative_to(folder) for folder in allowed):
        raise ConfigurationError(
            f"district {district.district_id}: the delivery that was picked is not in `source.path`; choose one that is"
        )
