"""What a file is that is no CSV file, told from its first bytes."""

from __future__ import annotations

import codecs

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""With what a CSV file begins that is read as UTF-16, whatever the district says."""
_KINDS = {
    b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture", b"%PDF": "a PDF document",
    b"PK\x03\x04": "an archive or spreadsheet", b"\xd0\xcf\x11\xe0": "an old spreadsheet", b"\x1f\x8b": "an archive",
    b"<!doctype": "a web page", b"<html": "a web page",
}  # fmt: skip


def kind_of(data: bytes) -> str | None:
    """What begins like this, with its article; None where it may be a CSV file."""
    begins = data[:64].removeprefix(codecs.BOM_UTF8).lstrip()
    return next((kind for magic, kind in _KINDS.items() if begins[: len(magic)].lower() == magic.lower()), None)
