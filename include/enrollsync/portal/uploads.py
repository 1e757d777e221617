"""Batch Upload in the browser: files are sent, checked and planned here, and a run of the district's DAG loads them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as NotUnderstood
from starlette.requests import ClientDisconnect

from enrollsync import steps
from enrollsync.arrive.upload import MOST_FILES, Sent, Upload, begin_upload, find_upload, list_uploads, sweep
from enrollsync.formats import Format
from enrollsync.portal import checking
from enrollsync.portal.bodies import LARGEST_FORM, limited, refuse_large
from enrollsync.portal.entry import Changing, DistrictVisit, Inside, Sending, require_token
from enrollsync.portal.pages import HEADERS, root_of, show
from enrollsync.portal.review import Looking, review
from enrollsync.portal.runs import asked_of_host, to_run
from enrollsync.portal.texts import say
from enrollsync.portal.upload_view import (
    Looked,
    UploadView,
    as_settings,
    formats_of,
    guest_beside,
    renames_told,
    template,
    templates_of,
    templates_zip,
    view_upload,
)
from enrollsync.settings import largest_upload
from enrollsync.words.errors import Refused

log = logging.getLogger(__name__)

routes = APIRouter(prefix="/districts/{district_id}/upload")
_MOST_FIELDS = 10
_MOST_RENAMES = 500


@routes.get("")
def uploads(here: Inside) -> Response:
    """Where files are sent, the files' headers to fill in, and the uploads that are kept."""
    sweep(here.district, datetime.now(UTC))
    facts = {
        "uploads": [view for upload in list_uploads(here.district) if (view := view_upload(upload))],
        "formats": [
            {"name": one.name, "title": one.title, "files": [spec.name for spec in templates_of(one)]}
            for one in formats_of(here.district)
        ],
        "largest": largest_upload(),
        "beside": guest_beside(here.district),
    }
    return show(here, "uploads.html.j2", facts)


@routes.get("/templates/{format_name}/{file}")
def template_file(here: Inside, format_name: str, file: str) -> Response:
    """A file of a format with its header alone; `<format>.zip` holds all of them."""
    declared = next((one for one in formats_of(here.district) if one.name == format_name), None)
    content = declared and _template(declared, file)
    if not content:
        raise HTTPException(404, say("There is no such page."))
    kind = "application/zip" if file.endswith(".zip") else "text/csv"
    return Response(content, media_type=kind, headers=HEADERS | {"Content-Disposition": f"attachment; filename={file}"})


def _template(declared: Format, file: str) -> bytes | None:
    if file == f"{declared.name}.zip":
        return templates_zip(declared)
    spec = next((spec for spec in templates_of(declared) if spec.name == file), None)
    return template(spec).encode() if spec else None


# ---- sending ---------------------------------------------------------------------------------------------------------


@routes.post("")
async def send(here: Sending) -> Response:
    """Take files of a delivery, and begin to check them; nothing of them loads."""
    sent = await _received(here.request, largest_upload() + LARGEST_FORM)
    token = sent.get("token")
    require_token(here, token if isinstance(token, str) else "")
    files = [file for file in sent.getlist("files") if isinstance(file, UploadFile) and file.filename]
    if not files:
        raise HTTPException(422, say("Choose the files of a delivery: CSV files, or one zip."))
    try:
        upload = await run_in_threadpool(_keep, here, files)
    except OSError as error:
        _refuse_broken(error)
    log.info("sent: %s to district %s by %s", upload.id, here.district.district_id, here.visitor.name)
    _check(here, upload)
    return _to_upload(here, upload)


async def _received(request: Request, limit: int) -> FormData:
    """The form; it is spooled to disk while it comes. Raises HTTPException 413 for more bytes than may be sent.

    What is no form of files has nothing, a token neither.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return FormData()
    if int(request.headers.get("content-length", 0)) > limit:
        refuse_large()
    bounded = Request(request.scope, limited(request.receive, limit))
    try:
        return await bounded.form(max_files=MOST_FILES, max_fields=_MOST_FIELDS)
    except OSError as error:
        _refuse_broken(error)
    except ClientDisconnect:
        raise HTTPException(400, say("The files did not come whole; send them again.")) from None
    except NotUnderstood as error:
        if isinstance(error, HTTPException):
            raise
        said = say("The form cannot be read ({why}); send at most {most} files.", why=error.detail, most=MOST_FILES)
        raise HTTPException(422, said) from None


def _refuse_broken(error: OSError) -> NoReturn:
    why = error.strerror or type(error).__name__
    said = say("The files cannot be kept ({why}); make room where uploads and temporary files are kept.", why=why)
    raise HTTPException(503, said) from None


def _keep(here: DistrictVisit, files: list[UploadFile]) -> Upload:
    """Raises HTTPException 422 for a file that belongs to no delivery, OSError without room."""
    now = datetime.now(UTC)
    sweep(here.district, now)
    upload = begin_upload(here.district, now)
    try:
        for file in files:
            upload.add(file.filename or "", file.file)
        upload.write(Sent(person=here.visitor.name, sent_at=now))
    except Refused as error:
        upload.remove()
        raise HTTPException(422, str(error)) from None
    except BaseException:
        upload.remove()
        raise
    return upload


def _check(here: DistrictVisit, upload: Upload) -> None:
    checking.begin(upload, lambda: checking.check(upload, str(here.file), datetime.now(UTC)))


def _to_upload(here: DistrictVisit, upload: Upload) -> RedirectResponse:
    home = f"{root_of(here.request)}/districts/{here.district.district_id}/upload"
    return RedirectResponse(f"{home}/{upload.id}", 303, headers=HEADERS)


# ---- one upload ------------------------------------------------------------------------------------------------------


def kept(here: Inside, upload_id: str) -> Upload:
    """The upload that the address names. Raises HTTPException 404 where it is gone."""
    upload = find_upload(here.district, upload_id)
    if upload is None:
        raise HTTPException(404, say("This upload is gone: a run has read it, or a day has passed. Send it again."))
    return upload


Kept = Annotated[Upload, Depends(kept)]


def still_ours(upload: Kept) -> UploadView:
    """How far the upload has come. Raises HTTPException 409 where a run has it."""
    view = view_upload(upload)
    if view is None or view.run_id:
        raise HTTPException(409, say("A run was started with this upload; look at the run."))
    return view


Ours = Annotated[UploadView, Depends(still_ours)]


@routes.get("/{upload_id}")
def upload_page(here: Inside, upload: Kept, look: Looking) -> Response:
    """What was found in the files and, once it is planned, what they would change."""
    view, sent = view_upload(upload), upload.read()  # what is noted last is read last
    facts: dict[str, Any] = {"upload": view, "run": None}
    if sent and view and view.state != "working":
        known = Looked(here, upload)
        is_own = known.run is not None and known.run.source == here.district.primary_source
        facts |= review(known, look) | {
            "renames": renames_told(sent.renames),
            "settings": as_settings(sent.renames) if is_own else "",
            "mode": known.manifest and known.manifest.mode,
        }
    return show(here, "upload.html.j2", facts)


@routes.post("/{upload_id}/check")
def check_again(here: Changing, upload: Kept, view: Ours) -> Response:
    """Check the upload once more, as after a server that was stopped meanwhile."""
    _check(here, upload)
    return _to_upload(here, upload)


@routes.post("/{upload_id}/rename")
def rename(
    here: Changing, upload: Kept, view: Ours, agreed: Annotated[list[str], Form(max_length=_MOST_RENAMES)]
) -> Response:
    """Write the headers anew that a person agreed to, each `file:header`, and check the upload again."""
    sent = upload.read()
    renames = {
        file: {written: known for written, known in of_file.items() if f"{file}:{written}" in agreed}
        for file, of_file in (sent.renames if sent else {}).items()
    }
    if not any(renames.values()):
        raise HTTPException(422, say("Choose the headers that are to be another one."))

    def work() -> None:
        checking.rename(upload, renames)
        checking.check(upload, str(here.file), datetime.now(UTC))

    checking.begin(upload, work)
    return _to_upload(here, upload)


@routes.post("/{upload_id}/plan")
def plan(here: Changing, upload: Kept, view: Ours) -> Response:
    """Compare the upload with the roster as it is; nothing is written."""
    if not view.may_plan:
        raise HTTPException(409, say("Only what was checked can be planned."))
    url = here.host.database_url(here.district)
    checking.begin(upload, lambda: steps.plan(str(upload.workspace.root), database_url=url))
    return _to_upload(here, upload)


@routes.post("/{upload_id}/run")
async def run(here: Changing, upload: Kept, view: Ours) -> Response:
    """Begin a run of the district's DAG with the upload; it reads a copy of its own."""
    if not view.may_run:
        raise HTTPException(409, say("Only what was planned, and changes something, can be run."))
    if await run_in_threadpool(_is_stale, here, upload):
        raise HTTPException(409, say("The roster has moved since this plan was made; plan again and look."))
    lock = await run_in_threadpool(upload.lock)
    if lock is None:
        raise HTTPException(409, say("It is being worked on; wait until that is done."))
    with lock:
        sent = upload.read()
        if sent is None or sent.run_id:  # of two who press at once, one has it
            raise HTTPException(409, say("A run was started with this upload; look at the run."))
        wishes = {"source": upload.source}
        await run_in_threadpool(upload.hand_over)
        try:
            run_id = await asked_of_host(here.host.start(here.request, here.district.district_id, "sync", wishes))
        except HTTPException:
            await run_in_threadpool(upload.take_back)
            raise
        upload.write(sent.model_copy(update={"run_id": run_id}))
    return to_run(here, run_id)


def _is_stale(here: DistrictVisit, upload: Upload) -> bool:
    return steps.is_stale(str(upload.workspace.root), database_url=here.host.database_url(here.district))


@routes.post("/{upload_id}/discard")
def discard(here: Changing, upload: Kept, view: Ours) -> Response:
    """Leave nothing of the upload."""
    if view.state == "working":
        raise HTTPException(409, say("It is being worked on; wait until that is done."))
    upload.remove()
    return RedirectResponse(f"{root_of(here.request)}/districts/{here.district.district_id}/upload", 303, HEADERS)
