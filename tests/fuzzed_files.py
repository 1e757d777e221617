"""Damaged files of a format, one at a time, through the splitting of records and through reading them whole."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import in_memory
from damage import Told, complaints_on, damaged, excuse, fields_of, lines_of, sound_files, text_of
from enrollsync.formats import FORMATS, FileSpec, Format
from enrollsync.ingest.corrected import ERRORS
from enrollsync.ingest.lines import load_text, record_width, split_records
from enrollsync.ingest.read import check_header, read_file
from enrollsync.run import engine
from enrollsync.run.source_table import numbered
from enrollsync.words.errors import Refused


class Files:
    """Takes files through the program, with one engine for all."""

    def __init__(self, folder: Path, declared: Format) -> None:
        self.folder = folder
        self.declared = declared
        with engine.connect(folder, ordered=True) as connection:
            connection.execute("SET threads = 1")  # of the engine, which the folder keeps

    def told(self, spec: FileSpec, data: bytes, *, parsed: bool) -> Told:
        """What the program says of a file with these bytes. Raises Refused."""
        path = self.folder / spec.name
        path.write_bytes(data)
        if parsed:
            return self._parsed(path, spec)
        text = load_text(path)
        check_header(text, spec, self.declared)
        width = record_width(text)
        records = split_records(text, width)
        if not len(records.first) or records.first[0] != 0:
            raise Refused("FILE-HEADER", "damaged")
        return Told(
            dict.fromkeys((records.first[1:] + 1).tolist()),
            [(bad.line, bad.last_line) for bad in records.malformed],
            (records.valueless + 1).tolist(),
            width,
        )

    def _parsed(self, path: Path, spec: FileSpec) -> Told:
        target = self.folder / "table.parquet"
        with engine.connect(self.folder, ordered=True) as own:
            result = read_file(own, path, target, spec, self.declared, ())
            rows = own.execute(f"SELECT * FROM {numbered(target)}").fetchall()
            names = [column[0] for column in own.description]
        line, shown = names.index("line"), [place for place, name in enumerate(names) if name.startswith(" ")]
        whole = len(shown) == len(names) - 1 and [names[place] for place in shown] == [
            f" {n}" for n in range(len(shown))
        ]
        return Told(
            {row[line]: [row[place] or "" for place in shown] if whole else None for row in rows},
            [(bad.line, bad.last_line) for bad in result.malformed],
            result.valueless,
            record_width(load_text(path)),
        )


def check_file(files: Files, spec: FileSpec, data: bytes, sound: bytes, *, parsed: bool) -> list[str]:
    """What is wrong with how the program takes these bytes for that file."""
    try:
        told = files.told(spec, data, parsed=parsed)
    except Refused as refused:
        said = excuse(refused, data, sound)
        return [said] if said else []
    text = text_of(data)
    if text is None:
        return ["bytes that are no text were read"]
    lines = lines_of(text)
    if fields_of(lines[0]) is None or lines[0].startswith(ERRORS):
        return []  # what a damaged header means is not for here
    return list(complaints_on(lines, told))


def fuzz_files(name: str, cases: Iterable[int], *, whole: int = 1) -> tuple[Counter[str], list[str]]:
    """Counts what came of the cases, and tells what is wrong, with the case that shows it.

    Every `whole`th file is read whole; of the others only the records are split.
    """
    declared = FORMATS[name]
    sound, wrong, counts = sound_files(declared), list[str](), Counter[str]()
    with tempfile.TemporaryDirectory(dir=in_memory.folder()) as folder:
        files = Files(Path(folder), declared)
        for case in cases:
            chance = random.Random(f"{name} {case}")
            file = chance.choice(sorted(sound))
            data = damaged(chance, sound[file])
            parsed = case % whole == 0
            counts["parsed" if parsed else "split"] += 1
            try:
                found = check_file(files, declared.file(file), data, sound[file], parsed=parsed)
            except Exception as error:
                found = [f"{type(error).__name__}: {error}"]
            wrong += [f"files --format {name} --seed {case} --cases 1 ({file}): {one[:300]}" for one in found]
    return counts, wrong
