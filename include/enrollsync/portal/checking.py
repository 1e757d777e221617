"""An upload is checked and planned beside the request that asked for it; a page follows it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from threading import Lock, Thread
from typing import Any

from fastapi import HTTPException

from enrollsync import steps
from enrollsync.arrive.folder import find_delivery
from enrollsync.arrive.recognise import recognise
from enrollsync.arrive.upload import Upload
from enrollsync.formats.near import near_misses
from enrollsync.ingest.header import read_header, rename_headers
from enrollsync.portal.texts import say
from enrollsync.run.breakage import one_line
from enrollsync.run.step import VALIDATE
from enrollsync.words import private
from enrollsync.words.errors import EnrollSyncError

one_at_a_time = Lock()
"""Great Expectations cannot work in two threads."""


def begin(upload: Upload, work: Callable[[], Any]) -> None:
    """Do the work in a thread of its own; its errors are kept by the run that it works on.

    Raises HTTPException 409 where the upload is worked on already.
    """
    lock = upload.lock()
    if lock is None:
        raise HTTPException(409, say("It is being worked on; wait until that is done."))

    def do() -> None:
        with lock, suppress(EnrollSyncError), one_line("upload", upload.root):
            work()

    Thread(target=do, daemon=True).start()


def check(upload: Upload, file: str, now: datetime) -> None:
    """Read and check the upload as the run will that it may be given to; `file` is the district's.

    Raises EnrollSyncError as a night does; of headers that are refused, those that are likely meant are noted.
    """
    shutil.rmtree(upload.workspace.root, ignore_errors=True)
    workspace = steps.start(file, run_id=upload.id, as_of=now, source=upload.source, picked=True, dry_run=True)
    try:
        with one_at_a_time:
            steps.night(workspace, last=VALIDATE.name)
    finally:
        _note_near_misses(upload)


def _note_near_misses(upload: Upload) -> None:
    sent, known = upload.read(), upload.workspace.read()
    refused = "FILE-HEADER" in {notice.code for notice in known.notices}
    if sent:
        upload.write(sent.model_copy(update={"renames": _near_misses(upload) if refused else {}}))


def _near_misses(upload: Upload) -> dict[str, dict[str, str]]:
    """File -> header as it is written -> the one that is likely meant."""
    unpacked = upload.root / "unpacked"
    try:
        files = find_delivery(upload.folder, unpacked).files
        declared = upload.district.fitted(recognise(files, upload.district))
        near = {
            files[spec.name].name: near_misses(read_header(files[spec.name], declared.encoding), spec, declared)
            for spec in declared.files
            if spec.read and spec.name in files
        }
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return {name: renames for name, renames in near.items() if renames}


def rename(upload: Upload, renames: dict[str, dict[str, str]]) -> None:
    """Write header lines of the upload anew: file -> header as it is written -> the new one; a zip becomes its files.

    Raises Refused as a delivery is refused.
    """
    unpacked, renamed = upload.root / "unpacked", upload.root / "renamed"
    shutil.rmtree(renamed, ignore_errors=True)
    private.make_folder(renamed)
    try:
        files = find_delivery(upload.folder, unpacked).files
        encoding = upload.district.fitted(recognise(files, upload.district)).encoding
        for path in files.values():
            private.make_file(renamed / path.name)
            if asked := renames.get(path.name):
                rename_headers(path, renamed / path.name, asked, encoding)
            else:
                shutil.copyfile(path, renamed / path.name, follow_symlinks=False)
        upload.replace(renamed)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
