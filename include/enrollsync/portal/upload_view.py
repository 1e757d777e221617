"""An upload as its page shows it: how far it has come, what may be done with it, and what a district may send."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from enrollsync.arrive.upload import Upload
from enrollsync.formats import FileSpec, Format, delivered, sources
from enrollsync.portal.entry import DistrictVisit
from enrollsync.portal.run_view import Known, kept_run
from enrollsync.portal.texts import say
from enrollsync.report.wording import OUTCOMES
from enrollsync.run.step import INGEST, PLAN, VALIDATE
from enrollsync.run.workspace import RunManifest
from enrollsync.settings import District
from enrollsync.words.errors import EnrollSyncError

_PLANNED = {"planned", "held", "in_sync"}
_INTERRUPTED = "interrupted"


class Looked(Known):
    """What the dry run of an upload came to; the roster knows no such run, and no other program works on it."""

    def __init__(self, here: DistrictVisit, upload: Upload) -> None:
        self.here = here
        self.run_id = upload.id
        self.row = None
        self.run = kept_run(here, upload.id)
        self.going = self.waiting = None


@dataclass(frozen=True)
class UploadView:
    """How far an upload has come."""

    id: str
    person: str
    sent_at: datetime
    files: dict[str, int]
    """Name -> bytes."""
    state: str
    """`working`, `interrupted`, `started` (a run has it), or the outcome of its check or plan."""
    said: str
    """The state in a word or two."""
    tone: str
    step: str
    """What is done now, where somebody works on it."""
    may_plan: bool
    may_run: bool
    run_id: str | None


def view_upload(upload: Upload) -> UploadView | None:
    """None where it is gone."""
    sent = upload.read()
    if sent is None:
        return None
    known = _known(upload)
    state = "started" if sent.run_id else _state(upload, known)
    outcome = OUTCOMES.get(state)
    return UploadView(
        upload.id,
        sent.person,
        sent.sent_at,
        upload.files,
        state,
        say(outcome.title) if outcome else _word(state),
        outcome.tone if outcome else "bad" if state == _INTERRUPTED else "calm",
        _step(known) if state == "working" else "",
        may_plan=state in {"checked", *_PLANNED} or (state == "failed" and _is_checked(known)),
        may_run=state in _PLANNED - {"in_sync"},
        run_id=sent.run_id,
    )


def _known(upload: Upload) -> RunManifest | None:
    try:
        return upload.workspace.read()
    except EnrollSyncError:
        return None


def _state(upload: Upload, known: RunManifest | None) -> str:
    if upload.is_worked_on:
        return "working"
    return (known and known.outcome) or _INTERRUPTED


def _is_checked(known: RunManifest | None) -> bool:
    return known is not None and VALIDATE.name in known.seconds


def _word(state: str) -> str:
    words = {"working": say("Being looked at"), "started": say("Run"), _INTERRUPTED: say("Interrupted")}
    return words[state]


def _step(known: RunManifest | None) -> str:
    """Steps that have ended have a time."""
    ended = known.seconds if known else {}
    words = {
        INGEST.name: say("The files are read."),
        VALIDATE.name: say("Every row is checked."),
        PLAN.name: say("They are compared with the roster."),
    }
    return next((said for step, said in words.items() if step not in ended), words[PLAN.name])


# ---- what a district may send ----------------------------------------------------------------------------------------


def formats_of(district: District) -> list[Format]:
    """The formats that the district may deliver, its primary source's first."""
    own = [one for one in delivered().values() if one.source.name == district.primary_source]
    guests = [one for one in delivered().values() if one.source.is_guest]
    return [*own, *(one for one in guests if one not in own)]


def templates_of(declared: Format) -> list[FileSpec]:
    """The files of a format that somebody may fill in."""
    return [spec for spec in declared.files if spec.read]


def template(spec: FileSpec) -> str:
    """A file of a format with nothing but its header, the columns that it needs first; none that is secret."""
    others = [name for name in spec.known if name not in {*spec.required, *spec.secret}]
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([*spec.required, *others])
    return text.getvalue()


def templates_zip(declared: Format) -> bytes:
    """The same of all files of a format, zipped."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for spec in templates_of(declared):
            archive.writestr(spec.name, template(spec))
    return packed.getvalue()


def guest_beside(district: District) -> dict[str, str]:
    """Title of the primary source and of the one that may be sent beside it, where that brings staff alone."""
    primary = sources()[district.primary_source]
    guests = [one.title for one in sources().values() if one.is_guest and one.name != primary.name]
    return {"primary": primary.title, "guest": guests[0]} if primary.third_party and guests else {}


def as_settings(renames: dict[str, dict[str, str]]) -> str:
    """The renames as a district's file says them."""
    told = {written: known for of_file in renames.values() for written, known in of_file.items()}
    return yaml.safe_dump({"source": {"columns": told}}, allow_unicode=True, sort_keys=False) if told else ""


def renames_told(renames: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """Each rename with its file."""
    return [
        {"file": file, "written": written, "known": known}
        for file, of_file in renames.items()
        for written, known in of_file.items()
    ]
