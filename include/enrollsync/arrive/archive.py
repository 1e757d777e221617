"""Unpacking an archive: nowhere but into its folder, no link, no file over another, no more than a roster is."""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from enrollsync.words.errors import Refused
from enrollsync.words.printable import quoted, shortened

LARGEST = 8 << 30
"""Bytes of what is unpacked; a state's roster is less than one gigabyte."""
_LARGEST_RATIO = 250
"""Unpacked to packed; rosters reach 30."""
_PIECE = 1 << 20
"""Bytes of an entry that are unpacked at a time."""
_ENCRYPTED = 0x1
"""The bit among an entry's flags that says so."""


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip into `target`, which is made anew. Raises Refused (FILE-UNSAFE, FILE-INCOMPLETE)."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True, mode=0o700)
    try:
        with zipfile.ZipFile(archive) as opened:
            _refuse_unsafe(opened, archive.name)
            for entry in opened.infolist():
                _extract(opened, entry, target / _path_of(entry), archive.name)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        said = f"the zip is damaged ({shortened(str(error))}); deliver it again"
        raise Refused("FILE-INCOMPLETE", said, file=archive.name) from None
    except (NotImplementedError, RuntimeError, IndexError, ValueError) as error:
        said = f"it cannot be unpacked: {shortened(str(error))}; make a plain zip of the files"
        raise Refused("FILE-UNSAFE", said, file=archive.name) from None


def unpack_gz(packed: Path, target: Path) -> None:
    """Unpack one file that gzip has packed. Raises Refused (FILE-UNSAFE, FILE-INCOMPLETE)."""
    most = max(1 << 26, _LARGEST_RATIO * packed.stat().st_size)
    try:
        with gzip.open(packed) as stream, target.open("xb") as unpacked:
            while piece := stream.read(_PIECE):
                unpacked.write(piece)
                if unpacked.tell() > min(LARGEST, most):
                    said = f"it unpacks to more than {unpacked.tell() >> 20} MiB, which no roster does"
                    raise Refused("FILE-UNSAFE", said, file=packed.name)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        said = f"the packed file is damaged ({shortened(str(error))}); deliver it again"
        raise Refused("FILE-INCOMPLETE", said, file=packed.name) from None


def _path_of(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Where an entry is unpacked to; some programs for Windows write folders with backslashes."""
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith(("/", "\\"))


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, archive: str) -> None:
    try:
        (target if _is_folder(entry) else target.parent).mkdir(parents=True, exist_ok=True)
        if not _is_folder(entry):
            with opened.open(entry) as packed, target.open("xb") as unpacked:
                shutil.copyfileobj(packed, unpacked, _PIECE)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise  # the archive is not to blame
        what = f"its entry {quoted(entry.filename)} cannot be unpacked: {error.strerror or error}"
        raise Refused("FILE-UNSAFE", f"{what}; make a plain zip of the files", file=archive) from None


def _refuse_unsafe(opened: zipfile.ZipFile, name: str) -> None:
    entries = opened.infolist()
    for entry in entries:
        path = _path_of(entry)
        if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
            raise Refused("FILE-UNSAFE", "an entry's path leads out of the archive; make a plain zip", file=name)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Refused("FILE-UNSAFE", "an entry is a link; make a plain zip of the files", file=name)
        if entry.flag_bits & _ENCRYPTED:
            raise Refused("FILE-UNSAFE", "it is encrypted; make a plain zip without a password", file=name)
    files = [_folded(_path_of(entry)) for entry in entries if not _is_folder(entry)]
    if len(set(files)) < len(files):
        raise Refused("FILE-UNSAFE", "two entries unpack to one file; make a plain zip of the files", file=name)
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > LARGEST or (unpacked > 1 << 26 and unpacked > _LARGEST_RATIO * packed):
        raise Refused("FILE-UNSAFE", f"it would unpack to {unpacked >> 20} MiB, which no roster does", file=name)


def _folded(path: PurePosixPath) -> tuple[str, ...]:
    """A path as the least particular file system tells it from others: no case, no accents apart, no dots at an end."""
    return tuple(unicodedata.normalize("NFC", part).casefold().rstrip(". ") for part in path.parts)
