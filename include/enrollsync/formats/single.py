"""A format as single rows of it come: some of its files, a line or two each, and nothing is missing but they."""

from __future__ import annotations

from dataclasses import replace

from enrollsync.formats.declare import Format


def alone(declared: Format) -> Format:
    """A fitted format whose files all may be absent, in UTF-8 and under its own headers."""
    files = tuple(replace(spec, mode=None, optional_file=True) for spec in declared.files)
    return replace(declared, mode="delta", files=files, encoding="utf-8", renames=())
