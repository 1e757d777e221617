"""A prefix of an S3 bucket as a landing place (`settings/bucket.py`)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow import fs

from enrollsync.arrive.choose import Entry
from enrollsync.settings.bucket import TRIES as _TRIES
from enrollsync.settings.bucket import is_denied, s3_client, why_not
from enrollsync.settings.connections import Connection
from enrollsync.words.errors import Refused, Unreachable

SCHEME = "s3://"
_PIECE = 8 << 20
"""Bytes; each is a request."""


@contextmanager
def bucket_place(connection: Connection | None) -> Iterator[BucketPlace]:
    """The buckets that the connection may read. Raises Refused (FILE-DENIED), Unreachable, ConfigurationError."""
    yield BucketPlace(s3_client(connection, _TRIES))


class BucketPlace:
    """The objects of a store, as files and folders by their keys."""

    def __init__(self, files: fs.S3FileSystem) -> None:
        self._files = files

    def look(self, path: str) -> Entry | None:
        """What is there now: one listing of all that is beneath, as deep as a delivery may be."""
        place = path.removeprefix(SCHEME).strip("/")
        with self._reached(path):
            (found,) = self._files.get_file_info([place])
            if found.type == fs.FileType.File:
                return _entry(found)
            beneath = self._files.get_file_info(fs.FileSelector(place, recursive=True, allow_not_found=True))
        return _folder(place, beneath) if beneath else None

    def is_whole_zip(self, path: str) -> bool:
        """Whether a file is a zip that has its end."""
        with self._reached(path), self._files.open_input_file(path) as stream:
            return zipfile.is_zipfile(stream)

    def pieces(self, path: str) -> Iterator[bytes]:
        """A file's bytes, from its beginning."""
        with self._reached(path), self._files.open_input_file(path) as stream:
            while piece := stream.read(_PIECE):
                yield piece

    @contextmanager
    def _reached(self, path: str) -> Iterator[None]:
        """Say in one line what the store refuses, or that it does not answer; nothing of its answer but the name."""
        try:
            yield
        except FileNotFoundError:
            said = "it went while the delivery was read; wait for the upload to end"
            raise Refused("FILE-INCOMPLETE", said, file=path.rpartition("/")[2]) from None
        except OSError as error:
            why = why_not(error)
            if is_denied(why):
                said = f"the store does not let us read {path} ({why}); put a key with that right into the connection"
                raise Refused("FILE-DENIED", f"{said} that `source.connection` names") from None
            elsewhere = "301" in why or "REDIRECT" in why
            remedy = "say its `region_name` in the connection's extra" if elsewhere else "run again later"
            raise Unreachable(f"the store of {path} does not answer ({why}); nothing was changed, {remedy}") from None


def _entry(found: fs.FileInfo) -> Entry:
    return Entry(found.path, found.base_name, found.size or 0, (found.mtime_ns or 0) / 1e9)


def _folder(path: str, beneath: list[fs.FileInfo], *, is_landing: bool = True) -> Entry:
    """A folder out of a listing that names each key once; of the landing place, with what lies in its folders."""
    here = [one for one in beneath if one.path.rpartition("/")[0] == path]
    within = [_entry(one) for one in here if one.type == fs.FileType.File]
    if is_landing:
        folders = [one.path for one in here if one.type == fs.FileType.Directory]
        within += [_folder(one, beneath, is_landing=False) for one in folders]
    return Entry(path, path.rpartition("/")[2], 0, 0, within=tuple(within))
