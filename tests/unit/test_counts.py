"""How many rows the sender says there are, and whether they came."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrollsync.ingest.counts import announced_rows


@pytest.mark.parametrize(("manifest", "said"), [
    ("file,rows\nusers.csv,12\n", {"users.csv": "12"}),
    ("\ufeffFile Name,sent,Row_Count\nout\\Users.CSV.gz,monday, 12 \nnotes,monday,\n", {
        "users.csv": "12", "notes.csv": "",
    }),
    ("propertyName,value\nmanifest.version,1.0\nfile.users,bulk\nrows.users,12\n", {"users.csv": "12"}),
    ("propertyName,value\nmanifest.version,1.0\nfile.users,bulk\n", {}),
    ("what,ever\nusers.csv,12\n", {}),
    ("", {}),
    ("file,rows\nusers.csv\n\n,3\n", {}),
], ids=["table", "other headers", "properties", "OneRoster", "something else", "empty", "short lines"])  # fmt: skip
def test_a_manifest_says_how_many_rows_each_file_has(tmp_path: Path, manifest: str, said: dict[str, str]) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(manifest, encoding="utf-8")
    assert announced_rows(path) == said
